"""CelebA: 202,599 pictures of 10,177 people; of its forty attributes, gender (arXiv 1411.7766).

On disk, side by side or in the authors' folders Img, Anno and Eval:

    img_align_celeba/000001.jpg    or img_align_celeba/img_align_celeba, as archives unpack
    list_attr_celeba.txt       a count, the forty names, then `000001.jpg -1  1 ...`
    list_eval_partition.txt    `000001.jpg 0`: 0 train, 1 valid, 2 test
    identity_CelebA.txt        `000001.jpg 2880` (may be absent)

or, from Kaggle, list_attr_celeba.csv (`image_id,5_o_Clock_Shadow,...`) and list_eval_partition.csv
(`image_id,partition`).
"""

__all__ = ["read_celeba"]

import re
from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import base_names, find_lists, read_rows, without_ending
from hmtl.data.readers.report import map_labels
from hmtl.data.readers.source import Source
from hmtl.labels import SPLITS

IMAGES = "img_align_celeba"
PUBLISHED = {"train": 162_770, "valid": 19_867, "test": 19_962}
_GENDERS = {1: "male", -1: "female"}


def read_celeba(root: str | Path) -> pd.DataFrame:
    """Return CelebA: `key` ("img_align_celeba/000001.jpg"), `path`, `split`, `gender`, `person`.

    `gender` is the attribute called Male, found by its name: 1 male, -1 female; or 1 and 0, with a
    note, where no other value is there. `person` is there if identity_CelebA.txt is. Boxes and
    landmarks belong to the pictures before they were aligned and cropped, so none are read.

    Dropped and counted: images without a split, images not on disk, repeated rows, all rows of an
    image that contradict each other. Raises FileNotFoundError for a wrong root; ValueError, naming
    file and row, for an attribute that is not 1 or -1, a split that is not 0, 1 or 2, another
    number of rows than line 1 says, and a file without Male.
    """
    layouts = [[f"{part}/{IMAGES}".lstrip("/")] for part in ("", "Img")]
    source = Source(root, *layouts, expected=f"{IMAGES}/ and list_attr_celeba.txt")
    folder = source.folder(IMAGES)
    names = ("list_attr_celeba.txt", "list_eval_partition.txt", "identity_CelebA.txt")
    attributes, partition, people = (
        next(iter(find_lists(source.root, name)), None) for name in names
    )
    if not attributes or not partition:
        raise source.lacks(names[1] if attributes else names[0])
    male, split = _read_numbers(attributes, source, "Male"), _read_numbers(partition, source)
    genders = _GENDERS
    if {*male["number"]} == {0, 1}:
        genders = {1: "male", 0: "female"}
        source.notes.append("Male is 0 or 1 in place of -1 or 1: 0 is read as female")
    male["gender"] = map_labels(male["number"], genders, "Male")
    split["split"] = map_labels(split["number"], dict(enumerate(SPLITS)), "split")
    table = male.merge(split, "left", "name")
    table["key"] = source.key(folder) + table["name"]
    table = source.filter(table, table["split"].isna(), "without a split")
    table = source.present(table, folder, deep=False)
    if people:
        named = _read_numbers(people, source)
        named = named.set_index(without_ending(named["name"]))["number"]
        table["person"] = without_ending(base_names(table["key"])).map(named).astype("string")
    columns = ["key", "split", "gender", *(["person"] if people else [])]
    published = {"all": sum(PUBLISHED.values()), **PUBLISHED}
    return source.finish(table, columns, published=published)


def _read_numbers(file: Path, source: Source, column: str = "") -> pd.DataFrame:
    """Return the `name` of each image and its `number` in a column, by its name, or in the second.

    The index says file and line. Before the names of columns a count may stand, and then the
    images' own column has no name.
    """
    rows, count = list(read_rows(file)), None
    if column and rows and len(rows[0][1]) == 1 and rows[0][1][0].strip().isdecimal():
        count = int(rows.pop(0)[1][0])
    width, at, what = 1, 1, "number"
    header = [name.strip() for name in rows[0][1]] if rows else [""]
    if rows and "." not in header[0]:  # else it is a picture
        rows = source.without_header(header, rows[1:], file)
    if column:
        if header.count(column) != 1:
            raise ValueError(
                f"{file}: expected a count in line 1 and names, {column} among them, in line 2 (in "
                "a csv no count)"
            )
        own = count is None  # whether the images' column has a name too
        width, at, what = len(header) - own, header.index(column) + (not own), "attributes"
        if count is not None and count not in (len(rows), len({fields[0] for _, fields in rows})):
            raise ValueError(f"{file}: line 1 says {count:,} images, but {len(rows):,} follow")
    for line, fields in rows:
        if len(fields) != width + 1:
            fewer = "fewer" if len(fields) <= width else "more"
            raise ValueError(f"{file} line {line}: {fewer} than {width} {what}")
    said = [(fields[0], _number(fields[at].strip())) for _, fields in rows]
    places = [f"{file} line {line}" for line, _ in rows]
    table = pd.DataFrame(said, places, ["name", "number"]).astype({"number": object})
    return source.drop_repeats(table, ["number"], ["name"], "")


def _number(text: str) -> int | str:
    """Return a whole number, or the text that is none."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,9}", text) else text
