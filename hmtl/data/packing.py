"""A data set on the disk -> a pack of its faces: `python -m hmtl pack`.

The reader says which pictures there are; `hmtl.data.photos` cuts and resizes each. The pack grows
part by part, so memory stays flat, a killed call is taken up where it was, and the result has the
same bits for any number of processes. Pictures that cannot be read are left out; in the folder of
the pack, `report.json` and `report.txt` say which, and what else was found.

A set without valid rows gets some: `VALID_SHARE` of its training groups, drawn by a seed (see
`hold_out_valid`). A pack is known by the reader's table, the names, sizes and times of change of
the files, and the options; contents of image files are not read for that, since 300,000 of them
take as long to hash as to pack. Ours.
"""

__all__ = [
    "GREY_SETS", "MAX_BAD", "VALID_SHARE", "BadImages", "fingerprint", "hold_out_valid",
    "pack_photos", "parse_options", "read_set", "split_options", "write_options",
]  # fmt: skip

import hashlib
import inspect
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from hmtl import files
from hmtl.data.duplicates import find_groups
from hmtl.data.pack import GrowingPack, Pack
from hmtl.data.pack_report import make_report, write_text
from hmtl.data.photos import EXIF, FITS, Note, PhotoTask, read_photos
from hmtl.data.readers import READERS
from hmtl.data.readers.crops import BOX
from hmtl.data.readers.protocols import SOURCES
from hmtl.data.readers.splits import hold_out, picture_of
from hmtl.labels import SPLITS, check_known, hint
from hmtl.workers import cores, map_in_order

GREY_SETS = ("fer2013", "ferplus", "ferplus-csv")
"""Sets whose pictures are grey, and so are their packs; all others are packed in colour."""
VALID_SHARE = 0.05  # of the training groups of a set without valid rows
MAX_BAD = 0.05  # share of pictures that may be unreadable
_VERSION = 1  # raise when the same files give other pixels
_STEP = 128  # pictures a part: 8 MB at 144 pixels
_NAMED = 20  # bad pictures an error names
_NOT_LABELS = ["path", "offset", *BOX]  # of the file, not of the face that was cut out


class BadImages(ValueError):
    """Too many pictures that cannot be read; the message names them and why."""


def read_set(
    data: str, root: str | Path, options: Mapping | None = None, *, valid: float = VALID_SHARE,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Return the sample table of a data set or protocol by its name, valid rows held out.

    `options` go to the reader, `valid` and `seed` to `hold_out_valid`, unless the protocol says
    that models are chosen on the test images. Raises ValueError for an unknown name or option;
    beyond that as the reader.
    """
    reader, root = _find_reader(data), os.path.expanduser(root)
    known = _parameters(reader)
    for name in options or {}:
        _check_option(data, name, known, "its options are")
    try:
        inspect.signature(reader).bind(root, **(options or {}))
    except TypeError as error:
        its = ", ".join(known) or "none"
        raise ValueError(f"{data}: {error}; its options are {its}") from None
    table = reader(root, **(options or {}))
    if table.attrs.get("protocol", {}).get("chosen_on") == "test":
        return table
    return hold_out_valid(table, valid, seed)


def _find_reader(data: str) -> Callable[..., pd.DataFrame]:
    check_known(f"unknown data set {data!r};", data, SOURCES)
    return SOURCES[data]


def _parameters(reader: Callable) -> dict[str, inspect.Parameter]:
    """Return the options of a reader by name; those it passes on are the folder copies'."""
    found = dict(inspect.signature(reader).parameters)
    if any(p.kind is p.VAR_KEYWORD for p in found.values()):
        found |= inspect.signature(READERS["affectnet-folders"]).parameters
    return {n: p for n, p in found.items() if p.kind is p.KEYWORD_ONLY}


def _check_option(data: str, name: str, known: Collection[str], has: str) -> None:
    if name not in known:
        near = f"; {hint(name, known)}".rstrip("; ")
        all_names = ", ".join(known) or "none"
        raise ValueError(f"{data} has no option {name!r}; {has} {all_names}{near}")


def split_options(data: str) -> tuple[str, list[list[str]]]:
    """Split "affectnet:classes=7" into a name and options as `parse_options` takes them."""
    name, _, said = data.partition(":")
    given = [item.partition("=") for item in re.split(r",(?=\w+(?:=|$))", said) if said]
    if any(not equals for _, equals, _ in given):
        raise ValueError(f"data={data!r}: options are NAME=VALUE with commas between them")
    known = _parameters(SOURCES[name]) if name in SOURCES else {}
    several = {n for n, p in known.items() if re.search("Mapping|tuple", str(p.annotation))}
    return name, [
        [option, *(text.split("+") if option in several else [text])] for option, _, text in given
    ]


def parse_options(data: str, given: Sequence[Sequence[str]]) -> dict:
    """Return a reader's options out of texts: [["classes", "7"], ["columns", "path=image"]].

    A name and its first value may be one text, "classes=7". A mapping is one or more `KEY=VALUE`
    (`OUTER:KEY=VALUE` where a mapping holds mappings), several numbers make a tuple, true and false
    are themselves. Raises ValueError for an unknown reader or option, or a text that cannot be what
    the option is.
    """
    known = _parameters(_find_reader(data))
    options = {}
    for name, *texts in given:
        name, equals, text = name.partition("=")
        texts = [text, *texts] if equals else texts
        _check_option(data, name, known, "it has")
        kind = str(known[name].annotation)
        try:
            options[name] = _parse(texts, kind)
        except ValueError as error:
            raise ValueError(f"option {name} {' '.join(texts)}: {error}") from None
    return options


def write_options(data: str, options: Mapping) -> list[str]:
    """Return options as NAME=VALUE, sorted, those at the reader's defaults left out.

    Several values of one option are joined by "+"; the inverse of `parse_options`.
    """
    known = _parameters(_find_reader(data))
    said = {n: v for n, v in options.items() if n not in known or known[n].default != v}
    return [f"{name}={'+'.join(_write(value))}" for name, value in sorted(said.items())]


def _write(value) -> list[str]:
    if isinstance(value, Mapping):
        rows = ((k, v if isinstance(v, Mapping) else {"": v}) for k, v in value.items())
        return [f"{k}:{i}={v}" if i else f"{k}={v}" for k, inner in rows for i, v in inner.items()]
    if isinstance(value, tuple):
        return [f"{number:g}" for number in value]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def _parse(texts: list[str], kind: str):
    if "Mapping" in kind:
        mapping: dict = {}
        for key, equals, value in (text.partition("=") for text in texts):
            if not equals:
                raise ValueError(f"{key!r} is not KEY=VALUE")
            outer, colon, inner = key.partition(":")
            within = mapping.setdefault(outer, {}) if colon else mapping
            if not isinstance(within, dict):
                raise ValueError(
                    f"{outer!r} has a value already, and {key!r} asks for others in it"
                )
            within[inner if colon else key] = value
        return mapping
    if "tuple" in kind:
        return tuple(float(text) for text in texts)
    if len(texts) != 1:
        raise ValueError("one value is needed")
    (text,) = texts
    if "bool" in kind:
        if text.lower() not in ("true", "false"):
            raise ValueError("true or false is needed")
        return text.lower() == "true"
    number = next((number for number in (int, float) if number.__name__ in kind), str)
    return number(text)


def hold_out_valid(table: pd.DataFrame, share: float = VALID_SHARE, seed: int = 0) -> pd.DataFrame:
    """Return a sample table with `share` of its training groups made valid, if none is valid yet.

    Groups are people where the set knows them, else photographs (column `source`), else images;
    shares hold in each emotion, else in each gender, unless groups are people, who have several
    emotions. At least one group becomes valid, if there are two. A share of 0, or a table without
    training rows, changes nothing. A note in `attrs["report"]` says what was done.
    """
    if not 0 <= share < 1:
        raise ValueError(f"valid={share!r}: a share from 0 (none) to below 1")
    train = table[table["split"] == "train"]
    if share == 0 or train.empty or (table["split"] == "valid").any():
        return table
    group = next((c for c in ("person", "source") if c in table), "key")
    by = next((c for c in ("emotion", "gender") if c in table), None)
    if group == "person" and by == "emotion":
        by = "gender" if "gender" in table else None
    held = hold_out(table, share, seed=seed, by=by, group=group)
    if not (held["split"] == "valid").any():  # too few in every class to round to one
        groups = picture_of(train[group]) if group == "key" else train[group]
        by, share = None, max(share, 1 / max(1, groups.nunique()))
        if share == 1:  # one group, and it must train
            return table
        held = hold_out(table, share, seed=seed, group=group)
    report = dict(table.attrs["report"])
    each = f", the same share of each {by}" if by else ""
    note = f"no valid rows: {share:g} of the training rows (by {group}{each}) drawn by seed {seed}"
    held.attrs = {**table.attrs, "report": report | {"notes": [*report["notes"], note]}}
    return held


def fingerprint(table: pd.DataFrame) -> str:
    """Return a hash of a sample table and of the names, sizes and times of its files.

    Folders above the root do not count, so a set that was moved is still the same.
    """
    digest = hashlib.sha256()
    rows = table.drop(columns="path")
    rows.attrs = {}  # pandas would copy them with every slice
    for start in range(0, len(rows), 4096):
        digest.update(rows[start : start + 4096].to_csv(index=False).encode("utf-8", "replace"))
    for path in table["path"].unique():
        try:
            state = os.stat(path)
            digest.update(f"{state.st_size} {state.st_mtime_ns}|".encode())
        except OSError:
            digest.update(b"none|")
    return digest.hexdigest()[:16]


def pack_photos(
    table: pd.DataFrame, path: str | Path, size: int, *, data: str, options: Mapping | None = None,
    grey: bool | None = None, fit: str = "cover", exif: str = "auto", max_bad: float = MAX_BAD,
    drop_duplicates: bool = False, workers: int | None = None, progress: bool | None = None,
) -> Pack:  # fmt: skip
    """Pack the pictures of a sample table at `size` pixels, and open the pack.

    `data` is the name of its reader, `options` what it was given (both for the record). `grey` is
    by default what the set is; `fit` and `exif` are those of `hmtl.data.photos`. `workers` are
    processes (None: one a core, fewer for few pictures). Labels are the table's columns without the
    file's (path, offset, box).

    Pictures that cannot be read are left out, unless they are more than `max_bad` of all: then
    nothing is written. Duplicates are reported; `drop_duplicates` leaves out training and valid
    images that are in test too, training images that are valid too, and repeated ones, but never a
    test image.

    Raises BadImages naming the pictures; ValueError for a value out of range, and for another pack
    at `path` or unfinished parts of one; OSError naming `path` and the remedy if it cannot be
    written. A file name that is no UTF-8 is a picture that cannot be read.
    """
    path, reader = Path(path), table.attrs.get("report", {})
    protocol = {name: table.attrs[name] for name in ("protocol",) if name in table.attrs}
    table = table.reset_index(drop=True)
    table["key"] = [key.encode("utf-8", "backslashreplace").decode() for key in table["key"]]
    table.attrs = {}  # pandas would copy them with every slice
    grey = data in GREY_SETS if grey is None else grey
    _check(table, size, fit, exif, max_bad, workers)
    settings = {
        "data": data, "options": dict(options or {}), "fit": fit, "exif": exif,
        "drop_duplicates": drop_duplicates,
    }  # fmt: skip
    said = json.dumps(settings, sort_keys=True, default=str)
    identity = f"{data} {fingerprint(table)} {said} version {_VERSION}"
    with GrowingPack(
        path, len(table), size, 1 if grey else 3, identity=identity, step=_STEP
    ) as growing:
        if not growing.finished:
            make = partial(_task, table, size, grey, fit, exif)
            _read_into(growing, table, make, max_bad, workers, progress)
            _finish(growing, table, reader, settings, {"identity": identity, **protocol})
    return growing.opened(size=size, channels=1 if grey else 3)


def _check(table, size, fit, exif, max_bad, workers) -> None:
    """Raise ValueError for a value that is out of range."""
    for name, value, known in (("fit", fit, FITS), ("exif", exif, EXIF)):
        check_known(f"{name}={value!r}:", value, known)
    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, got {size!r}")
    for key in table["key"][table["key"].str.contains(r"[\r\n]")][:1]:
        raise ValueError(f"{key!r}: a line break in its name; rename the file or its folder")
    if not 0 <= max_bad <= 1:
        raise ValueError(f"max_bad={max_bad!r}: a share from 0 to 1")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers!r}")


def _task(
    table: pd.DataFrame, size: int, grey: bool, fit: str, exif: str, start: int, stop: int
) -> PhotoTask:
    """Return the task of reading some rows."""
    rows = table.iloc[start:stop]
    boxes = list(rows[BOX].itertuples(index=False, name=None)) if {*BOX} <= {*rows} else None
    offsets = rows["offset"].tolist() if "offset" in rows else None
    return PhotoTask(rows["path"].tolist(), boxes, offsets, size, grey, fit, exif)


def _read_into(
    growing: GrowingPack, table: pd.DataFrame, make: Callable[[int, int], PhotoTask],
    max_bad: float, workers: int | None, progress: bool | None,
) -> None:  # fmt: skip
    """Read what is missing in the pack; raise BadImages as soon as too many cannot be."""
    if workers is None:
        # fewer are done before one started
        workers = min(cores(), max(1, growing.left // (4 * _STEP)))
    labels = table.drop(columns=[c for c in _NOT_LABELS if c in table])
    problems = _problems(table, growing.notes())
    _check_bad(growing, problems, max_bad)

    def parts() -> Iterator[tuple]:
        missing = growing.missing()
        results = map_in_order(read_photos, (make(*part) for part in missing), workers)
        for (start, stop), (squares, notes) in zip(missing, results, strict=True):
            notes = pd.DataFrame(notes, range(start, stop), Note._fields)
            yield squares, labels.iloc[start:stop], notes
            problems.update(_problems(table, notes))
            _check_bad(growing, problems, max_bad)

    growing.fill(parts(), "image", "packing", progress)


def _problems(table: pd.DataFrame, notes: pd.DataFrame) -> dict[str, str]:
    """Return key -> why for the pictures that cannot be used; notes are indexed by row."""
    if notes.empty:
        return {}
    bad = notes["problem"][notes["problem"] != ""]
    return dict(zip(table["key"].iloc[bad.index], bad, strict=True))


def _check_bad(growing: GrowingPack, problems: dict[str, str], max_bad: float) -> None:
    """Raise BadImages, and throw the parts away, if more cannot be read than may.

    The error names the pictures; beyond some, a file beside the pack does.
    """
    path, count = growing.path, growing.shape[0]
    if len(problems) <= max_bad * count:
        return
    growing.discard()
    lines = [f"  {key}: {why}" for key, why in problems.items()]
    listed = "\n".join(lines[:_NAMED])
    if len(lines) > _NAMED:
        file = path.with_name(f"{path.name}-bad.txt")
        files.write_text(file, "".join(f"{line.strip()}\n" for line in lines))
        listed += f"\n  ... and {len(lines) - _NAMED} more, all of them in {file}"
    raise BadImages(
        f"more than {max_bad:.3g} of {count} images cannot be read; these so far:\n{listed}\n"
        "repair or remove them, or raise --max-bad (max_bad=) to leave them out"
    )


def _finish(
    growing: GrowingPack, table: pd.DataFrame, reader: dict, settings: dict, meta: dict
) -> None:
    """Find duplicates, write the report, and make the parts a pack."""
    notes = growing.notes()
    notes["side"], notes["turned"] = notes["side"].astype(int), notes["turned"].astype(int)
    good = np.flatnonzero(notes["problem"] == "")
    hashes, digests = (
        np.array([int(text, 16) for text in notes[column].iloc[good]], np.uint64)
        for column in ("hash", "digest")
    )
    groups = find_groups(hashes, digests, growing.images, good) if len(good) else []
    dropped = _repeats(table["split"].to_numpy(), groups) if settings["drop_duplicates"] else []
    keep = np.zeros(len(table), bool)
    keep[good] = True
    keep[dropped] = False
    size = growing.shape[1]
    report = make_report(table, reader, notes, groups, dropped, settings | {"size": size})
    said = {"warnings": report["warnings"]} if report["warnings"] else {}
    growing.finish(
        keep=keep,
        files={
            "report.json": json.dumps(report, indent=1, ensure_ascii=False, default=str) + "\n",
            "report.txt": write_text(report),
        },
        bad=_problems(table, notes),
        **meta,
        **said,
        shows_people=True,
        source=settings["data"],
        settings=json.loads(json.dumps(settings, default=str)),
    )


def _repeats(splits: np.ndarray, groups: list[list[int]]) -> list[int]:
    """Return the rows of groups that `drop_duplicates` leaves out."""

    def dropped(group: list[int]) -> Iterator[int]:
        place = [SPLITS.index(splits[row]) for row in group]  # test is the last
        best = max(place)
        kept = [row for row, p in zip(group, place, strict=True) if p == best]
        if SPLITS[best] != "test":
            kept = kept[:1]
        yield from (row for row in group if row not in kept)

    return sorted(row for group in groups for row in dropped(group))
