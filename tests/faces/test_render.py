"""Pictures of faces: right geometry, right signs, and the same bits however they are made."""

import numpy as np
import pandas as pd
import pytest
from posing import mirror

from hmtl.data.pack import open_pack
from hmtl.data.sets import MINI, MINI_PATH
from hmtl.faces.camera import kelvin_colour
from hmtl.faces.expressions import ACTION_UNIT_COLUMNS, ACTION_UNITS, blendshape_weights
from hmtl.faces.faceset import FaceSet
from hmtl.faces.head import coefficients, head_arrays
from hmtl.faces.people import LOCAL_SHAPES
from hmtl.faces.render import render_faces, renderer
from hmtl.faces.shader import kernels, started_warp
from hmtl.faces.table import LABEL_COLUMNS, draw_faces

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


@pytest.fixture(scope="module")
def bare() -> pd.DataFrame:
    """Faces with every nuisance off: frontal, evenly lit, nothing worn."""
    return draw_faces(FaceSet((3, 0, 0), seed=5).without("all"))


def head_vertices(params: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Head vertices (N, V, 3) in metres, and their numbers (V,) in MakeHuman's base mesh."""
    return renderer("cpu").vertices(params), head_arrays()["base_index"]


def _wall(table: pd.DataFrame, rgb: tuple[float, float, float]) -> pd.DataFrame:
    """The same faces before a plain wall of one colour."""
    colours = {f"back1_{c}": value for c, value in zip("rgb", rgb, strict=True)}
    return table.assign(background="plain", **colours)


def _plain(table: pd.DataFrame, **columns) -> pd.DataFrame:
    """The first face of `bare`, without expression; `columns` differ row by row."""
    rows = max((len(v) for v in columns.values()), default=1)
    plain = pd.concat([table[:1]] * rows, ignore_index=True)
    plain[list(ACTION_UNIT_COLUMNS)] = 0.0
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


def test_vertices_match_values_computed_with_anny(bare):
    """Vertices of anny 0.6.2's forward pass (Anny(rig="makehuman-head", topology="head"))."""
    vertices, index = head_vertices(_golden_face(bare))
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


def test_vertices_of_many_are_those_of_each(table):
    """More faces than lie in memory at once, of different people."""
    together, _ = head_vertices(table)
    for row in (0, 7, 8, 15, 23):
        alone, _ = head_vertices(table[row : row + 1])
        np.testing.assert_array_equal(together[row], alone[0])
    assert abs(together[0] - together[23]).max() > 0.005


def test_every_blendshape_of_an_action_unit_is_in_the_head_and_moves_it():
    used = {name for weights in ACTION_UNITS.values() for name in weights}
    assert used <= set(head_arrays()["shape_names"])
    rest = _plain(draw_faces(FaceSet((1, 0, 0)).without("all")))
    rows = pd.concat([rest] * (1 + len(ACTION_UNIT_COLUMNS)), ignore_index=True)
    for row, column in enumerate(ACTION_UNIT_COLUMNS, 1):
        rows.loc[row, column] = 1.0
    vertices, _ = head_vertices(rows)
    moved = np.linalg.norm(vertices[1:] - vertices[0], axis=2).max(1)
    assert (moved > 0.001).all(), dict(zip(ACTION_UNIT_COLUMNS, moved, strict=True))


def test_same_bits_alone_and_in_a_batch(table):
    together = render_faces(table, 24, processes=1)
    for row in (0, 9, 23):
        alone = render_faces(table[row : row + 1], 24, processes=1)
        np.testing.assert_array_equal(alone[0], together[row])
    shuffled = table.sample(frac=1.0, random_state=0)
    again = render_faces(shuffled, 24, processes=1)
    np.testing.assert_array_equal(again, together[shuffled.index])


@pytest.mark.slow
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
    scenes = renderer("cpu").scenes(table, weights, 48)
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


def test_pose_signs_follow_300w_lp(bare):
    """Positive yaw: nose to the left of the picture; pitch: nose up; roll: left eye down."""
    at = _vertices_by_place(bare)
    turned = _plain(bare, yaw=[0.0, 30, 0, 0], pitch=[0.0, 0, 20, 0], roll=[0.0, 0, 0, 15])
    nose, left, right = (_project(turned, at[n]) for n in ("nose", "left_ear", "right_ear"))
    relative = nose - (left + right) / 2
    assert relative[1, 0] < relative[0, 0] - 0.3
    assert relative[2, 1] < relative[0, 1] - 0.2
    tilt = np.degrees(np.arctan2(*(left - right)[:, ::-1].T))  # y is down
    assert tilt[3] - tilt[0] == pytest.approx(15, abs=1.0)
    assert left[0, 0] > right[0, 0]  # the person's left is on the right of the picture


def test_yaw_sign_shows_in_the_pixels(bare):
    """Red lips in a grey face move with the nose."""
    turned = _plain(bare, yaw=[-35.0, 35.0]).assign(hairline=0.1, hair_volume=0.0)
    for name, rgb in (("lips", (1, 0, 0)), ("skin", (0.5, 0.5, 0.5)), ("clothes", (0, 0, 0))):
        turned[[f"{name}_{c}" for c in "rgb"]] = rgb
    pictures = render_faces(_wall(turned, (0, 0, 1)), 48).astype(int)
    lips = (pictures[..., 0] - pictures[..., 1])[:, 24:].clip(0) ** 3
    place = (lips * np.arange(48)).sum((1, 2)) / lips.sum((1, 2))
    assert place[1] < place[0] - 2  # the mouth moves with the nose


def test_happy_differs_from_neutral_mainly_at_the_mouth(bare):
    smile = _plain(bare, AU12_left=[0.0, 1.0], AU12_right=[0.0, 1.0])
    calm, happy = render_faces(smile, 48).astype(float)
    change = np.abs(happy - calm).mean(2)
    assert change[27:45].sum() > 4 * change[:27].sum()
    assert change[27:45].mean() > 3


def test_light_comes_from_the_side_it_says(bare):
    lit = _plain(bare, light_azimuth=[-60.0, 60.0]).assign(ambient=0.2)
    left, right = render_faces(lit, 32).astype(float).mean(3)
    middle = slice(8, 24)
    assert left[middle, 8:14].mean() > right[middle, 8:14].mean()
    assert left[middle, 18:24].mean() < right[middle, 18:24].mean()


def test_the_face_fills_the_picture(bare):
    """At the edges of the middle row there is little wall; in the centre there is none."""
    picture = render_faces(_wall(_plain(bare), (0, 1, 0)), 48)[0].astype(int)
    wall = (picture[..., 1] > 200) & (picture[..., 0] < 60)
    assert wall.mean() < 0.4
    assert not wall[8:44, 14:34].any()


@pytest.mark.parametrize("background", ["plain", "gradient", "stripes"])
def test_a_mirrored_face_is_the_flipped_picture(table, background):
    """Labels and picture flip together: every sided parameter, pose and light included.

    Mottling, strands and grain are not mirrored, so the pictures agree but for them.
    """
    rows = table.assign(noise=0.0, texture=0.0, background=background, freckles=0.0, spots=0.0)
    rows = rows.assign(jpeg=100.0, hair_volume=0.0, hairline=0.1, long_hair=0)
    pictures = render_faces(rows, 48, processes=1).astype(float)
    mirrored = render_faces(mirror(rows), 48, processes=1).astype(float)
    same = abs(mirrored[:, :, ::-1] - pictures).mean((1, 2, 3))
    other = abs(mirrored - pictures).mean((1, 2, 3))
    assert same.max() < 3
    assert np.median(other) > 4 * np.median(same)


@pytest.mark.parametrize(
    ("column", "value", "low"),
    [("mask", 1, 0.35), ("hand", 1, 0.02), ("sunglasses", 1, 0.08), ("hat", "brimmed", 0.01)],
)
def test_occlusion_is_the_hidden_share_of_the_face(bare, column, value, low):
    """Nothing worn hides nothing; a mask hides about half, sunglasses a part, a hat a little (seen
    from above)."""
    rows = pd.concat([_plain(bare), _plain(bare).assign(**{column: value})], ignore_index=True)
    # the hand's finger tips on the mouth, whatever was drawn
    rows = rows.assign(hand_x=0.0, hand_y=-0.03, hand_tilt=0.0)
    rows["pitch"] = -30.0 if column == "hat" else 0.0
    nothing, something = renderer("cpu").render(rows, 48).occlusion
    assert nothing == 0
    assert low <= something < 0.75


def test_what_is_not_worn_leaves_no_trace(bare):
    """Its shapes and colours may be anything."""
    plain = _plain(bare)
    other = plain.assign(hat_r=1.0, mask_g=1.0, frame_b=1.0, hand_x=0.05)
    for name in ("crown-tall", "lens-wide", "hair-short", "hand-spread"):
        other[f"wear_{name}"] = 1 - plain[f"wear_{name}"]
    np.testing.assert_array_equal(render_faces(plain, 32), render_faces(other, 32))


def test_a_hat_shades_the_face_below_it(bare):
    """A brim between light and face makes a cast shadow; without the light there is none."""
    lit = _plain(bare, hat=["none", "brimmed"]).assign(
        light_elevation=60.0, ambient=0.1, fill_power=0.0
    )
    bareheaded, hatted = render_faces(lit, 48).astype(float).mean(3)
    assert hatted[14:24, 14:34].mean() < 0.8 * bareheaded[14:24, 14:34].mean()
    dark = lit.assign(light_power=0.0, ambient=0.5)
    bareheaded, hatted = render_faces(dark, 48).astype(float).mean(3)
    assert hatted[28:40, 14:34].mean() == pytest.approx(bareheaded[28:40, 14:34].mean(), rel=0.02)


def test_a_larger_light_makes_softer_shadows(bare):
    """Mean of 16 shots each: a shot's few rays to the light leave grain."""
    shots = _plain(bare, light_size=[0.0] * 16 + [8.0] * 16).assign(light_azimuth=50.0)
    shots = shots.assign(ambient=0.1, fill_power=0.0, noise_seed=np.arange(32) % 16, texture=0.0)
    pictures = render_faces(shots, 96).astype(float).mean(3)
    hard, soft = pictures[:16].mean(0), pictures[16:].mean(0)
    shadow = abs(hard - soft) > 2
    assert 0.005 < shadow.mean() < 0.3
    steep = [(np.gradient(picture, axis=1)[shadow] ** 2).mean() for picture in (hard, soft)]
    assert steep[1] < 0.9 * steep[0]


def test_kelvin_colours_have_the_published_chromaticities():
    """Independent values: CIE illuminant A (2856 K) and the black bodies of 4000 and 6504 K."""
    to_xyz = np.linalg.inv(
        [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    )
    xyz = np.einsum("ij,nj->ni", to_xyz, kelvin_colour(np.array([2856.0, 4000.0, 6504.0])))
    xy = xyz[:, :2] / xyz.sum(1, keepdims=True)
    np.testing.assert_allclose(
        xy, [[0.4476, 0.4074], [0.3805, 0.3768], [0.3135, 0.3237]], atol=1e-3
    )


@pytest.mark.parametrize("kelvin", [2000.0, 20000.0])
def test_extreme_lights_give_finite_pictures(bare, kelvin):
    lit = _plain(bare, white_balance=[0.0, 0.75, 1.0]).assign(light_kelvin=kelvin)
    scenes = renderer("cpu").scenes(lit, coefficients(lit, head_arrays()), 16)
    for name in ("light_colour", "fill_colour", "room_colour"):
        assert np.isfinite(scenes[name]).all()
        assert (scenes[name] >= 0).all()


def test_the_light_stays_where_it_is_when_the_head_turns(bare):
    """Lit from the picture's right, the wall's side stays dark whatever the yaw."""
    lit = _plain(bare, yaw=[-40.0, 0.0, 40.0]).assign(
        light_azimuth=70.0, light_elevation=10.0, ambient=0.15, fill_power=0.0
    )
    for name in ("skin", "lips", "hair", "brow"):
        lit[[f"{name}_{c}" for c in "rgb"]] = 0.6
    pictures = render_faces(_wall(lit, (0, 0, 1)), 48).astype(float)
    for picture in pictures:
        face = (picture[..., 2] < 1.3 * picture[..., 0])[12:40]
        columns = np.flatnonzero(face.mean(0) > 0.9)
        left, right = columns[: len(columns) // 3], columns[-(len(columns) // 3) :]
        red = picture[12:40, :, 0]
        assert red[:, right].mean() > 1.5 * red[:, left].mean()


def test_the_second_light_the_exposure_and_the_gaze_show(bare):
    """Each alone changes the picture where and how it says."""
    lit = _plain(bare, fill_power=[0.0, 1.0]).assign(fill_azimuth=-60.0)
    dark, bright = render_faces(lit, 48).astype(float).mean(3)
    gain = bright - dark
    assert gain[20:36, 10:20].mean() > gain[20:36, 28:38].mean() > -0.5
    under, over = render_faces(_plain(bare, exposure=[-1.0, 1.0]), 48).astype(float)
    assert over.mean() > 1.5 * under.mean()
    looks = render_faces(_plain(bare, AU61=[0.0, 1.0]), 112).astype(float).mean(3)
    change = abs(looks[1] - looks[0])
    assert change[30:60].sum() > 5 * change[60:].sum()  # the eyes' rows, not the mouth's


def test_a_near_camera_widens_the_nose(bare):
    """Perspective: from near, the nose is larger against the ears' distance."""
    at = _vertices_by_place(bare)
    near_far = _plain(bare, distance=[0.4, 2.4])
    left, right = (_project(near_far, at[n]) for n in ("left_ear", "right_ear"))
    width = left[:, 0] - right[:, 0]
    assert width[1] > 1.05 * width[0]


def test_white_balance_takes_the_lights_colour_away(bare):
    lit = _plain(bare, white_balance=[0.0, 1.0]).assign(light_kelvin=3000.0, fill_power=0.0)
    raw, balanced = render_faces(_wall(lit, (0.5, 0.5, 0.5)), 32).astype(float)
    corner = (slice(0, 4), slice(0, 4))
    assert raw[corner][..., 0].mean() > raw[corner][..., 2].mean() + 30
    assert abs(balanced[corner][..., 0].mean() - balanced[corner][..., 2].mean()) < 4


def test_blur_noise_and_jpeg_do_what_they_say(bare):
    """Blur lowers the sharpness, noise adds its own spread on a plain wall, JPEG changes little."""
    columns = {"blur": [0.2, 2.0, 0.2, 0.2, 0.0], "noise": [0.0, 0.0, 0.02, 0.0, 0.0],
               "jpeg": [100.0, 100.0, 100.0, 30.0, 100.0],
               "motion": [0.0, 0.0, 0.0, 0.0, 4.0], "motion_angle": [0.0] * 5}  # fmt: skip
    shots = render_faces(_wall(_plain(bare, **columns), (0.5, 0.5, 0.5)), 112).astype(float)
    clean, blurred, noisy, packed, shaken = shots

    def sharpness(picture):
        return abs(np.diff(picture.mean(2), axis=0)).mean()

    assert sharpness(blurred) < 0.7 * sharpness(clean)
    assert abs(shaken - clean).mean() > 0.5  # without any focus blur too
    assert clean[:8, :8].std((0, 1)).max() < 1
    assert 0.5 * 255 * 0.02 < noisy[:8, :8].std((0, 1)).mean() < 2 * 255 * 0.02
    assert 0.3 < abs(packed - clean).mean() < 6


@pytest.mark.parametrize("wrong", [{"size": 4}, {"size": 16, "processes": 0}])
def test_wrong_arguments_raise(table, wrong):
    with pytest.raises(ValueError, match="at least"):
        render_faces(table, **wrong)


def test_missing_columns_are_named(table):
    with pytest.raises(KeyError, match="AU12_left"):
        render_faces(table.drop(columns="AU12_left"), 16, processes=1)


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu(tmp_path):
    """No GPU is needed to compile for one: what only the CPU's compiler takes would fail here."""
    wp = started_warp()
    if not hasattr(wp, "compile_aot_module"):
        pytest.skip("this warp cannot compile ahead of time")
    wp.compile_aot_module(
        kernels().shade.module, device=None, arch=90, module_dir=tmp_path, use_ptx=True
    )
    assert list(tmp_path.glob("*.ptx"))


# -- the mini set that ships ---


def test_the_mini_pack_holds_what_is_drawn():
    pack, drawn = open_pack(MINI_PATH), draw_faces(MINI)
    assert len(pack) >= 512
    assert pack.size == 48
    assert sum(file.stat().st_size for file in MINI_PATH.iterdir()) <= 6e6
    labels = drawn[list(LABEL_COLUMNS)]
    labels[["second"]] = labels[["second"]].replace("", np.nan)  # as CSV has it
    assert pack.labels["occlusion"].between(0, 1).all()
    pd.testing.assert_frame_equal(
        pack.labels.drop(columns="occlusion"), labels, check_dtype=False, rtol=1e-4, atol=1e-4
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
