"""The names of the classes, once for the whole project.

AffectNet numbers its eight emotions 0 to 7 in this order; every data set is mapped to these
*names*, never to another data set's numbers.
"""

__all__ = ["EMOTIONS", "GENDERS", "SPLITS", "emotion_indices"]

from collections.abc import Iterable

import numpy as np

EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
GENDERS = ("female", "male")
SPLITS = ("train", "valid", "test")


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
