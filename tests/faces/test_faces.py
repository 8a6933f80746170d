"""The face table: labels follow from what is drawn, and nothing leaks between splits."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from posing import mirror

from hmtl.angles import pose_matrix
from hmtl.faces import expressions
from hmtl.faces.expressions import ACTION_UNIT_COLUMNS, EMOTION_UNITS
from hmtl.faces.faceset import BACKGROUNDS, NUISANCES, FaceSet
from hmtl.faces.table import LABEL_COLUMNS, confusion, draw_faces, fingerprint
from hmtl.labels import EMOTIONS, GENDERS, PROPORTIONS, SPLITS


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
    columns = list(ACTION_UNIT_COLUMNS)
    units = [column.partition("_")[0] for column in columns]
    prototypes, names = [], []
    for emotion, weights in EMOTION_UNITS.items():
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
    assert table.loc[~neutral, "intensity"].between(0.45, 1.0).all()


def test_contempt_is_on_one_side_and_either_side_occurs(table):
    lean = table["AU14_left"] - table["AU14_right"]
    contempt = table["emotion"] == "contempt"
    assert (lean[contempt].abs() > 0.2).mean() > 0.95
    assert 0.4 < (lean[contempt] > 0).mean() < 0.6
    assert lean[~contempt].abs().max() < 0.45


def test_gender_follows_from_the_shape(table):
    female = table["gender_shape"] > 0.5
    assert (np.where(female, *GENDERS) == table["gender"]).all()


INDEPENDENT = (
    "yaw", "pitch", "roll", "light_azimuth", "light_power", "light_kelvin", "fill_power", "ambient",
    "distance", "crop_scale", "exposure", "blur", "motion", "noise", "jpeg", "back1_r", "glasses",
    "sunglasses", "mask", "hand", "hand_x", "noise_seed",
)  # fmt: skip


@pytest.mark.parametrize("name", INDEPENDENT)
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
    for name, limit in (("yaw", FaceSet((0, 0, 0)).yaw[1]), ("pitch", 30), ("roll", 30)):
        assert table[name].abs().max() < limit
        assert (table[name].abs() > 0.98 * limit).mean() < 0.01


def test_values_lie_in_their_ranges(table):
    units = table[list(ACTION_UNIT_COLUMNS)]
    colours = table[[c for c in table if c.endswith(("_r", "_g", "_b"))]]
    shapes = table[[c for c in table if c.startswith("shape_")]]
    wear = table[[c for c in table if c.startswith("wear_")]]
    assert ((units >= 0) & (units <= 1)).all(axis=None)
    assert ((colours >= 0) & (colours <= 1)).all(axis=None)
    assert ((wear >= 0) & (wear <= 1)).all(axis=None)
    assert (shapes.abs() <= 1.2).all(axis=None)
    assert table[["valence", "arousal"]].abs().max(axis=None) <= 1
    assert set(LABEL_COLUMNS) <= set(table.columns)
    assert set(table["background"]) == set(BACKGROUNDS)
    assert not table.isna().any(axis=None)


# -- switches ---


@pytest.mark.parametrize("name", NUISANCES)
def test_a_switch_changes_its_own_columns_only(name):
    """Everything else of every face stays as it was, to the bit."""
    full = FaceSet((12, 0, 0), sunglasses=0.5, masks=0.5, hands=0.5, hats=0.5, blink=0.5)
    with_it, without = draw_faces(full), draw_faces(full.without(name))
    changed = {c for c in with_it if not with_it[c].equals(without[c])}
    assert changed, "the switch does nothing"
    expression = {*ACTION_UNIT_COLUMNS, "valence", "arousal", "expressivity"}
    own = {
        "person's style": expression, "face to face": expression, "other units": expression,
        "blinks": {"AU45_left", "AU45_right"},
        "gaze": {"AU61", "AU62", "AU63", "AU64", "valence", "arousal"},
        "skin texture": {"texture"}, "age marks": {"wrinkles", "spots", "freckles", "bags"},
        "makeup": {"lipstick", "eyeshadow"}, "beards": {"beard", "moustache"},
        "long hair": {"long_hair"}, "glasses": {"glasses", "has_glasses"},
        "sunglasses": {"sunglasses"}, "hats": {"hat"}, "masks": {"mask"}, "hands": {"hand"},
        "pose": {"yaw", "pitch", "roll"}, "light direction": {
            "light_azimuth", "light_elevation", "fill_azimuth", "fill_elevation",
        },
        "light power": {"light_power", "fill_power", "ambient", "exposure"},
        "soft shadows": {"light_size"}, "light colour": {"light_kelvin", "fill_kelvin"},
        "background": {"background"}, "perspective": {"focal", "distance"},
        "crop": {"crop_scale", "crop_x", "crop_y"}, "blur": {"blur", "motion"},
        "noise": {"noise"}, "jpeg": {"jpeg"},
    }  # fmt: skip
    assert changed <= own[name]


def test_all_switches_leave_identity_and_emotion():
    bare = draw_faces(FaceSet((2, 0, 0)).without("all"))
    assert (bare[["yaw", "glasses", "noise", "motion", "hand"]] == 0).all(axis=None)
    assert (bare.groupby("person")[list(ACTION_UNIT_COLUMNS)].max().max(axis=1) > 0.3).all()
    neutral = bare[bare["emotion"] == "neutral"]
    assert (neutral[list(ACTION_UNIT_COLUMNS)] == 0).all(axis=None)


# -- labels ---


@pytest.mark.slow
def test_affectnets_proportions_hold_in_train_only():
    table = draw_faces(FaceSet((900, 20, 20), proportions="affectnet"))
    counts = table.groupby(["split", "emotion"]).size().unstack()[list(EMOTIONS)]
    wanted = np.array(PROPORTIONS["affectnet"]) / sum(PROPORTIONS["affectnet"])
    got = counts.loc["train"].to_numpy() / counts.loc["train"].sum()
    # 7,200 draws: four standard deviations of a share
    np.testing.assert_array_less(abs(got - wanted), 4 * np.sqrt(wanted * (1 - wanted) / 7200))
    assert (counts.loc[["valid", "test"]].nunique(axis=1) == 1).all()


@pytest.mark.slow
def test_label_noise_errs_as_often_and_as_it_says_and_spares_the_tests():
    clean = draw_faces(FaceSet((500, 10, 10)))
    noisy = draw_faces(FaceSet((500, 10, 10), label_noise=0.3))
    assert clean["shown"].equals(noisy["shown"])
    assert clean["emotion"].equals(clean["shown"])
    train = noisy["split"] == "train"
    wrong = noisy["emotion"] != noisy["shown"]
    assert not wrong[~train].any()
    assert wrong[train].mean() == pytest.approx(0.3, abs=0.03)  # four sd of 4,000 draws
    said = noisy.loc[wrong & (noisy["shown"] == "fear"), "emotion"].value_counts(normalize=True)
    expected = confusion()[EMOTIONS.index("fear"), EMOTIONS.index("surprise")]
    assert said["surprise"] == pytest.approx(expected, abs=0.16)
    units = [c for c in clean if c in ACTION_UNIT_COLUMNS]
    assert clean[units].equals(noisy[units])  # the faces are the same


def test_confusion_is_a_distribution_over_other_emotions():
    matrix = confusion()
    np.testing.assert_allclose(matrix.sum(1), 1)
    assert (np.diag(matrix) == 0).all()
    assert EMOTIONS[matrix[EMOTIONS.index("surprise")].argmax()] == "fear"


def test_compounds_show_both_and_the_label_dominates():
    table = draw_faces(FaceSet((60, 0, 0), compound=1.0).without("other units", "blinks"))
    mixed = table[(table["shown"] == "happy") & (table["second"] == "surprise")]
    assert len(mixed) > 5
    assert (mixed[["AU12_left", "AU26"]] > 0.1).all(axis=None)
    assert set(table.loc[table["second"] == "", "shown"]) == {"neutral", "contempt"}
    assert table.loc[table["second"] != "", "share"].between(0.3, 0.7).all()


def test_valence_and_arousal_follow_from_the_units():
    """Full-blown expressions lie where the circumplex says, half of them half as far."""
    rows = pd.DataFrame(0.0, index=range(3), columns=list(ACTION_UNIT_COLUMNS))
    for column in ACTION_UNIT_COLUMNS:
        weight = EMOTION_UNITS["fear"].get(column.partition("_")[0], 0.0)
        rows.loc[1:, column] = weight * np.array([1.0, 0.5])
    affect = expressions.valence_arousal(rows)
    np.testing.assert_allclose(affect[0], 0, atol=1e-12)
    np.testing.assert_allclose(affect[1], expressions.CIRCUMPLEX["fear"], atol=1e-9)
    np.testing.assert_allclose(affect[2], affect[1] / 2, atol=1e-9)


def test_every_emotion_is_made_of_known_units():
    used = {unit for weights in EMOTION_UNITS.values() for unit in weights}
    assert used <= set(expressions.ACTION_UNITS)
    assert all(0 < w <= 1 for weights in EMOTION_UNITS.values() for w in weights.values())
    assert {e for pair in expressions.COMPOUNDS for e in pair} <= set(EMOTIONS)


# -- head pose ---


def test_pose_matrix_is_the_product_scipy_makes():
    """Independent reference: the same rotations as scipy composes them, with 300W-LP's signs."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    yaw, pitch, roll = rng.uniform(-80, 80, (3, 50))
    # x right, y up, z to the camera: a positive angle of 300W-LP turns the other way round
    expected = Rotation.from_euler("XYZ", np.stack([-pitch, -yaw, -roll], 1), degrees=True)
    np.testing.assert_allclose(pose_matrix(yaw, pitch, roll), expected.as_matrix(), atol=1e-12)


def test_pose_signs_by_hand():
    nose, left_eye = np.array([0, 0, 1.0]), np.array([1.0, 0, 0])
    assert (pose_matrix(90, 0, 0) @ nose)[0] == pytest.approx(-1)  # to the left of the picture
    assert (pose_matrix(0, 90, 0) @ nose)[1] == pytest.approx(1)  # up
    assert (pose_matrix(0, 0, 90) @ left_eye)[1] == pytest.approx(-1)  # the left eye goes down


def test_a_flip_changes_the_labels_as_it_must(table):
    """Flipping x before and after a rotation turns its matrix into that of the flipped labels."""
    flipped = mirror(table[:40])
    angles = ["yaw", "pitch", "roll"]
    np.testing.assert_array_equal(flipped["yaw"], -table["yaw"][:40])
    np.testing.assert_array_equal(flipped["pitch"], table["pitch"][:40])
    np.testing.assert_array_equal(flipped["roll"], -table["roll"][:40])
    flip = np.diag([-1.0, 1, 1])
    before = pose_matrix(*table[angles][:40].to_numpy().T)
    after = pose_matrix(*flipped[angles].to_numpy().T)
    np.testing.assert_allclose(after, flip @ before @ flip, atol=1e-12)
    assert (flipped["AU12_left"] == table["AU12_right"][:40]).all()
    assert (flipped["shape_l-ear-wing-incr"] == table["shape_r-ear-wing-incr"][:40]).all()
    pd.testing.assert_frame_equal(mirror(flipped), table[:40], rtol=1e-12)


def test_blendshapes_add_up_over_units():
    row = draw_faces(FaceSet((1, 0, 0)))[:1].copy()
    row[list(ACTION_UNIT_COLUMNS)] = 0.0
    row[["AU6_left", "AU7_left"]] = 0.5
    weights = expressions.blendshape_weights(row).iloc[0]
    assert weights["eyeSquintLeft"] == pytest.approx(0.5 * 0.3 + 0.5)
    assert weights["eyeSquintRight"] == 0.0
    assert weights["cheekSquintLeft"] == 0.5


OTHERS = {
    "people": (2, 1, 2), "per_person": 9, "size": 49, "seed": 1, "proportions": "affectnet",
    "focal": (24.0,), "backgrounds": ("plain",), "light_kelvin": (3000.0, 4000.0),
    "ages": (20.0, 30.0), "jpeg": (50.0, 60.0),
}  # fmt: skip


@pytest.mark.parametrize("field", dataclasses.fields(FaceSet), ids=lambda field: field.name)
def test_fingerprint_changes_with_every_field(field):
    base = FaceSet((2, 1, 1))
    value = getattr(base, field.name)
    half = value / 2 + 0.001 if isinstance(value, float) else None
    if isinstance(value, tuple) and field.name not in OTHERS:
        half = (value[0] + 0.001, value[1])
    other = dataclasses.replace(base, **{field.name: OTHERS.get(field.name, half)})
    assert fingerprint(other) != fingerprint(base)


def test_equal_sets_have_one_fingerprint():
    """However their numbers are written."""
    base = FaceSet((2, 1, 1), glasses=0.0)
    same = FaceSet([2, 1, np.int64(1)], yaw=list(base.yaw), glasses=0, seed=np.int64(0))
    assert same == base
    assert fingerprint(same) == fingerprint(base)


@pytest.mark.parametrize("order", [("clouds", "plain", "lights"), ("lights", "clouds", "plain")])
def test_some_backgrounds_are_drawn_evenly_whatever_their_order(order):
    counts = draw_faces(FaceSet((400, 0, 0), backgrounds=order))["background"].value_counts()
    assert set(counts.index) == set(order)
    assert counts.min() > 0.29 * 3200  # a third each; five standard deviations


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
        {"focal": (5.0, 50.0)},
        {"backgrounds": ("beach",)},
        {"proportions": "ferplus"},
        {"glasses": 1.5},
        {"jpeg": (0, 90)},
        {"light_kelvin": (1500, 9000)},
        {"local_shape": (3, 9)},
        {"noise": (0, 9)},
        {"blur": (0, 1000)},
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
    heavy = "{'torch', 'warp', 'anny', 'fastai'}"
    code = f"import sys, hmtl.faces.table; print({heavy} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
