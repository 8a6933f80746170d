"""CK+: posed expressions of 123 people, from neutral to the peak (Lucey et al., CVPR-W 2010).

On disk, one of

    CK+48/anger/S010_004_00000017.png      981 pictures of 48x48: the last three frames of 327
                                           sequences; the name says person, sequence, frame
    ckextended.csv                         emotion,pixels,Usage, 920 rows; as FER2013, and 7 is
                                           contempt; who is in a row is not said
    cohn-kanade-images/S010/004/S010_004_00000017.png   the authors' archives: whole sequences and
    Emotion/S010/004/S010_004_00000017_emotion.txt      one number for each of the 327
"""

__all__ = ["read_ckplus"]

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hmtl.data.readers.fer2013 import LABELS, list_rows
from hmtl.data.readers.folders import holds_classes, list_classes, split_folders
from hmtl.data.readers.listing import find_folder, folders_in, list_files, with_paths
from hmtl.data.readers.people import draw_splits
from hmtl.data.readers.report import WARNING, map_labels
from hmtl.data.readers.source import Source

_CSV = "ckextended.csv"
_NUMBERS = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sad", "surprise")
_COUNTS = {"anger": 135, "contempt": 54, "disgust": 177, "fear": 75, "happy": 207, "sad": 84,
           "surprise": 249}  # fmt: skip
_LAST = 3  # frames at the end of a sequence that show its emotion, as CK+48 has them


def read_ckplus(
    root: str | Path,
    *,
    names: Mapping | None = None,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> pd.DataFrame:
    """Return CK+: `key`, `path`, `split`, `emotion`, `person` ("S010"); from the csv `offset`.

    There is no official split: whole people are split, unless folders say one. The csv has a split
    of its own, which may hold one person twice; the report warns, as it does where names of
    pictures do not say who is in them. Of the authors' archives the last three frames of a
    labelled sequence are read, as CK+48 has them.

    Dropped and counted: pictures outside of the class folders, malformed rows of the csv; of the
    archives sequences without a label and earlier frames.

    Args:
        root: The folder of the class folders, of the csv or of the archives, or one around it.
        names: Class folder -> emotion, for folders that are no words.
        shares: Of train, valid and test.
        seed: Of the draw.

    Returns:
        The sample table.

    Raises:
        FileNotFoundError: A wrong root.
        ValueError: Naming folder, or file and line: an emotion that is not known.
    """
    archives = ["cohn-kanade-images", "Emotion"]

    def unpacked(folder: Path) -> bool:
        found = [place for name in archives if (place := find_folder(folder, name))]
        return len(found) == 2 and Path(os.path.commonpath(found)) == folder

    def classes(folder: Path) -> bool:
        alone = holds_classes(folder, names=names) and any(folder.glob("*/*.*"))
        return alone or bool(split_folders(folders_in(folder)))

    expected = f"class folders such as CK+48/anger/, {_CSV} or {' and '.join(archives)}"
    source = Source(root, [_CSV], unpacked, classes, expected=expected)
    if (file := source.at(_CSV)).is_file():
        labels = {str(i): name for i, name in enumerate((*LABELS, "contempt"))}
        table = list_rows(file, None, source, labels)
        note = f"{WARNING}{_CSV} does not say who is in a row; its test may show people of train"
        return source.finish(
            table, ["key", "path", "split", "emotion", "offset"], published={"all": 920},
            groups=["faces/" + table["emotion"]], notes=[note],
        )  # fmt: skip
    if unpacked(source.root):
        table = _read_sequences(source, archives[0], archives[1])
    else:
        table = list_classes(source.root, source, names=names)
    table = draw_splits(table, source, shares, seed, "emotion")
    if "person" not in table:
        such = f"{WARNING}names such as {table['key'].iloc[0]} do not say who is in a picture; "
        remedy = "the reader folders has --option person=PATTERN"
        source.notes.append(f"{such}frames of one sequence may be in two splits; {remedy}")
    return source.finish(table, published={"all": 981}, faces=_COUNTS)


def _read_sequences(source: Source, images: str, emotions: str) -> pd.DataFrame:
    """Return the last frames of the labelled sequences in the authors' archives."""
    labels = source.folder(emotions)
    files = [f for f in list_files(labels, (".txt",)) if f.lower().endswith("_emotion.txt")]
    texts = {str(labels / f): (labels / f).read_text("utf-8", "replace").strip() for f in files}
    said = pd.Series(texts, dtype=str)
    numbers = pd.to_numeric(said, errors="coerce").astype(object)
    numbers = numbers.where(numbers.notna(), said)  # text that is none stays, to be told
    named = map_labels(numbers, dict(enumerate(_NUMBERS)), "emotion")
    of_sequence = {f.rpartition("/")[0]: name for f, name in zip(files, named, strict=True)}
    table = pd.DataFrame({"key": list_files(source.folder(images))}, dtype=str)
    sequence = table["key"].str.replace(r"/[^/]*$", "", regex=True)
    table["emotion"] = sequence.map(of_sequence)
    last = table.groupby(sequence).cumcount(ascending=False) < _LAST
    table = source.filter(table, table["emotion"].isna(), "frame of a sequence without a label")
    table = source.filter(table, ~last[table.index], f"frame before the last {_LAST}")
    keys = source.key(source.folder(images)) + table["key"]
    return with_paths(table.assign(key=keys, split="train"), source.root)
