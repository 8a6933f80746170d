"""What the benchmarks share: interleaved medians, and an epoch of a Learner."""

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch
os.environ["HMTL_PROGRESS"] = "0"

import torch
from fastai.callback.core import Callback, CancelValidException
from fastai.callback.fp16 import MixedPrecision
from fastai.learner import Learner

from hmtl.workers import cores

ROUNDS = 5
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WORKERS = cores() if DEVICE == "cuda" else 0  # of the pipelines that read files


def medians(actions: dict, rounds: int = ROUNDS) -> dict:
    """Median seconds of each action over `rounds`, taken in turn, after a first round."""
    times = {name: [] for name in actions}
    for _ in range(rounds + 1):
        for name, action in actions.items():
            times[name].append(action())
    return {name: statistics.median(own[1:]) for name, own in times.items()}


def timed(action: Callable[[], object]) -> Callable[[], float]:
    """The same action, returning its seconds."""

    def run() -> float:
        started = time.perf_counter()
        action()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return run


class _TrainOnly(Callback):
    def before_validate(self):
        raise CancelValidException


def fit_one(learn: Learner) -> Callable[[], int]:
    """One training epoch of a Learner, as runs train, without validation, bars and rows.

    Returns how many pictures it saw.
    """
    learn.add_cbs([_TrainOnly(), *([MixedPrecision()] if DEVICE == "cuda" else [])])
    learn.model.to(DEVICE, memory_format=torch.channels_last)

    def epoch() -> int:
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 1e-3)
        return len(learn.dls.train) * learn.dls.bs

    return epoch
