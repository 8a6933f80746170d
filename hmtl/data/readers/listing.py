"""Finding folders, listing images, reading lines: what every reader begins with. Ours.

Listing goes through `os.scandir`, one call a folder, so that hundreds of thousands of images take
seconds; nothing is opened.
"""

__all__ = [
    "PICTURES", "describe", "find_header", "find_root", "is_folder", "list_files", "number_repeats",
    "present", "read_lines", "read_rows", "split_line", "subfolder", "with_paths",
]  # fmt: skip

import csv
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from hmtl.data.readers.report import NOT_ON_DISK, Drops

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Endings of image files, lower case; a file's own may be of any case."""


def find_root(root: str | Path, *layouts: Sequence[str], expected: str) -> Path:
    """Return `root`, or the one folder directly in it, that holds all of a layout's paths.

    `layouts` are alternatives, each a list of relative paths of files or folders; `expected` says
    in words what should be there. The result is absolute. Raises FileNotFoundError with what was
    expected and what was found, and ValueError if several folders in `root` fit.
    """
    root = Path(root)

    def fits(folder: Path) -> bool:
        return any(all((folder / part).exists() for part in layout) for layout in layouts)

    if not root.is_dir():
        raise FileNotFoundError(f"{root}: expected {expected} in it, but {describe(root)}")
    if fits(root):
        return root.resolve()
    inside = [
        root / name
        for name in sorted(os.listdir(root))
        if (root / name).is_dir() and fits(root / name)
    ]
    if len(inside) > 1:
        raise ValueError(
            f"{root}: expected {expected} once, but {', '.join(f.name for f in inside)} all hold "
            "it; pass one of them"
        )
    if inside:
        return inside[0].resolve()
    raise FileNotFoundError(f"{root}: expected {expected} in it, but {describe(root)}")


def describe(root: Path) -> str:
    """Return "it holds a, b, ..." or "it is no folder": what an error says was found."""
    if not root.is_dir():
        return "it is no folder"
    names = sorted(os.listdir(root))
    return f"it holds {', '.join(names[:10]) or 'nothing'}{', ...' * (len(names) > 10)}"


def subfolder(root: Path, *names: str) -> Path | None:
    """Return the folder in `root` called one of `names`, whatever the case, or None."""
    wanted = {name.lower() for name in names}
    with os.scandir(root) as entries:
        found = sorted(e.name for e in entries if e.name.lower() in wanted and is_folder(e))
    if len(found) > 1:
        raise ValueError(f"{root}: {' and '.join(found)} differ in case only; keep one")
    return root / found[0] if found else None


def list_files(
    folder: Path,
    endings: Sequence[str] = PICTURES,
    *,
    deep: bool = True,
    prefix: str = "",
    above: tuple[str, ...] = (),
) -> list[str]:
    """Return the files with one of `endings` in `folder`, sorted, relative, with "/" between.

    `deep` goes into its subfolders too; hidden files and `__MACOSX` are passed over. `prefix` goes
    before every name. Links are followed, wherever they lead, but for folders that links, one or
    several, put into themselves: their files would come again and again under other names. `above`
    is for the function itself: the real paths of the folders it came through.
    """
    found, above = [], (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "__MACOSX")):
                continue
            if deep and entry.is_symlink() and _leads_up(entry.path, above):
                continue
            if deep and is_folder(entry):
                inner = f"{prefix}{entry.name}/"
                found += list_files(Path(entry.path), endings, prefix=inner, above=above)
            elif os.path.splitext(entry.name)[1].lower() in endings:
                found.append(prefix + entry.name)
    return sorted(found)


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry of a folder is a folder or a link to one; a link to itself leads nowhere."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def _leads_up(link: str, above: tuple[str, ...]) -> bool:
    """Whether a link leads to one of the folders `above`, real paths, or to what holds one."""
    target = os.path.realpath(link).rstrip(os.sep) + os.sep
    return any(f"{place}{os.sep}".startswith(target) for place in above)


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text) of each line of a file, without its end.

    Raises ValueError naming a file that is not UTF-8.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: {error}; save it as UTF-8 text") from None


def read_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number from 1, fields) of each line of a csv file that is not blank.

    Line by line, so that one lost quotation mark cannot swallow the lines after it. Raises
    ValueError naming a file that is not UTF-8, or a line with a field of endless length.
    """
    for number, line in read_lines(file):
        if line.strip():
            yield number, split_line(line, f"{file} line {number}")


def split_line(line: str, where: str) -> list[str]:
    """Return the fields of one line of a csv file; ValueError saying `where` if there are none."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error as error:
        raise ValueError(f"{where}: {error}; mend the line") from None


def find_header(file: Path, header: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return where each name stands in the header of a csv file, its first line.

    Raises ValueError naming the columns that are not there, or there twice.
    """
    if lost := sorted(set(names) - set(header)):
        raise ValueError(
            f"{file} line 1: no column {', '.join(lost)}; it has {', '.join(header)[:200]}"
        )
    if twice := [name for name in names if header.count(name) > 1]:
        raise ValueError(f"{file} line 1: column {twice[0]} is there twice; rename one")
    return [header.index(name) for name in names]


def present(table: pd.DataFrame, on_disk: Sequence[str], drops: Drops) -> pd.DataFrame:
    """Return the rows whose `key` is among the files `on_disk`; the others are dropped."""
    missing = ~table["key"].isin(set(on_disk))
    return drops.filter(table, missing, NOT_ON_DISK)


def number_repeats(keys: pd.Series) -> pd.Series:
    """Return `keys` with "#2", "#3" ... after the second and further rows of one picture."""
    number = keys.groupby(keys).cumcount() + 1
    return keys + ("#" + number.astype(str)).where(number > 1, "")


def with_paths(table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Return `table` with `path`, absolute, made of `root` and the relative `key`."""
    base = str(root).rstrip(os.sep) + os.sep
    names = table["key"].astype(str)
    if os.sep != "/":
        names = names.str.replace("/", os.sep, regex=False)
    table = table.copy()
    table.insert(1, "path", base + names)
    return table
