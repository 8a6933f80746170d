"""300W-LP: 61,225 faces of 300-W turned to large poses by a 3D model, and their mirror images.

On disk (Zhu et al., arXiv 1511.07212), images of 450x450 with a `.mat` of the same name beside:

    300W_LP/AFW/AFW_134212_1_0.jpg       and HELEN, IBUG, LFPW
    300W_LP/AFW_Flip/AFW_134212_1_0.jpg  the mirror images
    300W_LP/Code, 300W_LP/landmarks      not read
"""

__all__ = ["read_w300lp"]

from pathlib import Path

import pandas as pd

from hmtl.data.readers.crops import BOX, HOPENET_TRAIN
from hmtl.data.readers.listing import PICTURES, by_stem, without_ending
from hmtl.data.readers.pose_mat import ANGLES, CROPS, read_poses
from hmtl.data.readers.source import Source
from hmtl.data.readers.splits import draw_uniform
from hmtl.labels import check_known

SUBSETS = {"AFW": 5_207, "HELEN": 37_676, "IBUG": 1_786, "LFPW": 16_556}  # 61,225 without flips
_HOPENET_K = (0.2, 0.4)  # drawn anew in each epoch there, once an image here


def read_w300lp(
    root: str | Path,
    *,
    flips: bool = True,
    crop: str = "hopenet",
    all_angles: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Return 300W-LP, all of it train: `key` ("AFW/AFW_134212_1_0.jpg"), `path`, `split`, ...

    ... `yaw, pitch, roll` in degrees, signs as in `Pose_Para`: positive yaw turns the nose towards
    the left edge of the picture, positive pitch lifts it, positive roll turns the picture
    clockwise; the crop `left, top, right, bottom`; and `source` ("AFW/AFW_134212_1"), the
    photograph that an image and its mirror image were made of. Hold out whole sources, or the same
    face is in both splits.

    `crop="hopenet"` is the training crop of Hopenet (arXiv 1710.00925), its k drawn from 0.2..0.4
    once an image by `seed`; `"plain"` the box of the landmarks with x > 0 and y > 0, widened by 0.6
    on each side. `flips=False` leaves the mirror images out: do so, or do not mirror in training.

    Dropped and counted: images without .mat, files that cannot be read, no landmark in the picture,
    and any angle beyond 99 degrees (unless `all_angles`), as Hopenet does. Raises FileNotFoundError
    for a wrong root, ValueError for a .mat without pose or landmarks.
    """
    check_known(f"crop={crop!r}:", crop, CROPS)
    source = Source(root, list(SUBSETS), expected="AFW/, HELEN/, IBUG/ and LFPW/")
    folders = [*SUBSETS, *(f"{name}_Flip" for name in SUBSETS if flips)]
    pictures, mats = (
        [(key, n) for n in folders for key in source.files(source.at(n), endings, deep=False)]
        for endings in (PICTURES, (".mat",))
    )
    table = pd.DataFrame(pictures, columns=["key", "subset"], dtype=str).assign(split="train")
    photograph = without_ending(table["key"]).str.replace(r"(?i)(_flip(?=/)|_\d+$)", "", regex=True)
    # AFW/ beside afw_flip/: still one photograph
    table["source"] = photograph.groupby(photograph.str.lower()).transform("first")
    subset = table["subset"]
    found = by_stem((key for key, _ in mats), ".mat")
    low, high = _HOPENET_K
    table["k"] = low + (high - low) * draw_uniform(table["key"], seed, "crop")
    published = {f"{name} on disk": SUBSETS[name.removesuffix("_Flip")] for name in folders}
    return source.finish(
        read_poses(table, source, found, crop=crop, sides=HOPENET_TRAIN, all_angles=all_angles),
        ["key", "split", *ANGLES, *BOX, "source"],
        published={"images on disk": sum(published.values()), **published},
        groups=[subset + " on disk", pd.Series("images on disk", subset.index)],
    )
