"""AffectNet as re-released in March 2021: crops of 224x224, labels in .npy files.

On disk, where ids start anew in each set (arXiv 1708.03985; layout as read by
github.com/yaoing/DAN `affectnet.py`):

    train_set/images/0.jpg     train_set/annotations/0_exp.npy  0_val.npy  0_aro.npy  0_lnd.npy
    val_set/images/0.jpg       val_set/annotations/...     or validation_set

Each of `_exp`, `_val` and `_aro` holds one value: expression, valence, arousal. Their type differs
(text in some copies), so it is converted. The 68 landmarks in `_lnd` are not needed: the images
are cropped, though the eyes need not be level.
"""

__all__ = ["SETS", "finish_sets", "pair_images", "read_affectnet_npy", "read_scalar"]

import functools
import io
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError

import numpy as np
import pandas as pd

from hmtl.data.readers.affectnet.labels import NO_TEST, check_classes, label_rows, published_counts
from hmtl.data.readers.listing import by_stem, list_at, list_files
from hmtl.data.readers.source import Source
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
    source = Source(root, needed, other, expected=" and ".join(f"{part}/" for part in needed))
    sets = SETS if source.at(SETS["test"]).is_dir() else SETS | {"test": _OTHER}
    parts = [_read_set(source, split, folder) for split, folder in sets.items()]
    return finish_sets(
        source, parts, classes, lambda stem, column: f"{stem}_{_FIELDS[column]}.npy",
        published=published_counts(classes, VALIDATION),
    )  # fmt: skip


def finish_sets(
    source: Source, parts: list[pd.DataFrame], classes: int, name: Callable[[str, str], str], **more
) -> pd.DataFrame:
    """Return the sample table of sets by `pair_images`; `name` is the file of a stem's column."""
    table = label_rows(
        pd.concat(parts, ignore_index=True), classes, source,
        lambda row, column: str(source.at(name(row["stem"], column))),
    )  # fmt: skip
    return source.finish(table.drop(columns="stem"), notes=[NO_TEST], **more)


def _read_set(source: Source, split: str, folder: str) -> pd.DataFrame:
    """Return the rows of one set that have an image and three annotations, by number."""
    notes = source.at(f"{folder}/annotations")
    there = source.files(notes, (".npy",))
    files = {field: by_stem(there, f"_{field}.npy") for field in _FIELDS.values()}
    whole = set.intersection(*(set(stems) for stems in files.values()))
    table = pair_images(source, split, notes, whole, set(files["exp"]))
    for column, field in _FIELDS.items():
        values = [read_scalar(source.root / files[field][stem]) for stem in table["stem"]]
        table[column] = np.array(values)
    return table


def pair_images(
    source: Source, split: str, notes: Path, annotated: set[str], lonely: set[str]
) -> pd.DataFrame:
    """Return `key`, `split` and `stem` (of the annotation's path) of a set's images, by number.

    The images lie beside the annotations, `notes`. `annotated` are the stems of annotations that
    are whole, `lonely` of those that want an image. Counted are images without annotation,
    annotations without an image, and images of one number.
    """
    images, begin, named = list_at(notes.parent, "images"), source.key(notes), defaultdict(list)
    for name in list_files(images):
        named[begin + name.rsplit(".", 1)[0]].append(source.key(images) + name)
    several = [name for names in named.values() if len(names) > 1 for name in names]
    source.add("images of one number", several)
    keys = {stem: names[0] for stem, names in named.items() if len(names) == 1}
    source.add("image without annotations", sorted(keys[s] for s in set(keys) - annotated))
    source.add("annotations without an image", sorted(lonely - set(named)))
    kept = sorted(annotated & set(keys), key=lambda s: (len(s), s))  # 2 before 10
    found = {"key": [keys[stem] for stem in kept], "split": split, "stem": kept}
    return pd.DataFrame(found, dtype=str)


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
