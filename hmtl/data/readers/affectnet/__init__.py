"""AffectNet in whichever form lies in the folder (arXiv 1708.03985)."""

__all__ = ["read_affectnet"]

import inspect
from pathlib import Path

import pandas as pd

from hmtl.data.readers.affectnet.folders import read_affectnet_folders
from hmtl.data.readers.affectnet.lists import IMAGES, LISTS, read_affectnet_csv
from hmtl.data.readers.affectnet.npy import SETS, read_affectnet_npy
from hmtl.data.readers.affectnet.plus import holds_plus, read_affectnet_plus
from hmtl.data.readers.affectnet.yolo import holds_yolo, read_affectnet_yolo
from hmtl.data.readers.folders import holds_classes
from hmtl.data.readers.listing import locate, subfolder
from hmtl.data.readers.source import Source

_EXPECTED = (
    "Manually_Annotated_file_lists/ and Manually_Annotated_Images/ (first release), train_set/ and "
    "val_set/ with images/ and annotations/ (March 2021), human_annotated/ (AffectNet+), or class "
    "folders such as anger/ or train/anger/ (copies)"
)


def read_affectnet(root: str | Path, *, classes: int = 8, **options) -> pd.DataFrame:
    """Return AffectNet as a sample table by the reader of the form found under `root`.

    Args:
        root: The folder of a release or a copy, or one around it.
        classes: 8, or 7 without contempt.
        options: Others that the form's own reader has, such as `names` of copies.

    Returns:
        The sample table of the form that was found.

    Raises:
        FileNotFoundError: No form is there; it says what was expected and what was found.
        ValueError: As the readers of the forms.
    """
    root = Path(root)
    reader = _choose(root)
    if lost := sorted(set(options) - set(inspect.signature(reader).parameters)):
        raise ValueError(f"{', '.join(lost)}: this form of AffectNet has no such options")
    return reader(root, classes=classes, **options)


def _choose(root: Path):
    """Return the reader whose files are in `root` or up to two folders further down."""
    first = (*LISTS.values(), *IMAGES.values())  # of the first release
    forms = (
        (lambda f: any(subfolder(f, name) for name in first), read_affectnet_csv),
        (holds_plus, read_affectnet_plus),
        (lambda f: subfolder(f, SETS["train"]) is not None, read_affectnet_npy),
        (holds_yolo, read_affectnet_yolo),
        (holds_classes, read_affectnet_folders),
    )
    for fits, reader in forms:
        if locate(root, fits):
            return reader
    raise Source(root).lacks(_EXPECTED)
