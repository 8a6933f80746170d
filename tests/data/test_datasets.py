"""Rendered packs: whole, resumable, and the same however they are made."""

import os
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from made_up_folders import write_affectnet_npy, write_aflw2000, write_w300lp
from PIL import Image
from reader_fixtures import draw_photo, make_fer2013, make_ferplus_csv, write

from hmtl.__main__ import main
from hmtl.data import packing
from hmtl.data import sets as datasets
from hmtl.data.pack import open_pack, write_pack
from hmtl.data.readers import READERS
from hmtl.data.readers.protocols import PROTOCOLS
from hmtl.data.sets import DATA, check_data, full_name, load_pack, parse_data, write_faces
from hmtl.faces import render
from hmtl.faces.faceset import FaceSet
from hmtl.faces.table import LABEL_COLUMNS, draw_faces
from hmtl.method.batches import face_dataloaders
from hmtl.method.learner import hmtl_learner

SMALL = FaceSet((14, 2, 4), size=16, seed=9)  # 160 faces: three parts


@pytest.mark.slow
def test_a_killed_render_is_taken_up_and_gives_the_same_pack(tmp_path, monkeypatch):
    whole = write_faces(SMALL, tmp_path / "whole", processes=1)
    real, made = datasets.render_chunks, []

    def dies_after_one(chunks, *args, **options):
        for part in real(chunks, *args, **options):
            if made:
                raise KeyboardInterrupt
            made.append(part)
            yield part

    monkeypatch.setattr(datasets, "render_chunks", dies_after_one)
    with pytest.raises(KeyboardInterrupt):
        write_faces(SMALL, tmp_path / "again", processes=1)
    assert not (tmp_path / "again").exists()
    rendered = []

    def counts(chunks, *args, **options):
        for part in real(chunks, *args, **options):
            rendered.append(len(part.pictures))
            yield part

    monkeypatch.setattr(datasets, "render_chunks", counts)
    again = write_faces(SMALL, tmp_path / "again", processes=1)
    assert sum(rendered) == SMALL.n - 64  # only what was missing
    assert again.fingerprint == whole.fingerprint


@pytest.mark.slow
def test_workers_change_no_bit(tmp_path):
    one = write_faces(SMALL, tmp_path / "one", processes=1)
    two = write_faces(SMALL, tmp_path / "two", processes=2)
    assert one.fingerprint == two.fingerprint


def test_the_pack_holds_the_labels_and_the_measured_occlusion(tmp_path):
    pack = write_faces(SMALL, tmp_path / "p", processes=1)
    assert list(pack.labels) == [*LABEL_COLUMNS, "occlusion"]
    drawn = draw_faces(SMALL)
    np.testing.assert_array_equal(pack.labels["key"], drawn["key"])
    covered = (drawn[["mask", "hand", "sunglasses", "glasses"]] > 0).any(axis=1)
    hats = (drawn["hat"] != "none") | (drawn["long_hair"] > 0)
    assert pack.labels["occlusion"][drawn["mask"] > 0].gt(0.2).all()
    assert pack.labels["occlusion"][~covered & ~hats].eq(0).all()


def test_another_set_in_the_same_folder_is_refused(tmp_path):
    few = FaceSet((1, 0, 0), size=8)
    write_faces(few, tmp_path / "p", processes=1)
    assert len(write_faces(few, tmp_path / "p", processes=1)) == 8
    with pytest.raises(ValueError, match="choose another folder"):
        write_faces(FaceSet((1, 0, 0), size=8, seed=1), tmp_path / "p", processes=1)


def test_the_command_renders_what_it_is_asked_for(tmp_path, capsys):
    command = ["faces", "--count", "60", "--size", "16", "--out", str(tmp_path / "p")]
    assert main([*command, "--without", "hands", "jpeg", "--set", "yaw", "5", "20"]) == 0
    pack = open_pack(tmp_path / "p")
    assert len(pack) == 64  # eight whole people
    assert pack.labels["yaw"].abs().max() <= 20
    assert (pack.labels["hand"] == 0).all()
    assert "64 faces" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--without", "spectacles"], "sunglasses"),
        (["--without", "all", "spectacles"], "sunglasses"),
        (["--set", "moustache", "1"], "FaceSet"),
        (["--set", "yaw", "5", "95"], "yaw must lie in 0..89"),
        (["--set", "yaw", "10"], "yaw must be 2 values"),
        (["--set", "jpeg", "high", "low"], "jpeg must be a number"),
        (["--set", "glasses", "many"], "glasses must be a number"),
        (["--set", "hats", "true"], "hats must be a number"),
        (["--set", "per_person", "0"], "per_person must be at least 1"),
        (["--set", "per_person", "2.5"], "per_person must be a whole number"),
        (["--set", "backgrounds", "beach"], "plain"),
        (["--set", "size", "32"], "--size"),
        (["--set", "yaw"], "needs a value"),
        (["--count", "0"], "--count must be at least 1"),
        (["--count", "8", "--people", "1", "1", "1"], "not both"),
        (["--mini", "--count", "8"], "--mini"),
        (["--count", "8", "--workers", "0", "--size", "8"], "processes must be at least 1"),
        (["--count", "8", "--device", "abacus"], "device 'abacus' is not there; one of cpu"),
    ],
)
def test_wrong_arguments_say_what_is_right(arguments, said, capsys, tmp_path):
    out = [] if "--mini" in arguments else ["--out", str(tmp_path / "p")]
    assert main(["faces", *arguments, *out]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []  # nothing is left lying about


def test_one_word_or_number_is_enough_where_several_may_stand(tmp_path):
    command = ["faces", "--count", "8", "--size", "8", "--out", str(tmp_path / "p")]
    more = ["--set", "backgrounds", "plain", "--set", "focal", "50", "--without", "light-direction"]
    assert main([*command, *more]) == 0
    labels = open_pack(tmp_path / "p").labels
    assert set(labels["background"]) == {"plain"}
    assert labels["light_azimuth"].nunique() == 1


def _die(task):
    os._exit(9)  # as the kernel ends a process that takes too much memory


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_render_with_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "_render_chunk", _die)
    with pytest.raises(BrokenProcessPool):
        write_faces(SMALL, tmp_path / "p", processes=2)
    assert list(tmp_path.iterdir()) == []


def test_the_mini_set_is_replaced_only_by_a_finished_one(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "MINI", FaceSet((1, 0, 0), size=8))
    path = tmp_path / "mini"
    datasets.build_mini(path)

    def fails(*args, **options):
        raise ImportError("no head")

    monkeypatch.setattr(datasets, "render_chunks", fails)
    with pytest.raises(ImportError):
        datasets.build_mini(path)
    assert len(open_pack(path)) == 8
    assert [file.name for file in tmp_path.iterdir()] == ["mini"]


def test_the_options_of_rendered_faces_reach_the_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path))
    options = {"people": (5, 0, 0), "size": 8, "progress": False}
    noisy = load_pack("faces", label_noise=1.0, proportions="affectnet", **options)
    assert (noisy.labels["emotion"] != noisy.labels["shown"]).all()
    assert noisy.labels["shown"].value_counts().max() > 10  # happy and neutral prevail
    assert noisy.fingerprint != load_pack("faces", **options).fingerprint


# -- photographs ---


def make_rafdb_copy(root, count=70):
    """RAF-DB as a copy passes it on, with pictures that can be read; no contempt."""
    for i in range(count):
        folder = root / ("train" if i < 56 else "test") / str(1 + i % 7)
        folder.mkdir(parents=True, exist_ok=True)
        draw_photo(i, (30, 32)).save(folder / f"{i}.png")
    return root


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_every_name_is_known_and_says_what_it_needs():
    assert ("mini", "faces", *READERS, *PROTOCOLS) == DATA
    with pytest.raises(ValueError, match="one of mini, faces, affectnet, .*rafdb.*csv"):
        check_data("imagenet")
    for data in DATA[2:]:
        check_data(data, "somewhere")
        with pytest.raises(ValueError, match=f"data='{data}' needs root=DIR.*hmtl pack"):
            check_data(data)
    with pytest.raises(ValueError, match="'mini' has no reader"):
        load_pack("mini", options={"classes": 7})


@pytest.mark.parametrize(
    ("said", "full", "options"),
    [
        ("mini", "mini", {}),
        ("affectnet:classes=7", "affectnet:classes=7", {"classes": 7}),
        ("affectnet:classes=8", "affectnet", {"classes": 8}),  # one set, one name
        (
            "300w-lp-aflw2000:flips=False,chosen_on=test",
            "300w-lp-aflw2000:chosen_on=test,flips=false",
            {"flips": False, "chosen_on": "test"},
        ),
        (
            "csv:file=b.csv,columns=path=f+emotion=label",
            "csv:columns=path=f+emotion=label,file=b.csv",
            {"file": "b.csv", "columns": {"path": "f", "emotion": "label"}},
        ),
        (
            "csv:names=age:20=young+age:30=old",
            "csv:names=age:20=young+age:30=old",
            {"names": {"age": {"20": "young", "30": "old"}}},
        ),
        ("biwi:shares=.5+0+.5", "biwi:shares=0.5+0+0.5", {"shares": (0.5, 0.0, 0.5)}),
        ("folders:shares=0.8+0.1+0.1", "folders", {"shares": (0.8, 0.1, 0.1)}),
    ],
)
def test_a_name_may_carry_the_options_of_its_reader(said, full, options):
    assert parse_data(said)[1] == options
    assert full_name(said) == full == full_name(full)
    check_data(said, "somewhere")


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("mini:classes=7", "mini has no reader"),
        ("affectnet:clases=7", "no option 'clases'; it has classes"),
        ("affectnet:classes", "options are NAME=VALUE"),
        ("affectnet:classes=many", "option classes many"),
        ("affectnet-8:classes=7", "it has chosen_on, seed"),
        ("ferplus:labels=probability", "a field of a run"),
    ],
)
def test_options_that_are_none_are_refused(said, wrong):
    with pytest.raises(ValueError, match=wrong):
        check_data(said, "somewhere")


def test_options_in_a_name_reach_the_reader(tmp_path, cache):
    root = write_affectnet_npy(tmp_path / "affectnet", people=2)
    whole, seven = (load_pack(d, root, size=16) for d in ("affectnet", "affectnet:classes=7"))
    assert set(whole.labels["emotion"]) - set(seven.labels["emotion"]) == {"contempt"}
    same = load_pack("affectnet", root, size=16, options={"classes": 7})
    assert same.path == seven.path
    assert load_pack("affectnet-7", root, size=16).labels["emotion"].nunique() == 7


def test_a_protocol_of_two_sets_is_one_pack_that_says_how_models_are_chosen(tmp_path, cache):
    write_w300lp(tmp_path / "sets", people=3)
    write_aflw2000(tmp_path / "sets", people=1)
    clean, customary = (
        load_pack(f"300w-lp-aflw2000{options}", tmp_path / "sets", size=16)
        for options in ("", ":chosen_on=test")
    )
    sets = clean.labels["key"].str.split("/").str[0]
    assert set(sets[clean.rows("test")]) == {"AFLW2000"}
    assert set(sets[clean.rows("train")]) == set(sets[clean.rows("valid")]) == {"300W-LP"}
    held = clean.labels["source"].iloc[clean.rows("valid")]
    assert not set(held) & set(clean.labels["source"].iloc[clean.rows("train")])
    np.testing.assert_array_equal(customary.rows("valid"), customary.rows("test"))
    assert (clean.chosen_on, customary.chosen_on) == ("valid", "test")
    assert len(customary.rows("train")) == len(clean.rows("train")) + len(clean.rows("valid"))
    assert customary.meta["protocol"]["name"] == "300w-lp-aflw2000"
    # a pack of the one is not taken for the other
    command = ["pack", "300w-lp-aflw2000", "--root", str(tmp_path / "sets"), "--size", "16"]
    assert main([*command, "--out", str(tmp_path / "p"), "--option", "chosen_on", "test"]) == 0
    made = load_pack("300w-lp-aflw2000:chosen_on=test", tmp_path / "p")
    assert made.fingerprint == customary.fingerprint
    with pytest.raises(ValueError, match="was not made with {'chosen_on': 'held-out'}"):
        load_pack("300w-lp-aflw2000", tmp_path / "p")


def test_photographs_are_packed_once_and_found_again(tmp_path, cache, monkeypatch):
    root = make_rafdb_copy(tmp_path / "rafdb")
    pack = load_pack("rafdb", root, size=16)
    assert pack.images.shape == (70, 16, 16, 3)
    assert pack.shows_people
    assert pack.labels["split"].value_counts().to_dict() == {"train": 53, "test": 14, "valid": 3}
    with monkeypatch.context() as patched:
        patched.setattr(datasets, "pack_photos", None)  # not called again
        assert load_pack("rafdb", root, size=16).path == pack.path
    assert len(list((cache / "packs").iterdir())) == 1
    assert load_pack("rafdb", root, size=20).size == 20
    (root / "train/1/0.png").unlink()  # another set now
    changed = load_pack("rafdb", root, size=16)
    assert len(changed) == 69
    assert changed.fingerprint != pack.fingerprint


def test_a_root_that_is_a_pack_is_opened_as_it_is(tmp_path, cache):
    root = make_rafdb_copy(tmp_path / "rafdb")
    out = tmp_path / "packed"
    assert main(["pack", "rafdb", "--root", str(root), "--size", "24", "--out", str(out)]) == 0
    pack = load_pack("rafdb", out, size=16)
    assert pack.path == out
    assert pack.size == 24
    assert not cache.exists()
    with pytest.raises(ValueError, match="is a pack of 'rafdb', not of 'affectnet'"):
        load_pack("affectnet", out)
    with pytest.raises(ValueError, match="was not made with .*original"):
        load_pack("rafdb", out, options={"images": "original"})


def test_votes_are_read_as_they_are_asked_for(tmp_path, cache):
    votes = ["6,4,0,0,0,0,0,0,0,0", "0,5,5,0,0,0,0,0,0,0"] * 6
    root = make_ferplus_csv(tmp_path / "votes", votes)
    sizes = {}
    for labels in ("majority", "probability"):
        pack = load_pack("ferplus-csv", root, labels=labels)
        assert pack.images.shape[1:] == (48, 48, 1)
        sizes[labels] = len(pack)
        out = tmp_path / labels
        command = ["pack", "ferplus-csv", "--root", str(root), "--out", str(out), "--size", "48"]
        assert main([*command, "--option", "labels", labels]) == 0
        assert load_pack("ferplus-csv", out, labels=labels).fingerprint == pack.fingerprint
    assert sizes["probability"] > sizes["majority"]
    with pytest.raises(ValueError, match="was not made with {'labels': 'majority'}"):
        load_pack("ferplus-csv", tmp_path / "probability")


def test_a_pack_of_ferplus_holds_the_pixels_of_its_reader(tmp_path, cache):
    """Pixels as in the files, labels as in the table: runs on FER+ keep their names."""
    root = Path(__file__).parents[1] / "fixtures" / "ferplus"
    arguments = ["pack", "ferplus", "--root", str(root), "--size", "48", "--out"]
    assert main([*arguments, str(tmp_path / "p")]) == 0
    table = READERS["ferplus"](root)
    images = np.stack([np.asarray(Image.open(file)) for file in table["path"]])[..., None]
    by_hand = write_pack(tmp_path / "w", images, table.drop(columns="path"))
    for pack in (load_pack("ferplus", root), load_pack("ferplus", tmp_path / "p")):
        assert pack.fingerprint == by_hand.fingerprint


def test_a_set_without_contempt_trains_with_its_class_unused(tmp_path, cache, quiet):
    pack = load_pack("rafdb", make_rafdb_copy(tmp_path / "rafdb"), size=32)
    dls = face_dataloaders(pack, bs=16, sampling="balanced", device="cpu")
    assert dls.c == 8
    learn = hmtl_learner(dls, "tiny")
    with quiet(learn):
        learn.fit(1)
    probabilities, targets = learn.get_preds(dl=dls[2])
    assert probabilities.shape == (14, 8)
    assert set(targets.tolist()) == set(range(7))


def test_rows_without_an_emotion_are_packed_all_the_same(tmp_path, cache):
    for i in range(20):
        draw_photo(i, (16, 16)).save(tmp_path / f"{i}.png")
    emotions = ["sad", ""] * 10
    lines = [f"{i}.png,{emotion}" for i, emotion in enumerate(emotions)]
    write(tmp_path / "labels.csv", ["image,label", *lines])
    options = {"columns": {"path": "image", "emotion": "label"}}
    pack = load_pack("csv", tmp_path, size=16, options=options)
    assert pack.labels["emotion"].isna().sum() == 10


def test_a_failed_pack_leaves_no_cache(tmp_path, cache, monkeypatch):
    root = make_fer2013(tmp_path / "fer")
    monkeypatch.setattr(packing, "read_photos", lambda task: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load_pack("fer2013", root)
    assert list((cache / "packs").iterdir()) == []
