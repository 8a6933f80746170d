"""Puzzling n x n: the picture's tiles are shuffled, and the network says which tile lies where.

The authors' pretext (papers/hmtl/card.md, "Pretext tasks"): one softmax of n^2 classes *per place*,
not one softmax over a subset of permutations as in the jigsaw literature
(`hmtl.method.pretext.jigsaw`). The target of place i is the index of the tile now there. The n^2
softmaxes of n^2 classes are one linear layer of n^4 outputs.

Lines that run on across a cut tell neighbours without a look at the face. A gap takes them away:
of each tile a smaller square is kept, at a random place within it (Noroozi and Favaro,
arXiv 1603.09246).
"""

__all__ = ["Puzzling", "crop_tiles", "shuffle_tiles", "unshuffle_tiles"]

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from hmtl.method.pretext.tiles import TileTask, cut_tiles, grid_of_tiles, join_tiles


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


def crop_tiles(images: Tensor, n: int, gap: int, generator: torch.Generator) -> Tensor:
    """Keep of each of n x n tiles a square smaller by `gap` pixels, and enlarge it to the tile.

    Each square lies at a random place of its own, so that two neighbours are `gap` pixels apart in
    the mean.

    Args:
        images: float (B, C, H, W).
        n: Tiles a side; divides H and W.
        gap: Pixels, from 0 to one less than a tile's shorter side.
        generator: Draws the places.

    Returns:
        float (B, C, H, W).

    Raises:
        ValueError: The gap leaves nothing of a tile.
    """
    tiles = cut_tiles(images, n)
    height, width = tiles.shape[-2:]
    if not 0 <= gap < min(height, width):
        raise ValueError(
            f"a gap of {gap} pixels leaves nothing of a tile of {(height, width)}; take a gap "
            f"below {min(height, width)}, fewer tiles, or larger pictures"
        )
    corner = torch.randint(gap + 1, (*tiles.shape[:2], 2), generator=generator).to(images.device)
    top, left = corner.flatten(0, 1).unbind(1)
    rows = top[:, None] + torch.arange(height - gap, device=images.device)
    columns = left[:, None] + torch.arange(width - gap, device=images.device)
    each = torch.arange(len(top), device=images.device)[:, None, None]
    kept = tiles.flatten(0, 1)[each, :, rows[:, :, None], columns[:, None]]  # (B n^2, h, w, C)
    kept = kept.permute(0, 3, 1, 2)
    grown = F.interpolate(kept, (height, width), mode="bilinear", align_corners=False)
    return join_tiles(grown.reshape(tiles.shape), n)


class Puzzling(TileTask):
    """Puzzling n x n: which tile lies at each place? The authors' pretext.

    Args:
        n: Tiles a side, at least 2. Pictures whose sides are no multiple of it are resized to the
            nearest multiple.
        dropout: Before the head, in 0..1; 0.2 in the authors' first scripts.
        on: What the head reads: "pooled" (B, F) or the feature "map" (B, C, h, w).
        gap: Mean distance between neighbouring tiles, pixels (`crop_tiles`); theirs is 0.

    Raises:
        ValueError: `n`, `on` or `gap` is none of these.

    Example:
        >>> import torch
        >>> from hmtl import Puzzling
        >>> from hmtl.method.pretext.puzzling import unshuffle_tiles
        >>> task, images = Puzzling(2), torch.rand(8, 3, 48, 48)
        >>> views, order = task.transform(images, task.seeded(0))
        >>> views.shape, order.shape
        (torch.Size([8, 3, 48, 48]), torch.Size([8, 4]))
        >>> bool((unshuffle_tiles(views, order, 2) == images).all())
        True
    """

    kind, least = "puzzling", 2

    def __init__(self, n: int = 2, dropout: float = 0.2, on: str = "pooled", gap: int = 0):
        super().__init__(n, dropout, on, f"_gap{gap}" if gap else "")
        if gap < 0:
            raise ValueError(f"gap must be at least 0 pixels, got {gap}")
        self.gap = gap
        self.classes = self.places  # every tile may lie at every place

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Shuffle each picture's tiles by its own permutation.

        Returns the puzzles (B, 3, n h, n w) and the target int64 (B, n^2): the tile at each place.
        """
        order = torch.rand(len(images), self.places, generator=generator).argsort(1)
        order = order.to(images.device)
        images = self.fit_size(images)
        if self.gap:
            images = crop_tiles(images, self.n, self.gap, generator)
        return shuffle_tiles(images, order, self.n), order

    def solve(self, views: Tensor, prediction: Tensor) -> Tensor:
        """Puzzles (B, 3, n h, n w) put together as the logits (B, n^2, n^2) say.

        Every tile is used once: the most probable assignment of tiles to places.
        """
        orders = [
            linear_sum_assignment(-logits.numpy(force=True).T)[1]
            for logits in prediction.log_softmax(1)
        ]
        return unshuffle_tiles(views, torch.from_numpy(np.stack(orders)), self.n)
