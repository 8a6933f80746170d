"""AffectNet's numbers and published counts, which both of its releases share.

Mollahosseini, Hasani, Mahoor: AffectNet, arXiv 1708.03985. Training counts of the manually
annotated part are the paper's table 3 as the files have it; validation is 500 images a label.
"""

__all__ = [
    "CLASSES", "EXPRESSIONS", "NO_TEST", "check_classes", "label_rows", "leave_contempt_out",
    "published_counts",
]  # fmt: skip

from collections.abc import Callable

import pandas as pd

from hmtl.data.readers.report import Drops, class_counts, map_labels
from hmtl.labels import EMOTIONS, PROPORTIONS

EXPRESSIONS = dict(enumerate((*EMOTIONS, "None", "Uncertain", "Non-Face")))
CLASSES = {8: EMOTIONS, 7: EMOTIONS[:7]}
"""AffectNet-8 and AffectNet-7: the emotions of the customary protocols; 7 leaves contempt out."""
NO_TEST = "AffectNet's validation images are the test split: there is no public test set"
_UNKNOWN_AFFECT = -2  # what valence and arousal hold where annotators gave none


def published_counts(classes: int, test: dict[str, int]) -> dict[str, int]:
    """Return the known counts in training, and those of `test` (emotion -> n), of a protocol."""
    train = dict(zip(CLASSES[classes], PROPORTIONS["affectnet"], strict=False))
    known = {name: test[name] for name in CLASSES[classes]}
    return class_counts("train", train) | class_counts("test", known)


def check_classes(classes: int) -> None:
    """Raise ValueError unless `classes` names a protocol."""
    if classes not in CLASSES:
        raise ValueError(f"classes={classes!r}: 8, or 7 without contempt")


def label_rows(
    table: pd.DataFrame, classes: int, drops: Drops,
    place: Callable[[str, str], str] = lambda row, column: row,
) -> pd.DataFrame:  # fmt: skip
    """Return the rows of a protocol's emotions: names for numbers, -2 (not annotated) made missing.

    None, Uncertain and Non-Face are dropped, and contempt from AffectNet-7. Raises ValueError for
    an expression that is not AffectNet's, and for valence or arousal outside -1..1; `place` says
    where a row, by its index, has a column's value.
    """
    numbers = table["emotion"].rename(lambda row: place(row, "emotion"))
    kept = table.assign(emotion=map_labels(numbers, EXPRESSIONS, "expression").array)
    for name in ("None", "Uncertain", "Non-Face"):
        kept = drops.filter(kept, kept["emotion"] == name, name)
    kept = leave_contempt_out(kept, classes, drops)
    for column in ("valence", "arousal"):
        values = kept[column].mask(kept[column] == _UNKNOWN_AFFECT)
        odd = (kept[column] != _UNKNOWN_AFFECT) & ~(values.abs() <= 1 + 1e-6)
        for row, value in kept[column][odd].items():
            raise ValueError(f"{place(row, column)}, field {column}: {value:g} is not in -1..1")
        kept[column] = values
    return kept


def leave_contempt_out(table: pd.DataFrame, classes: int, drops: Drops) -> pd.DataFrame:
    """Return the rows of a protocol's emotions: of AffectNet-7 those without contempt."""
    kept = table["emotion"].isin(CLASSES[classes])
    return drops.filter(table, ~kept, "contempt, which AffectNet-7 leaves out")
