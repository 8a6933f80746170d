"""Who is in a picture, by its name; splits that keep a person's pictures together. Ours.

Frames of one recording are all but copies, so a test face whose person also trains measures memory.
Names show people in many sets:

    S010_004_00000017.png           CK+: person, sequence, frame
    AF01ANS.JPG                     KDEF: session, person (F01), expression, side
    KA.AN1.39.tiff                  JAFFE: person, expression, number
    03-01-05-01-02-01-12.png        RAVDESS: the last of seven numbers is the actor
    Rafd090_01_..._angry_left.jpg   RaFD: camera, person
    01F_FE_O.BMP                    NimStim: person, expression, mouth
    CFD-BF-001-014-A.jpg            Chicago Face Database: group and person, picture, expression
    subject01.happy                 Yale: person, expression
    012_happy_3.png                 a number before the first underscore
    26_0_1_20170116174525125.jpg    UTKFace: an age, and nobody

Folders show them too, as in happy/S001/1.jpg; as they may be anything, they are only warned of.
"""

__all__ = ["JAFFE", "KDEF", "add_people", "draw_splits", "find_person", "name_people"]

import re
from collections.abc import Callable

import pandas as pd

from hmtl.data.readers.listing import base_names
from hmtl.data.readers.report import WARNING
from hmtl.data.readers.source import Source

KDEF = (
    r"[AB](?P<person>[FM]\d\d)(?P<emotion>A[FN]|DI|HA|NE|S[AU])(?P<side>F[LR]|H[LR]|S)(?![A-Z\d])"
)
JAFFE = r"(?P<person>[A-Z]{2})\.(?P<emotion>AN|DI|FE|HA|NE|S[AU])\d\.\d+"
_SETS = (
    r"(S\d{3})_\d{3}_\d+",
    KDEF,
    JAFFE,
    r"\d\d(?:-\d\d){5}-(\d\d)(?!\d)",
    r"Rafd\d{3}_(\d\d)_",
    r"(\d\d[FM])_[A-Z]{2}_[OCX]",
    r"CFD-([A-Z]{1,2}-\d{3})-",
    r"(subject\d\d)\.",
)
_NUMBER = r"([A-Za-z]{0,8}\d+)_"
_UTKFACE = r"\d{1,3}(_\d){1,2}_\d{14}"
_FOLDERS = (r"([^/]+)/[^/]*/[^/]*$", r"([^/]+)/[^/]*$")  # the last but one of a path, and the last
_FEWEST = 10  # groups: fewer numbers are more often classes or parts than people


def name_people(
    keys: pd.Series, person: str = "", labels: pd.Series | None = None
) -> tuple[pd.Series | None, list[str]]:
    """Return who is in each picture by its name, missing where a name does not say, and notes.

    Args:
        keys: Relative paths of pictures.
        person: A pattern whose first group, or whole match, is the person, looked for in the name,
            then in the path; "none" for nobody; "" for the forms above. A number before the first
            underscore counts if all names have one, each of them at least twice on average.
        labels: What is learned, of each picture: a folder of several labels may be a person.

    Returns:
        The people, or None if names show none, and what the report says of it.

    Raises:
        ValueError: A pattern that is none, or fits no name.
    """
    if person == "none":
        return None, []
    names = base_names(keys)
    if person:
        find = find_person(person)
        found = [find(n) or find(k) for n, k in zip(names, keys, strict=True)]
        who = pd.Series([m and m.group(min(1, m.re.groups)) for m in found], keys.index)
        if who.isna().all():
            raise ValueError(f"person={person!r} fits no name, such as {keys.iloc[0]!r}")
        return who, [f"{who.nunique():,} people by --option person={person}", *_unnamed(who, keys)]
    forms = [re.compile(form, re.IGNORECASE) for form in _SETS]
    found = [next((m for m in (f.match(n) for f in forms) if m), None) for n in names]
    who = pd.Series([m and m.group(1).upper() for m in found], keys.index, dtype=object)
    note = "{:,} people by their names, such as {} in {}; --option person=none if they are not"
    warned: list[str] = []
    if who.isna().all():
        warned = _warn_of_folders(keys, labels)
        who = names.str.extract(rf"^{_NUMBER}")[0].mask(names.str.match(_UTKFACE))
        groups = who.nunique()
        if who.isna().any() or groups < 2 or 2 * groups > len(who):
            return None, warned
        if groups < _FEWEST:
            text = f"names begin with {groups} numbers, such as {who.iloc[0]}: if they are people, "
            remedy = f"say so by --option person='{_NUMBER}', else person=none"
            return None, [*warned, f"{WARNING}{text}{remedy}"]
    first = who.first_valid_index()
    said = note.format(who.nunique(), who[first], names[first])
    return who, [said, *_unnamed(who, keys), *warned]


def _unnamed(who: pd.Series, keys: pd.Series) -> list[str]:
    """Return a warning where some pictures do not say who is in them."""
    if (lost := keys[who.isna()]).empty:
        return []
    return [
        f"{WARNING}{len(lost):,} names such as {lost.iloc[0]} show nobody: if they are of the same "
        "people, say how by --option person"
    ]


def _warn_of_folders(keys: pd.Series, labels: pd.Series | None) -> list[str]:
    """Return a warning where pictures lie in folders that may be people, as they are no classes.

    Most of these hold several labels, or there are more than three of them a label. Of folders in
    such folders the outer ones are named.
    """
    if labels is None:
        return []
    for form in _FOLDERS:
        held = labels.groupby(keys.str.extract(form)[0]).nunique()
        classes = (held > 1).mean() <= 0.5 and len(held) <= 3 * labels.nunique()
        if len(held) > 1 and 2 * len(held) <= len(keys) and not classes:
            text = f"pictures lie in {len(held):,} folders such as {held.index[0]}: if they are "
            return [f"{WARNING}{text}people, say so by --option person='{form}', else person=none"]
    return []


def find_person(person: str) -> Callable[[str], re.Match | None]:
    """Return what looks for a pattern in a text; ValueError if it is none."""
    try:
        return re.compile(person).search
    except re.error as error:
        raise ValueError(f"person={person!r} is no pattern: {error}") from None


def add_people(
    table: pd.DataFrame, person: str = "", labels: pd.Series | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with a column `person` by `name_people`, if it has none, and notes.

    Where names show nobody there is none. A pattern `person` goes before a column.
    """
    if "person" in table and not person:
        return table, []
    who, notes = name_people(table["key"], person, labels)
    return table if who is None else table.assign(person=who), notes


def draw_splits(
    table: pd.DataFrame,
    source: Source,
    shares: tuple[float, float, float],
    seed: int,
    by: str,
    person: str = "",
) -> pd.DataFrame:
    """Return the table with a split for training and one for tests; notes on both go to `source`.

    Where names show people, a column `person` says whom (`add_people`). A table that is all train
    is split by `seed`: whole people, else class by class of the column `by` if it has one. A table
    without test rows is tested on its valid rows.
    """
    drawn = (splits := set(table["split"])) <= {"train"}
    labels = table[by] if by in table else pd.Series(0, table.index)
    table, notes = add_people(table, person, labels if drawn else None)
    if drawn:
        how = {"group": "person"} if "person" in table else {"by": by if by in table else None}
        table = source.draw(table, shares, seed, **how)
    elif "test" not in splits:
        table = source.test_on_valid(table)
    source.notes += notes
    return table
