"""Any folder of class folders: the label of an image is the name of the folder it lies in.

    happy/1.jpg   sad/2.png   ...                     no split: a seeded one is made
    train/happy/1.jpg   val/sad/2.png   test/...      folders that say the split

Folder names may be of any case and either form ("Happy", "happiness"). Numbers are refused unless
the user says what they mean: 0 is anger in an alphabetical copy of AffectNet and neutral in
AffectNet's own order. Ours.
"""

__all__ = ["SPLIT_FOLDERS", "list_classes", "read_folders"]

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import describe, is_folder, list_files, with_paths
from hmtl.data.readers.names import EMOTION_WORDS, GENDER_WORDS, name_labels
from hmtl.data.readers.report import Drops, finish_table
from hmtl.data.readers.splits import seeded_split

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
}
_WORDS = {"emotion": EMOTION_WORDS, "gender": GENDER_WORDS}


def read_folders(
    root: str | Path,
    *,
    label: str = "emotion",
    names: Mapping | None = None,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> pd.DataFrame:
    """Return the images under class folders: `key` ("train/happy/1.jpg"), `path`, `split`, `label`.

    `label` is "emotion" or "gender"; `names` maps folder names to this project's (`{"0": "anger",
    "joy": "happy"}`). Folders called train, val or valid, and test give the split; where there are
    none, or train alone, `shares` (train, valid, test) are split by `seed`, class by class.

    Dropped and counted: pictures outside of the class folders, those of a class folder beside
    train/ and test/ too.
    Raises FileNotFoundError for a root without images in folders, ValueError naming a folder that
    is no known class.
    """
    if label not in _WORDS:
        raise ValueError(f"label={label!r}: one of {', '.join(_WORDS)}")
    drops, notes = Drops(), []
    table = list_classes(root, drops, label=label, names=names)
    if set(table["split"]) <= {"train"}:
        table["split"] = seeded_split(table, shares, seed=seed, by=label)
        notes = [f"no official split: {shares} drawn by seed {seed}"]
    return finish_table(table, drops, source=str(root), notes=notes)


def list_classes(
    root: str | Path,
    drops: Drops,
    *,
    label: str = "emotion",
    names: Mapping | None = None,
    splits: Mapping[str, str] = SPLIT_FOLDERS,
) -> pd.DataFrame:
    """Return `key`, `path`, `split` and `label` of every image in a class folder under `root`.

    `splits` maps names of folders, lower case, to splits. Without such folders all is "train".
    Drops and errors are those of `read_folders`.
    """
    root = Path(root)
    root = root.resolve()
    parts = {name: splits[name.lower()] for name in _folders(root) if name.lower() in splits}
    files = list_files(root) if root.is_dir() else []
    rows = []
    for key in files:
        *above, _ = key.split("/")
        part = above.pop(0) if above and parts else ""
        if above and not above[0].startswith("__") and (part in parts or not parts):
            rows.append((part, above[0], key))
    if not rows:
        raise FileNotFoundError(
            f"{root}: expected images in class folders such as happy/ or train/happy/ in it, "
            f"but {describe(root)}"
        )
    rows.sort()  # by folder: "a/" before "a b/"
    table = pd.DataFrame(
        {"key": key, "split": parts.get(part, "train"), label: folder} for part, folder, key in rows
    )
    beside = set(files) - set(table["key"])
    drops.add("picture outside of the class folders", sorted(beside))
    table[label] = name_labels(
        table[label], lambda i: f"{root / table['key'][i]}", f"{label} (the folder)",
        words=_WORDS[label], names=names,
    )  # fmt: skip
    return with_paths(table, root)


def _folders(root: Path) -> list[str]:
    """Return the names of the folders in `root` that are not hidden, sorted; none if it is none."""
    if not root.is_dir():
        return []
    with os.scandir(root) as entries:
        found = [e.name for e in entries if is_folder(e) and not e.name.startswith((".", "__"))]
    return sorted(found)
