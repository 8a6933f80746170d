"""Data sets as people have them: what archives, Kaggle, fastai and editors make of a format.

Each case is a folder as its copy has it, read to the labels that its files say, or refused with
the option that helps.
"""

import json
import os
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import reader_fixtures as fixtures
from PIL import Image
from reader_fixtures import affectnet_rows, change, make_class_folders, touch, write

from hmtl.__main__ import _with_options, main
from hmtl.data.pack import open_pack, write_pack
from hmtl.data.packing import hold_out_valid, parse_options, read_set, split_options, write_options
from hmtl.data.readers import READERS
from hmtl.data.readers.ferplus.votes import COLUMNS
from hmtl.data.readers.listing import PICTURES
from hmtl.data.readers.names import _SAID, EMOTION_WORDS
from hmtl.data.readers.pose_npz import read_npz_image
from hmtl.labels import EMOTIONS
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import load_run
from hmtl.use.card import data_sheet, model_card

SEVEN = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
EIGHT = ["anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def report(table):
    return table.attrs["report"]


def sizes(table):
    return table.groupby("split").size().to_dict()


def wrap(make, *around):
    """A builder whose folder lies in others."""
    return lambda root: make(root.joinpath(*around)) and root


# -- AffectNet ---


@pytest.mark.parametrize("below", ["", "AffectNet+", "AffectNet+/human_annotated"])
def test_affectnet_plus_by_its_json(tmp_path, below):
    fixtures.make_affectnet_plus(tmp_path)
    table = READERS["affectnet"](tmp_path / below)
    assert sizes(table) == {"train": 18, "test": 16}  # of 24, 3 x 3 - 3 are not of the eight
    test = table[table.split == "test"].set_index("key")
    for i in range(16):
        row = test.loc[f"validation_set/images/{i}.jpg"]
        assert (row.emotion, row.valence, row.arousal) == (EMOTIONS[i % 8], -0.5, 0.127)
    assert report(table)["dropped"] == {"None": 2, "Uncertain": 2, "Non-Face": 2}
    assert report(table)["counts"]["train on disk"] == {"found": 24, "published": 414_799}
    assert report(table)["counts"]["test"] == {"found": 16, "published": 4_000}
    assert not READERS["affectnet"](tmp_path, classes=7).emotion.eq("contempt").any()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"human-label": 3', '"human-label": 11', r"3.json, field expression: 11 is not known"),
        ('"human-label": 3', '"human-label": "3"', r"3.json, field human-label: '3' is no number"),
        ('"valence": -0.5', '"valence": 1.5', r"3.json, field valence: 1.5 is not in -1..1"),
        ('"arousal"', '"arousel"', r"3.json, field arousal: None is no number"),
        ('"meta-data"', '"meta"', r"3.json, field meta-data: expected an object"),
    ],
)
def test_affectnet_plus_names_the_file_and_the_field(tmp_path, old, new, message):
    root = fixtures.make_affectnet_plus(tmp_path)
    change(root / "human_annotated/train_set/annotations/3.json", old, new)
    with pytest.raises(ValueError, match=message):
        READERS["affectnet"](tmp_path)


def test_affectnet_plus_torn_or_lonely_files_cost_themselves(tmp_path):
    place = fixtures.make_affectnet_plus(tmp_path) / "human_annotated/train_set"
    (place / "annotations/0.json").write_text('{"human-label": 0,')
    (place / "annotations/1.json").unlink()
    (place / "images/2.jpg").unlink()
    dropped = report(READERS["affectnet-plus"](tmp_path))["dropped"]
    assert dropped["annotation that is no JSON"] == 1
    assert dropped["image without annotations"] == dropped["annotations without an image"] == 1


def as_unpacked(root, images, lists="Manually_Annotated_file_lists"):
    """AffectNet's first release, its pictures and lists moved to where a copy has them."""
    fixtures.make_affectnet_csv(root / "flat")
    for name, to in (
        ("Manually_Annotated_Images", images),
        ("Manually_Annotated_file_lists", lists),
    ):
        (root / "set" / to).parent.mkdir(parents=True, exist_ok=True)
        (root / "flat" / name).rename(root / "set" / to)
    return root / "set"


@pytest.mark.parametrize(
    "images",
    [
        "Manually_Annotated/Manually_Annotated_Images",
        "Manually_Annotated_compressed/Manually_Annotated_Images",
        "Manually_Annotated_Images/Manually_Annotated_Images",
        "more/Manually_Annotated/Manually_Annotated_Images",
    ],
)
def test_affectnet_as_its_archives_unpack(tmp_path, images):
    (tmp_path / "a").mkdir()
    flat = READERS["affectnet"](fixtures.make_affectnet_csv(tmp_path / "a"))
    table = READERS["affectnet"](as_unpacked(tmp_path / "b", images))
    labels = ["split", "emotion", "valence", "arousal", "left", "bottom"]
    assert table[labels].equals(flat[labels])
    assert table.key[0] == f"{images}/{fixtures.affectnet_name(0)}"
    assert report(table)["dropped"] == report(flat)["dropped"]


@pytest.mark.parametrize("ending", [".txt", ".CSV", ".tsv"])
def test_affectnet_lists_of_another_ending_or_separator(tmp_path, ending):
    root = fixtures.make_affectnet_csv(tmp_path)
    for name in ("training", "validation"):
        file = root / f"Manually_Annotated_file_lists/{name}.csv"
        text = file.read_text()
        text = text.replace(",", "\t") if ending == ".tsv" else text.replace("\n", "\r\n")
        file.with_suffix(ending).write_bytes(b"\xef\xbb\xbf" + text.encode())
        file.unlink()
    assert sizes(READERS["affectnet"](root)) == {"train": 24, "test": 16}


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("form", ["semicolons", "quoted", "swapped", "decimal commas", "tabs"])
def test_affectnet_lists_between_semicolons(tmp_path, form, header):
    """As spreadsheets write them where a comma stands in numbers."""
    root = fixtures.make_affectnet_csv(tmp_path, header=(header, header))
    before = READERS["affectnet"](root)
    for name in ("training", "validation"):
        file = root / f"Manually_Annotated_file_lists/{name}.csv"
        rows = [line.split(",") for line in file.read_text().splitlines()]
        for row in rows:
            if form == "quoted" or (form == "decimal commas" and "_" not in row[0]):
                row[5] = f'"{row[5]}"'
            if form == "swapped":
                row[5] = row[5].replace(";", ",")
            if form == "decimal commas":
                row[-2:] = [number.replace(".", ",") for number in row[-2:]]
        sign = "\t" if form == "tabs" else ";"
        file.write_text("\n".join(sign.join(row) for row in rows) + "\n")
    table = READERS["affectnet"](root)
    pd.testing.assert_frame_equal(labels_of(table), labels_of(before))
    assert report(table)["dropped"] == report(before)["dropped"]


def test_affectnet_pictures_converted_to_another_ending(tmp_path):
    root = fixtures.make_affectnet_csv(tmp_path)
    files = sorted((root / "Manually_Annotated_Images").rglob("*.jpg"))
    for i, file in enumerate(files):
        file.rename(file.with_suffix((".png", ".JPG", ".jpeg")[i % 3]))
    table = READERS["affectnet"](root)
    assert len(table) == 40
    assert report(table)["dropped"].get("not on disk") is None


def make_automatic(root, manual=True):
    if manual:
        fixtures.make_affectnet_csv(root)
    rows = affectnet_rows(500, 22)
    write(
        root / "Automatically_Annotated_file_lists/automatically_annotated.csv",
        [fixtures.HEADER, *rows],
    )
    images = root / "Automatically_Annotated/Automatically_Annotated_Images"
    touch(images, *(row.split(",")[0] for row in rows))
    return root


def test_affectnet_automatically_annotated_by_an_option(tmp_path):
    table = READERS["affectnet-csv"](make_automatic(tmp_path / "a"), annotated="automatic")
    assert sizes(table) == {"train": 16, "test": 16}
    assert table.key.str.contains("Automatically").eq(table.split == "train").all()
    assert "train" not in {n for n, c in report(table)["counts"].items() if c["published"]}
    alone = make_automatic(tmp_path / "b", manual=False)
    assert sizes(READERS["affectnet-csv"](alone, annotated="automatic")) == {"train": 16}
    for name in ("affectnet", "affectnet-csv"):
        with pytest.raises(FileNotFoundError, match="affectnet-csv --option annotated automatic"):
            READERS[name](alone)
    with pytest.raises(ValueError, match="annotated='both': one of manual, automatic"):
        READERS["affectnet-csv"](alone, annotated="both")


def make_kaggle_affectnet(root):
    """Train and Test with class folders of any case; labels.csv without Train or Test."""
    lines, k = [",pth,label,relFCs"], 0
    for emotion in EIGHT:
        for part, count in (("Train", 6), ("Test", 3)):
            folder = emotion.capitalize() if part == "Test" and emotion in EIGHT[:2] else emotion
            for _ in range(count):
                k += 1
                ending = "png" if k % 4 == 0 else "jpg"
                touch(root / "archive (3)" / part / folder, f"image{k:07d}.{ending}")
                said = "surprise" if k == 6 else emotion
                lines.append(f"{k - 1},{emotion}/image{k:07d}.{ending},{said},0.87")
    write(root / "archive (3)/labels.csv", lines)
    return root


@pytest.mark.parametrize(
    ("answer", "train", "said"),
    [("drop", 47, None), ("folder", 48, "anger"), ("csv", 48, "surprise")],
)
def test_affectnet_from_kaggle_whose_csv_does_not_say_train_or_test(tmp_path, answer, train, said):
    make_kaggle_affectnet(tmp_path)
    for root in (tmp_path, tmp_path / "archive (3)"):
        table = READERS["affectnet"](root, disagreeing=answer)
        assert sizes(table) == {"train": train, "test": 24}
        assert (table.key.str.split("/").str[1].str.lower() == table.emotion).sum() >= 71
        found = table.emotion[table.key.str.endswith("image0000006.jpg")].tolist()
        assert found == ([said] if said else [])
        dropped = {"folder and labels.csv disagree": 1} if answer == "drop" else {}
        assert report(table)["dropped"] == dropped


def test_affectnet_in_yolos_form(tmp_path):
    root = fixtures.make_affectnet_yolo(tmp_path)
    table = READERS["affectnet"](tmp_path).set_index("key")
    assert table.groupby("split").size().to_dict() == {"train": 16, "valid": 16, "test": 16}
    for i in range(16):
        row = table.loc[f"valid/images/{i}.png"]
        assert row.emotion == EIGHT[i % 8]
        box = (0, 8, 20, 22) if i % 3 == 0 else (0, 0, 40, 30)  # of 40 x 30
        assert (row.left, row.right) == (box[0], box[2])
        assert row.bottom - row.top in (14, 30)
    with_test = (root / "valid").rename(root / "val")
    (root / "test/images").rename(root / "x")
    assert with_test.is_dir()
    assert sizes(READERS["affectnet-yolo"](tmp_path)) == {"train": 16, "test": 16}
    write(root / "train/labels/3.txt", ["9 0.5 0.5 1 1"])
    with pytest.raises(ValueError, match=r"3.txt line 1: 9 is not named in .*data.yaml"):
        READERS["affectnet"](tmp_path)
    write(root / "train/labels/3.txt", ["1 0.5 0.5 1", "2 0.5 0.5 1 1", "2 0.5 0.5 1 1"])
    dropped = report(READERS["affectnet"](tmp_path))["dropped"]
    assert dropped == {"malformed row": 1, "repeated row": 1}
    (root / "data.yaml").unlink()
    with pytest.raises(FileNotFoundError, match="data.yaml is missing; it names the emotions"):
        READERS["affectnet"](tmp_path)


@pytest.mark.parametrize("place", ["archive", "archive/Dataset", ""])
def test_affectnets_labels_csv_is_found_above_the_class_folders(tmp_path, place):
    make_class_folders(tmp_path / "archive/Dataset", EIGHT, 3)
    rows = [f"{i},{e}/image{j:07d}.jpg,{e},1" for i, e in enumerate(EIGHT) for j in range(2)]
    rows[0] = rows[0].replace(",anger,", ",sad,")
    rows.append("9,anger/gone.jpg,anger,1")
    write(tmp_path / place / "labels.csv", [",pth,label,relFCs", *rows])
    table = READERS["affectnet"](tmp_path)
    assert report(table)["dropped"] == {
        "row of labels.csv without its picture": 1,
        "folder and labels.csv disagree": 1,
    }
    assert "8 pictures are not in labels.csv: their folders label them" in report(table)["notes"]
    deep = READERS["affectnet"](tmp_path / "archive/Dataset")  # what lies above is not the user's
    assert len(deep) == (23 if place.endswith("Dataset") else 24)


@pytest.mark.parametrize("form", ["npy", "plus"])
def test_a_set_of_affectnet_that_is_not_read_is_said(tmp_path, form):
    if form == "npy":
        root = fixtures.make_affectnet_npy(tmp_path)
    else:
        root = fixtures.make_affectnet_plus(tmp_path) / "human_annotated"
    before = READERS["affectnet"](tmp_path)
    assert len(report(before)["notes"]) == 1
    shutil.copytree(root / "train_set", root / "Test_Set")
    table = READERS["affectnet"](tmp_path)
    assert table.equals(before)
    assert any(
        note.startswith("Test_Set/ is not read; train_set and") for note in report(table)["notes"]
    )


def test_yolos_labels_without_an_image_are_counted(tmp_path):
    root = fixtures.make_affectnet_yolo(tmp_path)
    (root / "train/images/3.png").unlink()
    write(root / "train/labels/classes.txt", EIGHT)  # as tools for labelling add it
    assert report(READERS["affectnet"](tmp_path))["examples"] == {
        "labels without an image": ["train/labels/3"]
    }


# -- FER+ and FER2013 ---


def test_a_name_that_stands_twice_in_ferplus_counts_once(tmp_path):
    """As in the real file: three names twice with the same votes, one with other votes."""
    votes = ["9,0,0,0,0,0,1,0,0,0"] * 10 + ["5,0,0,1,1,0,0,0,3,0", "0,0,0,0,0,0,0,0,0,10"]
    names = [f"fer{i:07d}.png" for i in (0, 1, 1, 3, 4, 5, 6, 7, 8, 9, 10, 10)]
    root = fixtures.make_ferplus_csv(tmp_path, votes, names)
    for mode in ("majority", "probability", "crossentropy", "multi_target"):
        table = READERS["ferplus-csv"](root, labels=mode)
        assert len(table) == 10
        assert table.key.is_unique
        assert table.emotion[table.key == "Test/fer0000010.png"].tolist() == ["neutral"]
        assert report(table)["dropped"] == {
            "repeated row": 1,
            "name that an earlier row has with other votes": 1,
        }
    assert len(COLUMNS) == 10


def make_official_folders(root, seed=0):
    """FER2013 in train and test, names with the official split."""
    for emotion in SEVEN:
        touch(root / "train" / emotion, *(f"Training_{i}.jpg" for i in range(6)))
        for usage in ("PublicTest", "PrivateTest"):
            touch(root / "test" / emotion, *(f"{usage}_{i}.jpg" for i in range(3)))
    return root


def test_fer2013_folders_whose_names_hold_the_official_split(tmp_path):
    table = READERS["fer2013"](wrap(make_official_folders, "archive", "fer2013")(tmp_path))
    assert sizes(table) == {"train": 42, "valid": 21, "test": 21}
    assert table.key[table.split == "valid"].str.contains("/PublicTest_").all()
    assert report(table)["counts"]["test"]["published"] == 3_589
    touch(tmp_path / "archive/fer2013/test/happy", "photo.jpg")  # not all names say it any more
    touch(tmp_path / "archive/fer2013/train/sad", "contact sheet.jpg")
    table = READERS["fer2013"](tmp_path)
    assert sizes(table) == {"train": 43, "valid": 21, "test": 22}
    (note,) = report(table)["notes"]
    assert note.startswith("2 names such as test/happy/photo.jpg do not say the official split")


@pytest.mark.parametrize("data", ["folders", "fer2013"])
@pytest.mark.parametrize("name", ["validation", "Val", "valid"])
def test_validation_is_the_test_of_a_set_without_one(tmp_path, data, name):
    make_class_folders(tmp_path / "images/images", SEVEN, 3, ("train", name))
    table = READERS[data](tmp_path)
    assert sizes(table) == {"train": 21, "test": 21}
    assert report(table)["notes"] == ["no test pictures: the validation images are the test split"]
    assert sizes(read_set(data, tmp_path))["valid"] > 0


# -- class folders ---


@pytest.mark.parametrize("data", ["folders", "affectnet-folders", "affectnet", "fer2013"])
@pytest.mark.parametrize("around", [("archive (3)",), ("images", "images"), ("MMAFEDB",)])
def test_folders_around_class_folders(tmp_path, data, around):
    parts = ("train", "valid", "test")
    make_class_folders(tmp_path.joinpath(*around), SEVEN, 3, parts)
    touch(tmp_path / "__MACOSX/train/happy", "x.jpg")
    table = READERS[data](tmp_path)
    assert sizes(table) == dict.fromkeys(parts, 21)
    said = table.key.str.split("/").str[1].map(EMOTION_WORDS)
    assert (said == table.emotion).all()


def test_two_sets_of_class_folders_are_not_guessed_between(tmp_path):
    for name in ("old", "new"):
        make_class_folders(tmp_path / name, SEVEN, 1)
    with pytest.raises(ValueError, match="new, old all hold class folders; pass one of them"):
        READERS["folders"](tmp_path)


@pytest.mark.parametrize(
    ("word", "emotion"),
    [
        ("suprise", "surprise"), ("Surprize", "surprise"), ("hapiness", "happy"),
        ("Nuetral", "neutral"), ("digust", "disgust"), ("saddness", "sad"), ("contemp", "contempt"),
        ("fearfull", "fear"), ("angery", "anger"),
    ],
)  # fmt: skip
def test_words_with_a_slip(tmp_path, word, emotion):
    make_class_folders(tmp_path, ["happy", word], 2)
    table = READERS["folders"](tmp_path)
    assert set(table.emotion[table.key.str.startswith(word)]) == {emotion}


def test_no_slip_makes_one_word_of_another():
    """Nor is a short word, where one letter is another word, read with a slip."""
    assert all(EMOTION_WORDS[word] == name for word, name in _SAID.items())
    assert not {"sat", "mad", "bad", "ear", "year", "danger", "hang", "at"} & set(EMOTION_WORDS)


@pytest.mark.parametrize("name", ["rage", "0", "Test_Aligned_Faces"])
def test_an_unknown_folder_is_refused_with_the_option_that_helps(tmp_path, name):
    make_class_folders(tmp_path, ["happy", name], 2)
    told = re.escape(f"--option names {name.lower()}=")
    with pytest.raises(ValueError, match=rf"{name}.image.* is not known; one of neutral.*{told}"):
        READERS["folders"](tmp_path)
    table = READERS["folders"](tmp_path, names={name: ""})
    assert set(table.emotion) == {"happy"}
    assert report(table)["dropped"] == {"folder left out by names": 2}
    assert len(READERS["folders"](tmp_path, names={name: "fear"})) == 4


def test_a_test_folder_without_labels_is_counted(tmp_path):
    """SFEW: Train/Train_Aligned_Faces/Angry, and Test/Test_Aligned_Faces with pictures only."""
    make_class_folders(tmp_path / "Train/Train_Aligned_Faces", SEVEN, 3)
    make_class_folders(tmp_path / "Val/Val_Aligned_Faces", SEVEN, 2)
    touch(tmp_path / "Test/Test_Aligned_Faces", *(f"{i}.png" for i in range(5)))
    table = READERS["folders"](tmp_path)
    assert sizes(table) == {"train": 21, "test": 14}
    assert report(table)["dropped"] == {"test picture without a class folder": 5}
    make_class_folders(tmp_path / "Test", ["rage"], 1)  # now folders, which may be classes
    with pytest.raises(ValueError, match="'rage' is not known|'test_aligned_faces' is not known"):
        READERS["folders"](tmp_path)


# -- people ---


def split_of_people(table):
    return table.groupby("person").split.nunique()


def make_named(root, form, people, each=6):
    """Class folders with the pictures of people whose names follow a form."""
    for i in range(people):
        for k in range(each):
            touch(root / SEVEN[(i + k) % 7], form(i, k))
    return root


FORMS = {
    "CK+": lambda i, k: f"S{10 + i:03d}_{1 + k // 3:03d}_{10 + k:08d}.png",
    "KDEF": lambda i, k: f"{'AB'[k % 2]}{'FM'[i % 2]}{1 + i:02d}{['AF', 'AN', 'HA'][k // 2]}S.JPG",
    "JAFFE": lambda i, k: f"{'ABCDEFGHIJKL'[i]}K.{['AN', 'HA', 'SU'][k % 3]}{1 + k // 3}.{k}.tiff",
    "RAVDESS": lambda i, k: f"01-01-0{1 + k}-01-02-01-{1 + i:02d}.png",
    "RAVDESS, frames": lambda i, k: f"01-01-0{1 + k // 2}-01-02-01-{1 + i:02d}_{k}.png",
    "KDEF, again": lambda i, k: f"A{'FM'[i % 2]}{1 + i:02d}{['AF', 'AN', 'HA'][k // 2]}S_{k}.JPG",
    "number": lambda i, k: f"{i:03d}_{k}.jpg",
    "subject": lambda i, k: f"subject{i}_{k}.png",
}


@pytest.mark.parametrize("form", FORMS)
def test_class_folders_are_split_by_whole_people(tmp_path, form):
    make_named(tmp_path, FORMS[form], 12)
    for seed in range(4):
        table = READERS["folders"](tmp_path, seed=seed)
        assert table.person.nunique() == 12
        assert (split_of_people(table) == 1).all()
        assert len(set(table.split)) == 3
        held = read_set("folders", tmp_path, {"seed": seed})
        assert (split_of_people(held) == 1).all()
    notes = report(table)["notes"]
    assert "of whole people drawn by seed" in notes[0]
    assert "--option person=none" in notes[1]
    assert "person" not in READERS["folders"](tmp_path, person="none")


def test_people_by_a_pattern_of_the_users(tmp_path):
    make_named(tmp_path, lambda i, k: f"take{k}-of-p{i}.png", 12)
    assert "person" not in READERS["folders"](tmp_path)
    table = READERS["folders"](tmp_path, person=r"of-(p\d+)")
    assert table.person.nunique() == 12
    assert (split_of_people(table) == 1).all()
    for i in range(10):  # people as folders below the classes
        touch(tmp_path / "deep/happy" / f"id{i}", "1.png", "2.png")
    deep = READERS["folders"](tmp_path / "deep", person=r"/(id\d+)/")
    assert (split_of_people(deep) == 1).all()
    with pytest.raises(ValueError, match="person='q.*' fits no name, such as"):
        READERS["folders"](tmp_path / "deep", person=r"q(\d)")
    with pytest.raises(ValueError, match="is no pattern: "):
        READERS["folders"](tmp_path / "deep", person="(")


def warnings_of(table):
    return [note for note in report(table)["notes"] if note.startswith("warning: ")]


@pytest.mark.parametrize("around", ["", "archive/Data/"])
def test_people_around_the_classes_are_read_where_the_user_says_so(tmp_path, around):
    for i in range(12):
        for emotion in SEVEN[i % 3 :][:5]:
            touch(tmp_path / around / f"S{i:03d}" / emotion, "1.png", "2.png")
    with pytest.raises(ValueError, match="all hold class folders; .* if they are people") as caught:
        READERS["folders"](tmp_path)
    assert str(caught.value).endswith("--option person='^([^/]+)/'")
    table = READERS["folders"](tmp_path, person="^([^/]+)/")
    assert len(table) == 12 * 5 * 2
    assert (table.emotion == table.key.str.split("/").str[1].replace("angry", "anger")).all()
    assert (table.person == table.key.str.split("/").str[0]).all()
    assert (split_of_people(table) == 1).all()
    held = read_set("folders", tmp_path, {"person": "^([^/]+)/"})
    assert (split_of_people(held) == 1).all()
    for other in ("none", r"^(\d+)_"):  # which say nothing of these folders
        with pytest.raises(ValueError, match="all hold class folders; pass one of them"):
            READERS["folders"](tmp_path, person=other)


@pytest.mark.parametrize("digits", [1, 3])
@pytest.mark.parametrize("around", ["", "train/"])
def test_people_as_numbers_around_the_classes_do_not_leak(tmp_path, digits, around):
    for i in range(9):
        for emotion in SEVEN:
            touch(tmp_path / around / f"{i:0{digits}d}" / emotion, "1.png", "2.png")
    with pytest.raises(ValueError, match="if they are people, read them by .* folders") as caught:
        READERS["folders"](tmp_path)
    person = re.search("person='(.+)'", str(caught.value))[1]
    table = READERS["folders"](tmp_path, person=person)
    assert table.person.nunique() == 9
    assert (split_of_people(table) == 1).all()


def test_folders_around_the_classes_that_do_not_lie_side_by_side(tmp_path):
    for i in range(4):
        make_class_folders(tmp_path / ("men", "women")[i % 2] / f"S{i}", SEVEN, 2)
    with pytest.raises(ValueError, match="pass one of them$"):
        READERS["folders"](tmp_path)
    for name in ("aligned", "original"):  # neither a split nor people
        make_class_folders(tmp_path / "b" / name, SEVEN, 2)
    with pytest.raises(ValueError, match="aligned, original all hold class folders"):
        READERS["folders"](tmp_path / "b", person="none")


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("FER2013Train", "FER2013Valid", "FER2013Test"), ("train", "valid", "test")),
        (("train_afew", "val_afew", "test_afew"), ("train", "valid", "test")),
        (("AFEWTrain", "AFEWVal"), ("train", "test")),
        (("Fer_Training", "Fer_PublicTest", "Fer_PrivateTest"), ("train", "valid", "test")),
        (("train", "my_dev", "faces-test"), ("train", "valid", "test")),
    ],
)
@pytest.mark.parametrize("data", ["folders", "affectnet", "fer2013"])
def test_words_in_names_of_folders_say_the_split(tmp_path, data, names, splits):
    make_class_folders(tmp_path / "around", SEVEN, 2, names)
    table = READERS[data](tmp_path)
    of_folder = dict(zip(names, splits, strict=True))
    assert (table.split == table.key.str.split("/").str[0].map(of_folder)).all()
    assert len(table) == 14 * len(names)
    assert any(
        n.startswith("splits by words in names of folders: ") for n in report(table)["notes"]
    )
    make_class_folders(tmp_path / "around", SEVEN, 2, ("more",))
    with pytest.raises(
        ValueError, match="more: it holds class folders and lies beside .* no split"
    ):
        READERS[data](tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("latest", "contest"),
        ("trainval_a", "evaluation_a"),
        ("train_a", "train_b"),
        ("train_val", "test_b"),
        ("fold1_train", "fold1_test", "fold2_train", "fold2_test"),
    ],
)
def test_words_that_say_no_split_or_one_alone_are_not_guessed(tmp_path, names):
    make_class_folders(tmp_path, SEVEN, 2, names)
    with pytest.raises(ValueError, match="all hold class folders; pass one of them"):
        READERS["folders"](tmp_path)
    make_class_folders(tmp_path / "b", [*SEVEN, "train_faces", "test_faces"], 2)  # classes beside
    table = READERS["folders"](tmp_path / "b", names={"train_faces": "", "test_faces": ""})
    assert sum(sizes(table).values()) == 14


@pytest.mark.parametrize("parts", [("",), ("train", "test")])
@pytest.mark.parametrize("name", ["{a}_{g}_0_20170116174{i:06d}.jpg.chip.jpg", "{a}_1_{d}.jpg"])
def test_the_age_in_utkfaces_names_is_no_person(tmp_path, parts, name):
    rows = []
    for i in range(120):
        gender = ("male", "female")[i % 2]
        said = {"a": 18 + i % 20, "g": i % 2, "i": i, "d": f"20170116174{i:06d}"}
        key = f"{parts[i % len(parts)]}/{gender}/{name.format(**said)}".lstrip("/")
        touch(tmp_path, key)
        rows.append(f"{key},{gender}")
    write(tmp_path / "labels.csv", ["file,gender", *rows])
    columns = {"path": "file", "gender": "gender"}
    for table in (
        READERS["folders"](tmp_path, label="gender"),
        READERS["csv"](tmp_path, columns=columns),
    ):
        assert "person" not in table
        assert not warnings_of(table)


@pytest.mark.parametrize("data", ["rafdb", "fer2013"])
def test_numbers_of_a_copy_that_counts_otherwise_are_not_mixed_with_the_sets_own(tmp_path, data):
    order = ["surprise", "fear", "disgust", "happy", "sad", "anger", "neutral"]
    if data == "rafdb":  # its own are 1 to 7
        make_class_folders(tmp_path, [*"0123456"], 2, ("train", "test"))
        numbers = dict(zip("0123456", order, strict=True))
    else:  # 0 to 6
        file = fixtures.make_fer2013(tmp_path) / "fer2013.csv"
        lines = file.read_text().splitlines()
        write(file, [lines[0], *(f"{int(line[0]) + 1}{line[1:]}" for line in lines[1:])])
        numbers = dict(zip("1234567", order, strict=True))
    for given in ({}, dict([*numbers.items()][:1]), dict([*numbers.items()][-1:])):
        with pytest.raises(ValueError, match=r"'\d' is not known; one of .*--option names \d="):
            READERS[data](tmp_path, names=given)
    table = READERS[data](tmp_path, names=numbers)
    if data == "rafdb":
        assert (table.emotion == table.key.str.split("/").str[1].map(numbers)).all()
    else:
        assert table.emotion.tolist() == (order * 2)[:12]


def test_rafdbs_list_that_counts_from_0(tmp_path):
    root = fixtures.make_rafdb(tmp_path)
    right = READERS["rafdb"](root).emotion
    file = root / "EmoLabel/list_patition_label.txt"
    lines = [line.split() for line in file.read_text().splitlines()]
    write(file, [f"{name} {int(label) - 1}" for name, label in lines])
    with pytest.raises(ValueError, match=r"'\d' is not known.*name all its numbers: --option"):
        READERS["rafdb"](root, names={"0": "surprise"})
    names = dict(enumerate(["surprise", "fear", "disgust", "happy", "sad", "anger", "neutral"]))
    assert READERS["rafdb"](root, names=names).emotion.equals(right)


@pytest.mark.parametrize(
    ("parts", "between"), [(("train_set", "val_set"), ""), (("train", "test"), "raf_basic"),
                           (("RAFTrain", "RAFVal"), ""),
                           (("raf_train", "raf_test"), "aligned")],
)  # fmt: skip
def test_rafdb_copies_by_other_names_of_splits(tmp_path, parts, between):
    for part in parts:
        make_class_folders(tmp_path / "DATASET" / part / between, [*"1234567"], 2)
    table = READERS["rafdb"](tmp_path)
    assert sizes(table) == {"train": 14, "test": 14}
    assert table.emotion[table.key.str.contains("/7/")].eq("neutral").all()
    assert all(os.path.isfile(path) for path in table.path)


def test_a_split_that_a_copy_of_rafdb_leaves_empty_hides_nothing(tmp_path):
    for part in ("train", "test"):
        make_class_folders(tmp_path / "DATASET" / part, [*"1234567"], 2)
    (tmp_path / "DATASET" / "val").mkdir()
    assert sizes(READERS["rafdb"](tmp_path)) == {"train": 14, "test": 14}


def test_words_in_a_list_of_numbers_are_named_as_they_stand(tmp_path):
    file = fixtures.make_fer2013(tmp_path) / "fer2013.csv"
    head, first, *rest = file.read_text().splitlines()
    write(file, [head, f"Happy,{first.partition(',')[2]}", *rest])
    assert READERS["fer2013"](tmp_path, names={"Happy": "happy"}).emotion[0] == "happy"


@pytest.mark.parametrize("parts", [("train", "test"), ("ck_train", "ck_val")])
def test_ckplus_whose_folders_say_the_split(tmp_path, parts):
    for i, part in enumerate(parts):
        for emotion in ("anger", "happy"):
            touch(tmp_path / "CK+48" / part / emotion, f"S0{10 + i}_004_00000010.png")
    table = READERS["ckplus"](tmp_path)
    assert sizes(table) == {"train": 2, "test": 2}
    assert not warnings_of(table)
    touch(tmp_path / "CK+48" / parts[1] / "anger", "S010_004_00000011.png")
    (warned,) = warnings_of(READERS["ckplus"](tmp_path))
    assert "1 of the people in test are in train" in warned


@pytest.mark.parametrize("form", ["folders", "archives"])
def test_ckplus_whose_names_show_nobody_is_warned_of(tmp_path, form):
    if form == "folders":
        make_class_folders(tmp_path / "CK+48", ["anger", "happy"], 30)
    else:
        fixtures.make_ckplus_archives(tmp_path)
        for file in sorted(tmp_path.rglob("*.png")):
            file.rename(file.with_name(file.name.split("_")[-1]))
    said = [note for note in warnings_of(READERS["ckplus"](tmp_path)) if "sequence" in note]
    assert re.search("do not say who is in a picture.*--option person=PATTERN", said[0])


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("data", ["folders", "affectnet", "fer2013", "rafdb", "celeba", "ckplus"])
def test_tables_with_pictures_inside_are_told_what_to_do(tmp_path, data, ending):
    touch(tmp_path, "README.md", f"data/train-00000-of-00001.{ending}")
    with pytest.raises(
        FileNotFoundError, match=r"it holds README.md, data; \*.parquet and .*DATA.md"
    ):
        READERS[data](tmp_path)


def test_biwi_without_its_calibration_says_so_and_boxes_need_none(tmp_path):
    root = fixtures.make_biwi(tmp_path, frames=1)
    for file in root.rglob("rgb.cal"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"01.rgb.cal is missing; .*--option boxes"):
        READERS["biwi"](tmp_path)
    keys = [f"{i:02d}/frame_00003_rgb.png" for i in range(1, 25)]
    boxes = write(tmp_path / "boxes.csv", [f"{key},100,100,200,200" for key in keys])
    assert READERS["biwi"](tmp_path, boxes=boxes).key.tolist() == keys


@pytest.mark.parametrize("name", ["affectnet-csv", "fairface"])
def test_paths_of_windows_in_a_list(tmp_path, name):
    WRAPPED.get(name, lambda root: None)(tmp_path)
    before = READERS[name](tmp_path)
    for file in tmp_path.rglob("*.csv"):
        file.write_text(file.read_text().replace("/", "\\"))
    assert READERS[name](tmp_path).equals(before)


@pytest.mark.parametrize("name", ["fer2013", "ckplus"])
def test_a_table_of_pixels_in_utf_16_is_told_to_be_saved_as_utf_8(tmp_path, name):
    make = fixtures.make_fer2013 if name == "fer2013" else fixtures.make_ckplus_csv
    (file,) = make(tmp_path).glob("*.csv")
    file.write_text(file.read_text(), encoding="utf-16")
    with pytest.raises(ValueError, match=f"{file.name}: .*save it as UTF-8 text"):
        READERS[name](tmp_path)


@pytest.mark.parametrize("usages", [("Training", "PublicTest", "PrivateTest"),
                                    ("Training", "PrivateTest"), ("Training",)])  # fmt: skip
def test_a_usage_of_several_splits_goes_before_the_name_of_the_file(tmp_path, usages):
    lines = (fixtures.make_fer2013(tmp_path / "a") / "fer2013.csv").read_text().splitlines()
    kept = [lines[0], *(line for line in lines[1:] if line.endswith(usages))]
    for name in ("train.csv", "val.csv"):  # val.csv is of one split, whatever Usage says
        rows = kept if name == "train.csv" else [*lines[:1], *lines[1:3]]
        write(tmp_path / "b" / name, rows)
    table = READERS["fer2013"](tmp_path / "b")
    of_train = table.key.str.startswith("train/")
    wanted = [{"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}[
        line.rsplit(",", 1)[1]] for line in kept[1:]]  # fmt: skip
    assert table.split[of_train].tolist() == wanted
    assert table.split[~of_train].eq("valid").all()


def test_a_split_folder_that_says_no_split_is_not_lost(tmp_path):
    make_class_folders(tmp_path / "a", SEVEN, 2, ("training_set", "Test_Set", "dev"))
    table = READERS["folders"](tmp_path / "a")
    assert table.groupby("split").size().to_dict() == {"train": 14, "valid": 14, "test": 14}
    make_class_folders(tmp_path / "b", SEVEN, 2, ("train", "eval"))
    with pytest.raises(
        ValueError, match="eval: it holds class folders .* beside train, but says no"
    ):
        READERS["folders"](tmp_path / "b")


@pytest.mark.parametrize("below", ["", "take/"])
@pytest.mark.parametrize("people", [3, 30])
def test_folders_below_the_classes_that_may_be_people_are_warned_of(tmp_path, people, below):
    for i in range(people):
        for emotion in SEVEN[:4]:
            touch(tmp_path / emotion / f"S{i:03d}" / below, "1.png", "2.png")
    table = READERS["folders"](tmp_path)
    (warned,) = warnings_of(table)
    assert (
        f"{people} folders such as S000: if they are people, say so by --option person=" in warned
    )
    pattern = re.search("person='(.+)'", warned)[1]
    grouped = READERS["folders"](tmp_path, person=pattern)
    assert grouped.person.nunique() == people
    assert (split_of_people(grouped) == 1).all()
    assert not warnings_of(READERS["folders"](tmp_path, person="none"))
    for emotion in SEVEN[:4]:  # one folder, or folders that say the split, are no people
        touch(tmp_path / "b" / emotion / "aligned", "1.png", "2.png", "3.png")
        touch(tmp_path / "c" / emotion / "train", "1.png", "2.png")
        touch(tmp_path / "c" / emotion / "test", "1.png", "2.png")
    assert not warnings_of(READERS["folders"](tmp_path / "b"))
    assert not warnings_of(READERS["folders"](tmp_path / "c"))


def test_a_csv_without_split_keeps_the_people_of_its_names_together(tmp_path):
    make_named(tmp_path, FORMS["CK+"], 12)
    keys = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    rows = [f"{key},{key.split('/')[0]}" for key in keys]
    write(tmp_path / "labels.csv", ["file,label", *rows])
    columns = {"path": "file", "emotion": "label"}
    table = READERS["csv"](tmp_path, columns=columns)
    assert table.person.nunique() == 12
    assert (split_of_people(table) == 1).all()
    assert "person" not in READERS["csv"](tmp_path, columns=columns, person="none")
    sequences = READERS["csv"](tmp_path, columns=columns, person=r"(S\d+_\d+)_")
    assert sequences.person.nunique() == 24
    assert (split_of_people(sequences) == 1).all()
    rows = [f"{row},{('train', 'test')[i % 2]}" for i, row in enumerate(rows)]
    write(tmp_path / "labels.csv", ["file,label,part", *rows])
    given = READERS["csv"](tmp_path, columns={**columns, "split": "part"})
    assert given.split.tolist() == [("train", "test")[i % 2] for i in range(len(rows))]
    assert any("10 of the people in test are in train" in note for note in warnings_of(given))
    with pytest.raises(ValueError, match="fits no name"):
        READERS["csv"](tmp_path, columns={**columns, "split": "part"}, person="q(x)")


def test_printed_patterns_are_read_where_options_stand_in_a_name(tmp_path):
    patterns = ["^([^/]+)/", "([^/]+)/[^/]*$", r"([A-Za-z]{0,8}\d+)_", "a,b?c+", "none"]
    for pattern in patterns:
        for said in ([f"person={pattern}"], ["person", pattern]):
            data = _with_options("folders:seed=3", [said])
            name, given = split_options(data)
            assert (name, parse_options(name, given)) == ("folders", {"seed": 3, "person": pattern})
        (text,) = write_options("folders", {"person": pattern})
        assert parse_options(*split_options(f"folders:{text}")) == {"person": pattern}
    name, given = split_options("folders:names=joy=happy+rage=anger,person=(a+),shares=0.5+0.2+0.3")
    assert parse_options(name, given) == {
        "names": {"joy": "happy", "rage": "anger"}, "person": "(a+)", "shares": (0.5, 0.2, 0.3),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["identities of one gender", "recordings without a label"])
def test_a_csv_whose_folders_may_be_people_is_warned_of(tmp_path, kind):
    rows = []
    for i in range(40):
        touch(tmp_path / f"n{i:06d}", *(f"f{k}.jpg" for k in range(4)))
        label = "male" if i % 2 else "female"
        rows += [f"n{i:06d}/f{k}.jpg,{label},{9 * k},{k},{k}" for k in range(4)]
    write(tmp_path / "labels.csv", ["file,gender,yaw,pitch,roll", *rows])
    named = ["gender"] if kind.startswith("identities") else ["yaw", "pitch", "roll"]
    columns = {"path": "file", **{name: name for name in named}}
    (warned,) = warnings_of(READERS["csv"](tmp_path, columns=columns))
    assert "40 folders such as n000000" in warned
    table = READERS["csv"](tmp_path, columns=columns, person=re.search("'(.+)'", warned)[1])
    assert table.person.nunique() == 40
    assert (split_of_people(table) == 1).all()


@pytest.mark.parametrize("stray", ["test", "train", "Val"])
def test_split_folders_in_some_classes_only_are_refused(tmp_path, stray):
    make_class_folders(tmp_path, SEVEN, 4)
    touch(tmp_path / "sad" / stray, "1.png")
    with pytest.raises(ValueError, match="those of anger, .* hold none; each class needs its own"):
        READERS["folders"](tmp_path)
    assert len(READERS["folders"](tmp_path, names={"sad": ""})) == 24  # then no class holds any
    left_out = {name: "" for name in SEVEN if name not in ("sad", "happy")}
    with pytest.raises(ValueError, match="those of happy hold none"):
        READERS["folders"](tmp_path, names=left_out)
    for emotion in SEVEN:
        touch(tmp_path / emotion / "test", "1.png")
    if stray != "train":
        with pytest.raises(ValueError, match="none is for training"):
            READERS["folders"](tmp_path)


def test_few_numbers_are_no_people_but_a_warning(tmp_path):
    for i, emotion in enumerate(SEVEN):  # numbers that are the class: people they are not
        touch(tmp_path / emotion, *(f"{i}_{k}.jpg" for k in range(20)))
    table = READERS["folders"](tmp_path)
    assert set(table.emotion[table.split == "train"]) == set(table.emotion)
    (warned,) = [n for n in report(table)["notes"] if n.startswith("warning: ")]
    assert "--option person=" in warned
    make_class_folders(tmp_path / "b", SEVEN, 20)
    assert not any("person" in note for note in report(READERS["folders"](tmp_path / "b"))["notes"])


@pytest.mark.parametrize("form", ["CK+", "KDEF", "number"])
def test_people_on_both_sides_of_a_given_split_are_a_warning(tmp_path, form):
    for part in ("train", "test"):
        for k in range(6):
            for i in range(12):
                if (k < 4) == (part == "train"):
                    touch(tmp_path / part / SEVEN[k], FORMS[form](i, k))
    notes = report(READERS["folders"](tmp_path))["notes"]
    assert any(
        n.startswith("warning: 12 of the people in test are in train or valid") for n in notes
    )


# -- roots, lists, endings: every reader ---

WRAPPED = {
    "affectnet-csv": fixtures.make_affectnet_csv,
    "affectnet-npy": fixtures.make_affectnet_npy,
    "affectnet-plus": fixtures.make_affectnet_plus,
    "affectnet-yolo": fixtures.make_affectnet_yolo,
    "affectnet-folders": lambda root: make_class_folders(root, EIGHT),
    "rafdb": fixtures.make_rafdb,
    "fer2013": fixtures.make_fer2013,
    "ferplus-csv": lambda root: fixtures.make_ferplus_csv(root, ["10,0,0,0,0,0,0,0,0,0"] * 12),
    "expw": fixtures.make_expw,
    "ckplus": fixtures.make_ckplus,
    "kdef": fixtures.make_kdef,
    "jaffe": fixtures.make_jaffe,
    "affwild2": fixtures.make_affwild2,
    "300w-lp": lambda root: fixtures.make_w300lp(root).parent,
    "aflw2000": fixtures.make_aflw2000,
    "biwi": lambda root: fixtures.make_biwi(root, frames=1),
    "pose-npz": fixtures.make_pose_npz,
    "fei": fixtures.make_fei,
    "utkface": fixtures.make_utkface,
    "celeba": fixtures.make_celeba,
    "fairface": fixtures.make_fairface,
    "adience": fixtures.make_adience,
    "folders": lambda root: make_class_folders(root, EIGHT),
    "csv": lambda root: (
        write(root / "labels.csv", ["image,label", *(f"{i}.png,sad" for i in "123")])
        and touch(root, "1.png", "2.png", "3.png")
    ),
}
ENDINGS = ["rafdb", "celeba", "fairface", "adience", "expw", "affwild2", "300w-lp", "aflw2000",
           "biwi", "fei", "utkface", "kdef", "affectnet-npy", "affectnet-plus"]  # fmt: skip
OPTIONS = {"csv": {"columns": {"path": "image", "emotion": "label"}}}


def labels_of(table):
    """What a table says, without where it lies and how pictures end."""
    plain = table.drop(columns=["path", "key"]).reset_index(drop=True)
    plain.attrs = {}
    return plain


@pytest.mark.parametrize("around", [("archive (1)",), ("data", "faces")])
@pytest.mark.parametrize("name", WRAPPED)
def test_every_reader_looks_one_and_two_folders_down(tmp_path, name, around):
    options = OPTIONS.get(name, {})
    inside = tmp_path.joinpath(*around, "set" if name in ("kdef", "jaffe") else "")
    inside.mkdir(parents=True)
    WRAPPED[name](inside)
    touch(tmp_path, "read me.txt")
    table = READERS[name](tmp_path, **options)
    same = READERS[name](inside, **options)
    if name != "fei":  # whose list names subjects
        pd.testing.assert_frame_equal(labels_of(table), labels_of(same))
    assert len(table) == len(same)


@pytest.mark.parametrize("ending", [".png", ".JPEG"])
@pytest.mark.parametrize("name", ENDINGS)
def test_every_reader_takes_pictures_of_any_ending(tmp_path, name, ending):
    root = WRAPPED[name](tmp_path)
    before = READERS[name](root)
    for file in list(tmp_path.rglob("*")):
        if file.suffix.lower() in (".jpg", ".png") and file.is_file():
            file.rename(file.with_suffix(ending))
    table = READERS[name](root)
    columns = [
        c
        for c in labels_of(before)
        if c not in ("left", "top", "right", "bottom", "split", "source")
    ]
    assert len(table) == len(before)
    for column in columns:
        assert table[column].astype(str).value_counts().to_dict() == (
            before[column].astype(str).value_counts().to_dict()
        )


@pytest.mark.parametrize("form", ["endings", "folders", "all"])
@pytest.mark.parametrize("name", WRAPPED)
def test_every_reader_takes_names_of_any_case(tmp_path, name, form):
    inside = tmp_path / ("set" if name in ("kdef", "jaffe") else "")
    inside.mkdir(exist_ok=True)
    WRAPPED[name](inside)
    before = READERS[name](tmp_path, **OPTIONS.get(name, {}))
    for file in sorted(tmp_path.rglob("*"), reverse=True):  # what lies in a folder before it
        if form == "all":
            file.rename(file.with_name(file.name.upper()))
        elif form == "folders" and file.is_dir():
            file.rename(file.with_name(file.name.swapcase()))
        elif form == "endings" and file.is_file():
            file.rename(file.with_suffix(file.suffix.upper()))
    table = READERS[name](tmp_path, **OPTIONS.get(name, {}))
    assert len(table) == len(before)
    assert report(table)["dropped"] == report(before)["dropped"]
    drawn = ("split", "source", "left", "top", "right", "bottom", "person", "offset")
    for column in labels_of(before).columns.difference(drawn):
        assert table[column].astype(str).value_counts().to_dict() == (
            before[column].astype(str).value_counts().to_dict()
        )


@pytest.mark.parametrize("part", ["afw_flip", "Afw_FLIP", "AFW_flip"])
@pytest.mark.parametrize("plain", ["afw", "AFW"])
@pytest.mark.parametrize("names", [str, str.lower])
def test_mirror_images_of_another_case_keep_their_source(tmp_path, part, plain, names):
    root = fixtures.make_w300lp(tmp_path)
    (root / "AFW").rename(root / plain)
    (root / "AFW_Flip").rename(root / part)
    for file in list((root / part).iterdir()):
        file.rename(file.with_name(names(file.name)))
    table = READERS["300w-lp"](tmp_path)
    assert len(table) == 24
    assert report(table)["counts"]["AFW_Flip on disk"] == {"found": 6, "published": 5_207}
    sources = table.groupby(table["key"].str.partition("/")[0].str.lower())["source"].agg(set)
    assert {s.partition("/")[2] for s in sources["afw_flip"]} == {"AFW_11_1", "AFW_12_1"}
    assert sources["afw_flip"] == sources["afw"]
    assert not table["source"].str.lower().str.contains("flip").any()


@pytest.mark.parametrize("kind", ["pipe", "link to a device"])
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("300w-lp", "*.mat"), ("aflw2000", "*.mat"), ("biwi", "*_pose.txt"),
        ("affectnet-npy", "*_exp.npy"), ("affectnet-plus", "*.json"), ("affectnet-yolo", "*.txt"),
        ("affwild2", "*.txt"), ("pose-npz", "*.npz"), ("rafdb", "*_attri.txt"),
    ],
)  # fmt: skip
def test_no_label_is_read_out_of_a_pipe(tmp_path, name, pattern, kind):
    WRAPPED[name](tmp_path)
    file = min(tmp_path.rglob(pattern))  # which is one that its reader reads
    file.unlink()
    os.mkfifo(file) if kind == "pipe" else file.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=re.escape(f"{file.name} is no regular file; ")):
        READERS[name](tmp_path)


def test_a_pipe_among_yolos_pictures_costs_itself(tmp_path):
    fixtures.make_affectnet_yolo(tmp_path)
    for i, file in enumerate(sorted(tmp_path.rglob("*.png"))[:2]):
        file.unlink()
        file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0") if i else os.mkfifo(file)
    table = READERS["affectnet-yolo"](tmp_path)
    assert report(table)["dropped"] == {"picture that cannot be opened": 2}


LISTS = {
    "rafdb": "EmoLabel/list_patition_label.txt",
    "celeba": "list_eval_partition.txt",
    "fairface": "fairface_label_train.csv",
    "adience": "fold_2_data.txt",
    "expw": "label/label.lst",
    "csv": "labels.csv",
}


@pytest.mark.parametrize("form", ["crlf", "bom", "tabs", "commas", "semicolons", "ending"])
@pytest.mark.parametrize("name", LISTS)
def test_lists_of_any_form(tmp_path, name, form):
    WRAPPED[name](tmp_path)
    before = labels_of(READERS[name](tmp_path, **OPTIONS.get(name, {})))
    file = tmp_path / LISTS[name]
    lines = file.read_text().splitlines()
    apart = next((sign for sign in ("\t", ",") if sign in lines[0]), " ")
    if sign := {"tabs": "\t", "commas": ",", "semicolons": ";"}.get(form):
        lines = [sign.join(f'"{part}"' if "," in part else part for part in line.split(apart))
                 for line in lines]  # fmt: skip
    text = {"crlf": "\r\n"}.get(form, "\n").join(lines) + "\n"
    file.write_bytes((b"\xef\xbb\xbf" if form == "bom" else b"") + text.encode())
    if form == "ending":
        file.rename(file.with_suffix(".csv" if file.suffix != ".csv" else ".txt"))
    after = labels_of(READERS[name](tmp_path, **OPTIONS.get(name, {})))
    pd.testing.assert_frame_equal(after, before)


@contextmanager
def counted(root, name, reason="repeated row", make=None):
    """What is done within to a made-up copy is counted once, and no label is another for it."""
    (make or WRAPPED[name])(root)
    before = labels_of(READERS[name](root))
    yield
    table = READERS[name](root)
    pd.testing.assert_frame_equal(labels_of(table), before)
    assert report(table)["dropped"][reason] == 1


@pytest.mark.parametrize("name", [n for n in LISTS if n != "csv"])
def test_a_repeated_row_is_counted_and_no_row_is_lost(tmp_path, name):
    with counted(tmp_path, name):
        file = tmp_path / LISTS[name]
        file.write_text(file.read_text() + file.read_text().splitlines()[-1] + "\n")


@pytest.mark.parametrize("name", ["fairface", "adience"])
def test_lists_without_their_header(tmp_path, name):
    WRAPPED[name](tmp_path)
    before = labels_of(READERS[name](tmp_path))
    for file in tmp_path.glob("f*_*.*"):
        if file.is_file():
            file.write_text("\n".join(file.read_text().splitlines()[1:]) + "\n")
    pd.testing.assert_frame_equal(labels_of(READERS[name](tmp_path)), before)


@pytest.mark.parametrize("sign", [" ", ",", ";", "\t"])
def test_any_csv_without_a_header_by_numbers_of_columns(tmp_path, sign):
    rows = [["a.png", "happy", "0.25"], ["b.PNG", "sad", "-0.5"], ["c.png", "fear", "1"]]
    write(tmp_path / "all.txt", [sign.join(row) for row in rows])
    touch(tmp_path, "a.png", "B.png", "c.jpg", "d.png")
    columns = {"path": "1", "emotion": "2", "valence": "3"}
    table = READERS["csv"](tmp_path, file="all.csv", columns=columns)
    assert table.emotion.tolist() == ["happy", "sad", "fear"]
    assert table.valence.tolist() == [0.25, -0.5, 1]
    assert table.key.tolist() == ["a.png", "B.png", "c.jpg"]


# -- CelebA, BIWI, UTKFace, RAF-DB ---


def test_celeba_from_kaggle_has_its_official_split(tmp_path):
    males, splits = [1, -1] * 15, [0] * 18 + [1] * 6 + [2] * 6
    fixtures.make_celeba(tmp_path, males, splits)
    flat = READERS["celeba"](tmp_path)
    (tmp_path / "img_align_celeba").rename(tmp_path / "inner")
    (tmp_path / "img_align_celeba").mkdir()
    (tmp_path / "inner").rename(tmp_path / "img_align_celeba/img_align_celeba")
    nested = READERS["celeba"](tmp_path)  # lists of the authors
    _, names, *rows = (tmp_path / "list_attr_celeba.txt").read_text().splitlines()
    header = ",".join(["image_id", *names.split()])
    write(tmp_path / "list_attr_celeba.csv", [header, *(",".join(r.split()) for r in rows)])
    pairs = (tmp_path / "list_eval_partition.txt").read_text().splitlines()
    partition = ["image_id,partition", *(",".join(pair.split()) for pair in pairs)]
    write(tmp_path / "list_eval_partition.csv", partition)
    for name in ("attr_celeba", "eval_partition"):
        (tmp_path / f"list_{name}.txt").unlink()
    write(tmp_path / "list_bbox_celeba.csv", ["image_id,x_1,y_1,width,height"])
    kaggle = READERS["celeba"](tmp_path)
    for table in (flat, nested, kaggle):
        assert table.gender.map({"male": 1, "female": -1}).tolist() == males
        assert sizes(table) == {"train": 18, "valid": 6, "test": 6}
    assert kaggle.key[0] == "img_align_celeba/img_align_celeba/000001.jpg"


def test_biwi_as_fastai_ships_it(tmp_path):
    """The pose that a user printed: yaw -52.376, pitch -54.920, roll 41.554 degrees."""
    turned = [[0.45684, -0.404949, -0.792031], [-0.103806, 0.860022, -0.499587],
              [0.883471, 0.310449, 0.350856]]  # fmt: skip
    for recording in range(1, 25):
        folder = tmp_path / f"biwi_head_pose/{recording:02d}"
        write(folder / "rgb.cal", fixtures.CALIBRATION.splitlines())
        pose = fixtures.pose_text(turned, (156.6, 94.6106, 893.541))
        write(folder / "frame_00501_pose.txt", pose.splitlines())
        touch(folder, "frame_00501_rgb.jpg")
    table = READERS["biwi"](tmp_path)
    assert len(table) == 24
    assert report(table)["counts"]["all"]["published"] == 15_678
    assert report(table)["dropped"] == {}
    row = table[table.key == "01/frame_00501_rgb.jpg"].iloc[0]
    np.testing.assert_allclose(
        [row.yaw, row.pitch, row.roll], [-52.37571, -54.91994, 41.55420], atol=2e-5
    )
    touch(tmp_path / "biwi_head_pose/01", "frame_00501_rgb.png")
    assert len(READERS["biwi"](tmp_path)) == 24  # one frame in two files is one frame


def test_utkface_where_only_other_folders_are(tmp_path):
    names = [f"{20 + i}_{i % 2}_{i % 5}_201701161745{i:05d}.jpg.chip.jpg" for i in range(30)]
    odd = ["61_3_20170109150557335.jpg.chip.jpg", "24_0_1_20170116220224657 .jpg"]
    touch(tmp_path / "archive/crop_part1", *names, *odd)
    table = READERS["utkface"](tmp_path).set_index("key")
    assert len(table) == 32
    assert table.gender.isna().sum() == 1
    assert table.loc[odd[1], "gender"] == "male"
    assert report(table)["counts"]["all"]["published"] == 9_780
    for i in range(3):
        touch(tmp_path / f"b/part{i + 1}", *(n.replace(".jpg.chip", "") for n in names[i::3]))
    wild = READERS["utkface"](tmp_path / "b")
    assert len(wild) == 30
    assert set(wild.key.str.split("/").str[0]) == {"part1", "part2", "part3"}


def test_rafdb_list_by_its_other_spelling_and_nested_pictures(tmp_path):
    root = fixtures.make_rafdb(tmp_path)
    file = root / "EmoLabel/list_patition_label.txt"
    file.rename(file.with_name("list_partition_label.txt"))
    (root / "Image/aligned").rename(root / "Image/inner")
    (root / "Image/aligned").mkdir()
    (root / "Image/inner").rename(root / "Image/aligned/aligned")
    assert len(READERS["rafdb"](tmp_path)) == 11


# -- readers of further sets ---


def test_fairface_takes_its_validation_list_for_test(tmp_path):
    table = READERS["fairface"](fixtures.make_fairface(tmp_path))
    assert sizes(table) == {"train": 8, "test": 4}
    assert table.gender.tolist() == (["female", "male"] * 6)
    assert table.key[9] == "val/2.jpg"
    counts = report(table)["counts"]
    assert counts["train"]["published"] + counts["test"]["published"] == 97_698
    change(tmp_path / "fairface_label_val.csv", "Male", "Boy")
    with pytest.raises(ValueError, match=r"label_val.csv line 3, field gender: 'boy' is not known"):
        READERS["fairface"](tmp_path)


def test_expw_boxes_are_top_left_right_bottom(tmp_path):
    table = READERS["expw"](fixtures.make_expw(tmp_path)).set_index("key")
    assert len(table) == 22
    row = table.loc["image/origin/3.jpg"]
    assert (row.left, row.top, row.right, row.bottom) == (20, 13, 120, 113)
    names = ["anger", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    for i in range(21):
        assert table.loc[f"image/origin/{i}.jpg", "emotion"] == names[i % 7]
    second = table.loc["image/origin/0.jpg#2"]
    assert (second.emotion, second.left) == ("happy", 150)
    assert (table.groupby("source").split.nunique() == 1).all()
    counts = report(READERS["expw"](tmp_path))["counts"]
    assert sum(n["published"] for c, n in counts.items() if c.startswith("faces/")) == 91_793


def test_ckplus_in_its_three_forms(tmp_path):
    table = READERS["ckplus"](fixtures.make_ckplus(tmp_path / "a").parent)
    assert len(table) == 72
    assert (split_of_people(table) == 1).all()
    assert table.person.str.fullmatch(r"S\d{3}").all()
    counts = report(table)["counts"]
    assert sum(n["published"] for c, n in counts.items() if c.startswith("faces/")) == 981
    csv = READERS["ckplus"](fixtures.make_ckplus_csv(tmp_path / "b"))
    assert csv.emotion[7] == "contempt"
    assert csv.emotion[6] == "neutral"
    assert sizes(csv) == {"train": 7, "valid": 2, "test": 3}
    assert report(csv)["notes"][0].startswith("warning: ckextended.csv does not say who")
    whole = READERS["ckplus"](fixtures.make_ckplus_archives(tmp_path / "c"))
    numbers = ["neutral", "anger", "contempt", "disgust", "fear", "happy", "sad", "surprise"]
    for i, (person, rows) in enumerate(whole.groupby("person")):
        assert person == f"S{5 + i:03d}"
        assert set(rows.emotion) == {numbers[i]}
        assert sorted(rows.key.str[-6:-4]) == ["04", "05", "06"]
    assert report(whole)["dropped"] == {
        "frame of a sequence without a label": 48,
        "frame before the last 3": 24,
    }


def test_kdef_and_jaffe_say_all_in_their_names(tmp_path):
    table = READERS["kdef"](fixtures.make_kdef(tmp_path / "k"))
    assert len(table) == 10 * 2 * 7 * 2
    row = table[table.key.str.endswith("BM03SUHL.JPG")].iloc[0]
    assert (row.person, row.gender, row.emotion, row.side) == ("M03", "male", "surprise", "HL")
    assert set(table.emotion[table.key.str.contains("AF[SH]")]) == {"fear"}
    assert (split_of_people(table) == 1).all()
    assert report(table)["counts"]["people"] == {"found": 10, "published": 70}
    frontal = READERS["kdef"](tmp_path / "k", frontal=True)
    assert len(frontal) == 140
    assert report(frontal)["counts"]["all"]["published"] == 980
    jaffe = READERS["jaffe"](fixtures.make_jaffe(tmp_path / "j"))
    assert len(jaffe) == 70
    row = jaffe[jaffe.key.str.startswith("KA.HA")].iloc[0]
    assert (row.person, row.emotion) == ("KA", "happy")
    assert (split_of_people(jaffe) == 1).all()
    assert report(jaffe)["dropped"] == {"name of another form": 1}
    counts = report(jaffe)["counts"]
    assert sum(n["published"] for c, n in counts.items() if c.startswith("faces/")) == 213


@pytest.mark.parametrize("images", ["aligned", "faces"])
def test_adience_tests_on_one_fold(tmp_path, images):
    root = fixtures.make_adience(tmp_path)
    table = READERS["adience"](root, images=images, fold=1)
    assert sizes(table) == {"test": 4, "train": 16}
    start = "landmark" if images == "aligned" else "coarse_tilt"
    assert table.key[5] == f"{images}/10@N04/{start}_aligned_face.21.111_o.jpg"
    assert table.gender.fillna("-").tolist() == ["male", "female", "-", "-"] * 5
    assert report(table)["unlabelled"] == {"gender: u or empty": 10}
    assert (split_of_people(table) == 1).all()
    with pytest.raises(ValueError, match="fold=5: from 0 to 4"):
        READERS["adience"](root, fold=5)


def test_affwild2_numbers_go_by_the_names_in_line_1(tmp_path):
    root = fixtures.make_affwild2(tmp_path)
    table = READERS["affwild2"](root).set_index("key")
    names = ["neutral", "anger", "disgust", "fear", "happy", "sad", "surprise"]
    for v, video in enumerate(["1", "2_left", "3"]):
        for i in range(9):
            key, number = f"cropped_aligned/{video}/{i + 1:05d}.jpg", (v + i) % 8
            kept = i not in (2, 3) and number != 7
            assert (key in table.index) == kept
            if kept:
                assert table.loc[key, "emotion"] == names[number]
    assert set(table.split[table.source.isin(["8", "9"])]) == {"test"}
    assert table.loc["cropped_aligned/2_left/00001.jpg", "source"] == "2"
    dropped = report(READERS["affwild2"](root))["dropped"]
    assert dropped["frame without a label"] == dropped["not on disk"] == 5
    affect = READERS["affwild2"](root, labels="affect").set_index("key")
    row = affect.loc["cropped_aligned/8/00008.jpg"]
    assert (row.valence, row.arousal) == (0.7, -0.7)
    assert len(READERS["affwild2"](root, labels="affect", every=2)) < len(affect) * 0.6
    change(root / "annotations/EXPR_Recognition_Challenge/Train_Set/1.txt", "\n5\n", "\n12\n")
    with pytest.raises(ValueError, match=r"1.txt line 7, field emotion: '12' is not known"):
        READERS["affwild2"](root)


def test_fsanets_files_are_read_picture_by_picture(tmp_path):
    root = fixtures.make_pose_npz(tmp_path)
    table = READERS["pose-npz"](root)
    assert sizes(table) == {"train": 20, "test": 10}
    assert report(table)["dropped"] == {"beyond 99 degrees": 6}
    for row in table.itertuples():
        with np.load(row.path, allow_pickle=False) as content:
            np.testing.assert_allclose([row.yaw, row.pitch, row.roll], content["pose"][row.offset])
            blue_first = content["image"][row.offset]
        np.testing.assert_array_equal(read_npz_image(row.path, row.offset), blue_first[..., ::-1])
    assert len(READERS["pose-npz"](root, flips=False, all_angles=True)) == 30
    image, pose = np.zeros((3, 8, 8, 3), np.uint8), np.zeros((3, 3))
    for content, said in (
        ({"image": image, "pose": pose[:2]}, r"expected pose of shape \(3, 3\)"),
        ({"image": image.astype(float), "pose": pose}, "expected image as uint8"),
        ({"image": image}, "pose"),
        ({"image": image, "pose": np.array([None] * 3)}, "allow_pickle"),
    ):
        np.savez(root / "AFW.npz", **content)
        with pytest.raises(ValueError, match=rf"AFW.npz cannot be read .*{said}"):
            READERS["pose-npz"](root)
    np.savez_compressed(root / "AFW.npz", image=image, pose=pose)
    with pytest.raises(ValueError, match=r"it is compressed.*numpy.savez"):
        READERS["pose-npz"](root)


@pytest.mark.parametrize("name", ["afw_flip.NPZ", "Helen_FLIP.npz", "lfpw.npz", "300W_LP.npz"])
def test_fsanets_files_train_whatever_the_case_of_their_names(tmp_path, name):
    for file, number in ((name, 3), ("AFLW2000.npz", 2)):
        image = np.zeros((number, 8, 8, 3), np.uint8)
        with (tmp_path / file).open("wb") as stream:
            np.savez(stream, image=image, pose=np.ones((number, 3), np.float16))
    assert sizes(READERS["pose-npz"](tmp_path)) == {"train": 3, "test": 2}


# -- leaks are said: in the report, in the pack, on the terminal, in the run's card ---


def make_recording(root):
    """Two frames of each recording, all but equal: one trains, one is tested on."""
    for i in range(24):
        photo = np.asarray(fixtures.draw_photo(i, (40, 40)))
        for part, shift in (("train", 0), ("test", 1)):
            folder = root / part / SEVEN[i % 7]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.minimum(photo, 254) + np.uint8(shift)).save(
                folder / f"a{i}{part}.png"
            )
    return root


def test_near_identical_frames_in_two_splits_are_a_warning_wherever_one_looks(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path / "cache"))
    root = make_recording(tmp_path / "set")
    command = ["pack", "folders", "--root", str(root), "--size", "32", "--out"]
    assert main([*command, str(tmp_path / "p")]) == 0
    said = "groups of near-identical pictures lie in two splits"
    assert f"warning: 24 {said}, with 24 test pictures" in capsys.readouterr().err
    pack = open_pack(tmp_path / "p")
    (warning,) = json.loads((pack.path / "report.json").read_text())["warnings"]
    assert pack.meta["warnings"] == [warning]
    assert "WARNINGS (1)" in (pack.path / "report.txt").read_text()
    assert f"Warning: 24 {said}" in data_sheet(pack)
    run = fit(RunSpec.preset("smoke", "folders", epochs=1), pack=pack, store=tmp_path / "runs")
    assert f"- **Warning**: 24 {said}" in model_card(run, resamples=10)
    assert main([*command, str(tmp_path / "q"), "--drop-duplicates"]) == 0
    assert "warnings" not in open_pack(tmp_path / "q").meta


def test_an_error_never_recommends_another_tasks_protocol(tmp_path, monkeypatch):
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path / "cache"))
    for i in range(8):
        file = tmp_path / f"set/train/{SEVEN[i % 2]}/{i}.png"
        fixtures.save_picture(file, level=20 * i)
    rows = [f"train/{SEVEN[i % 2]}/{i}.png,{SEVEN[i % 2]},train" for i in range(8)]
    write(tmp_path / "set/labels.csv", ["p,e,s", *rows])
    data = "csv:columns=path=p+emotion=e+split=s"
    with pytest.raises(ValueError, match="has no test faces") as caught:
        fit(RunSpec.preset("smoke", data), root=tmp_path / "set", store=tmp_path / "runs")
    assert "300w-lp" not in str(caught.value)


# -- rows that are there again ---


@pytest.mark.parametrize("name", ["fairface", "adience", "csv"])
@pytest.mark.parametrize("form", ["again", "upper"])
def test_a_header_that_stands_again_or_in_capitals(tmp_path, name, form):
    WRAPPED[name](tmp_path)
    before = labels_of(READERS[name](tmp_path, **OPTIONS.get(name, {})))
    file = tmp_path / LISTS[name]
    header, *rows = file.read_text().splitlines()
    write(file, [header.upper(), *rows] if form == "upper" else [header, *rows[:1], header, *rows])
    table = READERS[name](tmp_path, **OPTIONS.get(name, {}))
    pd.testing.assert_frame_equal(labels_of(table), before)
    counted = {"repeated header": 1, "repeated row": 1} if form == "again" else {}
    assert counted.items() <= report(table)["dropped"].items()


def test_affectnet_headers_that_stand_again_or_in_capitals(tmp_path):
    with counted(tmp_path, "affectnet-csv", "repeated header", fixtures.make_affectnet_csv):
        file = tmp_path / "Manually_Annotated_file_lists/training.csv"
        header, *rows = file.read_text().splitlines()
        write(file, [header.upper(), *rows, header])


def _kaggle_celeba(root):
    """Its lists as csv, with names of columns."""
    fixtures.make_celeba(root)
    file = root / "list_attr_celeba.txt"
    names, *rows = (line.split() for line in file.read_text().splitlines()[1:])
    file.unlink()
    table = [["image_id", *names], *rows]
    write(file.with_suffix(".csv"), [",".join(row) for row in table])
    file = root / "list_eval_partition.txt"
    rows = file.read_text().splitlines()
    file.unlink()
    write(file.with_suffix(".csv"), ["image_id,partition", *(r.replace(" ", ",") for r in rows)])


@pytest.mark.parametrize("file", ["list_attr_celeba.csv", "list_eval_partition.csv"])
def test_celebas_headers_that_stand_again(tmp_path, file):
    with counted(tmp_path, "celeba", "repeated header", _kaggle_celeba):
        lines = (tmp_path / file).read_text().splitlines()
        write(tmp_path / file, [*lines[:3], lines[0], *lines[3:]])


def test_feis_header_that_stands_again(tmp_path):
    with counted(tmp_path, "fei", "repeated header", fixtures.make_fei):
        lines = (tmp_path / "fei_gender.csv").read_text().splitlines()
        write(tmp_path / "fei_gender.csv", [*lines, lines[0]])


def _kaggle_affectnet(root):
    make_class_folders(root, EIGHT, count=3)
    names = [f.relative_to(root).as_posix() for f in sorted(root.glob("*/*"))]
    rows = [f"0,{name},{name.split('/')[0]},1" for name in names]
    write(root / "labels.csv", [",pth,label,relFCs", *rows])


def test_affectnets_labels_csv_with_its_header_again(tmp_path):
    with counted(tmp_path, "affectnet-folders", "repeated header", _kaggle_affectnet):
        lines = (tmp_path / "labels.csv").read_text().splitlines()
        write(tmp_path / "labels.csv", [*lines, lines[0]])


@pytest.mark.parametrize("name", ["fairface", "expw", "rafdb", "celeba"])
def test_one_picture_by_two_names_counts_once(tmp_path, name):
    """Names 1.jpg and 1.PNG of the one file 1.jpg."""
    lists = {"celeba": ["list_attr_celeba.txt", LISTS[name]]}.get(name, [LISTS[name]])
    with counted(tmp_path, name):
        for file in (tmp_path / list_name for list_name in lists):
            last = file.read_text().splitlines()[-1]
            assert ".jpg" in last
            file.write_text(file.read_text() + last.replace(".jpg", ".PNG") + "\n")
            first, rest = file.read_text().split("\n", 1)
            file.write_text(f"{int(first) + 1 if first.isdecimal() else first}\n{rest}")


@pytest.mark.parametrize("name", ["kdef", "jaffe"])
def test_one_picture_with_two_endings_counts_once(tmp_path, name):
    with counted(tmp_path, name):
        file = next(f for f in sorted(tmp_path.rglob("*.*")) if f.suffix in (".tiff", ".JPG"))
        file.with_suffix(".png").touch()


@pytest.mark.parametrize(("answer", "left"), [("drop", 22), ("csv", 23), ("folder", 24)])
def test_affectnet_rows_of_labels_csv_that_are_there_again(tmp_path, answer, left):
    make_class_folders(tmp_path, EIGHT, count=3)
    names = [f.relative_to(tmp_path).as_posix() for f in sorted(tmp_path.glob("*/*"))]
    said = dict.fromkeys(names[1:2], "sad") | {n: n.split("/")[0] for n in [*names[:1], *names[2:]]}
    rows = [f"0,{n},{label},1" for n, label in said.items()]
    rows += [rows[5], f"0,{names[0]},sad,1"]  # again; and with two labels
    write(tmp_path / "labels.csv", [",pth,label,relFCs", *rows])
    table = READERS["affectnet-folders"](tmp_path, disagreeing=answer)
    assert len(table) == left
    assert report(table)["dropped"]["repeated row"] == 1
    of = dict(zip(table["key"], table["emotion"], strict=True))
    assert of.get(names[1]) == {"drop": None, "csv": "sad", "folder": "anger"}[answer]
    assert (names[0] in of) == (answer == "folder")


@pytest.mark.parametrize("spelt", ["list", "pictures", "both", "none"])
def test_rafdb_names_with_and_without_aligned(tmp_path, spelt):
    fixtures.make_rafdb(tmp_path)
    before = labels_of(READERS["rafdb"](tmp_path))
    if spelt in ("list", "both"):
        file = tmp_path / LISTS["rafdb"]
        file.write_text(file.read_text().replace(".jpg", "_aligned.jpg"))
    if spelt in ("list", "none"):
        for file in list((tmp_path / "Image/aligned").iterdir()):
            file.rename(file.with_name(file.name.replace("_aligned", "")))
    pd.testing.assert_frame_equal(labels_of(READERS["rafdb"](tmp_path)), before)


# -- from the copy on the disk to a trained network ---

COPIES = {  # builder, data set with options
    "affectnet-plus": (fixtures.make_affectnet_plus, "affectnet"),
    "affectnet-yolo": (fixtures.make_affectnet_yolo, "affectnet"),
    "expw": (fixtures.make_expw, "expw"),
    "ckplus": (fixtures.make_ckplus, "ckplus"),
    "kdef": (fixtures.make_kdef, "kdef"),
    "jaffe": (fixtures.make_jaffe, "jaffe"),
    "affwild2": (fixtures.make_affwild2, "affwild2"),
    "class folders": (lambda root: make_class_folders(root, SEVEN, count=12), "folders"),
}


@pytest.mark.slow
@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_trains_by_the_command_line(tmp_path, monkeypatch, capsys, copy):
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path / "cache"))
    make, data = COPIES[copy]
    root = tmp_path / "archive (1)" / "set"
    root.mkdir(parents=True)
    make(root)
    pictures = [f for f in sorted(root.rglob("*.*")) if f.suffix.lower() in PICTURES]
    for i, file in enumerate(pictures):
        kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".tiff": "TIFF"}.get(file.suffix.lower(), "PNG")
        fixtures.draw_photo(i).resize((200, 200)).save(file, kind)  # boxes lie within
    options = ["--set", "epochs", "1", "--set", "size", "32", "--store", str(tmp_path / "runs")]
    run = ["run", "--preset", "smoke", "--data", data, "--root", str(root.parent), *options]
    assert main(run) == 0, capsys.readouterr().err
    (folder,) = (tmp_path / "runs").glob(f"{data}-*")
    tested = load_run(folder).predictions
    expected = READERS[data](root)
    assert len(tested) == (expected["split"] == "test").sum()


@pytest.mark.parametrize("named", ["1.jpg", "1.JPEG", "1", "1.pgm", "1.txt", "1.pfg", "1.png.bak"])
def test_a_picture_may_have_another_ending_and_nothing_else_is_taken_for_it(tmp_path, named):
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "2.png")
    (tmp_path / "labels.csv").write_text(f"path,emotion\n{named},sad\n2.png,happy\n")
    columns = {"path": "path", "emotion": "emotion"}
    found = READERS["csv"](tmp_path, columns=columns).set_index("key")["emotion"]
    picture = named.lower() in ("1.jpg", "1.jpeg", "1", "1.pgm")
    assert found.to_dict() == ({"1.png": "sad"} if picture else {}) | {"2.png": "happy"}


# -- several of a kind, other endings, other places ---


@pytest.mark.parametrize("apart", ["", "extended/", "a/b/"])
def test_ckplus_archives_one_folder_further_in(tmp_path, apart):
    plain = READERS["ckplus"](fixtures.make_ckplus_archives(tmp_path / "plain"))
    inner = fixtures.make_ckplus_archives(tmp_path / "own" / apart)
    table = READERS["ckplus"](tmp_path / "own")
    assert table[["key", "split", "person"]].equals(plain[["key", "split", "person"]])
    (inner / "labels").mkdir()
    (inner / "Emotion").rename(inner / "labels" / "Emotion")  # as archives unpack side by side
    (inner / "pictures").mkdir()
    (inner / "cohn-kanade-images").rename(inner / "pictures" / "cohn-kanade-images")
    again = READERS["ckplus"](tmp_path / "own")
    assert again.key.tolist() == [f"pictures/{key}" for key in plain.key]
    assert again.emotion.tolist() == plain.emotion.tolist()


def test_fairface_with_both_paddings_asks_which(tmp_path):
    root = fixtures.make_fairface(tmp_path)
    (one,) = root.glob("fairface-img-*")
    for part in ("train", "val"):
        touch(root / "fairface-img-margin125-trainval", *(f"{part}/{i}.jpg" for i in range(1, 9)))
    with pytest.raises(ValueError, match=f"--option images={one.name} or --option images=fairface"):
        READERS["fairface"](root)
    table = READERS["fairface"](root, images="fairface-img-margin125-trainval")
    assert table.path.str.contains("margin125").all()
    assert READERS["fairface"](root, images=one.name).path.str.contains("margin025").all()


def test_of_several_copies_none_is_taken_in_silence(tmp_path):
    names = [f"{20 + i}_{i % 2}_0_2017011917{i:07d}.jpg" for i in range(8)]
    for name in ("train", "test"):
        touch(tmp_path / "utk" / name, *names)
    with pytest.raises(ValueError, match="test, train all hold pictures of the set; put them into"):
        READERS["utkface"](tmp_path / "utk")
    assert len(READERS["utkface"](tmp_path / "utk" / "test")) == 8
    for name in ("DATASET", "copy"):
        make_class_folders(tmp_path / "raf" / name, list("1234567"), 2, ("train", "test"))
    with pytest.raises(ValueError, match="DATASET, copy all hold train/ and test/; pass one"):
        READERS["rafdb"](tmp_path / "raf")


def test_biwis_training_frames_beside_a_file_of_all_recordings_are_warned_of(tmp_path):
    root = fixtures.make_pose_npz(tmp_path)
    assert not warnings_of(READERS["pose-npz"](root))
    (root / "BIWI_test.npz").rename(root / "BIWI_noTrack.npz")
    assert "BIWI_noTrack, BIWI_train" in warnings_of(READERS["pose-npz"](root))[0]


@pytest.mark.parametrize("ending", ["jfif", "GIF", "pgm", "jp2", "heic", "avif"])
def test_pictures_of_any_ending_are_listed(tmp_path, ending):
    for emotion in SEVEN:
        touch(tmp_path / emotion, "1.jpg", f"2.{ending}")
    assert len(READERS["folders"](tmp_path)) == 14


def test_file_names_that_are_no_utf_8_are_split_too(tmp_path):
    make_class_folders(tmp_path, SEVEN, 4)
    os.rename(tmp_path / "sad/image0000000.jpg", os.fsencode(tmp_path) + b"/sad/caf\xe9.jpg")
    table = READERS["folders"](tmp_path)
    assert len(table) == 28
    assert "sad/caf\udce9.jpg" in set(table.key)


def test_a_csv_with_absolute_paths_by_a_link_or_from_another_folder(tmp_path):
    make_class_folders(tmp_path / "real", SEVEN, 2)
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    keys = sorted(
        f.relative_to(tmp_path / "real").as_posix() for f in tmp_path.rglob("real/*/*.jpg")
    )
    columns = {"path": "file", "emotion": "label"}
    for root in ("real", "link"):
        rows = [f"{tmp_path / root / key},{key.split('/')[0]}" for key in keys]
        write(tmp_path / "real/labels.csv", ["file,label", *rows])
        assert READERS["csv"](tmp_path / root, columns=columns).key.tolist() == keys
    (tmp_path / "real/lists").mkdir()
    (tmp_path / "real/labels.csv").rename(tmp_path / "real/lists/labels.csv")
    with pytest.raises(
        ValueError, match="--root is the folder from which paths go, and --option f"
    ):
        READERS["csv"](tmp_path / "link", columns=columns)
    assert len(READERS["csv"](tmp_path / "link", columns=columns, file="lists/labels.csv")) == 14


def test_a_csvs_picture_by_two_names_counts_once_and_by_two_labels_not_at_all(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    rows = ["1.jpg,happy", "2.jpg,sad", "3.jpg,fear", "2.JPG,sad", "3,happy"]
    write(tmp_path / "labels.csv", ["file,label", *rows])
    table = READERS["csv"](tmp_path, columns={"path": "file", "emotion": "label"})
    assert table.key.tolist() == ["1.jpg", "2.jpg"]
    assert report(table)["dropped"]["repeated row"] == 1


# -- what a folder or a list of one's own may hold ---


def own_csv(root, rows, names, **columns):
    """The table of an own csv of pictures 0.jpg, 1.jpg, ..., a row each."""
    touch(root, *(f"{i}.jpg" for i in range(len(rows))))
    write(root / "labels.csv", [f"file,{names}", *(f"{i}.jpg,{r}" for i, r in enumerate(rows))])
    return READERS["csv"](root, columns={"path": "file", "emotion": "label"} | columns)


def test_boxes_of_a_csv_are_sides_in_pixels(tmp_path):
    boxes = {side: f"x{i}" for i, side in enumerate(("left", "top", "right", "bottom"))}
    names = "label," + ",".join(boxes.values())

    def read(*rows):
        return own_csv(tmp_path, [f"happy,{row}" for row in rows], names, **boxes)

    with pytest.raises(ValueError, match=r"line 2: .* pixels, .* shares .* multiply them"):
        read("0.2,0.1,0.8,0.9", "0,0,1,1")
    with pytest.raises(ValueError, match="line 2: .* not its width and height"):
        read(*["50,60,20,30"] * 8, "0,0,40,40")
    table = read(*["0,0,0,0", "-1,-1,-1,-1"] * 8, *["5,6,40,50"] * 9)  # nothing was found
    assert report(table)["dropped"] == {"no face box": 16}
    assert len(table) == 9


def test_a_csv_without_test_rows_is_tested_on_its_validation_rows(tmp_path):
    rows = [f"{name},{split}" for name in SEVEN for split in ("train", "val")]
    assert sizes(own_csv(tmp_path, rows, "label,set", split="set")) == {"train": 7, "test": 7}
    rows = [f"{name},{split}" for name in SEVEN for split in ("train", "val", "test")]
    table = own_csv(tmp_path, rows, "label,set", split="set")
    assert sizes(table) == {"train": 7, "valid": 7, "test": 7}


@pytest.mark.parametrize(("unit", "warned"), [(1, True), (57.3, False), (0, False)])
def test_poses_that_may_be_radians_are_warned_of(tmp_path, unit, warned):
    angles = np.random.default_rng(0).uniform(-1, 1, (30, 3)) * unit
    rows = ["happy," + ",".join(f"{a:.4f}" for a in row) for row in angles]
    columns = {name: name for name in ("yaw", "pitch", "roll")}
    table = own_csv(tmp_path, rows, "label,yaw,pitch,roll", **columns)
    assert [("radians" in note) for note in warnings_of(table)] == [True] * warned


PEOPLE = {
    "RaFD": "Rafd{side}_{who:02d}_Caucasian_female_{emotion}_frontal.jpg",
    "NimStim": "{who:02d}F_FE_{mouth}.BMP",
    "Chicago": "CFD-BF-{who:03d}-014-A.jpg",
    "Yale": "subject{who:02d}.{emotion}.gif",
}


@pytest.mark.parametrize("name", PEOPLE)
def test_people_of_further_sets_stay_together(tmp_path, name):
    for who in range(1, 13):
        for i, emotion in enumerate(SEVEN):
            said = {"side": ("090", "045")[i % 2], "mouth": "OCX"[i % 3]}
            touch(tmp_path / emotion, PEOPLE[name].format(who=who, emotion=emotion, **said))
    table = READERS["folders"](tmp_path)
    assert table["person"].nunique() == 12
    assert (table.groupby("person")["split"].nunique() == 1).all()
    assert not warnings_of(table)
    touch(tmp_path / "sad", "copy_of_one.jpg", "copy_of_two.jpg")
    (note,) = warnings_of(READERS["folders"](tmp_path))
    assert "2 names such as sad/copy_of_one.jpg show nobody" in note


@pytest.mark.parametrize(
    "extra", ["@eaDir/image0000000.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/1.jpg", "lost+found/1.jpg",
              "$RECYCLE.BIN/1.jpg", "__MACOSX/._1.jpg", ".thumbnails/1.jpg"],
)  # fmt: skip
def test_what_systems_add_is_no_picture(tmp_path, extra):
    make_class_folders(tmp_path, SEVEN, 4)
    keys = READERS["folders"](tmp_path).key.tolist()
    touch(tmp_path / "sad", extra)
    touch(tmp_path, extra)
    table = READERS["folders"](tmp_path)
    assert table.key.tolist() == keys
    assert report(table)["dropped"] == {}


def test_names_in_another_normal_form_are_the_same(tmp_path):
    composed, apart = "d\u00e9go\u00fbt", "de\u0301gou\u0302t"
    make_class_folders(tmp_path / "folders", [apart, "sad"], 4)
    table = READERS["folders"](tmp_path / "folders", names={composed: "disgust"})
    assert set(table.emotion) == {"disgust", "sad"}
    touch(tmp_path / "csv", f"{apart}.jpg", "2.jpg", "3.jpg")
    rows = [f"{composed}.jpg,sad", "2.jpg,fear", "3.jpg,happy"]
    write(tmp_path / "csv/labels.csv", ["file,label", *rows])
    table = READERS["csv"](tmp_path / "csv", columns={"path": "file", "emotion": "label"})
    assert sorted(table.key) == ["2.jpg", "3.jpg", f"{apart}.jpg"]
    assert all(os.path.isfile(path) for path in table.path)


@pytest.mark.parametrize("valid", ["val.csv", "Validation.csv"])
def test_fer2013_in_three_files(tmp_path, valid):
    fixtures.make_fer2013(tmp_path, "contest")
    whole = fixtures.make_fer2013(tmp_path / "whole") / "fer2013.csv"
    lines = [line.rsplit(",", 1) for line in whole.read_text().splitlines()[1:]]
    for name, usage in ((valid, "PublicTest"), ("test.csv", "PrivateTest")):
        rows = [row for row, said in lines if said == usage]
        write(tmp_path / name, ["emotion,pixels", *rows])
    whole.unlink()
    table = READERS["fer2013"](tmp_path)
    assert sizes(table) == {"train": 7, "valid": 2, "test": 3}
    assert report(table)["counts"]["valid"] == {"found": 2, "published": 3589}


@pytest.mark.parametrize("name", ["fer2013", "rafdb", "affectnet"])
def test_an_error_recommends_an_option_that_the_reader_has(tmp_path, name):
    numbers = {str(i): emotion for i, emotion in enumerate(("joy", *SEVEN[1:]))}
    if name == "affectnet":
        root = fixtures.make_affectnet_yolo(tmp_path)
        change(root / "data.yaml", "Happy", "Joy")
        option, answer = "joy", {"joy": "happy"}
    else:
        make_class_folders(tmp_path, numbers, 4, ("train", "test"))
        option, answer = "0", numbers | {"0": "happy"}
    with pytest.raises(ValueError, match=f"say which by --option names {option}="):
        READERS[name](tmp_path)
    assert set(READERS[name](tmp_path, names=answer).emotion) >= {"happy", "sad"}


def test_utkfaces_parts_in_folders_of_their_own(tmp_path):
    for i, part in enumerate(("part1", "part2", "part3")):
        touch(tmp_path / part / part, *(f"{20 + i}_0_0_2017011917{k:07d}.jpg" for k in range(4)))
    table = READERS["utkface"](tmp_path)
    assert len(table) == 12
    assert table.key[0].startswith("part1/part1/20_0_0")
    assert all(os.path.isfile(path) for path in table.path)
    for around in ("aligned", "wild"):
        fixtures.make_utkface(tmp_path / "two" / around)
    with pytest.raises(ValueError, match="aligned/UTKFace, .*wild/UTKFace.* all hold pictures"):
        READERS["utkface"](tmp_path / "two")


def test_several_faces_of_a_picture_train_or_choose_but_not_both(tmp_path):
    touch(tmp_path, *(f"{i}.jpg" for i in range(60)))
    rows = [f"{i}.jpg,{EMOTIONS[i % 8]},{x},0,{x + 9},9" for i in range(60) for x in (0, 20)]
    splits = {
        "all drawn": rows,
        "valid held out": [f"{r},{'test' if r < '2' else 'train'}" for r in rows],
    }
    columns = {
        "path": "file",
        "emotion": "label",
        "left": "l",
        "top": "t",
        "right": "r",
        "bottom": "b",
    }
    for name, lines in splits.items():
        said = name != "all drawn"
        write(tmp_path / "labels.csv", ["file,label,l,t,r,b" + ",set" * said, *lines])
        given = columns | {"split": "set"} if said else columns
        table = hold_out_valid(READERS["csv"](tmp_path, columns=given), 0.2)
        assert set(table["split"]) == {"train", "valid", "test"}
        picture = table.key.str.split("#").str[0]
        assert table.groupby(picture)["split"].nunique().eq(1).all(), name


def test_of_few_pictures_of_several_faces_one_is_held_out(tmp_path):
    keys = [f"{i}.jpg{again}" for i in range(10) for again in ("", "#2")]
    table = pd.DataFrame({"key": keys, "split": "train", "emotion": EMOTIONS[:2] * 10})
    table.attrs["report"] = {"notes": []}
    held = hold_out_valid(table, 0.05)
    assert held.loc[held["split"] == "valid", "key"].str.split("#").str[0].nunique() == 1


def test_a_blank_before_an_ending_is_part_of_the_name(tmp_path):
    touch(tmp_path, "a .JPG", "b.jpg", "c.jpg")
    write(tmp_path / "labels.csv", ["file,label", "a .jpg,happy", "b.jpg,sad", "c.jpg,fear"])
    table = READERS["csv"](tmp_path, columns={"path": "file", "emotion": "label"})
    assert table.key.tolist() == ["a .JPG", "b.jpg", "c.jpg"]


def test_a_person_called_na_is_one(tmp_path):
    table = pd.DataFrame({
        "key": [f"{i:02d}" for i in range(4)], "split": ["train"] * 2 + ["test"] * 2,
        "emotion": ["happy", "sad"] * 2, "person": ["NA", "None", "KA", "null"],
    })  # fmt: skip
    pack = write_pack(tmp_path / "pack", np.zeros((4, 8, 8, 3), np.uint8), table)
    again = open_pack(pack.path).labels
    assert again["key"].tolist() == table["key"].tolist()
    assert again["person"].tolist() == table["person"].tolist()


def test_a_list_of_the_classes_is_no_list_of_affectnets_labels(tmp_path):
    make_class_folders(tmp_path, EIGHT, 5)
    alone = READERS["affectnet"](tmp_path)
    write(tmp_path / "labels.txt", [f"{i} {name}" for i, name in enumerate(EIGHT)])
    assert READERS["affectnet"](tmp_path).equals(alone)


def test_yolo_as_ultralytics_lays_it_out_and_pictures_without_a_face(tmp_path):
    root = fixtures.make_affectnet_yolo(tmp_path / "a", ("train", "val"))
    (root / "train/labels/7.txt").write_text("")
    table = READERS["affectnet"](root)
    assert report(table)["examples"] == {"image without labels": ["train/images/7.png"]}
    other = tmp_path / "b"
    for part in ("train", "val"):
        for kind in ("images", "labels"):
            (other / kind).mkdir(parents=True, exist_ok=True)
            (root / part / kind).rename(other / kind / part)
    (root / "data.yaml").rename(other / "data.yaml")
    again = READERS["affectnet"](other)
    assert again.key[0].startswith("images/train/")
    columns = ["split", "emotion", "left", "right"]
    assert again[columns].equals(table[columns])


def test_affwild2_lists_of_several_years_are_not_mixed(tmp_path):
    root = fixtures.make_affwild2(tmp_path)
    shutil.copytree(root / "annotations", root / "older")
    with pytest.raises(ValueError, match="annotations/EXPR.*older/EXPR.* of several years"):
        READERS["affwild2"](root)
