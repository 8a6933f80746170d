"""AffectNet's three forms: every trap of the files on disk, and what the reader says of it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_folders import LANDMARKS
from PIL import Image
from reader_fixtures import (
    HEADER,
    affectnet_name,
    affectnet_row,
    affectnet_rows,
    make_affectnet_csv,
    make_affectnet_npy,
    make_class_folders,
    save_annotation,
    touch,
    write,
)

from hmtl.data.readers.affectnet import read_affectnet
from hmtl.data.readers.affectnet.folders import read_affectnet_folders
from hmtl.data.readers.affectnet.lists import read_affectnet_csv
from hmtl.data.readers.affectnet.npy import read_affectnet_npy, read_scalar
from hmtl.data.readers.report import differences
from hmtl.labels import EMOTIONS

FOLDERS = ["anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def report(table):
    return table.attrs["report"]


# -- the csv release ---


def test_the_first_release_is_read_whole(tmp_path):
    table = read_affectnet_csv(make_affectnet_csv(tmp_path))
    assert table.groupby("split").size().to_dict() == {"train": 24, "test": 16}
    assert table.emotion[:8].tolist() == list(EMOTIONS)  # 0..7 are AffectNet's order
    assert table.key[1] == f"Manually_Annotated_Images/{affectnet_name(1)}"
    assert table.path[1] == str(tmp_path.resolve() / table.key[1])
    assert (table.valence[0], table.arousal[0]) == (0.5, -0.25)
    assert report(table)["dropped"] == {"None": 5, "Uncertain": 5, "Non-Face": 5}
    counts = report(table)["counts"]
    assert counts["train"] == {"found": 24, "published": 287_651}
    assert counts["train/happy"] == {"found": 3, "published": 134_415}
    assert counts["test"] == {"found": 16, "published": 4_000}
    assert counts["test/contempt"] == {"found": 2, "published": 500}


@pytest.mark.parametrize("header", [(True, True), (False, False), (False, True)])
def test_a_header_is_seen_where_it_is(tmp_path, header):
    """The trap: skipping a line that is none loses a face, not skipping one reads a header."""
    make_affectnet_csv(tmp_path / "a")
    make_affectnet_csv(tmp_path / "b", header=header)
    one, other = (read_affectnet_csv(tmp_path / name) for name in "ab")
    assert one.drop(columns="path").equals(other.drop(columns="path"))


def test_seven_classes_leave_contempt_out(tmp_path):
    table = read_affectnet_csv(make_affectnet_csv(tmp_path), classes=7)
    assert set(table.emotion) == set(EMOTIONS) - {"contempt"}
    assert report(table)["counts"]["test"]["published"] == 3_500
    assert report(table)["counts"]["train"]["published"] == 283_901
    assert report(table)["dropped"]["contempt, which AffectNet-7 leaves out"] == 5
    with pytest.raises(ValueError, match="8, or 7 without contempt"):
        read_affectnet_csv(tmp_path, classes=6)


def test_the_box_is_rows_y_to_y_plus_height_and_columns_x_to_x_plus_width(tmp_path):
    """The trap: `crop((x, y, w, h))`. Pillow's crop of the four is numpy's img[y:y+h, x:x+w]."""
    row = affectnet_row(affectnet_name(0), box=(3, 5, 10, 20))
    table = read_affectnet_csv(make_affectnet_csv(tmp_path, [row]))
    box = table.loc[0, ["left", "top", "right", "bottom"]].to_list()
    pixels = np.arange(40 * 30, dtype=np.int32).reshape(40, 30)
    cropped = np.asarray(Image.fromarray(pixels).crop(box))
    np.testing.assert_array_equal(cropped, pixels[5:25, 3:13])


def test_malformed_rows_cost_themselves_only(tmp_path):
    rows = affectnet_rows(0, 33)
    rows[4] = rows[4].replace(LANDMARKS, "")[:40]  # torn
    rows[7] = affectnet_row(affectnet_name(7), box=("", "x", 3, 4))
    rows[9] = affectnet_row('"' + affectnet_name(9))  # a lost quotation mark swallows nothing
    table = read_affectnet_csv(make_affectnet_csv(tmp_path, rows))
    assert len(table) == 40 - 2  # rows 5 and 8 of 24 + 16; the tenth was None
    assert report(table)["dropped"]["malformed row"] == 3
    places = ["training.csv line 6", "training.csv line 9", "training.csv line 11"]
    assert report(table)["examples"]["malformed row"] == places


def test_a_file_of_another_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"training.csv: 10 of 10 lines are no rows.* line 2;"):
        read_affectnet_csv(make_affectnet_csv(tmp_path / "a", ["1/a.jpg,happy"] * 10))
    bad = ["path,face", affectnet_row(affectnet_name(0))]
    with pytest.raises(ValueError, match=r"training.csv: 1 of 2 lines .* line 1; expected subDir"):
        read_affectnet_csv(make_affectnet_csv(tmp_path / "b", bad, header=(False, False)))
    other = HEADER.replace("expression,valence", "valence,expression")
    with pytest.raises(ValueError, match=r"line 1: 'valence' stands where 'expression' is exp"):
        read_affectnet_csv(make_affectnet_csv(tmp_path / "c", [other], header=(False, False)))


def test_minus_two_is_no_valence(tmp_path):
    rows = [affectnet_row(affectnet_name(0), "1", "-2", "-2"), affectnet_row(affectnet_name(1))]
    table = read_affectnet_csv(make_affectnet_csv(tmp_path, rows))
    assert table.valence.isna().tolist()[:2] == [True, False]
    assert table.arousal.min() >= -1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("11",), r"training.csv line 3, field expression: 11.* is not known; one of 0, 1"),
        (("-1",), r"training.csv line 3, field expression: -1"),
        (("1.5",), r"training.csv line 3, field expression: 1.5"),
        (("happy",), r"training.csv line 3, field expression: 'happy' is no number"),
        (("",), r"training.csv line 3, field expression: ''"),
        (("1", "-1.2"), r"training.csv line 3, field valence: -1.2 is not in -1..1"),
        (("1", "0", "-3"), r"training.csv line 3, field arousal: -3 is not in -1..1"),
        (("1", "0", "nan?"), r"training.csv line 3, field arousal: 'nan\?' is no number"),
    ],
)
def test_unknown_labels_name_file_line_and_field(tmp_path, row, message):
    rows = [affectnet_row(affectnet_name(0)), affectnet_row(affectnet_name(1), *row)]
    with pytest.raises(ValueError, match=message):
        read_affectnet_csv(make_affectnet_csv(tmp_path, rows))


def test_faces_without_a_box_and_unreadable_formats_are_counted(tmp_path):
    rows = [
        affectnet_row(affectnet_name(0)),
        affectnet_row(affectnet_name(1), box=(-1, -1, -1, -1)),
        affectnet_row(affectnet_name(2, "tif")),
        affectnet_row(affectnet_name(3, "BMP")),
        affectnet_row(affectnet_name(4, "JPG")),
    ]
    table = read_affectnet_csv(make_affectnet_csv(tmp_path, rows))
    assert (table.split == "train").sum() == 2
    assert report(table)["dropped"]["no face box"] == 1
    assert report(table)["dropped"][".tif or .bmp"] == 2


def test_repeats_are_counted_and_several_faces_of_a_picture_stay(tmp_path):
    a, b, c = (affectnet_name(i) for i in range(3))
    rows = [
        affectnet_row(a, "1"),
        affectnet_row(a, "1"),  # the same again
        affectnet_row(a, "3", box=(500, 5, 50, 50)),  # another face in the picture
        affectnet_row(b, "1"),
        affectnet_row(b, "2"),  # one face, two labels: never guessed
        affectnet_row(c, "4"),  # in validation too
        affectnet_row(affectnet_name(5)),
    ]
    table = read_affectnet_csv(make_affectnet_csv(tmp_path, rows, [affectnet_row(c, "4")]))
    top = "Manually_Annotated_Images/"
    assert table.key.tolist() == [top + a, f"{top}{a}#2", top + affectnet_name(5), top + c]
    assert table.path[0] == table.path[1]
    assert table.emotion.tolist() == ["happy", "surprise", "neutral", "fear"]
    dropped = report(table)["dropped"]
    assert dropped["repeated row"] == 1
    assert dropped["one face with two labels"] == 2
    assert dropped["training image that is in validation too"] == 1


def test_landmarks_in_many_columns_are_read_too(tmp_path):
    wide = [row.replace(LANDMARKS, LANDMARKS.replace(";", ",")) for row in affectnet_rows(0, 22)]
    make_affectnet_csv(tmp_path / "a", affectnet_rows(0, 22))
    make_affectnet_csv(tmp_path / "b", wide, header=(False, False))
    one, other = (read_affectnet_csv(tmp_path / name) for name in "ab")
    assert one.drop(columns="path").equals(other.drop(columns="path"))


def test_missing_images_cost_themselves_only(tmp_path):
    make_affectnet_csv(tmp_path)
    gone = tmp_path / "Manually_Annotated_Images" / affectnet_name(2)
    gone.unlink()
    table = read_affectnet_csv(tmp_path)
    assert len(table) == 39
    assert report(table)["dropped"]["not on disk"] == 1
    example = f"Manually_Annotated_Images/{affectnet_name(2)}"
    assert report(table)["examples"]["not on disk"] == [example]
    assert report(table)["missing"] == [example]


def test_no_image_at_all_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no image is left; dropped: .*40 not on disk"):
        read_affectnet_csv(make_affectnet_csv(tmp_path, images=[]))


# -- the release of March 2021 ---


@pytest.mark.parametrize("kind", ["text", "number", "array"])
def test_march_2021_whatever_the_type_of_its_files(tmp_path, kind):
    table = read_affectnet_npy(make_affectnet_npy(tmp_path, kind=kind))
    assert table.groupby("split").size().to_dict() == {"train": 24, "test": 16}
    assert table.emotion.tolist() == list(EMOTIONS) * 5
    assert (table.valence == 0.5).all()  # _val is valence and _aro arousal
    assert (table.arousal == -0.25).all()
    assert "left" not in table  # the images are cropped


def test_ids_start_anew_in_each_set_and_keys_do_not_clash(tmp_path):
    table = read_affectnet_npy(make_affectnet_npy(tmp_path))
    assert {"train_set/images/3.jpg", "val_set/images/3.jpg"} <= set(table.key)
    assert table.key[:12].tolist() == [f"train_set/images/{i}.jpg" for i in range(12)]


def test_499_images_of_contempt_are_what_is_published(tmp_path):
    table = read_affectnet_npy(make_affectnet_npy(tmp_path))
    counts = report(table)["counts"]
    assert counts["test/contempt"]["published"] == 499
    assert counts["test/anger"]["published"] == 500
    assert counts["test"]["published"] == 3_999
    seven = report(read_affectnet_npy(tmp_path, classes=7))["counts"]
    assert seven["test"]["published"] == 3_500
    assert seven["test"]["found"] == 14


def test_march_2021_images_and_annotations_that_lack_the_other(tmp_path):
    make_affectnet_npy(tmp_path)
    (tmp_path / "train_set/images/5.jpg").unlink()
    (tmp_path / "val_set/annotations/6_aro.npy").unlink()
    table = read_affectnet_npy(tmp_path)
    assert len(table) == 38
    assert report(table)["dropped"] == {
        "annotations without an image": 1,
        "image without annotations": 1,
    }


def test_march_2021_images_that_share_a_number_are_counted_and_not_guessed_between(tmp_path):
    make_affectnet_npy(tmp_path)
    touch(tmp_path / "train_set/images", "5.png")
    table = read_affectnet_npy(tmp_path)
    assert len(table) == 39
    assert report(table)["dropped"] == {"images of one number": 2}
    pair = ["train_set/images/5.jpg", "train_set/images/5.png"]
    assert report(table)["examples"]["images of one number"] == pair
    assert "val_set/images/5.jpg" in set(table.key)  # ids start anew


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("exp", "12", r"train_set.annotations.3_exp.npy, field expression: 12.* is not known"),
        ("exp", "fear", r"3_exp.npy: expected one number in it; could not convert"),
        ("val", 1.5, r"3_val.npy, field valence: 1.5 is not in -1..1"),
        ("aro", np.zeros(2), r"3_aro.npy: expected one number in it; holds 2 values"),
        ("aro", np.array(None), r"3_aro.npy: expected one number in it; it holds Python objects"),
    ],
)
def test_bad_annotations_name_their_file(tmp_path, field, value, message):
    make_affectnet_npy(tmp_path)
    np.save(tmp_path / f"train_set/annotations/3_{field}.npy", value)
    with pytest.raises(ValueError, match=message):
        read_affectnet_npy(tmp_path)


@pytest.mark.parametrize("raw", [b"", b"\x93NUMPY", b"no numpy file\n1"])
def test_torn_annotations_name_their_file(tmp_path, raw):
    (tmp_path / "1_exp.npy").write_bytes(raw)
    with pytest.raises(ValueError, match="1_exp.npy: expected one number"):
        read_scalar(tmp_path / "1_exp.npy")


@pytest.mark.parametrize("value", ["3", 3, 3.25, np.float32(0.1), np.int8(-2), np.array([[7]])])
def test_read_scalar_agrees_with_numpy(tmp_path, value):
    np.save(tmp_path / "x.npy", value)
    assert read_scalar(tmp_path / "x.npy") == float(np.load(tmp_path / "x.npy").item())


def test_minus_two_in_march_2021_is_missing(tmp_path):
    make_affectnet_npy(tmp_path)
    save_annotation(tmp_path / "train_set/annotations", 0, 0, -2, -2)
    table = read_affectnet_npy(tmp_path)
    assert np.isnan(table.valence[0])
    assert np.isnan(table.arousal[0])


# -- copies ---


def test_folders_go_by_name_not_by_alphabetical_order(tmp_path):
    table = read_affectnet_folders(make_class_folders(tmp_path, FOLDERS, count=20))
    said = table.key.str.split("/").str[0]
    assert (said == table.emotion).all()  # these eight names are ours too
    assert set(table.split) == {"train", "valid", "test"}
    sizes = table.groupby(["split", "emotion"]).size().unstack()
    assert (sizes.loc["train"] == 16).all()
    assert (sizes.loc["test"] == 2).all()
    assert "no official split" in report(table)["notes"][0]


def test_numbered_folders_need_names(tmp_path):
    make_class_folders(tmp_path, [str(i) for i in range(8)], splits=("train", "val"))
    with pytest.raises(ValueError, match=r"train.0.image0000000.jpg, .*: '0' is not known; one of"):
        read_affectnet_folders(tmp_path)
    own = read_affectnet_folders(tmp_path, names=dict(enumerate(EMOTIONS)))
    assert own.emotion[own.key == "train/0/image0000000.jpg"].item() == "neutral"
    alphabetical = read_affectnet_folders(tmp_path, names=dict(enumerate(FOLDERS)))
    assert alphabetical.emotion[0] == "anger"
    assert set(own.split) == {"train", "test"}  # val is what AffectNet reports on


def test_names_of_folders_may_be_of_any_case(tmp_path):
    make_class_folders(tmp_path, ["Anger", "HAPPY", "Sadness"], splits=("Train", "Test"))
    table = read_affectnet(tmp_path)
    assert set(table.emotion) == {"anger", "happy", "sad"}
    assert table.groupby("split").size().to_dict() == {"train": 15, "test": 15}
    assert report(table)["dropped"] == {}
    touch(tmp_path, "fear/1.jpg")
    assert sum(report(read_affectnet(tmp_path))["dropped"].values()) == 1


def copy_with_csv(root):
    make_class_folders(root, FOLDERS, count=10)
    rows = [f"{i},{f}/image{j:07d}.jpg,{f},0.8" for i, f in enumerate(FOLDERS) for j in range(9)]
    rows[0] = rows[0].replace(",anger,", ",surprise,")
    rows[1] = rows[1].replace(",anger,", ",disgust,")
    write(root / "labels.csv", [",pth,label,relFCs", *rows])
    return root


@pytest.mark.parametrize(
    ("answer", "rows", "first"),
    [("drop", 78, None), ("folder", 80, "anger"), ("csv", 80, "surprise")],
)
def test_folder_and_csv_that_disagree(tmp_path, answer, rows, first):
    table = read_affectnet_folders(copy_with_csv(tmp_path), disagreeing=answer)
    assert len(table) == rows
    dropped = {"folder and labels.csv disagree": 2} if answer == "drop" else {}
    assert report(table)["dropped"] == dropped
    assert report(table)["counts"]["images on disk"] == {"found": 80, "published": 29_042}
    found = table.emotion[table.key == "anger/image0000000.jpg"]
    assert found.tolist() == ([first] if first else [])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",anger,0.8", ",rage,0.8", r"labels.csv line 4, field label: 'rage' is not known"),
        (",anger,0.8", ",6,0.8", r"labels.csv line 4, field label: '6' is not known"),
        (",anger,0.8", ",anger", r"labels.csv line 4: 3 fields instead of 4"),
        ("pth", "path", r"labels.csv line 1: no column pth; it has , path, label"),
        ("/image", "/img", r"labels.csv: names none of the images, such as 'anger/image0000000"),
    ],
)
def test_a_broken_labels_csv_is_named(tmp_path, old, new, message):
    file = copy_with_csv(tmp_path) / "labels.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_affectnet_folders(tmp_path)


def test_an_answer_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="one of drop, folder, csv"):
        read_affectnet_folders(tmp_path, disagreeing="guess")


# -- whichever form ---


def test_the_form_is_found(tmp_path):
    make_affectnet_csv(tmp_path / "a" / "AffectNet")
    make_affectnet_npy(tmp_path / "b")
    make_class_folders(tmp_path / "c", FOLDERS)
    assert "left" in read_affectnet(tmp_path / "a")
    assert read_affectnet(tmp_path / "b").key[0] == "train_set/images/0.jpg"
    assert len(read_affectnet(tmp_path / "c", classes=7)) == 35
    with pytest.raises(ValueError, match="disagreeing: this form of AffectNet has no such"):
        read_affectnet(tmp_path / "b", disagreeing="csv")


def test_wrong_roots_say_what_was_expected_and_found(tmp_path):
    touch(tmp_path, "notes.txt")
    with pytest.raises(FileNotFoundError, match=r"train_set.* in it, but it holds notes.txt"):
        read_affectnet(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"training.csv, .*in it, but it holds notes.txt"):
        read_affectnet_csv(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"train_set/images/ and .*holds notes.txt"):
        read_affectnet_npy(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected images in class folders .*notes.txt"):
        read_affectnet_folders(tmp_path)
    with pytest.raises(FileNotFoundError, match="but it is no folder"):
        read_affectnet(tmp_path / "nowhere")


def test_two_releases_side_by_side_are_not_guessed_between(tmp_path):
    make_affectnet_npy(tmp_path / "old")
    make_affectnet_npy(tmp_path / "new")
    with pytest.raises(ValueError, match="but new, old all hold it; pass one of them"):
        read_affectnet(tmp_path)


def test_counts_that_differ_are_said_with_both_numbers(tmp_path):
    lines = differences(report(read_affectnet_npy(make_affectnet_npy(tmp_path))))
    assert "test/contempt: 2 found, 499 published" in lines


# -- lists that lost their folder ---


@pytest.fixture
def scattered(tmp_path):
    """(the first release as published, the same with its lists beside the pictures' folders)."""
    whole = make_affectnet_csv(tmp_path / "whole")
    inner = tmp_path / "company" / "AffectNet_v1"
    pictures = "Manually_Annotated_Images"
    shutil.copytree(whole / pictures, inner / "Manually_Annotated" / pictures)
    for name in ("training.csv", "validation.csv"):
        shutil.copy(whole / "Manually_Annotated_file_lists" / name, inner / name.upper())
    return whole, inner.parent


@pytest.mark.parametrize("reader", [read_affectnet, read_affectnet_csv])
def test_lists_are_found_wherever_they_lie(scattered, reader):
    whole, odd = (reader(root) for root in scattered)
    same = ["split", "emotion", "valence", "left", "bottom"]
    pd.testing.assert_frame_equal(whole[same], odd[same])
    assert [Path(p).name for p in whole["path"]] == [Path(p).name for p in odd["path"]]


def test_storage_is_never_taken_for_emotions(scattered):
    _, root = scattered
    told = {"0": "anger", "1": "fear", "2": "sad"}
    with pytest.raises(ValueError, match=r"TRAINING\.CSV has the labels.*affectnet-csv"):
        read_affectnet_folders(root, names=told)
    inner = root / "AffectNet_v1"
    (inner / "VALIDATION.CSV").unlink()
    with pytest.raises(FileNotFoundError, match=r"TRAINING\.CSV is there, the other is not"):
        read_affectnet(root)
    (inner / "TRAINING.CSV").unlink()
    with pytest.raises(FileNotFoundError, match=r"Manually_Annotated_file_lists/training\.csv"):
        read_affectnet(root)
    with pytest.raises(ValueError, match="lists with the labels are missing"):
        read_affectnet_folders(root, names=told)
    pictures = inner / "Manually_Annotated" / "Manually_Annotated_Images"
    pictures.rename(inner / "images")  # under a name of their own, a list beside them
    (inner / "validation.tsv").write_text("subDirectory_filePath\n")
    with pytest.raises(ValueError, match=r"validation\.tsv has the labels"):
        read_affectnet(root, names=told)


def test_two_lists_of_one_name_are_not_guessed_between(scattered):
    _, root = scattered
    (root / "other").mkdir()
    shutil.copytree(root / "AffectNet_v1", root / "other" / "deep", dirs_exist_ok=True)
    (root / "AffectNet_v1").rename(root / "other" / "v1")
    with pytest.raises(ValueError, match="keep one of these lists"):
        read_affectnet_csv(root)


@pytest.mark.parametrize("name", ["emotion", "Expresion", "label"])
def test_a_column_of_another_name_is_told(tmp_path, name):
    root = make_affectnet_csv(tmp_path)
    file = root / "Manually_Annotated_file_lists" / "training.csv"
    file.write_text(file.read_text().replace(",expression,", f",{name},", 1))
    with pytest.raises(ValueError, match=f"line 1: '{name}' stands where 'expression' is expected"):
        read_affectnet(root)
