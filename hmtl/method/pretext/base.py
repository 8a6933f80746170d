"""What every pretext task offers; the docstring of `hmtl.method.pretext` says what each name
means.
"""

__all__ = ["OneChoice", "Pretext", "batch_steps", "batch_types", "show_rows"]

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn


def batch_steps(loader) -> list:
    """What a DataLoader does to whole batches; nothing if it is none of fastai's pipelines."""
    return list(getattr(getattr(loader, "after_batch", None), "fs", ()))


def batch_types(loader) -> list[type]:
    """The types of a batch of fastai's, pictures and labels; none if the loader does not know."""

    def flat(found) -> list[type]:
        if isinstance(found, type):
            return [found]
        parts = found.values() if isinstance(found, dict) else found
        return [kind for part in parts for kind in flat(part)]

    return flat(getattr(loader, "_types", ()))


def show_rows(
    rows: Sequence[Tensor], titles: Sequence[str] = (), side: tuple[float, float] = (1.6, 1.8)
) -> Figure:
    """Rows of pictures, one below the other.

    Args:
        rows: Each float (B, 3, H, W) in [0, 1].
        titles: Above the pictures of the last row, B or none.
        side: Width and height of a picture's place, inches.
    """
    shape = len(rows), len(rows[0])
    size = side[0] * shape[1], side[1] * shape[0]
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, layout="constrained")
    for axis, picture in zip(axes.flat, (one for row in rows for one in row), strict=True):
        axis.imshow(picture.permute(1, 2, 0).clamp(0, 1).numpy(force=True))
        axis.set_axis_off()
    for axis, title in zip(axes[-1], titles, strict=bool(titles)):
        axis.set_title(title, fontsize=8)
    return figure


class Pretext:
    """Base of the pretext tasks: override what raises NotImplementedError."""

    name = "pretext"
    # The weight of the loss beside the supervised one, by how views are used. 1 and 0.3 are the
    # authors' (first and later scripts).
    weight = {"shared": 1.0, "paired": 0.3}
    # What the head hangs on: "pooled", the representation (B, F), or "map", the feature map
    # (B, C, h, w).
    reads = "pooled"
    # Whether the head's gradient stops before the encoder, and whether the task compares the view
    # with the untouched picture: its target is then the head's answer to that.
    cut_off = False
    siamese = False
    # Whether the view, or a part of it, is turned: it then has another head pose.
    turns = False
    # Whether the view is as good a picture as the untouched one, so that labels of any kind hold.
    plain_view = False
    # Whether the view is of the batch's own pictures: of others no label is known.
    own_pictures = True
    # Raised when the same name begins to give other numbers: runs of earlier ones are then no
    # longer taken for its own.
    revision = 1

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Any]:
        """What the network sees, and what it must say of it.

        Args:
            images: Float (B, 3, H, W) in [0, 1].
            generator: On the CPU; every random choice comes from it.

        Returns:
            Views, float (B, 3, h, w) in [0, 1], and the target, which `loss` and `score` read.
        """
        raise NotImplementedError

    def head(self, num_features: int) -> nn.Module | None:
        """The head on what the task `reads`.

        Args:
            num_features: F of the representation (B, F), or C of the feature map (B, C, h, w).

        Returns:
            What answers; None if there is no loss.
        """
        raise NotImplementedError

    def loss(self, prediction: Any, target: Any) -> Tensor:
        """The loss of a batch.

        Args:
            prediction: What the head gave, float32 of B rows.
            target: What `transform` returned beside the views.

        Returns:
            A scalar that can be differentiated.
        """
        raise NotImplementedError

    def score(self, prediction: Any, target: Any) -> Tensor:
        """How good a batch's answers are.

        Args:
            prediction, target: As `loss` takes them.

        Returns:
            A scalar in [0, 1], larger is better.
        """
        raise NotImplementedError

    def show(self, images: Tensor, seed: int = 0) -> Figure:
        """Draw pictures above what the network is asked about them.

        Args:
            images: Float (B, 3, H, W) in [0, 1].
            seed: Of the views.

        Returns:
            The figure.
        """
        raise NotImplementedError

    def shares_view_with(self, other: "Pretext") -> bool:
        """Whether both can be asked of one and the same transformed picture."""
        return False

    def relabel(self, labels: tuple) -> tuple:
        """The supervised labels of the view made last.

        They differ where the view was not made of the picture itself.

        Args:
            labels: Those of the pictures, tensors of B rows.

        Returns:
            As many.
        """
        return labels

    def prepare(self, device: torch.device) -> None:
        """Load now what is loaded at first use: a training taken up midway does so before it takes
        up the random numbers."""

    @staticmethod
    def seeded(seed: int) -> torch.Generator:
        """A generator that starts at `seed`."""
        return torch.Generator().manual_seed(seed)

    def attach(self, dls) -> None:
        """Called with the learner's DataLoaders before a fit; most tasks need nothing of them."""

    def __repr__(self) -> str:
        return self.name


class OneChoice(Pretext):
    """Base of the tasks whose answer is one of `classes`, of the whole picture."""

    classes: int
    dropout: float

    def head(self, num_features: int) -> nn.Module:
        """Dropout and one softmax."""
        return nn.Sequential(nn.Dropout(self.dropout), nn.Linear(num_features, self.classes))

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy."""
        return F.cross_entropy(prediction, target)

    def score(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Share named rightly."""
        return (prediction.argmax(1) == target).float().mean()
