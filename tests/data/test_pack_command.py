"""`python -m hmtl pack`: the same bits however it is run, nothing lost to a kill, all told."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from reader_fixtures import (
    affectnet_name,
    affectnet_row,
    draw_photo,
    make_affectnet_csv,
    make_biwi,
    make_fer2013,
    make_w300lp,
    pixel_rows,
    save_picture,
)

from hmtl.__main__ import main
from hmtl.data import packing
from hmtl.data.duplicates import LEVELS, find_groups, near_pairs
from hmtl.data.pack import open_pack
from hmtl.data.packing import (
    BadImages,
    fingerprint,
    hold_out_valid,
    pack_photos,
    parse_options,
    read_set,
)
from hmtl.data.photos import difference_hash
from hmtl.data.readers.listing import with_paths
from hmtl.data.readers.report import Drops, finish_table

EMOTION_FOLDERS = ("happy", "Sadness", "anger")


def make_folders(root, count=60, splits=("train", "test")):
    """Class folders of small photographs, no two alike."""
    for i in range(count):
        folder = root / splits[i % 5 // 4] / EMOTION_FOLDERS[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        draw_photo(i, (40 + i % 9, 44)).save(folder / f"{i:03d} چ.jpg", quality=95)
    return root


def contents(folder):
    """Every file of a pack by its name."""
    return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def table_of(root, files, splits=None, **columns):
    """A sample table of files as a reader makes it."""
    table = pd.DataFrame({"key": files, "split": splits or "train", **columns})
    return finish_table(with_paths(table, root), Drops(), source=str(root))


def pack(table, path, size=16, **options):
    return pack_photos(table, path, size, data="folders", progress=False, **options)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("data") / "faces")


@pytest.fixture
def many_parts(monkeypatch):
    """Parts of seven pictures, so that small sets have several."""
    monkeypatch.setattr(packing, "_STEP", 7)


# -- the command ---


def test_the_command_packs_what_the_reader_found(folders, tmp_path, capsys):
    command = ["pack", "folders", "--root", str(folders), "--size", "24"]
    assert main([*command, "--out", str(tmp_path / "p")]) == 0
    made = open_pack(tmp_path / "p")
    table = read_set("folders", folders)
    assert list(made.labels) == ["key", "split", "emotion"]
    for column in made.labels:
        assert list(made.labels[column]) == list(table[column])
    assert made.shows_people
    assert made.images.shape == (60, 24, 24, 3)
    with Image.open(table["path"][7]) as picture:  # 40 to 48 wide, 44 high: the central square
        side, wide = min(picture.size), picture.width
        left, top = (wide - side) // 2, (44 - side) // 2
        cut = picture.crop((left, top, left + side, top + side))
        np.testing.assert_array_equal(made.images[7], cut.resize((24, 24), 1))
    assert "60 images" in capsys.readouterr().out
    assert main([*command, "--out", str(tmp_path / "p")]) == 0  # again: it is there
    assert main([*command, "--out", str(tmp_path / "p"), "--grey"]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "grey"), "--grey"]) == 0
    assert open_pack(tmp_path / "grey").channels == 1


def test_affectnet_is_cut_by_its_boxes_and_keeps_its_labels(tmp_path):
    boxes = [(10.0, 5.0, 40, 41), (30.0, 20.0, 60, 60), (0.0, 0.0, 64, 50)]  # x, y, w, h
    rows = [
        affectnet_row(affectnet_name(i), str(i % 8), "-0.5", "0.25", boxes[i % 3])
        for i in range(40)
    ]
    root = make_affectnet_csv(tmp_path / "affectnet", rows[:30], rows[30:])
    for i in range(40):
        file = root / "Manually_Annotated_Images" / affectnet_name(i)
        draw_photo(i, (64, 70)).save(file, quality=95)
    command = ["pack", "affectnet", "--root", str(root), "--option", "classes", "7"]
    assert main([*command, "--size", "32", "--out", str(tmp_path / "p")]) == 0
    made = open_pack(tmp_path / "p")
    assert list(made.labels) == ["key", "split", "emotion", "valence", "arousal"]
    assert "contempt" not in set(made.labels["emotion"])
    assert set(made.labels["valence"]) == {-0.5}
    assert made.labels["split"].value_counts().to_dict() == {"train": 26, "test": 8, "valid": 1}
    key = f"Manually_Annotated_Images/{affectnet_name(4)}"  # the second box, two thirds outside
    (row,) = np.flatnonzero(made.labels["key"] == key)
    with Image.open(root / key) as picture:
        cut = picture.convert("RGB").crop((30, 20, 90, 80)).resize((32, 32), 1)
    np.testing.assert_array_equal(made.images[row], cut)
    report = json.loads(contents(made.path)["report.json"])
    assert "train: 27 found, 283,901 published" in report["differences"]
    assert any(note.startswith("no valid rows: 0.05") for note in report["reader"]["notes"])


def test_poses_and_people_are_written_by_name(tmp_path):
    root = make_biwi(tmp_path, frames=1)
    for i, file in enumerate(sorted(root.glob("*/*_rgb.png"))):
        draw_photo(i, (640, 480)).save(file, compress_level=0)
    made = pack_photos(
        read_set("biwi", root, {"protocol": 2}), tmp_path / "p", 16, data="biwi", workers=1
    )
    assert list(made.labels) == ["key", "split", "yaw", "pitch", "roll", "gender", "person"]
    assert made.labels["yaw"].round(3).eq(9.327).all()
    assert made.labels.groupby("person")["split"].nunique().max() == 1
    assert set(made.labels["split"]) == {"train", "valid", "test"}


@pytest.mark.slow
def test_workers_change_no_bit(folders, tmp_path, many_parts):
    table = read_set("folders", folders)
    one, three = (pack(table, tmp_path / f"{n}", workers=n) for n in (1, 3))
    assert one.fingerprint == three.fingerprint
    assert contents(one.path) == contents(three.path)


@pytest.mark.slow
def test_a_killed_call_is_taken_up_and_gives_the_same_pack_to_the_bit(folders, tmp_path):
    """A real process is killed (-9) after its third part, with one broken file behind it."""
    root = tmp_path / "faces"
    root.symlink_to(folders)
    whole = tmp_path / "whole"
    arguments = ["pack", "folders", "--root", str(root), "--size", "16", "--drop-duplicates"]
    code = f"""
        import os, signal, sys
        from hmtl.data import packing
        from hmtl.__main__ import main
        packing._STEP = 7
        put, parts = packing.GrowingPack.put, []
        def put_some(growing, start, *rest):
            put(growing, start, *rest)
            parts.append(start)
            if len(parts) == int(sys.argv[1]):
                os.kill(os.getpid(), signal.SIGKILL)
        packing.GrowingPack.put = put_some
        sys.exit(main({arguments!r} + ["--out", sys.argv[2]]) or 100 + len(parts))
    """
    (broken := folders / "train/happy/broken.jpg").write_bytes(b"no picture")
    try:
        run = [sys.executable, "-c", textwrap.dedent(code)]
        assert subprocess.run([*run, "0", str(whole)]).returncode == 109
        again = tmp_path / "again"
        assert subprocess.run([*run, "3", str(again)]).returncode == -signal.SIGKILL
        assert not again.exists()
        assert subprocess.run([*run, "0", str(again)]).returncode == 106  # only what was missing
    finally:
        broken.unlink()
    assert contents(again) == contents(whole)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["again", "faces", "whole"]


def test_options_in_a_name_are_options_beside_it(folders, tmp_path, monkeypatch, capsys):
    """Of `pack` and of `run` alike, as remedies name them; and what makes no run is told."""
    labels = [f"{p.relative_to(folders)},{p.parent.name[:3]}" for p in folders.rglob("*.jpg")]
    (folders / "all.csv").write_text("\n".join(["file,label", *labels]), encoding="utf-8")
    names = ["names=emotion:hap=happy+emotion:Sad=happy+emotion:ang=happy", "shares=0.5+0.5+0"]
    named = f"csv:columns=path=file+emotion=label,file=all.csv,{','.join(names)}"
    beside = ["csv", "--option", "columns", "path=file", "emotion=label", "--option=file=all.csv"]
    beside += [
        "--option",
        "names",
        *names[0][6:].split("+"),
        "--option",
        "shares",
        "0.5",
        "0.5",
        "0",
    ]
    root = ["--root", str(folders)]
    packs = [tmp_path / "named", tmp_path / "beside"]
    for arguments, out in zip([[named], beside], packs, strict=True):
        assert main(["pack", *arguments, *root, "--size", "16", "--out", str(out)]) == 0
        told = capsys.readouterr()
        assert "every training face is happy: no network learns emotion" in told.err
        assert "no test faces, so it makes no run; leave split out" in told.out
        assert "makes no run" in (out / "report.txt").read_text(encoding="utf-8")
    assert contents(packs[0]) == contents(packs[1])
    assert repr(open_pack(packs[0])) == "Pack(named: 60 images, 16 pixels; train 30, valid 30)"
    assert main(["run", "--data", *beside, "--root", str(packs[0])]) == 2
    assert "no test faces, so it makes no run; leave split" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["affectnot"], "one of affectnet, affectnet-csv"),
        (["folders", "--option", "label"], "one value is needed"),
        (["folders", "--option", "colour", "red"], "it has label, names, shares, seed"),
        (["folders", "--option", "names", "joy"], "'joy' is not KEY=VALUE"),
        (["folders", "--option", "seed", "one"], "option seed one: invalid literal for int"),
        (["folders", "--fit", "tight"], "one of cover, widen, squash"),
        (["folders", "--exif", "maybe"], "one of auto, always, never"),
        (["folders", "--size", "4"], "at least 8"),
        (["folders", "--workers", "0"], "workers must be at least 1"),
        (["folders", "--max-bad", "5"], "a share from 0 to 1"),
        (["folders", "--valid", "1"], "a share from 0"),
        (["rafdb"], "EmoLabel"),
        (["folders:colour=red"], "folders has no option 'colour'"),
        (["csv:columns"], "options are NAME=VALUE"),
        (["csv"], "missing a required argument: 'columns'; its options are columns, file"),
    ],
)
def test_wrong_arguments_say_what_is_right(folders, arguments, said, tmp_path, capsys):
    out = ["--root", str(folders), "--out", str(tmp_path / "p")]
    assert main(["pack", *arguments, *out]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_options_of_readers_are_read_as_what_they_are():
    given = [["columns", "path=file name", "emotion=label"], ["names", "emotion:0=fear"]]
    assert parse_options("csv", [*given, ["shares", ".7", "0.1", "0.2"], ["file", "007"]]) == {
        "columns": {"path": "file name", "emotion": "label"},
        "names": {"emotion": {"0": "fear"}},
        "shares": (0.7, 0.1, 0.2),
        "file": "007",
    }
    assert parse_options("300w-lp", [["flips", "False"]]) == {"flips": False}
    assert parse_options("affectnet", [["classes", "7"], ["disagreeing", "csv"]]) == {
        "classes": 7,
        "disagreeing": "csv",
    }


# -- broken, tiny, turned ---


def test_one_percent_of_broken_files_cost_those_files_only(tmp_path, many_parts):
    names = [f"{i:03d}.jpg" for i in range(100)]
    for i, name in enumerate(names):
        draw_photo(i, (20, 20)).save(tmp_path / name, quality=95)
    whole = pack(table_of(tmp_path, names), tmp_path / "whole")
    (tmp_path / names[50]).write_bytes(b"")
    made = pack(table_of(tmp_path, names), tmp_path / "p")
    others = np.arange(100) != 50
    np.testing.assert_array_equal(made.images, np.array(whole.images)[others])
    assert list(made.labels["key"]) == [name for name in names if name != names[50]]
    assert made.meta["bad"] == {names[50]: "ValueError: an empty file"}
    (tmp_path / names[51]).unlink()
    report = json.loads(
        contents(pack(table_of(tmp_path, names), tmp_path / "q").path)["report.json"]
    )
    assert report["bad"] == made.meta["bad"]
    assert report["missing"] == [names[51]]
    assert report["images"] == {
        "in the table": 100, "packed": 98, "train": 98, "valid": 0, "test": 0, "enlarged": 0,
    }  # fmt: skip


def test_too_many_broken_files_stop_with_their_names_and_leave_nothing(tmp_path, many_parts):
    names = [f"{i:03d}.jpg" for i in range(100)]
    for i, name in enumerate(names):
        if i % 2:
            draw_photo(i, (20, 20)).save(tmp_path / name)
        else:
            (tmp_path / name).write_bytes(b"" if i % 4 else b"GIF8")
    table = table_of(tmp_path, names)
    (tmp_path / "packs").mkdir()
    with pytest.raises(BadImages) as caught:
        pack(table, tmp_path / "packs/p")
    message = str(caught.value)
    assert "more than 0.05 of 100 images" in message
    for key in ("000.jpg", "002.jpg: ValueError: an empty file", "010.jpg"):
        assert key in message
    assert "max_bad" in message
    assert list((tmp_path / "packs").iterdir()) == []
    with pytest.raises(BadImages, match=r"and 26 more, all of them in .*p-bad\.txt"):
        pack(table, tmp_path / "packs/p", max_bad=0.44)
    (listed,) = (tmp_path / "packs").iterdir()
    assert len(listed.read_text().splitlines()) == 46
    assert len(pack(table, tmp_path / "packs/p", max_bad=0.5)) == 50


def test_the_report_names_what_is_tiny_or_perhaps_on_its_side(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    draw_photo(0, (15, 40)).save(tmp_path / "tiny.png")
    draw_photo(1, (16, 40)).save(tmp_path / "small.png")
    draw_photo(2, (80, 90)).save(tmp_path / "large.jpg", exif=exif)
    boxes = {"left": [0, 0, 5], "top": [0, 0, 5], "right": [15, 16, 70], "bottom": [40, 40, 70]}
    files = ["tiny.png", "small.png", "large.jpg"]
    made = pack(table_of(tmp_path, files, **boxes), tmp_path / "p", 64)
    assert list(made.labels) == ["key", "split"]  # a box belongs to the file
    report = json.loads(contents(made.path)["report.json"])
    assert report["tiny"] == {"tiny.png": "15 pixels"}
    assert report["images"]["enlarged"] == 2
    assert report["turned"] == {"large.jpg": "EXIF orientation 6, not applied"}
    text = contents(made.path)["report.txt"].decode()
    assert "tiny.png: 15 pixels" in text
    assert str(tmp_path) not in text + json.dumps(report)


def test_the_report_has_found_beside_published_counts(tmp_path):
    make_fer2013(tmp_path)
    made = pack_photos(read_set("fer2013", tmp_path), tmp_path / "p", 48, data="fer2013")
    assert made.channels == 1
    np.testing.assert_array_equal(made.images.reshape(-1, 2304), pixel_rows())
    report = json.loads(contents(made.path)["report.json"])
    assert report["reader"]["counts"]["train"] == {"found": 7, "published": 28_709}
    assert "train: 7 found, 28,709 published" in report["differences"]
    assert "train: 7, 28,709" in contents(made.path)["report.txt"].decode()


def test_a_name_that_is_no_text_costs_itself_and_is_named(tmp_path):
    good = [f"{i}.jpg" for i in range(5)]
    for name in good:
        save_picture(tmp_path / name)
    table = table_of(tmp_path, ["a\udce9.jpg", *good])
    with pytest.raises(BadImages, match=r"a\\udce9.jpg: ValueError: its name is no UTF-8; rename"):
        pack(table, tmp_path / "p")
    made = pack(table, tmp_path / "p", max_bad=0.5)
    assert len(made) == 5
    assert list(made.meta["bad"]) == ["a\\udce9.jpg"]


# -- duplicates ---


def again(picture, quality, size):
    """A picture in another size, after JPEG."""
    with io.BytesIO() as file:
        picture.resize(size, Image.Resampling.LANCZOS).save(file, "jpeg", quality=quality)
        return Image.open(file).convert("RGB")


def test_near_hashes_are_those_that_brute_force_finds():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 60).astype(np.uint64)
    copies = rng.integers(0, 60, 200)
    for _ in range(5):  # up to five bits flipped
        flip = np.where(rng.random(200) < 0.7, rng.integers(0, 64, 200), 64)
        bit = np.where(flip < 64, np.uint64(1) << np.minimum(flip, 63).astype(np.uint64), 0)
        hashes = np.append(hashes, hashes[copies] ^ bit.astype(np.uint64))
    bits = [
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= 3
    ]
    found = [tuple(pair) for pairs in near_pairs(hashes) for pair in pairs.tolist()]
    assert len(bits) > 1000
    assert sorted(found) == bits


def test_duplicates_are_those_that_brute_force_finds():
    pictures = [draw_photo(i, (32, 32)) for i in range(30)]
    pictures += [again(pictures[i], 60, (32, 32)) for i in range(6)]
    pictures += [again(pictures[i], 90, (80, 80)).resize((32, 32), 1) for i in range(3, 9)]
    pictures += [pictures[0], pictures[29]]
    pictures += [Image.new("RGB", (32, 32), (level,) * 3) for level in (0, 40, 42, 48, 90)]
    images = np.stack([np.asarray(p) for p in pictures])
    hashes = np.array([difference_hash(image) for image in images], np.uint64)
    _, digests = np.unique(images.reshape(len(images), -1), axis=0, return_inverse=True)
    rows = np.arange(len(images))
    groups = find_groups(hashes, digests.astype(np.uint64), lambda: images, rows)
    thumbs = [np.asarray(p.convert("L").resize((16, 16), Image.Resampling.BOX)) for p in pictures]
    group = list(rows)  # the group of each picture: joined pair by pair
    for i in rows:
        for j in rows[:i]:
            gap = np.abs(thumbs[i].astype(float) - thumbs[j]).mean()
            if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= 3 and gap <= LEVELS:
                group = [group[j] if g == group[i] else g for g in group]
    expected = [np.flatnonzero(np.array(group) == g).tolist() for g in sorted(set(group))]
    assert groups == sorted(g for g in expected if len(g) > 1)
    assert [0, 30, 42] in groups
    assert [3, 33, 36] in groups
    assert [45, 46] in groups  # of flat pictures, which share a hash, only the like
    assert len(groups) == 11


def test_leaks_are_reported_and_dropped_on_request_but_never_from_test(tmp_path):
    rows = []
    for number, splits in enumerate(
        [
            ("train", "test"),
            ("train", "train", "valid"),
            ("test", "test", "valid"),
            ("train",),
            ("train", "train"),
        ]
    ):
        for copy, split in enumerate(splits):
            name = f"{number}{'abc'[copy]}.png"
            again(draw_photo(number, (50, 50)), 95 - copy, (50 + 5 * copy,) * 2).save(
                tmp_path / name
            )
            rows.append((name, split, "sad" if (number, copy) == (1, 0) else "happy"))
    names, splits, emotions = map(list, zip(*rows, strict=True))
    table = table_of(tmp_path, names, splits, emotion=emotions)
    kept = pack(table, tmp_path / "kept", 32)
    assert list(kept.labels["key"]) == names  # reported, not dropped
    found = json.loads(contents(kept.path)["report.json"])["duplicates"]
    assert found == {
        "across splits": [
            ["train: 0a.png", "test: 0b.png"],
            ["train: 1a.png", "train: 1b.png", "valid: 1c.png"],
            ["test: 2a.png", "test: 2b.png", "valid: 2c.png"],
        ],
        "within a split": [["train: 4a.png", "train: 4b.png"]],
        "with two emotions": 1,
        "dropped": [],
    }
    fewer = pack(table, tmp_path / "fewer", 32, drop_duplicates=True)
    left = ["0b.png", "1c.png", "2a.png", "2b.png", "3a.png", "4a.png"]
    assert list(fewer.labels["key"]) == left
    np.testing.assert_array_equal(fewer.images, kept.images[[names.index(name) for name in left]])
    report = json.loads(contents(fewer.path)["report.json"])
    assert report["duplicates"]["dropped"] == ["0a.png", "1a.png", "1b.png", "2c.png", "4b.png"]
    assert report["images"]["packed"] == len(fewer)


def test_duplicates_after_a_broken_picture_are_named_rightly(tmp_path):
    """What cannot be read has no place among the compared, but keeps its place in the table."""
    names = [f"{i}.png" for i in range(12)]
    for i, name in enumerate(names):
        draw_photo(0 if i == 11 else i, (40, 40)).save(tmp_path / name)
    for broken in (1, 4):
        (tmp_path / names[broken]).write_bytes(b"")
    splits = ["train"] * 10 + ["test"] * 2
    table = table_of(tmp_path, names, splits)
    made = pack(table, tmp_path / "p", 32, max_bad=0.5, drop_duplicates=True)
    found = json.loads(contents(made.path)["report.json"])["duplicates"]
    assert found["across splits"] == [["train: 0.png", "test: 11.png"]]
    assert found["within a split"] == []
    assert found["dropped"] == ["0.png"]
    assert list(made.labels["key"]) == [n for n in names if n not in ("0.png", "1.png", "4.png")]


# -- what a pack is known by; valid rows ---


def test_the_fingerprint_follows_table_and_files_but_not_where_they_lie(tmp_path):
    names = ["a.png", "b.png"]
    for name in names:
        draw_photo(0, (9, 9)).save(tmp_path / name)
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    table = table_of(tmp_path, names)
    before = fingerprint(table)
    assert fingerprint(table.assign(split="test")) != before
    (moved := tmp_path / "moved").mkdir()
    for name in names:
        (tmp_path / name).rename(moved / name)
    assert fingerprint(table) != before  # gone
    assert fingerprint(table_of(moved, names)) == before
    os.utime(moved / "b.png", ns=(10**18, 10**18 + 1))
    assert fingerprint(table_of(moved, names)) != before


def held_out(**columns):
    count = len(next(iter(columns.values())))
    table = pd.DataFrame({"key": [f"k{i}" for i in range(count)], "split": "train", **columns})
    table.loc[table.index[-10:], "split"] = "test"
    table.attrs["report"] = {"notes": ["first"]}
    return table, hold_out_valid(table, 0.1)


def test_valid_rows_are_held_out_in_each_emotion():
    table, held = held_out(emotion=["sad"] * 200 + ["happy"] * 110)
    made = held[held["split"] == "valid"]["emotion"].value_counts()
    assert made.to_dict() == {"sad": 20, "happy": 10}
    assert (held["split"] == "test").equals(table["split"] == "test")
    assert held.attrs["report"]["notes"] == [
        "first",
        "no valid rows: 0.1 of the training rows (by key, the same share of each emotion) drawn "
        "by seed 0",
    ]
    assert table.attrs["report"]["notes"] == ["first"]
    pd.testing.assert_frame_equal(held, hold_out_valid(held, 0.5))  # it has valid rows now
    shuffled = hold_out_valid(table.sample(frac=1, random_state=0), 0.1).sort_index()
    assert held["split"].equals(shuffled["split"])
    assert (hold_out_valid(table, 0)["split"] != "valid").all()


@pytest.mark.parametrize("group", ["person", "source"])
def test_people_and_photographs_are_held_out_whole(group):
    _, held = held_out(**{group: [f"g{i // 5}" for i in range(210)]}, gender=["male"] * 210)
    train, valid = (set(held[group][held["split"] == s]) for s in ("train", "valid"))
    assert len(valid) == 4
    assert not train & valid


def test_a_small_set_holds_out_one_and_one_alone_trains():
    _, held = held_out(emotion=["sad", "happy", "anger"] * 2 + ["fear"] * 10)
    assert (held["split"] == "valid").sum() == 1
    table, held = held_out(emotion=["sad"] * 11)
    assert held["split"].equals(table["split"])


def test_the_photographs_of_300w_lp_are_held_out_whole(tmp_path):
    table = read_set("300w-lp", make_w300lp(tmp_path))
    assert table.groupby("source")["split"].nunique().max() == 1
    assert (table["split"] == "valid").sum() == 6  # one photograph in all its poses


# -- memory ---

_PEAK = """
import resource, sys
import pandas as pd
from hmtl.data.packing import pack_photos
from hmtl.data.readers.listing import with_paths
from hmtl.data.readers.report import Drops, finish_table
from pathlib import Path
count, root = int(sys.argv[1]), Path(sys.argv[2])
table = pd.DataFrame({"key": [f"{i}" for i in range(count)], "split": "train"})
table = with_paths(table, root).assign(path=str(root / "a.png"))
table = finish_table(table, Drops(), source="")
pack = pack_photos(table, root / f"p{count}", 224, data="folders", workers=1, progress=False)
print(pack.images.nbytes, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    draw_photo(0, (8, 8)).save(tmp_path / "a.png")
    written, peak = zip(
        *(
            map(int, subprocess.check_output([sys.executable, "-c", _PEAK, n, tmp_path]).split())
            for n in ("128", "1024")
        ),
        strict=True,
    )
    assert written[1] - written[0] > 130e6
    assert peak[1] - peak[0] < 0.25 * (written[1] - written[0])
