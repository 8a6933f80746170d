"""Puzzling n x n: the picture's tiles are shuffled, and the network says which tile lies where.

The authors' pretext (papers/hmtl/card.md, "Pretext tasks"): one softmax of n^2 classes *per place*,
not one softmax over a subset of permutations as in the jigsaw literature
(`hmtl.method.pretext.jigsaw`). The target of place i is the index of the tile now there. The n^2
softmaxes of n^2 classes are one linear layer of n^4 outputs.
"""

__all__ = ["Puzzling", "shuffle_tiles", "unshuffle_tiles"]

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from hmtl.method.pretext.tiles import TileTask, grid_of_tiles, join_tiles


def shuffle_tiles(images: Tensor, order: Tensor, n: int) -> Tensor:
    """Put tile `order[b, i]` of picture b at place i; (B, C, H, W) and (B, n^2) -> (B, C, H, W).

    Raises ValueError if n does not divide H and W.
    """
    batch = torch.arange(len(images), device=images.device)[:, None]
    order = order.to(images.device)
    # tiles are taken from where they lie, row by column: cutting all of them first is a copy more
    return join_tiles(grid_of_tiles(images, n)[batch, :, order // n, :, order % n], n)


def unshuffle_tiles(views: Tensor, order: Tensor, n: int) -> Tensor:
    """Undo `shuffle_tiles`: put the tile at place i back to place `order[b, i]`."""
    return shuffle_tiles(views, order.argsort(1), n)


class Puzzling(TileTask):
    """Puzzling n x n, n >= 2. `dropout` before the head is 0.2 in the authors' first scripts."""

    kind, least = "puzzling", 2

    def __init__(self, n: int = 2, dropout: float = 0.2, on: str = "pooled"):
        super().__init__(n, dropout, on)

    @property
    def classes(self) -> int:
        """Every tile may lie at every place."""
        return self.places

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Shuffle each picture's tiles by its own permutation.

        Returns the puzzles (B, 3, n h, n w) and the target int64 (B, n^2): the tile at each place.
        """
        order = torch.rand(len(images), self.places, generator=generator).argsort(1)
        order = order.to(images.device)
        return shuffle_tiles(self.fit_size(images), order, self.n), order

    def solve(self, views: Tensor, prediction: Tensor) -> Tensor:
        """Puzzles (B, 3, n h, n w) put together as the logits (B, n^2, n^2) say.

        Every tile is used once: the most probable assignment of tiles to places.
        """
        orders = [
            linear_sum_assignment(-logits.numpy(force=True).T)[1]
            for logits in prediction.log_softmax(1)
        ]
        return unshuffle_tiles(views, torch.from_numpy(np.stack(orders)), self.n)
