"""How fast faces are drawn and rendered, and how much memory that takes: `make bench-faces`.

Prints a table and writes it to outputs/reference/faces-speed.csv. Rates are medians of five rounds,
after one that compiles; the memory is the peak of a process that renders a pack, without workers.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from hmtl.faces import draw_faces
from hmtl.faceset import FaceSet
from hmtl.paths import reference_dir
from hmtl.render import cores, render_chunks
from hmtl.shader import started_warp

ROUNDS = 5
PEAK = """
import resource, sys
from hmtl.__main__ import main
main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def rate(count: int, size: int, processes: int, device: str) -> float:
    """Faces a second, pictures and JPEG included, start-up of the workers left out."""
    table = draw_faces(FaceSet((count // 8, 0, 0)))
    step = 512 if device == "cuda" else 32
    chunks = [table[i : i + step] for i in range(0, len(table), step)]
    # all rounds in one go, so that workers start once; the first result of each round is a tick
    done = render_chunks(chunks * (ROUNDS + 1), size, processes=processes, device=device)
    ticks = []
    for number, _ in enumerate(done):
        if number % len(chunks) == len(chunks) - 1:
            ticks.append(time.perf_counter())
    return len(table) / statistics.median(b - a for a, b in zip(ticks, ticks[1:], strict=False))


def peak_memory(count: int, size: int) -> float:
    """Peak resident memory, MB, of rendering `count` faces into a pack."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["faces", "--count", str(count), "--size", str(size), "--workers", "1"]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *command, "--out", f"{folder}/pack"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    return int(done.stdout.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=reference_dir() / "faces-speed.csv")
    out = parser.parse_args().out
    started = time.perf_counter()
    draw_faces(FaceSet((250, 0, 0)))
    drawn = 2000 / (time.perf_counter() - started)
    rows = [("draw the table", "1 process", f"{drawn:.0f}", "faces/s")]
    for size in (48, 112):
        for processes in sorted({1, cores()}):
            value = rate(256, size, processes, "cpu")
            what = f"{processes} process{'es' * (processes > 1)}"
            rows.append((f"render, {size} px", what, f"{value:.0f}", "faces/s"))
        if started_warp().get_cuda_device_count():
            value = rate(4096, size, 1, "cuda")
            rows.append((f"render, {size} px", "GPU", f"{value:.0f}", "faces/s"))
    for count in (512, 8192):
        rows.append(
            (f"a pack of {count} faces, 48 px", "peak", f"{peak_memory(count, 48):.0f}", "MB")
        )
    table = pd.DataFrame(rows, columns=["what", "with", "value", "unit"])
    table["machine"] = f"{platform.machine()}, {cores()} cores"
    print(table.to_string(index=False))
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(out, index=False)


if __name__ == "__main__":
    main()
