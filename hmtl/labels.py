"""The names of the classes, once for the whole project.

AffectNet numbers its eight emotions 0 to 7 in this order; every data set is mapped to these
*names*, never to another data set's numbers.
"""

__all__ = ["EMOTIONS", "GENDERS", "PROPORTIONS", "SPLITS", "emotion_indices"]

from collections.abc import Iterable

import numpy as np

EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
GENDERS = ("female", "male")
SPLITS = ("train", "valid", "test")

PROPORTIONS: dict[str, tuple[int, ...]] = {
    "equal": (1,) * len(EMOTIONS),
    # training images of AffectNet (manually annotated, eight emotions), in the order of EMOTIONS
    "affectnet": (74_874, 134_415, 25_459, 14_090, 6_378, 3_803, 24_882, 3_750),
}
"""How often the emotions occur in a training split, by name."""


def emotion_indices(names: Iterable[str]) -> np.ndarray:
    """Return the AffectNet number of each emotion name, int64 (N,).

    Raises ValueError naming the first name that is not one of `EMOTIONS` and its position.
    """
    index = {name: i for i, name in enumerate(EMOTIONS)}
    names = list(names)
    for row, name in enumerate(names):
        if name not in index:
            raise ValueError(f"row {row}: unknown emotion {name!r}; one of {', '.join(EMOTIONS)}")
    return np.array([index[name] for name in names], dtype=np.int64)
