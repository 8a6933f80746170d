"""A run while it is being made: who makes it, and its state after every epoch. Ours.

    <store>/.unfinished/<run>.lock                       held by the process that trains it
    <store>/.unfinished/<run>/epoch-<n>-<hash>.pt        everything the next epoch hangs on

The lock is the system's, so it ends with its process however that ends. Whoever takes it next goes
on from the last epoch that was finished: with the same weights and numbers, on a CPU to the bit, as
if nothing had happened. A state is one file, written beside and renamed, and its name carries the
hash of its bytes: a broken one is never read.
"""

__all__ = ["Checkpoints", "Claimed", "capture", "claim", "resumable", "restore", "store_errors"]

import hashlib
import io
import random
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelEpochException, CancelFitException
from fastai.learner import Learner
from fastai.torch_core import get_model
from filelock import FileLock, Timeout
from torch import Tensor
from torch.utils._pytree import tree_map

from hmtl.files import drop_lock, new_file, reading, writing
from hmtl.method.hybrid import Hybrid
from hmtl.method.optim import states_by_parameter
from hmtl.runs import distributed, hybrids
from hmtl.runs.callbacks import BestEpoch

FOLDER = ".unfinished"
_REMEDY = "delete its folder, and the run begins anew"


class Claimed(RuntimeError):
    """Another process is making this run."""


@contextmanager
def claim(path: Path, wait: bool = True) -> Iterator[Path]:
    """Be the only process that makes the run at `path`; yields the folder of its unfinished state.

    Waits for another one, or with `wait=False` raises Claimed. That folder is gone once the run is
    there; a process that dies leaves it, and the claim, to the next. OSError says what to do if the
    store cannot be written.
    """
    folder = path.parent / FOLDER / path.name
    with store_errors(path.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f"{folder.name}.lock"))
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            raise Claimed(f"{path.name} is being trained by another process") from None
    try:
        for left in path.parent.glob(f".tmp-{path.name}-*"):  # by a kill while it was written
            shutil.rmtree(left, ignore_errors=True)
        yield folder
    finally:
        if path.exists():
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():  # nothing to take up
            drop_lock(lock)
        lock.release()


@contextmanager
def store_errors(store: Path) -> Iterator[None]:
    """Say which store could not be written, and what to do, if the disk or its rights end here."""
    more = (
        "Its place is --store, --outputs or $HMTL_OUTPUTS. Finished runs are whole; an unfinished "
        "one goes on from its last epoch."
    )
    with writing(f"the run store {store}", more):
        yield


# -- what the next epoch hangs on ------------------------------------------------------------------


def capture(learn: Learner) -> dict[str, Any]:
    """All that a fit's next epoch hangs on, between two epochs: dicts and lists, tensors, numbers.

    Weights, those of pretext heads and learned balances too; the optimizer's state, the loss
    scale; every stream of random numbers; the epochs' scores so far and the best epoch's weights.
    The schedule follows from the number of the epoch.
    """
    scaler = getattr(learn, "scaler", None)
    state: dict[str, Any] = {
        "epoch": learn.epoch + 1,
        "iterations": learn.train_iter,
        "model": get_model(learn.model).state_dict(),
        "hypers": [{k: v for k, v in h.items() if _is_plain(v)} for h in learn.opt.hypers],
        "optimizer": [
            [dict(states.get(p, {})) for group in learn.opt.param_lists for p in group]
            for states in states_by_parameter(learn.opt)
        ],
        "scaler": scaler.state_dict() if scaler else {},
        "random": distributed.gather(_random_state(learn)),
        "scores": [list(row) for row in learn.recorder.values],
        "smooth_loss": [learn.recorder.smooth_loss.count, learn.recorder.smooth_loss.val],
    }
    for hybrid in _callbacks(learn, Hybrid):
        state["hybrid"] = hybrids.state(hybrid)
    for keeper in _callbacks(learn, BestEpoch):
        state["best"] = [keeper.best, keeper.epoch_number, keeper.state]
    return state


def restore(learn: Learner, state: dict[str, Any]) -> None:
    """Bring a Learner whose fit has just begun into a state that `capture` returned."""
    get_model(learn.model).load_state_dict(state["model"])
    for hybrid in _callbacks(learn, Hybrid):
        hybrids.restore(hybrid, state["hybrid"])
    for name in state["hypers"][0]:
        learn.opt._set_hyper(name, [hyper[name] for hyper in state["hypers"]])
    parameters = [p for group in learn.opt.param_lists for p in group]
    known = zip(states_by_parameter(learn.opt), state["optimizer"], strict=True)
    for states, kept in known:
        for parameter, own in zip(parameters, kept, strict=True):
            states[parameter] = {name: _like(parameter, value) for name, value in own.items()}
    if getattr(learn, "scaler", None):
        learn.scaler.load_state_dict(state["scaler"])
    learn.train_iter = state["iterations"]
    learn.recorder.values.extend(state["scores"])
    learn.recorder.smooth_loss.count, learn.recorder.smooth_loss.val = state["smooth_loss"]
    for keeper in _callbacks(learn, BestEpoch):
        keeper.best, keeper.epoch_number, keeper.state = state["best"]
    _set_random_state(learn, state["random"][distributed.rank()])


def _callbacks(learn: Learner, kind: type) -> list:
    return [callback for callback in learn.cbs if isinstance(callback, kind)]


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _like(parameter: Tensor, value: Any) -> Any:
    """A tensor of the parameter's shape as the parameter lies in memory; all else as it is."""
    if isinstance(value, Tensor) and value.shape == parameter.shape:
        return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    return value


def _generators(learn: Learner) -> list[torch.Generator]:
    """The generators of augmentation and pretexts, each once."""
    steps = [step for loader in learn.dls.loaders for step in loader.after_batch.fs]
    found = [getattr(o, "generator", None) for o in [*steps, *_callbacks(learn, Hybrid)]]
    return list({id(g): g for g in found if g is not None}.values())


def _random_state(learn: Learner) -> dict[str, Any]:
    drawn: Any = np.random.get_state()
    kind, keys, *rest = drawn
    return {
        "python": random.getstate(),
        "numpy": [kind, keys.tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
        "loaders": [loader.rng.getstate() for loader in learn.dls.loaders],
        "generators": [generator.get_state() for generator in _generators(learn)],
    }


def _set_random_state(learn: Learner, state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"][0])  # the one in use, whatever others there are
    for loader, kept in zip(learn.dls.loaders, state["loaders"], strict=True):
        loader.rng.setstate(kept)
    for generator, kept in zip(_generators(learn), state["generators"], strict=True):
        generator.set_state(kept)


# -- its file --------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """What `torch.load(weights_only=True)` reads: plain tensors in memory of their own, numbers."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True).as_subclass(Tensor)
    return value.item() if isinstance(value, np.generic) else value


def write_state(folder: Path, state: dict[str, Any]) -> Path:
    """Write a state as the only one of `folder`, on the disk before it counts; its file."""
    buffer = io.BytesIO()
    torch.save(tree_map(_plain, state), buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()[:16]
    file = folder / f"epoch-{state['epoch']:05d}-{digest}.pt"
    folder.mkdir(parents=True, exist_ok=True)
    with new_file(file) as part:
        part.write_bytes(buffer.getbuffer())
    for old in folder.iterdir():  # states before, and what a kill left of one
        if old != file:
            old.unlink()
    return file


def read_state(folder: Path) -> dict[str, Any] | None:
    """The last whole state in `folder`, None if there is none; a broken one is named and passed."""
    for file in sorted(folder.glob("epoch-*.pt"), reverse=True):
        data = file.read_bytes()
        if file.stem.rpartition("-")[2] == hashlib.sha256(data).hexdigest()[:16]:
            with reading(file, _REMEDY):
                return torch.load(io.BytesIO(data), weights_only=True)
        warnings.warn(f"{file} is broken: its bytes are not those written", stacklevel=2)
    return None


class Checkpoints(Callback):
    """Write a fit's state into `folder` after every epoch, with the seconds it took so far.

    `taken_up` counts how often it was taken up from there, `seconds` and `cpu_seconds` are of all
    its parts together.
    """

    order = 90  # after the scores are recorded and the best epoch is known

    def __init__(self, folder: Path):
        self.folder, self.taken_up = folder, 0
        self.error: OSError | None = None
        self._before = (0.0, 0.0)
        self._started = (time.perf_counter(), time.process_time())

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the fit."""
        return self._before[0] + time.perf_counter() - self._started[0]

    @property
    def cpu_seconds(self) -> float:
        """Processor seconds of the fit: only its own, however busy the machine."""
        return self._before[1] + time.process_time() - self._started[1]

    def take_up(self) -> int:
        """Restore the Learner if there is a state, and return the epoch to go on with, from 0."""
        state = read_state(self.folder)
        seen = distributed.gather(state and state["epoch"])
        if len(set(seen)) > 1:
            raise ValueError(
                f"{self.folder}: the processes of this run see its state after epochs {seen}; they "
                "must share one store"
            )
        if state is None:
            return 0
        try:
            restore(self.learn, state["learn"])
        except Exception as error:  # made by other code, or by another version of a library
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ValueError(
                f"{self.folder}: the state in it does not fit ({reason}); delete this folder, and "
                "the run begins anew"
            ) from error
        self._before, self.taken_up = tuple(state["seconds"]), state["taken_up"] + 1
        return state["epoch"]

    def after_epoch(self):
        """Write the state."""
        learn = capture(self.learn)
        state = {
            "epoch": learn["epoch"],
            "learn": learn,
            "seconds": [self.seconds, self.cpu_seconds],
            "taken_up": self.taken_up,
        }
        try:
            with store_errors(self.folder.parents[1]):
                if distributed.is_main():
                    write_state(self.folder, state)
        except OSError as error:  # fastai would write its own words over it: see `resumable`
            self.error = error
        self.error = distributed.agreed(self.error)
        if self.error:
            raise CancelFitException from self.error


@contextmanager
def resumable(learn: Learner, folder: Path) -> Iterator[Checkpoints]:
    """Within, a fit with the yielded callback goes on from the state in `folder`, if there is one.

    It trains the epochs that are missing, to the same end as one that was never stopped. Raises
    OSError, when the fit is over, if a state could not be written.
    """
    checkpoints = Checkpoints(folder)

    def fit_missing() -> None:
        # every callback has begun its fit by now, which is what a restored state is put upon
        for epoch in range(checkpoints.take_up(), learn.n_epoch):
            learn.epoch = epoch
            learn._with_events(learn._do_epoch, "epoch", CancelEpochException)

    learn._do_fit = fit_missing  # the instance's hides the method
    try:
        yield checkpoints
    finally:
        del learn._do_fit
    if checkpoints.error:
        raise checkpoints.error
