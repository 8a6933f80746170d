"""Several tasks asked of one and the same picture: `OneView`, and the authors' puzzling + rotation.

Each task transforms what the one before it made, in the order given, and has a head of its own on
the same features.
"""

__all__ = ["OneView", "PuzzlingRotation", "check_shared"]

from collections.abc import Sequence
from itertools import combinations

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from hmtl.method.pretext.base import Pretext
from hmtl.method.pretext.puzzling import Puzzling
from hmtl.method.pretext.rotation import TileRotation
from hmtl.method.pretext.tiles import show_asked


def check_shared(pretexts: Sequence[Pretext]) -> None:
    """Raise ValueError naming two tasks that cannot be asked of one picture."""
    for one, other in combinations(pretexts, 2):
        if not (one.shares_view_with(other) and other.shares_view_with(one)):
            raise ValueError(
                f"{one.name} and {other.name} cannot share one view; use views='paired', where "
                "each has its own"
            )


class _Heads(nn.Module):
    """The heads side by side: features -> a list of predictions."""

    def __init__(self, heads: Sequence[nn.Module]):
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, features: Tensor) -> list[Tensor]:
        return [head(features) for head in self.heads]


class OneView(Pretext):
    """Tasks asked of one view together: losses add up, the score is their mean. Ours.

    Args:
        pretexts: The tasks, in the order in which they transform the picture.

    Raises:
        ValueError: Two of them cannot share a picture, or read different features.

    Example:
        >>> from hmtl import OneView, Puzzling, TileRotation
        >>> OneView(Puzzling(3), TileRotation(3))
        puzzling_3x3+tile_rotation_3x3
    """

    def __init__(self, *pretexts: Pretext):
        check_shared(pretexts)
        if len({pretext.reads for pretext in pretexts}) > 1:
            raise ValueError("tasks of one view must all read the pooled features, or all the map")
        self.pretexts = pretexts
        self.reads = pretexts[0].reads
        self.turns = any(pretext.turns for pretext in pretexts)
        self.revision = 1 + sum(pretext.revision - 1 for pretext in pretexts)
        self.name = "+".join(pretext.name for pretext in pretexts)

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, list]:
        """Apply all transforms one after the other; the targets in their order."""
        targets = []
        for pretext in self.pretexts:
            images, target = pretext.transform(images, generator)
            targets.append(target)
        return images, targets

    def prepare(self, device: torch.device) -> None:
        """Each pretext's own."""
        for pretext in self.pretexts:
            pretext.prepare(device)

    def head(self, num_features: int) -> nn.Module:
        """One head a task."""
        heads = (pretext.head(num_features) for pretext in self.pretexts)
        return _Heads([head for head in heads if head is not None])

    def _each(self, what: str, predictions: list[Tensor], targets: list) -> list[Tensor]:
        return [
            getattr(pretext, what)(prediction, target)
            for pretext, prediction, target in zip(self.pretexts, predictions, targets, strict=True)
        ]

    def loss(self, prediction: list[Tensor], target: list) -> Tensor:
        """Sum of the tasks' losses."""
        first, *others = self._each("loss", prediction, target)
        return sum(others, first)

    def score(self, prediction: list[Tensor], target: list) -> Tensor:
        """Mean of the tasks' scores."""
        return torch.stack(self._each("score", prediction, target)).mean()

    def show(self, images: Tensor, seed: int = 0) -> Figure:
        """Pictures above what is made of them, with each task's target in a line of its own."""
        return show_asked(images, *self.transform(images, self.seeded(seed)))


class PuzzlingRotation(OneView):
    """The authors' both at once: tiles are shuffled, then turned.

    Args:
        n: Tiles a side, at least 2.
        dropout: Before each head, in 0..1.
        on: What the heads read: "pooled" (B, F) or the feature "map" (B, C, h, w).

    Raises:
        ValueError: `n` or `on` is none of these.
    """

    def __init__(self, n: int = 2, dropout: float = 0.2, on: str = "pooled"):
        super().__init__(Puzzling(n, dropout, on), TileRotation(n, None, dropout, on))
        self.name = f"puzzling_rotation_{n}x{n}" + ("_map" if on == "map" else "")
