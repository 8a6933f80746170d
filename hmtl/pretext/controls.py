"""Controls: what the auxiliary views cost, without what they are said to teach. Ours.

Paired views double the images a training step sees. `SecondView` spends the same compute on a
second, independently augmented plain view of each image and no pretext at all: a pretext that does
not beat it has gained by its views, not by its task.
"""

__all__ = ["SecondView"]

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hmtl.pretext.base import Pretext


class SecondView(Pretext):
    """Another augmentation of the same images, no head, no loss; for `views="paired"` only."""

    name = "second_view"
    weight = {"paired": 0.0}

    def __init__(self):
        self._augment = None

    def attach(self, dls) -> None:
        """Find the `Augment` transform of the DataLoaders, which can augment a batch again."""
        steps = [step for step in dls.train.after_batch.fs if hasattr(step, "again")]
        if not steps:
            raise ValueError(
                "SecondView needs DataLoaders made by hmtl.face_dataloaders, whose augmentation "
                "can be applied a second time to the same batch"
            )
        self._augment = steps[0]

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, None]:
        """A second view of the training batch `images` came from; they themselves go unused."""
        if self._augment is None or not self._augment.training:
            return images, None  # validation images are never augmented
        return self._augment.again(generator), None

    def head(self, num_features: int) -> None:
        """No head."""

    def show(self, images: Tensor, seed: int = 0) -> Figure:
        """The images, one beside the other: there is no task to show."""
        figure, axes = plt.subplots(1, len(images), figsize=(1.6 * len(images), 1.8), squeeze=False)
        for axis, image in zip(axes.flat, images, strict=True):
            axis.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(force=True))
            axis.set_axis_off()
        return figure
