"""FER+ without image files: its votes beside FER2013's csv (arXiv 1608.01041).

On disk, in one folder:

    fer2013new.csv   Usage,Image name,neutral,happiness,...,contempt,unknown,NF; ten votes a row
    fer2013.csv      the pixels, row by row in the same order (see `hmtl.data.readers.fer2013`)

173 rows have no image name and ten votes for "not a face". Four names stand there twice; the first
row of each is the one that the label.csv files have. The votes are not quite those of the label.csv
files that `hmtl.data.readers.ferplus` reads.
"""

__all__ = ["read_ferplus_csv"]

from pathlib import Path

import numpy as np
import pandas as pd

from hmtl.data.readers.fer2013 import USAGES, WHOLE, list_rows
from hmtl.data.readers.ferplus.votes import COLUMNS, NAME, check_mode, label_votes, parse_votes
from hmtl.data.readers.listing import read_rows
from hmtl.data.readers.report import Drops
from hmtl.data.readers.source import Source
from hmtl.labels import SPLITS

VOTES = "fer2013new.csv"
COUNTS = {"train": 25_057, "valid": 3_199, "test": 3_153}  # majority mode, counted from the file
_HEADER = ["Usage", "Image name", *COLUMNS]
_FOLDERS = dict(zip(SPLITS, ("Train", "Valid", "Test"), strict=True))


def read_ferplus_csv(root: str | Path, *, labels: str = "majority") -> pd.DataFrame:
    """Return FER+ out of two csv files: the columns of `read_ferplus`, and `offset`.

    Keys and `labels` are those of `hmtl.data.readers.ferplus.read_ferplus`; `path` and `offset` say
    where the pixels are, for `hmtl.data.readers.fer2013.fer2013_images`. Dropped and counted: rows
    without an image name, rows whose name an earlier one has, malformed rows of fer2013.csv, images
    the mode leaves out.

    Raises FileNotFoundError for a wrong root; ValueError, naming file and line, for another header,
    a wrong number of fields, votes that are no whole numbers, an unknown Usage, and for files whose
    rows do not belong together (another number of them, or another Usage).
    """
    check_mode(labels)
    layouts = [[VOTES, name] for name in WHOLE]
    source = Source(root, *layouts, expected=f"{VOTES} and fer2013.csv")
    file, said = next(f for n in WHOLE if (f := source.at(n)).is_file()), source.at(VOTES)
    pixels = list_rows(file, None, source)
    names, votes = _read_votes(said)
    _check_rows(said, names, file, pixels, source)
    pixels = pixels.drop(columns="emotion").assign(name=names["name"][pixels["row"]].to_numpy())
    pixels = source.filter(pixels, pixels["name"] == "", "without an image name")
    again = pixels["name"].duplicated().to_numpy()
    place, rows = pixels["name"].factorize()[0], pixels["row"].to_numpy()
    first = rows[~again][place]  # row of each name's first
    same = (votes[rows] == votes[first]).all(axis=1)
    source.add("repeated row", pixels["name"][again & same])
    source.add("name that an earlier row has with other votes", pixels["name"][again & ~same])
    pixels = pixels[~again]
    parts = []
    for split in SPLITS:
        part = pixels[pixels["split"] == split]
        part = part.assign(key=f"{_FOLDERS[split]}/" + part["name"])
        mode = labels if split == "train" else "majority"
        parts.append(label_votes(part, votes[part["row"]], mode, source))
    table = pd.concat(parts).drop(columns=["row", "line", "name"])
    published = {s: n for s, n in COUNTS.items() if labels == "majority" or s != "train"}
    order = ["key", "path", "split", *table.columns.drop(["key", "path", "split", "offset"])]
    return source.finish(table, [*order, "offset"], published=published)


def _read_votes(file: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Return `line`, `split` and `name` of each row, and its votes, int64 (N, 10)."""
    rows, votes = [], []
    for line, fields in read_rows(file):
        where = f"{file} line {line}"
        if line == 1:
            if [name.strip() for name in fields] != _HEADER:
                raise ValueError(f"{where}: expected {','.join(_HEADER)}, found {','.join(fields)}")
            continue
        if len(fields) != len(_HEADER) or fields[0] not in USAGES:
            raise ValueError(
                f"{where}: expected {len(_HEADER)} fields, the first of them one of "
                f"{', '.join(USAGES)}; restore the line from the FER+ repository"
            )
        name = fields[1].strip()
        if name and not NAME.fullmatch(name):  # keys are made of it
            raise ValueError(
                f"{where}, field Image name: {name!r} is no name like fer0000000.png; restore the "
                "line from the FER+ repository"
            )
        rows.append((line, USAGES[fields[0]], name))
        votes.append(parse_votes(fields[2:], where))
    shaped = np.array(votes, np.int64).reshape(-1, len(COLUMNS))
    return pd.DataFrame(rows, columns=["line", "split", "name"]), shaped


def _check_rows(
    file: Path, names: pd.DataFrame, other: Path, pixels: pd.DataFrame, drops: Drops
) -> None:
    """Raise ValueError unless the two files have the same rows in the same order."""
    rows = len(pixels) + drops.counts.get("malformed row", 0)
    if len(names) != rows:
        raise ValueError(f"{file} has {len(names):,} rows, {other} {rows:,}; they do not belong")
    apart = names["split"][pixels["row"]].to_numpy() != pixels["split"].to_numpy()
    if apart.any():
        first = pixels[apart].iloc[0]
        raise ValueError(
            f"{other} line {first['line']}: its Usage is not that of {file} line "
            f"{names['line'][first['row']]}; their rows must be in the same order"
        )
