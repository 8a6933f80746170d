"""A data set's folder while it is read: what a reader begins and ends with. Ours."""

__all__ = ["Source"]

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import (
    PICTURES,
    Layout,
    describe,
    find_folder,
    find_root,
    list_at,
    list_files,
    present,
    with_paths,
)
from hmtl.data.readers.report import Drops, finish_table


class Source(Drops):
    """The folder of a data set, and the rows of it that are left out.

    Args:
        root: The user's folder.
        layouts: What the folder holds that is meant, `root` or one up to three down (`find_root`).
        expected: The same in words.

    Raises:
        FileNotFoundError, ValueError: As `find_root`.
    """

    def __init__(self, root: str | Path, *layouts: Layout, expected: str = ""):
        super().__init__()
        found = find_root(root, *layouts, expected=expected) if layouts else Path(root)
        self.root = found.resolve()

    def lacks(self, expected: str) -> FileNotFoundError:
        """The error that says what should be there, and what is."""
        return FileNotFoundError(
            f"{self.root}: expected {expected} in it, but {describe(self.root)}"
        )

    def folder(self, name: str) -> Path:
        """The folder of that name (`find_folder`); FileNotFoundError if there is none."""
        if found := find_folder(self.root, name):
            return found
        raise self.lacks(f"{name}/")

    def at(self, name: str) -> Path:
        """The path `name` below the root, its folders and file in the case they have there."""
        return list_at(self.root, name)

    def key(self, folder: Path) -> str:
        """How keys of the files in a folder begin: its path below the root, with a last "/"."""
        return "" if folder == self.root else f"{folder.relative_to(self.root).as_posix()}/"

    def files(
        self, folder: Path | None = None, endings: Sequence[str] = PICTURES, *, deep: bool = True
    ) -> list[str]:
        """The files in a folder, by default the root, as keys; none where there is no folder."""
        folder = folder or self.root
        if not folder.is_dir():
            return []
        return list_files(folder, endings, deep=deep, prefix=self.key(folder))

    def present(self, table: pd.DataFrame, *folders: Path, deep: bool = True) -> pd.DataFrame:
        """The rows whose `key` is a file in one of the folders; the others are left out."""
        files = [file for folder in folders for file in self.files(folder, deep=deep)]
        return present(table, files, self)

    def finish(self, table: pd.DataFrame, columns: Sequence[str] = (), **report) -> pd.DataFrame:
        """The finished table (`finish_table`) of these columns, or all, and `path`."""
        table = table[list(columns)] if columns else table
        if "path" not in table:
            table = with_paths(table, self.root)
        return finish_table(table, self, **{"source": str(self.root)} | report)
