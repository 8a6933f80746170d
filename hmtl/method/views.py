"""Views: pictures as pretexts and as the network see them, and what batch norm keeps of them."""

__all__ = ["Pictures", "kept_statistics", "rescale"]

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from fastai.data.transforms import Normalize
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hmtl.method.pretext.base import batch_steps


class Pictures:
    """Pictures as pretexts see them, in [0, 1], and as the model does.

    They differ where the DataLoaders normalise: that is undone, and done again.
    """

    def __init__(self, dls):
        steps = [step for step in batch_steps(dls.train) if isinstance(step, Normalize)]
        self._normalize = (steps[0].mean, steps[0].std) if steps else None

    def plain(self, picture: Tensor) -> Tensor:
        """A loader's pictures (B, C, H, W), in [0, 1]."""
        picture = picture.as_subclass(Tensor)  # fastai's costs a dispatch for every operation
        if self._normalize is None:
            return picture
        mean, std = (t.as_subclass(Tensor).to(picture) for t in self._normalize)
        return picture * std + mean

    def seen(self, view: Tensor) -> Tensor:
        """A view in [0, 1], as the model sees it."""
        if self._normalize is None:
            return view
        mean, std = (t.as_subclass(Tensor).to(view) for t in self._normalize)
        return (view - mean) / std


def rescale(view: Tensor, scale, generator: torch.Generator) -> Tensor:
    """A view of another size: `scale` is relative to its own, a number or (low, high) to draw."""
    if scale == 1:
        return view
    if not isinstance(scale, int | float):
        low, high = scale
        scale = low + (high - low) * float(torch.rand((), generator=generator))
    size = [round(side * scale) for side in view.shape[-2:]]
    return F.interpolate(view, size, mode="bilinear", align_corners=False)


@contextmanager
def kept_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norm works on the batch but does not remember it.

    At inference a network sees no puzzles. Where the supervised head is not trained on a pretext's
    views, running means that count them are wrong for all that it will see: with them the error of
    a head pose is twice what the same weights give (papers/LOG.md).
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    kept = [norm for norm in norms if norm.track_running_stats]
    for norm in kept:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in kept:
            norm.track_running_stats = True
