"""FER2013: 35,887 grey faces of 48x48, seven emotions, pixels inside a csv (arXiv 1307.0414).

On disk, one of

    fer2013.csv          emotion,pixels,Usage
    icml_face_data.csv   emotion, Usage, pixels        blanks before the names
    train.csv, test.csv  emotion,pixels and pixels     the contest's form: test has no labels;
                                                       val.csv may lie beside them
    train/angry/Training_3908.jpg                      class folders; such names give the split,
    test/angry/PublicTest_1.jpg, PrivateTest_2.jpg     others have their folder's

There is no image file for a row of a csv. Its `path` is the csv, and `offset` says at which byte
the row begins; `read_pixels` turns it into pixels, without reading the rest of the file.
"""

__all__ = ["USAGES", "WHOLE", "list_rows", "read_fer2013", "read_pixels"]

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from hmtl.data.readers.folders import list_classes, split_folders
from hmtl.data.readers.listing import base_names, folders_in
from hmtl.data.readers.names import ALL_NUMBERS, own_numbers
from hmtl.data.readers.report import Drops, class_counts, map_labels
from hmtl.data.readers.source import Source
from hmtl.files import check_regular

LABELS = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # 0 to 6
COUNTS = {
    "train": (3_995, 436, 4_097, 7_215, 4_830, 3_171, 4_965),  # 28,709
    "valid": (467, 56, 496, 895, 653, 415, 607),  # 3,589
    "test": (491, 55, 528, 879, 594, 416, 626),  # 3,589
}
USAGES = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
_NUMBERS = {str(i): name for i, name in enumerate(LABELS)}
_SIDE = 48
_VALID = ("val.csv", "valid.csv", "validation.csv")
WHOLE = ("fer2013.csv", "icml_face_data.csv")
"""Files that hold all three splits."""
_COLUMNS = ["key", "path", "split", "emotion", "offset"]


def read_fer2013(root: str | Path, *, names: Mapping | None = None) -> pd.DataFrame:
    """Return FER2013: `key` ("fer2013/0000000", file and row), `path`, `split`, `emotion`, ...

    ... `offset`. PublicTest is valid, PrivateTest test. From a csv, `path` is that file and
    `offset` the byte at which the row begins (see `read_pixels`); from class folders `path` is
    an image, without offset. There, names such as PublicTest_12.jpg give the official split; of
    others (a note counts them) the folders do, a merged test is test, and so is validation where
    there is no test. There is no contempt. `names` gives the emotion of folders or numbers that a
    copy has changed; of one that counts from 1, all of them. A Usage of several splits goes before
    the name of a csv.

    Dropped and counted: rows with a wrong number of fields or of pixels, rows without a label (the
    contest's test.csv), pictures outside of the class folders. Raises FileNotFoundError for a
    wrong root; ValueError, naming file and line, for an emotion that is not 0..6 or an unknown
    Usage, and for a header without the columns.
    """
    expected = "fer2013.csv, icml_face_data.csv, train.csv, or class folders in train/ and test/"
    files = [[name] for name in (*WHOLE, "train.csv")]
    source = Source(root, *files, _is_folders, expected=expected)
    parts: list[tuple[Path, str | None]] = [(file, None) for file in _csvs(source, *WHOLE)[:1]]
    if not parts and _csvs(source, "train.csv"):
        own = {"train": ["train.csv"], "valid": _VALID, "test": ["test.csv"]}
        parts = [(file, split) for split, n in own.items() for file in _csvs(source, *n)]
    if not parts:
        return _read_class_folders(source, names)
    known = own_numbers(_NUMBERS, names)
    table = pd.concat([list_rows(f, split, source, known, ALL_NUMBERS) for f, split in parts])
    complete = {*table["split"]} == {*COUNTS}
    published = _published(*(COUNTS if complete or parts[0][1] is None else ["train"]))
    return source.finish(table, _COLUMNS, published=published)


def _csvs(source: Source, *names: str) -> list[Path]:
    """Return the files of these names, in any case, that are there."""
    found = [source.at(name) for name in names]
    return [file for file in found if file.suffix.lower() == ".csv" and file.is_file()]


def _published(*splits: str, merged: bool = False) -> dict[str, int]:
    """Return the published counts of some splits; with `merged`, test holds valid too."""
    counts: dict[str, int] = {}
    for split in splits:
        parts = ("valid", "test") if merged and split == "test" else (split,)
        each = np.sum([COUNTS[part] for part in parts], axis=0).tolist()
        counts |= class_counts(split, dict(zip(LABELS, each, strict=True)))
    return counts


def _is_folders(root: Path) -> bool:
    """Whether `root` holds class folders of a split."""
    return bool(split_folders(folders_in(root)))


def _read_class_folders(source: Source, known: Mapping | None) -> pd.DataFrame:
    """Return a copy in class folders, which go by name: their order is not FER2013's."""
    table = list_classes(source.root, source, names=known)
    names = base_names(table["key"]).str.lower()
    said = names.str.split("_").str[0].map({usage.lower(): s for usage, s in USAGES.items()})
    table["split"] = said.fillna(table["split"])
    if said.notna().any() and (other := table["key"][said.isna()].tolist()):
        such = f"{len(other):,} names such as {other[0]} do not say the official split"
        source.notes.append(f"{such}: they have their folder's")
    published = _published("train")
    if said.notna().all() or {"valid", "test"} <= set(table["split"]):
        published = _published(*COUNTS)
    elif "test" in set(table["split"]):
        published = _published("train", "test", merged=True)
        source.notes.append("copies in folders merge PublicTest and PrivateTest into one test")
    else:
        table = source.test_on_valid(table)
    return source.finish(table, published=published)


def list_rows(
    file: Path, split: str | None, drops: Drops, names: Mapping[str, str] = _NUMBERS,
    remedy: str = "",
) -> pd.DataFrame:  # fmt: skip
    """Return the labelled rows of a csv; pixels are counted, never kept.

    Columns: `key`, `row` (from 0, blank lines are none), `offset`, `emotion` (of a number by
    `names`; `remedy` ends the error on another), `split` (as given, unless Usage says several),
    `path`; the index says file and line. Drops and errors are those of `read_fer2013`.
    """
    rows: list[tuple] = []
    malformed: list[str] = []
    check_regular(file, "copy it anew from the data set")
    with open(file, "rb") as lines:
        header = _read_header(file, lines.readline(), split)
        offset = lines.tell()
        for number, line in enumerate(lines, start=2):
            fields = [field.strip(b' "\r\n') for field in line.split(b",")]
            named = dict(zip(header, fields, strict=False))
            pixels = named.get("pixels", b"").count(b" ") + 1
            if len(fields) == len(header) and pixels == _SIDE**2:
                label, usage = (_text(named.get(c, b"")) for c in ("emotion", "usage"))
                rows.append((len(rows) + len(malformed), number, offset, label, usage))
            elif line.strip():
                malformed.append(f"{file.name} line {number}")
            offset += len(line)
    drops.add("malformed row", malformed)
    table = pd.DataFrame(rows, columns=["row", "line", "offset", "emotion", "usage"])
    table["key"] = f"{file.stem}/" + table["row"].astype(str).str.zfill(7)
    if "emotion" not in header:
        table = drops.filter(table, np.ones(len(table), bool), "without a label")
    table.index = [f"{file} line {line}" for line in table["line"]]
    table["emotion"] = map_labels(table["emotion"], names, "emotion", remedy=remedy)
    if split is None or (len(said := set(table["usage"])) > 1 and said <= set(USAGES)):
        split = map_labels(table["usage"], USAGES, "Usage")
    table["split"] = split
    return table.drop(columns=["line", "usage"]).assign(path=str(file))


def _text(raw: bytes) -> str:
    """Return UTF-8 text; what is none becomes signs that no label or name has."""
    return raw.decode("utf-8-sig", "replace")


def _read_header(file: Path, line: bytes, split: str | None) -> list[str]:
    """Return the names of the columns, lower case and without the blanks around them."""
    try:
        header = [name.strip(' "\r\n').lower() for name in line.decode("utf-8-sig").split(",")]
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: {error}; save it as UTF-8 text") from None
    needed = {"pixels"} if split == "test" else {"pixels", "emotion"}
    if split is None:
        needed |= {"usage"}
    if not needed <= set(header) or len(set(header)) < len(header):
        raise ValueError(f"{file} line 1: expected columns {sorted(needed)}, found {header}")
    return header


def read_pixels(path: str, offset: int) -> np.ndarray:
    """Return the pixels of the row of a csv that begins at byte `offset`, uint8 (48, 48).

    Raises ValueError naming file and byte if there are no 2,304 numbers from 0 to 255.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        longest = max(file.readline().split(b","), key=len)
    try:
        pixels = np.array(longest.strip(b' "\r\n').split(), dtype=np.int64)
    except (ValueError, OverflowError):
        pixels = np.array([-1])
    if len(pixels) != _SIDE**2 or pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(
            f"{path} byte {offset}: expected {_SIDE**2:,} pixels from 0 to 255; mend the row"
        )
    return pixels.astype(np.uint8).reshape(_SIDE, _SIDE)
