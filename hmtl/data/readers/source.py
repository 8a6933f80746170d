"""A data set's folder while it is read: what a reader begins and ends with. Ours."""

__all__ = ["Source"]

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from hmtl.data.readers import listing
from hmtl.data.readers.names import plain
from hmtl.data.readers.report import NOT_ON_DISK, Drops, finish_table
from hmtl.data.readers.splits import seeded_split

_WHOLE = {"person": " of whole people", "source": " of whole pictures"}


class Source(Drops):
    """The folder of a data set, the rows of it that are left out, and notes for its report.

    Args:
        root: The user's folder.
        layouts: What the folder holds that is meant, `root` or one up to three down (`find_root`).
        expected: The same in words.

    Raises:
        FileNotFoundError, ValueError: As `find_root`.
    """

    def __init__(self, root: str | Path, *layouts: listing.Layout, expected: str = ""):
        super().__init__()
        found = listing.find_root(root, *layouts, expected=expected) if layouts else Path(root)
        self.root = found.resolve()

    def lacks(self, expected: str) -> FileNotFoundError:
        """The error that says what should be there, and what is."""
        return FileNotFoundError(
            f"{self.root}: expected {expected} in it, but {listing.describe(self.root)}"
        )

    def folder(self, name: str) -> Path:
        """The folder of that name (`find_folder`); FileNotFoundError if there is none."""
        if found := listing.find_folder(self.root, name):
            return found
        raise self.lacks(f"{name}/")

    def at(self, name: str) -> Path:
        """The path `name` below the root, its folders and file in the case they have there."""
        return listing.list_at(self.root, name)

    def key(self, folder: Path) -> str:
        """How keys of the files in a folder begin: its path below the root, with a last "/"."""
        return "" if folder == self.root else f"{folder.relative_to(self.root).as_posix()}/"

    def files(
        self, folder: Path | None = None, endings: Sequence[str] = listing.PICTURES, *,
        deep: bool = True,
    ) -> list[str]:  # fmt: skip
        """The files in a folder, by default the root, as keys; none where there is no folder."""
        folder = folder or self.root
        if not folder.is_dir():
            return []
        return listing.list_files(folder, endings, deep=deep, prefix=self.key(folder))

    def rows(
        self, file: Path, is_header: Callable[[list[str]], bool] = lambda fields: True,
        widths: Sequence[int] = (),
    ) -> tuple[list[str], list[tuple[int, list[str]]]]:  # fmt: skip
        """The names in line 1 of a list, if it `is_header`, and (line, fields) of the other rows.

        Where the header stands again it is counted. `widths` are those of `read_rows`.
        """
        rows = list(listing.read_rows(file, widths))
        header = [name.strip() for name in rows[0][1]] if rows else []
        if not rows or not is_header(header):
            return [], rows
        return header, self.without_header(header, rows[1:], file)

    def without_header(
        self, header: list[str], rows: list[tuple[int, list[str]]], file: Path
    ) -> list[tuple[int, list[str]]]:
        """The rows that are not the header (names without blanks) once more, which is counted."""
        names = [name.lower() for name in header]
        begun = [(line, fields) for line, fields in rows if fields[0].strip().lower() == names[0]]
        again = {n for n, fields in begun if [name.strip().lower() for name in fields] == names}
        self.add("repeated header", [f"{file.name} line {line}" for line in sorted(again)])
        return [row for row in rows if row[0] not in again]

    def read_list(
        self, file: Path, columns: Mapping[str, str], order: Sequence[str] = (), remedy: str = ""
    ) -> pd.DataFrame:
        """Return columns of a list with or without a header, as text; the index says file and line.

        Rows with another number of fields are counted, or refused.

        Args:
            file: Fields may end at commas, tabs or blanks (`read_rows`).
            columns: Name in the result -> name in the header, or number of the column from 1.
            order: Names of all columns where there is no header, as published.
            remedy: Ends the error that refuses a row with another number of fields.

        Raises:
            ValueError: A column is not there, or there twice.
        """
        names = list(columns.values())
        lower = {name.lower() for name in names}
        numbers = all(name.isdecimal() for name in names)

        def is_header(fields: list[str]) -> bool:
            found = lower & {name.lower() for name in fields}
            if numbers:  # a label may be one of them
                return found == lower
            return bool(found) or not order

        header, rows = self.rows(file, is_header)
        cased = {name.lower(): name for name in names if name not in header}
        header = [cased.get(name.lower(), name) for name in header]
        header = (
            header or list(order) or [str(i + 1) for i in range(len(rows[0][1] if rows else ()))]
        )
        at = listing.find_header(file, header, names)
        bad = {line: len(fields) for line, fields in rows if len(fields) != len(header)}
        for line in bad if remedy else ():
            raise ValueError(
                f"{file} line {line}: {bad[line]} fields instead of {len(header)}; {remedy}"
            )
        self.add("malformed row", [f"{file.name} line {line}" for line in bad])
        good = [row for row in rows if row[0] not in bad]
        places = [f"{file} line {line}" for line, _ in good]
        fields = [[fields[i].strip() for i in at] for _, fields in good]
        return pd.DataFrame(fields, places, list(columns))

    def present(
        self, table: pd.DataFrame, *folders: Path, deep: bool = True, more: Sequence[str] = ()
    ) -> pd.DataFrame:
        """The rows whose `key` is a file in one of the folders, or of `more`; others are left out.

        A picture that lies there under another ending (1.png for 1.jpg, or for 1), another case or
        normal form, or with "/" for "\\", is the one that is meant, if it is the only one.
        """
        files = [file for folder in folders for file in self.files(folder, deep=deep)]
        there, other = {*files, *more}, dict[str, str]()
        for name in sorted(there):
            stem = plain(os.path.splitext(name)[0])
            other[stem] = "" if stem in other else name  # two: nothing says which is meant

        def find(key: str) -> str:
            key = key if key in there else key.replace("\\", "/")  # as Windows writes paths
            stem, ending = map(plain, os.path.splitext(key))
            # with another ending it names something else
            known = ending in ("", *listing.PICTURES)
            return key if key in there else (known and other.get(stem)) or key

        table = table.assign(key=[find(key) for key in table["key"]])
        return self.filter(table, ~table["key"].isin(there), NOT_ON_DISK)

    def draw(
        self, table: pd.DataFrame, shares: tuple[float, float, float], seed: int,
        by: str | None = None, group: str = "key",
    ) -> pd.DataFrame:  # fmt: skip
        """Return the table with a `split` by `seeded_split`; a note says that none is official."""
        whole = _WHOLE.get(group, "")
        self.notes.append(f"no official split: {shares}{whole} drawn by seed {seed}")
        return table.assign(split=seeded_split(table, shares, seed=seed, by=by, group=group))

    def test_on_valid(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table with its valid rows as test, as there is no test; a note says so."""
        self.notes.append("no test pictures: the validation images are the test split")
        return table.assign(split=table["split"].replace("valid", "test"))

    def finish(
        self, table: pd.DataFrame, columns: Sequence[str] = (), *, several: bool = False, **report
    ) -> pd.DataFrame:
        """The finished table (`finish_table`) of these columns, or all, and `path`.

        `several`: a picture may have several rows; keys of the second and further ones end in "#2".
        """
        table = table[list(columns)] if columns else table
        if "path" not in table:
            table = listing.with_paths(table, self.root)
        if several:
            number = table.groupby("key").cumcount() + 1
            again = ("#" + number.astype(str)).where(number > 1, "")
            table = table.assign(key=table["key"] + again)
        report["notes"] = [*report.get("notes", ()), *self.notes]
        return finish_table(table, self, **{"source": str(self.root)} | report)
