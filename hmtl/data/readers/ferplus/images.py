"""FER+: FER-2013's faces in the wild, each labelled by ten people (arXiv 1608.01041).

On disk, as the FER+ instructions leave it (48x48 grey PNG, `label.csv` without a header):

    data/FER2013Train/label.csv    fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0
    data/FER2013Train/fer0000000.png
    data/FER2013Valid/...          FER-2013's PublicTest
    data/FER2013Test/...           FER-2013's PrivateTest

The ten numbers are votes, in the order of `COLUMNS`. FER+ has AffectNet's eight emotions in another
order and under other names; here they are mapped by name to `hmtl.labels.EMOTIONS`.
"""

__all__ = ["COLUMNS", "FERPLUS_COUNTS", "FERPLUS_TRAIN_EMOTIONS", "MODES", "read_ferplus"]

import os
from pathlib import Path

import pandas as pd

from hmtl.data.readers.ferplus.votes import (
    COLUMNS,
    MODES,
    REMEDY,
    check_mode,
    finish_votes,
    parse_votes,
)
from hmtl.data.readers.listing import list_at, read_lines, split_line
from hmtl.data.readers.source import Source
from hmtl.labels import SPLITS

# Majority mode, counted from the label.csv files. Counting FER+'s fer2013new.csv instead gives
# 25,057 / 3,199 / 3,153, since its votes differ in 1,602 rows.
FERPLUS_COUNTS = {"train": 25_045, "valid": 3_191, "test": 3_137}
FERPLUS_TRAIN_EMOTIONS = {"neutral": 8_733, "happy": 7_284, "sad": 3_022, "surprise": 3_136,
                          "fear": 536, "disgust": 116, "anger": 2_098, "contempt": 120}  # fmt: skip

_FOLDERS = dict(zip(SPLITS, ("FER2013Train", "FER2013Valid", "FER2013Test"), strict=True))
_BOX = "(0, 0, 48, 48)"  # the whole image, in every published line


def read_ferplus(root: str | Path, *, labels: str = "majority") -> pd.DataFrame:
    """Return FER+ as a sample table: one row an image, ordered train, valid, test as on disk.

    Columns: `key` ("Train/fer0000000.png"), `path` (absolute), `split` (train, valid, test),
    `emotion` (a name of `EMOTIONS`), `p_neutral` ... `p_contempt` (probabilities in [0, 1] that sum
    to 1, in the order of `EMOTIONS`: votes of 1 zeroed, the eight emotions' votes over their sum)
    and `votes` (that sum, 2 to 10 on the published files).

    `labels="majority"` is the mode of the FER+ paper and script: single votes are taken for
    outliers and zeroed, then an image is kept if one of the eight emotions has more than half of
    the votes left in all ten columns (unknown and not-a-face included).

    `labels="probability"` keeps more training images, to be learned from their `p_` columns: those
    where, single votes zeroed, no column has more votes than the best emotion. Its `emotion` is
    the best one; among equals, the first in AffectNet's order, and an emotion before unknown or
    not-a-face. The rule for training rows is ours.

    `labels="crossentropy"` keeps training images by the rule of the authors' script for this mode
    and for the one they call probability (which draws one emotion from the `p_` columns anew in
    each epoch): single votes zeroed, columns come in from the most voted on, equals together, until
    they hold three quarters of the votes left or three came in; unknown or not-a-face end this. The
    image is dropped if one of those leads, if more than three came in, or if what came in holds no
    more than half of the votes. `p_` columns are of the emotions that came in.

    `labels="multi_target"`: single votes zeroed, columns with 30 % of the votes left or more come
    in; dropped if unknown or not-a-face has most of them, or they hold no more than half. The
    authors' targets are 1 for every emotion with `p_` above 0, all alike.

    **Valid and test rows are those of majority mode in every mode**, so that numbers compare, as
    in the authors' training script.

    `root` is the folder that holds `data/FER2013Train`, or up to two around it. Names of folders
    and files may be of any letter case.

    Raises ValueError for unknown `labels`; for a line of label.csv with a wrong number of fields,
    an image name or box of another form, or votes that are not whole numbers from 0 up; and for
    images named but not on disk. Raises FileNotFoundError for a wrong root or a split without
    label.csv. Repeated lines are counted, and images that no line names; so are the lines of a name
    with two sets of votes, and those of a name that a later split has too, which are left out.
    """
    check_mode(labels)
    source = _find_data(root)
    table = pd.concat(_read_split(split, source) for split in SPLITS)
    again = table["name"].duplicated(keep="last")
    table = source.filter(table, again, "image that a later split has too")
    of_train = {f"train/{name}": n for name, n in FERPLUS_TRAIN_EMOTIONS.items()}
    return finish_votes(source, table, labels, FERPLUS_COUNTS | of_train)


def _find_data(root: str | Path) -> Source:
    """Return the `data` folder under `root`; FileNotFoundError saying what is there."""
    train = _FOLDERS["train"]
    layouts = [[f"data/{train}"], [f"{train}/label.csv"]]
    try:
        source = Source(root, *layouts, expected=f"data/{train} (or ferplus/data/{train})")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; make the images by the FER+ instructions and pass the folder that holds "
            "data/"
        ) from None
    if source.at(f"data/{train}").is_dir():
        source.root = source.at("data")
    lists = {name: source.at(f"{name}/label.csv") for name in _FOLDERS.values()}
    if absent := [name for name, file in lists.items() if not file.is_file()]:
        raise FileNotFoundError(f"{source.root}: no label.csv in {', '.join(absent)}")
    return source


def _read_split(split: str, source: Source) -> pd.DataFrame:
    """Return `key`, `path`, `split`, `name` and the votes of each image in one label.csv."""
    folder, width = source.at(_FOLDERS[split]), 2 + len(COLUMNS)
    file, rows = list_at(folder, "label.csv"), {}
    for number, line in read_lines(file):
        place = f"{file} line {number}"
        rows[place] = split_line(line, place)
        if len(rows[place]) != width:
            raise ValueError(
                f"{place}: {len(rows[place])} fields instead of {width} (image, quoted box, ten "
                f"votes); {REMEDY}"
            )
    table = pd.DataFrame.from_dict(rows, "index", columns=["name", "box", *COLUMNS])
    for place, box in table["box"][table["box"] != _BOX].items():
        raise ValueError(
            f"{place}, field box: {box!r}; only the whole image, '(0, 0, 48, 48)', is read: crop "
            "the image itself or restore the line"
        )
    table = parse_votes(table, "image")
    table["place"] = [f"{folder.name}/{os.path.basename(place)}" for place in table.index]
    table = source.drop_repeats(table, COLUMNS, ["name"], "place")
    with os.scandir(folder) as entries:
        there = sorted(e.name for e in entries if e.name.lower().endswith(".png"))
    files = table["name"].map({name.lower(): name for name in there} | {n: n for n in there})
    if missing := table["name"][files.isna()].tolist():
        more = ", ..." if len(missing) > 5 else ""
        raise ValueError(
            f"{file}: {len(missing)} of {len(table)} images are not in {folder}: "
            f"{', '.join(missing[:5])}{more}; make them again by the FER+ instructions"
        )
    unnamed = sorted(set(there) - set(files))
    source.add("image that label.csv does not name", [f"{folder.name}/{name}" for name in unnamed])
    keys = _FOLDERS[split].removeprefix("FER2013") + "/" + table["name"]
    return table.assign(key=keys, path=str(folder) + os.sep + files, split=split)
