"""What packing a data set found, as a dict for `report.json` and as text for people.

Beside the reader's own report (`hmtl.data.readers.report`: found and published counts, rows
dropped) it names every picture that is missing, bad, tiny, or turned by an EXIF orientation that
was not applied, and every group of duplicates, those across splits first. Ours.
"""

__all__ = ["TINY", "make_report", "no_run", "write_text"]

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from hmtl.data.photos import MISSING
from hmtl.data.readers.report import differences, warned
from hmtl.labels import SPLITS

TINY = 1 / 4  # of the pack's size: what is cut out of smaller pictures is mostly guessed
_SHOWN = 10  # of each list, in the text


def make_report(
    table: pd.DataFrame, reader: Mapping, notes: pd.DataFrame, groups: list[list[int]],
    dropped: list[int], settings: Mapping,
) -> dict:  # fmt: skip
    """Return the report of a pack as a plain dict.

    `reader` is the reader's own report, `notes` has a row a picture (`hmtl.data.photos.Note`),
    `groups` the rows of alike pictures, `dropped` the rows left out for that, `settings` what the
    pack was asked to be (`size` among it).
    """
    keys, splits = table["key"].to_numpy(), table["split"].to_numpy()
    bad = (notes["problem"] != "").to_numpy()
    used = ~bad
    used[dropped] = False
    missing = (notes["problem"] == MISSING).to_numpy()
    side, turned = notes["side"].to_numpy(), notes["turned"].to_numpy()
    small = ~bad & (side < settings["size"])
    tiny = small & (side < TINY * settings["size"])
    counts = {split: int((used & (splits == split)).sum()) for split in SPLITS}
    if empty := [split for split in ("train", "test") if not counts[split]]:
        reader = {**reader, "notes": [*reader.get("notes", []), no_run(settings["data"], empty)]}
    return {
        "settings": dict(settings),
        "warnings": [
            *warned(reader),
            *_leaks(keys, splits, groups, dropped),
            *_one_class(table[used & (splits == "train")]),
        ],  # fmt: skip
        "reader": dict(reader),
        "differences": differences(reader),
        "images": {
            "in the table": len(table),
            "packed": int(used.sum()),
            **counts,
            "enlarged": int(small.sum()),
        },
        "missing": [*reader.get("missing", []), *keys[missing]],
        "bad": dict(zip(keys[bad & ~missing], notes["problem"][bad & ~missing], strict=True)),
        "tiny": {k: f"{s} pixels" for k, s in zip(keys[tiny], side[tiny], strict=True)},
        "turned": {
            k: f"EXIF orientation {t}, not applied"
            for k, t in zip(keys[turned > 1], turned[turned > 1], strict=True)
        },
        "duplicates": _duplicates(table, groups) | {"dropped": list(keys[dropped])},
    }


def no_run(data: str, empty: Sequence[str]) -> str:
    """Return what a data set says that has no face in some splits, with the remedy."""
    drawn = "; leave split out of its columns, and shares are drawn" if data == "csv" else ""
    return f"no {' and no '.join(empty)} faces, so it makes no run{drawn}"


def _one_class(train: pd.DataFrame) -> list[str]:
    """Return a warning for each label of which the training faces have one class alone."""
    return [
        f"every training face is {train[name].dropna().iloc[0]}: no network learns {name} from one "
        "class"
        for name in ("emotion", "gender") if name in train and train[name].nunique() == 1
    ]  # fmt: skip


def _leaks(
    keys: np.ndarray, splits: np.ndarray, groups: list[list[int]], dropped: list[int]
) -> list[str]:
    """Return a warning if near-identical pictures, of those that are packed, lie in two splits."""
    out = set(dropped)
    left = [[row for row in group if row not in out] for group in groups]
    across = [group for group in left if len(set(splits[group])) > 1]
    if not across:
        return []
    test = sum(int((splits[group] == "test").sum()) for group in across)
    one = {splits[row]: keys[row] for row in across[0]}
    such = " = ".join(f"{split}: {key}" for split, key in one.items())
    return [
        f"{len(across):,} groups of near-identical pictures lie in two splits, with {test:,} test "
        f"pictures, such as {such}: scores are partly memory; --drop-duplicates leaves the others "
        "out, and frames of one recording belong in one split (--option person=PATTERN)"
    ]


def _duplicates(table: pd.DataFrame, groups: list[list[int]]) -> dict:
    """Return groups of keys ("train: happy/1.jpg"), and how many disagree on the emotion."""
    splits = table["split"].to_numpy()
    named = splits + ": " + table["key"].to_numpy(object)
    emotions = table["emotion"].to_numpy() if "emotion" in table else np.zeros(len(table))
    lists: dict[str, list] = {"across splits": [], "within a split": []}
    for group in groups:
        apart = len(set(splits[group])) > 1
        lists["across splits" if apart else "within a split"].append(list(named[group]))
    return lists | {"with two emotions": sum(len(set(emotions[group])) > 1 for group in groups)}


def write_text(report: Mapping) -> str:
    """Return the report for people: counts, and the first of every list."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Mapping) -> Iterator[str]:
    settings, images, duplicates = report["settings"], report["images"], report["duplicates"]
    yield f"{settings['data']} at {settings['size']} pixels"
    yield ", ".join(f"{count:,} {what}" for what, count in images.items())
    yield from _section("WARNINGS", report["warnings"], shown=len(report["warnings"]))
    yield from _section("Reader's notes", report["reader"].get("notes", []))
    counts = report["reader"].get("counts", {})
    yield from _section(
        "Counts: found, published",
        [
            f"{name}: {n['found']:,}, "
            f"{'unknown' if n['published'] is None else format(n['published'], ',')}"
            for name, n in counts.items()
        ],
        shown=len(counts),
    )
    yield from _section("Counts that differ", report["differences"], shown=len(counts))
    rows = report["reader"].get("dropped", {})
    yield from _section("Rows the reader left out", [f"{why}: {n:,}" for why, n in rows.items()])
    gaps = report["reader"].get("unlabelled", {})
    yield from _section("Rows without a label", [f"{why}: {n:,}" for why, n in gaps.items()])
    yield from _section("Missing on the disk", report["missing"])
    for title, what in (
        ("Cannot be read, left out", "bad"),
        (f"Tiny: below {TINY:g} of the size", "tiny"),
        ("Perhaps on their side", "turned"),
    ):
        yield from _section(title, [f"{key}: {why}" for key, why in report[what].items()])
    for where in ("across splits", "within a split"):
        groups = [" = ".join(group) for group in duplicates[where]]
        yield from _section(f"The same picture {where}", groups)
    yield ""
    yield f"groups of the same picture with two emotions: {duplicates['with two emotions']:,}"
    yield f"left out as duplicates: {len(duplicates['dropped']):,}"


def _section(title: str, lines: list[str], shown: int = _SHOWN) -> Iterator[str]:
    """Yield a heading with the number of lines, and the first of them; nothing if there is none."""
    if lines:
        yield ""
        yield f"{title} ({len(lines):,})"
        yield from (f"  {line}" for line in lines[:shown])
        if len(lines) > shown:
            yield "  ... (all of them in report.json)"
