"""The names of the classes, once for the whole project.

AffectNet numbers its eight emotions 0 to 7 in this order; every data set is mapped to these
*names*, never to another data set's numbers.
"""

__all__ = [
    "EMOTIONS", "GENDERS", "PROPORTIONS", "SPLITS", "class_indices", "hint",
    "odd_label", "shown",
]  # fmt: skip

import difflib
from collections.abc import Iterable, Sequence

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


def class_indices(values: Iterable[str], names: Sequence[str], what: str = "class") -> np.ndarray:
    """Return the place of each value among `names`, int64 (N,).

    Raises ValueError naming the first value that is none of them, its position, and `what` it is.
    """
    index = {name: i for i, name in enumerate(names)}
    values = list(values)
    for row, value in enumerate(values):
        if value not in index:
            raise ValueError(f"row {row}: unknown {what} {value!r}; one of {', '.join(names)}")
    return np.array([index[value] for value in values], dtype=np.int64)


def odd_label(table) -> tuple[int, str] | None:
    """The first (row, column) of a label table whose split, emotion or gender is none of ours.

    A missing emotion or gender is no odd one, a missing split is.
    """
    for column, names in (("split", SPLITS), ("emotion", EMOTIONS), ("gender", GENDERS)):
        if column in table:
            values = table[column]
            none = (values.isna() | (values == "")) & (column != "split")
            known = values.isin(names) | none
            if not known.all():
                return int(np.flatnonzero(~known)[0]), column
    return None


def check_known(said: str, name: object, known: Iterable[str]) -> None:
    """ValueError for a name that is none of the known, with all of them and the nearest.

    Args:
        said: How the error begins: "unknown task 'emotoin';".
        name: What was given.
        known: What there is.
    """
    known = list(known)
    if name not in known:
        near = hint(name, known).rstrip()
        raise ValueError(f"{said} one of {', '.join(known)}{'; ' * bool(near)}{near}")


def hint(name: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return "did you mean quick? " for a name that is nearly one of the known, else "".

    Args:
        name: What was given.
        known: What there is.
        cutoff: How like they must be, in 0..1: twice the letters they share over all of theirs.
    """
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=cutoff)
    return f"did you mean {by_lower[near[0]]}? " if near else ""


def shown(text: object) -> str:
    """Return a text, perhaps a stranger's file name, as a terminal shows it and is not steered.

    Line breaks stay; all else that is not printed is written as its escape, such as "\\x1b".
    """
    return "".join(
        sign if sign.isprintable() or sign == "\n" else sign.encode("unicode_escape").decode()
        for sign in str(text)
    )
