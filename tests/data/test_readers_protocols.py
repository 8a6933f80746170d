"""Protocols: official splits, clean and customary choice of a model, reports of several sets."""

import os

import pytest
from reader_fixtures import make_affectnet_npy, make_aflw2000, make_biwi, make_rafdb, make_w300lp

from hmtl.data.packing import read_set
from hmtl.data.readers.protocols import PROTOCOLS, SOURCES, read_protocol


@pytest.mark.parametrize(
    ("name", "classes", "known"), [("affectnet-8", 8, 3_999), ("affectnet-7", 7, 3_500)]
)
def test_affectnet_protocols(tmp_path, name, classes, known):
    root = make_affectnet_npy(tmp_path, train=range(320))
    table = read_protocol(name, root)
    assert table.emotion.nunique() == classes
    held = table[table.split == "valid"].emotion.value_counts()
    assert (held == 2).all()  # five of a hundred of forty, class by class
    assert len(held) == classes
    report = table.attrs["report"]
    assert report["counts"]["AffectNet: test"] == {"found": 2 * classes, "published": known}
    assert report["counts"]["valid"]["found"] == 2 * classes
    assert table.attrs["protocol"]["chosen_on"] == "held-out"


def test_the_customary_protocol_says_that_it_chooses_on_test(tmp_path):
    table = read_protocol("affectnet-8", make_affectnet_npy(tmp_path), chosen_on="test")
    assert set(table.split) == {"train", "test"}
    assert table.attrs["protocol"] == {
        "name": "affectnet-8",
        "metric": "accuracy on the test images, %",
        "chosen_on": "test",
    }


def test_300w_lp_to_aflw2000_holds_out_whole_photographs(tmp_path, monkeypatch):
    roots = [make_w300lp(tmp_path), make_aflw2000(tmp_path)]
    name = "300w-lp-aflw2000"
    # the fixture has four photographs, of which a usual share is none
    monkeypatch.setitem(PROTOCOLS, name, PROTOCOLS[name]._replace(share=0.25))
    root = os.pathsep.join(map(str, roots))
    table = read_protocol(name, root)
    assert table.groupby("split").size().to_dict() == {"train": 18, "valid": 6, "test": 5}
    assert (table.dropna(subset="source").groupby("source").split.nunique() == 1).all()
    assert table.key.iloc[-1] == "AFLW2000/image00021.jpg"
    report = table.attrs["report"]
    assert report["counts"]["AFLW2000: test"] == {"found": 5, "published": 1_969}
    assert report["dropped"] == {"AFLW2000: beyond 99 degrees": 1}
    plain = read_protocol(name, root, flips=False, crop="plain")
    assert len(plain) == 17


def test_biwi_protocols(tmp_path):
    make_w300lp(tmp_path)
    make_biwi(tmp_path, frames=1)
    one = read_protocol("300w-lp-biwi", tmp_path)
    assert (one.split == "test").sum() == 24
    two = read_protocol("biwi-70-30", tmp_path)
    people = two.groupby("person").split.unique()
    assert people.map(len).eq(1).all()
    assert people.map(lambda s: s[0]).value_counts().to_dict() == {
        "train": 12,
        "test": 6,
        "valid": 2,
    }
    assert read_protocol("biwi-70-30", tmp_path).split.equals(two.split)


def test_rafdb_protocol(tmp_path):
    table = read_protocol("rafdb-7", make_rafdb(tmp_path, train=[4] * 40 + [5] * 20))
    assert table[table.split == "valid"].emotion.value_counts().to_dict() == {"happy": 2, "sad": 1}
    assert table.attrs["report"]["unlabelled"]["RAF-DB: gender: unsure"] == 21


def test_protocols_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="unknown protocol 'AffectNet'; one of affectnet-8"):
        read_protocol("AffectNet", tmp_path)
    with pytest.raises(ValueError, match="chosen_on='valid': one of held-out, test"):
        read_protocol("rafdb-7", tmp_path, chosen_on="valid")
    with pytest.raises(ValueError, match=r"needs 2 roots \(300W-LP, BIWI\), got 1"):
        read_protocol("300w-lp-biwi", tmp_path / "none")


def test_a_protocol_is_read_like_any_data_set(tmp_path):
    roots = [make_w300lp(tmp_path / "a"), make_aflw2000(tmp_path / "b")]
    joined = os.pathsep.join(map(str, roots))
    make_w300lp(tmp_path / "both")
    make_aflw2000(tmp_path / "both")
    tables = [read_set("300w-lp-aflw2000", root) for root in (joined, tmp_path / "both")]
    # four photographs, of which a usual share is none: one is held out all the same
    assert tables[0].groupby("split").size().to_dict() == {"train": 18, "valid": 6, "test": 5}
    assert tables[0].drop(columns="path").equals(tables[1].drop(columns="path"))
    options = {"chosen_on": "test", "flips": False, "all_angles": True, "points": "pt3d_68"}
    table = read_set("300w-lp-aflw2000", joined, options)  # each to the sets that have it
    assert table.groupby("split").size().to_dict() == {"train": 12, "test": 6}
    assert table.attrs["protocol"]["chosen_on"] == "test"
    with pytest.raises(ValueError, match=r"needs 2 roots \(300W-LP, AFLW2000\), got 3"):
        SOURCES["300w-lp-aflw2000"](os.pathsep.join(["x", "y", "z"]))
    with pytest.raises(TypeError, match="crops"):
        SOURCES["300w-lp-aflw2000"](joined, crops="plain")
    with pytest.raises(TypeError, match="none of its readers has the option 'crops'"):
        read_protocol("300w-lp-aflw2000", joined, crops="plain")
    with pytest.raises(ValueError, match="its options are .*chosen_on, seed"):
        read_set("affectnet-7", tmp_path, {"classes": 8})  # what the protocol is about
