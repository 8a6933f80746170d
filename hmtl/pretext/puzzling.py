"""Puzzling n x n: the picture's tiles are shuffled, and the network says which tile lies where.

The authors' pretext (papers/hmtl/card.md, "Pretext tasks"): one softmax of n^2 classes *per place*,
not one softmax over a subset of permutations as in the jigsaw literature. The target of place i is
the index of the tile now there; tiles count from left to right, then down.

The n^2 softmaxes of n^2 classes are one linear layer of n^4 outputs. Where n does not divide the
size, the picture is resized to the nearest multiple of n first (224 px at 3 x 3 gives the authors'
225; 112 gives 111).
"""

__all__ = ["Puzzling", "shuffle_tiles", "unshuffle_tiles"]

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from hmtl.pretext.base import Pretext


def _tiles(images: Tensor, n: int) -> Tensor:
    """(B, C, H, W) -> (B, n^2, C, h, w), tiles counted along the rows."""
    count, channels, height, width = images.shape
    cut = images.reshape(count, channels, n, height // n, n, width // n)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def _join(tiles: Tensor, n: int) -> Tensor:
    """(B, n^2, C, h, w) -> (B, C, n h, n w): the inverse of `_tiles`."""
    count, _, channels, height, width = tiles.shape
    grid = tiles.reshape(count, n, n, channels, height, width)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(count, channels, n * height, n * width)


def shuffle_tiles(images: Tensor, order: Tensor, n: int) -> Tensor:
    """Put tile `order[b, i]` of picture b at place i; (B, C, H, W) and (B, n^2) -> (B, C, H, W).

    Raises ValueError if n does not divide H and W.
    """
    if images.shape[-1] % n or images.shape[-2] % n:
        raise ValueError(f"{tuple(images.shape[-2:])} pixels do not divide into {n} x {n} tiles")
    batch = torch.arange(len(images), device=images.device)[:, None]
    return _join(_tiles(images, n)[batch, order.to(images.device)], n)


def unshuffle_tiles(views: Tensor, order: Tensor, n: int) -> Tensor:
    """Undo `shuffle_tiles`: put the tile at place i back to place `order[b, i]`."""
    return shuffle_tiles(views, order.argsort(1), n)


class PuzzlingHead(nn.Module):
    """Dropout and one linear layer: (B, F) -> logits (B, n^2 classes, n^2 places)."""

    def __init__(self, num_features: int, places: int, dropout: float):
        super().__init__()
        self.places = places
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(num_features, places * places)

    def forward(self, features: Tensor) -> Tensor:
        logits = self.linear(self.dropout(features))
        return logits.view(-1, self.places, self.places).transpose(1, 2)


class Puzzling(Pretext):
    """Puzzling n x n, n >= 2. `dropout` before the head is 0.2 in the authors' first scripts."""

    def __init__(self, n: int = 2, dropout: float = 0.2):
        if n < 2:
            raise ValueError(f"a puzzle needs n >= 2 tiles a side, got {n}")
        self.n, self.dropout = n, dropout
        self.name = f"puzzling_{n}x{n}"

    @property
    def places(self) -> int:
        """Number of tiles, n^2."""
        return self.n**2

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Shuffle each picture's tiles by its own permutation.

        Returns the puzzles (B, 3, n h, n w) and the target int64 (B, n^2): the tile at each place.
        """
        order = torch.rand(len(images), self.places, generator=generator).argsort(1)
        order = order.to(images.device)
        return shuffle_tiles(self.fit_size(images), order, self.n), order

    def fit_size(self, images: Tensor) -> Tensor:
        """Resize to the nearest multiple of n, if the size is none."""
        size = [max(self.n, self.n * round(side / self.n)) for side in images.shape[-2:]]
        if size == list(images.shape[-2:]):
            return images
        return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)

    def head(self, num_features: int) -> nn.Module:
        """The n^2 softmaxes as one linear layer behind dropout."""
        return PuzzlingHead(num_features, self.places, self.dropout)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Sum over the places of the mean cross-entropy (the authors add one loss a tile)."""
        return F.cross_entropy(prediction, target) * self.places

    def score(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Share of places whose tile is named rightly; chance is 1/n^2."""
        return (prediction.argmax(1) == target).float().mean()

    def show(self, images: Tensor, seed: int = 0) -> Figure:
        """Pictures above their puzzles, each puzzle with its target."""
        views, target = self.transform(images, torch.Generator().manual_seed(seed))
        figure, axes = plt.subplots(
            2, len(images), figsize=(1.6 * len(images), 3.6), squeeze=False, layout="constrained"
        )
        for column, (image, view, order) in enumerate(zip(images, views, target, strict=True)):
            axes[0, column].imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(force=True))
            axes[1, column].imshow(view.permute(1, 2, 0).clamp(0, 1).numpy(force=True))
            axes[1, column].set_title(" ".join(map(str, order.tolist())), fontsize=8)
        for axis in axes.flat:
            axis.set_axis_off()
        return figure
