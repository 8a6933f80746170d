"""300W-LP, AFLW2000 and BIWI as FSA-Net packs them: crops and angles in .npz files.

Yang, Chen, Lin, Chuang: FSA-Net, CVPR 2019.

On disk, in folders of any name (github.com/shamangary/FSA-Net, data/type1 and data):

    AFW.npz, AFW_Flip.npz, HELEN.npz ...   300W-LP, trained on
    AFLW2000.npz, BIWI_noTrack.npz         tested on
    BIWI_train.npz, BIWI_test.npz          16 and 8 recordings, drawn without a seed

Each holds `image`, uint8 (N, S, S, 3) with S = 64, blue first, and `pose`, (N, 3): yaw, pitch, roll
in degrees, in 300W-LP's convention. There is no picture file: `path` is the .npz, and `offset` the
number of the picture in it.
"""

__all__ = ["read_npz_image", "read_pose_npz"]

import functools
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from hmtl.data.readers.pose_mat import ANGLES, keep_angles
from hmtl.data.readers.report import WARNING
from hmtl.data.readers.source import Source
from hmtl.files import reading

_REMEDY = "copy it anew, or save it again by numpy.savez(file, image=image, pose=pose)"
_TRAIN = ("AFW", "HELEN", "IBUG", "LFPW", "300W_LP", "300W-LP")
_COUNTS = {"AFLW2000": 1_969}  # within 99 degrees
_HEADER = 30  # bytes before the name of a member of a zip file


def read_pose_npz(
    root: str | Path, *, flips: bool = True, all_angles: bool = False
) -> pd.DataFrame:
    """Return FSA-Net's files: `key` ("AFW/00000"), `path`, `offset`, `split`, `yaw, pitch, roll`.

    300W-LP, its subsets and files with "train" in their name, of any case, are train, all others
    test. Angles are in degrees: positive yaw turns the nose towards the left edge of the picture,
    positive pitch lifts it, positive roll turns the picture clockwise. Dropped and counted: angles
    beyond 99 degrees.

    Args:
        root: The folder of the files, or any around it.
        flips: Read the mirror images (AFW_Flip.npz) too.
        all_angles: Keep angles beyond 99 degrees.

    Returns:
        The sample table.

    Raises:
        FileNotFoundError: No .npz file.
        ValueError: Naming a file that is compressed, or whose arrays have other shapes or types.
    """
    source, parts = Source(root), []
    files = source.files(endings=(".npz",))
    files = [f for f in files if flips or not f.lower().endswith("_flip.npz")]
    if not files:
        raise source.lacks("AFLW2000.npz ...")
    for name in files:
        stem, file = name.rpartition(".")[0], source.root / name
        with reading(file, _REMEDY):
            _, shape = _layout(str(file), os.stat(file).st_mtime_ns)
            with np.load(file, allow_pickle=False) as content:
                poses = np.asarray(content["pose"], float)
            if poses.shape != (shape[0], 3) or not np.isfinite(poses).all():
                raise ValueError(f"expected pose of shape ({shape[0]}, 3), found {poses.shape}")
        last = stem.rpartition("/")[2].upper()
        train = last.removesuffix("_FLIP") in _TRAIN or "TRAIN" in last
        part = pd.DataFrame(poses, columns=ANGLES)
        part["offset"] = np.arange(len(part))
        part["key"] = f"{stem}/" + part["offset"].astype(str).str.zfill(5)
        parts.append(part.assign(path=str(file), split="train" if train else "test"))
    table = pd.concat(parts, ignore_index=True)
    table = keep_angles(table, source, all_angles)
    stems = {Path(file).stem for file in files}
    biwi = {stem for stem in stems if "BIWI" in stem.upper()}
    trained = {stem for stem in biwi if "TRAIN" in stem.upper()}
    whole = {stem for stem in biwi - trained if "TEST" not in stem.upper()}
    if trained and whole:
        both = ", ".join(sorted(trained | whole))
        source.notes.append(
            f"{WARNING}{both}: a file that is no BIWI_test may hold the recordings of BIWI_train; "
            "read one of them alone"
        )
    return source.finish(
        table,
        ["key", "path", "split", *ANGLES, "offset"],
        published={name: n for name, n in _COUNTS.items() if name in stems},
        groups=[table["key"].str.split("/").str[-2]],
    )


@functools.lru_cache(maxsize=64)
def _layout(path: str, changed: int) -> tuple[int, tuple[int, ...]]:
    """Return at which byte the pixels of `image` begin, and its shape (N, S, S, 3).

    `changed`, the time of the file, keeps what is remembered to the file as it was.
    """
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("image.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError("it is compressed, so that no picture can be read alone")
        with archive.open(member) as stream:
            major, _ = np.lib.format.read_magic(stream)
            header = getattr(np.lib.format, f"read_array_header_{1 if major == 1 else 2}_0")
            shape, fortran, kind = header(stream)
            inner = stream.tell()
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or fortran or kind != np.uint8:
        raise ValueError(f"expected image as uint8 (N, S, S, 3), found {kind} {shape}")
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        start = file.read(_HEADER)
    lengths = np.frombuffer(start[26:30], "<u2").sum()  # of the name and of what follows it
    return int(member.header_offset + _HEADER + lengths + inner), shape


def read_npz_image(path: str, number: int) -> np.ndarray:
    """Return picture `number` of an .npz file, uint8 (S, S, 3), red first; nothing else is read."""
    start, shape = _layout(path, os.stat(path).st_mtime_ns)
    size = int(np.prod(shape[1:]))
    with open(path, "rb") as file:
        file.seek(start + size * int(number))
        raw = file.read(size)
    if not 0 <= number < shape[0] or len(raw) < size:
        raise ValueError(f"{path} holds no picture {number}")
    return np.frombuffer(raw, np.uint8).reshape(shape[1:])[..., ::-1].copy()
