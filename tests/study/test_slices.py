"""Gains by slices of the rendered test faces."""

import numpy as np
import pandas as pd
import pytest

from hmtl.data.sets import MINI, load_pack
from hmtl.faces.table import draw_faces
from hmtl.study.slices import SLICES, slice_gains, sliced_faces

RUNS = pd.DataFrame({"data": ["mini"], "people": ["300/50/125"], "size": [48]})


def test_slices_are_of_the_test_faces_in_their_order():
    faces = sliced_faces(RUNS)
    pack = load_pack("mini")
    labels = pack.labels.iloc[pack.rows("test")]
    assert faces["key"].tolist() == labels["key"].tolist()
    assert faces["gender"].tolist() == labels["gender"].tolist()
    assert faces["emotion"].tolist() == labels["emotion"].tolist()
    turned = labels["yaw"].abs().to_numpy()
    for name, low, high in (("0–15°", 0, 15), ("15–30°", 15, 30), ("> 30°", 30, 90)):
        inside = (turned > low) & (turned <= high)
        assert ((faces["yaw"] == name).to_numpy() == inside).all()
    # every face is in one slice of each column, but neutral ones have no intensity
    drawn = draw_faces(MINI).set_index("key").loc[faces["key"]]
    assert faces.drop(columns="intensity").notna().all(axis=None)
    assert (faces["intensity"].isna().to_numpy() == (drawn["shown"] == "neutral").to_numpy()).all()
    with pytest.raises(ValueError, match="one set of rendered faces"):
        sliced_faces(RUNS.assign(data="ferplus"))


def test_gains_by_hand():
    faces = pd.DataFrame({"key": list("abcdefgh"), "side": pd.Categorical(list("llllrrrr"))})
    faces["person"] = faces["key"]
    base = {0: np.array([1, 1, 0, 0, 1, 1, 1, 1], bool)}
    treated = {
        0: np.array([1, 1, 1, 0, 0, 1, 0, 1], bool),
        1: np.ones(8, bool),
    }  # one seed in common
    table = slice_gains(faces, treated, base, ["side"]).set_index("slice")
    assert table["faces"].tolist() == [4, 4]
    assert table["base"].tolist() == [50, 100]
    assert table["gain"].tolist() == [25, -50]
    assert table[["low", "high"]].isna().all(axis=None), "four people have no interval"
    with pytest.raises(ValueError, match="no seed in common"):
        slice_gains(faces, treated, {7: base[0]}, ["side"])
    with pytest.raises(ValueError, match="8 faces, the slices"):
        slice_gains(faces[:7], treated, base, ["side"])


def test_only_what_leaves_zero_out_speaks():
    rng = np.random.default_rng(0)
    faces = pd.DataFrame({"part": pd.Categorical(np.repeat(["even", "gained", "lost"], 1500))})
    faces["person"] = faces.index
    level = {"even": (0.5, 0.5), "gained": (0.5, 0.8), "lost": (0.8, 0.5)}
    before, after = (
        faces["part"].map({name: pair[i] for name, pair in level.items()}).astype(float)
        for i in (0, 1)
    )
    base, treated = (
        {seed: rng.random(4500) < chance.to_numpy() for seed in range(5)}
        for chance in (before, after)
    )
    table = slice_gains(faces, treated, base, ["part"]).set_index("slice")
    assert table["says"].to_dict() == {"even": "", "gained": "gains", "lost": "costs"}
    assert (table["low"] < table["gain"]).all()
    assert (table["gain"] < table["high"]).all()
    always = {seed: np.zeros(4500, bool) for seed in range(5)}
    table = slice_gains(faces, always, always, ["part"])
    assert table[["low", "high"]].isna().all(axis=None), "answers that never differ have none"
    assert set(SLICES) == {
        "intensity", "yaw", "light", "covered by", "age", "skin tone", "gender", "emotion",
    }  # fmt: skip
