"""AffectNet as copies pass it on: folders named after the emotions, with or without a csv.

    anger/ contempt/ disgust/ ...  and labels.csv (`pth,label,relFCs`)   29,042 images of 96x96
    Train/ and Test/ with class folders, names of any case, and a labels.csv without Train or Test
    train/ and val/ with folders 0 .. 7                                  as DAN's converter writes

Labels go by name: numbers mean another emotion in each copy (see `hmtl.data.readers.names`), so
folders 0 .. 7 need `names`. These copies are no release of AffectNet's authors (arXiv 1708.03985):
images are selected and resized, and the first copy has no official validation set.
"""

__all__ = ["read_affectnet_folders"]

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hmtl.data.readers.affectnet.labels import check_classes, leave_contempt_out
from hmtl.data.readers.affectnet.lists import IMAGES, lists_below
from hmtl.data.readers.folders import find_classes, list_classes
from hmtl.data.readers.listing import find_list, read_rows
from hmtl.data.readers.names import name_labels
from hmtl.data.readers.people import draw_splits
from hmtl.data.readers.report import TWO_LABELS, Drops
from hmtl.data.readers.source import Source
from hmtl.labels import check_known

_KAGGLE_IMAGES = 29_042  # of the copy that comes with labels.csv
_ANSWERS = ("drop", "folder", "csv")


def read_affectnet_folders(
    root: str | Path,
    *,
    classes: int = 8,
    names: Mapping | None = None,
    disagreeing: str = "drop",
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> pd.DataFrame:
    """Return a folder copy of AffectNet: `key` ("anger/1.jpg"), `path`, `split`, `emotion`.

    Where labels.csv (`pth`, `label`) lies beside the class folders, in `root` or between, some of
    its labels disagree with the folder: `disagreeing` drops those images ("drop", counted), or
    believes the "folder" or the "csv". A folder called val is test if there is no other test, since
    AffectNet reports on its validation images. Without folders that say the split, `shares` are
    split by `seed`, class by class.
    `names` gives the emotion of folders or csv labels that are no words, such as
    `dict(enumerate(EMOTIONS))` for AffectNet's own numbers; `classes=7` leaves contempt out.
    Pictures outside of the class folders are dropped and counted, as are rows of labels.csv without
    their picture; a note counts pictures that it does not name.

    Raises FileNotFoundError for a wrong root; ValueError naming folder, or file and line, for the
    folders of the first release, a label that is not known, a line of labels.csv without path and
    label, and a csv that names none of the images. Repeated rows of labels.csv are counted; an
    image with two labels there agrees with no folder, and "csv" drops it.
    """
    check_classes(classes)
    check_known(f"disagreeing={disagreeing!r}:", disagreeing, _ANSWERS)
    source, published = Source(find_classes(root, names=names)), {}
    _refuse_storage(Path(root), source)
    table = list_classes(source.root, source, names=names)
    parted = set(table["split"]) != {"train"}
    table = draw_splits(table, source, shares, seed, "emotion", "none")
    on_disk = pd.Series("images on disk", table.index)
    top = Path(root).resolve()
    places = [source.root, *(p for p in source.root.parents if p.is_relative_to(top))]
    labels = next((file for p in places if (file := find_list(p, "labels.csv"))), None)
    names_in = {n.strip().lower() for n in next(read_rows(labels), (1, []))[1]} if labels else set()
    if labels and names_in & {"pth", "label"}:
        published = {} if parted else {"images on disk": _KAGGLE_IMAGES}
        said = _read_labels(labels, names, source)
        table = _compare_labels(table, said, labels, disagreeing, source)
    table = leave_contempt_out(table, classes, source)
    return source.finish(table, published=published, groups=[on_disk])


def _refuse_storage(root: Path, source: Source) -> None:
    """ValueError where the numbered folders of the first release would be taken for classes."""
    lists = lists_below(root)
    if lists or source.root.name.lower() in {name.lower() for name in IMAGES.values()}:
        what = f"{lists[0]} has the labels" if lists else "the lists with the labels are missing"
        raise ValueError(
            f"{source.root}: folders of AffectNet's first release are storage, not emotions; {what}"
            f": put the lists and {IMAGES['manual']}/ in one folder and read it with affectnet-csv"
        )


def _read_labels(file: Path, names: Mapping | None, source: Source) -> pd.Series:
    """Return path -> emotion as labels.csv has it, "" where it has two; columns stand anywhere."""
    columns = {"path": "pth", "label": "label"}
    table = source.read_list(file, columns, remedy="mend the line")
    table["label"] = name_labels(table["label"], "label", names=names, option="names ")
    table["path"] = table["path"].str.replace("\\", "/").str.lower()
    table = source.filter(table, table.duplicated(), "repeated row", "")
    table["label"] = table["label"].mask(table["path"].duplicated(keep=False), "")
    return table.drop_duplicates("path").set_index("path")["label"]


def _compare_labels(
    table: pd.DataFrame, said: pd.Series, file: Path, disagreeing: str, drops: Drops
) -> pd.DataFrame:
    """Return the table after asking labels.csv; images that it does not name keep their folder."""
    keys = table["key"].str.lower()
    last = keys.str.split("/").str[-2:].str.join("/")  # without Train or Test
    by_csv = keys.map(said).fillna(last.map(said))
    if by_csv.isna().all():
        raise ValueError(
            f"{file}: names none of the images, such as {table['key'].iloc[0]!r}; its first is "
            f"{said.index[0] if len(said) else None!r}"
        )
    lonely = said.index[(said != "") & ~said.index.isin(keys) & ~said.index.isin(last)]
    drops.add(f"row of {file.name} without its picture", lonely)
    if unnamed := int(by_csv.isna().sum()):
        drops.notes.append(f"{unnamed:,} pictures are not in {file.name}: their folders label them")
    if disagreeing == "folder":
        return table
    if disagreeing == "csv":
        table = table.assign(emotion=by_csv.fillna(table["emotion"]))
        return drops.filter(table, by_csv == "", TWO_LABELS)
    apart = by_csv.notna() & (by_csv != table["emotion"])
    return drops.filter(table, apart, "folder and labels.csv disagree")
