"""AffectNet in YOLO's form, as a copy on Kaggle passes it on: a text file of boxes an image.

    YOLO_format/data.yaml             names: ['Anger', 'Contempt', ...]: the emotion of each number
    YOLO_format/train/images/0.jpg    also valid/ (or val/) and test/
                                      or images/train/, as in Ultralytics' own layout
    YOLO_format/train/labels/0.txt    "4 0.5 0.5 1 1", a line a face: number, centre x and y, width
                                      and height as shares of the picture's

Numbers go by the names in data.yaml. The copy is no release of AffectNet's authors.
"""

__all__ = ["holds_yolo", "read_affectnet_yolo"]

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from hmtl.data.photos import FORMATS
from hmtl.data.readers.affectnet.labels import check_classes, leave_contempt_out
from hmtl.data.readers.crops import BOX
from hmtl.data.readers.folders import SPLIT_FOLDERS
from hmtl.data.readers.listing import folders_in, list_files, read_rows, subfolder
from hmtl.data.readers.names import name_labels
from hmtl.data.readers.source import Source
from hmtl.files import check_regular, reading


def holds_yolo(folder: Path) -> bool:
    """Whether a folder has a split with images/ and labels/ in it, or these with splits."""
    return bool(_parts(folder))


def _parts(root: Path) -> list[tuple[str, Path, Path]]:
    """Return the split of each part, and its folders of images and of labels."""
    inner = [root / name for name in folders_in(root) if name.lower() in SPLIT_FOLDERS]
    pairs = [(p.name, subfolder(p, "images"), subfolder(p, "labels")) for p in inner]
    images, labels = (subfolder(root, name) for name in ("images", "labels"))
    if images and labels:
        names = [name for name in folders_in(images) if name.lower() in SPLIT_FOLDERS]
        pairs += [(name, images / name, subfolder(labels, name)) for name in names]
    return [(SPLIT_FOLDERS[name.lower()], of, said) for name, of, said in pairs if of and said]


def read_affectnet_yolo(
    root: str | Path, *, classes: int = 8, names: Mapping | None = None
) -> pd.DataFrame:
    """Return AffectNet in YOLO's form: `key` ("train/images/0.jpg"), `path`, `split`, `emotion`,
    and the box `left, top, right, bottom` in pixels.

    The copy's valid/ is test if there is no test/. Dropped and counted: images without labels and
    labels without an image, malformed lines, pictures that cannot be opened, faces with two labels.

    Args:
        root: The folder of data.yaml, or one around it.
        classes: 8, or 7 without contempt.
        names: Emotion of the names in data.yaml that are no words for one.

    Returns:
        The sample table, a row a face.

    Raises:
        FileNotFoundError: A wrong root, or one without data.yaml.
        ValueError: data.yaml without names; a number that it does not name.
    """
    check_classes(classes)
    source = Source(root, holds_yolo, expected="data.yaml and train/ with images/ and labels/")
    root, file = source.root, source.at("data.yaml")
    with reading(file, "it names the emotions; copy it anew"):
        said = (yaml.safe_load(file.read_text(encoding="utf-8")) or {})["names"]
        said = dict(said.items() if isinstance(said, dict) else enumerate(said))
    rows = [row for part in _parts(root) for row in _read_part(*part, source)]
    columns = ["key", "split", "place", "number", *BOX]
    table = pd.DataFrame(rows, columns=columns).set_index("place")
    if "test" not in set(table["split"]):
        table = source.test_on_valid(table)
    words = table["number"].map({str(k): str(v) for k, v in said.items()})
    for place, number in table["number"][words.isna()].items():
        raise ValueError(f"{place}: {number} is not named in {file}")
    words = words.set_axis([str(file)] * len(words))
    table["emotion"] = name_labels(words, "names", names=names, option="names ").array
    table = source.drop_repeats(table, ["emotion"], ["key", *BOX])
    table = leave_contempt_out(table, classes, source)
    return source.finish(table, ["key", "split", "emotion", *BOX], several=True)


def _read_part(split: str, images: Path, labels: Path, source: Source) -> list[tuple]:
    """Return key, split, place, number and box of each face of one split."""
    there = {os.path.splitext(name)[0]: labels / name for name in list_files(labels, (".txt",))}
    rows: list[tuple] = []
    names = list_files(images)
    lonely = set(there) - {os.path.splitext(name)[0] for name in names} - {"classes"}
    source.add("labels without an image", sorted(source.key(labels) + s for s in lonely))
    for name in names:
        key, file = source.key(images) + name, there.get(os.path.splitext(name)[0])
        if file is None or not (lines := list(read_rows(file))):
            source.add("image without labels", [key])
            continue
        try:
            check_regular(images / name, "")
            with Image.open(images / name, formats=FORMATS) as picture:
                size = np.array(picture.size * 2)
        except Exception:  # decoders raise anything on a broken file
            source.add("picture that cannot be opened", [key])
            continue
        for line, fields in lines:
            box = pd.to_numeric(pd.Series(fields[1:]), errors="coerce").to_numpy(float)
            if len(box) != 4 or not (np.isfinite(box).all() and (box[2:] > 0).all()):
                source.add("malformed row", [f"{source.key(labels)}{file.name} line {line}"])
                continue
            centre, half = np.tile(box[:2], 2), np.tile(box[2:] / 2, 2) * [-1, -1, 1, 1]
            sides = np.rint(np.clip(centre + half, -1, 2) * size).astype(int)
            rows.append((key, split, f"{file} line {line}", fields[0], *sides))
    return rows
