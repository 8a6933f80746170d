"""Head pose and landmarks out of the `.mat` files of 300W-LP and AFLW2000-3D.

Both come from Zhu et al., Face Alignment Across Large Poses (3DDFA, arXiv 1511.07212). `Pose_Para`
(1, 7) holds **pitch, yaw, roll in radians**, translation and scale. The project's own convention is
theirs, so signs stay: positive yaw turns the nose towards the left edge of the picture, positive
pitch lifts it, positive roll turns the picture clockwise.
"""

__all__ = ["ANGLES", "CROPS", "LIMIT", "keep_angles", "read_poses"]

from collections.abc import Mapping

import numpy as np
import pandas as pd
import scipy.io

from hmtl.data.readers.crops import BOX, FAR, hopenet_crop, plain_crop
from hmtl.data.readers.listing import without_ending
from hmtl.data.readers.report import Drops
from hmtl.data.readers.source import Source
from hmtl.files import reading

ANGLES = ["yaw", "pitch", "roll"]
CROPS = ("hopenet", "plain")
LIMIT = 99.0
"""Degrees: images with a larger angle are left out by Hopenet and all who compare with it."""
_ORDER = [1, 0, 2]  # Pose_Para has pitch first
_BOX = ["x0", "y0", "x1", "y1"]


def read_poses(
    table: pd.DataFrame, source: Source, mats: Mapping[str, str], *, crop: str, sides: tuple,
    all_angles: bool, points: str = "pt2d",
) -> pd.DataFrame:  # fmt: skip
    """Return `table` with `yaw, pitch, roll` (degrees) and the crop `left, top, right, bottom`.

    `mats` has the .mat of each picture by its key without ending; it is read, some 0.1 ms each. The
    crop is Hopenet's by `sides` and column `k`, of all landmarks `points` (2 or 3, n); or with
    "plain" that of those with x > 0 and y > 0: placeholders and landmarks outside of the picture
    are negative. Dropped and counted: images without .mat, files that cannot be read, faces without
    such a landmark, and angles by `keep_angles`. Raises ValueError naming a file that has no
    `Pose_Para` of seven numbers or no `points`.
    """
    table = table.assign(mat=without_ending(table["key"]).map(mats))
    table = source.filter(table, table["mat"].isna(), "image without .mat")
    rows = np.full((len(table), 7), np.nan)
    torn = np.zeros(len(table), bool)
    for i, name in enumerate(table["mat"]):
        file = source.root / name
        try:
            with file.open("rb") as opened:  # given its name, scipy may add an ending
                content = scipy.io.loadmat(opened, variable_names=["Pose_Para", points])
        except Exception:  # scipy raises errors of many kinds for torn files
            torn[i] = True
            continue
        with reading(file, "copy it anew from the data set"):
            rows[i, :3] = np.degrees(_pose_of(content))[_ORDER]
            rows[i, 3:] = _tight_box(content, points, seen_only=crop == "plain")
    table = table.assign(**dict(zip([*ANGLES, *_BOX], rows.T, strict=True)))
    table = source.filter(table, torn, ".mat cannot be read")
    table = source.filter(table, table["x0"].isna(), "no landmark in the picture")
    table = keep_angles(table, source, all_angles)
    tight = table[_BOX].to_numpy()
    hopenet = hopenet_crop(tight, table["k"].to_numpy(), sides)
    table[BOX] = plain_crop(tight) if crop == "plain" else hopenet
    return table


def _pose_of(content: dict) -> np.ndarray:
    """Return pitch, yaw, roll in radians, (3,)."""
    if "Pose_Para" not in content or content["Pose_Para"].size != 7:
        found = content["Pose_Para"].shape if "Pose_Para" in content else "none"
        raise ValueError(f"expected Pose_Para of shape (1, 7), found {found}")
    pose = np.asarray(content["Pose_Para"], float).ravel()[:3]
    if not np.isfinite(pose).all():
        raise ValueError(f"Pose_Para is not a number: {pose}")
    return pose


def _tight_box(content: dict, points: str, seen_only: bool) -> np.ndarray:
    """Return left, top, right, bottom of the landmarks, (4,); nan if there is none."""
    if points not in content or len(content[points]) not in (2, 3):
        found = content[points].shape if points in content else "none"
        raise ValueError(f"expected {points} of shape (2, n) or (3, n), found {found}")
    x, y = np.asarray(content[points][:2], float)
    if not (np.abs([x, y]) < FAR).all():
        raise ValueError(f"{points} holds landmarks that are no places in a picture")
    if seen_only:
        x, y = (values[(x > 0) & (y > 0)] for values in (x, y))
    return np.array([x.min(), y.min(), x.max(), y.max()]) if len(x) else np.full(4, np.nan)


def keep_angles(table: pd.DataFrame, drops: Drops, all_angles: bool) -> pd.DataFrame:
    """Return the rows whose angles are all within `LIMIT`, or every row if `all_angles`."""
    beyond = (table[ANGLES].abs() > LIMIT).any(axis=1) & (not all_angles)
    return drops.filter(table, beyond, f"beyond {LIMIT:g} degrees")
