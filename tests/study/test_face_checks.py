"""Checks of the benchmark: they pass on fair data, and would fail on unfair data."""

import numpy as np
import pandas as pd
import pytest

from hmtl.faces.expressions import ACTION_UNIT_COLUMNS
from hmtl.faces.faceset import FaceSet
from hmtl.faces.render import render_faces
from hmtl.faces.table import draw_faces
from hmtl.labels import EMOTIONS
from hmtl.study.face_checks import (
    _chance_row,
    face_region,
    hide_faces,
    parameter_check,
    slice_tables,
)
from hmtl.study.face_sheets import hardest_faces
from hmtl.study.tables import recorded_runs, supervised_runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Three times as many faces as lie in the renderer's memory at once."""
    return draw_faces(FaceSet((3, 0, 0), seed=4).without("noise", "jpeg"))


@pytest.mark.parametrize(("jpeg", "share"), [(100.0, 0.002), (40.0, 0.005)])
def test_where_the_face_is_hidden_nothing_of_the_expression_is_left(table, jpeg, share):
    """Faces at rest and with every unit on: hidden, the pictures agree but for a cast shadow,
    which JPEG spreads a little."""
    rows = table.assign(jpeg=jpeg)
    units = {c: 0.7 for c in ACTION_UNIT_COLUMNS if c not in ("AU61", "AU62", "AU63", "AU64")}
    still, moved = rows.assign(**dict.fromkeys(units, 0.0)), rows.assign(**units)
    change = abs(hide_faces(moved, 48).astype(int) - hide_faces(still, 48)).max(3)
    assert (change > 4).mean() < share
    seen = render_faces(moved, 48).astype(int) - render_faces(still, 48)
    region = face_region(rows, 48)
    assert (abs(seen).max(3)[region] > 12).mean() > 0.1
    assert 0.3 < region.mean() < 0.85


def test_a_region_in_the_wrong_place_would_be_noticed(table):
    units = {c: 0.7 for c in ACTION_UNIT_COLUMNS if c not in ("AU61", "AU62", "AU63", "AU64")}
    change = abs(
        render_faces(table.assign(**units), 48).astype(int)
        - render_faces(table.assign(**dict.fromkeys(units, 0.0)), 48)
    ).max(3)
    others = np.roll(face_region(table, 48), 1, axis=0)  # each face with its neighbour's
    assert (change > 12)[~others].mean() > 0.005


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


def test_the_hardest_faces_are_those_that_fewest_runs_name():
    runs, outcomes = recorded_runs()
    own = supervised_runs(runs)
    own = own[(own["data"] == "faces") & (own["arch"] == "tiny")]
    hardest = hardest_faces(3)
    assert hardest["right"].is_monotonic_increasing
    groups = [group["run"] for _, group in own.groupby("people")]
    named = np.mean([outcomes[run] for run in max(groups, key=len)], axis=0)
    places = hardest["key"].str[-6:].astype(int)
    np.testing.assert_allclose(named[places], hardest["right"])


def test_slices_follow_the_faces():
    """A made-up network that reads strong expressions only, whatever the pose."""
    people, size = (2, 1, 40), 48
    faces = draw_faces(FaceSet(people, size=size))
    test = faces[faces["split"] == "test"].sort_values("key")
    right = ((test["intensity"] > 0.75) | (test["emotion"] == EMOTIONS[0])).to_numpy()
    run = {"run": "r", "data": "faces", "method": "SL", "augment": "weak", "arch": "tiny",
           "init": "scratch", "train_faces": 16, "people": "2/1/40", "size": size,
           "pack": "x", "task": "emotion", "study": "s", "fraction": 1.0, "epochs": 9,
           "bs": 64}  # fmt: skip
    # real faces in the same record, many more of them, change nothing
    real = {**run, "run": "f", "data": "ferplus", "train_faces": 25000, "people": "1/1/1"}
    correct = {"r": right, "f": np.zeros(3, bool)}
    tables = slice_tables(pd.DataFrame([run, real]), correct)
    assert set(tables["faces-by-yaw"]["network"]) == {"tiny, scratch"}
    failed = {"run": "without outcomes", "failure": "loss not finite"}
    lost = slice_tables(pd.DataFrame([run, run | failed, real]), correct)
    pd.testing.assert_frame_equal(lost["faces-by-yaw"], tables["faces-by-yaw"])
    fifth = slice_tables(pd.DataFrame([run | {"fraction": 0.2}, real]), correct)["faces-by-yaw"]
    assert set(fifth["network"]) == {"tiny, scratch, 20% of the labels"}
    assert tables["faces-by-intensity"]["accuracy %"].tolist() == [0, 0, 100, 100]
    lively = test[test["emotion"] != EMOTIONS[0]]
    assert tables["faces-by-intensity"]["test faces"].sum() == len(lively)
    assert tables["faces-by-yaw"]["test faces"].sum() == len(test)
    trends = tables["faces-trends"].set_index("column")
    assert trends.loc["intensity", "tau"] > 0.5
    assert abs(trends.loc["yaw", "tau"]) < 0.2
    with pytest.raises(ValueError, match="different faces"):
        slice_tables(
            pd.DataFrame([run, {**run, "run": "r2", "pack": "y"}]), {"r": right, "r2": right}
        )
