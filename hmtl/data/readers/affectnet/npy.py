"""AffectNet as re-released in March 2021: crops of 224x224, labels in .npy files.

On disk, where ids start anew in each set (arXiv 1708.03985; layout as read by
github.com/yaoing/DAN `affectnet.py`):

    train_set/images/0.jpg     train_set/annotations/0_exp.npy  0_val.npy  0_aro.npy  0_lnd.npy
    val_set/images/0.jpg       val_set/annotations/...     or validation_set

Each of `_exp`, `_val` and `_aro` holds one value: expression, valence, arousal. Their type differs
(text in some copies), so it is converted. The 68 landmarks in `_lnd` are not needed: the images
are cropped, though the eyes need not be level.
"""

__all__ = ["SETS", "pair_images", "read_affectnet_npy", "read_scalar"]

import functools
import io
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError

import numpy as np
import pandas as pd

from hmtl.data.readers.affectnet.labels import (
    check_affect,
    check_classes,
    choose_expressions,
    published_counts,
)
from hmtl.data.readers.listing import find_root, list_files, with_paths
from hmtl.data.readers.report import Drops, finish_table
from hmtl.files import check_regular
from hmtl.labels import EMOTIONS

SETS = {"train": "train_set", "test": "val_set"}
_OTHER = "validation_set"  # what AffectNet+ calls val_set
VALIDATION = dict.fromkeys(EMOTIONS, 500) | {"contempt": 499}  # 3,999 in all
_FIELDS = {"emotion": "exp", "valence": "val", "arousal": "aro"}


def read_affectnet_npy(root: str | Path, *, classes: int = 8) -> pd.DataFrame:
    """Return the re-released AffectNet: `train_set` as train, `val_set` as test (nothing is valid).

    Columns: `key` ("train_set/images/0.jpg"), `path`, `split`, `emotion`, `valence` and `arousal`
    (-1..1, missing where the file has -2); rows in the order of their numbers, train first. The
    published validation set has 499 images of contempt, so 3,999 in all. `classes=7` leaves
    contempt out.

    Dropped and counted: images without all three annotation files, annotations without an image,
    images of one number (0.jpg and 0.png: nothing says which of them is annotated),
    expressions 8 to 10 (None, Uncertain, Non-Face), which this release should not have.

    Raises FileNotFoundError for a wrong root; ValueError, naming the file, for an annotation that
    is not one number, an expression that is not 0..10, or a valence or arousal that is neither -2
    nor in -1..1.
    """
    check_classes(classes)
    needed = [f"{name}/{part}" for name in SETS.values() for part in ("images", "annotations")]
    other = [part.replace(SETS["test"], _OTHER) for part in needed]
    root = find_root(root, needed, other, expected=" and ".join(f"{part}/" for part in needed))
    sets = SETS if (root / SETS["test"]).is_dir() else SETS | {"test": _OTHER}
    drops = Drops()
    table = pd.concat(
        [_read_set(root, split, folder, drops) for split, folder in sets.items()], ignore_index=True
    )
    table = choose_expressions(table, classes, drops, _where(root, table))
    table = check_affect(table, _where(root, table))
    return finish_table(
        with_paths(table.drop(columns="stem"), root),
        drops,
        source=str(root),
        published=published_counts(classes, VALIDATION),
        notes=["AffectNet's validation images are the test split: there is no public test set"],
    )


def _where(root: Path, table: pd.DataFrame) -> Callable[[int, str], str]:
    """Return a function from a row's position and a column to the file that holds the value."""
    return lambda i, column: f"{root / table['stem'].iloc[i]}_{_FIELDS[column]}.npy"


def _read_set(root: Path, split: str, folder: str, drops: Drops) -> pd.DataFrame:
    """Return the rows of one set that have an image and three annotations, by number."""
    notes = root / folder / "annotations"
    stems = {
        field: {name.removesuffix(f"_{field}.npy") for name in list_files(notes, (".npy",))}
        for field in _FIELDS.values()
    }
    lonely = {s for s in stems["exp"] if not s.endswith(".npy")}
    table = pair_images(root, split, folder, set.intersection(*stems.values()), lonely, drops)
    for column, field in _FIELDS.items():
        files = [root / f"{stem}_{field}.npy" for stem in table["stem"]]
        table[column] = np.array([read_scalar(file) for file in files])
    return table


def pair_images(
    root: Path, split: str, folder: str, annotated: set[str], lonely: set[str], drops: Drops
) -> pd.DataFrame:
    """Return `key`, `split` and `stem` (of the annotation's path) of a set's images, by number.

    `annotated` are the numbers whose annotation is whole, `lonely` those that want an image.
    Counted are images without annotation, annotations without an image, and images of one number.
    """
    named = defaultdict(list)
    for name in list_files(root / folder / "images"):
        named[name.rsplit(".", 1)[0]].append(f"{folder}/images/{name}")
    several = [name for names in named.values() if len(names) > 1 for name in names]
    drops.add("images of one number", several)
    images = {stem: names[0] for stem, names in named.items() if len(names) == 1}
    drops.add("image without annotations", sorted(images[s] for s in set(images) - annotated))
    drops.add(
        "annotations without an image", sorted(f"{folder}/{stem}" for stem in lonely - set(named))
    )
    kept = sorted(annotated & set(images), key=lambda s: (len(s), s))  # 2 before 10
    return pd.DataFrame(
        {
            "key": [images[stem] for stem in kept],
            "split": split,
            "stem": [f"{folder}/annotations/{stem}" for stem in kept],
        },
        dtype=str,
    )


def read_scalar(file: str | Path) -> float:
    """Return the one value in a .npy file, whatever its type and shape: a float.

    Some ten times as fast as `numpy.load`, which parses the header anew for each of a million
    files. Raises ValueError naming the file unless it holds one number.
    """
    check_regular(file, "copy it anew from the data set")
    with open(file, "rb") as handle:
        raw = handle.read()
    try:
        start = raw.index(b"\n") + 1  # headers end in the only newline
        dtype = _scalar_type(raw[:start])
        values = np.frombuffer(raw[start:], dtype=dtype)
        if len(values) != 1:
            raise ValueError(f"holds {len(values)} values")
        return float(values[0])
    except (ValueError, TypeError, EOFError, SyntaxError, TokenError) as error:
        raise ValueError(f"{file}: expected one number in it; {error}") from None


@functools.lru_cache(maxsize=256)
def _scalar_type(header: bytes) -> np.dtype:
    """Return the type in a .npy file's header, of version 1 to 3; ValueError for Python objects."""
    stream = io.BytesIO(header)
    major, _ = np.lib.format.read_magic(stream)
    read = (
        np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    )
    dtype = read(stream)[2]
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return dtype
