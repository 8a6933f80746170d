"""KDEF and JAFFE: posed expressions, whose names say person and emotion.

    KDEF/AF01/AF01ANS.JPG   562x762; session A or B, person F01 to F35 and M01 to M35, emotion, side
                            (FL, HL, S, HR, FR: full left to full right): 4,900 pictures of 70
                            people (Lundqvist, Flykt, Ohman, 1998)
    KA.AN1.39.tiff          256x256 grey; person, emotion and number: 213 pictures of ten women
                            (Lyons et al., 1998)

Both as shipped, in folders of any name.
"""

__all__ = ["read_jaffe", "read_kdef"]

from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import (
    base_names,
    describe,
    list_files,
    with_paths,
    without_ending,
)
from hmtl.data.readers.people import JAFFE, KDEF
from hmtl.data.readers.report import Drops, drop_repeats, finish_table
from hmtl.data.readers.splits import seeded_split

_CODES = {"AF": "fear", "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happy",
          "NE": "neutral", "SA": "sad", "SU": "surprise"}  # fmt: skip
_GENDERS = {"F": "female", "M": "male"}
_JAFFE = {"anger": 30, "disgust": 29, "fear": 32, "happy": 31, "neutral": 30, "sad": 31,
          "surprise": 30}  # fmt: skip


def read_kdef(
    root: str | Path,
    *,
    frontal: bool = False,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> pd.DataFrame:
    """Return KDEF: `key`, `path`, `split`, `emotion`, `gender`, `person` ("F01"), `side`.

    There is no official split: whole people, women and men apart, are split. Dropped and counted:
    names of another form, a picture that is there twice.

    Args:
        root: The folder of the pictures, or any around it.
        frontal: Read side S alone, 980 pictures.
        shares: Of train, valid and test.
        seed: Of the draw.

    Returns:
        The sample table.

    Raises:
        FileNotFoundError: No picture has such a name.
    """
    table, drops = _read_names(Path(root), KDEF, "AF01ANS.JPG")
    if frontal:
        table = drops.filter(table, table["side"] != "S", "not frontal")
    table["gender"] = table["person"].str[0].map(_GENDERS)
    table["split"] = seeded_split(table, shares, seed=seed, by="gender", group="person")
    columns = ["key", "path", "split", "emotion", "gender", "person", "side"]
    each = 140 if frontal else 700
    return finish_table(
        table[columns],
        drops,
        source=str(root),
        published={"all": 7 * each, "people": 70}
        | {f"faces/{name}": each for name in sorted(set(_CODES.values()))},
        groups=_groups(table),
        notes=[f"no official split: {shares} of whole people drawn by seed {seed}"],
    )


def read_jaffe(
    root: str | Path,
    *,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> pd.DataFrame:
    """Return JAFFE: `key` ("KA.AN1.39.tiff"), `path`, `split`, `emotion`, `person` ("KA").

    There is no official split: whole people are split. Dropped and counted: names of another form,
    a picture that is there twice.

    Args:
        root: The folder of the pictures, or any around it.
        shares: Of train, valid and test.
        seed: Of the draw.

    Returns:
        The sample table.

    Raises:
        FileNotFoundError: No picture has such a name.
    """
    table, drops = _read_names(Path(root), JAFFE, "KA.AN1.39.tiff")
    table["split"] = seeded_split(table, shares, seed=seed, group="person")
    return finish_table(
        table[["key", "path", "split", "emotion", "person"]],
        drops,
        source=str(root),
        published={"all": 213, "people": 10} | {f"faces/{name}": n for name, n in _JAFFE.items()},
        groups=_groups(table),
        notes=[f"no official split: {shares} of whole people drawn by seed {seed}"],
    )


def _groups(table: pd.DataFrame) -> list[pd.Series]:
    people = table.drop_duplicates("person")
    return ["faces/" + table["emotion"].astype(str), pd.Series("people", people.index)]


def _read_names(root: Path, form: str, example: str) -> tuple[pd.DataFrame, Drops]:
    """Return `key`, `path`, `emotion` and what else a form finds in names, and what was dropped."""
    root, drops = root.resolve(), Drops()
    keys = list_files(root) if root.is_dir() else []
    table = pd.DataFrame({"key": keys}, dtype=str)
    names = base_names(table["key"]).str.upper()
    stems = without_ending(names)  # KA.AN1.39.tiff may lie there as .png too
    table = table.join(names.str.extract(f"^{form}")).assign(name=stems)
    if table["person"].isna().all():
        raise FileNotFoundError(f"{root}: expected {example} ... in it, but {describe(root)}")
    table = drops.filter(table, table["person"].isna(), "name of another form")
    table = drop_repeats(table, drops, ["emotion"], ["name"])
    table["emotion"] = table["emotion"].map(_CODES)
    return with_paths(table, root), drops
