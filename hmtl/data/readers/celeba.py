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
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import base_names, find_list, read_rows, without_ending
from hmtl.data.readers.report import map_labels
from hmtl.data.readers.source import Source
from hmtl.labels import SPLITS

IMAGES = "img_align_celeba"
PUBLISHED = {"train": 162_770, "valid": 19_867, "test": 19_962}
_GENDERS = {1: "male", -1: "female"}
_FOLDERS = ("", "Anno/", "Eval/", "Img/")


def read_celeba(root: str | Path) -> pd.DataFrame:
    """Return CelebA: `key` ("img_align_celeba/000001.jpg"), `path`, `split`, `gender`, `person`.

    `gender` is the attribute called Male, found by its name: 1 male, -1 female. `person` is there
    if identity_CelebA.txt is. Boxes and landmarks of CelebA belong to the pictures before they were
    aligned and cropped, so none are read.

    Dropped and counted: images without a split, images not on disk, repeated rows, all rows of an
    image that contradict each other. Raises FileNotFoundError for a wrong root; ValueError, naming
    file and row, for an attribute that is not 1 or -1, a split that is not 0, 1 or 2, another
    number of rows than line 1 says, and a file without Male.
    """
    layouts = [[f"{part}/{IMAGES}".lstrip("/")] for part in ("", "Img")]
    source = Source(root, *layouts, expected=f"{IMAGES}/ and list_attr_celeba.txt")
    folder = source.folder(IMAGES)
    names = ("list_attr_celeba.txt", "list_eval_partition.txt", "identity_CelebA.txt")
    attributes, partition, people = (_find(source.root, name) for name in names)
    if not attributes or not partition:
        raise source.lacks(names[1] if attributes else names[0])
    gender = _read_male(attributes, source)
    splits = _read_pairs(partition, source, dict(enumerate(SPLITS)), "split")
    table = pd.DataFrame({"gender": gender, "split": splits.reindex(gender.index)})
    table["key"] = source.key(folder) + table.index
    table = source.filter(table, table["split"].isna(), "without a split")
    table = source.present(table, folder, deep=False)
    if people:
        stems = without_ending(base_names(table["key"]))
        named = _read_pairs(people, source)
        named = named.set_axis(without_ending(named.index.to_series()))
        table["person"] = stems.map(named).astype("string")
    columns = ["key", "split", "gender", *(["person"] if people else [])]
    published = {"all": sum(PUBLISHED.values()), **PUBLISHED}
    return source.finish(table, columns, published=published)


def _find(root: Path, name: str) -> Path | None:
    """Return the list `name`, in `root` or in one of the authors' folders."""
    return next(filter(None, (find_list(root, f"{folder}{name}") for folder in _FOLDERS)), None)


def _read_male(file: Path, source: Source) -> pd.Series:
    """Return the gender of each image by its name."""
    lines = read_rows(file)
    _, header = next(lines, (1, [""]))
    count = int(header[0]) if len(header) == 1 and header[0].strip().isdecimal() else None
    header = header if count is None else next(lines, (2, [""]))[1]
    names = [name.strip() for name in header]
    if names.count("Male") != 1:
        raise ValueError(
            f"{file}: expected a count in line 1 and names, Male among them, in line 2 (in a csv "
            "no count)"
        )
    own = count is None  # whether the images' column has a name too
    rows = source.without_header(names, list(lines), file)
    if count is not None and count not in (len(rows), len({fields[0] for _, fields in rows})):
        raise ValueError(f"{file}: line 1 says {count:,} images, but {len(rows):,} follow")
    width, at = len(names) - own, names.index("Male") - own
    return _read_column(file, rows, width, at, "attributes", source, _GENDERS, "Male")


def _read_column(
    file: Path,
    rows: Iterable[tuple[int, list[str]]],
    width: int,
    at: int,
    what: str,
    source: Source,
    names: Mapping[int, str] | None = None,
    field: str = "",
) -> pd.Series:
    """Return the number in column `at` of `width` after each image's name, or its name."""
    lines: dict[str, int] = {}
    said = []
    for line, (name, *rest) in rows:
        if len(rest) != width:
            fewer = "fewer" if len(rest) < width else "more"
            raise ValueError(f"{file} line {line}: {fewer} than {width} {what}")
        lines.setdefault(name, line)
        said.append((name, rest[at].strip(), f"{file.name} line {line}"))
    words = source.said_once(said)
    numbers = pd.Series({name: _number(word) for name, word in words.items()}, dtype=object)
    if names is None:
        return numbers
    return map_labels(numbers, names, lambda i: f"{file} line {lines[numbers.index[i]]}", field)


def _read_pairs(
    file: Path, source: Source, names: Mapping[int, str] | None = None, field: str = ""
) -> pd.Series:
    """Return the number of each image by its name, or the name of that number."""
    _, rows = source.rows(file, lambda fields: "." not in fields[0])  # else it is a picture
    return _read_column(file, rows, 1, 0, "number", source, names, field)


def _number(text: str) -> int | str:
    """Return a whole number, or the text that is none."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,9}", text) else text
