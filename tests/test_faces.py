"""The face table: labels follow from what is drawn, and nothing leaks between splits."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hmtl import faces
from hmtl.faces import FaceSet, blendshape_weights, draw_faces, fingerprint
from hmtl.labels import EMOTIONS, GENDERS, SPLITS


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """4,000 faces of 500 people: enough for the correlation bounds below, a second to draw."""
    return draw_faces(FaceSet((400, 50, 50), seed=3))


def test_same_fields_give_the_same_table():
    pd.testing.assert_frame_equal(draw_faces(FaceSet((3, 1, 1))), draw_faces(FaceSet((3, 1, 1))))


def test_another_seed_gives_other_faces():
    one, two = draw_faces(FaceSet((3, 0, 0))), draw_faces(FaceSet((3, 0, 0), seed=1))
    assert (one["yaw"] != two["yaw"]).all()


def test_a_face_does_not_depend_on_how_many_others_are_drawn():
    few, many = draw_faces(FaceSet((2, 1, 1))), draw_faces(FaceSet((5, 3, 1)))
    many = many.set_index("key").loc[few["key"]].reset_index()
    pd.testing.assert_frame_equal(few, many)


def test_keys_are_unique_and_splits_share_no_person(table):
    assert table["key"].is_unique
    assert (table.groupby("person")["split"].nunique() == 1).all()
    assert table.groupby("split")["person"].nunique().to_dict() == {
        "train": 400,
        "valid": 50,
        "test": 50,
    }


def test_emotions_are_balanced_in_every_split(table):
    counts = table.groupby(["split", "emotion"]).size().unstack()
    assert set(counts.columns) == set(EMOTIONS)
    assert (counts.nunique(axis=1) == 1).all()


def test_emotions_stay_balanced_to_one_when_people_have_few_faces():
    counts = draw_faces(FaceSet((7, 3, 5), per_person=3)).groupby(["split", "emotion"]).size()
    for split in SPLITS:
        assert counts[split].max() - counts[split].min() <= 1


def test_the_emotion_can_be_read_from_the_action_units(table):
    """The nearest prototype names the emotion: labels follow from what shapes the face."""
    columns = list(faces.ACTION_UNIT_COLUMNS)
    units = [column.partition("_")[0] for column in columns]
    prototypes, names = [], []
    for emotion, weights in faces.EMOTION_UNITS.items():
        vector = np.array([weights.get(unit, 0.0) for unit in units])
        for side in ("left", "right") if emotion == "contempt" else ("",):
            one_sided = [side == "" or c.endswith(side) for c in columns]
            prototypes.append(vector * one_sided)
            names.append(emotion)
    prototypes = np.stack(prototypes)
    x = table[columns].to_numpy()
    # neutral is the zero vector, so compare at the face's own intensity
    strength = np.maximum(table["intensity"].to_numpy(), 0.4)[:, None, None]
    nearest = ((x[:, None] - strength * prototypes) ** 2).sum(2).argmin(1)
    assert (np.array(names)[nearest] == table["emotion"]).mean() > 0.97


def test_neutral_has_no_intensity_and_the_rest_stays_in_its_range(table):
    neutral = table["emotion"] == "neutral"
    assert (table.loc[neutral, "intensity"] == 0).all()
    assert table.loc[~neutral, "intensity"].between(0.4, 1.0).all()


def test_contempt_is_on_one_side_and_either_side_occurs(table):
    lean = table["AU14_left"] - table["AU14_right"]
    contempt = table["emotion"] == "contempt"
    assert (lean[contempt].abs() > 0.2).mean() > 0.95
    assert 0.4 < (lean[contempt] > 0).mean() < 0.6
    assert lean[~contempt].abs().max() < 0.45


def test_gender_follows_from_the_shape(table):
    female = table["gender_shape"] > 0.5
    assert (np.where(female, *GENDERS) == table["gender"]).all()


@pytest.mark.parametrize(
    "name", ["yaw", "pitch", "roll", "light_azimuth", "light_power", "ambient", "distance", "top_r"]
)
def test_nuisances_do_not_know_the_emotion(table, name):
    """One-way F statistic over emotions; under independence F(7, 4000) < 3.6 but once in 1000."""
    groups = [g[name].to_numpy() for _, g in table.groupby("emotion")]
    grand = table[name].mean()
    between = sum(len(g) * (g.mean() - grand) ** 2 for g in groups) / (len(groups) - 1)
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (len(table) - len(groups))
    assert between / within < 3.6


def test_people_have_every_emotion_so_identity_says_nothing(table):
    assert (table.groupby("person")["emotion"].nunique() == 8).all()
    for name in ("age", "skin_tone", "gender_shape", "beard"):
        assert (table.groupby("person")[name].nunique() == 1).all()


def test_poses_stay_within_their_limits_without_piling_up_there(table):
    for name, limit in (("yaw", 45), ("pitch", 25), ("roll", 25)):
        assert table[name].abs().max() < limit


def test_values_lie_in_their_ranges(table):
    units = table[list(faces.ACTION_UNIT_COLUMNS)]
    colours = table[[c for c in table if c.endswith(("_r", "_g", "_b"))]]
    shapes = table[[c for c in table if c.startswith("shape_")]]
    assert ((units >= 0) & (units <= 1)).all(axis=None)
    assert ((colours >= 0) & (colours <= 1)).all(axis=None)
    assert (shapes.abs() <= 1.2).all(axis=None)
    assert set(faces.LABEL_COLUMNS) <= set(table.columns)
    assert not table.isna().any(axis=None)


def test_blendshapes_add_up_over_units():
    row = draw_faces(FaceSet((1, 0, 0)))[:1].copy()
    row[list(faces.ACTION_UNIT_COLUMNS)] = 0.0
    row[["AU6_left", "AU7_left"]] = 0.5
    weights = blendshape_weights(row).iloc[0]
    assert weights["eyeSquintLeft"] == pytest.approx(0.5 * 0.3 + 0.5)
    assert weights["eyeSquintRight"] == 0.0
    assert weights["cheekSquintLeft"] == 0.5


def test_fingerprint_changes_with_every_field():
    base = FaceSet((2, 1, 1))
    others = [FaceSet((2, 1, 2)), FaceSet((2, 1, 1), seed=1), FaceSet((2, 1, 1), yaw=(10, 45))]
    assert len({fingerprint(f) for f in [base, *others]}) == 4
    assert fingerprint(base) == fingerprint(FaceSet((2, 1, 1)))
    assert fingerprint(FaceSet([2, 1, 1], yaw=[16, 45])) == fingerprint(base)


@pytest.mark.parametrize(
    "wrong",
    [
        {"people": (1, 2)},
        {"people": (1, -1, 2)},
        {"people": (1.5, 1, 1)},
        {"per_person": 0},
        {"size": 4},
        {"seed": -1},
        {"intensity": (0.9, 0.2)},
        {"intensity": (0.1, 1.2)},
        {"yaw": (16, 95)},
        {"yaw": (16, 2)},
        {"ages": (5, 40)},
        {"distance": (0.0, 1.0)},
        {"crop_scale": (0.0, 1.0)},
        {"ambient": (0.2, float("nan"))},
    ],
)
def test_wrong_fields_raise(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FaceSet(**({"people": (1, 1, 1)} | wrong))


def test_n_counts_all_faces_and_an_empty_set_has_none():
    assert FaceSet((3, 2, 1), per_person=4).n == 24
    assert len(draw_faces(FaceSet((0, 0, 0)))) == 0


def test_drawing_imports_nothing_heavy():
    code = "import sys, hmtl.faces; print({'torch', 'warp', 'anny', 'fastai'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
