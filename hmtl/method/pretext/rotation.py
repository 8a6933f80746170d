"""Rotation: tiles (or the whole picture) are turned by quarters, and the network says by how many.

Tile rotation n x n is the authors' second pretext (papers/hmtl/card.md): each tile is turned by 0,
90, 180 or 270 degrees and stays where it is; one softmax of four classes a place. Their second
repository turns only some tiles, 2 of 4 or 4 of 9 (`turned`). `ImageRotation` is the classic
baseline: Gidaris, Singh & Komodakis, *Unsupervised representation learning by predicting image
rotations* (ICLR 2018). Quarters are counted against the clock.
"""

__all__ = ["ImageRotation", "TileRotation", "turn_tiles"]

import torch
from torch import Tensor

from hmtl.method.pretext.tiles import TileTask, cut_tiles, join_tiles


def turn_tiles(images: Tensor, quarters: Tensor, n: int) -> Tensor:
    """Turn the tile at place i of picture b by `quarters[b, i]` quarters, against the clock.

    (B, C, H, W) and int (B, n^2) -> (B, C, H, W). Raises ValueError if n does not divide H and W,
    or if the tiles are not square.
    """
    tiles = cut_tiles(images, n)
    if tiles.shape[-1] != tiles.shape[-2]:
        raise ValueError(
            f"tiles of {tuple(tiles.shape[-2:])} pixels cannot be turned by a quarter; give square "
            f"pictures: Resize(size) in item_tfms, size= of face_dataloaders"
            + f", with a size that {n} divides"
            * (n > 1)
        )
    turned = tiles.flatten(0, 1)
    if turned.data_ptr() == images.data_ptr():  # of one tile: the picture itself, not ours to turn
        turned = turned.clone()
    for quarter in (1, 2, 3):  # each tile once, and only if it turns
        rows = (quarters.flatten() == quarter).nonzero()[:, 0].to(images.device)
        turned[rows] = turned[rows].rot90(quarter, (-2, -1))
    return join_tiles(turned.view(tiles.shape), n)


class TileRotation(TileTask):
    """Rotation of n x n tiles: by how many quarters is each turned? The authors' pretext.

    Args:
        n: Tiles a side, at least 1.
        turned: How many tiles may turn, drawn picture by picture; None: all.
        dropout: Before the head, in 0..1.
        on: What the head reads: "pooled" (B, F) or the feature "map" (B, C, h, w).

    Raises:
        ValueError: `n`, `turned` or `on` is none of these. Of pictures: tiles are not square.
    """

    kind, classes = "tile_rotation", 4
    turns = True

    def __init__(
        self, n: int = 2, turned: int | None = None, dropout: float = 0.2, on: str = "pooled"
    ):
        super().__init__(n, dropout, on)
        if turned is not None and not 1 <= turned <= n * n:
            raise ValueError(f"turned must be 1 to {n * n} of {n} x {n} tiles, got {turned}")
        self.turned = turned
        if turned is not None and turned < n * n:
            self.name += f"_{turned}turned"

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Turn the tiles. Target int64 (B, n^2): the quarters at each place, 0 where none."""
        shape = (len(images), self.places)
        quarters = torch.randint(4, shape, generator=generator)
        if self.turned is not None:
            rank = torch.rand(shape, generator=generator).argsort(1).argsort(1)
            quarters = torch.where(rank < self.turned, quarters, 0)
        # turned by the draw on the CPU: no GPU is asked which tiles turn
        return turn_tiles(self.fit_size(images), quarters, self.n), quarters.to(images.device)


class ImageRotation(TileRotation):
    """The whole picture turned (Gidaris et al., ICLR 2018): tile rotation with one tile.

    Args:
        dropout: Before the head, in 0..1.
        on: What the head reads: "pooled" (B, F) or the feature "map" (B, C, h, w).

    Raises:
        ValueError: `on` is none of these.
    """

    kind = "image_rotation"

    def __init__(self, dropout: float = 0.2, on: str = "pooled"):
        super().__init__(1, None, dropout, on)
        self.name = self.kind + ("_map" if on == "map" else "")
