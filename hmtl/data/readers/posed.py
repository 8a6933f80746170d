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

from hmtl.data.readers.listing import base_names, without_ending
from hmtl.data.readers.people import JAFFE, KDEF
from hmtl.data.readers.source import Source

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
    source = Source(root)
    table = _read_names(source, KDEF, "AF01ANS.JPG")
    if frontal:
        table = source.filter(table, table["side"] != "S", "not frontal")
    table["gender"] = table["person"].str[0].map(_GENDERS)
    table = source.draw(table, shares, seed, by="gender", group="person")
    each = 140 if frontal else 700
    return source.finish(
        table,
        ["key", "split", "emotion", "gender", "person", "side"],
        published={"all": 7 * each, "people": 70},
        faces=dict.fromkeys(sorted(set(_CODES.values())), each),
        groups=[pd.Series("people", table["person"].unique())],
    )


def read_jaffe(
    root: str | Path, *, shares: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int = 0
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
    source = Source(root)
    table = _read_names(source, JAFFE, "KA.AN1.39.tiff")
    table = source.draw(table, shares, seed, group="person")
    return source.finish(
        table,
        ["key", "split", "emotion", "person"],
        published={"all": 213, "people": 10},
        faces=_JAFFE,
        groups=[pd.Series("people", table["person"].unique())],
    )


def _read_names(source: Source, form: str, example: str) -> pd.DataFrame:
    """Return `key`, `emotion` and what else a form finds in names."""
    table = pd.DataFrame({"key": source.files()}, dtype=str)
    names = base_names(table["key"]).str.upper()
    stems = without_ending(names)  # KA.AN1.39.tiff may lie there as .png too
    table = table.join(names.str.extract(f"^{form}")).assign(name=stems)
    if table["person"].isna().all():
        raise source.lacks(f"{example} ...")
    table = source.filter(table, table["person"].isna(), "name of another form")
    table = source.drop_repeats(table, ["emotion"], ["name"])
    return table.assign(emotion=table["emotion"].map(_CODES))
