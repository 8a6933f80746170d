"""RAF-DB, the basic part: seven emotions, and gender labelled by hand (Li et al., CVPR 2017).

On disk, as its authors send it:

    EmoLabel/list_patition_label.txt                train_00001.jpg 5; also list_partition_label.txt
    Image/aligned/train_00001_aligned.jpg           100x100; test ids have four digits
    Image/original/train_00001.jpg
    Annotation/manual/train_00001_manu_attri.txt    five landmarks, then gender, race, age group

and as copies pass it on: `DATASET/train/1/...`, `DATASET/test/7/...`, with the same numbers; other
names of splits (`val_set/1/`) and a folder between (`train/raf_basic/1/`) do not matter.
"""

__all__ = ["read_rafdb"]

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hmtl.data.readers.folders import list_classes, split_folders
from hmtl.data.readers.listing import (
    by_stem,
    find_folder,
    find_list,
    folders_in,
    list_files,
    locate,
    read_lines,
)
from hmtl.data.readers.names import ALL_NUMBERS, own_numbers
from hmtl.data.readers.report import class_counts, map_labels
from hmtl.data.readers.source import Source
from hmtl.labels import check_known

LABELS = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")  # 1 to 7
TRAIN_COUNTS = (1_290, 281, 717, 4_772, 1_982, 705, 2_524)  # 12,271
LIST = "EmoLabel/list_patition_label.txt"
_SPELT = "EmoLabel/list_partition_label.txt"
_NUMBERS = {str(i): name for i, name in enumerate(LABELS, start=1)}
_GENDERS = {"0": "male", "1": "female", "2": ""}  # 2 is unsure
_PUBLISHED = class_counts("train", dict(zip(LABELS, TRAIN_COUNTS, strict=True))) | {"test": 3_068}


def read_rafdb(
    root: str | Path, *, images: str = "aligned", names: Mapping | None = None
) -> pd.DataFrame:
    """Return RAF-DB: `key` ("Image/aligned/train_00001_aligned.jpg"), `path`, `split`, ...

    ... `emotion` (seven, no contempt) and, where `Annotation/manual` is there, `gender` (missing
    for "unsure"; counted). Train and test are the authors'; nothing is valid. `images` is "aligned"
    or "original". A copy in folders 1 to 7 is read too, without gender, its validation part as test
    if there is no other. `names` gives the emotion of numbers that a copy has changed; of one that
    counts from 0, all of them.

    Dropped and counted: lines that are not a name and a number, images not on disk, those outside
    of the folders 1 to 7. Raises FileNotFoundError for a wrong root; ValueError, naming file and
    line, for a label that is not 1..7, a name that is neither train nor test, or a gender that is
    not 0, 1 or 2.
    """
    check_known(f"images={images!r}:", images, ("aligned", "original"))
    known = own_numbers(_NUMBERS, names)
    if copies := locate(root, _is_copy):
        if len(copies) > 1:
            several = ", ".join(str(copy.relative_to(root)) for copy in copies)
            raise ValueError(f"{root}: {several} all hold train/ and test/; pass one of them")
        source = Source(root)
        table = list_classes(copies[0], source, names=known)
        if "test" not in set(table["split"]):
            table = source.test_on_valid(table)
        return source.finish(table, published=_PUBLISHED)
    folder = f"Image/{images}"
    expected = f"{LIST} and {folder}/, or train/ and test/ with folders 1 to 7"
    source = Source(root, [LIST, folder], [_SPELT, folder], expected=expected)
    root = source.root
    table = _read_list(find_list(root, LIST) or source.at(_SPELT), known, source)
    place = find_folder(source.at("Image"), images) or root / folder
    files = source.files(place, deep=False)
    plain = not any(re.search(r"_aligned\.\w+$", file, re.IGNORECASE) for file in files)
    ending = ".jpg" if images == "original" or plain else "_aligned.jpg"
    table["key"] = source.key(place) + table["stem"] + ending
    table = source.drop_repeats(table, ["emotion"])
    table = source.present(table, place, deep=False)
    unlabelled: dict[str, int] = {}
    if (attributes := source.at("Annotation/manual")).is_dir():
        table, unlabelled = _add_gender(table, attributes)
    else:
        source.notes.append("no Annotation/manual, so no gender")
    columns = ["key", *table.columns.drop(["key", "stem"])]
    return source.finish(table, columns, published=_PUBLISHED, unlabelled=unlabelled)


def _is_copy(folder: Path) -> bool:
    """Whether a folder holds several splits with a folder 1, or with a folder around it."""
    held = set()
    for part, split in split_folders(folders_in(folder)).items():
        names = [part, *(f"{part}/{name}" for name in folders_in(folder / part))]
        if any((folder / name / "1").is_dir() for name in names):
            held.add(split)
    return len(held) > 1


def _read_list(file: Path, known: Mapping, source: Source) -> pd.DataFrame:
    """Return `stem`, `split` and `emotion` of each line."""
    table = source.read_list(file, {"name": "name", "emotion": "label"}, ["name", "label"])
    table["emotion"] = map_labels(table["emotion"], known, "label", remedy=ALL_NUMBERS)
    table["split"] = table["name"].str.split("_").str[0]
    for place, name in table["name"][~table["split"].isin(["train", "test"])].items():
        raise ValueError(f"{place}: {name!r} begins with neither train_ nor test_")
    ending = r"(_aligned)?\.(jpe?g|png)$"
    table["stem"] = table["name"].str.replace(ending, "", case=False, regex=True)
    return table[["stem", "split", "emotion"]]


def _add_gender(table: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the table with `gender`, and how often it is missing for which reason."""
    files = by_stem(list_files(folder, (".txt",), deep=False), "_manu_attri.txt")
    files = {stem.lower(): str(folder / name) for stem, name in files.items()}
    places = table["stem"].str.lower().map(files)
    said = {}
    for place in places.dropna():
        words = [word for _, line in read_lines(Path(place)) for word in line.split()]
        if len(words) == 13:  # five points x, y come first
            said[place] = words[10]
    named = map_labels(pd.Series(said, dtype=object), _GENDERS, "gender")
    gender = places.map(named)
    unlabelled = {
        "gender: unsure": int((gender == "").sum()),
        "gender: no attribute file, or a malformed one": int(gender.isna().sum()),
    }
    return table.assign(gender=gender.where(gender != "")), unlabelled
