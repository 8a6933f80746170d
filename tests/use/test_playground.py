"""A face moved by hand changes what was moved, and the sliders show it."""

import importlib.util
import io
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from posing import mirror

from hmtl import Puzzling
from hmtl.faces.expressions import ACTION_UNIT_COLUMNS, CIRCUMPLEX, EMOTION_UNITS, valence_arousal
from hmtl.faces.faceset import FaceSet
from hmtl.faces.render import render_faces
from hmtl.faces.table import LABEL_COLUMNS, draw_faces
from hmtl.labels import EMOTIONS
from hmtl.use import playground
from hmtl.use.playground import RANGES, FaceSliders, posed

pytestmark = pytest.mark.slow

FOLLOW = {"emotion", "shown", "second", "share", "intensity", "valence", "arousal"}
FREE = {"AU45_left", "AU45_right", "AU61", "AU62", "AU63", "AU64"}  # blink and gaze


@pytest.fixture(scope="module")
def faces() -> pd.DataFrame:
    """Two people with all their emotions, some of two emotions at once."""
    return draw_faces(FaceSet((2, 0, 0), compound=0.5, label_noise=0.3, seed=5))


def row_of(faces, emotion):
    return faces[faces["shown"] == emotion][:1]


def changed(before, after):
    assert list(before) == list(after)
    return {c for c in before if before[c].iloc[0] != after[c].iloc[0]}


def test_nothing_asked_nothing_changed(faces):
    pd.testing.assert_frame_equal(posed(faces[3:4]), faces[3:4])


@pytest.mark.parametrize(
    ("name", "column"), [("yaw", "yaw"), ("pitch", "pitch"), ("light", "light_azimuth")]
)
def test_an_angle_changes_its_column_only(faces, name, column):
    after = posed(faces[1:2], **{name: 17.0})
    assert changed(faces[1:2], after) == {column}
    assert after[column].iloc[0] == 17.0


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_an_expression_changes_units_and_labels_only(faces, emotion):
    for i in range(len(faces)):
        face = faces[i : i + 1]
        after = posed(face, emotion, 0.6)
        assert changed(face, after) <= {*ACTION_UNIT_COLUMNS, *FOLLOW} - FREE
        label = after.iloc[0]
        assert label["emotion"] == label["shown"] == emotion
        assert (label["second"], label["share"]) == ("", 0.0)
        assert label["intensity"] == (0.0 if emotion == "neutral" else 0.6)
        np.testing.assert_array_equal(label[["valence", "arousal"]], valence_arousal(after)[0])


def test_valence_and_arousal_are_those_of_the_emotion(faces):
    """At intensity 1 and expressivity 1 the face lies where the circumplex has its emotion."""
    for emotion, place in CIRCUMPLEX.items():
        face = posed(faces[:1].assign(expressivity=1.0), emotion, 1.0)
        np.testing.assert_allclose(face[["valence", "arousal"]].iloc[0].astype(float), place)


def test_units_are_those_of_the_emotion_times_intensity_and_expressivity(faces):
    face = faces[:1].assign(expressivity=0.9)
    after = posed(face, "fear", 0.5).iloc[0]
    for unit, weight in EMOTION_UNITS["fear"].items():
        for column in (c for c in ACTION_UNIT_COLUMNS if c.partition("_")[0] == unit):
            assert after[column] == pytest.approx(0.5 * 0.9 * weight), column
    assert after["AU12_left"] == after["AU14_right"] == 0.0


def test_contempt_is_on_the_side_that_dimples(faces):
    for side, other in (("left", "right"), ("right", "left")):
        face = faces[:1].assign(**{f"AU14_{side}": 0.2, f"AU14_{other}": 0.1})
        after = posed(face, "contempt", 1.0).iloc[0]
        assert after[f"AU14_{side}"] > 0.5 < after[f"AU12_{side}"]
        assert after[f"AU14_{other}"] == after[f"AU12_{other}"] == 0.0


def test_an_intensity_alone_keeps_what_is_shown(faces):
    face = faces[faces["second"] != ""][:1]
    after = posed(face, intensity=1.0).iloc[0]
    assert (after["shown"], after["second"]) == (face["shown"].iloc[0], face["second"].iloc[0])
    assert after["emotion"] == after["shown"], "an annotator's error is not carried over"
    assert after["intensity"] == 1.0


def test_an_emotion_alone_is_as_strong_as_the_face(faces):
    sad = row_of(faces, "sad")
    assert posed(sad, "anger")["intensity"].iloc[0] == sad["intensity"].iloc[0]
    assert posed(row_of(faces, "neutral"), "anger")["intensity"].iloc[0] == 1.0
    assert posed(sad, "neutral")["intensity"].iloc[0] == 0.0


def test_mirrored_faces_move_mirrored(faces):
    """Moving and mirroring swap places: yaw and light change sign, contempt its side."""
    leaning = np.flatnonzero(faces["AU14_left"] != faces["AU14_right"])
    assert len(leaning) > 2
    for i in leaning:
        face = faces[i : i + 1]
        one = mirror(posed(face, "contempt", 0.7, yaw=25, pitch=10, light=40))
        two = posed(mirror(face), "contempt", 0.7, yaw=-25, pitch=10, light=-40)
        assert changed(one, two) <= {"valence", "arousal"}
        np.testing.assert_allclose(
            one[["valence", "arousal"]], two[["valence", "arousal"]], atol=1e-12
        )


def test_the_picture_follows(faces):
    """To the bit the same unless something moved; a face to the left is one to the right, mirrored.

    Skin mottling, noise and hair have no mirror image, so a plain face is compared, roughly.
    """
    face = draw_faces(FaceSet((1, 0, 0), seed=3, local_shape=(0.0, 0.0)).without("all"))[:1]
    rows = [face, posed(face, yaw=face["yaw"].iloc[0], light=face["light_azimuth"].iloc[0]),
            posed(face, yaw=30, light=50), posed(face, yaw=-30, light=-50),
            posed(face, "surprise")]  # fmt: skip
    rows = pd.concat(rows, ignore_index=True).assign(fill_power=0.0)
    own, same, left, right, other = render_faces(rows, 32, progress=False).astype(float)
    np.testing.assert_array_equal(own, same)
    assert np.abs(left[:, ::-1] - right).mean() < 4 < np.abs(left - right).mean()
    assert np.abs(own - other).max() > 20


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [1000, float("nan"), "30", True])
def test_values_out_of_range_are_named(faces, name, value):
    low, high = RANGES[name]
    with pytest.raises(ValueError, match=rf"{name} must lie in {low:g}\.\.{high:g}, got {value!r}"):
        posed(faces[:1], **{name: value})


def test_what_is_no_face_or_emotion_is_named(faces):
    with pytest.raises(ValueError, match="one of neutral, happy, .*, got 'joy'"):
        posed(faces[:1], "joy")
    with pytest.raises(ValueError, match="one row of a face table, got 2 rows"):
        posed(faces[:2], "happy")
    with pytest.raises(ValueError, match="face has no column AU1: .*draw_faces"):
        posed(faces[list(LABEL_COLUMNS)][:1], yaw=3)


# -- the sliders ---


class Asked:
    """An answer that keeps what it was shown."""

    def __init__(self):
        self.images = []

    def __call__(self, images):
        self.images.append(images)
        return torch.tensor([[0.65] + [0.05] * 7])


@pytest.fixture
def sliders(faces):
    pytest.importorskip("ipywidgets")
    answer = Asked()
    return FaceSliders(faces, answer, size=32), answer


def halves(sliders):
    """The face and the puzzle as they are shown, at the size they were rendered."""
    shown = np.asarray(Image.open(io.BytesIO(sliders.picture.value)))
    height, width = shown.shape[:2]
    scale = height // 32
    assert height == 32 * scale
    parts = shown[:, :height, :3], shown[:, width - height :, :3]
    small = [part[::scale, ::scale] for part in parts]
    for part, one in zip(parts, small, strict=True):  # enlarged without smoothing
        np.testing.assert_array_equal(part, one.repeat(scale, 0).repeat(scale, 1))
    return small


def test_sliders_start_with_the_persons_own_picture(faces, sliders):
    widget, answer = sliders
    first = faces.drop_duplicates("person")
    assert len(widget.person.options) == len(first) == 2
    for number in (0, 1):
        widget.person.value = number
        picture, puzzle = halves(widget)
        expected = render_faces(first[number : number + 1], 32, progress=False)
        np.testing.assert_array_equal(picture, expected[0])
        tiles = {picture[i : i + 16, j : j + 16].tobytes() for i in (0, 16) for j in (0, 16)}
        assert tiles == {puzzle[i : i + 16, j : j + 16].tobytes() for i in (0, 16) for j in (0, 16)}
    assert len(answer.images) == 2, "one picture a person, though four sliders move"


def test_every_control_moves_the_picture_and_asks_the_network(sliders):
    widget, answer = sliders
    moves = {"emotion": "surprise", "intensity": 0.5, "yaw": 30, "pitch": -12, "light": 75}
    seen = [widget.picture.value]
    for name, value in moves.items():
        getattr(widget, name).value = value
        assert widget.picture.value not in seen, name
        seen.append(widget.picture.value)
        images = answer.images[-1]
        assert images.shape == (1, 3, 32, 32)
        assert images.dtype == torch.float32
        assert 0 <= images.min() < 0.3 < images.max() <= 1
    assert len(answer.images) == 1 + len(moves)
    pd.testing.assert_frame_equal(widget.face, posed(widget._faces[:1], **moves))
    picture, puzzle = halves(widget)
    np.testing.assert_array_equal(picture, render_faces(widget.face, 32, progress=False)[0])
    generator = torch.Generator().manual_seed(0)
    expected, _ = Puzzling(2).transform(images, generator)
    np.testing.assert_array_equal(puzzle, (255 * expected[0]).round().permute(1, 2, 0))


def test_a_browsers_rounding_moves_nothing(faces, sliders):
    """A slider that is drawn is sent back as the browser computes it: 6 as 6.000000000000014."""
    widget, _ = sliders
    before = widget.picture.value
    for name in RANGES:
        getattr(widget, name).value -= 1.4e-14
    pd.testing.assert_frame_equal(widget.face, faces[:1])
    assert widget.picture.value == before


def test_bars_say_what_the_network_answers(faces, sliders):
    widget, _ = sliders
    widget.emotion.value = "fear"
    for name in EMOTIONS:
        assert name in widget.bars.value
    assert "<b>fear</b>" in widget.bars.value
    assert widget.bars.value.count("<b>") == 1
    assert widget.bars.value.count(">5%<") == 7
    assert ">65%<" in widget.bars.value
    assert FaceSliders(faces, size=16).bars.value == ""


def test_a_size_the_puzzle_does_not_divide_is_shown_all_the_same(faces):
    pytest.importorskip("ipywidgets")
    shown = Image.open(io.BytesIO(FaceSliders(faces, size=16, puzzle=3).picture.value))
    scale = shown.height // 16
    assert shown.width > (16 + 15) * scale


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (torch.full((1, 7), 1 / 7), r"probabilities \(1, 8\), got shape \(1, 7\)"),
        (torch.arange(8.0)[None] - 4, "add up to 1: is softmax missing"),
    ],
)
def test_an_answer_that_is_none_is_refused(faces, said, message):
    pytest.importorskip("ipywidgets")
    with pytest.raises(ValueError, match=message):
        FaceSliders(faces, lambda images: said, size=16)


def test_an_empty_table_is_refused(faces):
    pytest.importorskip("ipywidgets")
    with pytest.raises(ValueError, match="faces has no rows"):
        FaceSliders(faces[:0])


def test_without_ipywidgets_posed_works_and_the_sliders_say_what_to_install(faces, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    spec = importlib.util.spec_from_file_location("bare_playground", playground.__file__)
    bare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bare)
    pd.testing.assert_frame_equal(bare.posed(faces[:1], yaw=5), posed(faces[:1], yaw=5))
    with pytest.raises(ImportError, match=r'pip install "hmtl\[notebooks\]"'):
        bare.FaceSliders(faces)
