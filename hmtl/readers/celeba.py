"""CelebA: 202,599 pictures of 10,177 people; of its forty attributes, gender (arXiv 1411.7766).

On disk, side by side or in the authors' folders Img, Anno and Eval:

    img_align_celeba/000001.jpg
    list_attr_celeba.txt       a count, the forty names, then `000001.jpg -1  1 ...`
    list_eval_partition.txt    `000001.jpg 0`: 0 train, 1 valid, 2 test
    identity_CelebA.txt        `000001.jpg 2880` (may be absent)
"""

__all__ = ["read_celeba"]

from pathlib import Path

import numpy as np
import pandas as pd

from hmtl.labels import SPLITS
from hmtl.readers.listing import describe, find_root, list_files, present, with_paths
from hmtl.readers.report import Drops, finish_table, map_labels

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
    with open(file, encoding="utf-8") as lines:
        count, names = next(lines, "").strip(), next(lines, "").split()
    if not count.isdigit() or "Male" not in names:
        raise ValueError(
            f"{file}: expected a count in line 1 and names, Male among them, in line 2"
        )
    table = pd.read_csv(
        file, sep=r"\s+", skiprows=2, header=None, names=["image", *names], index_col="image"
    )
    short = np.flatnonzero(table.isna().any(axis=1))
    if len(short):
        raise ValueError(f"{file} line {short[0] + 3}: fewer than {len(names)} attributes")
    if len(table) != int(count):
        raise ValueError(f"{file}: line 1 says {int(count):,} images, but {len(table):,} follow")
    return map_labels(table["Male"], _GENDERS, lambda i: f"{file} line {i + 3}", "Male")


def _read_pairs(file: Path) -> pd.Series:
    """Return the number of each image by its name."""
    pairs = pd.read_csv(file, sep=r"\s+", header=None, names=["image", "n"], index_col="image")["n"]
    if pairs.index.duplicated().any():
        name = pairs.index[pairs.index.duplicated()][0]
        raise ValueError(f"{file}: {name} is named twice; keep one")
    return pairs
