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

import pandas as pd

from hmtl.data.readers.fer2013 import USAGES, WHOLE, list_rows
from hmtl.data.readers.ferplus.votes import (
    COLUMNS,
    NAME,
    REMEDY,
    check_mode,
    finish_votes,
    parse_votes,
)
from hmtl.data.readers.report import map_labels
from hmtl.data.readers.source import Source
from hmtl.labels import SPLITS

VOTES = "fer2013new.csv"
COUNTS = {"train": 25_057, "valid": 3_199, "test": 3_153}  # majority mode, counted from the file
_COLUMNS = {"usage": "Usage", "name": "Image name"} | {name: name for name in COLUMNS}
_FOLDERS = dict(zip(SPLITS, ("Train", "Valid", "Test"), strict=True))


def read_ferplus_csv(root: str | Path, *, labels: str = "majority") -> pd.DataFrame:
    """Return FER+ out of two csv files: the columns of `read_ferplus`, and `offset`.

    Keys and `labels` are those of `hmtl.data.readers.ferplus.read_ferplus`; `path` and `offset` say
    where the pixels are, for `hmtl.data.readers.fer2013.read_pixels`. Dropped and counted: rows
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
    votes = parse_votes(source.read_list(said, _COLUMNS, remedy=REMEDY), "Image name", f"({NAME})?")
    votes["split"] = map_labels(votes["usage"], USAGES, "Usage")
    rows = len(pixels) + source.counts.get("malformed row", 0)
    if len(votes) != rows:
        raise ValueError(f"{said} has {len(votes):,} rows, {file} {rows:,}; they do not belong")
    votes = votes.iloc[pixels["row"]]
    apart = votes["split"].to_numpy() != pixels["split"].to_numpy()
    for place, other in zip(pixels.index[apart], votes.index[apart], strict=True):
        raise ValueError(
            f"{place}: its Usage is not that of {other}; their rows must be in the same order"
        )
    table = votes.set_axis(pixels.index).join(pixels[["key", "path", "offset"]])
    table = source.filter(table, table["name"] == "", "without an image name")
    again = table.duplicated(["name", *COLUMNS])
    table = source.filter(table, again, "repeated row", "name")
    again = table["name"].duplicated()
    table = source.filter(table, again, "name that an earlier row has with other votes", "name")
    table["key"] = table["split"].map(_FOLDERS) + "/" + table["name"]
    return finish_votes(source, table, labels, COUNTS)
