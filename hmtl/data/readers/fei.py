"""FEI face database: 200 students and staff, 14 pictures each (Thomaz, Giraldi, 2010).

On disk, in folders of any name (the archives' are fine):

    1-01.jpg ... 200-14.jpg     640x480: 01 to 10 from left to right profile, 11 frontal and
                                neutral, 14 in low light
    1a.jpg, 1b.jpg              the frontal sets: a neutral, b smiling

**No gender is shipped.** Write down the gender of the 200 subjects yourself as `fei_gender.csv`:

    subject,gender
    1,male
"""

__all__ = ["read_fei"]

import re
from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import find_lists
from hmtl.data.readers.names import GENDER_WORDS, name_labels
from hmtl.data.readers.source import Source
from hmtl.labels import check_known

GENDERS = "fei_gender.csv"
_SUBJECTS = 200  # 100 women and 100 men
_FORMS = {"original": r"(\d{1,3})-(\d\d)\.\w+", "frontal": r"(\d{1,3})([abAB])\.\w+"}
_PUBLISHED = {"original": 2_800, "frontal": 400}


def read_fei(
    root: str | Path,
    *,
    genders: str | Path | None = None,
    images: str = "original",
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> pd.DataFrame:
    """Return FEI: `key` ("originalimages_part1/1-11.jpg"), `path`, `split`, `gender`, `person`
    ("001") and `shot` ("01" to "14", or "a" and "b").

    `genders` is the user's csv, by default `fei_gender.csv` in `root`. `images` is "original" or
    "frontal"; of several versions of the frontal set, pass the folder of one. There is no official
    split: *subjects*, women and men apart, are split by `shares` and `seed`, so nobody is in two.

    The report has how many women and men there are beside the published 100 and 100. Dropped and
    counted: images of subjects who are not in the csv or have two genders there, repeated rows,
    names of another form. Raises FileNotFoundError without images or csv; ValueError, naming file
    and line, for a csv with another header, a subject that is not 1..200, or a gender that is not
    known.
    """
    check_known(f"images={images!r}:", images, _FORMS)
    source = Source(root)
    files = source.files()
    parts = [(f, re.fullmatch(_FORMS[images], f.rpartition("/")[2])) for f in files]
    rows = [(f, int(m[1]), m[2].lower()) for f, m in parts if m]
    if not rows:
        example = "1-01.jpg" if images == "original" else "1a.jpg"
        raise source.lacks(f"{example} ...")
    places = [genders] if genders else find_lists(source.root, GENDERS)
    of_subject = _read_genders(Path(places[0] if places else source.root / GENDERS), source)
    either = "|".join(_FORMS.values())
    odd = [f for f in files if not re.fullmatch(either, f.rpartition("/")[2])]
    source.add("name of another form", odd)
    table = pd.DataFrame(rows, columns=["key", "subject", "shot"]).sort_values(
        ["subject", "shot", "key"]
    )
    table["gender"] = table["subject"].map(of_subject)
    table = source.filter(table, table["gender"].isna(), "subject without a gender in the csv")
    table["person"] = table["subject"].astype(str).str.zfill(3)
    table = source.draw(table, shares, seed, by="gender", group="person")
    subjects = table.drop_duplicates("person")["gender"]
    half = _SUBJECTS // 2
    return source.finish(
        table,
        ["key", "split", "gender", "person", "shot"],
        published={"all": _PUBLISHED[images], "subjects/female": half, "subjects/male": half},
        groups=["subjects/" + subjects.astype(str)],
        notes=[f"gender is the user's own, from {GENDERS}; FEI ships none"],
    )


def _read_genders(file: Path, source: Source) -> pd.Series:
    """Return subject -> gender of the user's csv."""
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: expected a csv with the header subject,gender; FEI ships no gender, so label "
            f"the {_SUBJECTS} subjects yourself"
        )
    header, rows = source.rows(
        file, lambda names: [name.lower() for name in names] == ["subject", "gender"]
    )
    if not header and not (rows and rows[0][1][0].strip().isdecimal()):
        raise ValueError(f"{file} line 1: expected the header subject,gender")
    said = {}
    for line, fields in rows:
        place, subject = f"{file} line {line}", fields[0].strip()
        if len(fields) != 2 or not subject.isdecimal() or not 1 <= int(subject) <= _SUBJECTS:
            raise ValueError(
                f"{place}: {','.join(fields)!r} is not a subject from 1 to {_SUBJECTS} and a gender"
            )
        said[place] = (int(subject), fields[1])
    table = pd.DataFrame.from_dict(said, "index", columns=["subject", "gender"])
    table["gender"] = name_labels(table["gender"], "gender", words=GENDER_WORDS)
    return source.drop_repeats(table, ["gender"], ["subject"], "").set_index("subject")["gender"]
