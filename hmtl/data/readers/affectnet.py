"""AffectNet in whichever form lies in the folder (arXiv 1708.03985)."""

__all__ = ["read_affectnet"]

from pathlib import Path

import pandas as pd

from hmtl.data.readers.affectnet_csv import read_affectnet_csv
from hmtl.data.readers.affectnet_folders import read_affectnet_folders
from hmtl.data.readers.affectnet_npy import read_affectnet_npy
from hmtl.data.readers.folders import SPLIT_FOLDERS
from hmtl.data.readers.listing import describe
from hmtl.data.readers.names import EMOTION_WORDS

_EXPECTED = (
    "Manually_Annotated_file_lists/ and Manually_Annotated_Images/ (first release), train_set/ and "
    "val_set/ with images/ and annotations/ (March 2021), or class folders such as anger/ or "
    "train/anger/ (copies)"
)


def read_affectnet(root: str | Path, *, classes: int = 8, **options) -> pd.DataFrame:
    """Return AffectNet as a sample table by the reader of the form found under `root`.

    `classes` is 8, or 7 without contempt; `options` go to `read_affectnet_folders`, the only one
    that has more. Raises FileNotFoundError with what was expected and found if no form is there;
    beyond that as `read_affectnet_csv`, `read_affectnet_npy` and `read_affectnet_folders`.
    """
    root = Path(root)
    reader = _choose(root)
    if options and reader is not read_affectnet_folders:
        raise ValueError(f"{', '.join(options)}: only folder copies of AffectNet have such options")
    return reader(root, classes=classes, **options)


def _choose(root: Path):
    """Return the reader whose folders are in `root`, or in a folder directly in it."""
    inside = [p for p in root.iterdir() if p.is_dir()] if root.is_dir() else []
    for mark, reader in (
        ("Manually_Annotated_file_lists", read_affectnet_csv),
        ("train_set", read_affectnet_npy),
    ):
        if any((folder / mark).is_dir() for folder in (root, *inside)):
            return reader
    known = {*SPLIT_FOLDERS, *EMOTION_WORDS}
    if any(p.name.lower() in known or p.name.isdigit() for p in inside):
        return read_affectnet_folders
    raise FileNotFoundError(f"{root}: expected {_EXPECTED} in it, but {describe(root)}")
