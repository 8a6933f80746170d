"""Pictures that are one picture: the same pixels, or nearly, by a hash and then by a look.

A test image that also trains is the case that matters. All pairs of 300,000 are 45 billion,
so a 64-bit dHash (`hmtl.data.photos.difference_hash`; a few lines of numpy, where a library of
hashes would bring wavelets along) finds the candidates: two hashes that differ in at most three
bits agree in one of four bands of 16, so only pictures that share a band are compared. Aligned
faces of two people can have such hashes too; therefore candidates are looked at: reduced to 16x16
grey levels, they must differ by no more than `LEVELS` of 255 on average. A copy in another size or
JPEG quality is found; one that is cut, mirrored, brightened or drawn upon is not. Ours.
"""

__all__ = ["BITS", "LEVELS", "find_groups", "near_pairs"]

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

BITS = 3  # of 64 that may differ
LEVELS = 3.0  # grey levels by which thumbnails may differ on average
_BANDS = BITS + 1  # so that one of them is equal
_SIDE = 16  # of a thumbnail, pixels
_ONES = np.array([bin(i).count("1") for i in range(1 << 16)], np.uint8)
_CELLS = 1 << 20  # pairs compared at once


def find_groups(
    hashes: np.ndarray, digests: np.ndarray, images: Callable[[], np.ndarray], rows: np.ndarray
) -> list[list[int]]:
    """Return groups of two or more alike pictures: lists of rows, each ascending, by first row.

    `hashes` and `digests`, uint64 (N,), are those of the pictures at `rows`, int64 (N,), of the
    array that `images()` maps, uint8 (M, S, S, C). Alike is passed on: a group may hold two that
    are only alike by way of a third.
    """
    _, first, same = np.unique(digests, return_index=True, return_inverse=True)
    links = [np.stack([first[same], np.arange(len(rows))], axis=1)]  # equal pixels
    thumbnails = np.zeros((len(first), _SIDE * _SIDE), np.uint8)
    known = np.zeros(len(first), bool)
    for pairs in near_pairs(hashes[first]):
        new = np.unique(pairs)
        new = new[~known[new]]
        thumbnails[new] = _reduce(images, rows[first[new]])
        known[new] = True
        a, b = (thumbnails[pairs[:, i]].astype(np.int16) for i in (0, 1))
        alike = np.abs(a - b).mean(axis=1) <= LEVELS
        links.append(first[pairs[alike]])
    a, b = np.concatenate(links).T
    graph = coo_matrix((np.ones(len(a), bool), (a, b)), shape=(len(rows), len(rows)))
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group, kind="stable")
    parts = np.split(rows[order], np.flatnonzero(np.diff(group[order])) + 1)
    return sorted(part.tolist() for part in parts if len(part) > 1)


def near_pairs(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pairs i < j of hashes, uint64 (N,), that differ in at most `BITS` bits, int64 (n, 2).

    Each pair comes once.
    """
    bands = np.stack([hashes >> np.uint64(16 * i) & np.uint64(0xFFFF) for i in range(_BANDS)])
    for number, band in enumerate(bands):
        order = np.argsort(band, kind="stable")
        edges = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, edges) if len(order) else []:
            step = max(1, _CELLS // len(bucket))
            for start in range(0, len(bucket) - 1, step):
                pairs = _compare(hashes, bucket[start : start + step], bucket[start:])
                # what shares an earlier band came with that one
                earlier = bands[:number, pairs[:, 0]] == bands[:number, pairs[:, 1]]
                if len(pairs := pairs[~earlier.any(axis=0)]):
                    yield pairs


def _compare(hashes: np.ndarray, chunk: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return the near pairs of some rows with those after them, int64 (n, 2); `rest` begins with
    `chunk`."""
    apart = hashes[chunk][:, None] ^ hashes[rest][None]  # (c, r)
    ones = _ONES[apart.view(np.uint16).reshape(*apart.shape, 4)].sum(axis=2, dtype=np.uint8)
    i, j = np.nonzero(ones <= BITS)
    after = j > i
    return np.stack([chunk[i[after]], rest[j[after]]], axis=1)


def _reduce(images: Callable[[], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return thumbnails of some pictures, uint8 (n, 256)."""
    thumbnails = np.empty((len(rows), _SIDE * _SIDE), np.uint8)
    for start in range(0, len(rows), 64):
        mapped = images()  # anew: pages once touched would count as memory for good
        for i, row in enumerate(rows[start : start + 64], start):
            picture = Image.fromarray(mapped[row].squeeze()).convert("L")
            small = picture.resize((_SIDE, _SIDE), Image.Resampling.BOX)
            thumbnails[i] = np.asarray(small).ravel()
    return thumbnails
