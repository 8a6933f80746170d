"""Finding folders, listing images, reading lines: what every reader begins with. Ours.

Listing goes through `os.scandir`, one call a folder, so that hundreds of thousands of images take
seconds; nothing is opened.
"""

__all__ = [
    "PICTURES", "base_names", "by_stem", "describe", "find_folder", "find_header", "find_list",
    "find_lists",
    "find_root", "folders_in", "is_folder", "list_at", "list_files", "locate",
    "read_lines", "read_rows", "split_line", "subfolder", "with_paths", "without_ending",
]  # fmt: skip

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath

import pandas as pd

from hmtl.files import check_regular

PICTURES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm",
    ".ppm", ".pbm", ".pnm", ".jp2", ".j2k", ".heic", ".heif", ".avif",
)  # fmt: skip
"""Endings of image files, lower case; a file's own may be of any case. The last three are listed so
that nothing is lost in silence: each is counted as unreadable."""


LISTS = (".csv", ".txt", ".tsv", ".lst")
"""Endings of lists, lower case."""
_SYSTEM = re.compile(
    r"\.|__MACOSX|(@eaDir|#recycle|\$RECYCLE\.BIN|System Volume Information|lost\+found)$",
    re.IGNORECASE,
)
"""How names begin that systems and network disks add to a folder, thumbnails among them."""
_TABLES = (".parquet", ".arrow")
_UNPACK = (
    "; *.parquet and *.arrow are tables with pictures inside: save these in class folders first, "
    "as papers/DATA.md shows, and read them by the reader folders"
)
_ALONE = re.compile(r"\d+|[^\s;]*\w\.\w+")
_DEPTH = 3  # two folders that archives put around a data set, and its own
Layout = Sequence[str] | Callable[[Path], bool]


def locate(root: str | Path, fits: Callable[[Path], bool]) -> list[Path]:
    """Return the folders that fit: `root` alone, else those in it, else those further down.

    Hidden folders and those that systems add are passed over. Nothing is returned where no folder
    fits, or `root` is none.
    """
    level = [Path(root)] if Path(root).is_dir() else []
    for _ in range(_DEPTH + 1):
        if found := [folder for folder in level if fits(folder)]:
            return found
        level = [folder / name for folder in level for name in folders_in(folder)]
    return []


def find_root(root: str | Path, *layouts: Layout, expected: str) -> Path:
    """Return `root`, or the one folder up to three down, that holds all of a layout's paths.

    Args:
        root: The user's folder.
        layouts: Alternatives: relative paths of files or folders that must be there (a list may
            have any of the endings of lists), or a function of a folder.
        expected: What should be there, in words.

    Returns:
        The folder, absolute.

    Raises:
        FileNotFoundError: No folder fits; it says what was expected and what was found.
        ValueError: Several folders fit.
    """
    root = Path(root)

    def fits(folder: Path) -> bool:
        return any(
            layout(folder) if callable(layout) else all(find_list(folder, p) for p in layout)
            for layout in layouts
        )

    found = locate(root, fits)
    if len(found) > 1:
        names = ", ".join(folder.relative_to(root).as_posix() for folder in found[:10])
        raise ValueError(
            f"{root}: expected {expected} once, but {names} all hold it; pass one of them"
        )
    if not found:
        raise FileNotFoundError(f"{root}: expected {expected} in it, but {describe(root)}")
    return found[0].resolve()


def find_list(folder: Path, name: str) -> Path | None:
    """Return what lies at `name` in `folder`, folders and file of any case, or None.

    A list may have another of their endings.
    """
    path = folder / name
    if path.exists():
        return path
    *above, last = PurePath(name).parts
    for part in above:
        if not (folder.is_dir() and (inner := subfolder(folder, part))):
            return None
        folder = inner
    stem, ending = os.path.splitext(last.lower())
    endings = LISTS if ending in LISTS else (ending,)
    there = sorted(os.listdir(folder)) if folder.is_dir() else []
    same = [n for n in there if n.lower() in [stem + end for end in endings]]
    same.sort(key=lambda n: n.lower() != last.lower())
    return folder / same[0] if same else None


def by_stem(names: Iterable[str], ending: str) -> dict[str, str]:
    """Return the names without `ending` -> the names, of those that end so, in any case."""
    return {n[: -len(ending)]: n for n in names if n.lower().endswith(ending)}


def list_at(folder: Path, name: str) -> Path:
    """Return what `find_list` finds, or else the path itself, at which there is nothing."""
    return find_list(folder, name) or folder / name


def find_lists(root: Path, name: str) -> list[Path]:
    """Return what `find_list` finds in `root`, else in the folders in it, else further down."""
    folders = locate(root, lambda folder: find_list(folder, name) is not None)
    return [list_at(folder, name) for folder in folders]


def find_folder(root: Path, name: str) -> Path | None:
    """Return the folder of that name in `root` or up to three further down, or None.

    Of a folder that lies in one of the same name, as archives are unpacked, the inner one.
    """
    found = locate(root, lambda folder: subfolder(folder, name) is not None)
    place = inner = subfolder(found[0], name) if found else None
    while inner:
        place, inner = inner, subfolder(inner, name)
    return place


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in `folder`, sorted, without hidden ones and systems' own."""
    with os.scandir(folder) as entries:
        own = (e for e in entries if not (e.name.startswith("__") or _SYSTEM.match(e.name)))
        return sorted(e.name for e in own if is_folder(e))


def describe(root: Path) -> str:
    """Return "it holds a, b, ..." or "it is no folder": what an error says was found."""
    if not root.is_dir():
        return "it is no folder"
    names = sorted(os.listdir(root))
    tables = locate(root, lambda folder: any(n.endswith(_TABLES) for n in os.listdir(folder)))
    held = f"it holds {', '.join(names[:10]) or 'nothing'}{', ...' * (len(names) > 10)}"
    return held + _UNPACK * bool(tables)


def subfolder(root: Path, name: str) -> Path | None:
    """Return the folder in `root` of that name, whatever the case, or None."""
    with os.scandir(root) as entries:
        same = (e for e in entries if e.name.lower() == name.lower())
        found = sorted(e.name for e in same if is_folder(e))
    if len(found) > 1:
        raise ValueError(f"{root}: {' and '.join(found)} differ in case only; keep one")
    return root / found[0] if found else None


def list_files(
    folder: Path, endings: Sequence[str] = PICTURES, *, deep: bool = True, prefix: str = "",
    above: tuple[str, ...] = (),
) -> list[str]:  # fmt: skip
    """Return the files with one of `endings` in `folder`, sorted, relative, with "/" between.

    `deep` goes into its subfolders too; hidden files and systems' own (`__MACOSX`, `@eaDir`) are
    passed over. `prefix` goes before every name. Links are followed, wherever they lead, but for
    folders that links, one or several, put into themselves: their files would come again and again
    under other names. `above` is for the function itself: the real paths of the folders it came
    through. ValueError for a pipe or a device among them, unless by its ending it is a picture,
    which costs itself.
    """
    found, above = [], (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            if _SYSTEM.match(entry.name):
                continue
            if deep and entry.is_symlink() and _leads_up(entry.path, above):
                continue
            if deep and is_folder(entry):
                inner = f"{prefix}{entry.name}/"
                found += list_files(Path(entry.path), endings, prefix=inner, above=above)
            elif (ending := os.path.splitext(entry.name)[1].lower()) in endings:
                if ending not in PICTURES and not entry.is_file():
                    check_regular(entry.path, "take it out of the data set")
                found.append(prefix + entry.name)
    return sorted(found)


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry of a folder is a folder or a link to one; a link to itself leads nowhere."""
    linked = entry.is_symlink() and os.path.isdir(entry)
    return linked or entry.is_dir(follow_symlinks=False)


def _leads_up(link: str, above: tuple[str, ...]) -> bool:
    """Whether a link leads to one of the folders `above`, real paths, or to what holds one."""
    target = os.path.realpath(link).rstrip(os.sep) + os.sep
    return any(f"{place}{os.sep}".startswith(target) for place in above)


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text) of each line of a file, without its end.

    Raises ValueError naming a file that is not UTF-8, or that is a pipe or a device.
    """
    check_regular(file, "copy it anew from the data set")
    try:
        with open(file, encoding="utf-8-sig", newline="") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: {error}; save it as UTF-8 text") from None


def read_rows(file: Path, widths: Sequence[int] = ()) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number from 1, fields) of each line of a list that is not blank.

    Fields end at commas, tabs, semicolons or blanks, whichever the first line has that is more than
    a count or the name of a file; with `widths`, whichever makes one of so many fields of it. Line
    by line, so that one lost quotation mark cannot swallow the lines after it.
    Raises ValueError naming a file that is not UTF-8, or a line with a field of endless length.
    """
    delimiter = None
    for number, line in read_lines(file):
        if line.strip():
            if delimiter is None and not _ALONE.fullmatch(line.strip()):
                fits = (s for s in ",\t;" if len(split_line(line, "", s)) in widths)
                delimiter = next(fits, None) if widths else None
                delimiter = delimiter or _delimiter(line.strip())
            yield number, split_line(line, f"{file} line {number}", delimiter or ",")


def _delimiter(line: str) -> str:
    """Return what separates the fields of a list by one of its lines."""
    if "," in line or "\t" in line:
        return "," if line.count(",") >= line.count("\t") else "\t"
    return ";" if ";" in line else " " if " " in line else ","


def split_line(line: str, where: str, delimiter: str = ",") -> list[str]:
    """Return the fields of one line of a list; ValueError saying `where` if there are none."""
    if delimiter == " ":
        return line.split()
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        raise ValueError(f"{where}: {error}; mend the line") from None


def find_header(file: Path, header: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return where each name stands in the header of a csv file, its first line.

    Raises ValueError naming the columns that are not there, or there twice.
    """
    if not header:
        raise ValueError(f"{file}: it is empty; a list of pictures is expected")
    if lost := sorted(set(names) - set(header)):
        raise ValueError(
            f"{file} line 1: no column {', '.join(lost)}; it has {', '.join(header)[:200]}"
        )
    if twice := [name for name in names if header.count(name) > 1]:
        raise ValueError(f"{file} line 1: column {twice[0]} is there twice; rename one")
    return [header.index(name) for name in names]


def base_names(keys: pd.Series) -> pd.Series:
    """Return the names of files without their folders; there may be none."""
    return keys.str.replace(r"^.*/", "", regex=True)


def without_ending(keys: pd.Series) -> pd.Series:
    """Return paths without the ending of their files; there may be none."""
    return keys.str.replace(r"\.[^./]*$", "", regex=True)


def with_paths(table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Return `table` with `path`, absolute, made of `root` and the relative `key`."""
    names = table["key"].astype(str).str.replace("/", os.sep, regex=False)
    table = table.copy()
    table.insert(1, "path", str(root).rstrip(os.sep) + os.sep + names)
    return table
