"""Pictures a second of `predict`, beside other packages that are installed; writes nothing.

    python benchmarks/bench_predict.py --count 200

Pictures are scikit-learn's two photographs with a rendered face in each (`check_detect.scenes`), in
memory. Each way is run once to start and then three times; the median counts, on one thread a
process unless `OMP_NUM_THREADS` says otherwise. `fer` (PyPI) finds faces by itself, with the
cascade it has. CPU seconds are this process's own, so they hold on a loaded machine too.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import pandas as pd
from check_detect import scenes

import hmtl
from hmtl.data.sets import load_pack
from hmtl.use.detect import find_faces


def ways(network: str) -> dict[str, Callable]:
    """Name -> what answers a list of pictures, uint8 (H, W, 3) each."""
    net = hmtl.load(network, device="cpu")
    found = {
        "hmtl: faces found and answered": lambda pictures: net.predict(pictures, progress=False),
        "hmtl: answered, nothing looked for": lambda pictures: net.predict(
            pictures, detect=False, progress=False
        ),
        "hmtl: faces found alone": lambda pictures: [find_faces(net_open(p)) for p in pictures],
    }
    try:
        from fer.fer import FER

        other = FER(mtcnn=False)
        found["fer: faces found and answered"] = lambda pictures: [
            other.detect_emotions(np.ascontiguousarray(p[..., ::-1])) for p in pictures
        ]
    except ImportError:
        print("fer is not installed here: pip install fer")
    return found


def net_open(pixels: np.ndarray):
    """Pixels as a picture."""
    from PIL import Image

    return Image.fromarray(pixels)


def main() -> None:
    """Print a row a way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="pictures")
    parser.add_argument("--network", default="ferplus", help="what hmtl.load takes")
    options = parser.parse_args()
    pack = load_pack("mini")
    faces = [pack.images[i % len(pack)] for i in range(options.count)]
    pictures = [np.asarray(scene) for scene, _ in scenes(faces)]
    rows = []
    for name, answer in ways(options.network).items():
        answer(pictures[:8])
        seconds, cpu = [], []
        for _ in range(3):
            start, own = time.perf_counter(), time.process_time()
            answer(pictures)
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - own)
        rows.append((name, len(pictures) / median(seconds), len(pictures) / median(cpu)))
    table = pd.DataFrame(rows, columns=["way", "pictures a second", "pictures a CPU second"])
    print(table.round(1).to_string(index=False))


if __name__ == "__main__":
    main()
