"""Any csv whose columns the user names: a row an image, or a face in one.

    read_csv("faces", file="labels.csv", columns={"path": "image", "emotion": "label"})

Ours.
"""

__all__ = ["COLUMNS", "read_csv"]

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from hmtl.data.readers.crops import BOX, are_boxes
from hmtl.data.readers.folders import SPLIT_FOLDERS
from hmtl.data.readers.listing import LISTS, list_files
from hmtl.data.readers.names import EMOTION_WORDS, GENDER_WORDS, name_labels
from hmtl.data.readers.people import add_people, draw_splits
from hmtl.data.readers.report import map_numbers
from hmtl.data.readers.source import Source
from hmtl.labels import hint

_WORDS = {"split": SPLIT_FOLDERS, "emotion": EMOTION_WORDS, "gender": GENDER_WORDS}
_LIMITS = {"valence": 1.0, "arousal": 1.0, "yaw": 180.0, "pitch": 180.0, "roll": 180.0}
COLUMNS = ("path", *_WORDS, *_LIMITS, "person", *BOX)
"""What may be named; `path` must be."""


def read_csv(
    root: str | Path, *, columns: Mapping[str, str], file: str = "labels.csv",
    names: Mapping[str, Mapping] | None = None,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int = 0, person: str = "",
) -> pd.DataFrame:  # fmt: skip
    """Return the images that a csv in `root` names: `key` (relative path), `path`, `split`, labels.

    Fields may end at commas, tabs or blanks. `columns` maps this project's names (`COLUMNS`) to
    those in the csv's header, or without a header to numbers of columns from 1. Paths are relative
    to `root`, or absolute within it; the box `left, top, right, bottom` is in pixels; `yaw, pitch,
    roll` are in degrees and in 300W-LP's convention (positive yaw turns the nose towards the left
    edge of the picture, positive pitch lifts it, positive roll turns the picture clockwise) -- they
    are not converted. `names` is for labels that are no words: `{"emotion": {"0": "fear"}}`.

    Where `split` names no test, the validation images are it. Without a column for it, `shares`
    (train, valid, test) are split by `seed`: whole people where a column `person` is named or names
    of files show people (`name_people`, which takes the pattern `person`, or "none"), else class by
    class where `emotion` is named. An empty cell is a missing label (counted), but not in path,
    split, an angle or a box. A picture that is named again gets a key with "#2" if it has another
    box; otherwise the row is dropped.

    Dropped and counted: rows with a wrong number of fields or an empty box, repeated rows, faces
    that two rows label otherwise, images not on disk.
    Raises FileNotFoundError if there is no such file; ValueError, naming file and line, for a label
    that is not known or a number that is none or out of range, and for columns that are not there;
    also if `columns` names some sides of the box and not all, or if boxes are no pixels.
    """
    try:
        source = Source(root, [file], expected=file)
    except FileNotFoundError as error:
        there = list_files(Path(root), LISTS) if Path(root).is_dir() else []
        if not there:
            raise
        named = [f"--option file {name}" for name in there[:3]]
        raise FileNotFoundError(f"{error}; say which by {' or '.join(named)}") from None
    place = source.at(file)
    _check_columns(columns)
    table = _name_columns(source.read_list(place, columns), names or {})
    if set(BOX) <= set(table):
        table = _check_boxes(table, source)
    given = Path(root).absolute(), Path(root).resolve()  # of links a list may have either
    table["key"] = [_relative(path, source.root, given, at) for at, path in table["path"].items()]
    root = source.root
    there = [key for key in table["key"].unique() if os.path.isfile(root / key)]
    if len(there) < table["key"].nunique():  # or it may lie there under another ending
        table = source.present(table, root, more=there)
    face = ["key", *(c for c in BOX if c in table)]
    table = source.drop_repeats(table, [c for c in table if c not in ("path", *face)], face)
    table["path"] = [str(root / key) for key in table["key"]]
    if "split" in table and len(table):
        table, notes = add_people(table, person)
        source.notes += notes
        if "valid" in set(table["split"]) and "test" not in set(table["split"]):
            table = source.test_on_valid(table)
    elif len(table):
        table = draw_splits(table.assign(split="train"), source, shares, seed, "emotion", person)
    labels = [c for c in COLUMNS if c in table and c not in ("path", "split")]
    empty = {f"{c}: empty": int(table[c].isna().sum()) for c in labels}
    order = [c for c in ("key", "path", "split", *labels) if c in table]
    return source.finish(table, order, several=True, source=str(place), unlabelled=empty)


def _check_columns(columns: Mapping[str, str]) -> None:
    """Raise ValueError unless a picture, and all or none of a box, are named."""
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown or "path" not in columns:
        near = hint(unknown[0], COLUMNS) if unknown else ""
        raise ValueError(
            f"columns={dict(columns)!r}: {near}name path, and none but {', '.join(COLUMNS)}"
        )
    if (lost := [side for side in BOX if side not in columns]) and len(lost) < len(BOX):
        raise ValueError(
            f"columns={dict(columns)!r}: a box has four sides; name {', '.join(lost)} too, or none"
        )


def _name_columns(table: pd.DataFrame, names: Mapping[str, Mapping]) -> pd.DataFrame:
    """Return the table with names for labels, numbers for numbers, and nan for empty cells."""
    for column in table.columns.drop("path"):
        values = table[column][table[column] != ""]
        if column in ("split", *BOX, "yaw", "pitch", "roll"):
            for place in table.index[table[column] == ""]:
                raise ValueError(f"{place}, field {column}: it is empty")
        if column in _WORDS:
            values = name_labels(
                values, column, words=_WORDS[column], names=names.get(column),
                option=f"names {column}:",
            )  # fmt: skip
        elif column != "person":
            values = map_numbers(values, column, _LIMITS.get(column, np.inf))
        table[column] = values.reindex(table.index)
    return table


def _check_boxes(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Return the rows that have a box; ValueError where boxes must mean something else."""
    turned = (table["right"] < table["left"]) | (table["bottom"] < table["top"])
    if turned.sum() > max(5, len(table) // 10):  # no accidents
        raise ValueError(
            f"{table.index[turned][0]}: right and bottom lie before left and top; they are sides "
            "of the box, not its width and height"
        )
    if len(table) and (table[BOX].abs() <= 1).all(axis=None):
        raise ValueError(
            f"{table.index[0]}: boxes are in pixels, but all lie within 1, as shares of the "
            "picture's sides do; multiply them by its width and height"
        )
    return source.filter(table, ~are_boxes(table), "no face box", "")


def _relative(path: str, root: Path, given: tuple[Path, Path], place: str) -> str:
    """Return a path relative to `root`, with "/" between; ValueError for one that leads out.

    Absolute paths below the user's root as it was `given` are below what that leads to.
    """
    full = Path(path.replace("\\", "/"))
    if full.is_absolute() and full.is_relative_to(given[0]):
        full = given[1] / full.relative_to(given[0])
    key = os.path.relpath(root / full, root).replace(os.sep, "/")
    if not path or key == "." or key.startswith("../"):
        raise ValueError(
            f"{place}, field path: {path!r} is no file in {root}; --root is the folder from which "
            "paths go, and --option file names the list from there"
        )
    return key
