"""Pictures as pretexts see them, in [0, 1], and as the network does; views of other sizes."""

__all__ = ["Pictures", "rescale"]

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from fastai.data.transforms import Normalize
from fastai.torch_core import TensorImage
from torch import Tensor

from hmtl.method.pretext.base import batch_steps, batch_types


class Pictures:
    """Undoes a normalisation for the pretexts, and does it again for the network.

    Args:
        dls: the Learner's DataLoaders, whose `Normalize` is found.
        given: (mean, std) of the channels, of a normalisation done elsewhere; None: none was.
    """

    def __init__(self, dls, given: Sequence | None = None):
        steps = [step for step in batch_steps(dls.train) if isinstance(step, Normalize)]
        kinds = batch_types(dls.train)
        if kinds and not issubclass(kinds[0], TensorImage):
            steps = []  # it leaves plain tensors as they are
        self._normalize: Sequence | None = (steps[0].mean, steps[0].std) if steps else None
        if given is not None:
            self._normalize = [torch.as_tensor(part).view(1, -1, 1, 1) for part in given]

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
    size = [max(1, round(side * scale)) for side in view.shape[-2:]]
    return F.interpolate(view, size, mode="bilinear", align_corners=False)
