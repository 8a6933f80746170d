"""AFLW2000-3D: 2,000 photographs with fitted 3D head pose, the customary test set of head pose.

On disk (Zhu et al., arXiv 1511.07212): `AFLW2000/image00002.jpg`, 450x450, with `image00002.mat`
beside; the numbers have gaps.
"""

__all__ = ["read_aflw2000"]

import os
from pathlib import Path

import pandas as pd

from hmtl.data.readers.crops import BOX, HOPENET_TEST
from hmtl.data.readers.listing import by_stem
from hmtl.data.readers.pose_mat import ANGLES, CROPS, read_poses
from hmtl.data.readers.source import Source
from hmtl.labels import check_known

_POINTS = ("pt2d", "pt3d_68")
_HOPENET_K = 0.2


def read_aflw2000(
    root: str | Path, *, crop: str = "hopenet", points: str = "pt2d", all_angles: bool = False
) -> pd.DataFrame:
    """Return AFLW2000-3D, all of it test: `key` ("image00002.jpg"), `path`, `split`, ...

    ... `yaw, pitch, roll` in degrees, signs as in `Pose_Para` and 300W-LP (positive yaw turns the
    nose towards the left edge of the picture, positive pitch lifts it, positive roll turns the
    picture clockwise), and the crop `left, top, right, bottom`. 31 images have an angle beyond 99
    degrees and are dropped: **1,969 are the customary test set**; `all_angles=True` keeps all
    2,000.

    `crop="hopenet"` is Hopenet's test crop (arXiv 1710.00925: k = 0.2 and twice that to the sides)
    of all landmarks, the negative placeholders of `pt2d` included, since published numbers rest on
    it; `"plain"` the box of those with x > 0 and y > 0, widened by 0.6. `points="pt3d_68"` takes
    the 68 fitted landmarks, which have no placeholders: a better box, but other numbers.

    `root` is the folder AFLW2000 or its parent. Dropped and counted, and raised, as `read_w300lp`.
    """
    for name, value, known in (("crop", crop, CROPS), ("points", points, _POINTS)):
        check_known(f"{name}={value!r}:", value, known)
    source = Source(
        root, lambda folder: any(_is_named(file) for file in os.listdir(folder)),
        expected="image00002.jpg ... or AFLW2000/",
    )  # fmt: skip
    keys = [file for file in source.files(deep=False) if _is_named(file)]
    mats = by_stem(source.files(endings=(".mat",), deep=False), ".mat")
    table = pd.DataFrame({"key": keys, "split": "test"}, dtype=str).assign(k=_HOPENET_K)
    on_disk = pd.Series("images on disk", table.index)
    return source.finish(
        read_poses(
            table, source, mats, crop=crop, sides=HOPENET_TEST, all_angles=all_angles, points=points
        ),
        ["key", "split", *ANGLES, *BOX],
        published={"images on disk": 2_000, "test": 2_000 if all_angles else 1_969},
        groups=[on_disk],
    )


def _is_named(file: str) -> bool:
    return file.lower().startswith("image0")
