"""Protocols: which images train, which test, and what is measured, as the literature compares.

What the literature leaves open is on which images a model is *chosen* (its epoch, its settings).
Customary is the test images themselves, as there are no others, which flatters every number; clean
is a part of training, held out by people or photographs. Both are here, and the table says which.

    affectnet-8, affectnet-7   train, tested on the official validation images
    rafdb-7                    train and test as the authors split the basic part
    300w-lp-aflw2000           trained on the one, tested on the other: head pose's "protocol 1"
    300w-lp-biwi               the same, tested on all of BIWI
    biwi-70-30                 people of BIWI apart: head pose's "protocol 2"

A protocol may stand wherever a data set is named (`SOURCES`); `chosen_on=test` is its option. The
folder of one of two data sets is that above both, or both folders joined by `os.pathsep`.
"""

__all__ = ["PROTOCOLS", "SOURCES", "Protocol", "read_protocol"]

import inspect
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from hmtl.data.readers import READERS
from hmtl.data.readers.report import Drops, finish_table
from hmtl.data.readers.splits import hold_out
from hmtl.labels import check_known

_ACCURACY = "accuracy on the test images, %"
_ERROR = "mean absolute error of yaw, pitch and roll, and their mean, degrees"
CHOSEN_ON = ("held-out", "test")


class Protocol(NamedTuple):
    """Data sets (name, its reader's, options) in the order of their roots, metric, and what to hold
    out of training: a share of the groups, within each value of `by`."""

    sets: tuple[tuple[str, str, dict], ...]
    metric: str
    group: str = "key"
    by: str | None = None
    share: float = 0.05


_70_30 = (0.7, 0.0, 0.3)
_W300LP: tuple[str, str, dict] = ("300W-LP", "300w-lp", {})
PROTOCOLS: dict[str, Protocol] = {
    **{
        f"affectnet-{n}": Protocol(
            (("AffectNet", "affectnet", {"classes": n}),), _ACCURACY, by="emotion"
        )
        for n in (8, 7)
    },
    "rafdb-7": Protocol(
        (("RAF-DB", "rafdb", {}),), f"{_ACCURACY}; and the mean recall", by="emotion"
    ),
    "300w-lp-aflw2000": Protocol((_W300LP, ("AFLW2000", "aflw2000", {})), _ERROR, group="source"),
    "300w-lp-biwi": Protocol(
        (_W300LP, ("BIWI", "biwi", {"protocol": 1, "shares": _70_30})), _ERROR, group="source"
    ),
    "biwi-70-30": Protocol(
        (("BIWI", "biwi", {"protocol": 2, "shares": _70_30}),), _ERROR, group="person", share=0.15
    ),
}
"""By name. AFLW2000 means the 1,969 images within 99 degrees."""


def read_protocol(
    name: str, root: str | Path, *, chosen_on: str = "held-out", seed: int = 0, **options
) -> pd.DataFrame:
    """Return the sample table of a protocol: the rows of its data sets, each `key` after its set's
    name ("AFLW2000/image00002.jpg").

    `root` is the folder above all data sets, or a folder for each, in the order of
    `PROTOCOLS[name]`, joined by `os.pathsep`. `chosen_on="held-out"` makes a share of training
    valid, by `seed`: of AffectNet and RAF-DB class by class, of 300W-LP whole photographs with all
    their poses, of BIWI whole people. `"test"` leaves no row valid: the model is to be chosen on
    the test rows, as is customary. `options` go to the readers that have them.

    `attrs["protocol"]` holds name, metric and chosen_on, `attrs["report"]` the report of all sets.
    Raises ValueError for an unknown name or choice, and another number of roots; beyond that as the
    readers.
    """
    check_known(f"unknown protocol {name!r};", name, PROTOCOLS)
    check_known(f"chosen_on={chosen_on!r}:", chosen_on, CHOSEN_ON)
    protocol = PROTOCOLS[name]
    sets = [label for label, *_ in protocol.sets]
    together = len(sets) == 1 or Path(root).exists()
    roots = [root] * len(sets) if together else str(root).split(os.pathsep)
    if len(roots) != len(sets):
        raise ValueError(f"{name} needs {len(sets)} roots ({', '.join(sets)}), got {len(roots)}")
    taken = [_options(READERS[reader], own) for _, reader, own in protocol.sets]
    for option in sorted(set(options).difference(*taken)):
        raise TypeError(f"{name}: none of its readers has the option {option!r}")
    tables = {}
    for (label, reader, own), folder, known in zip(protocol.sets, roots, taken, strict=True):
        given = {option: value for option, value in options.items() if option in known}
        tables[label] = READERS[reader](folder, **own | given)
    reports = {label: table.attrs["report"] for label, table in tables.items()}
    table = pd.concat(
        [part.assign(key=f"{label}/" + part["key"]) for label, part in tables.items()],
        ignore_index=True,
    )
    if chosen_on == "held-out" and not (table["split"] == "valid").any():
        table = hold_out(table, protocol.share, seed=seed, by=protocol.by, group=protocol.group)
    table = finish_table(table, Drops(), source=name)
    table.attrs = {
        "report": _join(reports, table.attrs["report"]),
        "protocol": {"name": name, "metric": protocol.metric, "chosen_on": chosen_on},
    }
    return table


def _join(reports: dict[str, dict], whole: dict) -> dict:
    """Return one report of several: what is counted goes after the name of its set."""
    joined: dict[str, Any] = {part: {} for part in ("dropped", "examples", "counts", "unlabelled")}
    for label, report in reports.items():
        for part, values in joined.items():
            values |= {f"{label}: {what}": value for what, value in report[part].items()}
    joined["counts"] |= whole["counts"]
    joined["missing"] = [f"{label}/{key}" for label, r in reports.items() for key in r["missing"]]
    joined["notes"] = [f"{label}: {note}" for label, r in reports.items() for note in r["notes"]]
    return joined


def _as_reader(name: str) -> Callable[..., pd.DataFrame]:
    """Return a protocol as a reader: root, `chosen_on`, `seed`, and what its sets' readers take."""
    own = inspect.signature(read_protocol).parameters
    taken = {"chosen_on": own["chosen_on"], "seed": own["seed"]}
    for _, reader, fixed in PROTOCOLS[name].sets:
        taken = _options(READERS[reader], fixed) | taken
    read = partial(read_protocol, name)
    signature = inspect.Signature([own["root"], *taken.values()])
    read.__signature__ = signature  # type: ignore[attr-defined]
    return read


def _options(reader: Callable, fixed: dict) -> dict[str, inspect.Parameter]:
    """Return the options of a reader that a protocol leaves open."""
    known = inspect.signature(reader).parameters.items()
    return {n: p for n, p in known if p.kind is p.KEYWORD_ONLY and n not in {*fixed, "seed"}}


SOURCES: dict[str, Callable[..., pd.DataFrame]] = {
    **READERS,
    **{name: _as_reader(name) for name in PROTOCOLS},
}
"""Every reader and every protocol by the name of its data: folder and options -> sample table."""
