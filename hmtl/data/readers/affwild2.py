"""Aff-Wild2: frames of videos, with an emotion or valence and arousal (Kollias, arXiv 1811.07770).

On disk, as the ABAW challenges hand it out; names of the folders differ with the year:

    .../EXPR_Recognition_Challenge/Train_Set/VIDEO.txt   line 1 the names of the classes, then a
    .../EXPR_Recognition_Challenge/Validation_Set/...    number a frame, -1 for none
    .../VA_Estimation_Challenge/Train_Set/VIDEO.txt      `valence,arousal`, then two numbers a
                                                         frame, -5 for none
    cropped_aligned/VIDEO/00001.jpg                      the face of the first frame

Numbers go by the names in line 1: years differ in them. Frames without a face have no picture.
"""

__all__ = ["read_affwild2"]

from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import by_stem, find_folder, list_at, list_files, locate, subfolder
from hmtl.data.readers.names import name_labels
from hmtl.data.readers.source import Source
from hmtl.labels import check_known

_SETS = {"train": "Train_Set", "test": "Validation_Set"}
_LABELS = {"emotion": "EXPR", "affect": "VA"}
_IMAGES = "cropped_aligned"
_COLUMNS = {"emotion": ["emotion"], "affect": ["valence", "arousal"]}


def read_affwild2(root: str | Path, *, labels: str = "emotion", every: int = 1) -> pd.DataFrame:
    """Return Aff-Wild2: `key` ("cropped_aligned/105/00001.jpg"), `path`, `split`, `source` (the
    video), and `emotion`, or `valence` and `arousal` (-1..1).

    The validation videos are the test split: those of the test are not labelled. Dropped and
    counted: frames without a label, of the class Other, malformed lines, frames without a picture.

    Args:
        root: A folder that holds the lists and cropped_aligned, at most two below it.
        labels: "emotion" (the lists called EXPR...) or "affect" (VA...).
        every: Read each n-th frame of a video: neighbours are all but copies.

    Returns:
        The sample table, a row a frame.

    Raises:
        FileNotFoundError: A wrong root, or one without such lists.
        ValueError: Such lists of several years; an unknown option; naming file and line, a number
            that line 1 does not name or that is not in -1..1.
    """
    check_known(f"labels={labels!r}:", labels, _LABELS)
    if every < 1:
        raise ValueError(f"every={every!r}: a whole number from 1 up")
    kind = _LABELS[labels]

    def lists(folder: Path) -> bool:
        named = folder.name.upper().startswith(kind)
        return named and all(subfolder(folder, name) for name in _SETS.values())

    source = Source(root)
    images = find_folder(source.root, _IMAGES)
    places = locate(source.root, lists) or (locate(images.parent, lists) if images else [])
    if images is None or not places:
        raise source.lacks(f"{_IMAGES}/ and {kind}.../ with {' and '.join(_SETS.values())}")
    if len(places) > 1:
        names = ", ".join(str(place) for place in places)
        raise ValueError(
            f"{names} all hold such lists, of several years; keep one beside {_IMAGES}/"
        )
    source.root, parts, videos = images.parent, [], []
    for split, folder in _SETS.items():
        inside = list_at(places[0], folder)
        files = by_stem(list_files(inside, (".txt",), deep=False), ".txt")
        for video, name in files.items():
            part = _read_video(inside / name, labels, every, source)
            number = part.pop("frame").astype(str).str.zfill(5)
            keys = f"{images.name}/{video}/" + number + ".jpg"
            whole = video.removesuffix("_left").removesuffix("_right")
            parts.append(part.assign(key=keys, split=split, source=whole))
            videos.append(f"videos/{split}")
    columns = ["key", "split", *_COLUMNS[labels], "source"]
    table = pd.concat(parts or [pd.DataFrame(columns=columns, dtype=str)], ignore_index=True)
    return source.finish(
        source.present(table, images),
        columns,
        published={"videos/train": 248, "videos/test": 70} if labels == "emotion" else {},
        groups=[pd.Series(videos, dtype=str)],
        notes=["the validation videos are the test split: those of the test are not labelled"],
    )


def _read_video(file: Path, labels: str, every: int, source: Source) -> pd.DataFrame:
    """Return the labelled frames of one list: `frame` (from 1) and the labels."""
    header, rows = source.rows(file)
    columns = _COLUMNS[labels]
    bad = [f"{file.name} line {line}" for line, row in rows if len(row) != len(columns)]
    source.add("malformed row", bad)
    said = {
        f"{file} line {line}": [line - 1, *map(str.strip, row)]
        for line, row in rows
        if len(row) == len(columns)
    }
    table = pd.DataFrame.from_dict(said, "index", columns=["frame", *columns])
    table = table[(table["frame"] - 1) % every == 0].copy()
    if labels == "emotion":
        table = source.filter(table, table["emotion"] == "-1", "frame without a label", "")
        # a number that is none stays one
        table["emotion"] = table["emotion"].replace({str(i): n for i, n in enumerate(header)})
        table = source.filter(table, table["emotion"].str.lower() == "other", "Other", "")
        return table.assign(emotion=name_labels(table["emotion"], "emotion"))
    values = table[columns].apply(pd.to_numeric, errors="coerce")
    none = (values == -5).any(axis=1)
    for place in table.index[~none & ~(values.abs() <= 1).all(axis=1)]:
        raise ValueError(f"{place}: expected valence and arousal in -1..1, or -5")
    return source.filter(table[["frame"]].join(values), none, "frame without a label", "")
