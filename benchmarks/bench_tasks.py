"""What each pretext task costs, as a ratio to supervised training: `make bench-tasks`.

Whole training epochs over the mini set, interleaved, medians of five rounds after a first one, on
one thread. Prints a table; `make` writes it to outputs/reference/task-costs.csv.
"""

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch

import pandas as pd
import torch
from fastai.callback.core import Callback, CancelValidException

from hmtl import face_dataloaders, hmtl_learner, load_pack
from hmtl.pretext import make
from hmtl.render import cores

ROUNDS = 5
TASKS = [
    ((), "paired"),
    (("second_view",), "paired"),
    (("puzzling_2x2",), "shared"),
    (("puzzling_3x3",), "shared"),
    (("tile_rotation_2x2",), "shared"),
    (("image_rotation",), "shared"),
    (("puzzling_2x2", "tile_rotation_2x2"), "shared"),
    (("puzzling_2x2_map",), "shared"),
    (("inpainting_grid",), "shared"),
    (("inpainting_grid_pl",), "shared"),
    (("puzzling_2x2",), "paired"),
    (("puzzling_rotation_2x2",), "paired"),
    (("jigsaw_3x3",), "paired"),
    (("inpainting_grid",), "paired"),
    (("inpainting_grid_pl",), "paired"),
    (("barlow_twins",), "paired"),
    (("random_target",), "paired"),
    (("only_puzzling_2x2",), "paired"),
]


class _TrainOnly(Callback):
    def before_validate(self):
        raise CancelValidException


def learner(names: tuple[str, ...], views: str, arch: str, size: int):
    """A Learner of one row, quiet and without validation."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dls = face_dataloaders(load_pack("mini"), bs=64, size=size, device=device, seed=0)
    pretexts = [make(name) for name in names]
    learn = hmtl_learner(dls, arch, pretexts=pretexts, views=views, seed=0, cbs=[_TrainOnly()])
    learn.model.to(dls.device, memory_format=torch.channels_last)
    return learn


def epoch(learn) -> float:
    """Seconds of one training epoch."""
    with learn.no_bar(), learn.no_logging():
        started = time.perf_counter()
        learn.fit(1, 1e-3)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="tiny")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    learners = [learner(names, views, args.arch, args.size) for names, views in TASKS]
    times = [[] for _ in TASKS]
    for _ in range(ROUNDS + 1):
        for learn, own in zip(learners, times, strict=True):
            own.append(epoch(learn))
    medians = [statistics.median(own[1:]) for own in times]
    table = pd.DataFrame(
        {
            "task": ["+".join(names) or "SL" for names, _ in TASKS],
            "views": [views if names else "" for names, views in TASKS],
            "ratio": [round(median / medians[0], 2) for median in medians],
            "ms an image": [round(1000 * m / len(learners[0].dls.train_ds), 3) for m in medians],
        }
    )
    table["with"] = f"{args.arch}, {args.size} px, {platform.machine()}, {cores()} cores"
    print(table.to_string(index=False))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
