"""CelebA: 202,599 pictures of 10,177 people; of its forty attributes, gender (arXiv 1411.7766).

On disk, side by side or in the authors' folders Img, Anno and Eval:

    img_align_celeba/000001.jpg
    list_attr_celeba.txt       a count, the forty names, then `000001.jpg -1  1 ...`
    list_eval_partition.txt    `000001.jpg 0`: 0 train, 1 valid, 2 test
    identity_CelebA.txt        `000001.jpg 2880` (may be absent)
"""

__all__ = ["read_celeba"]

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import (
    describe,
    find_root,
    list_files,
    present,
    read_lines,
    with_paths,
)
from hmtl.data.readers.report import Drops, finish_table, map_labels
from hmtl.labels import SPLITS

IMAGES = "img_align_celeba"
PUBLISHED = {"train": 162_770, "valid": 19_867, "test": 19_962}
_GENDERS = {1: "male", -1: "female"}
_FOLDERS = ("", "Anno", "Eval", "Img")


def read_celeba(root: str | Path) -> pd.DataFrame:
    """Return CelebA: `key` ("img_align_celeba/000001.jpg"), `path`, `split`, `gender`, `person`.

    `gender` is the attribute called Male, found by its name: 1 male, -1 female. `person` is there
    if identity_CelebA.txt is. Boxes and landmarks of CelebA belong to the pictures before they were
    aligned and cropped, so none are read.

    Dropped and counted: images without a split, images not on disk. Raises FileNotFoundError for a
    wrong root; ValueError, naming file and row, for an attribute that is not 1 or -1, a split that
    is not 0, 1 or 2, another number of rows than line 1 says, and a file without Male.
    """
    layouts = [[f"{part}/{IMAGES}".lstrip("/")] for part in ("", "Img")]
    root = find_root(root, *layouts, expected=f"{IMAGES}/ and list_attr_celeba.txt")
    folder = _find(root, IMAGES)
    attributes, partition = (
        _find(root, f"list_{n}.txt") for n in ("attr_celeba", "eval_partition")
    )
    gender = _read_male(attributes)
    splits = _read_pairs(partition)
    splits = map_labels(
        splits, dict(enumerate(SPLITS)), lambda i: f"{partition} line {i + 1}", "split"
    )
    drops = Drops()
    table = pd.DataFrame({"gender": gender, "split": splits.reindex(gender.index)})
    prefix = f"{folder.relative_to(root).as_posix()}/"
    table.insert(0, "key", prefix + table.index)
    table = drops.filter(table, table["split"].isna(), "without a split")
    table = present(table, list_files(folder, deep=False, prefix=prefix), drops)
    if people := _find(root, "identity_CelebA.txt", needed=False):
        table["person"] = _read_pairs(people).reindex(table.index).astype("string")
    return finish_table(
        with_paths(table[["key", "split", *table.columns.drop(["key", "split"])]], root),
        drops,
        source=str(root),
        published={"all": sum(PUBLISHED.values()), **PUBLISHED},
    )


def _find(root: Path, name: str, *, needed: bool = True) -> Path | None:
    """Return where `name` is, in `root` or in one of the authors' folders."""
    for folder in _FOLDERS:
        if (root / folder / name).exists():
            return root / folder / name
    if needed:
        raise FileNotFoundError(f"{root}: expected {name} in it, but {describe(root)}")
    return None


def _read_male(file: Path) -> pd.Series:
    """Return the gender of each image by its name."""
    lines = read_lines(file)
    (_, count), (_, header) = next(lines, (1, "")), next(lines, (2, ""))
    names = header.split()
    if not count.strip().isdecimal() or names.count("Male") != 1:
        raise ValueError(
            f"{file}: expected a count in line 1 and names, Male among them, in line 2"
        )
    rows = _read_words(file, lines, len(names), "attributes")
    if len(rows) != int(count):
        raise ValueError(f"{file}: line 1 says {int(count):,} images, but {len(rows):,} follow")
    male = rows.str[names.index("Male")].map(_number)
    return map_labels(male, _GENDERS, lambda i: f"{file} line {i + 3}", "Male")


def _read_pairs(file: Path) -> pd.Series:
    """Return the number of each image by its name."""
    return _read_words(file, read_lines(file), 1, "number").str[0].map(_number)


def _read_words(file: Path, lines: Iterable[tuple[int, str]], count: int, what: str) -> pd.Series:
    """Return the words after each image's name, a list of `count`, by that name."""
    words: dict[str, list[str]] = {}
    for number, line in lines:
        name, *rest = line.split() or [""]
        if not name:
            continue
        if len(rest) != count:
            fewer = "fewer" if len(rest) < count else "more"
            raise ValueError(f"{file} line {number}: {fewer} than {count} {what}")
        if name in words:
            raise ValueError(f"{file}: {name} is named twice; keep one")
        words[name] = rest
    return pd.Series(words, dtype=object)


def _number(text: str) -> int | str:
    """Return a whole number, or the text that is none."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,9}", text) else text
