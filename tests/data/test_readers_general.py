"""Class folders, any csv, seeded splits and the report: what all readers share."""

import importlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import reader_fixtures as fixtures
from reader_fixtures import make_class_folders, touch, write

import hmtl.data.readers
from hmtl.data.readers import READERS
from hmtl.data.readers.any_csv import read_csv
from hmtl.data.readers.crops import BOX
from hmtl.data.readers.folders import list_classes, read_folders
from hmtl.data.readers.listing import find_root, list_files, read_rows, subfolder
from hmtl.data.readers.report import Drops, differences, finish_table
from hmtl.data.readers.splits import draw_uniform, hold_out, seeded_split
from hmtl.labels import EMOTIONS, SPLITS


def report(table):
    return table.attrs["report"]


# -- all of them ---


@pytest.mark.parametrize("name", READERS)
def test_every_reader_says_what_a_wrong_root_holds(tmp_path, name):
    touch(tmp_path, "notes.txt")
    options = {"columns": {"path": "image"}} if name == "csv" else {}
    with pytest.raises(FileNotFoundError, match=r"expected .* but it holds notes.txt"):
        READERS[name](tmp_path, **options)
    with pytest.raises(FileNotFoundError, match=r"expected .* but it is no folder"):
        READERS[name](tmp_path / "nowhere", **options)


def make_csv_votes(root):
    return fixtures.make_ferplus_csv(root, ["10,0,0,0,0,0,0,0,0,0"] * 12)


MAKERS = {
    "affectnet": fixtures.make_affectnet_csv,
    "affectnet-csv": fixtures.make_affectnet_csv,
    "affectnet-npy": fixtures.make_affectnet_npy,
    "affectnet-folders": lambda root: make_class_folders(root, EMOTIONS),
    "affectnet-plus": fixtures.make_affectnet_plus,
    "affectnet-yolo": fixtures.make_affectnet_yolo,
    "rafdb": fixtures.make_rafdb,
    "fer2013": fixtures.make_fer2013,
    "ferplus": lambda root: Path(__file__).parents[1] / "fixtures" / "ferplus",
    "ferplus-csv": make_csv_votes,
    "expw": fixtures.make_expw,
    "ckplus": fixtures.make_ckplus,
    "kdef": fixtures.make_kdef,
    "jaffe": fixtures.make_jaffe,
    "affwild2": fixtures.make_affwild2,
    "300w-lp": fixtures.make_w300lp,
    "aflw2000": fixtures.make_aflw2000,
    "biwi": fixtures.make_biwi,
    "pose-npz": fixtures.make_pose_npz,
    "fei": fixtures.make_fei,
    "utkface": fixtures.make_utkface,
    "celeba": fixtures.make_celeba,
    "fairface": fixtures.make_fairface,
    "adience": fixtures.make_adience,
    "folders": lambda root: make_class_folders(root, EMOTIONS),
    "csv": lambda root: make_csv(root),
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_keeps_the_contract_of_a_sample_table(tmp_path, monkeypatch, name):
    """Also from a relative root, and where the path has blanks and letters beyond ASCII."""
    place = tmp_path / "Gesichter größer als 0"
    place.mkdir()
    root = MAKERS[name](place)
    options = {"columns": NAMED} if name == "csv" else {}
    table = READERS[name](root, **options)
    assert list(table)[:3] == ["key", "path", "split"]
    assert table.index.tolist() == list(range(len(table)))
    assert table.key.is_unique
    assert not table.key.str.contains(r"\\|^/|\.\.", regex=True).any()
    assert table.path.map(os.path.isabs).all()
    assert table.path.map(os.path.isfile).all()
    assert set(table.split) <= set(SPLITS)
    assert set(BOX) <= set(table) or not set(BOX) & set(table)
    known = report(table)
    assert json.loads(json.dumps(known)) == known
    sections = {"dropped", "examples", "missing", "counts", "unlabelled", "notes"}
    assert set(known) == sections
    assert known["counts"]["all"]["found"] == len(table)
    monkeypatch.chdir(root)
    again = READERS[name](".", **options)
    pd.testing.assert_frame_equal(again, table)


def test_every_module_has_its_public_names():
    root = Path(hmtl.data.readers.__file__).parent
    for file in root.rglob("*.py"):
        name = ".".join(("hmtl.data.readers", *file.relative_to(root).with_suffix("").parts))
        module = importlib.import_module(name)
        assert all(hasattr(module, name) for name in module.__all__), file.name


# -- class folders ---


def test_class_folders_with_blanks_and_other_letters_in_paths(tmp_path):
    root = make_class_folders(tmp_path / "мои лица", ["Happy", "SADNESS"], 10)
    touch(root / "Happy/größer", "ein Bild.JPG", "notes.txt", ".hidden.jpg")
    table = read_folders(root)
    assert len(table) == 21
    assert set(table.emotion) == {"happy", "sad"}
    assert "Happy/größer/ein Bild.JPG" in set(table.key)
    assert all(os.path.isfile(path) for path in table.path)
    assert "(0.8, 0.1, 0.1) drawn by seed 0" in report(table)["notes"][0]


def test_split_folders_give_the_split(tmp_path):
    root = make_class_folders(tmp_path, ["fear", "contempt"], 2, ("Training", "val", "TEST"))
    table = read_folders(root)
    assert table.groupby("split").size().to_dict() == {"train": 4, "valid": 4, "test": 4}
    assert table.key[table.split == "valid"].str.startswith("val/").all()


@pytest.mark.parametrize("splits", [("train", "test"), ("",)])
def test_pictures_outside_of_the_class_folders_are_counted(tmp_path, splits):
    root = make_class_folders(tmp_path, ["fear", "happy"], 4, splits)
    touch(root, "loose.png", "notes.txt", ".hidden.jpg")
    beside = ["loose.png"]
    if splits[0]:
        touch(root, "anger/deep/1.png", "train/loose.png")
        beside = ["anger/deep/1.png", "loose.png", "train/loose.png"]
    table = read_folders(root)
    assert len(table) == 8 * len(splits)
    reason = "picture outside of the class folders"
    assert report(table)["dropped"] == {reason: len(beside)}
    assert report(table)["examples"] == {reason: beside}


@pytest.mark.parametrize("around", ["", "archive/images/"])
def test_split_folders_within_the_class_folders_give_the_split(tmp_path, around):
    for name in ("Happy", "sad"):
        touch(
            tmp_path / around / name, "Train/1.png", "Train/deep/2.png", "val/3.png", "TEST/4.png"
        )
    touch(tmp_path / around / "sad", "loose.png", "other/5.png")
    table = read_folders(tmp_path)
    assert table.set_index("key")["split"].to_dict() == {
        f"{name}/{key}": split
        for name in ("Happy", "sad")
        for key, split in {
            "Train/1.png": "train", "Train/deep/2.png": "train", "val/3.png": "valid",
            "TEST/4.png": "test",
        }.items()
    }  # fmt: skip
    assert report(table)["examples"] == {
        "picture outside of the split folders": ["sad/loose.png", "sad/other/5.png"]
    }


def test_class_folders_of_gender_and_of_other_words(tmp_path):
    table = read_folders(make_class_folders(tmp_path / "a", ["Male", "Female"]), label="gender")
    assert set(table.gender) == {"male", "female"}
    root = make_class_folders(tmp_path / "b", ["Joy", "rage"])
    table = read_folders(root, names={"joy": "happy", "rage": "anger"})
    assert set(table.emotion) == {"happy", "anger"}
    with pytest.raises(
        ValueError, match=r"rage.image0000000.jpg, field emotion .*'rage' is not kn"
    ):
        read_folders(root, names={"joy": "happy"})
    with pytest.raises(ValueError, match="unknown emotion 'rage'"):
        read_folders(root, names={"joy": "happy", "rage": "rage"})
    with pytest.raises(ValueError, match="label='age': one of emotion, gender"):
        read_folders(root, label="age")
    root = make_class_folders(tmp_path / "c", ["Men", "WOMEN"], 2)
    with pytest.raises(ValueError, match="folders name gender; .* by --option label gender$"):
        read_folders(root)
    assert set(read_folders(root, label="gender").gender) == {"male", "female"}


def test_no_class_folders(tmp_path):
    (tmp_path / "happy").mkdir()
    with pytest.raises(FileNotFoundError, match="expected images in class folders .*holds happy"):
        read_folders(tmp_path)
    with pytest.raises(FileNotFoundError, match="but it is no folder"):
        read_folders(tmp_path / "nowhere")


# -- any csv ---

HEADER = "id, image ,label,sex,set,x1,y1,x2,y2,yaw deg,pleasure,who"
NAMED = {
    "path": "image", "emotion": "label", "gender": "sex", "split": "set", "left": "x1",
    "top": "y1", "right": "x2", "bottom": "y2", "yaw": "yaw deg", "valence": "pleasure",
    "person": "who",
}  # fmt: skip
ROWS = [
    "0,a/1.jpg,Happy,F,train,1,2,3,4,-20.5,0.5,ann",
    "1,a/2.jpg,sadness,male,val,-5,2,3,4,0,,bob",
    '2,"a/3, too.jpg",contempt,,Test,1,2,3.5,4,95,-1,',
]


def make_csv(root, rows=ROWS, header=HEADER):
    write(root / "labels.csv", [header, *rows])
    touch(root, "a/1.jpg", "a/2.jpg", "a/3, too.jpg")
    return root


def test_any_csv_by_the_names_of_its_columns(tmp_path):
    table = read_csv(make_csv(tmp_path), columns=NAMED)
    assert table.columns.tolist() == [
        "key", "path", "split", "emotion", "gender", "valence", "yaw", "person", "left", "top",
        "right", "bottom",
    ]  # fmt: skip
    assert table.key.tolist() == ["a/1.jpg", "a/2.jpg", "a/3, too.jpg"]
    assert table.split.tolist() == ["train", "valid", "test"]
    assert table.emotion.tolist() == ["happy", "sad", "contempt"]
    assert table.gender.fillna("-").tolist() == ["female", "male", "-"]
    assert table.left.tolist() == [1, -5, 1]
    assert table.yaw.tolist() == [-20.5, 0, 95]
    empty = {"gender: empty": 1, "valence: empty": 1, "person: empty": 1}
    assert report(table)["unlabelled"] == empty


def test_any_csv_with_numbers_needs_names_and_takes_absolute_paths(tmp_path):
    rows = [f"{i},{tmp_path}/a/{i}.jpg,{i}" for i in (1, 2)]
    make_csv(tmp_path, rows, "n,file,label")
    columns = {"path": "file", "emotion": "label"}
    with pytest.raises(ValueError, match=r"labels.csv line 2, field emotion: '1' is not known"):
        read_csv(tmp_path, columns=columns)
    table = read_csv(tmp_path, columns=columns, names={"emotion": {1: "fear", "2": "neutral"}})
    assert table.emotion.tolist() == ["fear", "neutral"]
    assert table.key.tolist() == ["a/1.jpg", "a/2.jpg"]


def test_a_label_that_is_the_number_of_a_column_is_no_header(tmp_path):
    rows = [f"a/{i}.jpg,{i % 3}" for i in (2, 3, 4)]
    (tmp_path / "a").mkdir()
    touch(tmp_path, *(f"a/{i}.jpg" for i in (2, 3, 4)))
    write(tmp_path / "labels.csv", rows)
    names = {"emotion": {"0": "fear", "1": "sad", "2": "happy"}}
    table = read_csv(tmp_path, columns={"path": "1", "emotion": "2"}, names=names)
    assert table.emotion.tolist() == ["happy", "fear", "sad"]


def test_any_csv_without_split_keeps_people_together(tmp_path):
    rows = [f"{i}.jpg,p{i % 20}" for i in range(100)]
    touch(tmp_path, *(f"{i}.jpg" for i in range(100)))
    write(tmp_path / "faces.csv", ["path,person", *rows])
    columns = {"path": "path", "person": "person"}
    table = read_csv(tmp_path, file="faces.csv", columns=columns, shares=(0.5, 0.25, 0.25))
    assert table.groupby("split").size().to_dict() == {"train": 50, "valid": 25, "test": 25}
    assert (table.groupby("person").split.nunique() == 1).all()


def test_any_csv_rows_that_cost_themselves_only(tmp_path):
    rows = [*ROWS, ROWS[0], ROWS[0].replace("1,2,3,4", "5,6,7,8"), "5,a/9.jpg" + ROWS[1][9:], "6,a"]
    table = read_csv(make_csv(tmp_path, rows), columns=NAMED)
    assert table.key.tolist() == ["a/1.jpg", "a/2.jpg", "a/3, too.jpg", "a/1.jpg#2"]
    assert table.path[3] == table.path[0]
    assert report(table)["dropped"] == {"malformed row": 1, "repeated row": 1, "not on disk": 1}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sadness", "rage", r"labels.csv line 3, field emotion: 'rage' is not known; one of neutr"),
        ("male", "boy", r"labels.csv line 3, field gender: 'boy' is not known"),
        ("val", "eval", r"labels.csv line 3, field split: 'eval' is not known"),
        ("val", "", r"labels.csv line 3, field split: it is empty"),
        ("4,0,", "4,,", r"labels.csv line 3, field yaw: it is empty"),
        ("4,0,", "4,200,", r"labels.csv line 3, field yaw: '200' is no number from -180 to 180"),
        ("4,0,", "4,left,", r"labels.csv line 3, field yaw: 'left' is no number"),
        ("-5", "five", r"labels.csv line 3, field left: 'five' is no number$"),
        (",0,,", ",0,1.5,", r"line 3, field valence: '1.5' is no number from -1 to 1"),
        ("a/2.jpg", "../2.jpg", r"line 3, field path: '../2.jpg' is no file in"),
        ("a/2.jpg", "", r"line 3, field path: '' is no file in"),
    ],
)
def test_any_csv_errors_name_file_line_and_field(tmp_path, old, new, message):
    rows = [ROWS[0], ROWS[1].replace(old, new, 1), ROWS[2]]
    assert rows != ROWS
    with pytest.raises(ValueError, match=message):
        read_csv(make_csv(tmp_path, rows), columns=NAMED)


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("all.csv", ROWS, r"expected labels.csv in it, .*; say which by --option file all.csv$"),
        ("my/all.tsv", ROWS, r"say which by --option file my/all.tsv$"),
        ("labels.csv", [], r"labels.csv: it is empty"),
        ("labels.csv", ["image,label"], r"labels.csv: it names no image$"),
        ("labels.csv", ["image,label", "b/1.png,happy", "b/2.png,sad"],
         r"dropped: 2 not on disk, such as b/1.png$"),
    ],
)  # fmt: skip
def test_what_a_csv_lacks_is_named(tmp_path, name, lines, said):
    write(tmp_path / name, lines)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        read_csv(tmp_path, columns={"path": "image", "emotion": "label"})


def test_any_csv_columns_that_are_not_there(tmp_path):
    make_csv(tmp_path)
    with pytest.raises(ValueError, match="line 1: no column picture; it has id, image, label"):
        read_csv(tmp_path, columns={"path": "picture"})
    with pytest.raises(ValueError, match="name path, and none but path, split"):
        read_csv(tmp_path, columns={"emotion": "label"})
    with pytest.raises(ValueError, match="name path, and none but path, split"):
        read_csv(tmp_path, columns={"path": "image", "age": "id"})
    box = {"path": "image", "left": "x1", "top": "y1", "right": "x2"}
    with pytest.raises(ValueError, match="a box has four sides; name bottom too, or none"):
        read_csv(tmp_path, columns=box)
    with pytest.raises(ValueError, match="name left, top, right too"):
        read_csv(tmp_path, columns={"path": "image", "bottom": "y2"})
    assert set(BOX) <= set(read_csv(tmp_path, columns=box | {"bottom": "y2"}))
    with pytest.raises(
        FileNotFoundError, match=r"expected other.csv in it, but it holds a, labels"
    ):
        read_csv(tmp_path, file="other.csv", columns=NAMED)


# -- seeded splits ---


def table_of(count, **columns):
    frame = pd.DataFrame({"key": [f"{i}.jpg" for i in range(count)], "split": "train"})
    return frame.assign(**columns)


def test_draws_hang_on_seed_and_name_only():
    draws = draw_uniform(["a", "b", "a"], 0)
    assert draws[0] == draws[2] != draws[1]
    assert draws[0] != draw_uniform(["a"], 1)[0] != draw_uniform(["a"], 1, "crop")[0]
    # by hand: the first 53 bits of SHA-256("0|split|a")
    assert draws[0] == pytest.approx(0.9454516618)
    many = draw_uniform([str(i) for i in range(20_000)], 0)
    assert np.histogram(many, 10, (0, 1))[0].min() > 1_800
    assert ((many >= 0) & (many < 1)).all()


def test_a_seeded_split_does_not_hang_on_the_order_of_files():
    table = table_of(200, emotion=list(EMOTIONS) * 25)
    split = seeded_split(table, by="emotion").set_axis(table.key)
    turned = table[::-1]
    other = seeded_split(turned, by="emotion").set_axis(turned.key)
    assert split.sort_index().equals(other.sort_index())
    sizes = pd.crosstab(table.emotion, seeded_split(table, by="emotion"))
    assert (sizes["train"] == 20).all()
    assert set(sizes) == set(SPLITS)


def test_rows_without_a_group_are_groups_of_their_own():
    people = [f"p{i % 4}" for i in range(20)] + [None] * 20
    table = table_of(40, person=people)
    split = seeded_split(table, (0.5, 0, 0.5), group="person")
    assert (split[:20].groupby(people[:20]).nunique() == 1).all()
    assert split[20:].nunique() == 2


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.2, -0.1), (0.8, 0.1, 0.2)])
def test_shares_that_are_none(shares):
    with pytest.raises(ValueError, match="three numbers from 0 up that add up to 1"):
        seeded_split(table_of(4), shares)


def test_hold_out_takes_whole_photos_out_of_training_only():
    table = table_of(100, source=[f"s{i // 5}" for i in range(100)])
    table.loc[:9, "split"] = "test"
    held = hold_out(table, 0.5, group="source")
    assert held.groupby("split").size().to_dict() == {"test": 10, "train": 45, "valid": 45}
    assert (held.groupby("source").split.nunique() == 1).all()
    assert (table.split != "valid").all()  # the table that came is as it was


# -- the report ---


def test_the_report_has_both_numbers_and_what_was_dropped():
    table = table_of(6, emotion=["happy", "sad"] * 3, gender=["male", None] * 3)
    drops = Drops()
    kept = drops.filter(table, table.key == "5.jpg", "torn")
    drops.add("torn", [f"x{i}" for i in range(9)])
    table = finish_table(kept, drops, source="here", published={"train": 9, "train/happy": 3})
    assert report(table)["dropped"] == {"torn": 10}
    assert report(table)["examples"] == {"torn": ["5.jpg", "x0", "x1", "x2", "x3"]}
    assert report(table)["counts"] == {
        "train": {"found": 5, "published": 9},
        "train/happy": {"found": 3, "published": 3},
        "all": {"found": 5, "published": None},
        "train/sad": {"found": 2, "published": None},
        "train/male": {"found": 3, "published": None},
    }
    assert differences(report(table)) == ["train: 5 found, 9 published"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": ["train", "dev"]}, "here: 1.jpg: unknown split 'dev'"),
        ({"emotion": ["joy", "happy"]}, "here: 0.jpg: unknown emotion 'joy'"),
        ({"gender": ["male", "men"]}, "here: 1.jpg: unknown gender 'men'"),
        ({"yaw": [0.0, np.nan]}, "here: yaw must be a number of degrees"),
    ],
)
def test_a_table_that_breaks_the_rules_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        finish_table(table_of(2, **change), Drops(), source="here")


def test_rows_that_share_a_key_are_counted():
    same = {"key": ["a", "a", "b"], "emotion": "sad", "gender": "male", "split": "train"}
    assert report(finish_table(table_of(3, **same), Drops(), source="here"))["dropped"] == {
        "repeated row": 1
    }
    apart = same | {"emotion": ["sad", "fear", "sad"]}
    table = finish_table(table_of(3, **apart), Drops(), source="here")
    assert table.key.tolist() == ["b"]
    assert report(table)["dropped"] == {"one face with two labels": 2}


# -- listing ---


def test_listing_is_sorted_and_passes_hidden_files_over(tmp_path):
    touch(tmp_path, "b/2.png", "a.JPG", ".a.jpg", "__MACOSX/c.jpg", "b/n.txt", "b/1.jpeg")
    assert list_files(tmp_path) == ["a.JPG", "b/1.jpeg", "b/2.png"]
    assert list_files(tmp_path, (".txt",), prefix="x/") == ["x/b/n.txt"]
    assert list_files(tmp_path, deep=False) == ["a.JPG"]


def test_a_loop_of_several_links_ends_and_loses_nothing(tmp_path):
    touch(tmp_path, "happy/a.png", "sad/b.png", "fear/c/c.png")
    (tmp_path / "happy/to_sad").symlink_to("../sad")
    (tmp_path / "sad/to_fear").symlink_to("../fear/c")
    (tmp_path / "fear/c/to_happy").symlink_to("../../happy")
    (tmp_path / "sad/also_fear").symlink_to("../fear")  # one folder twice is no loop
    assert list_files(tmp_path / "happy") == [
        "a.png", "to_sad/also_fear/c/c.png", "to_sad/b.png", "to_sad/to_fear/c.png",
    ]  # fmt: skip


def test_a_link_to_itself_is_a_picture_that_cannot_be_read_or_nothing(tmp_path):
    touch(tmp_path, "happy/a.png", "sad/b.png")
    for name in ("loop", "happy/loop", "sad/c.png"):
        (tmp_path / name).symlink_to(Path(name).name)
    assert list_files(tmp_path) == ["happy/a.png", "sad/b.png", "sad/c.png"]
    assert list(list_classes(tmp_path, Drops())["key"]) == list_files(tmp_path)


def test_a_class_folder_that_is_a_link_to_its_root_lists_nothing_twice(tmp_path):
    touch(tmp_path, "happy/a.png", "sad/b.png", "fear/c.png", "top.png")
    (tmp_path / "surprise").symlink_to(tmp_path)
    drops = Drops()
    assert list(list_classes(tmp_path, drops)["key"]) == ["fear/c.png", "happy/a.png", "sad/b.png"]
    assert drops.counts == {"picture outside of the class folders": 1}


def test_classes_are_in_the_order_of_their_folders(tmp_path):
    touch(tmp_path, "val/sad/1.png", "train/fear/2.png", "train/fear/in/1.png", "__x/happy/1.png")
    touch(tmp_path, "train/__y/1.png", "train/happy/1.png", "happy/1.png", "train/1.png")
    table = list_classes(tmp_path, Drops())
    assert list(table["key"]) == [
        "train/fear/2.png", "train/fear/in/1.png", "train/happy/1.png", "val/sad/1.png",
    ]  # fmt: skip
    assert list(table["split"]) == ["train", "train", "train", "valid"]


def test_rows_are_read_line_by_line(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes('\ufeffa,b\r\n\n"x, y",2\n"lost,3\n4,5'.encode())
    assert list(read_rows(file)) == [
        (1, ["a", "b"]),
        (3, ["x, y", "2"]),
        (4, ["lost,3"]),
        (5, ["4", "5"]),
    ]


def test_a_file_that_is_no_utf8_is_named(tmp_path):
    (tmp_path / "a.csv").write_bytes("größer,1".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a.csv: .*save it as UTF-8 text"):
        list(read_rows(tmp_path / "a.csv"))


def test_roots(tmp_path):
    touch(tmp_path, "one/mark.csv", "sub/Test/x")
    assert find_root(tmp_path, ["mark.csv"], expected="mark.csv") == (tmp_path / "one").resolve()
    assert subfolder(tmp_path / "sub", "test") == tmp_path / "sub/Test"
    assert subfolder(tmp_path, "test") is None
    (tmp_path / "sub/TEST").mkdir()
    with pytest.raises(ValueError, match="TEST and Test differ in case only"):
        subfolder(tmp_path / "sub", "test")
