"""What every reader ends with: a checked sample table, and a report of what was found and dropped.

`table.attrs["report"]` is a plain dict:

    dropped    reason -> rows left out for it
    examples   reason -> where the first five of them are
    missing    keys of all rows that were left out because their image is not on the disk
    counts     what is counted ("train", "train/happy", ...) -> {"found": n, "published": m or None}
    unlabelled what is missing in rows that were kept -> rows ("gender: unsure")
    notes      sentences on what the reader decided (a split of our own, say)

Nothing here stops for a count that differs from the published one: copies differ, so both numbers
are reported. Ours.
"""

__all__ = [
    "NOT_ON_DISK", "TWO_LABELS", "WARNING", "Drops", "class_counts", "counts_table",
    "differences", "dropped_table", "finish_table", "map_labels", "map_numbers", "warned",
]  # fmt: skip

import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from hmtl.labels import odd_label

NOT_ON_DISK = "not on disk"
"""The reason to leave out a row whose image is missing."""
WARNING = "warning: "
"""How a note begins that says that scores on this table may be too good."""
TWO_LABELS = "one face with two labels"
"""The reason to leave out rows that contradict each other."""
_EXAMPLES = 5
_FEWEST = 20  # poses: fewer may all be frontal
_ANGLES = ("yaw", "pitch", "roll")
_PLACES = ("key", "path", "offset")


class Drops:
    """The rows a reader leaves out: how many for which reason, where the first five are; notes."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}
        self.missing: list[str] = []
        self.notes: list[str] = []

    def add(self, reason: str, places: Iterable[str]) -> None:
        """Count every place (a key, or a file and line) for `reason`; none leaves no trace."""
        places = list(places)
        if places:
            self.counts[reason] = self.counts.get(reason, 0) + len(places)
            kept = self.examples.setdefault(reason, [])
            kept += [str(place) for place in places[: _EXAMPLES - len(kept)]]
            if reason == NOT_ON_DISK:
                self.missing += places

    def filter(
        self, table: pd.DataFrame, bad: np.ndarray | pd.Series, reason: str, by: str = "key"
    ) -> pd.DataFrame:
        """Return the rows that are not `bad`, bool (N,); the others are named by column `by`.

        Without one, by the index of a list that was read: its file, without folders, and the line.
        """
        bad = np.asarray(bad, bool)
        out = table[bad]
        self.add(reason, out[by].astype(str) if by else map(os.path.basename, out.index))
        return table[~bad].copy()

    def drop_repeats(
        self, table: pd.DataFrame, labels: Sequence[str], by: Sequence[str] = ("key",),
        place: str = "key",
    ) -> pd.DataFrame:  # fmt: skip
        """Return one row for each picture, or face in one: rows alike in the columns `by`.

        A row that repeats another is counted. Where two of the rest differ in `labels`, nothing
        says which is right: both are dropped and counted. `place` is the `by` of `filter`.
        """
        again = table.duplicated([*by, *labels])
        table = self.filter(table, again, "repeated row", place)
        return self.filter(table, table.duplicated(list(by), keep=False), TWO_LABELS, place)


def map_labels(
    values: pd.Series, names: Mapping, field: str, known: Iterable | None = None, remedy: str = ""
) -> pd.Series:
    """Return the name of each value by `names`; a value that is not in it is never guessed.

    Args:
        values: Labels as a data set has them; the index says in which file and row each stands.
        names: Label -> this project's name.
        field: What the label is called.
        known: What an error lists; by default the keys of `names`.
        remedy: Ends an error; "{}" in it becomes the label.

    Raises:
        ValueError: With the place, the field, the value and the values that are known.
    """
    mapped = values.map(names)
    for place, value in values[mapped.isna()].items():
        shown = f"{value:g}" if isinstance(value, (int, float, np.number)) else repr(value)
        listed = ", ".join(str(name) for name in (names if known is None else known))
        end = remedy.replace("{}", str(value))
        raise ValueError(f"{place}, field {field}: {shown} is not known; one of {listed}{end}")
    return mapped


def map_numbers(values: pd.Series, field: str, limit: float = np.inf) -> pd.Series:
    """Return text as finite numbers from -`limit` to `limit`; ValueError, as `map_labels`, else."""
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    for place, text in values[~np.isfinite(numbers) | (numbers.abs() > limit)].items():
        within = f" from -{limit:g} to {limit:g}" if np.isfinite(limit) else ""
        raise ValueError(f"{place}, field {field}: {text!r} is no number{within}")
    return numbers


def finish_table(
    table: pd.DataFrame, drops: Drops, *, source: str, published: Mapping[str, int] | None = None,
    faces: Mapping[str, int] | None = None, groups: Iterable[pd.Series] = (),
    unlabelled: Mapping[str, int] | None = None, notes: Iterable[str] = (),
) -> pd.DataFrame:  # fmt: skip
    """Return `table`, rows numbered from 0, after checking it, with `attrs["report"]`.

    Found are counted: the rows of each split, of each split and emotion, of each split and gender,
    and of each value of the Series in `groups`, which may count rows dropped since. `faces` are the
    published counts of emotions where there are no splits. `source` names the folder or file in
    errors. Rows that share a key are dropped as by `Drops.drop_repeats`. Raises ValueError if no
    row is left (with what was dropped), or if a split, emotion, gender or angle is not one the
    project knows.
    """
    if table["key"].duplicated().any():  # such as the names 1.jpg and 1.png of one picture
        table = drops.drop_repeats(table, [c for c in table if c not in _PLACES])
    if table.empty:
        reasons = [
            f"{count} {reason}, such as {drops.examples[reason][0]}"
            for reason, count in drops.counts.items()
        ]
        why = f"no image is left; dropped: {'; '.join(reasons)}" if reasons else "it names no image"
        raise ValueError(f"{source}: {why}")
    if odd := odd_label(table):
        row, column = table.iloc[odd[0]], odd[1]
        raise ValueError(f"{source}: {row['key']}: unknown {column} {row[column]!r}")
    for column in (c for c in _ANGLES if c in table):
        if not np.isfinite(table[column].to_numpy(float)).all():
            raise ValueError(f"{source}: {column} must be a number of degrees in every row")
    notes = [*notes, *_shared_people(table), *_radians(table)]
    published = dict(published or {})
    if faces:
        published |= {f"faces/{name}": n for name, n in faces.items()}
        groups = ["faces/" + table["emotion"].astype(str), *groups]
    report = {
        "dropped": dict(drops.counts),
        "examples": {reason: list(places) for reason, places in drops.examples.items()},
        "missing": list(drops.missing),
        "counts": _compare(table, published, groups),
        "unlabelled": {what: int(count) for what, count in (unlabelled or {}).items() if count},
        "notes": notes,
    }
    table = table.reset_index(drop=True)
    table.attrs = {"report": report}
    return table


def _shared_people(table: pd.DataFrame) -> list[str]:
    """Return a warning if people of the test rows are in other splits too."""
    people, test = table.get("person", pd.Series(dtype=object)), table["split"] == "test"
    both = set(people[test].dropna()) & set(people[~test].dropna()) if len(people) else set()
    such = f"{WARNING}{len(both):,} of the people in test are in train or valid too, such as "
    return [f"{such}{min(both)}: scores are partly memory"] if both else []


def _radians(table: pd.DataFrame) -> list[str]:
    """Return a warning if head poses are so small that they may be radians."""
    angles = table[[c for c in _ANGLES if c in table]].to_numpy(float)
    if len(table) < _FEWEST or not 0 < np.abs(angles).max(initial=0) <= np.pi:
        return []
    return [f"{WARNING}all angles are within 3.15 degrees: if they are radians, convert them"]


def _compare(
    table: pd.DataFrame, published: Mapping[str, int], groups: Iterable[pd.Series]
) -> dict[str, dict[str, int | None]]:
    """Return found beside published: what is published first, then what only was found."""
    split = table["split"].astype(str)
    series = [split, *groups]
    series += [split + "/" + table[c].dropna() for c in ("emotion", "gender") if c in table]
    found: dict[str, int] = {"all": len(table)}
    for values in series:
        found |= {str(name): int(n) for name, n in values.value_counts(sort=False).items()}
    names = [*published, *(name for name in found if name not in published)]
    return {name: {"found": found.get(name, 0), "published": published.get(name)} for name in names}


def class_counts(split: str, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the published counts of a split, as `finish_table` takes them, of those by class."""
    of_class = {f"{split}/{name}": n for name, n in counts.items()}
    return {split: sum(counts.values()), **of_class}


def warned(report: Mapping) -> list[str]:
    """Return what the notes of a report warn of, without the word."""
    return [n.replace(WARNING, "", 1) for n in report.get("notes", []) if WARNING in n]


def differences(report: Mapping) -> list[str]:
    """Return a line for each count that is not the published one, with both numbers."""
    return [
        f"{name}: {count['found']:,} found, {count['published']:,} published"
        for name, count in report.get("counts", {}).items()
        if count["published"] is not None and count["found"] != count["published"]
    ]


def counts_table(report: Mapping) -> pd.DataFrame:
    """Return a row for each count, by its name: found, published ("" if unknown), difference."""
    rows = {name: (n["found"], n["published"]) for name, n in report["counts"].items()}
    told = {
        name: [f"{n:,}", *(("", "") if known is None else (f"{known:,}", f"{n - known:+,}"))]
        for name, (n, known) in rows.items()
    }
    columns = ["found", "published", "difference"]
    return pd.DataFrame.from_dict(told, "index", columns=columns).rename_axis("count")


def dropped_table(report: Mapping) -> pd.DataFrame:
    """Return a row for each reason to leave rows out: how many, and where the first one is."""
    reasons = report["dropped"]
    first = [report["examples"].get(reason, [""])[0] for reason in reasons]
    return pd.DataFrame({"reason": list(reasons), "rows": list(reasons.values()), "first": first})
