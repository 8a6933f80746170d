"""Every checksum below a folder: packs, runs, exported networks, or a store of them.

    python -m hmtl check outputs/runs

What is read in everyday use is compared with its checksums then; here all of it is, now. Ours.
"""

__all__ = ["Checked", "check_all"]

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hmtl.data.pack import META, open_pack
from hmtl.files import CHECKED, checked, read_json, read_record, tensors_in
from hmtl.runs.store import load_run

_REMEDY = "make it again, or copy it anew from where it came"


class Checked(NamedTuple):
    """A folder: what it is, what is wrong with it ("" if nothing), whether it has checksums."""

    folder: Path
    kind: str
    problem: str
    has_checksums: bool


def check_all(path: str | Path) -> Iterator[Checked]:
    """Check every pack, run and exported network at or below a folder.

    Links to folders are not followed, hidden folders (what a kill left) are passed over.

    Args:
        path: The folder.

    Yields:
        Each of them, in order; so is a folder that cannot be read, and a run that lost its
        `spec.json`.

    Raises:
        FileNotFoundError: `path` is no folder, or none of these is in it.
    """
    given, path, found = path, Path(path), False
    closed: list[OSError] = []
    for folder, inside, files in os.walk(path, onerror=closed.append):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        for record, (kind, check) in _KINDS.items():
            weights = any(name.startswith(("model.", "encoder.")) for name in files)
            if record in files and (record != "config.json" or weights):
                found = True
                yield _check(Path(folder), record, kind, check)
        if "metrics.csv" in files and not set(_KINDS) & set(files):
            found = True
            missing = f"{Path(folder) / 'spec.json'} is missing; {_REMEDY}"
            yield Checked(Path(folder), "run", missing, False)
    for error in closed:
        if Path(error.filename) != path or isinstance(error, PermissionError):
            found = True
            problem = (
                f"{error.filename} cannot be read ({error.strerror}); get the right to read it"
            )
            yield Checked(Path(error.filename), "folder", problem, False)
    if not found:
        raise FileNotFoundError(
            f"{given} holds no pack, no run and no exported network; give the folder of one, or "
            "one above it"
        )


def _check(folder: Path, record: str, kind: str, check) -> Checked:
    said: dict = {}
    try:
        said = read_json(folder / record, _REMEDY, optional={CHECKED: dict})
        for name in read_record(folder / record, _REMEDY).get(CHECKED, {}):
            checked(folder / name, _REMEDY)
        check(folder)
    except (ValueError, OSError) as error:
        return Checked(folder, kind, str(error), CHECKED in said)
    return Checked(folder, kind, "", CHECKED in said)


def _check_run(folder: Path) -> None:
    """Read every file of a run."""
    run = load_run(folder)
    _ = run.metrics, run.machine
    if run.failure:  # nothing was answered; what it met need not be finite
        return
    _ = run.predictions, run.best
    tensors_in(folder / "model.safetensors", _REMEDY)


_KINDS = {
    META: ("pack", lambda folder: open_pack(folder, verify=True)),
    "spec.json": ("run", _check_run),
    "config.json": ("exported network", lambda folder: None),
}
"""Record -> what the folder is, and what reads the rest of it."""
