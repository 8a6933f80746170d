"""A pack: all images of a data set in one memory-mapped uint8 array, with a label table beside it.

A folder of three files, written whole or not at all:

    images.npy   uint8 (N, size, size, C), C = 3 (colour) or 1 (grey)
    labels.csv   one row an image, in the same order; `key` and `split` always, then the labels
    pack.json    format, size, channels, where it came from, and the fingerprint of the two files

Reading a pack costs no memory but the pages a batch touches. Ours.
"""

__all__ = ["BadImages", "Pack", "open_pack", "pack_files", "write_pack"]

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from hmtl.labels import SPLITS

FORMAT = 1
IMAGES, LABELS, META = "images.npy", "labels.csv", "pack.json"


class BadImages(ValueError):
    """Images that could not be read; the message names every one and why."""


@dataclass(frozen=True)
class Pack:
    """An opened pack: `images` uint8 (N, S, S, C) memory-mapped, `labels` one row an image."""

    path: Path
    images: np.ndarray
    labels: pd.DataFrame
    meta: dict

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Width and height of every image, pixels."""
        return self.images.shape[1]

    @property
    def fingerprint(self) -> str:
        """Hash of the pixels and labels: what a run's identity rests on."""
        return self.meta["fingerprint"]

    @property
    def shows_people(self) -> bool:
        """Whether these are photographs of people, which no figure of this project may show."""
        return bool(self.meta.get("shows_people", False))

    def rows(self, split: str) -> np.ndarray:
        """Indices of the images in `split` ("train", "valid" or "test"), int64 (n,)."""
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.labels["split"].to_numpy() == split)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` in one step, or vanishes on any error.

    A crash leaves `path` absent and at most a `.tmp-*` folder beside it. If another process made
    `path` meanwhile, its work stands and ours is dropped.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".tmp-{path.name}-", dir=path.parent))
    temporary.chmod(0o755)  # mkdtemp makes it private; a store may be shared
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
        try:
            temporary.rename(path)  # atomic; refused by the system if `path` is not empty
        except OSError:
            if not path.exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (IMAGES, LABELS):
        with (folder / name).open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def write_pack(path: Path, images: np.ndarray, labels: pd.DataFrame, **meta) -> Pack:
    """Write `images` uint8 (N, S, S, C) and their `labels` as a pack at `path` and open it.

    Raises ValueError if shapes, dtype or the columns `key` and `split` are not as described.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"images must be uint8 (N, S, S, 1 or 3), got {images.dtype} {images.shape}"
        )
    with whole_folder(path) as folder:
        np.save(folder / IMAGES, images)
        _finish(folder, labels, len(images), images.shape[1], images.shape[3], meta)
    return open_pack(path)


def _finish(
    folder: Path, labels: pd.DataFrame, count: int, size: int, channels: int, meta: dict
) -> None:
    missing = {"key", "split"} - set(labels)
    if missing or len(labels) != count:
        raise ValueError(
            f"labels need the columns key and split and one row for each of {count} images; "
            f"missing {sorted(missing)}, {len(labels)} rows"
        )
    if labels["key"].duplicated().any():
        twice = labels.loc[labels["key"].duplicated(), "key"].iloc[0]
        raise ValueError(f"two images share the key {twice!r}")
    labels.to_csv(folder / LABELS, index=False, float_format="%.6g")
    record = {"format": FORMAT, "count": count, "size": size, "channels": channels, **meta}
    record["fingerprint"] = _fingerprint(folder)
    (folder / META).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def open_pack(path: Path) -> Pack:
    """Open the pack at `path`, memory-mapped and read-only.

    Raises FileNotFoundError or ValueError naming the file that is missing or does not fit.
    """
    path = Path(path)
    for name in (META, IMAGES, LABELS):
        if not (path / name).is_file():
            raise FileNotFoundError(
                f"{path / name} is missing, so {path} is no pack; make it again from the data"
            )
    meta = json.loads((path / META).read_text())
    if meta.get("format") != FORMAT:
        raise ValueError(
            f"{path / META}: format {meta.get('format')!r}, this version reads {FORMAT}; "
            "delete the folder and pack again"
        )
    images = np.load(path / IMAGES, mmap_mode="r", allow_pickle=False)
    labels = pd.read_csv(path / LABELS)
    if len(images) != len(labels) or len(images) != meta["count"]:
        raise ValueError(
            f"{path}: {IMAGES} holds {len(images)} images, {LABELS} {len(labels)} rows and "
            f"{META} says {meta['count']}; delete the folder and pack again"
        )
    return Pack(path, images, labels, meta)


def pack_files(
    path: Path,
    table: pd.DataFrame,
    size: int,
    *,
    channels: int = 3,
    allow_bad: int = 0,
    progress: bool = True,
    **meta,
) -> Pack:
    """Read the image files of a sample table (column `path`) into a pack of `size` pixels.

    Images are converted to grey or colour and resized with antialiasing (shorter side to `size`,
    then a central square). Images that cannot be read are left out and listed in `pack.json` under
    `bad`; more than `allow_bad` of them raise BadImages, which names every one.
    """
    table = table.reset_index(drop=True)
    mode = "L" if channels == 1 else "RGB"
    bad: dict[str, str] = {}
    with whole_folder(path) as folder:
        images = np.lib.format.open_memmap(
            folder / IMAGES, mode="w+", dtype=np.uint8, shape=(len(table), size, size, channels)
        )
        count = 0
        bar = tqdm(table["path"], desc="packing", unit="image", disable=not progress, delay=2)
        for row, file in enumerate(bar):
            try:
                with Image.open(file) as picture:
                    pixels = np.asarray(_square(picture.convert(mode), size))
            except (OSError, SyntaxError, ValueError) as error:
                bad[table.at[row, "key"]] = f"{type(error).__name__}: {error}"
                continue
            images[count] = pixels.reshape(size, size, channels)
            count += 1
        if len(bad) > allow_bad:
            listed = "\n".join(f"  {key}: {why}" for key, why in bad.items())
            raise BadImages(
                f"{len(bad)} of {len(table)} images cannot be read (allow_bad={allow_bad}):\n"
                f"{listed}\nrepair or remove them, or raise allow_bad to leave them out"
            )
        images.flush()
        if bad:
            good = np.array(images[:count])
            del images
            np.save(folder / IMAGES, good)
        kept = table[~table["key"].isin(bad)].drop(columns="path")
        _finish(folder, kept, count, size, channels, {**meta, "bad": bad})
    return open_pack(path)


def _square(picture: Image.Image, size: int) -> Image.Image:
    """Central square of a picture at `size` pixels, antialiased."""
    if picture.size == (size, size):
        return picture
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return picture.resize((size, size), Image.Resampling.LANCZOS, box=box)
