"""Data sets by name -> packs: the one place that knows them all.

    mini      640 rendered faces that ship inside the package
    faces     rendered faces, as many as asked for, rendered once and cached
    ferplus, affectnet, rafdb, folders, csv ... (`hmtl.data.readers.READERS`)
              real faces, from the folder `root`
    affectnet-7, 300w-lp-aflw2000 ... (`hmtl.data.readers.protocols`)
              the same by a protocol of the literature, whose test set may be another data set

A name may carry its reader's options: "affectnet:classes=7", "affectnet-8:chosen_on=test",
"csv:columns=path=file+emotion=label,file=all.csv" (several options after commas, several values
after plus signs). So one text says what is read: in a notebook, on the command line, in a RunSpec.

For all but the first two, `root` may also be a pack that `python -m hmtl pack` made of the set,
which is opened as it is. That is the way for large sets: from the data set's own folder, its lists
are read, and every image's size and time of change asked for, before the cached pack is found.

**A set without some emotion** (no contempt in RAF-DB, FER2013 and AffectNet-7) trains the same
eight classes in the same order: nothing teaches or tests the absent one, so networks soon give it
no probability and accuracy is that of seven classes; `macro_f1`, a mean over eight, is at most 7/8.

A new data set is one reader and a line in `READERS`.
"""

__all__ = [
    "DATA", "MINI", "RENDERED", "build_mini", "check_data", "check_root", "face_pack", "full_name",
    "load_pack", "parse_data", "photo_pack", "recorded_set", "write_faces",
]  # fmt: skip

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from hmtl.data.pack import FORMAT, META, GrowingPack, Pack, open_pack
from hmtl.data.packing import fingerprint as photo_fingerprint
from hmtl.data.packing import pack_photos, parse_options, read_set, split_options, write_options
from hmtl.data.readers.protocols import PROTOCOLS, SOURCES
from hmtl.faces.faceset import FaceSet
from hmtl.faces.render import (
    CHUNK,
    RENDERER_VERSION,
    check_device,
    head_arrays,
    render_chunks,
    worker_count,
)
from hmtl.faces.table import LABEL_COLUMNS, draw_faces, fingerprint
from hmtl.labels import check_known
from hmtl.paths import cache_dir
from hmtl.workers import check_not_a_worker

RENDERED = ("mini", "faces")
DATA = (*RENDERED, *SOURCES)
_VOTED = ("ferplus", "ferplus-csv")  # whose readers have `labels`
# what a pack was made with where its options do not say
_UNSAID = dict.fromkeys(_VOTED, {"labels": "majority"}) | dict.fromkeys(
    PROTOCOLS, {"chosen_on": "held-out"}
)
MINI = FaceSet(people=(52, 12, 16), per_person=8, size=48, seed=2021)
_FACE_COLUMNS = (*LABEL_COLUMNS, "occlusion")
MINI_PATH = Path(__file__).parent / "mini"


def recorded_set(data: str, people: str, size: int) -> FaceSet:
    """The set of a run on rendered faces, "mini" or "faces", from its row in a table."""
    return MINI if data == "mini" else FaceSet.recorded(people, size)


def parse_data(data: str) -> tuple[str, dict]:
    """Split "affectnet:classes=7" into a name of `DATA` and the options of its reader.

    Raises ValueError naming what is known for another name, and for options that the reader has
    not or that are no NAME=VALUE.
    """
    name = str(data).partition(":")[0]
    check_known(f"unknown data {name!r};", name, DATA)
    name, given = split_options(str(data))
    if not given:
        return name, {}
    if name not in SOURCES:
        raise ValueError(f"data={data!r}: {name} has no reader, so it takes no options")
    try:
        options = parse_options(name, given)
    except ValueError as error:
        raise ValueError(f"data={data!r}: {error}") from None
    if name in _VOTED and "labels" in options:
        raise ValueError(f"data={data!r}: labels are no option here but a field of a run")
    return name, options


def full_name(data: str) -> str:
    """Return the one way to write `data`: options sorted, those at their defaults left out."""
    name, options = parse_data(data)
    said = write_options(name, options) if options else []
    return f"{name}:{','.join(said)}" if said else name


def check_data(data: str, root: str | Path | None = None) -> None:
    """Raise ValueError unless `data` is known and has the `root` it needs."""
    name, _ = parse_data(data)
    if name in SOURCES and not root:
        holds = "the folder that holds data/FER2013Train" if name == "ferplus" else "its folder"
        raise ValueError(
            f"data={data!r} needs root=DIR, {holds}, or a pack of it by `python -m hmtl pack`"
        )


def check_root(data: str, root: str | Path | None) -> None:
    """Raise ValueError, as `check_data` does, and for a `root` of what is rendered here."""
    check_data(data, root)
    if root and parse_data(data)[0] in RENDERED:
        raise ValueError(
            f"data={data!r} is rendered here, so root={str(root)!r} would not be read; name the "
            "set that lies there: --data, or the parameter data of a notebook"
        )


def load_pack(
    data: str, root: str | Path | None = None, *, people: tuple[int, int, int] = (300, 50, 125),
    size: int = 48, labels: str = "majority", face_seed: int = 0, proportions: str = "equal",
    label_noise: float = 0.0, options: Mapping | None = None, progress: bool | None = None,
) -> Pack:  # fmt: skip
    """The pack of a data set by name, made and cached if need be.

    Args:
        data: A name of `DATA`, such as "mini", "faces" or "rafdb"; it may carry options of its
            reader ("affectnet:classes=7").
        root: Folder of a real data set, or a pack of it; nothing for "mini" and "faces".
        people: Rendered people in train, valid and test, of "faces".
        size: Side of the square pictures in pixels, 8 or more; "mini" has 48.
        labels: Which rows and labels of FER+: "majority", "probability", "crossentropy" or
            "multi_target".
        face_seed: Of the draw of "faces", 0 or more.
        proportions: Of the emotions in the training part of "faces": "equal" or "affectnet".
        label_noise: Share of the training labels of "faces" that are confused, 0..1.
        options: More options of the reader: `{"classes": 7}`.
        progress: Whether a long render or packing shows a bar (None: `$HMTL_PROGRESS`).

    Returns:
        The pack: pictures uint8 (N, size, size, 1 or 3), and a label table of N rows.

    Raises:
        FileNotFoundError: A root without the data set; it says what was expected and found.
        ValueError: An unknown name, a missing root, an option that the reader has not, a value out
            of range; as the reader, for a file of another format.
        OSError: The cache cannot be written.

    Example:
        >>> pack = load_pack("mini")
        >>> len(pack), pack.size, pack.channels
        (640, 48, 3)
    """
    root = os.path.expanduser(root) if root else root
    check_data(data, root)
    check_not_a_worker("load_pack")
    data, own = parse_data(data)
    options = {**own, **(options or {})}
    if options and data not in SOURCES:
        raise ValueError(f"data={data!r} has no reader, so options={dict(options)!r} mean nothing")
    if data == "mini":
        return open_pack(MINI_PATH)
    if data == "faces":
        face_set = FaceSet(
            people, size=size, seed=face_seed, proportions=proportions, label_noise=label_noise
        )
        return face_pack(face_set, progress=progress)
    if data in _VOTED:
        options = {"labels": labels, **options}
    folder = Path(root or "")
    if (folder / META).is_file():
        return _open_made(data, folder, options)
    return photo_pack(data, folder, size=size, options=options, progress=progress)


def _open_made(data: str, root: Path, options: Mapping) -> Pack:
    """Open a pack that was made of a data set before; ValueError if it is not the one asked for."""
    pack = open_pack(root)
    made = pack.meta.get("settings", {})
    unsaid = _UNSAID.get(data, {})
    # as pack.json has them
    said = unsaid | json.loads(json.dumps(dict(options), default=str))
    if made.get("data") != data:
        raise ValueError(
            f"{root} is a pack of {made.get('data') or pack.meta.get('source')!r}, not of {data!r}"
        )
    had = unsaid | made.get("options", {})
    if apart := {name: v for name, v in said.items() if had.get(name) != v}:
        raise ValueError(f"{root} was not made with {apart}, but with {had}; pack the set again")
    return pack


def write_faces(
    face_set: FaceSet, path: Path, *, processes: int | None = None, device: str = "cpu",
    progress: bool | None = None,
) -> Pack:  # fmt: skip
    """Draw and render a face set into a pack at `path`; a killed call is taken up where it was.

    While it renders, memory holds a few hundred faces, however many there are. The pack is the same
    to the bit for any number of `processes` (None: one a core, fewer for few faces); another
    `device` may round differently. Raises ValueError if another set lies or grows there.
    """
    check_device(device)
    if processes is not None and processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes!r}")
    head_arrays()  # fails early without the head's assets
    identity = f"faces {fingerprint(face_set)} renderer {RENDERER_VERSION} {device.split(':')[0]}"
    with GrowingPack(
        path, face_set.n, face_set.size, identity=identity, step=CHUNK[device.split(":")[0]]
    ) as growing:
        if not growing.finished:
            parts = _render_parts(growing, face_set, processes, device)
            growing.fill(parts, "face", "rendering", progress)
            growing.finish(_FACE_COLUMNS, source="rendered faces", identity=identity)
    return growing.opened()


def _render_parts(
    growing: GrowingPack, face_set: FaceSet, processes: int | None, device: str
) -> Iterator[tuple]:
    """Yield the pictures and labels of what is missing."""
    if processes is None:
        processes = worker_count(growing.left, face_set.size)
    drawn: deque = deque()  # the labels of what is being rendered

    def tables() -> Iterator[pd.DataFrame]:
        for start, stop in growing.missing():
            table = draw_faces(face_set, start, stop)
            drawn.append(table[list(LABEL_COLUMNS)])
            yield table

    for part in render_chunks(tables(), face_set.size, processes=processes, device=device):
        yield part.pictures, drawn.popleft().assign(occlusion=part.occlusion)


def face_pack(face_set: FaceSet, **options) -> Pack:
    """The rendered faces of `face_set`: rendered once, then read from the cache.

    `options` are those of `write_faces`.
    """
    kind = options.get("device", "cpu").split(":")[0]
    name = f"faces-{fingerprint(face_set)}-r{RENDERER_VERSION}-p{FORMAT}"
    path = cache_dir() / "packs" / (name if kind == "cpu" else f"{name}-{kind}")
    return open_pack(path) if path.exists() else write_faces(face_set, path, **options)


def build_mini(path: Path = MINI_PATH) -> Pack:
    """Render the mini set that ships with the package (`python -m hmtl faces --mini`), anew."""
    fresh = path.with_name(f".{path.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    write_faces(MINI, fresh)
    shutil.rmtree(path, ignore_errors=True)  # only now: a failed render leaves the old one
    fresh.rename(path)
    return open_pack(path)


def photo_pack(
    data: str, root: str | Path, *, size: int = 48, options: Mapping | None = None,
    progress: bool | None = None,
) -> Pack:  # fmt: skip
    """A data set of `SOURCES` under `root` as a pack, cached as `hmtl.data.packing` knows it.

    All is at the defaults of `hmtl.data.packing.pack_photos`, rows held out as valid included.
    """
    table = read_set(data, root, options)
    # equal tables may rest on other options, which the pack records
    said = hashlib.sha256(json.dumps(dict(options or {}), default=str).encode()).hexdigest()[:4]
    name = f"{data}-{photo_fingerprint(table)}-{said}-{size}-p{FORMAT}"
    path = cache_dir() / "packs" / name
    if path.exists():
        return open_pack(path)
    return pack_photos(table, path, size, data=data, options=options, progress=progress)
