"""Who is in a picture, by its name; splits that keep a person's pictures together. Ours.

Frames of one recording are all but copies, so a test face whose person also trains measures memory.
Names show people in many sets:

    S010_004_00000017.png           CK+: person, sequence, frame
    AF01ANS.JPG                     KDEF: session, person (F01), expression, side
    KA.AN1.39.tiff                  JAFFE: person, expression, number
    03-01-05-01-02-01-12.png        RAVDESS: the last of seven numbers is the actor
    012_happy_3.png                 a number before the first underscore
"""

__all__ = ["JAFFE", "KDEF", "draw_splits", "name_people"]

import re

import pandas as pd

from hmtl.data.readers.listing import base_names
from hmtl.data.readers.report import WARNING
from hmtl.data.readers.source import Source

KDEF = r"[AB](?P<person>[FM]\d\d)(?P<emotion>A[FN]|DI|HA|NE|S[AU])(?P<side>F[LR]|H[LR]|S)\b"
JAFFE = r"(?P<person>[A-Z]{2})\.(?P<emotion>AN|DI|FE|HA|NE|S[AU])\d\.\d+"
_SETS = (r"(S\d{3})_\d{3}_\d+", KDEF, JAFFE, r"\d\d(?:-\d\d){5}-(\d\d)\b")
_NUMBER = r"([A-Za-z]{0,8}\d+)_"
_FEWEST = 10  # groups: fewer numbers are more often classes or parts than people


def name_people(keys: pd.Series, person: str = "") -> tuple[pd.Series | None, list[str]]:
    """Return who is in each picture by its name, missing where a name does not say, and notes.

    Args:
        keys: Relative paths of pictures.
        person: A pattern whose first group, or whole match, is the person, looked for in the name,
            then in the path; "none" for nobody; "" for the forms above. A number before the first
            underscore counts if all names have one, each of them at least twice on average.

    Returns:
        The people, or None if names show none, and what the report says of it.

    Raises:
        ValueError: A pattern that is none, or fits no name.
    """
    if person == "none":
        return None, []
    names = base_names(keys)
    if person:
        try:
            form = re.compile(person)
        except re.error as error:
            raise ValueError(f"person={person!r} is no pattern: {error}") from None
        found = [form.search(n) or form.search(k) for n, k in zip(names, keys, strict=True)]
        who = pd.Series([m and m.group(min(1, form.groups)) for m in found], keys.index)
        if who.isna().all():
            raise ValueError(f"person={person!r} fits no name, such as {keys.iloc[0]!r}")
        return who, [f"{who.nunique():,} people by --option person={person}"]
    forms = [re.compile(form, re.IGNORECASE) for form in _SETS]
    found = [next((m for m in (f.match(n) for f in forms) if m), None) for n in names]
    who = pd.Series([m and m.group(1).upper() for m in found], keys.index, dtype=object)
    note = "{:,} people by their names, such as {} in {}; --option person=none if they are not"
    if who.isna().all():
        who = names.str.extract(rf"^{_NUMBER}")[0]
        groups = who.nunique()
        if who.isna().any() or groups < 2 or 2 * groups > len(who):
            return None, []
        if groups < _FEWEST:
            text = f"names begin with {groups} numbers, such as {who.iloc[0]}: if they are people, "
            return None, [f"{WARNING}{text}say so by --option person='{_NUMBER}', else person=none"]
    first = who.first_valid_index()
    return who, [note.format(who.nunique(), who[first], names[first])]


def draw_splits(
    table: pd.DataFrame,
    source: Source,
    shares: tuple[float, float, float],
    seed: int,
    by: str,
    person: str = "",
) -> pd.DataFrame:
    """Return the table with a split for training and one for tests; notes on both go to `source`.

    Where names show people (`name_people`), a column `person` says whom. A table that is all train
    is split by `seed`: whole people, else class by class of the column `by`. A table without test
    rows is tested on its valid rows.
    """
    who, notes = name_people(table["key"], person)
    if who is not None:
        table = table.assign(person=who)
    if (splits := set(table["split"])) <= {"train"}:
        how = {"by": by} if who is None else {"group": "person"}
        table = source.draw(table, shares, seed, **how)
    elif "test" not in splits:
        table = source.test_on_valid(table)
    source.notes += notes
    return table
