"""Pictures of faces: right geometry, right signs, and the same bits however they are made."""

import numpy as np
import pandas as pd
import pytest

from hmtl import render
from hmtl.datasets import MINI, MINI_PATH
from hmtl.faces import (
    ACTION_UNIT_COLUMNS,
    LABEL_COLUMNS,
    LOCAL_SHAPES,
    FaceSet,
    blendshape_weights,
    draw_faces,
)
from hmtl.head import coefficients, head_arrays
from hmtl.pack import open_pack
from hmtl.render import head_vertices, render_faces

# Places of some vertices of `_golden_face`, numbered as in the base mesh, metres
GOLDEN_INDEX = [0, 648, 3695, 5589, 7222, 7927, 12084, 14737]
GOLDEN = [
    [-0.035867, 0.898358, 0.149827],
    [-0.034308, 0.808051, 0.094247],
    [-0.039488, 0.786844, 0.082975],
    [-0.087041, 0.882706, 0.042618],
    [0.003446, 0.827818, 0.165752],
    [0.017147, 0.889691, 0.129444],
    [0.087582, 0.878408, 0.039617],
    [-0.015835, 0.890254, 0.132203],
]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return draw_faces(FaceSet((3, 0, 0), seed=5))


def _plain(table: pd.DataFrame, **columns) -> pd.DataFrame:
    """The first face: frontal, centred, without expression; `columns` differ row by row."""
    rows = max((len(v) for v in columns.values()), default=1)
    plain = pd.concat([table[:1]] * rows, ignore_index=True)
    for name in ("yaw", "pitch", "roll", "crop_x", "crop_y", *ACTION_UNIT_COLUMNS):
        plain[name] = 0.0
    return plain.assign(light_azimuth=0.0, light_elevation=30.0, crop_scale=1.0).assign(**columns)


def _golden_face(table: pd.DataFrame) -> pd.DataFrame:
    """A face whose shape is written down here, whatever the draws are."""
    face = _plain(table, hair_volume=[0.0]).assign(gender_shape=0.3, age=40.0, muscle=0.7)
    face = face.assign(weight=0.2, african=0.2, asian=0.5, caucasian=0.3)
    for name in LOCAL_SHAPES:
        face[f"shape_{name}"] = 0.0
    face[["shape_nose-scale-depth-incr", "shape_mouth-scale-horiz-incr"]] = 0.6, -0.4
    face[["AU12_left", "AU26", "AU1"]] = 0.5, 1.0, 0.4
    return face


def test_vertices_match_values_computed_with_anny(table):
    """Vertices of anny 0.6.2's forward pass (Anny(rig="makehuman-head", topology="head"))."""
    vertices, index = head_vertices(_golden_face(table))
    at = np.searchsorted(index, GOLDEN_INDEX)
    np.testing.assert_allclose(vertices[0, at], GOLDEN, atol=1e-5)


@pytest.mark.slow
def test_vertices_are_those_of_annys_forward(table):
    """Every head vertex of three drawn people; anny takes a minute to build its model first."""
    torch = pytest.importorskip("torch")
    import anny

    model = anny.Anny(
        rig="makehuman-head",
        topology="head",
        local_changes="default",
        facial_actions="all",
        phenotypes="all",
    )
    faces = pd.concat([table[3::8], _golden_face(table)]).assign(hair_volume=0.0)

    def column(values):
        return torch.tensor(np.asarray(values, dtype=np.float64))

    phenotype = {name: column(faces[name]) for name in ("muscle", "weight")}
    phenotype |= {name: column(faces[name]) for name in ("african", "asian", "caucasian")}
    phenotype |= {"gender": column(faces["gender_shape"])}
    phenotype |= {"age": column(np.interp(faces["age"], (10, 25, 90), (1 / 3, 2 / 3, 1)))}
    with torch.no_grad():
        expected = model(
            pose_parameters=torch.eye(4, dtype=torch.float64)[None, None].repeat(
                len(faces), model.bone_count, 1, 1
            ),
            phenotype_kwargs=phenotype,
            local_changes_kwargs={name: column(faces[f"shape_{name}"]) for name in LOCAL_SHAPES},
            facial_actions={k: column(v) for k, v in blendshape_weights(faces).items()},
        )["rest_vertices"].numpy()
    expected = expected[..., [0, 2, 1]] * [1, 1, -1]  # anny: z up, the face looks to -y
    vertices, index = head_vertices(faces)
    ours = {number: i for i, number in enumerate(index)}
    theirs = model.base_mesh_vertex_indices.numpy()
    same = np.array([number in ours for number in theirs])
    assert same.all()
    at = [ours[number] for number in theirs]
    np.testing.assert_allclose(vertices[:, at], expected, atol=1e-4)


def test_same_bits_alone_and_in_a_batch(table):
    together = render_faces(table, 24, processes=1)
    for row in (0, 9, 23):
        alone = render_faces(table[row : row + 1], 24, processes=1)
        np.testing.assert_array_equal(alone[0], together[row])
    shuffled = table.sample(frac=1.0, random_state=0)
    again = render_faces(shuffled, 24, processes=1)
    np.testing.assert_array_equal(again, together[shuffled.index])


def test_same_bits_with_one_and_two_processes():
    table = draw_faces(FaceSet((10, 0, 0)))  # more rows than one worker takes at once
    one = render_faces(table, 16, processes=1, progress=False)
    two = render_faces(table, 16, processes=2, progress=False)
    np.testing.assert_array_equal(one, two)


def test_no_rows_give_no_pictures(table):
    assert render_faces(table[:0], 16).shape == (0, 16, 16, 3)


def _project(table: pd.DataFrame, number: int) -> np.ndarray:
    """Place of a vertex (base mesh number) in the pictures: (N, 2), x to the right, y down."""
    vertices, index = head_vertices(table)
    weights = coefficients(table, head_arrays())
    scenes = render._renderer("cpu")._scenes(table, weights).numpy()
    places = []
    for vertex, scene in zip(vertices[:, np.searchsorted(index, number)], scenes, strict=True):
        ray = vertex - scene["origin"]
        depth = ray @ scene["forward"]
        places.append([ray @ scene[axis] / (scene[axis] @ scene[axis]) for axis in ("right", "up")])
        places[-1] = [places[-1][0] / depth, -places[-1][1] / depth]
    return np.array(places)


def _vertices_by_place(table: pd.DataFrame) -> dict[str, int]:
    """Numbers of the nose tip and of the outermost points of the head, from the bare head."""
    vertices, index = head_vertices(_plain(table).assign(hair_volume=0.0))
    x, y, z = vertices[0].T
    face = (y > 0.66) & (y < 0.76)
    pick = {"nose": np.where(face, z, -1), "left_ear": np.where(face, x, -1)}
    pick["right_ear"] = np.where(face, -x, -1)
    return {name: int(index[value.argmax()]) for name, value in pick.items()}


def test_pose_signs_follow_300w_lp(table):
    """Positive yaw: nose to the left of the picture; pitch: nose up; roll: left eye down."""
    at = _vertices_by_place(table)
    turned = _plain(table, yaw=[0.0, 30, 0, 0], pitch=[0.0, 0, 20, 0], roll=[0.0, 0, 0, 15])
    nose, left, right = (_project(turned, at[n]) for n in ("nose", "left_ear", "right_ear"))
    relative = nose - (left + right) / 2
    assert relative[1, 0] < relative[0, 0] - 0.3
    assert relative[2, 1] < relative[0, 1] - 0.2
    tilt = np.degrees(np.arctan2(*(left - right)[:, ::-1].T))  # y is down
    assert tilt[3] - tilt[0] == pytest.approx(15, abs=1.0)
    assert left[0, 0] > right[0, 0]  # the person's left is on the right of the picture


def test_yaw_sign_shows_in_the_pixels(table):
    """Lit from the front, the half the nose turns to shows less skin, the other half more."""
    turned = _plain(table, yaw=[-35.0, 35.0]).assign(hairline=0.1, hair_volume=0.0, beard=0.0)
    for colour in ("top", "bottom"):  # a blue wall, so that skin is what is not blue
        turned[[f"{colour}_r", f"{colour}_g", f"{colour}_b"]] = 0.0, 0.0, 1.0
    pictures = render_faces(turned, 48).astype(int)
    skin = pictures[..., 0] > 60
    lips = (pictures[..., 0] - pictures[..., 1])[:, 30:42] * skin[:, 30:42]
    columns = np.arange(48)
    place = (lips.clip(0) ** 3 * columns).sum((1, 2)) / (lips.clip(0) ** 3).sum((1, 2))
    assert place[1] < place[0] - 2  # the mouth moves with the nose


def test_happy_differs_from_neutral_mainly_at_the_mouth(table):
    smile = _plain(table, AU12_left=[0.0, 1.0], AU12_right=[0.0, 1.0])
    calm, happy = render_faces(smile, 48).astype(float)
    change = np.abs(happy - calm).mean(2)
    assert change[27:45].sum() > 4 * change[:27].sum()
    assert change[27:45].mean() > 3


def test_light_comes_from_the_side_it_says(table):
    lit = _plain(table, light_azimuth=[-60.0, 60.0]).assign(ambient=0.2)
    left, right = render_faces(lit, 32).astype(float).mean(3)
    middle = slice(8, 24)
    assert left[middle, 8:14].mean() > right[middle, 8:14].mean()
    assert left[middle, 18:24].mean() < right[middle, 18:24].mean()


def test_the_face_fills_the_picture(table):
    """At the edges of the middle row there is little wall; in the centre there is none."""
    plain = _plain(table)
    for colour in ("top", "bottom"):
        plain[[f"{colour}_r", f"{colour}_g", f"{colour}_b"]] = 0.0, 1.0, 0.0
    picture = render_faces(plain, 48)[0].astype(int)
    wall = (picture[..., 1] > 200) & (picture[..., 0] < 60)
    assert wall.mean() < 0.4
    assert not wall[8:44, 14:34].any()


@pytest.mark.parametrize("wrong", [{"size": 4}, {"size": 16, "processes": 0}])
def test_wrong_arguments_raise(table, wrong):
    with pytest.raises(ValueError, match="at least"):
        render_faces(table, **wrong)


def test_missing_columns_are_named(table):
    with pytest.raises(KeyError, match="AU12_left"):
        render_faces(table.drop(columns="AU12_left"), 16, processes=1)


# -- the mini set that ships ---


def test_the_mini_pack_holds_what_is_drawn():
    pack, drawn = open_pack(MINI_PATH), draw_faces(MINI)
    assert len(pack) >= 512
    assert pack.size == 48
    assert sum(file.stat().st_size for file in MINI_PATH.iterdir()) <= 6e6
    pd.testing.assert_frame_equal(
        pack.labels, drawn[list(LABEL_COLUMNS)], check_dtype=False, rtol=0, atol=1e-4
    )


def test_the_mini_pack_shows_what_is_rendered():
    """Sixteen faces from all over the set; another CPU may round a few pixels differently."""
    pack, drawn = open_pack(MINI_PATH), draw_faces(MINI).sort_values("key")
    some = drawn[len(drawn) // 32 :: len(drawn) // 16]
    assert len(some) == 16
    shipped = pack.images[pd.Index(pack.labels["key"]).get_indexer(some["key"])]
    again = render_faces(some, pack.size, processes=1, progress=False)
    change = np.abs(again.astype(int) - shipped)
    assert change.mean((1, 2, 3)).max() < 0.5
    assert (change > 8).any(3).mean((1, 2)).max() <= 0.01
