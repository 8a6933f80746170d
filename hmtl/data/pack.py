"""A pack: all images of a data set in one memory-mapped uint8 array, with a label table beside it.

A folder of three files, written whole or not at all:

    images.npy   uint8 (N, size, size, C), C = 3 (colour) or 1 (grey)
    labels.csv   one row an image, in the same order; `key` and `split` always, then the labels
    pack.json    format, size, channels, where it came from, the fingerprint of the two files
                 together, the checksum of each and its own

Reading a pack costs no memory but the pages a batch touches, and `GrowingPack` writes one part by
part, so its size is bounded by the disk alone. Ours.
"""

__all__ = ["GrowingPack", "Pack", "open_pack", "write_pack"]

import errno
import hashlib
import json
import math
import mmap
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from filelock import FileLock
from tqdm import tqdm

from hmtl.files import (
    CHECKED,
    drop_lock,
    hash_file,
    new_file,
    read_json,
    read_record,
    read_table,
    reading,
    sealed,
    whole_folder,
    write_text,
    writing,
)
from hmtl.labels import SPLITS, check_known, odd_label
from hmtl.paths import cache_dir, show_progress

FORMAT = 1
_LARGE = 1 << 28  # bytes of images
_REMEDY = "delete the folder and pack again, or copy it anew from where it came"
_PART_REMEDY = "delete this unfinished, hidden folder, and the same command begins anew"
_FLOATS = "%.6g"  # of labels on the disk
IMAGES, LABELS, META = "images.npy", "labels.csv", "pack.json"


@dataclass(frozen=True)
class Pack:
    """An opened pack (`open_pack`).

    Args:
        path: Its folder.
        images: uint8 (N, S, S, C), memory-mapped; C is 1 (grey) or 3 (sRGB).
        labels: One row an image, in the same order; `key` (unique) and `split` always, then labels.
        meta: What pack.json says: size, fingerprint, source, settings and more.
    """

    path: Path
    images: np.ndarray
    labels: pd.DataFrame
    meta: dict

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        found = self.labels["split"].value_counts()
        counts = ", ".join(f"{split} {found[split]:,}" for split in SPLITS if split in found)
        return f"Pack({self.path.name}: {len(self):,} images, {self.size} pixels; {counts})"

    @property
    def size(self) -> int:
        """Width and height of every image, pixels."""
        return self.images.shape[1]

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (colour)."""
        return self.images.shape[3]

    @property
    def fit(self) -> str:
        """How squares were cut out of photographs (`hmtl.data.photos.FITS`); "cover" of any
        other.
        """
        return str(self.meta.get("settings", {}).get("fit", "cover"))

    @property
    def fingerprint(self) -> str:
        """Hash of the pixels and labels: what a run's identity rests on."""
        return self.meta["fingerprint"]

    @property
    def shows_people(self) -> bool:
        """Whether these are photographs of people, which no figure of this project may show."""
        return bool(self.meta.get("shows_people", False))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The images at `rows`, a copy, uint8 (n, S, S, C).

        Pages of the file that were touched would count as this process's memory until it ends; of
        a large pack they are given back at once. The system keeps what it has room for.
        """
        taken, mapped = self.images[rows], getattr(self.images, "_mmap", None)
        if mapped is not None and self.images.nbytes > _LARGE and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        return taken

    @property
    def chosen_on(self) -> str:
        """The split on which epochs are chosen: "valid", or "test" if its protocol says so."""
        on_test = self.meta.get("protocol", {}).get("chosen_on") == "test"
        return "test" if on_test else "valid"

    def rows(self, split: str) -> np.ndarray:
        """Indices of the images in `split` ("train", "valid" or "test"), int64 (n,).

        Of valid, where a protocol chooses on the test images, those of test.
        """
        check_known(f"unknown split {split!r};", split, SPLITS)
        split = self.chosen_on if split == "valid" else split
        return np.flatnonzero(self.labels["split"].to_numpy() == split)


def _hashes(folder: Path) -> tuple[dict[str, str], str]:
    """The SHA-256 of images and labels by their names, and the fingerprint of both together."""
    digest = hashlib.sha256()
    hashes = {IMAGES: hash_file(folder / IMAGES, digest), LABELS: hash_file(folder / LABELS)}
    return hashes, hash_file(folder / LABELS, digest)[:16]


def write_pack(path: Path, images: np.ndarray, labels: pd.DataFrame, **meta) -> Pack:
    """Write `images` uint8 (N, S, S, C) and their `labels` as a pack at `path` and open it.

    Raises ValueError if shapes, dtype or the columns `key` and `split` are not as described, and
    for a split, emotion or gender that the project does not know.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"images must be uint8 (N, S, S, 1 or 3), got {images.dtype} {images.shape}"
        )
    with whole_folder(path) as folder:
        _write_images(folder, images.shape, [images])
        _finish(folder, images.shape, [labels], meta)
    return open_pack(path)


def _write_images(folder: Path, shape: tuple[int, ...], parts: Iterable[np.ndarray]) -> None:
    """Write the pixels; unlike `np.save`, this says why it fails."""
    with (folder / IMAGES).open("xb") as file:
        _write_header(file, shape)
        for images in parts:
            file.write(np.ascontiguousarray(images).data)


def _finish(
    folder: Path, shape: tuple[int, ...], tables: Iterable[pd.DataFrame], meta: dict,
    files: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Write the labels table by table, the texts of `files`, and `pack.json`."""
    count, size, _, channels = shape
    keys: set = set()
    rows = 0
    with (folder / LABELS).open("x", encoding="utf-8", newline="") as file:
        for table in tables:
            if missing := sorted({"key", "split"} - set(table)):
                raise ValueError(f"labels need the columns key and split, missing {missing}")
            if odd := odd_label(table):
                name = table[odd[1]].iloc[odd[0]]
                raise ValueError(f"{table['key'].iloc[odd[0]]}: {odd[1]} {name!r} is not known")
            for key in table["key"][table["key"].duplicated() | table["key"].isin(keys)]:
                raise ValueError(f"two images share the key {key!r}")
            keys.update(table["key"])
            table.to_csv(file, index=False, header=file.tell() == 0, float_format=_FLOATS)
            rows += len(table)
        if rows != count:
            raise ValueError(f"labels need one row for each of {count} images, got {rows}")
    record = {"format": FORMAT, "count": count, "size": size, "channels": channels, **meta}
    hashes, record["fingerprint"] = _hashes(folder)
    for name, text in (files or {}).items():
        hashes[name] = hash_file(write_text(folder / name, text))
    text = json.dumps(sealed(record, hashes), indent=1, sort_keys=True)
    write_text(folder / META, text + "\n")


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Begin a .npy file of pixels; the bytes are those of `np.save`."""
    kind = np.lib.format.dtype_to_descr(np.dtype(np.uint8))
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


class GrowingPack:
    """A pack that is written part by part: what a kill leaves is taken up again.

    `path` does not exist until `finish`; until then the parts lie in `.<name>.part` beside it. Used
    as a context manager it holds a lock, so that two processes never write one pack: the second
    waits and finds it finished.

        with GrowingPack(path, count, size, identity="...") as growing:
            for start, stop in growing.missing():
                growing.put(start, images, labels)
            growing.finish()
        pack = open_pack(path)

    The disk's room is taken before the first part, so a full disk is an OSError with a remedy.
    `identity` says what is being written; ValueError if unfinished parts there are of another one
    or damaged, or if something else lies at `path`. A part may carry `notes`, a table of as many
    rows for whoever writes the pack; they do not go into it.
    """

    def __init__(
        self, path: Path, count: int, size: int, channels: int = 3, *, identity: str, step: int = 64
    ):
        self.path = Path(path).absolute()
        self.shape = (count, size, size, channels)
        self.identity, self.step = identity, step
        self.folder = self.path.with_name(f".{self.path.name}.part")
        self._lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))

    def __enter__(self) -> "GrowingPack":
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        try:
            if not self.finished:
                self._open()
        except BaseException:
            drop_lock(self._lock)
            raise
        return self

    def discard(self) -> None:
        """Throw away what was written so far, at the end: there shall be no such pack."""
        self.done[:] = False

    def _clear(self) -> None:
        with suppress(OSError):
            (self.folder / "identity.txt").unlink()  # first: what a kill leaves of this is nothing
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(self, *error) -> None:
        if (self.path / META).is_file() or not self.done.any():
            self._clear()  # nothing in it to take up again
        drop_lock(self._lock)

    @property
    def finished(self) -> bool:
        """Whether the pack is there, by us or by another process meanwhile."""
        if (self.path / META).is_file():
            return True
        if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise ValueError(f"{self.path} is there already and is no pack; choose another folder")
        return False

    def _open(self) -> None:
        identity = self.folder / "identity.txt"
        text = f"{self.identity} {self.shape} {self.step}"
        if self.folder.is_symlink():
            raise ValueError(f"{self.folder} is a link; {_PART_REMEDY}")
        starts = range(0, self.shape[0], self.step)
        self.done = np.array([_is_plain(self._part(start)) for start in starts], bool)
        if identity.is_file() and self.done.any():
            with reading(identity, _PART_REMEDY):
                same = identity.read_text(encoding="utf-8") == text
            if not same:
                raise ValueError(
                    f"{self.folder} holds unfinished parts of another pack; finish that one, or "
                    "delete the folder"
                )
            self.images()
            for left in self.folder.glob(".tmp-*"):  # by a kill
                left.unlink()
            return
        self._clear()
        self.done[:] = False
        try:
            with writing(self.path):
                self.folder.mkdir()
                self._make_images()
                write_text(identity, text)
        except BaseException:
            self._clear()
            raise

    def _make_images(self) -> None:
        """Take the disk's room for all images, black as yet."""
        with (self.folder / IMAGES).open("xb") as file:
            _write_header(file, self.shape)
            whole = file.tell() + math.prod(self.shape)
            try:
                os.posix_fallocate(file.fileno(), 0, whole)
            except (AttributeError, OSError) as error:  # a system or a disk that has no such call
                if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
            file.truncate(whole)

    def opened(self, **same) -> Pack:
        """The finished pack; ValueError if it is another one, or its meta is not as `same`."""
        pack = open_pack(self.path)
        if pack.meta | {"identity": self.identity} | same != pack.meta:
            there = pack.meta.get("identity") or pack.meta.get("source")
            raise ValueError(
                f"{self.path} holds other data or settings: {there} at {pack.size} pixels; choose "
                "another folder, or delete it"
            )
        return pack

    def missing(self) -> list[tuple[int, int]]:
        """(start, stop) of the parts that are not written yet."""
        starts = self.step * np.flatnonzero(~self.done)
        return [(int(s), min(int(s) + self.step, self.shape[0])) for s in starts]

    def put(
        self, start: int, images: np.ndarray, labels: pd.DataFrame,
        notes: pd.DataFrame | None = None,
    ) -> None:  # fmt: skip
        """Write the part that begins at row `start`: its images, their labels and notes."""
        if images.dtype != np.uint8 or images.shape[1:] != self.shape[1:]:
            raise ValueError(f"a part must be uint8 {self.shape[1:]}, got {images.dtype}")
        at = self.images().offset + start * math.prod(self.shape[1:])
        with writing(self.path):
            # not through a map: where the disk is full, that ends the process without a word
            flags = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            with open(os.open(self.folder / IMAGES, flags), "wb") as file:
                file.seek(at)
                file.write(np.ascontiguousarray(images).data)
                file.flush()
                os.fsync(file.fileno())
            # the labels last: with them, the part is done
            for kind, table in (("notes", notes), ("labels", labels)):
                if table is not None:
                    with new_file(self._part(start, kind)) as part:
                        table.to_csv(part, index=False, float_format=_FLOATS)
            self.done[start // self.step] = True

    def fill(self, parts: Iterable[tuple], unit: str, desc: str, progress: bool | None) -> None:
        """Write what is missing, in order, under a bar; each part is what `put` wants of it.

        `progress` None: `hmtl.paths.show_progress`.
        """
        missing = self.missing()
        with tqdm(
            total=self.shape[0], initial=self.shape[0] - self.left, unit=unit, desc=desc, delay=2,
            disable=not (show_progress() if progress is None else progress),
        ) as bar:  # fmt: skip
            for (start, stop), part in zip(missing, parts, strict=True):
                self.put(start, *part)
                bar.update(stop - start)

    @property
    def left(self) -> int:
        """How many images are not written yet."""
        return sum(stop - start for start, stop in self.missing())

    def _part(self, start: int, kind: str = "labels") -> Path:
        return self.folder / f"{kind}-{start:09d}.csv"

    def notes(self) -> pd.DataFrame:
        """The notes of all parts written so far, as text; the index has the rows of the pack."""
        starts = [int(start) for start in self.step * np.flatnonzero(self.done)]
        tables = [_read_text(self._part(start, "notes")) for start in starts]
        for start, table in zip(starts, tables, strict=True):
            table.index += start
        return pd.concat(tables) if tables else pd.DataFrame()

    def images(self) -> np.memmap:
        """The images as they are so far, memory-mapped, uint8 (N, S, S, C); drop it soon."""
        with reading(self.folder / IMAGES, _PART_REMEDY):
            images = np.load(self.folder / IMAGES, mmap_mode="r", allow_pickle=False)
            if images.dtype != np.uint8 or images.shape != self.shape:
                raise ValueError(f"it holds {images.dtype} {images.shape}")
        return images

    def finish(
        self, columns: Sequence[str] = ("key", "split"), *, keep: np.ndarray | None = None,
        files: Mapping[str, str] | None = None, **meta,
    ) -> None:  # fmt: skip
        """Make the parts a pack. `columns` are written if there is no row at all.

        `keep`, bool (N,), says which rows go into it (None: all): the others cost the disk a second
        copy of the pack until the parts are cleared away, as `with` ends. `files` are texts to lie
        in the pack by the names of their files. Raises ValueError if parts are missing.
        """
        if missing := self.missing():
            raise ValueError(f"{self.folder}: {len(missing)} parts are not written yet")
        keep = np.ones(self.shape[0], bool) if keep is None else np.asarray(keep, bool)
        starts = range(0, self.shape[0], self.step)
        tables = (
            _read_text(self._part(start))[keep[start : start + self.step]] for start in starts
        )
        empty = [pd.DataFrame(columns=list(columns))]
        rows = np.flatnonzero(keep)
        shape = (len(rows), *self.shape[1:])
        with whole_folder(self.path) as folder:
            if keep.all():
                _link(self.folder / IMAGES, folder / IMAGES)
            else:  # mapped anew for each part: touched pages are memory
                chosen = (rows[start : start + self.step] for start in starts)
                _write_images(folder, shape, (self.images()[some] for some in chosen))
            _finish(folder, shape, tables if len(rows) else empty, meta, files)


def _is_plain(file: Path) -> bool:
    """Whether a file is there, and no link to one."""
    return file.is_file() and not file.is_symlink()


def _link(old: Path, new: Path) -> None:
    """Give a file a second name, or a copy on a disk that has no such names."""
    if not _is_plain(old):
        raise OSError(errno.ELOOP, "its images are a link")
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)


def _read_text(part: Path) -> pd.DataFrame:
    """Return the table of a part, every value the text that was written."""
    return read_table(part, _PART_REMEDY, dtype=str, keep_default_na=False)


def open_pack(path: str | Path, verify: bool = False) -> Pack:
    """Open a pack, memory-mapped and read-only, and notice what changed in it.

    Compared with pack.json every time: its own checksum, the labels', shapes and counts, names of
    splits, emotions and genders. The pixels too, up to 256 MB of them once in a process, beyond
    that once on a machine (the cache remembers it); in both cases again as soon as the size or a
    time of a file is another. Packs of older versions have no checksums but the fingerprint, which
    is treated as the pixels are.

    Args:
        path: The pack's folder.
        verify: Compare the pixels now, whatever is remembered: that finds a bit that turned on the
            disk.

    Returns:
        The pack.

    Raises:
        FileNotFoundError: A file of the pack is not there.
        OSError, ValueError: A file cannot be read, was changed, or does not fit the others; the
            error names the file, the field and the remedy.

    Example:
        >>> from hmtl.data.sets import MINI_PATH
        >>> open_pack(MINI_PATH).images.shape
        (640, 48, 48, 3)
    """
    path = Path(path)
    for name in (META, IMAGES, LABELS):
        if not (path / name).is_file():
            raise FileNotFoundError(
                f"{path / name} is missing, so {path} is no pack; make it again from the data"
            )
    meta = _read_meta(path / META)
    with reading(path / IMAGES, _REMEDY):
        images = np.load(path / IMAGES, mmap_mode="r", allow_pickle=False)
    shape = (meta["count"], meta["size"], meta["size"], meta["channels"])
    if images.dtype != np.uint8 or images.shape != shape or not images.flags.c_contiguous:
        raise ValueError(
            f"{path / IMAGES} holds {images.dtype} {images.shape} where {META} says uint8 {shape}; "
            f"{_REMEDY}"
        )
    _verify(path, meta, verify)
    return Pack(path, images, _read_labels(path / LABELS, meta), meta)


def _read_meta(file: Path) -> dict:
    """What pack.json says, each field of its type."""
    found = read_json(file, _REMEDY).get("format")
    if found != FORMAT:
        later = isinstance(found, int) and found > FORMAT
        remedy = "install the hmtl that made it" if later else "delete the folder and pack again"
        raise ValueError(f"{file}: format {found!r}, this version reads {FORMAT}; {remedy}")
    needed = {"count": int, "size": int, "channels": int, "fingerprint": str}
    optional = {"shows_people": bool, "protocol": dict, "settings": dict, "warnings": list}
    return read_record(file, _REMEDY, needed, optional)


def _read_labels(file: Path, meta: dict) -> pd.DataFrame:
    """The labels of a pack, a row an image, with keys and splits that can be used."""
    hashes = meta.get(CHECKED)
    if hashes and hash_file(file) != hashes.get(LABELS):
        raise ValueError(f"{file} was changed: it does not have its SHA-256 in {META}; {_REMEDY}")
    text = {"keep_default_na": False, "na_values": [""], "dtype": {"key": str}}  # of a person "NA"
    labels = read_table(file, _REMEDY, ("key", "split"), **text)
    if len(labels) != meta["count"]:
        raise ValueError(
            f"{file} holds {len(labels)} rows where {META} says {meta['count']}; {_REMEDY}"
        )
    if odd := odd_label(labels):
        row, column = odd
        raise ValueError(
            f"{file} line {row + 2}, field {column}: {labels[column].iloc[row]!r} is not known; "
            f"{_REMEDY}"
        )
    for key in labels["key"][labels["key"].duplicated()]:
        raise ValueError(f"{file}, field key: {key!r} is there twice; {_REMEDY}")
    return labels


_verified: set[str] = set()  # states of packs, in this process


def _verify(path: Path, meta: dict, anew: bool) -> None:
    """Raise ValueError unless images and labels are those that were written."""
    there = [(path / name).stat() for name in (IMAGES, LABELS)]
    times = [(s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in there]
    state = f"{path.resolve()} {meta['fingerprint']} {times}"
    large = there[0].st_size > _LARGE
    if not anew:
        with suppress(OSError, ValueError):  # a user may have no home, and so no cache
            if state in _verified or (large and _stamp(path).read_text(encoding="utf-8") == state):
                return
    hashes, fingerprint = _hashes(path)
    wanted = meta.get(CHECKED, hashes)
    changed = [name for name in (IMAGES, LABELS) if hashes[name] != wanted.get(name)]
    if changed or fingerprint != meta["fingerprint"]:
        what = f"{' and '.join(changed)} in it" if changed else f"{IMAGES} or {LABELS} in it"
        raise ValueError(f"{path} was changed: {what}; {META} has other checksums; {_REMEDY}")
    _verified.add(state)
    if large:
        with suppress(OSError, ValueError):  # a cache that cannot be written costs time only
            write_text(_stamp(path), state)


def _stamp(path: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
    return cache_dir() / "verified" / digest[:16]
