"""Checks of the benchmark: they pass on fair data, and would fail on unfair data."""

import numpy as np
import pandas as pd
import pytest

from hmtl.expressions import ACTION_UNIT_COLUMNS
from hmtl.face_checks import _chance_row, face_region, parameter_check, slice_tables
from hmtl.faces import draw_faces
from hmtl.faceset import FaceSet
from hmtl.labels import EMOTIONS
from hmtl.render import render_faces


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return draw_faces(FaceSet((2, 0, 0), seed=4).without("noise", "jpeg"))


def test_the_face_region_does_not_know_the_expression(table):
    other = table.assign(**dict.fromkeys(ACTION_UNIT_COLUMNS, 0.3))
    np.testing.assert_array_equal(face_region(table, 32), face_region(other, 32))


def test_outside_the_region_expressions_leave_next_to_no_trace(table):
    """The whole face moves, with all units on; outside, only a cast shadow may move a little."""
    units = {c: 0.7 for c in ACTION_UNIT_COLUMNS if c not in ("AU61", "AU62", "AU63", "AU64")}
    still = render_faces(table.assign(**dict.fromkeys(units, 0.0)), 48).astype(int)
    moved = render_faces(table.assign(**units), 48).astype(int)
    change = abs(moved - still).max(3)
    region = face_region(table, 48)
    assert 0.3 < region.mean() < 0.85
    assert (change[~region] > 12).mean() < 0.01
    assert (change[region] > 12).mean() > 0.1


def test_only_the_action_units_tell_the_emotion():
    """And the check would notice: the same trees read the emotion from the units."""
    blind, control = parameter_check(FaceSet((60, 0, 30)))
    assert blind["chance, 95 % from"] - 3 < blind["accuracy %"] < blind["to"] + 3
    assert control["accuracy %"] > 60


def test_a_shortcut_would_be_seen():
    row = _chance_row("x", right=310, faces=2000)
    assert row["p"] < 0.001
    assert row["accuracy %"] > row["to"]
    fair = _chance_row("x", right=250, faces=2000)
    assert fair["chance, 95 % from"] < fair["accuracy %"] < fair["to"]
    assert fair["p"] > 0.9


def test_slices_follow_the_faces():
    """A made-up network that reads strong expressions only, whatever the pose."""
    people, size = (2, 1, 40), 48
    faces = draw_faces(FaceSet(people, size=size))
    test = faces[faces["split"] == "test"].sort_values("key")
    right = ((test["intensity"] > 0.75) | (test["emotion"] == EMOTIONS[0])).to_numpy()
    run = {"run": "r", "data": "faces", "method": "SL", "augment": "weak", "arch": "tiny",
           "init": "scratch", "train_faces": 16, "people": "2/1/40", "size": size}  # fmt: skip
    tables = slice_tables(pd.DataFrame([run]), {"r": right})
    assert tables["faces-by-intensity"]["accuracy %"].tolist() == [0, 0, 100, 100]
    lively = test[test["emotion"] != EMOTIONS[0]]
    assert tables["faces-by-intensity"]["test faces"].sum() == len(lively)
    assert tables["faces-by-yaw"]["test faces"].sum() == len(test)
    trends = tables["faces-trends"].set_index("column")
    assert trends.loc["intensity", "tau"] > 0.5
    assert abs(trends.loc["yaw", "tau"]) < 0.2
