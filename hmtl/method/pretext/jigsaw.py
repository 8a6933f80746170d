"""Jigsaw n x n: one softmax over a fixed set of permutations, as in the literature.

Noroozi & Favaro, *Unsupervised learning of visual representations by solving jigsaw puzzles* (ECCV
2016): a few permutations, chosen greedily to be far apart, and the network says which of them was
applied. Here for comparison with the authors' one softmax a place. The set is the same for every
seed.
"""

__all__ = ["Jigsaw", "permutation_set"]

import functools
import itertools
import math

import numpy as np
import torch
from torch import Tensor

from hmtl.method.pretext.base import OneChoice
from hmtl.method.pretext.puzzling import shuffle_tiles
from hmtl.method.pretext.tiles import TileTask

_CANDIDATES = 20_000  # of more permutations than this, a random choice stands for all


@functools.cache
def permutation_set(places: int, count: int) -> np.ndarray:
    """`count` permutations of `places` far apart in Hamming distance, int64 (count, places).

    Greedy: the identity, then again and again the permutation with the largest mean distance to
    those chosen. Raises ValueError if there are fewer.
    """
    total = math.factorial(places)
    if not 2 <= count <= total:
        raise ValueError(f"{places} tiles have {total} permutations, asked for {count}")
    if total <= _CANDIDATES:
        candidates = np.array(list(itertools.permutations(range(places))))
    else:
        rng = np.random.default_rng(0)
        drawn = rng.permuted(np.tile(np.arange(places), (_CANDIDATES, 1)), axis=1)
        candidates = np.unique(np.vstack([np.arange(places), drawn]), axis=0)
    chosen = [0]  # the identity: both are in order
    distance = np.zeros(len(candidates))
    for _ in range(count - 1):
        distance += (candidates != candidates[chosen[-1]]).sum(1)
        distance[chosen[-1]] = -np.inf
        chosen.append(int(distance.argmax()))
    return candidates[chosen]


class Jigsaw(OneChoice, TileTask):
    """Jigsaw n x n: which permutation of a fixed set was applied?

    Args:
        n: Tiles a side, at least 2.
        count: Permutations in the set; None: all 24 at 2 x 2, else 100.
        dropout: Before the head, in 0..1.

    Raises:
        ValueError: Fewer than 2 tiles a side, or other permutations than there are.
    """

    kind, least = "jigsaw", 2

    def __init__(self, n: int = 2, count: int | None = None, dropout: float = 0.2):
        super().__init__(n, dropout)
        self.classes = count or (24 if n == 2 else 100)
        self.orders = torch.from_numpy(permutation_set(self.places, self.classes))

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Shuffle each picture by a permutation of the set. Target int64 (B,): which one."""
        which = torch.randint(self.classes, (len(images),), generator=generator)
        views = shuffle_tiles(self.fit_size(images), self.orders[which], self.n)
        return views, which.to(images.device)

    def shares_view_with(self, other) -> bool:
        """Its permutations are not free, so nothing else may move the tiles."""
        return False
