"""AffectNet as re-released in March 2021: crops of 224x224, labels in .npy files.

On disk, where ids start anew in each set (arXiv 1708.03985; layout as read by
github.com/yaoing/DAN `affectnet.py`):

    train_set/images/0.jpg     train_set/annotations/0_exp.npy  0_val.npy  0_aro.npy  0_lnd.npy
    val_set/images/0.jpg       val_set/annotations/...     or validation_set

Each of `_exp`, `_val` and `_aro` holds one value: expression, valence, arousal. Their type differs
(text in some copies), so it is converted. The 68 landmarks in `_lnd` are not needed: the images
are cropped, though the eyes need not be level.
"""

__all__ = ["SETS", "read_affectnet_npy", "read_scalar", "read_sets"]

import functools
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np
import pandas as pd

from hmtl.data.readers.affectnet.labels import NO_TEST, check_classes, label_rows, published_counts
from hmtl.data.readers.folders import split_folders
from hmtl.data.readers.listing import by_stem, folders_in, list_at
from hmtl.data.readers.names import plain
from hmtl.data.readers.source import Source
from hmtl.files import check_regular
from hmtl.labels import EMOTIONS

SETS = {"train": "train_set", "test": "val_set"}
_OTHER = "validation_set"  # what AffectNet+ calls val_set
VALIDATION = dict.fromkeys(EMOTIONS, 500) | {"contempt": 499}  # 3,999 in all
_ENDINGS = {"emotion": "_exp.npy", "valence": "_val.npy", "arousal": "_aro.npy"}


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
    return read_sets(
        source, sets, classes, _ENDINGS, lambda *files: [*map(read_scalar, files)],
        published=published_counts(classes, VALIDATION),
    )  # fmt: skip


def read_sets(
    source: Source, sets: Mapping[str, str], classes: int, endings: Mapping[str, str],
    read: Callable[..., Sequence[float]], on_disk: bool = False, **more,
) -> pd.DataFrame:  # fmt: skip
    """Return the sample table of a release with images/ and annotations/ in each set.

    Args:
        source: The folder of the sets.
        sets: Split -> folder.
        classes: 8, or 7 without contempt.
        endings: Column -> how the files end that have its value.
        read: From the files of a picture, each once, to expression, valence and arousal; nothing of
            an annotation that is torn.
        on_disk: Count each set's pictures before labels are left out.
        more: What else `finish_table` is told.
    """
    for name in split_folders(folders_in(source.root)):
        if plain(name) not in sets.values():
            source.notes.append(f"{name}/ is not read; {' and '.join(sets.values())} are")
    table = pd.concat(
        _read_set(source, split, folder, dict.fromkeys(endings.values()), read)
        for split, folder in sets.items()
    )
    groups = [table["split"] + " on disk"] if on_disk else []
    table = label_rows(table, classes, source, lambda stem, column: stem + endings[column])
    return source.finish(table, notes=[NO_TEST], groups=groups, **more)


def _read_set(
    source: Source, split: str, folder: str, endings: Iterable[str], read: Callable
) -> pd.DataFrame:
    """Return the rows of one set by number; the index has the annotations' paths, no endings."""
    notes, named = source.at(f"{folder}/annotations"), defaultdict(list)
    there = source.files(notes, (".npy", ".json"))
    files = [by_stem(there, ending) for ending in endings]
    images = list_at(notes.parent, "images")
    for key in source.files(images):
        stem = key.removeprefix(source.key(images)).rpartition(".")[0]
        named[source.key(notes) + stem].append(key)
    several = [key for keys in named.values() if len(keys) > 1 for key in keys]
    source.add("images of one number", several)
    keys = {stem: found[0] for stem, found in named.items() if len(found) == 1}
    annotated = set.intersection(*map(set, files))
    source.add("image without annotations", sorted(keys[s] for s in set(keys) - annotated))
    source.add("annotations without an image", sorted(set(files[0]) - set(named)))
    kept = sorted(annotated & set(keys), key=lambda s: (len(s), s))  # 2 before 10
    values = [read(*(source.root / of[stem] for of in files)) for stem in kept]
    table = pd.DataFrame(
        [value or [np.nan] * 3 for value in values], [str(source.root / stem) for stem in kept],
        ["emotion", "valence", "arousal"], dtype=float,
    )  # fmt: skip
    table.insert(0, "key", [keys[stem] for stem in kept])
    table.insert(1, "split", split)
    return source.filter(table, [not value for value in values], "annotation that is no JSON")


def read_scalar(file: str | Path) -> float:
    """Return the one value in a .npy file, whatever its type and shape: a float.

    Some three times as fast as `numpy.load`, which parses the header anew for each of a million
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
