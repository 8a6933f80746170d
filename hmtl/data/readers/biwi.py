"""BIWI Kinect Head Pose: 24 recordings of 20 people who turn their heads (Fanelli et al., 2013).

On disk:

    hpdb/01/frame_00003_rgb.png    640x480; frame numbers start at about 3 and have gaps; .jpg in
                                   the copy that fastai ships, biwi_head_pose
    hpdb/01/frame_00003_pose.txt   three rows of a rotation, an empty line, the head's centre in mm
    hpdb/01/rgb.cal                calibration of the colour camera

The pose is that of the head in the **depth** camera's frame; like nearly all papers, this reader
takes the angles as they are, without turning them into the colour camera's (about one degree).
"""

__all__ = ["PEOPLE", "biwi_angles", "read_biwi"]

from pathlib import Path

import numpy as np
import pandas as pd

from hmtl.data.readers.crops import BOX, FAR, HOPENET_BIWI, are_boxes, hopenet_crop
from hmtl.data.readers.listing import PICTURES, by_stem, folders_in, list_at, list_files, read_lines
from hmtl.data.readers.report import Drops
from hmtl.data.readers.source import Source
from hmtl.data.readers.splits import seeded_split

# Who is in recordings 01 to 24; four people were recorded twice.
PEOPLE = {
    **{i: f"F{i:02d}" for i in range(1, 7)},
    **{i: f"M{i - 6:02d}" for i in range(7, 15)},
    **{15: "F03", 16: "M09", 17: "M10", 18: "F05", 19: "M11", 20: "M12"},
    **{21: "F02", 22: "M01", 23: "M13", 24: "M14"},
}
_ANGLES = ["yaw", "pitch", "roll"]
_GENDERS = {"F": "female", "M": "male"}


def read_biwi(
    root: str | Path,
    *,
    protocol: int = 1,
    shares: tuple[float, float, float] = (0.7, 0.0, 0.3),
    seed: int = 0,
    boxes: str | Path | None = None,
    head_mm: float = 250.0,
) -> pd.DataFrame:
    """Return BIWI: `key` ("01/frame_00003_rgb.png"), `path`, `split`, `yaw, pitch, roll`, ...

    ... `gender`, `person` ("F03") and the crop `left, top, right, bottom`. Angles are in degrees,
    by the conversion that Hopenet and FSA-Net use (see `biwi_angles`), in 300W-LP's convention:
    positive yaw turns the nose towards the left edge of the picture, positive pitch lifts it,
    positive roll turns the picture clockwise.

    `protocol=1` (train on 300W-LP, test on all of BIWI) makes every row test. `protocol=2` splits
    the *people*, women and men apart, by `shares` and `seed`; the 70/30 splits of published numbers
    were drawn by recording and never published, so a person recorded twice could be in both.

    BIWI has no face boxes. `boxes` is a csv of your detector's, `key,left,top,right,bottom` in
    pixels: the crop is then Hopenet's for BIWI (k = 0.35), and frames without a box are dropped.
    Without it the crop is ours: a square of `head_mm` around the head's centre, which pose.txt
    gives in space, as the colour camera sees it by `rgb.cal`.

    `root` is hpdb or its parent. Dropped and counted: a pose without image, an image without pose,
    a malformed pose file (not twelve numbers, or no rotation). Raises FileNotFoundError for a wrong
    root or, without `boxes`, a recording without rgb.cal; ValueError for a recording that is not 1
    to 24 and, naming file and line, for boxes that are no numbers or none.
    """
    if protocol not in (1, 2):
        raise ValueError(f"protocol={protocol!r}: 1 (all test) or 2 (people split)")
    expected = "01/ .. 24/ with frame_00003_rgb.png and frame_00003_pose.txt"
    source = Source(root, ["01/rgb.cal"], ["02/rgb.cal"], _has_poses, expected=expected)
    folders = [source.root / name for name in folders_in(source.root) if name.isdecimal()]
    side = head_mm if boxes is None else None
    table = pd.concat([_read_recording(p, source, side) for p in folders], ignore_index=True)
    table["split"] = "test"
    notes = [f"the crop is a square of {head_mm:g} mm around the head's centre"]
    if boxes is not None:
        table = _crop_boxes(table, Path(boxes), source)
        notes = ["the crop is Hopenet's, of the boxes given"]
    if protocol == 2:
        table["split"] = seeded_split(table, shares, seed=seed, by="gender", group="person")
        notes.append(f"people split {shares} by seed {seed}; published 70/30 splits are unknown")
    return source.finish(
        table,
        ["key", "split", *_ANGLES, "gender", "person", *BOX],
        published={"all": 15_678},  # 15,667 in Hopenet's code are those with a face box
        notes=notes,
    )


def _has_poses(root: Path) -> bool:
    """Whether the first or second recording is there."""
    folders = [root / name for name in ("01", "02") if (root / name).is_dir()]
    return any(by_stem(list_files(f, (".txt",), deep=False), "_pose.txt") for f in folders)


def _crop_boxes(table: pd.DataFrame, file: Path, source: Source) -> pd.DataFrame:
    """Return the rows that `file` has a box for, with Hopenet's crop of it."""
    rows = source.rows(file, lambda names: names == ["key", *BOX])[1]
    fields = [row if len(row) == 1 + len(BOX) else [""] * 5 for _, row in rows]
    boxes = pd.DataFrame(fields, [f"{file} line {line}" for line, _ in rows], ["key", *BOX])
    boxes["key"] = boxes["key"].str.strip()
    boxes[BOX] = boxes[BOX].apply(pd.to_numeric, errors="coerce")
    for place in boxes.index[~are_boxes(boxes)]:
        raise ValueError(f"{place}: expected key,left,top,right,bottom in pixels")
    boxes = source.drop_repeats(boxes, BOX, place="").set_index("key")
    table = source.filter(table, ~table["key"].isin(boxes.index), "no face box")
    table[BOX] = hopenet_crop(boxes.loc[table["key"]].to_numpy(), 0.35, HOPENET_BIWI)
    return table


def biwi_angles(rotation: np.ndarray) -> np.ndarray:
    """Return yaw, pitch, roll in degrees, (N, 3), of BIWI's rotations (N, 3, 3).

    As in github.com/natanielruiz/deep-head-pose: the matrix is **transposed** first, and signs
    follow 300W-LP. With x to the right, y up and z towards the camera (BIWI has y down and z away)
    it is the rotation Rx(pitch) Ry(yaw) Rz(roll) of that convention.
    """
    r = np.asarray(rotation, float).swapaxes(-1, -2)
    yaw = -np.arctan2(-r[..., 2, 0], np.hypot(r[..., 2, 1], r[..., 2, 2]))
    pitch = np.arctan2(r[..., 2, 1], r[..., 2, 2])
    roll = -np.arctan2(r[..., 1, 0], r[..., 0, 0])
    return np.degrees(np.stack([yaw, pitch, roll], axis=-1))


def _read_recording(folder: Path, drops: Drops, head_mm: float | None) -> pd.DataFrame:
    """Return the rows of one recording, by frame number; without `head_mm` its boxes are empty."""
    if int(folder.name) not in PEOPLE:
        raise ValueError(f"{folder}: recordings are 01 to 24, this one shows nobody known")
    person = PEOPLE[int(folder.name)]
    files = list_files(folder, (*PICTURES, ".txt"), deep=False)
    images: dict[str, str] = {}
    for name in reversed(files):  # of frame_1_rgb.jpg and .png the first, if both are there
        if (stem := name.rpartition(".")[0]).lower().endswith("_rgb"):
            images[stem[: -len("_rgb")]] = f"{folder.name}/{name}"
    poses = by_stem(files, "_pose.txt")
    drops.add("image without pose", sorted(images[s] for s in set(images) - set(poses)))
    lonely = set(poses) - set(images)
    drops.add("pose without image", sorted(f"{folder.name}/{poses[s]}" for s in lonely))
    stems = sorted(set(images) & set(poses))
    numbers = np.array([_read_pose(folder / poses[s]) for s in stems]).reshape(-1, 12)
    table = pd.DataFrame({"key": [images[s] for s in stems]}, dtype=str)
    table = table.assign(gender=_GENDERS[person[0]], person=person)
    table[_ANGLES] = biwi_angles(numbers[:, :9].reshape(-1, 3, 3))
    cal = list_at(folder, "rgb.cal")
    table[BOX] = 0.0 if head_mm is None else _project(numbers[:, 9:], cal, head_mm)
    table = drops.filter(table, np.isnan(numbers[:, 0]), "malformed pose file")
    return table.astype(dict.fromkeys(BOX, "int64"))


def _read_pose(file: Path) -> np.ndarray:
    """Return the rotation, row by row, and the centre in mm, (12,); nan if there are none."""
    try:
        numbers = np.array(file.read_text(encoding="utf-8").split(), float)
        rotation = numbers[:9].reshape(3, 3)
        proper = np.abs(rotation @ rotation.T - np.eye(3)).max() < 0.01
        near = len(numbers) == 12 and np.abs(numbers).max() < FAR and numbers[11] > 0
        if near and proper and np.linalg.det(rotation) > 0:
            return numbers
    except ValueError:  # no numbers, or too few
        pass
    return np.full(12, np.nan)


def _project(centres: np.ndarray, file: Path, head_mm: float) -> np.ndarray:
    """Return the square around each centre (N, 3; mm) in the colour picture, (N, 4) pixels.

    `file` is rgb.cal: lines 1-3 the intrinsics, 7-9 and 11 the rotation and translation (mm) from
    the depth camera to this one, applied as github.com/cbsropenproject/6dof_face does
    (data/biwi_preprocess.py).
    """
    if not file.is_file():
        remedy = "it comes with each recording of BIWI; --option boxes needs none"
        raise FileNotFoundError(f"{file} is missing; {remedy}")
    lines = [line for _, line in read_lines(file)]
    try:
        inner, turn = (np.array([s.split() for s in lines[a : a + 3]], float) for a in (0, 6))
        shift = np.array(lines[10].split(), float)
        x, y, z = turn @ centres.T + shift[:, None]
    except (ValueError, IndexError):
        raise ValueError(
            f"{file}: expected matrices in lines 1-3 and 7-9, a vector in 11"
        ) from None
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        half = inner[0, 0] * head_mm / 2 / z
        u, v = inner[0, 0] * x / z + inner[0, 2], inner[1, 1] * y / z + inner[1, 2]
    boxes = np.rint(np.stack([u - half, v - half, u + half, v + half], axis=1))
    seen = ~np.isnan(centres).any(axis=1)  # of malformed pose files there is no centre
    if not ((np.abs(boxes[seen]) < FAR).all() and (half[seen] > 0).all()):
        raise ValueError(f"{file}: no camera sees a head by it; copy it anew from BIWI")
    return boxes
