"""Refuse to carry the .py twins over where that would lose an edit: `python book/twins.py`.

`make notebooks` writes each .py into its .ipynb. A notebook whose cells were changed in the .ipynb
alone is named instead, and nothing is written.
"""

import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).parents[1]


def cells(notebook) -> list[tuple[str, str]]:
    """Kind and text of each cell."""
    return [(cell.cell_type, cell.source.strip()) for cell in notebook.cells]


def edited_alone(notebook: Path, committed: str | None) -> bool:
    """Whether the .ipynb says something that neither its twin nor the last commit says.

    Args:
        notebook: An .ipynb with its .py twin beside it.
        committed: Text of the .ipynb in the last commit; None if there is none.
    """
    own = cells(nbformat.read(notebook, 4))
    if own == cells(jupytext.read(notebook.with_suffix(".py"))):
        return False
    return committed is None or own != cells(nbformat.reads(committed, 4))


def main() -> int:
    """Name the notebooks that were edited alone; the exit status says whether there are any."""
    lost = []
    for notebook in sorted(ROOT.glob("notebooks/*.ipynb")):
        shown = subprocess.run(
            ["git", "-C", str(ROOT), "show", f"HEAD:notebooks/{notebook.name}"],
            capture_output=True, encoding="utf-8",
        )  # fmt: skip
        if edited_alone(notebook, shown.stdout if shown.returncode == 0 else None):
            lost.append(notebook.name)
    for name in lost:
        print(
            f"notebooks/{name} was edited and its .py twin was not, so nothing was written. Keep "
            f"the edit: jupytext --to py:percent notebooks/{name}; drop it: git checkout "
            f"notebooks/{name}",
            file=sys.stderr,
        )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
