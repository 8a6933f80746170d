"""RAF-DB, FER2013, UTKFace, CelebA and FEI: numbers, names, splits and what is malformed."""

import csv

import numpy as np
import pytest
from reader_fixtures import (
    ATTRIBUTES,
    UTKFACE,
    change,
    fer2013_images,
    make_celeba,
    make_class_folders,
    make_fei,
    make_fer2013,
    make_rafdb,
    make_utkface,
    pixel_rows,
    touch,
    write,
)

from hmtl.data.readers import fer2013, rafdb
from hmtl.data.readers.celeba import read_celeba
from hmtl.data.readers.fei import read_fei
from hmtl.data.readers.fer2013 import read_fer2013
from hmtl.data.readers.rafdb import read_rafdb
from hmtl.data.readers.utkface import read_utkface


def report(table):
    return table.attrs["report"]


# -- RAF-DB ---


def test_rafdb_numbers_are_its_own(tmp_path):
    table = read_rafdb(make_rafdb(tmp_path))
    assert table.emotion.tolist() == [
        "sad", "happy", "happy", "surprise", "neutral", "fear", "disgust", "anger",
        "happy", "neutral", "neutral",
    ]  # fmt: skip
    assert table.key[0] == "Image/aligned/train_00001_aligned.jpg"
    assert table.key[8] == "Image/aligned/test_0001_aligned.jpg"
    assert table.split.tolist() == ["train"] * 8 + ["test"] * 3
    counts = report(table)["counts"]
    assert counts["train"] == {"found": 8, "published": 12_271}
    assert counts["test"] == {"found": 3, "published": 3_068}
    assert counts["train/happy"] == {"found": 2, "published": 4_772}


def test_rafdb_published_counts_add_up():
    assert sum(rafdb.TRAIN_COUNTS) == 12_271


def test_rafdb_gender_is_0_male_1_female_2_unsure(tmp_path):
    """Ids 1, 2, 3 ... have 1, 2, 0 ...; landmarks end in tabs or blanks."""
    table = read_rafdb(make_rafdb(tmp_path))
    said = table.gender.fillna("unsure")
    assert said.tolist() == (["female", "unsure", "male"] * 3)[:8] + ["female", "unsure", "male"]
    assert report(table)["unlabelled"] == {"gender: unsure": 4}
    (tmp_path / "Annotation/manual/train_00001_manu_attri.txt").unlink()
    write(tmp_path / "Annotation/manual/train_00003_manu_attri.txt", ["1 2", "0"])
    other = report(read_rafdb(tmp_path))["unlabelled"]
    assert other["gender: no attribute file, or a malformed one"] == 2
    file = tmp_path / "Annotation/manual/test_0001_manu_attri.txt"
    change(file, "\n1\n0\n2\n", "\n3\n0\n2\n")
    with pytest.raises(ValueError, match=r"test_0001_manu_attri.txt, field gender: '3' is not kn"):
        read_rafdb(tmp_path)


def test_rafdb_original_images_without_attributes(tmp_path):
    make_rafdb(tmp_path / "basic")
    for file in (tmp_path / "basic/Annotation/manual").iterdir():
        file.unlink()
    (tmp_path / "basic/Annotation/manual").rmdir()
    table = read_rafdb(tmp_path, images="original")
    assert table.key[0] == "Image/original/train_00001.jpg"
    assert "gender" not in table
    assert report(table)["notes"] == ["no Annotation/manual, so no gender"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("train_00002.jpg 4", "train_00002.jpg 0", r"label.txt line 2, field label: '0' is not kn"),
        ("train_00002.jpg 4", "train_00002.jpg 8", r"label.txt line 2, field label: '8' is not kn"),
        (
            "train_00002.jpg 4",
            "valid_00002.jpg 4",
            r"line 2: 'valid_00002.jpg' begins with neither",
        ),
    ],
)
def test_rafdb_errors_name_file_and_line(tmp_path, old, new, message):
    change(make_rafdb(tmp_path) / "EmoLabel/list_patition_label.txt", old, new)
    with pytest.raises(ValueError, match=message):
        read_rafdb(tmp_path)


def test_rafdb_rows_that_cost_themselves_only(tmp_path):
    change(make_rafdb(tmp_path) / "EmoLabel/list_patition_label.txt", "1.jpg 5", "1.jpg")
    (tmp_path / "Image/aligned/test_0002_aligned.jpg").unlink()
    assert report(read_rafdb(tmp_path))["dropped"] == {"malformed row": 1, "not on disk": 1}


def test_rafdb_copy_in_numbered_folders(tmp_path):
    make_class_folders(
        tmp_path / "DATASET", [str(i) for i in range(1, 8)], 2, splits=("train", "test")
    )
    table = read_rafdb(tmp_path)
    assert table.emotion[table.key == "train/1/image0000000.jpg"].item() == "surprise"
    assert table.emotion[table.key == "test/7/image0000001.jpg"].item() == "neutral"
    touch(tmp_path / "DATASET/train", "loose.jpg")
    assert sum(report(read_rafdb(tmp_path))["dropped"].values()) == 1
    touch(tmp_path / "DATASET/train/8", "image0000000.jpg")
    with pytest.raises(ValueError, match=r"train.8.image0000000.jpg, .*'8' is not known"):
        read_rafdb(tmp_path)


# -- FER2013 ---


@pytest.mark.parametrize("kind", ["fer2013", "icml"])
def test_fer2013_csv_whatever_the_order_and_the_blanks_of_its_columns(tmp_path, kind):
    table = read_fer2013(make_fer2013(tmp_path, kind))
    names = ["anger", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert table.emotion.tolist() == (names * 2)[:12]
    assert table.split.tolist() == ["train"] * 7 + ["valid"] * 2 + ["test"] * 3
    np.testing.assert_array_equal(
        fer2013_images(table), pixel_rows().reshape(12, 48, 48, 1), strict=True
    )
    assert table.key[3].endswith("/0000003")
    counts = report(table)["counts"]
    assert counts["train/neutral"] == {"found": 1, "published": 4_965}
    assert counts["train/sad"] == {"found": 1, "published": 4_830}  # not in the order of folders
    assert counts["valid"] == {"found": 2, "published": 3_589}
    assert counts["test"] == {"found": 3, "published": 3_589}


def test_fer2013_published_counts_add_up():
    assert {k: sum(v) for k, v in fer2013.COUNTS.items()} == {
        "train": 28_709,
        "valid": 3_589,
        "test": 3_589,
    }


def test_fer2013_pixels_of_some_rows_in_any_order(tmp_path):
    """Against the csv module reading the whole file."""
    table = read_fer2013(make_fer2013(tmp_path))
    with open(tmp_path / "fer2013.csv", newline="") as file:
        rows = [row["pixels"].split() for row in csv.DictReader(file)]
    chosen = table.iloc[[7, 0, 11]]
    expected = np.array([rows[i] for i in (7, 0, 11)], dtype=int).reshape(3, 48, 48, 1)
    np.testing.assert_array_equal(fer2013_images(chosen), expected)
    assert fer2013_images(table[:0]).shape == (0, 48, 48, 1)


def test_fer2013_contest_form_has_no_test_labels(tmp_path):
    table = read_fer2013(make_fer2013(tmp_path, "train"))
    assert table.split.tolist() == ["train"] * 7
    assert report(table)["dropped"] == {"without a label": 5}
    np.testing.assert_array_equal(fer2013_images(table)[..., 0].reshape(7, -1), pixel_rows()[:7])
    (tmp_path / "test.csv").unlink()
    assert report(read_fer2013(tmp_path))["dropped"] == {}


def test_fer2013_csv_goes_before_class_folders(tmp_path):
    make_class_folders(make_fer2013(tmp_path), ["angry"], 2, splits=("train", "test"))
    assert len(read_fer2013(tmp_path)) == 12


def test_fer2013_folders_go_by_name_and_merge_the_tests(tmp_path):
    names = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    table = read_fer2013(make_class_folders(tmp_path, names, 2, splits=("train", "test")))
    assert table.emotion[table.key.str.contains("angry")].unique().tolist() == ["anger"]
    counts = report(table)["counts"]
    assert counts["test"] == {"found": 14, "published": 7_178}
    assert counts["test/neutral"]["published"] == 607 + 626
    assert "merge" in report(table)["notes"][0]
    make_class_folders(tmp_path, names, 1, splits=("valid",))
    apart = report(read_fer2013(tmp_path))
    assert apart["counts"]["test"]["published"] == 3_589
    assert apart["notes"] == []
    touch(tmp_path, "angry/1.jpg", "test/loose.jpg")
    assert sum(report(read_fer2013(tmp_path))["dropped"].values()) == 2


def test_fer2013_malformed_rows_cost_themselves_only(tmp_path):
    file = make_fer2013(tmp_path) / "fer2013.csv"
    lines = file.read_text().splitlines()
    lines[2] = lines[2].replace(" ", "", 1)  # two pixels run together: 2,303
    lines[4] = lines[4] + ",0"
    lines.insert(6, "")
    file.write_text("\n".join(lines))
    table = read_fer2013(tmp_path)
    assert len(table) == 10
    assert report(table)["dropped"] == {"malformed row": 2}
    assert report(table)["examples"]["malformed row"] == [
        "fer2013.csv line 3",
        "fer2013.csv line 5",
    ]
    # the blank line is no row, so that the last is the twelfth
    assert table.key.str[-2:].tolist() == ["00", "02", *(f"{i:02d}" for i in range(4, 12))]
    wanted = np.delete(pixel_rows(), [1, 3], axis=0).reshape(10, 48, 48, 1)
    np.testing.assert_array_equal(fer2013_images(table), wanted)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n1,", "\n7,", r"fer2013.csv line 3, field emotion: '7' is not known; one of 0, 1"),
        ("\n1,", "\n,", r"fer2013.csv line 3, field emotion: '' is not known"),
        ("PublicTest", "Public", r"fer2013.csv line 9, field Usage: 'Public' is not known"),
        ("emotion,", "label,", r"fer2013.csv line 1: expected columns \['emotion', 'pixels', 'us"),
    ],
)
def test_fer2013_errors_name_file_and_line(tmp_path, old, new, message):
    change(make_fer2013(tmp_path) / "fer2013.csv", old, new)
    with pytest.raises(ValueError, match=message):
        read_fer2013(tmp_path)


@pytest.mark.parametrize("pixel", ["256", "-1", "x", "1.5"])
def test_fer2013_pixels_that_are_none(tmp_path, pixel):
    file = make_fer2013(tmp_path) / "fer2013.csv"
    first = str(pixel_rows()[0, 0])
    change(file, f"\n0,{first} ", f"\n0,{pixel} ")
    table = read_fer2013(tmp_path)
    with pytest.raises(
        ValueError, match=r"fer2013.csv byte 21: expected 2,304 pixels from 0 to 25"
    ):
        fer2013_images(table)


# -- UTKFace ---


def test_utkface_names_with_two_numbers_leave_gender_and_race_open(tmp_path):
    """Of 61_3_2017... the 3 is no gender; of 39_1_2017... public corrections disagree."""
    table = read_utkface(make_utkface(tmp_path)).set_index("key")
    assert len(table) == 48  # crop_part1, which repeats images, is not read
    said = table.loc[UTKFACE]
    assert said.gender.fillna("-").tolist() == [
        "male", "female", "female", "-", "-", "-", "male", "male",
    ]  # fmt: skip
    assert said.age.tolist() == [1, 26, 116, 61, 61, 39, 55, 24]
    assert said.race.fillna("-").tolist() == [
        "white", "indian", "asian", "-", "-", "-", "white", "black",
    ]  # fmt: skip
    assert report(table)["unlabelled"] == {"gender: not in the name": 3, "race: not in the name": 3}
    assert report(table)["counts"]["all"] == {"found": 48, "published": 23_708}


def test_utkface_split_is_seeded_and_keeps_the_shares(tmp_path):
    table = read_utkface(make_utkface(tmp_path, count=192))  # 100 men, 100 women with the others
    sizes = table.groupby(["split", "gender"]).size()
    men = (table.gender == "male").sum()
    assert sizes["test", "male"] == men - round(0.9 * men)
    assert read_utkface(tmp_path / "UTKFace").split.equals(table.split)
    assert not read_utkface(tmp_path, seed=1).split.equals(table.split)


def test_utkface_bad_names(tmp_path):
    make_utkface(tmp_path, more=["face.jpg", "1__0_20161219140623097.jpg.chip.jpg"])
    assert report(read_utkface(tmp_path))["dropped"] == {"malformed name": 2}
    touch(
        tmp_path / "UTKFace",
        "20_3_0_20170119171116264.jpg.chip.jpg",
        "20_1_7_20170119171116264.jpg.chip.jpg",
    )
    table = read_utkface(tmp_path).set_index("key")
    no_gender = table.loc["20_3_0_20170119171116264.jpg.chip.jpg"]
    assert (str(no_gender.gender), no_gender.race, no_gender.age) == ("nan", "white", 20)
    no_race = table.loc["20_1_7_20170119171116264.jpg.chip.jpg"]
    assert (no_race.gender, str(no_race.race)) == ("female", "nan")
    assert report(table)["unlabelled"] == {"gender: not in the name": 4, "race: not in the name": 4}


# -- CelebA ---


def test_celeba_male_is_found_by_name_and_minus_one_is_female(tmp_path):
    """Every other attribute says the opposite in the fixture."""
    table = read_celeba(make_celeba(tmp_path))
    assert table.gender.tolist() == ["female", "male", "male", "female", "female", "male"]
    assert table.split.tolist() == ["train"] * 3 + ["valid"] + ["test"] * 2
    assert table.key[0] == "img_align_celeba/000001.jpg"
    counts = report(table)["counts"]
    assert counts["all"] == {"found": 6, "published": 202_599}
    assert counts["valid"] == {"found": 1, "published": 19_867}
    assert sum(ATTRIBUTES.index(name) == 20 for name in ["Male"]) == 1


def test_celeba_in_the_authors_folders_with_people(tmp_path):
    make_celeba(tmp_path)
    pairs = {"img_align_celeba": "Img", "list_attr_celeba.txt": "Anno"}
    for name, folder in (pairs | {"list_eval_partition.txt": "Eval"}).items():
        (tmp_path / folder).mkdir()
        (tmp_path / name).rename(tmp_path / folder / name)
    write(tmp_path / "Anno/identity_CelebA.txt", [f"{i:06d}.jpg {2880 + i % 2}" for i in range(7)])
    table = read_celeba(tmp_path)
    assert table.key[0] == "Img/img_align_celeba/000001.jpg"
    assert table.person[:3].tolist() == ["2881", "2880", "2881"]


def test_celeba_rows_that_cost_themselves_only(tmp_path):
    change(make_celeba(tmp_path) / "list_eval_partition.txt", "000001.jpg 0\n", "")
    (tmp_path / "img_align_celeba/000006.jpg").unlink()
    assert report(read_celeba(tmp_path))["dropped"] == {"without a split": 1, "not on disk": 1}


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("attr_celeba", "6\n", "7\n", r"line 1 says 7 images, but 6 follow"),
        ("attr_celeba", " Male ", " Man ", r"and names, Male among them, in line 2"),
        ("attr_celeba", "000003.jpg -1", "000003.jpg", r"attr_celeba.txt line 5: fewer than 40"),
        ("eval_partition", "000004.jpg 1", "000004.jpg 3", r"partition.txt line 4, field split: 3"),
    ],
)
def test_celeba_errors(tmp_path, file, old, new, message):
    change(make_celeba(tmp_path) / f"list_{file}.txt", old, new)
    with pytest.raises(ValueError, match=message):
        read_celeba(tmp_path)


def test_celeba_rows_that_contradict_each_other_are_left_out(tmp_path):
    change(make_celeba(tmp_path) / "list_eval_partition.txt", "000004.jpg", "000003.jpg")
    table = read_celeba(tmp_path)  # 3 is said to be in train and in valid, 4 nowhere
    assert table["key"].str[-5].tolist() == ["1", "2", "5", "6"]
    told = report(table)["dropped"]
    assert told == {"one face with two labels": 2, "without a split": 2}
    attributes = tmp_path / "list_attr_celeba.txt"
    again = attributes.read_text().splitlines()[2]
    attributes.write_text(attributes.read_text() + again.replace("-1", " 1") + "\n")
    assert read_celeba(tmp_path)["key"].str[-5].tolist() == ["2", "5", "6"]


def test_fei_subjects_with_two_genders_are_left_out(tmp_path):
    change(make_fei(tmp_path) / "fei_gender.csv", "2,female", "1,female\n3,Male")
    table = read_fei(tmp_path)
    assert not {"001", "002"} & set(table["person"])
    told = report(table)["dropped"]
    assert told["one face with two labels"] == 2
    assert told["repeated row"] == 1  # Male is male
    assert (table.loc[table["person"] == "003", "gender"] == "male").all()


def test_celeba_attributes_that_are_neither(tmp_path):
    with pytest.raises(
        ValueError, match=r"celeba.txt line 4, field Male: 0 is not known; one of 1"
    ):
        read_celeba(make_celeba(tmp_path / "a", males=(1, 0, -1), splits=(0, 1, 2)))
    table = read_celeba(make_celeba(tmp_path / "b", males=(1, 0, 0), splits=(0, 1, 2)))
    assert table["gender"].tolist() == ["male", "female", "female"]
    assert report(table)["notes"] == ["Male is 0 or 1 in place of -1 or 1: 0 is read as female"]
    with pytest.raises(ValueError, match="field Male: 0 is not known"):  # of one value none can say
        read_celeba(make_celeba(tmp_path / "c", males=(0, 0), splits=(0, 1)))


# -- FEI ---


def test_fei_gender_is_the_users_own_and_subjects_stay_together(tmp_path):
    table = read_fei(make_fei(tmp_path))
    assert len(table) == 100
    assert table.key[0] == "originalimages_part2/1-01.jpg"
    assert set(table.gender[table.person == "001"]) == {"male"}
    assert (table.groupby("person").split.nunique() == 1).all()
    people = table.drop_duplicates("person").groupby(["split", "gender"]).size()
    assert people.to_dict() == {
        (split, gender): n
        for split, n in (("train", 8), ("valid", 1), ("test", 1))
        for gender in ("female", "male")
    }
    counts = report(table)["counts"]
    assert counts["all"] == {"found": 100, "published": 2_800}
    assert counts["subjects/female"] == {"found": 10, "published": 100}
    assert counts["subjects/male"] == {"found": 10, "published": 100}
    assert "FEI ships none" in report(table)["notes"][0]


def test_fei_frontal_images(tmp_path):
    table = read_fei(make_fei(tmp_path), images="frontal")
    assert table.shot.tolist()[:2] == ["a", "b"]
    assert report(table)["counts"]["all"] == {"found": 40, "published": 400}


def test_fei_subjects_without_gender_are_counted(tmp_path):
    change(make_fei(tmp_path) / "fei_gender.csv", "\n3,male", "")
    touch(tmp_path, "cover.jpg")
    dropped = {"name of another form": 1, "subject without a gender in the csv": 5}
    assert report(read_fei(tmp_path))["dropped"] == dropped


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("subject,gender", "id,sex", r"fei_gender.csv line 1: expected the header subject,gender"),
        ("2,female", "2,?", r"fei_gender.csv line 3, field gender: '\?' is not known; one of fem"),
        ("2,female", "201,female", r"fei_gender.csv line 3: '201,female' is not a subject"),
        ("2,female", "2", r"fei_gender.csv line 3: '2' is not a subject"),
    ],
)
def test_fei_csv_errors(tmp_path, old, new, message):
    change(make_fei(tmp_path) / "fei_gender.csv", old, new)
    with pytest.raises(ValueError, match=message):
        read_fei(tmp_path)


def test_fei_without_csv_says_that_none_is_shipped(tmp_path):
    (make_fei(tmp_path) / "fei_gender.csv").rename(tmp_path / "mine.csv")
    with pytest.raises(FileNotFoundError, match="fei_gender.csv: .*FEI ships no gender"):
        read_fei(tmp_path)
    assert len(read_fei(tmp_path, genders=tmp_path / "mine.csv")) == 100


# -- roots ---


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (read_rafdb, r"expected EmoLabel/list_patition_label.txt"),
        (read_fer2013, r"expected fer2013.csv, icml_face_data.csv"),
        (read_utkface, r"expected 26_1_3_...jpg.chip.jpg or UTKFace/"),
        (read_celeba, r"expected img_align_celeba/ and list_attr_celeba.txt"),
        (read_fei, r"expected 1-01.jpg ..."),
    ],
)
def test_wrong_roots_say_what_was_expected_and_found(tmp_path, reader, message):
    touch(tmp_path, "notes.txt")
    with pytest.raises(FileNotFoundError, match=f"{message}.*, but it holds notes.txt"):
        reader(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"{message}.*, but it is no folder"):
        reader(tmp_path / "nowhere")


@pytest.mark.parametrize("reader", [read_rafdb, read_fei])
def test_unknown_images_are_refused(tmp_path, reader):
    with pytest.raises(ValueError, match="images='small': one of"):
        reader(tmp_path, images="small")
