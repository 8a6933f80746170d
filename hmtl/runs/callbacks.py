"""What a run adds to a fit: precision and schedule by name, and a memory of the best epoch.

fastai's own mixed precision knows CUDA only; here it follows the device.

    ""      float32 on a CPU, float16 with a scaled loss on a GPU
    bf16    matrix products in bfloat16, weights and losses in float32, wherever it runs

On processors with bfloat16 units (`amx_bf16`, `avx512_bf16` among the flags) bf16 is the faster of
the two; elsewhere `bfloat16_products` gives its numbers at the speed of float32, where torch alone
is many times slower. The casts are torch's autocast (after Micikevicius et al., *Mixed precision
training*, arXiv 1710.03740).

The learning rate follows a schedule:

    ""             fastai's one-cycle
    warmup_cosine  up in a line for 5 epochs, then a cosine to 0: the authors' later scripts
    steps          a tenth after 15 epochs of 80, a hundredth after 40: the first ones

Batch norm's running statistics are those that the fit left, or with `norm_stats="plain"` those of
plain training pictures alone (`plain_statistics`), whatever else the network was shown.
"""

__all__ = [
    "NORM_STATS", "PRECISIONS", "SCHEDULES", "BestEpoch", "BFloat16Products", "FiniteLoss",
    "MixedBFloat16", "bfloat16_products", "fit_scheduled", "has_bfloat16_units", "learning_rate",
    "mixed_precision", "plain_statistics",
]  # fmt: skip

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.callback.schedule import ParamScheduler, SchedCos, SchedLin, combine_scheds
from fastai.callback.tracker import TrackerCallback
from fastai.learner import Learner
from fastai.torch_core import get_model
from fastcore.foundation import L
from torch.amp import GradScaler, autocast
from torch.optim.swa_utils import update_bn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from hmtl.labels import check_known, hint
from hmtl.runs import distributed

PRECISIONS = ("", "bf16")
SCHEDULES = ("", "warmup_cosine", "steps")
NORM_STATS = ("", "plain")
_WARM_UP = 5  # epochs; 3 to 5 in the authors' scripts
_STEPS = (15 / 80, 40 / 80)  # shares of a training


class MixedBFloat16(MixedPrecision):
    """fastai's mixed precision in bfloat16, on the Learner's own device."""

    def __init__(self):
        super().__init__(AMPMode.BF16)

    def before_fit(self):
        """As fastai's, which asks for CUDA by name."""
        device = torch.device(self.dls.device).type
        if device == "cuda" and not torch.cuda.is_bf16_supported():
            raise ValueError("this GPU has no bfloat16; leave precision empty for float16")
        self.autocast = autocast(device, dtype=torch.bfloat16)
        # bfloat16 has float32's range: nothing to scale
        self.learn.scaler, self.scales = GradScaler(device, enabled=False), L()


def mixed_precision(name: str, device: torch.device | str) -> list[Callback]:
    """The callbacks of a fit in that precision; ValueError naming the known ones otherwise."""
    if name not in PRECISIONS:
        all_names = ", ".join(map(repr, PRECISIONS))
        raise ValueError(f"unknown precision {name!r}; {hint(name, PRECISIONS)}one of {all_names}")
    if name == "bf16":
        return [MixedBFloat16()]
    return [MixedPrecision()] if torch.device(device).type == "cuda" else []


@contextmanager
def autocast_ended(device: torch.device | str) -> Iterator[None]:
    """End autocast with the fit, also where an error or an interrupt came within a batch.

    fastai enters it before a batch and leaves it after the loss. Left open, the next fit would go
    on with the casts of its first weights.
    """
    kind = torch.device(device).type
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    depth = torch.autocast_increment_nesting() - 1
    torch.autocast_decrement_nesting()
    try:
        yield
    finally:
        for _ in range(torch.autocast_increment_nesting() - depth):
            torch.autocast_decrement_nesting()
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)
        torch.clear_autocast_cache()


def has_bfloat16_units() -> bool:
    """Whether this processor multiplies bfloat16 itself (x86 and ARM)."""
    flags = torch.cpu.get_capabilities()
    return any(flags.get(unit) for unit in ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16"))


class BFloat16Products(TorchDispatchMode):
    """Within it a CPU without such units computes products of bfloat16 tensors in float32.

    As units do: products of bfloat16 numbers are exact in float32, they are summed there, and the
    sum is rounded to bfloat16; only the order of the sum differs, as it does from one processor to
    another. Convolutions and matrix products alone, with their backward passes; nothing else is
    touched. (Ours.)
    """

    # a set: every operation of a fit is looked up
    _PRODUCTS = {
        getattr(torch.ops.aten, name).default
        for name in ("convolution", "convolution_backward", "mm", "addmm", "bmm", "baddbmm")
    }

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """The operation, by way of float32 if it is a product of bfloat16 tensors on a CPU."""
        kwargs = kwargs or {}
        if func not in self._PRODUCTS or not _in_bfloat16(args[0]):
            return func(*args, **kwargs)
        wide = tree_map(lambda x: x.float() if _in_bfloat16(x) else x, args)
        found = func(*wide, **kwargs)
        return tree_map(lambda x: x.bfloat16() if isinstance(x, torch.Tensor) else x, found)


def _in_bfloat16(x: object) -> bool:
    return isinstance(x, torch.Tensor) and x.dtype == torch.bfloat16 and x.device.type == "cpu"


def bfloat16_products(name: str, device: torch.device | str) -> AbstractContextManager:
    """What a fit in that precision runs in: `BFloat16Products` where it is of use, else nothing.

    A block around the fit, not a callback: whatever ends the fit, an interrupt too, ends this.
    """
    wanted = name == "bf16" and torch.device(device).type == "cpu"
    return BFloat16Products() if wanted and not has_bfloat16_units() else nullcontext()


class BestEpoch(TrackerCallback):
    """Keep the weights of the epoch whose `metric` on the valid split is best, in memory.

    `better` is max or min. The fit ends with its last weights; `state` and `epoch_number`, counted
    from 1, are the best one's.
    """

    def __init__(self, metric: str, better: Callable = max):
        super().__init__(monitor=metric, comp=np.greater if better is max else np.less)
        self.state: dict[str, torch.Tensor] = {}
        self.epoch_number = 0

    def after_epoch(self):
        """Copy the weights if this epoch is the best so far; of equals the first stays."""
        super().after_epoch()
        if self.new_best:
            self.epoch_number = self.epoch + 1
            state = get_model(self.learn.model).state_dict()  # several processes wrap it
            self.state = {k: v.detach().clone() for k, v in state.items()}


class FiniteLoss(Callback):
    """End the fit at the first loss that is not finite, before it reaches the weights.

    `failure` then holds `epoch` and `batch`, both counted from 1, whether it was in `training`, the
    `losses` by name, the `images` and `labels` that the network saw, and their `positions` in the
    data; else it is None. `losses`
    asks for those beside the total. To be given to each fit.
    """

    order = MixedPrecision.order + 1  # after the pretexts' losses are in, on float32 numbers

    def __init__(self, losses: Callable[[], dict[str, float]] = dict):
        self.failure: dict | None = None
        self._losses = losses

    def after_loss(self):
        """Look at the loss; it is read from the device in every batch anyway, to be recorded.

        All processes that share a run train as many batches, and end it together; they validate
        unequal numbers, so that of those a failure is told at the end.
        """
        total = self.learn.loss_grad if self.training else self.learn.loss
        finite = torch.isfinite(total).all()
        if self.failure is None and not finite:
            self.failure = self._told(float(total.detach()))
        if self.training:
            finite = distributed.average(finite.float()) == 1
        if not finite and (self.training or distributed.world() == 1):
            raise CancelFitException

    def after_validate(self):
        """End the fit if a validation batch of any process failed."""
        if distributed.world() > 1 and any(distributed.gather(self.failure is not None)):
            raise CancelFitException

    def _told(self, total: float) -> dict:
        return {
            "epoch": self.epoch + 1, "batch": self.iter + 1, "training": self.training,
            "losses": {"total": total, **(self._losses() if self.training else {})},
            "images": self.x.detach().as_subclass(torch.Tensor).cpu(),
            "labels": [y.detach().as_subclass(torch.Tensor).cpu() for y in self.yb],
            "positions": list(getattr(self.learn.dl, "positions", ())),
        }  # fmt: skip


def plain_statistics(learn: Learner, seed: int = 0, bs: int = 256) -> None:
    """Estimate batch norm's running statistics anew, on the training pictures as a test shows them.

    Each picture counts once, in an order drawn by `seed`, in batches of `bs`; a last smaller batch
    is left out. The weights stay. By torch's `update_bn`.

    Args:
        learn: A Learner on `face_dataloaders`, after its fit.
        seed: Draws the order, from 0.
        bs: Pictures a batch, at least 2; all of them where there are fewer.
    """
    data = learn.dls.train_ds
    _, first = np.unique(data.rows, return_index=True)  # filled epochs repeat pictures
    plain = data.only(np.random.default_rng(seed).permutation(first))
    plain.split_idx = 1  # no augmentation
    loader = learn.dls.valid.new(plain, bs=min(bs, len(plain)), drop_last=True)
    training = learn.model.training
    update_bn(loader, learn.model)
    learn.model.train(training)


def learning_rate(schedule: str, lr: float, epochs: int) -> Callable[[float], float]:
    """The learning rate after a share, 0 to 1, of a training of so many epochs; `lr` is its peak.

    A training of fewer than ten epochs warms up for half of them. Raises ValueError naming the
    schedules that are functions of the share: all but the one-cycle, which moves momentum too.
    """
    if schedule == "warmup_cosine":
        warm = min(_WARM_UP, epochs / 2) / epochs
        return combine_scheds([warm, 1 - warm], [SchedLin(0, lr), SchedCos(lr, 0)])
    check_known(f"unknown schedule {schedule!r};", schedule, SCHEDULES[1:])
    return lambda share: lr * 0.1 ** sum(share >= step for step in _STEPS)


def fit_scheduled(
    learn: Learner, epochs: int, lr: float, schedule: str = "", cbs: Sequence[Callback] = ()
) -> None:
    """Fit a Learner by one of `SCHEDULES` with peak `lr`; ValueError naming them otherwise."""
    if not schedule:
        learn.fit_one_cycle(epochs, lr, cbs=cbs)
        return
    follow = ParamScheduler({"lr": learning_rate(schedule, lr, epochs)})
    learn.fit(epochs, lr, cbs=[*cbs, follow])
