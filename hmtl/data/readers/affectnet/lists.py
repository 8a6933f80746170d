"""AffectNet as first released: two csv files, and images with a face box (arXiv 1708.03985).

On disk:

    Manually_Annotated_file_lists/training.csv    with a header
    Manually_Annotated_file_lists/validation.csv  with or without one: copies differ
    Manually_Annotated_Images/689/737db2483489148d783ef278f43f486c0a97e140fc4b6b61b84363ca.jpg
    Manually_Annotated/Manually_Annotated_Images/689/...  as the archives unpack
    Automatically_Annotated_file_lists/automatically_annotated.csv, Automatically_Annotated_Images

Where a folder of lists was lost, the lists are looked for by their own names, three folders down.
Fields of a row: `subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,
expression,valence,arousal`. The 68 landmarks are one field, `x;y;x;y...`; a copy with each of
the 136 numbers in a field of its own is read too.
"""

__all__ = ["IMAGES", "LISTS", "lists_below", "read_affectnet_csv"]

from pathlib import Path

import pandas as pd

from hmtl.data.readers.affectnet.labels import NO_TEST, check_classes, label_rows, published_counts
from hmtl.data.readers.listing import find_folder, find_list, find_lists
from hmtl.data.readers.report import map_numbers
from hmtl.data.readers.source import Source
from hmtl.labels import EMOTIONS, check_known

LISTS = {
    "manual": "Manually_Annotated_file_lists",
    "automatic": "Automatically_Annotated_file_lists",
}
IMAGES = {"manual": "Manually_Annotated_Images", "automatic": "Automatically_Annotated_Images"}
FILES = {"train": ("manual", "training.csv"), "test": ("manual", "validation.csv")}
_AUTOMATIC = ("automatic", "automatically_annotated.csv")
_FIRST, _LAST = "subDirectory_filePath", ["expression", "valence", "arousal"]
_WIDTHS = (9, 144)  # landmarks in one field, or in 136
_BOX = ["x", "y", "width", "height"]
_COLUMNS = ["key", "split", "emotion", "valence", "arousal", "left", "top", "right", "bottom"]
_UNREAD = (".tif", ".tiff", ".bmp")


def read_affectnet_csv(
    root: str | Path, *, classes: int = 8, annotated: str = "manual"
) -> pd.DataFrame:
    """Return AffectNet's first release: training.csv as train, validation.csv as test.

    The validation images are what everybody reports on (there is no public test set), so they are
    `test` here; see `hmtl.data.packing.hold_out_valid` for valid rows out of training.

    Columns: `key` ("Manually_Annotated_Images/689/737d...jpg"; "...#2" for a second face in one
    picture), `path`, `split`, `emotion`, `valence` and `arousal` (-1..1; missing where the file has
    -2), and the face box `left, top, right, bottom` in pixels of the picture, which is
    `img[y : y + h, x : x + w]` of the file's x, y, width and height.

    Dropped and counted: None, Uncertain, Non-Face; rows that are malformed (a wrong number of
    fields, a box that is no numbers); faces without a box; .tif and .bmp images, as the authors
    did; rows that repeat another; training rows whose picture is in validation too; images not on
    disk.

    Args:
        root: The folder of the lists' folder and the images', or one around it; images may lie
            deeper, as archives leave them, and so may lists without their folder.
        classes: 8, or 7 without contempt.
        annotated: "manual"; or "automatic": trained on the automatically annotated list, tested on
            validation.csv where it is there.

    Returns:
        The sample table.

    Raises:
        FileNotFoundError: A wrong root.
        ValueError: Naming file and line: an expression that is not 0..10, a valence or arousal
            that is neither -2 nor in -1..1; a file of another format (a first line that is neither
            header nor row, or more than 5 and more than 1 % of malformed rows).
    """
    check_classes(classes)
    check_known(f"annotated={annotated!r}:", annotated, LISTS)
    files = FILES if annotated == "manual" else FILES | {"train": _AUTOMATIC}
    source, images = _find(Path(root), annotated, files)
    root = source.root
    parts = [
        _read_list(found[0], split, images[kind], source)
        for split, (kind, name) in files.items()
        if kind in images and (found := own_lists(root, kind, name))
    ]
    table = label_rows(pd.concat(parts), classes, source)
    table = source.filter(table, (table[["width", "height"]] <= 0).any(axis=1), "no face box")
    table = source.filter(table, table["key"].str.lower().str.endswith(_UNREAD), ".tif or .bmp")
    table = source.present(table, *images.values())
    in_test = table.loc[table["split"] == "test", "key"]
    leaks = (table["split"] == "train") & table["key"].isin(in_test)
    table = source.filter(table, leaks, "training image that is in validation too")
    # one picture may hold several faces: rows with another box stay
    table = source.drop_repeats(table, ["emotion"], ["key", *_BOX])
    table = table.assign(
        left=table["x"], top=table["y"], right=table["x"] + table["width"],
        bottom=table["y"] + table["height"],
    )  # fmt: skip
    notes = [NO_TEST]
    published = published_counts(classes, dict.fromkeys(EMOTIONS, 500))
    if annotated == "automatic":
        notes = ["trained on labels that a network gave", *notes]
        published = {name: n for name, n in published.items() if name.startswith("test")}
    return source.finish(table, _COLUMNS, several=True, published=published, notes=notes)


def own_lists(root: Path, kind: str, name: str) -> list[Path]:
    """Return the list of that name in its folder of lists below `root`, else wherever it lies.

    Raises:
        ValueError: Several folders hold it.
    """
    if own := find_list(root, f"{LISTS[kind]}/{name}"):
        return [own]
    found = find_lists(root, name)
    if len(found) > 1:
        raise ValueError(f"{root}: {' and '.join(map(str, found))}: keep one of these lists")
    return found


def lists_below(root: Path) -> list[Path]:
    """Return the published lists that lie in `root` or up to three folders down."""
    named = (*FILES.values(), _AUTOMATIC)
    return [file for kind, name in named for file in own_lists(root, kind, name)]


def _find(root: Path, annotated: str, files: dict) -> tuple[Source, dict[str, Path]]:
    """Return the folder of the lists' folders, and the folder of each kind of images."""
    wanted = [f"{LISTS[kind]}/{name}" for kind, name in files.values()]
    needed = wanted if annotated == "manual" else wanted[:1]
    expected = f"{', '.join(needed)} and {IMAGES[annotated]}/"
    try:
        source = Source(root, needed, expected=expected)
    except FileNotFoundError as error:
        loose = [found for path in needed for found in own_lists(root, annotated, Path(path).name)]
        if len(loose) == len(needed):
            source = Source(root)
        elif loose:
            raise FileNotFoundError(f"{error}; {loose[0]} is there, the other is not") from None
        elif annotated == "manual" and find_lists(root, LISTS["automatic"]):
            raise FileNotFoundError(
                f"{error}; the automatically annotated list is read by affectnet-csv --option "
                "annotated automatic"
            ) from None
        else:
            raise
    found = {kind: find_folder(source.root, name) for kind, name in IMAGES.items()}
    images = {kind: folder for kind, folder in found.items() if folder}
    if annotated not in images:
        raise source.lacks(expected)
    return source, {kind: images[kind] for kind in images if kind in (annotated, "manual")}


def _read_list(file: Path, split: str, images: Path, source: Source) -> pd.DataFrame:
    """Return the well-formed rows of a list as numbers and names; the index says file and line."""
    header, rows = source.rows(file, lambda f: f[0].lower() == _FIRST.lower(), _WIDTHS)
    if header:
        _check_header(file, header)
    columns = ["key", *_BOX, "emotion", "valence", "arousal"]
    whole = {line: [*f[:5], *f[-3:]] for line, f in rows if len(f) in _WIDTHS}
    table = pd.DataFrame(list(whole.values()), list(whole), columns, dtype=str)
    table[_BOX] = table[_BOX].apply(pd.to_numeric, errors="coerce")
    table = table[table[_BOX].notna().all(axis=1)]
    good = set(table.index)
    malformed = [line for line, _ in rows if line not in good]
    if 1 in malformed or len(malformed) > max(5, len(rows) // 100):  # no accidents
        raise ValueError(
            f"{file}: {len(malformed)} of {len(rows)} lines are no rows of AffectNet, the first is "
            f"line {malformed[0]}; expected {_FIRST},face_x,face_y,face_width,face_height,"
            f"facial_landmarks,{','.join(_LAST)}"
        )
    source.add("malformed row", [f"{file.name} line {line}" for line in malformed])
    table = table.rename(lambda line: f"{file} line {line}")
    for column in _LAST[1:]:  # where semicolons are between them, numbers may have commas
        table[column] = table[column].str.replace(",", ".", regex=False)
    for column, field in (("emotion", "expression"), ("valence",) * 2, ("arousal",) * 2):
        table[column] = map_numbers(table[column], field)
    table["key"] = source.key(images) + table["key"].str.strip()
    return table.assign(split=split)


def _check_header(file: Path, names: list[str]) -> None:
    first = [_FIRST, "face_x", "face_y", "face_width", "face_height"]
    pairs = zip([*names[:5], *names[-3:]], [*first, *_LAST], strict=False)
    other = [(name, wanted) for name, wanted in pairs if name.lower() != wanted.lower()]
    if other or len(names) not in _WIDTHS:
        name, wanted = other[0] if other else (f"{len(names)} names", "9 or 144 of them")
        raise ValueError(
            f"{file} line 1: {name!r} stands where {wanted!r} is expected; a header, if any, "
            f"reads {','.join(first)},facial_landmarks,{','.join(_LAST)}"
        )
