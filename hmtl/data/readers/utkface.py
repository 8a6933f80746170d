"""UTKFace: 23,708 aligned faces of 200x200 whose names say age, gender and race.

On disk (Zhang, Song, Qi, CVPR 2017): `UTKFace/[age]_[gender]_[race]_[date and time].jpg.chip.jpg`.
A few published names lack the race or a dot; their gender can be read all the same.
"""

__all__ = ["read_utkface"]

from pathlib import Path

import numpy as np
import pandas as pd

from hmtl.data.readers.listing import find_root, list_files, with_paths
from hmtl.data.readers.report import Drops, finish_table, map_labels
from hmtl.data.readers.splits import seeded_split

RACES = ("white", "black", "asian", "indian", "other")  # 0 to 4
_NAME = r"^(?P<age>\d{1,3})_(?P<gender>\d)_(?:(?P<race>\d)_)?\d{14,17}\D*$"
_GENDERS = {"0": "male", "1": "female"}


def read_utkface(
    root: str | Path,
    *,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> pd.DataFrame:
    """Return UTKFace: `key` ("26_1_3_20170119171116264.jpg.chip.jpg"), `path`, `split`, `gender`,
    `age` (years) and `race` (missing where the name lacks it; counted).

    There is no official split: `shares` (train, valid, test) are split by `seed`, women and men
    apart. Who is in a picture is not known, so one person may be in two splits.

    `root` is the folder of the images or its parent: where copies ship other folders beside UTKFace
    with the same images, those are not read. Dropped and counted: names of another form. Raises
    FileNotFoundError for a wrong root, ValueError naming a file whose gender is not 0 or 1 or whose
    race is not 0..4.
    """
    root = _find(Path(root))
    drops = Drops()
    table = pd.DataFrame({"key": list_files(root, deep=False)}, dtype=str)
    table = table.join(table["key"].str.extract(_NAME))
    table = drops.filter(table, table["gender"].isna(), "malformed name")

    def where(i: int) -> str:
        return f"{root / table['key'].iloc[i]}"

    table["gender"] = map_labels(table["gender"], _GENDERS, where, "gender")
    races = {str(i): name for i, name in enumerate(RACES)} | {"": ""}
    table["race"] = map_labels(table["race"].fillna(""), races, where, "race").replace("", np.nan)
    table["age"] = table["age"].astype(int)
    table["split"] = seeded_split(table, shares, seed=seed, by="gender")
    return finish_table(
        with_paths(table[["key", "split", "gender", "age", "race"]], root),
        drops,
        source=str(root),
        published={"all": 23_708},
        unlabelled={"race: not in the name": int(table["race"].isna().sum())},
        notes=[f"no official split: {shares} drawn by seed {seed}"],
    )


def _find(root: Path) -> Path:
    """Return the folder of the images: `root`, or UTKFace in it."""
    if root.is_dir() and any(root.glob("*_*.jpg")):
        return root.resolve()
    return find_root(root, ["UTKFace"], expected="26_1_3_...jpg.chip.jpg or UTKFace/") / "UTKFace"
