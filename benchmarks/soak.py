"""Do memory and open files stay flat over an hour of small trainings in one process? `make soak`.

Trains, reads and asks a network in turns, each time a new seed, in a store that is thrown away.
After each turn the process's resident memory and its open file handles are written down. Two
judgements, after a first quarter in which libraries fill their caches:

    memory   a line through the samples (Theil and Sen's) rises less than GROWTH MB an hour
    handles  no more are open at the end of the last quarter than at the end of the first

Samples, machine and verdict go into `outputs/reference/soak.csv` and `soak.json`, a figure beside.
Exit status 1 if either fails.
"""

import argparse
import gc
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from scipy.stats import theilslopes

from hmtl.paths import reference_dir
from hmtl.runs.fit import fit, here_and_now
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import load_run, runs_table

GROWTH = 60.0  # MB an hour; one leaked batch or network a turn would be far above it
TURNS = [
    {},
    {"pretexts": ("puzzling_2x2",)},
    {"pretexts": ("puzzling_2x2",), "views": "shared", "precision": "bf16"},
    {"pretexts": ("inpainting_grid_pl",)},
    {"pretexts": ("second_view",), "balance": "uncertainty"},
    {"task": "head_pose", "optimizer": "adabelief_lookahead"},
    {"task": "pretraining", "pretexts": ("image_rotation",), "views": "shared"},
]


def soak(minutes: float) -> pd.DataFrame:
    """Train for so long; one row a turn: minutes, memory_mb, handles, run."""
    process, rows, began = psutil.Process(), [], time.monotonic()
    with tempfile.TemporaryDirectory() as store:
        for number, changes in enumerate(itertools.cycle(TURNS)):
            run = fit(RunSpec(epochs=1, bs=64, seed=number, **changes), store=store)
            runs_table([load_run(run.path)])
            if run.spec.task == "emotion":
                ask(run.path)
            gc.collect()
            elapsed = (time.monotonic() - began) / 60
            memory = process.memory_info().rss / 2**20
            row = {"minutes": elapsed, "memory_mb": memory, "handles": process.num_fds()}
            rows.append(row | {"run": run.spec.method, "task": run.spec.task})
            if elapsed >= minutes:
                return pd.DataFrame(rows)


def ask(path: Path) -> None:
    """Use a trained network, as a server does."""
    import hmtl

    faces = [np.zeros((48, 48, 3), np.uint8), np.full((64, 48, 3), 200, np.uint8)]
    hmtl.load(path).predict(faces, detect=False)


def judge(samples: pd.DataFrame) -> dict:
    """What the samples of a soak say: growth in MB an hour with its 95 % interval, handles, flat.

    Of samples after the first quarter of the time; ValueError if these are fewer than eight.
    """
    settled = samples[samples["minutes"] > samples["minutes"].max() / 4]
    if len(settled) < 8:
        raise ValueError(f"{len(settled)} samples after the first quarter; soak for longer")
    hours = settled["minutes"] / 60
    slope, _, low, high = theilslopes(settled["memory_mb"], hours)
    early = samples.loc[samples.index < settled.index[0], "handles"]
    before = int(early.iloc[-len(TURNS) :].max()) if len(early) else int(settled["handles"].iloc[0])
    after = int(settled["handles"].iloc[-len(TURNS) :].max())
    return {
        "minutes": round(float(samples["minutes"].max()), 1),
        "trainings": len(samples),
        "memory_mb": round(float(settled["memory_mb"].iloc[-1]), 1),
        "growth_mb_an_hour": [round(float(x), 1) for x in (slope, low, high)],
        "handles": [before, after],
        "flat": bool(slope < GROWTH and after <= before),
    }


def draw(samples: pd.DataFrame, path: Path) -> None:
    """Memory and handles over time."""
    import matplotlib.pyplot as plt

    from hmtl.study.plots import set_style

    set_style()
    figure, axes = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
    for axis, column, label in zip(
        axes, ("memory_mb", "handles"), ("memory (MB)", "open handles"), strict=True
    ):
        axis.plot(samples["minutes"], samples[column], ".", ms=4)
        axis.axvspan(0, samples["minutes"].max() / 4, color="0.93")
        axis.set(ylabel=label, ylim=(0, 1.15 * samples[column].max()))
    axes[1].set_xlabel("minutes (grey: before libraries have filled their caches)")
    figure.savefig(path, dpi=110)


def main() -> int:
    """Soak, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    minutes = parser.parse_args().minutes
    samples = soak(minutes)
    verdict = judge(samples)
    folder = reference_dir()
    samples.to_csv(folder / "soak.csv", index=False, float_format="%.5g")
    draw(samples, folder / "figures" / "soak.png")
    told = json.dumps(verdict | {"machine": here_and_now()}, indent=1)
    (folder / "soak.json").write_text(told + "\n", encoding="utf-8")
    print(json.dumps(verdict))
    return 0 if verdict["flat"] else 1


if __name__ == "__main__":
    sys.exit(main())
