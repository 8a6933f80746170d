"""CelebA: 202,599 pictures of 10,177 people; of its forty attributes, gender (arXiv 1411.7766).

On disk, side by side or in the authors' folders Img, Anno and Eval:

    img_align_celeba/000001.jpg    or img_align_celeba/img_align_celeba, as archives unpack
    list_attr_celeba.txt       a count, the forty names, then `000001.jpg -1  1 ...`
    list_eval_partition.txt    `000001.jpg 0`: 0 train, 1 valid, 2 test
    identity_CelebA.txt        `000001.jpg 2880` (may be absent)

or, from Kaggle, list_attr_celeba.csv (`image_id,5_o_Clock_Shadow,...`) and list_eval_partition.csv
(`image_id,partition`).
"""

__all__ = ["read_celeba"]

import re
from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import (
    base_names,
    describe,
    find_folder,
    find_list,
    find_root,
    list_files,
    present,
    read_rows,
    with_paths,
    without_ending,
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

    Dropped and counted: images without a split, images not on disk, repeated rows. Raises
    FileNotFoundError for a wrong root; ValueError, naming file and row, for an attribute that is
    not 1 or -1, a split that is not 0, 1 or 2, an image with two of either, another number of rows
    than line 1 says, and a file without Male.
    """
    layouts = [[f"{part}/{IMAGES}".lstrip("/")] for part in ("", "Img")]
    root = find_root(root, *layouts, expected=f"{IMAGES}/ and list_attr_celeba.txt")
    folder = find_folder(root, IMAGES) or root
    attributes, partition = (
        _needed(root, f"list_{n}.txt") for n in ("attr_celeba", "eval_partition")
    )
    drops = Drops()
    gender = _read_male(attributes, drops)
    splits, lines = _read_pairs(partition, drops)
    splits = map_labels(
        splits, dict(enumerate(SPLITS)), lambda i: f"{partition} line {lines[i]}", "split"
    )
    table = pd.DataFrame({"gender": gender, "split": splits.reindex(gender.index)})
    prefix = f"{folder.relative_to(root).as_posix()}/"
    table.insert(0, "key", prefix + table.index)
    table = drops.filter(table, table["split"].isna(), "without a split")
    table = present(table, list_files(folder, deep=False, prefix=prefix), drops)
    if people := _find(root, "identity_CelebA.txt"):
        stems = without_ending(base_names(table["key"]))
        named, _ = _read_pairs(people, drops)
        named = named.set_axis(without_ending(named.index.to_series()))
        table["person"] = stems.map(named).astype("string")
    return finish_table(
        with_paths(table[["key", "split", *table.columns.drop(["key", "split"])]], root),
        drops,
        source=str(root),
        published={"all": sum(PUBLISHED.values()), **PUBLISHED},
    )


def _find(root: Path, name: str) -> Path | None:
    """Return the list `name`, in `root` or in one of the authors' folders."""
    found = (find_list(root / folder, name) for folder in _FOLDERS)
    return next((file for file in found if file), None)


def _needed(root: Path, name: str) -> Path:
    """Return the list `name`; FileNotFoundError if it is nowhere."""
    if file := _find(root, name):
        return file
    raise FileNotFoundError(f"{root}: expected {name} in it, but {describe(root)}")


def _read_male(file: Path, drops: Drops) -> pd.Series:
    """Return the gender of each image by its name."""
    rows = read_rows(file)
    _, header = next(rows, (1, [""]))
    count = int(header[0]) if len(header) == 1 and header[0].strip().isdecimal() else None
    header = header if count is None else next(rows, (2, [""]))[1]
    names = [name.strip() for name in header]
    if names.count("Male") != 1:
        raise ValueError(
            f"{file}: expected a count in line 1 and names, Male among them, in line 2 (in a csv "
            "no count)"
        )
    own = count is None  # whether the images' column has a name too
    at = names.index("Male") - own
    words, lines = _read_words(file, rows, len(names) - own, "attributes", drops)
    if count is not None and len(lines) != count:
        raise ValueError(f"{file}: line 1 says {count:,} images, but {len(lines):,} follow")
    male = pd.Series({name: _number(fields[at]) for name, fields in words.items()}, dtype=object)
    return map_labels(male, _GENDERS, lambda i: f"{file} line {lines[i]}", "Male")


def _read_pairs(file: Path, drops: Drops) -> tuple[pd.Series, list[int]]:
    """Return the number of each image by its name, and the line of each."""
    rows = (row for row in read_rows(file) if row[0] > 1 or "." in row[1][0])  # no header
    words, lines = _read_words(file, rows, 1, "number", drops)
    numbers = {name: _number(fields[0]) for name, fields in words.items()}
    return pd.Series(numbers, dtype=object), lines


def _read_words(file: Path, rows, count: int, what: str, drops: Drops):
    """Return the words after each image's name, a list of `count`, by that name; and the lines."""
    words: dict[str, list[str]] = {}
    lines = []
    for number, (name, *rest) in rows:
        rest = [word.strip() for word in rest]
        if len(rest) != count:
            fewer = "fewer" if len(rest) < count else "more"
            raise ValueError(f"{file} line {number}: {fewer} than {count} {what}")
        if name in words:
            if words[name] != rest:
                raise ValueError(f"{file}: {name} is named twice; keep one")
            drops.add("repeated row", [f"{file.name} line {number}"])
            continue
        words[name] = rest
        lines.append(number)
    return words, lines


def _number(text: str) -> int | str:
    """Return a whole number, or the text that is none."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,9}", text) else text
