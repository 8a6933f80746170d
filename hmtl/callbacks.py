"""What a run adds to a fit: mixed precision by name, and a memory of the best epoch.

fastai's own mixed precision knows CUDA only; here it follows the device.

    ""      float32 on a CPU, float16 with a scaled loss on a GPU
    bf16    matrix products in bfloat16, weights and losses in float32, wherever it runs

On processors with bfloat16 units (`amx_bf16`, `avx512_bf16` among the flags) bf16 is the faster of
the two; elsewhere it is emulated, right but slow. The casts are torch's autocast (after
Micikevicius et al., *Mixed precision training*, arXiv 1710.03740).
"""

__all__ = ["PRECISIONS", "BestEpoch", "MixedBFloat16", "mixed_precision"]

from collections.abc import Callable

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.callback.tracker import TrackerCallback
from fastcore.foundation import L
from torch.amp import GradScaler, autocast

PRECISIONS = ("", "bf16")


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
        raise ValueError(f"unknown precision {name!r}; one of {', '.join(map(repr, PRECISIONS))}")
    if name == "bf16":
        return [MixedBFloat16()]
    return [MixedPrecision()] if torch.device(device).type == "cuda" else []


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
            self.state = {k: v.detach().clone() for k, v in self.learn.model.state_dict().items()}
