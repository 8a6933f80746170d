"""AffectNet+ (2024), the release that is handed out now: a JSON file an image.

    human_annotated/train_set/images/0.jpg        human_annotated/train_set/annotations/0.json
    human_annotated/validation_set/images/0.jpg   ...; numbers start anew in each set
    no_human_annotated/...                        not read: nobody labelled them

A file has `human-label` (AffectNet's number, 0 to 10), `soft-label` (eight numbers), `subset` (0 to
2) and `meta-data`: `valence`, `arousal`, age, gender, race, pose, landmarks. The images are those
of the first release, so the counts are too.
"""

__all__ = ["holds_plus", "read_affectnet_plus"]

import json
import os
from pathlib import Path

import pandas as pd

from hmtl.data.readers.affectnet.labels import check_classes, published_counts
from hmtl.data.readers.affectnet.npy import read_sets
from hmtl.data.readers.listing import list_at
from hmtl.data.readers.source import Source
from hmtl.files import has_kind
from hmtl.labels import EMOTIONS

SETS = {"train": "train_set", "test": "validation_set"}
_LABELLED = "human_annotated"
_ON_DISK = {"train on disk": 414_799, "test on disk": 5_500}  # of all eleven expressions


def holds_plus(folder: Path) -> bool:
    """Whether a folder, or `human_annotated` in it, has training annotations in JSON."""
    inside = f"{SETS['train']}/annotations"
    places = [list_at(folder, name) for name in (f"{_LABELLED}/{inside}", inside)]
    names = (entry.name for place in places if place.is_dir() for entry in os.scandir(place))
    return any(name.lower().endswith(".json") for name in names)


def read_affectnet_plus(root: str | Path, *, classes: int = 8) -> pd.DataFrame:
    """Return AffectNet+: `train_set` as train, `validation_set` as test (nothing is valid).

    Columns: `key` ("train_set/images/0.jpg"), `path`, `split`, `emotion`, `valence` and `arousal`
    (-1..1, missing where the file has -2). Dropped and counted: None, Uncertain, Non-Face;
    annotations that are no JSON; images and annotations that lack the other.

    Args:
        root: The folder of the release, `human_annotated` in it, or a folder around them.
        classes: 8, or 7 without contempt.

    Returns:
        The sample table, rows in the order of their numbers, train first.

    Raises:
        FileNotFoundError: A wrong root.
        ValueError: An annotation without the fields, or with a value that is none.
    """
    check_classes(classes)
    expected = f"{_LABELLED}/ with {' and '.join(SETS.values())}/"
    source = Source(root, holds_plus, expected=expected)
    if source.at(_LABELLED).is_dir():
        source.root = source.at(_LABELLED)
    there = {split: folder for split, folder in SETS.items() if source.at(folder).is_dir()}
    return read_sets(
        source, there, classes, dict.fromkeys(("emotion", "valence", "arousal"), ".json"),
        _read_labels, on_disk=True,
        published=published_counts(classes, dict.fromkeys(EMOTIONS, 500)) | _ON_DISK,
    )  # fmt: skip


def _read_labels(file: Path) -> list[float]:
    """Return expression, valence and arousal of one file; nothing if it is torn.

    Raises ValueError naming file and field for what is missing or no number.
    """
    try:
        values = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return []
    inner = values.get("meta-data") if isinstance(values, dict) else None
    if not isinstance(inner, dict):
        raise ValueError(f"{file}, field meta-data: expected an object; copy the file anew")
    found = []
    for field, place in (("human-label", values), ("valence", inner), ("arousal", inner)):
        if not has_kind(place.get(field), float):
            raise ValueError(f"{file}, field {field}: {place.get(field)!r:.80} is no number")
        found.append(float(place[field]))
    return found
