"""The made-up folders: readers take them, faults are found, they are the same data each time."""

import json

import numpy as np
import pandas as pd
import pytest
from made_up_folders import (
    _TIME,
    COPIES,
    EXAMPLES,
    write_affectnet_csv,
    write_affectnet_npy,
    write_w300lp,
)

from hmtl.data.packing import fingerprint, read_set
from hmtl.data.readers.report import Drops, counts_table, dropped_table, finish_table
from hmtl.data.sets import load_pack
from hmtl.labels import EMOTIONS
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.study.notebook import run_study
from hmtl.study.plots import plot_balance


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Packs of these folders stay out of the user's cache."""
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("what", EXAMPLES)
def test_a_folder_is_read_and_is_the_same_data_when_written_again(what, tmp_path):
    data, write = EXAMPLES[what]
    first, second = (read_set(data, write(tmp_path / name)) for name in "ab")
    pd.testing.assert_frame_equal(first.drop(columns="path"), second.drop(columns="path"))
    assert fingerprint(first) == fingerprint(second)
    pack = load_pack(data, tmp_path / "a", size=32)
    broken = what == "AffectNet, first release"  # on purpose
    report = json.loads((pack.path / "report.json").read_text())
    assert bool(report["bad"]) == broken
    assert bool(report["duplicates"]["across splits"]) == broken
    assert not report["duplicates"]["within a split"]


@pytest.mark.parametrize("what", COPIES)
def test_a_copy_written_again_is_the_same_data(what, tmp_path):
    """The time of its files is part of what a cached pack is known by."""
    files = [file for file in COPIES[what][2](tmp_path).rglob("*") if file.is_file()]
    assert {file.stat().st_mtime for file in files} == {_TIME}


def test_the_box_cuts_the_face_out_again(tmp_path):
    """What is in AffectNet's box or Hopenet's crop is the mini face that was put there."""
    mini = load_pack("mini")
    pack = load_pack("affectnet", write_affectnet_csv(tmp_path))
    test = pack.rows("test")
    shown = mini.images[mini.rows("test")[: len(test)]]
    gaps = np.abs(pack.images[test].astype(float) - shown).mean(axis=(1, 2, 3))
    assert gaps.max() < 6  # enlarged, compressed and reduced again
    poses = load_pack("300w-lp", write_w300lp(tmp_path, people=1))
    plain = poses.labels.index[~poses.labels["key"].str.contains("Flip")]
    middle = slice(8, 40)  # k is drawn, so the square is not exactly that
    seen = poses.images[plain][:, middle, middle].astype(float).mean(axis=(0, 1, 2))
    expected = mini.images[mini.rows("train")[:8]][:, middle, middle].mean(axis=(0, 1, 2))
    np.testing.assert_allclose(seen, expected, atol=16)


def test_tables_of_a_report_have_both_numbers_and_every_reason():
    drops = Drops()
    drops.add("torn", ["x.csv line 3", "x.csv line 9"])
    table = pd.DataFrame({"key": ["a", "b"], "split": ["train", "train"], "emotion": "sad"})
    report = finish_table(table, drops, source="x", published={"train": 1200}).attrs["report"]
    counts = counts_table(report)
    assert counts.loc["train"].tolist() == ["2", "1,200", "-1,198"]
    assert counts.loc["train/sad"].tolist() == ["2", "", ""]
    assert dropped_table(report).to_numpy().tolist() == [["torn", 2, "x.csv line 3"]]
    clean = finish_table(table, Drops(), source="x").attrs["report"]
    assert list(dropped_table(clean)) == ["reason", "rows", "first"]


def test_balance_is_of_emotions_or_genders_or_angles():
    import matplotlib.pyplot as plt

    labels = load_pack("mini").labels
    bars = plot_balance(labels).axes[0].patches
    assert len(bars) == 3 * len(EMOTIONS)
    assert sum(bar.get_height() for bar in bars) == pytest.approx(300)  # % of three splits
    one = labels[labels["split"] == "test"].drop(columns="emotion")
    assert len(plot_balance(one).axes[0].patches) == 2
    figure = plot_balance(labels[["split", "yaw", "pitch", "roll"]])
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "yaw, degrees", "pitch, degrees", "roll, degrees",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="neither emotion"):
        plot_balance(labels[["split", "age"]])
    plt.close("all")


# -- studies on such folders ---


def make_small(root):
    """AffectNet's second release with few images and no contempt; smaller than a batch."""
    write_affectnet_npy(root, people=2)
    for folder in ("train_set", "val_set"):
        for i in range(EMOTIONS.index("contempt"), 16, 8):
            (root / folder / f"images/{i}.jpg").unlink()
    return root


@pytest.mark.parametrize("pretexts", [(), ("puzzling_2x2",)])
def test_a_set_smaller_than_a_batch_and_without_a_class_trains(pretexts, tmp_path):
    root = make_small(tmp_path / "affectnet")
    spec = RunSpec.preset("smoke", "affectnet", pretexts=pretexts, epochs=1)
    run = fit(spec, root=root, store=tmp_path / "runs")
    assert run.machine["train_faces"] < spec.bs
    assert "contempt" not in set(run.predictions["target"])
    assert np.isfinite(run.metrics["train_loss"]).all()
    assert 0 <= run.scores["macro_f1"] <= 7 / 8


def test_a_set_without_test_faces_is_refused_before_it_trains(tmp_path):
    root = write_w300lp(tmp_path, people=2)
    message = "300w-lp has no test faces.*: 300w-lp-aflw2000 or 300w-lp-biwi$"
    with pytest.raises(ValueError, match=message):
        fit(RunSpec("300w-lp", "head_pose"), root=root, store=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_study_runs_on_a_folder_of_affectnets_format(tmp_path):
    """By parameters alone, though it is small and lacks a class."""
    root = make_small(tmp_path / "affectnet")
    _, failed = run_study(
        "smoke", data="affectnet", root=str(root), outputs=tmp_path / "out", only=["02", "20"]
    )
    assert failed == []
    tables = tmp_path / "out" / "tables"
    runs = pd.read_csv(tables / "20_hmtl_emotion-runs.csv")
    assert set(runs["data"]) == {"affectnet"}
    counts = pd.read_csv(tables / "02_your_data-counts.csv", index_col="count")
    assert counts.loc["train"].astype(str).tolist() == ["14", "287,651", "-287,637"]
    made = json.loads((tmp_path / "out" / "02_your_data.ipynb").read_text())
    said = [o.get("text", "") for c in made["cells"] for o in c.get("outputs", ())]
    assert any("".join(text) == "affectnet\n" for text in said)
