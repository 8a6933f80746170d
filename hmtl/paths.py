"""Where things lie, and whether anybody watches: cache, outputs, progress bars. Ours."""

__all__ = ["cache_dir", "file_name", "full_root", "outputs_dir", "reference_dir", "show_progress"]

import os
import re
from pathlib import Path

_CHECKOUT = Path(__file__).parents[1]


def cache_dir() -> Path:
    """Folder for what can be made again: `$HMTL_CACHE`, else `~/.cache/hmtl`.

    Raises:
        ValueError: naming $HMTL_CACHE, if there is none and the user has no home folder.
    """
    try:
        return Path(os.environ.get("HMTL_CACHE") or "~/.cache/hmtl").expanduser()
    except RuntimeError:
        raise ValueError(
            "this user has no home folder to keep a cache in; name a folder in $HMTL_CACHE"
        ) from None


def outputs_dir() -> Path:
    """Folder for results: `$HMTL_OUTPUTS`, else `outputs/` of the checkout, else of the cwd.

    Not relative to the cwd inside a checkout, because notebooks run in folders of their own.
    """
    if given := os.environ.get("HMTL_OUTPUTS"):
        return Path(given).expanduser()
    inside = (_CHECKOUT / "pyproject.toml").is_file()
    return (_CHECKOUT if inside else Path.cwd()) / "outputs"


def reference_dir() -> Path:
    """The committed reference results of a checkout, `outputs/reference`."""
    return _CHECKOUT / "outputs" / "reference"


def show_progress() -> bool:
    """Whether progress bars are wanted: yes, unless `$HMTL_PROGRESS` is 0 (headless runs)."""
    return os.environ.get("HMTL_PROGRESS", "1") != "0"


def file_name(text: str) -> str:
    """`text` as part of a file's name: "affectnet:classes=7" -> "affectnet-classes=7"."""
    return re.sub(r'[:,/\\*?"<>|\[\]]+', "-", text)


def full_root(root: str | Path | None) -> str | None:
    """The absolute path of a data set's folder, or of each of several, joined; None stays None.

    For processes that start in another folder.
    """
    if root is None or root == "":
        return None
    parts = [str(root)] if Path(root).exists() else str(root).split(os.pathsep)
    return os.pathsep.join(str(Path(part).expanduser().resolve()) for part in parts)
