"""One run on several processes, each with a GPU or a core of its own: data-parallel training.

    python -m torch.distributed.run --standalone --nproc_per_node N -m hmtl run ...
    accelerate launch --multi_gpu --num_processes N -m hmtl run ...

fastai's DistributedTrainer, on accelerate, wraps the network in torch's DistributedDataParallel
while a fit runs; without these launchers nothing here does anything. What is deliberate:

- `bs` of a spec is the batch of all processes together. Each takes its part of every batch of the
  one order that the seed gives, so a step learns from the pictures it would learn from alone.
- Each process draws its own puzzles, augmentation and dropout; those of rank 0 are a single
  process's. Every loss counts with its mean over the processes, so that learned balances agree.
- Gradients of pretext heads and of learned balances, which DistributedDataParallel does not see,
  are averaged before the step, by `hmtl.method.guest`.
- Batch norm works on the whole batch on GPUs (timm's conversion, which knows its fused
  activations) and on a process's part on CPUs, where torch cannot; running statistics are averaged
  before they are used. So N CPU processes train a network with batch norm otherwise than one does.
- Validation and test images are shared by whole batches and gathered: none twice, in order.
  Their puzzles are those that a single process draws.
- A loss that is not finite in one process ends the run in all. A killed run goes on from its last
  epoch on as many processes, each with its own random numbers.
- Rank 0 alone writes. Other processes must see its store to return the run.

The run's name depends on the number of processes. Losses that compare the pictures of a batch
with one another (Barlow Twins) and class weights are taken on a process's part. Ours.
"""

__all__ = [
    "agreed", "average", "by_main", "gather", "is_main", "join", "leave", "one_folder",
    "predictions", "rank", "refuse", "shared_fit", "world",
]  # fmt: skip

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hmtl.files import whole_folder

ONE_OF_ONE = (
    "several processes were asked for and this is the only one: accelerate launch starts one on "
    "CPUs; use python -m torch.distributed.run --standalone --nproc_per_node N -m hmtl run ..."
)


def world() -> int:
    """How many processes train this run: `$WORLD_SIZE`, which launchers set; else 1."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def rank() -> int:
    """Which of them this is, from 0: `$RANK`; of one process 0."""
    return int(os.environ.get("RANK") or 0) if world() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return rank() == 0


def refuse(what: str) -> None:
    """Raise RuntimeError if `what`, which makes many runs, was started on several processes."""
    if world() > 1:
        raise RuntimeError(
            f"{what} makes many runs, each in a process of its own: start it without a launcher "
            "(several processes share one run: python -m hmtl run)"
        )


def join(bs: int) -> None:
    """Meet the other processes and take a device; nothing if there are none.

    Raises ValueError unless they share a batch of `bs` evenly, at least two pictures each;
    RuntimeError if others were asked for and are not there, or if a process has no GPU of its own;
    ModuleNotFoundError, with the command, without accelerate.
    """
    # accelerate's launcher names the place to meet, and then starts one process without a rank
    launched = {"ACCELERATE_MIXED_PRECISION", "MASTER_PORT"} <= set(os.environ)
    if launched and "WORLD_SIZE" not in os.environ:
        raise RuntimeError(ONE_OF_ONE)
    if world() == 1:
        return
    if bs % world() or bs < 2 * world():
        raise ValueError(
            f"bs={bs} is the batch of all {world()} processes together, and no equal share of at "
            f"least 2 for each: give a multiple of {world()}, at least {2 * world()}"
        )
    if find_spec("accelerate") is None:
        raise ModuleNotFoundError(
            'a run on several processes needs accelerate: pip install "hmtl[parallel]"',
            name="accelerate",
        )
    _meet()


def _meet() -> None:
    import torch
    from accelerate import PartialState

    on_gpu, here = torch.cuda.is_available(), int(os.environ.get("LOCAL_RANK") or 0)
    if on_gpu and here >= torch.cuda.device_count():
        raise RuntimeError(
            f"process {here} of this machine has no GPU: there are {torch.cuda.device_count()}; "
            'start as many processes, or set CUDA_VISIBLE_DEVICES="" to train on the CPU'
        )
    if on_gpu:
        torch.cuda.set_device(here)
    if not torch.distributed.is_initialized():
        PartialState(cpu=not on_gpu)


def leave() -> None:
    """Part from the other processes, after everything went well."""
    if world() > 1:
        import torch

        torch.distributed.destroy_process_group()


def gather(own: Any) -> list:
    """Every process's value, by rank; small ones, of any kind that can be pickled."""
    if world() == 1:
        return [own]
    from hmtl.method.guest import gathered

    return gathered(own)


def agreed(own: Any) -> Any:
    """What rank 0 says: what others see of the same files may be older."""
    return gather(own)[0]


def average(own):
    """Mean of a tensor over the processes; no gradient goes through it."""
    if world() == 1:
        return own
    from hmtl.method.guest import mean_of_all

    return mean_of_all(own)


@contextmanager
def by_main(manager: AbstractContextManager) -> Iterator[Any]:
    """Enter `manager` on rank 0 alone; every process gets what it yields there."""
    with manager if is_main() else nullcontext() as value:
        yield agreed(value)


@contextmanager
def one_folder(path: Path) -> Iterator[Path]:
    """`whole_folder(path)` for rank 0; others write to a folder that nobody keeps, and wait."""
    if is_main():
        with whole_folder(path) as folder:
            yield folder
    else:
        with TemporaryDirectory() as folder:
            yield Path(folder)
    gather(None)  # nobody reads before the folder is there


@contextmanager
def shared_fit(learn, seed: int) -> Iterator[None]:
    """What a fit of several processes needs, for as long as it takes; nothing in a single one.

    The Learner's training order must follow `seed`, as that of `face_dataloaders` does.
    """
    if world() == 1:
        yield
        return
    from fastai.callback.progress import ProgressCallback

    if not is_main():
        learn.remove_cbs(ProgressCallback)
    loaders = learn.dls.loaders
    before = [(loader.bs, loader.share) for loader in loaders]
    loaders[0].bs //= world()
    if loaders[0].bs < 2:
        raise ValueError(f"{len(loaders[0].dataset)} faces are too few for {world()} processes")
    for loader in loaders:
        loader.share = (rank(), world())
    _draw_apart(learn, seed)
    callbacks = _callbacks(learn)
    try:
        with learn.added_cbs(callbacks):
            yield
    finally:
        for loader, (bs, share) in zip(loaders, before, strict=True):
            loader.bs, loader.share = bs, share


def _draw_apart(learn, seed: int) -> None:
    """Give this process random numbers of its own; rank 0 keeps those of a single one."""
    import numpy as np
    import torch

    if is_main():
        return
    drawn = np.random.SeedSequence([seed, 2021, rank()]).generate_state(3, np.uint64)
    shuffled, augmented, puzzled = (int(number >> np.uint64(1)) for number in drawn)
    torch.manual_seed(shuffled)  # dropout
    for step in learn.dls.train.after_batch.fs:
        if isinstance(getattr(step, "generator", None), torch.Generator):
            step.generator.manual_seed(augmented)
    for hybrid in _hybrids(learn):
        hybrid.generator = torch.Generator().manual_seed(puzzled)


def _hybrids(learn) -> list:
    """The Learner's Hybrid callback, if it has one."""
    return [learn.hybrid] if hasattr(learn, "hybrid") else []


def _callbacks(learn) -> list:
    """DistributedTrainer on our DataLoaders, and what it leaves to do."""
    import torch
    from accelerate import DistributedDataParallelKwargs
    from fastai.callback.core import Callback
    from fastai.distributed import DistributedTrainer
    from fastai.learner import Recorder
    from timm.layers import convert_sync_batchnorm
    from torch.nn.modules.batchnorm import _BatchNorm

    from hmtl.runs.hybrids import skip

    hybrids = _hybrids(learn)
    on_gpu = torch.device(learn.dls.device).type == "cuda"

    class DataParallel(DistributedTrainer):
        """The network in DistributedDataParallel; the rest averaged by hand."""

        def before_fit(self):
            # after the optimizer was made: fastai would let weight decay act on converted layers
            if on_gpu:
                self.learn.model = convert_sync_batchnorm(self.learn.model)
            with warnings.catch_warnings():
                # accelerate does not know the option's new name
                warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
                super().before_fit()

        def _wrap_dl(self, dl):
            return dl  # FaceDL shares by itself

        def before_validate(self):
            """From here on running statistics count, and are the same everywhere."""
            for norm in self.learn.model.modules():
                if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
                    norm.running_mean.copy_(average(norm.running_mean))
                    norm.running_var.copy_(average(norm.running_var))

        def before_batch(self):
            if not self.training:
                others = rank() if self.iter == 0 else world() - 1
                for hybrid in hybrids:
                    skip(hybrid, others * self.learn.dl.bs)

    class Gathered(Callback):
        """Metrics of all validation images, before the Recorder reads them."""

        order = Recorder.order - 1

        def after_validate(self):
            for metric in (self.recorder.loss, *self.learn.metrics):
                _gather_metric(metric)

    trainer = DataParallel(
        sync_bn=False,
        cpu=not on_gpu,
        mixed_precision="no",  # the spec says it, not the launcher
        # buffers are averaged instead; a broadcast between two passes would spoil the first
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    return [trainer, Gathered()]


def _gather_metric(metric) -> None:
    """Complete one of fastai's metrics by what the other processes accumulated."""
    from fastai.learner import ValueMetric

    if hasattr(metric, "total"):
        parts = gather((float(metric.total), metric.count))
        metric.total, metric.count = (sum(column) for column in zip(*parts, strict=True))
    elif hasattr(metric, "preds"):
        parts = gather((metric.preds, metric.targs))
        metric.preds, metric.targs = (sum(column, []) for column in zip(*parts, strict=True))
    elif not isinstance(metric, ValueMetric):
        raise TypeError(f"metric {metric.name} cannot be gathered from several processes")


def predictions(learn, dl):
    """The answers to every picture of `dl`, in order, as a tensor on the CPU; each sees a share."""
    if world() == 1:
        return learn.get_preds(dl=dl)[0]
    import torch

    starts = range(rank() * dl.bs, len(dl.dataset), world() * dl.bs)
    mine = [i for start in starts for i in range(len(dl.dataset))[start : start + dl.bs]]
    own = None
    if mine:
        part = dl.new(get_idxs=lambda: mine, shuffle=False, drop_last=False)
        own = learn.get_preds(dl=part, reorder=False)[0].cpu()
    shares = [(rows, answers) for rows, answers in gather((mine, own)) if rows]
    rows = torch.tensor([row for some, _ in shares for row in some])
    return torch.cat([answers for _, answers in shares])[rows.argsort()]
