"""UTKFace: 23,708 aligned faces of 200x200 whose names say age, gender and race.

On disk (Zhang, Song, Qi, CVPR 2017): `UTKFace/[age]_[gender]_[race]_[date and time].jpg.chip.jpg`,
or the same in `crop_part1` (9,780), or not cropped in `part1`, `part2`, `part3`. A few published
names lack a dot, which does no harm; others have two numbers before the date. Which of gender and
race is the second is open (61_3_20170109150557335 has no gender 3), so both are missing.
"""

__all__ = ["read_utkface"]

import os
import re
from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import base_names, list_files, locate
from hmtl.data.readers.source import Source

RACES = ("white", "black", "asian", "indian", "other")  # 0 to 4
_NAME = r"^(?P<age>\d{1,3})_(?:(?P<gender>\d)_(?P<race>\d)|\d)_\d{14,17}\D*$"
_BEGINS = re.compile(r"\d{1,3}_\d_.*\.(jpe?g|png)$", re.IGNORECASE)
_GENDERS = {"0": "male", "1": "female"}
_COUNTS = {"utkface": 23_708, "crop_part1": 9_780}


def read_utkface(
    root: str | Path, *, shares: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int = 0
) -> pd.DataFrame:
    """Return UTKFace: `key` ("26_1_3_20170119171116264.jpg.chip.jpg"), `path`, `split`, `gender`,
    `age` (years) and `race`; both are missing where the name does not say them (counted).

    There is no official split: `shares` (train, valid, test) are split by `seed`, women and men
    apart. Who is in a picture is not known, so one person may be in two splits. Dropped and
    counted: names of another form.

    Args:
        root: The folder of the images, or one around it. Where several are there, UTKFace is read
            alone, else crop_part1, which repeats pictures of it, else part1 to part3 together.
        shares: Of train, valid and test.
        seed: Of the draw.

    Returns:
        The sample table.

    Raises:
        FileNotFoundError: A wrong root.
        ValueError: Several folders of other names.
    """
    root, folders = _find(Path(root))
    keys = [
        key
        for name in folders
        for key in list_files(root / name, deep=False, prefix=f"{name}/" * (len(folders) > 1))
    ]
    source = Source(root / folders[0] if len(folders) == 1 else root)
    table = pd.DataFrame({"key": keys}, dtype=str)
    said = base_names(table["key"]).str.extract(_NAME)
    table = source.filter(table.join(said), said["age"].isna(), "malformed name")
    table["gender"] = table["gender"].map(_GENDERS)
    table["race"] = table["race"].map({str(i): name for i, name in enumerate(RACES)})
    table["age"] = table["age"].astype(int)
    table = source.draw(table, shares, seed, by="gender")
    return source.finish(
        table,
        ["key", "split", "gender", "age", "race"],
        published={"all": _COUNTS.get(source.root.name.lower(), 23_708)},
        unlabelled={
            f"{c}: not in the name": int(table[c].isna().sum()) for c in ("gender", "race")
        },
    )


def _find(root: Path) -> tuple[Path, list[str]]:
    """Return the folder around the images' folders, and which of those to read."""

    def fits(folder: Path) -> bool:
        return any(_BEGINS.match(name) for name in os.listdir(folder))

    places = locate(root, fits)
    found = {folder.name.lower(): folder for folder in places}
    known = {"utkface", "crop_part1", "part1", "part2", "part3"} & set(found)
    if len(places) > 1 and (not known or len(found) < len(places)):
        several = ", ".join(folder.relative_to(root).as_posix() for folder in places)
        raise ValueError(
            f"{root}: {several} all hold pictures of the set; put them into one folder, or pass "
            "one of them"
        )
    for names in (["utkface"], ["crop_part1"], ["part1", "part2", "part3"], list(found)):
        if read := [found[name] for name in names if name in found]:
            around = Path(os.path.commonpath([folder.parent for folder in read]))
            return around, [folder.relative_to(around).as_posix() for folder in read]
    raise Source(root).lacks("26_1_3_...jpg.chip.jpg or UTKFace/")
