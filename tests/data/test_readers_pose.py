"""300W-LP, AFLW2000-3D, BIWI: order, unit and sign of angles, crops, who is in which split."""

import numpy as np
import pandas as pd
import pytest
import scipy.io
from PIL import Image
from posing import pose_angles
from reader_fixtures import (
    CENTRE,
    POSE,
    ROTATION,
    make_aflw2000,
    make_biwi,
    make_w300lp,
    pose_text,
    save_mat,
    save_picture,
    touch,
    write,
)
from scipy.spatial.transform import Rotation

from hmtl.angles import pose_matrix
from hmtl.data.readers.aflw2000 import read_aflw2000
from hmtl.data.readers.biwi import PEOPLE, biwi_angles, read_biwi
from hmtl.data.readers.crops import HOPENET_BIWI, HOPENET_TEST, hopenet_crop, plain_crop
from hmtl.data.readers.w300lp import read_w300lp

ANGLES = ["yaw", "pitch", "roll"]
BOX = ["left", "top", "right", "bottom"]
LOOKS_DOWN = np.diag([1.0, -1.0, -1.0])  # y down, z away -> y up, z towards the camera


def report(table):
    return table.attrs["report"]


# -- crops ---


def crop_by_the_letter(box, k, sides):
    """Hopenet's lines as they stand in its code, one image at a time."""
    x_min, y_min, x_max, y_max = box
    x_min -= sides[0] * k * abs(x_max - x_min)
    y_min -= sides[1] * k * abs(y_max - y_min)
    x_max += sides[2] * k * abs(x_max - x_min)
    y_max += sides[3] * k * abs(y_max - y_min)
    return int(x_min), int(y_min), int(x_max), int(y_max)


def test_hopenet_crop_by_hand():
    """Width and height 100 and 120, k 0.2: the right side moves by 12 % of 112, not of 100."""
    box = [[100.0, 120.0, 200.0, 240.0]]
    assert hopenet_crop(box, 0.2).tolist() == [[88, 72, 213, 260]]  # 213.44, 260.16
    assert hopenet_crop(box, 0.2, HOPENET_TEST).tolist() == [[60, 72, 256, 260]]


@pytest.mark.parametrize("sides", [(0.6, 2, 0.6, 0.6), HOPENET_TEST, HOPENET_BIWI])
def test_hopenet_crop_is_the_published_one(sides):
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.uniform(-50, 450, (200, 2, 2)), axis=1).reshape(200, 4)
    k = rng.uniform(0.2, 0.4, 200)
    expected = [crop_by_the_letter(box, one, sides) for box, one in zip(boxes, k, strict=True)]
    np.testing.assert_array_equal(hopenet_crop(boxes, k, sides), expected)


def test_crops_may_reach_outside_and_are_padded_with_black(tmp_path):
    box = hopenet_crop([[2.0, 2.0, 6.0, 6.0]], 0.4)[0]
    assert box.tolist() == [1, -1, 7, 7]
    save_picture(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.crop(tuple(int(side) for side in box)))
    assert pixels.shape == (8, 6)
    assert (pixels[0] == 0).all()
    assert (pixels[1:] == 128).all()


def test_plain_crop_moves_every_side_by_the_tight_box():
    assert plain_crop([[100, 120, 200, 240]], 0.5).tolist() == [[50, 60, 250, 300]]


# -- 300W-LP ---


def test_pose_para_is_pitch_yaw_roll_in_radians(tmp_path):
    """The vector that a user of Hopenet printed: pitch 4.914, yaw -5.476, roll 4.347 degrees."""
    table = read_w300lp(make_w300lp(tmp_path))
    row = table[table.key == "AFW/AFW_11_1_0.jpg"].iloc[0]
    np.testing.assert_allclose(row[ANGLES].astype(float), [-5.476, 4.914, 4.347], atol=5e-4)


def test_w300lp_whole(tmp_path):
    root = make_w300lp(tmp_path)
    table = read_w300lp(tmp_path)
    assert len(table) == 24
    assert (table.split == "train").all()
    assert table.path[0] == str(root.resolve() / table.key[0])
    assert not table.key.str.contains("Code|landmarks").any()
    counts = report(table)["counts"]
    assert counts["images on disk"] == {"found": 24, "published": 122_450}
    assert counts["AFW_Flip on disk"] == {"found": 6, "published": 5_207}
    assert counts["IBUG on disk"] == {"found": 0, "published": 1_786}
    assert read_w300lp(root).equals(table)


def test_flips_are_mirror_images_and_can_be_left_out(tmp_path):
    make_w300lp(tmp_path)
    table = read_w300lp(tmp_path).set_index("key")
    one, other = table.loc["AFW/AFW_11_1_2.jpg"], table.loc["AFW_Flip/AFW_11_1_2.jpg"]
    assert (one.yaw, one.pitch, one.roll) == (-other.yaw, other.pitch, -other.roll)
    assert one.source == other.source == "AFW/AFW_11_1"
    assert table.source.nunique() == 4
    plain = read_w300lp(tmp_path, flips=False)
    assert len(plain) == 12
    assert report(plain)["counts"]["images on disk"]["published"] == 61_225


def test_angles_beyond_99_degrees_are_dropped_and_99_is_kept(tmp_path):
    root = make_w300lp(tmp_path)
    save_mat(root / "AFW/AFW_11_1_0.mat", [0, np.radians(99.01), 0])
    save_mat(root / "AFW/AFW_11_1_1.mat", [np.radians(-120), 0, 0])
    save_mat(root / "AFW/AFW_11_1_2.mat", [0, 0, np.radians(98.99)])
    table = read_w300lp(root)
    assert len(table) == 22
    assert report(table)["dropped"] == {"beyond 99 degrees": 2}
    assert report(table)["counts"]["AFW on disk"]["found"] == 6  # as published counts are
    assert len(read_w300lp(root, all_angles=True)) == 24


def test_the_training_crop_hangs_on_seed_and_name(tmp_path):
    root = make_w300lp(tmp_path)
    table = read_w300lp(root)
    # by hand from the landmarks' box 100..200, 120..240: k from 0.2 to 0.4
    assert table.left.between(76, 88).all()
    assert table.top.between(24, 72).all()
    assert table.left.nunique() > 3
    again = read_w300lp(root, seed=1)
    assert not table.left.equals(again.left)
    for part in root.glob("*HELEN*"):
        for file in part.iterdir():
            file.unlink()
    left = table[table.key.str.startswith("AFW")].reset_index(drop=True)
    assert read_w300lp(root).equals(left)  # other files gone, these draws stand


def test_landmarks_outside_do_not_shape_the_plain_crop(tmp_path):
    root = make_w300lp(tmp_path)
    points = np.full((2, 68), 150.0)
    points[:, :3] = [[100, 200, -80], [120, 240, -1]]
    points[:, 3] = [-5, 400]  # above zero in y only
    points[:, 4] = [440, -5]  # and in x only
    save_mat(root / "AFW/AFW_11_1_0.mat", POSE, points)
    save_mat(root / "AFW/AFW_11_1_1.mat", POSE, -np.ones((2, 68)))
    table = read_w300lp(root, crop="plain").set_index("key")
    assert table.loc["AFW/AFW_11_1_0.jpg", BOX].tolist() == [40, 48, 260, 312]
    assert report(table)["dropped"] == {"no landmark in the picture": 1}
    hopenet = read_w300lp(root).set_index("key")
    assert hopenet.loc["AFW/AFW_11_1_0.jpg", "left"] < -80  # Hopenet takes them as they are


def test_files_that_are_torn_or_lack_the_other_cost_themselves_only(tmp_path):
    root = make_w300lp(tmp_path)
    (root / "AFW/AFW_11_1_0.mat").write_bytes(b"")
    whole = (root / "AFW/AFW_11_1_1.mat").read_bytes()
    (root / "AFW/AFW_11_1_1.mat").write_bytes(whole[:150])
    (root / "HELEN/HELEN_11_1_0.mat").unlink()
    table = read_w300lp(root)
    assert len(table) == 21
    assert report(table)["dropped"] == {".mat cannot be read": 2, "image without .mat": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"pt2d": np.ones((2, 68))}, r"AFW_11_1_0.mat .*expected Pose_Para .*, found none"),
        ({"Pose_Para": np.ones((1, 3))}, r"expected Pose_Para of shape \(1, 7\), found \(1, 3\)"),
        ({"Pose_Para": np.full((1, 7), np.nan)}, r"AFW_11_1_0.mat .*Pose_Para is not a number"),
        ({"Pose_Para": np.ones((1, 7))}, r"expected pt2d of shape .*, found none"),
        ({"Pose_Para": np.ones((1, 7)), "pt2d": np.ones((68, 2))}, r"found \(68, 2\)"),
    ],
)
def test_a_mat_of_another_kind_is_named(tmp_path, content, message):
    root = make_w300lp(tmp_path)
    scipy.io.savemat(root / "AFW/AFW_11_1_0.mat", content)
    with pytest.raises(ValueError, match=message):
        read_w300lp(root)


# -- AFLW2000-3D ---


def test_aflw2000_is_the_test_set_of_1969(tmp_path):
    make_aflw2000(tmp_path)
    table = read_aflw2000(tmp_path)
    assert table.key.tolist() == [f"image{n:05d}.jpg" for n in (2, 4, 6, 10, 21)]
    assert (table.split == "test").all()
    assert report(table)["dropped"] == {"beyond 99 degrees": 1}
    counts = report(table)["counts"]
    assert counts["test"] == {"found": 5, "published": 1_969}
    assert counts["images on disk"] == {"found": 6, "published": 2_000}
    all_of_it = read_aflw2000(tmp_path / "AFLW2000", all_angles=True)
    assert report(all_of_it)["counts"]["test"] == {"found": 6, "published": 2_000}
    np.testing.assert_allclose(
        table.loc[0, ANGLES].astype(float), [-5.476, 4.914, 4.347], atol=1e-3
    )


def test_aflw2000_crops(tmp_path):
    make_aflw2000(tmp_path)
    table = read_aflw2000(tmp_path).set_index("key")
    assert table.loc["image00002.jpg", BOX].tolist() == [60, 72, 256, 260]  # twice k to the sides
    # image 10 has placeholders of -1, which Hopenet's box holds and the plain one does not
    assert table.loc["image00010.jpg", "left"] < -80
    plain = read_aflw2000(tmp_path, crop="plain").set_index("key")
    assert plain.loc["image00010.jpg", BOX].tolist() == [40, 48, 260, 312]
    fitted = read_aflw2000(tmp_path, points="pt3d_68").set_index("key")
    expected = crop_by_the_letter((110.0, 130.0, 190.0, 210.0), 0.2, HOPENET_TEST)
    assert tuple(fitted.loc["image00002.jpg", BOX]) == expected


@pytest.mark.parametrize(("option", "value"), [("crop", "tight"), ("points", "pt68")])
def test_unknown_options_are_refused(tmp_path, option, value):
    with pytest.raises(ValueError, match=f"{option}='{value}': one of "):
        read_aflw2000(tmp_path, **{option: value})


def test_wrong_roots_of_head_pose(tmp_path):
    touch(tmp_path, "AFW/a.jpg")
    with pytest.raises(FileNotFoundError, match=r"expected AFW/, HELEN/.*but it holds AFW"):
        read_w300lp(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"or AFLW2000/ in it, but it holds AFW"):
        read_aflw2000(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected 01/ .. 24/ .*but it holds AFW"):
        read_biwi(tmp_path)
    with pytest.raises(ValueError, match="crop='tight': one of hopenet, plain"):
        read_w300lp(tmp_path, crop="tight")


# -- BIWI ---


def test_biwi_rotations_are_transposed():
    """The example on the data set's card: yaw 9.327, pitch -0.405, roll -6.394 degrees."""
    np.testing.assert_allclose(
        biwi_angles(np.array([ROTATION])), [[9.327, -0.405, -6.394]], atol=5e-4
    )


def test_biwi_angles_follow_the_convention_of_300w_lp():
    """Against scipy, and against the project's own matrix of the rendered heads."""
    rotations = Rotation.from_euler(
        "XYZ", np.random.default_rng(0).uniform(-80, 80, (100, 3)), degrees=True
    ).as_matrix()
    turned = LOOKS_DOWN @ rotations @ LOOKS_DOWN
    np.testing.assert_allclose(biwi_angles(rotations), pose_angles(turned), atol=1e-9)
    np.testing.assert_allclose(pose_matrix(*biwi_angles(rotations).T), turned, atol=1e-9)


def test_biwi_protocol_1_tests_on_everything(tmp_path):
    root = make_biwi(tmp_path)
    table = read_biwi(tmp_path)
    assert len(table) == 72
    assert (table.split == "test").all()
    assert table.key[0] == "01/frame_00003_rgb.png"
    assert table.path[0] == str(root.resolve() / table.key[0])
    assert report(table)["counts"]["all"] == {"found": 72, "published": 15_678}
    np.testing.assert_allclose(
        table.loc[0, ANGLES].astype(float), [9.327, -0.405, -6.394], atol=1e-3
    )


def test_four_people_of_biwi_were_recorded_twice(tmp_path):
    table = read_biwi(make_biwi(tmp_path))
    assert table.person.nunique() == len(set(PEOPLE.values())) == 20
    assert table.drop_duplicates("person").gender.value_counts().to_dict() == {
        "male": 14,
        "female": 6,
    }
    recordings = table.key.str[:2].groupby(table.person).unique()
    twice = {p: sorted(r) for p, r in recordings.items() if len(r) == 2}
    assert twice == {
        "F03": ["03", "15"],
        "F05": ["05", "18"],
        "F02": ["02", "21"],
        "M01": ["07", "22"],
    }


def test_biwi_protocol_2_never_splits_a_person(tmp_path):
    make_biwi(tmp_path)
    for seed in range(5):
        table = read_biwi(tmp_path, protocol=2, seed=seed)
        assert (table.groupby("person").split.nunique() == 1).all()
        people = table.drop_duplicates("person").groupby(["split", "gender"]).size()
        assert people.to_dict() == {
            ("train", "female"): 4,
            ("train", "male"): 10,
            ("test", "female"): 2,
            ("test", "male"): 4,
        }
    again = read_biwi(tmp_path, protocol=2, seed=4)
    assert again.split.equals(table.split)
    assert not read_biwi(tmp_path, protocol=2, seed=0).split.equals(table.split)
    three = read_biwi(tmp_path, protocol=2, shares=(0.5, 0.2, 0.3))
    assert set(three.split) == {"train", "valid", "test"}


def test_biwi_crop_is_around_the_head_by_the_calibration(tmp_path):
    """By hand: depth to colour camera, then 517.679 x / z + 320, half of 250 mm on each side."""
    table = read_biwi(make_biwi(tmp_path))
    x = 0.999947 * CENTRE[0] + 0.00432361 * CENTRE[1] + 0.00929419 * CENTRE[2] - 24.0198
    y = -0.00446314 * CENTRE[0] + 0.999877 * CENTRE[1] + 0.0150443 * CENTRE[2] + 5.8896
    z = -0.009228 * CENTRE[0] - 0.015085 * CENTRE[1] + 0.999844 * CENTRE[2] - 13.2308
    u, v, half = 517.679 * x / z + 320, 517.679 * y / z + 240.5, 517.679 * 125 / z
    expected = np.rint([u - half, v - half, u + half, v + half])
    np.testing.assert_array_equal(table.loc[0, BOX].astype(float), expected)
    assert table[BOX].dtypes.map(str).eq("int64").all()


def test_biwi_with_a_detectors_boxes_is_cropped_as_in_hopenet(tmp_path):
    make_biwi(tmp_path)
    lines = ["key,left,top,right,bottom", "01/frame_00003_rgb.png,300,200.5,380,290"]
    file = write(tmp_path / "boxes.csv", [*lines, "24/frame_00007_rgb.png,10,10,50,60"])
    table = read_biwi(tmp_path, boxes=file)
    assert table.key.tolist() == ["01/frame_00003_rgb.png", "24/frame_00007_rgb.png"]
    expected = crop_by_the_letter((300.0, 200.5, 380.0, 290.0), 0.35, (0.6, 1, 0.6, 0.6))
    assert tuple(table.loc[0, BOX]) == expected
    assert report(table)["dropped"] == {"no face box": 70}
    again = "24/frame_00007_rgb.png,9,9,50,60"
    write(file, [*lines, lines[0], lines[1], lines[1].replace("300", "301"), again])
    table = read_biwi(tmp_path, boxes=file)
    assert table.key.tolist() == ["24/frame_00007_rgb.png"]
    dropped = report(table)["dropped"]
    counts = {"repeated header": 1, "repeated row": 1, "one face with two labels": 2}
    assert dropped == counts | {"no face box": 71}


@pytest.mark.parametrize("bad", ["1,2,3", "1,2,x,4", "5,2,3,4", "1,2,3,4,5", "nan,2,3,4"])
def test_biwi_boxes_that_are_none(tmp_path, bad):
    make_biwi(tmp_path, frames=1)
    file = write(tmp_path / "boxes.csv", [f"01/frame_00003_rgb.png,{bad}"])
    with pytest.raises(ValueError, match=r"boxes.csv line 1: expected key,left,top,right,bottom"):
        read_biwi(tmp_path, boxes=file)


def test_biwi_files_that_are_broken_cost_themselves_only(tmp_path):
    folder = make_biwi(tmp_path) / "01"
    (folder / "frame_00003_pose.txt").write_text("1 0 0 \n0 1 0 \n")
    (folder / "frame_00005_pose.txt").write_text(pose_text(np.diag([1.0, 1.0, -1.0])))
    (folder / "frame_00007_rgb.png").unlink()
    touch(folder, "frame_00009_rgb.png")
    (folder.parent / "02/frame_00003_pose.txt").write_text("no pose")
    (folder.parent / "02/frame_00005_pose.txt").write_text(pose_text(2 * np.eye(3)))
    table = read_biwi(tmp_path)
    assert report(table)["dropped"] == {
        "malformed pose file": 4,
        "pose without image": 1,
        "image without pose": 1,
    }
    assert len(table) == 72 - 5
    assert not isinstance(table.index, pd.MultiIndex)
    assert table.index.tolist() == list(range(67))


def test_biwi_errors(tmp_path):
    root = make_biwi(tmp_path)
    with pytest.raises(ValueError, match="protocol=3: 1 .* or 2"):
        read_biwi(root, protocol=3)
    (root / "02/rgb.cal").write_text("1 2 3\n")
    with pytest.raises(ValueError, match=r"02.rgb.cal: expected matrices in lines 1-3"):
        read_biwi(root)
    (root / "02/rgb.cal").unlink()
    with pytest.raises(FileNotFoundError, match=r"02.rgb.cal is missing"):
        read_biwi(root)
    (root / "25").mkdir()
    (root / "02").rename(root / "26")
    with pytest.raises(ValueError, match=r"25: recordings are 01 to 24"):
        read_biwi(root)
