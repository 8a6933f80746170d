"""Data sets by name -> packs: the one place that knows them all.

    mini      640 rendered faces that ship inside the package
    faces     rendered faces, as many as asked for, rendered once and cached
    ferplus   FER+: real, in-the-wild faces, from the folder `root`

A new data set is one reader, one function here and one line in `DATA`.
"""

__all__ = ["DATA", "MINI", "build_mini", "check_data", "face_pack", "ferplus_pack", "load_pack"]

import hashlib
import os
from pathlib import Path

import numpy as np

from hmtl.faces import LABEL_COLUMNS, FaceSet, draw_faces, fingerprint
from hmtl.pack import FORMAT, Pack, open_pack, pack_files, write_pack
from hmtl.paths import cache_dir, show_progress
from hmtl.readers.ferplus import read_ferplus
from hmtl.render import RENDERER_VERSION, render_faces

DATA = ("mini", "faces", "ferplus")
MINI = FaceSet(people=(52, 12, 16), per_person=8, size=48, seed=2021)
MINI_PATH = Path(__file__).parent / "data" / "mini"


def check_data(data: str, root: str | Path | None = None) -> None:
    """Raise ValueError unless `data` is known and has the `root` it needs."""
    if data not in DATA:
        raise ValueError(f"unknown data {data!r}; one of {', '.join(DATA)}")
    if data == "ferplus" and not root:
        raise ValueError("data='ferplus' needs root=DIR, the folder that holds data/FER2013Train")


def load_pack(
    data: str,
    root: str | Path | None = None,
    *,
    people: tuple[int, int, int] = (300, 50, 125),
    size: int = 48,
    labels: str = "majority",
    face_seed: int = 0,
    progress: bool | None = None,
) -> Pack:
    """The pack of a data set by name, made and cached if need be.

    `people`, `size` and `face_seed` say which rendered faces ("faces"); `root` and `labels` which
    rows of FER+. `progress` shows a bar on long renders (None: `hmtl.paths.show_progress`). Raises
    ValueError for an unknown name or a missing root.
    """
    check_data(data, root)
    progress = show_progress() if progress is None else progress
    if data == "mini":
        return open_pack(MINI_PATH)
    if data == "faces":
        return face_pack(FaceSet(people=people, size=size, seed=face_seed), progress=progress)
    return ferplus_pack(root, labels=labels, size=size, progress=progress)


def _render(face_set: FaceSet, path: Path, progress: bool) -> Pack:
    table = draw_faces(face_set)
    images = render_faces(table, face_set.size, progress=progress)
    return write_pack(
        path,
        images,
        table[list(LABEL_COLUMNS)],
        source="rendered faces",
        faces=fingerprint(face_set),
        renderer=RENDERER_VERSION,
    )


def face_pack(face_set: FaceSet, *, progress: bool = True) -> Pack:
    """The rendered faces of `face_set`: rendered once, then read from the cache."""
    path = cache_dir() / "packs" / f"faces-{fingerprint(face_set)}-r{RENDERER_VERSION}-p{FORMAT}"
    return open_pack(path) if path.exists() else _render(face_set, path, progress)


def build_mini(path: Path = MINI_PATH) -> Pack:
    """Render the mini set that ships with the package (`python -m hmtl faces --mini`)."""
    return _render(MINI, path, progress=True)


def ferplus_pack(
    root: str | Path, *, labels: str = "majority", size: int = 48, progress: bool = True
) -> Pack:
    """FER+ under `root` as a grey pack, cached by its vote files and the size of every image."""
    table = read_ferplus(root, labels=labels)
    digest = hashlib.sha256(f"{labels} {size} {FORMAT}".encode())
    digest.update(table.drop(columns="path").to_csv(index=False).encode())
    digest.update(np.array([os.stat(file).st_size for file in table["path"]]).tobytes())
    path = cache_dir() / "packs" / f"ferplus-{digest.hexdigest()[:16]}"
    if path.exists():
        return open_pack(path)
    return pack_files(
        path, table, size, channels=1, progress=progress, source="FER+", shows_people=True
    )
