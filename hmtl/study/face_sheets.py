"""Contact sheets of rendered faces, for the data sheet: one function a figure. Ours."""

__all__ = [
    "emotion_sheet", "hardest_faces", "nuisance_sheet", "nuisance_table", "pose_sheet",
]  # fmt: skip

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hmtl.data.pack import Pack
from hmtl.faces.faceset import NUISANCES, FaceSet
from hmtl.faces.render import render_faces
from hmtl.faces.table import draw_faces, tested_faces
from hmtl.labels import EMOTIONS
from hmtl.study.plots import show_faces
from hmtl.study.tables import recorded_runs, supervised_runs

_CHANCES = ("blink", "makeup", "beards", "long_hair", "glasses", "sunglasses", "hats", "masks",
            "hands", "motion")  # fmt: skip
"""Fields that are chances: a sheet shows them always, a set sometimes."""


def nuisance_table() -> pd.DataFrame:
    """Every nuisance with the fields of `FaceSet` that make it, their range and their off value."""
    default = FaceSet((0, 0, 0))
    rows = [
        {
            "nuisance": name,
            "field": field,
            "default": _plain(getattr(default, field)),
            "off": _plain(off),
        }
        for name, fields in NUISANCES.items()
        for field, off in fields.items()
    ]
    return pd.DataFrame(rows)


def _plain(value) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)


def emotion_sheet(pack: Pack, count: int = 12) -> Figure:
    """A row an emotion: faces of a pack's test split, from the faintest to the strongest."""
    test = pack.labels[pack.labels["split"] == "test"]
    chosen = []
    for emotion in EMOTIONS:
        ordered = test[test["shown"] == emotion].sort_values(["intensity", "key"]).index
        chosen += [*ordered[np.linspace(0, len(ordered) - 1, count).astype(int)]]
    return show_faces(pack.images[chosen], columns=count, rows=EMOTIONS, side=0.66)


def nuisance_sheet(names: Iterable[str], size: int = 64) -> Figure:
    """The same faces, a row a nuisance: all others off, this one on in every face it may be on."""
    names = list(names)
    always: dict[str, Any] = dict.fromkeys(_CHANCES, 1.0)
    wide = FaceSet((2, 0, 0), seed=357, intensity=(0.8, 0.8), **always)
    bare = wide.without("all")
    picked = [1, 3, 10, 14]  # two people, two of the expressions of each
    tables = []
    for name in names:
        one = replace(bare, **{field: getattr(wide, field) for field in NUISANCES[name]})
        tables.append(draw_faces(one).iloc[picked])
    pictures = render_faces(pd.concat(tables, ignore_index=True), size, progress=False)
    return show_faces(pictures, columns=len(picked), rows=names, side=0.8)


def pose_sheet(size: int = 96) -> Figure:
    """One head turned about each axis, with the angles it is labelled with."""
    face = draw_faces(FaceSet((1, 0, 0), seed=3).without("all"))[:1]
    poses = {"yaw": (-40, 40), "pitch": (-25, 25), "roll": (-25, 25)}
    rows, titles = [face], ["0, 0, 0"]
    for axis, angles in poses.items():
        for angle in angles:
            rows.append(face.assign(**{axis: float(angle)}))
            titles.append(f"{axis} {angle:+d}")
    pictures = render_faces(pd.concat(rows, ignore_index=True), size, progress=False)
    return show_faces(pictures, titles, columns=len(rows))


def hardest_faces(count: int = 16) -> pd.DataFrame:
    """Parameters of the test faces that most supervised runs of the record get wrong.

    Runs tested on other faces than most runs are left out. With a column `right`, the share of the
    runs that named the face; ties in the faces' order.
    """
    runs, outcomes = recorded_runs()
    own = supervised_runs(runs)
    own = own[(own["data"] == "faces") & (own["arch"] == "tiny")]
    own = own[own["pack"] == own["pack"].mode()[0]]
    faces = tested_faces(FaceSet.recorded(own["people"].iloc[0], own["size"].iloc[0]))
    right = np.mean([outcomes[run] for run in own["run"]], axis=0)
    faces = faces.assign(right=right)
    # neutral and faint faces are hard by design: here are strong expressions that fail
    lively = faces[(faces["shown"] != EMOTIONS[0]) & (faces["intensity"] > 0.7)]
    return lively.sort_values(["right", "key"]).head(count)
