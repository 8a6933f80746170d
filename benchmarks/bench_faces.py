"""How fast faces are drawn and rendered, and how much memory that takes: `make bench-faces`.

Prints a table and writes it to outputs/reference/faces-speed.csv. Rates are medians of three rounds
of what `python -m hmtl faces` does; the memory is the peak of a process that renders a pack,
without workers.
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

from hmtl.data.sets import write_faces
from hmtl.faces.faceset import FaceSet
from hmtl.faces.shader import started_warp
from hmtl.faces.table import draw_faces
from hmtl.paths import reference_dir
from hmtl.workers import cores

ROUNDS = 3
PEAK = """
import resource, sys
from hmtl.__main__ import main
main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def rate(few: int, many: int, size: int, processes: int, device: str) -> float:
    """Faces a second of `write_faces`: drawing, rendering, JPEG and writing.

    From the difference of a long and a short call, so that start-up counts for neither.
    """
    seconds = []
    for _ in range(ROUNDS):
        took = []
        for number, count in enumerate((few, many)):
            with tempfile.TemporaryDirectory() as folder:
                faces = FaceSet((count // 8, 0, 0), size=size, seed=number)
                started = time.perf_counter()
                write_faces(
                    faces, Path(folder) / "p", processes=processes, device=device, progress=False
                )
                took.append(time.perf_counter() - started)
        seconds.append(took[1] - took[0])
    return (many - few) / statistics.median(seconds)


def peak_memory(count: int, size: int) -> float:
    """Peak resident memory, MB, of rendering `count` faces into a pack."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["faces", "--count", str(count), "--size", str(size), "--workers", "1"]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *command, "--out", f"{folder}/pack"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS tells bytes, Linux KiB
    return int(done.stdout.split()[-1]) / unit


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
            value = rate(256, 256 + 512 * processes, size, processes, "cpu")
            what = f"{processes} process{'es' * (processes > 1)}"
            rows.append((f"a pack, {size} px", what, f"{value:.0f}", "faces/s"))
        if started_warp().get_cuda_device_count():
            value = rate(4096, 20480, size, 1, "cuda")
            rows.append((f"a pack, {size} px", "GPU", f"{value:.0f}", "faces/s"))
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
