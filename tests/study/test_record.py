"""The record: it holds what the runs said, in one order, and no row mixes two protocols."""

import json

import numpy as np
import pandas as pd
import pytest

from hmtl.paths import reference_dir
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import runs_table
from hmtl.study import record
from hmtl.study.plan import APART, missing_runs
from hmtl.study.record import runs_in_order, write_decided, write_tables
from hmtl.study.tables import PLAN, recorded_runs

TRIAL = {"study": PLAN, "data": "mini", "task": "emotion", "arm": "SL", "lr": 0.004, "gap": 0,
         "pretext_weight": None, "seed": 100}  # fmt: skip


@pytest.fixture
def collect(tmp_path, monkeypatch):
    """Runs of some specs put into a record, as if a plan had asked for them."""

    def put(*specs, trials=(), columns=None):
        runs = [fit(spec, store=tmp_path / "runs") for spec in specs]
        table = runs_table(runs).assign(**(columns or {}))
        table.insert(0, "study", PLAN)
        tried = pd.DataFrame(trials, columns=[*TRIAL, "valid"])
        monkeypatch.setattr(record, "gather", lambda store, root: (table, runs, tried))
        return write_decided(target=tmp_path / "reference"), runs

    return put


def small(**changes):
    return RunSpec(**{"epochs": 1, "bs": 64, **changes})


@pytest.mark.slow
def test_the_record_holds_what_the_runs_said(collect):
    """runs.csv and predictions.npz give back each run's accuracy, face by face."""
    target, runs = collect(small(), small(pretexts=("puzzling_2x2",)), small(task="head_pose"))
    assert target.stat().st_mode == runs[0].path.parent.stat().st_mode
    table, outcomes = recorded_runs(target)
    named = dict(zip(table["run"], table.itertuples(), strict=True))
    for run in runs[:2]:
        right = run.predictions["predicted"] == run.predictions["target"]
        np.testing.assert_array_equal(outcomes[run.id], right)
        assert named[run.id].accuracy == pytest.approx(right.mean(), abs=1e-5)
    assert outcomes[runs[2].id].mean() == pytest.approx(runs[2].scores["mae"], rel=1e-3)
    curves = pd.read_csv(target / "curves.csv").set_index("run")
    for run, metric in zip(runs, ("accuracy", "accuracy", "mae"), strict=True):
        wanted = run.metrics[metric].iloc[-1]
        assert curves.loc[run.id, "valid"] == pytest.approx(wanted, rel=1e-4)
    # tables follow from what stands there: one that is spoilt comes back, nothing else changes
    files = [p for p in target.rglob("*") if p.suffix in (".csv", ".npz")]
    before = {file: file.read_bytes() for file in files}
    (target / "tables" / "verdicts.csv").write_text("spoilt\n")
    write_tables(target)
    assert {file: file.read_bytes() for file in files} == before


@pytest.mark.slow
def test_runs_are_added_but_never_to_a_row_of_another_protocol(collect):
    target, (one,) = collect(small(), trials=[(*TRIAL.values(), 0.5)])
    for _ in range(2):  # the same run a second time takes its own place
        _, (other,) = collect(small(seed=1))
    table, outcomes = recorded_runs(target)
    assert set(table["run"]) == set(outcomes) == {one.id, other.id}
    assert len(table) == 2
    assert sorted(pd.read_csv(target / "curves.csv")["run"]) == sorted(table["run"])
    assert pd.read_csv(target / "tables" / "trials.csv")["valid"].tolist() == [0.5]
    collect(small(), trials=[(*TRIAL.values(), 0.6), (*(TRIAL | {"lr": 0.008}).values(), 0.7)])
    assert pd.read_csv(target / "tables" / "trials.csv")["valid"].tolist() == [0.6, 0.7]
    before = {file: file.read_bytes() for file in target.rglob("*.*")}
    with pytest.raises(ValueError, match=r"lr is 0.001 and 0.\d+ along one row.*git checkout"):
        collect(small(seed=2, lr=1e-3))
    with pytest.raises(ValueError, match="several runs of one seed"):
        collect(small(seed=1), columns={"run": "of-another-version"})
    assert {file: file.read_bytes() for file in target.rglob("*.*")} == before


@pytest.mark.slow
def test_what_fails_while_tables_are_made_leaves_the_record_as_it_was(collect, monkeypatch):
    target, _ = collect(small())
    before = {file: file.read_bytes() for file in target.rglob("*.*")}

    def refuse(*_, **__):
        raise ValueError("no claim holds")

    monkeypatch.setattr(record, "effect_table", refuse)
    with pytest.raises(ValueError, match="no claim"):
        collect(small(seed=1))
    assert {file: file.read_bytes() for file in target.rglob("*.*")} == before
    assert not list(target.parent.glob(".*"))


@pytest.mark.slow
def test_a_torn_record_is_named(collect):
    target, _ = collect(small())
    file = target / "predictions.npz"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ValueError, match="predictions.npz cannot be read"):
        recorded_runs(target)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="predictions.npz is missing"):
        recorded_runs(target)
    (target / "runs.csv").write_text("study\n")
    with pytest.raises(ValueError, match="column run, pack, task is missing"):
        recorded_runs(target)


def test_an_empty_store_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run of the plan.*hmtl decide"):
        write_decided(tmp_path, target=tmp_path / "reference")


def test_the_committed_record_agrees_with_itself():
    table, outcomes = recorded_runs()
    for row in table.itertuples():
        if row.task in ("emotion", "gender"):
            assert row.accuracy == pytest.approx(outcomes[row.run].mean(), abs=1e-5)
        elif row.task != "pretraining":
            assert row.mae == pytest.approx(outcomes[row.run].mean(), abs=1e-2)
    assert table["run"].is_unique
    assert set(table["study"]) <= {PLAN, *APART.values()}
    pd.testing.assert_frame_equal(runs_in_order(table), table)
    real = table["data"].map(["faces", "ferplus"].index)  # in one order, however put together
    places = list(zip(table["study"] == PLAN, real, table["fraction"], strict=True))
    assert places == sorted(places)


def test_what_is_missing_is_what_the_plan_has_and_the_record_has_not():
    table, _ = recorded_runs()
    whole = missing_runs(table)
    gone = table[(table["method"] == "SL") & (table["seed"] == 11) & (table["epochs"] == 32)]
    gone = gone[gone["start"] == "scratch"]
    assert len(gone) == 1
    less = missing_runs(table.drop(gone.index))
    assert less["runs"].sum() - whole["runs"].sum() == 2  # of two parts, the plateau's too
    added = less.merge(whole, on=["part", "data"], how="left", suffixes=("", " before"))
    added = added[added["runs"] != added["runs before"].fillna(0)]
    assert set(added["part"]) == {"plateau", "few-labels"}
    alone = missing_runs(table[:0])
    assert alone["core-hours"].isna().all(), "no cost is made up"


def test_a_network_without_a_run_is_costed_by_the_benchmark():
    table, _ = recorded_runs()
    table = table[table["arch"] != "tf_efficientnet_lite0"]
    bench = json.loads((reference_dir() / "bench-cpu.json").read_text())["epochs"]
    [speed] = [
        row["images/s"] for row in bench
        if (row["network"], row["training"]) == ("tf_efficientnet_lite0, 112 px", "ours, strong")
    ]  # fmt: skip
    found = missing_runs(table).set_index("part").loc["imagenet", "core-hours"]
    assert found == pytest.approx((6 * (20 + 60) + 3 * 120) * 25_045 / speed / 3600, abs=0.06)


def test_a_row_recorded_later_stands_where_the_other_data_sets_have_it():
    """In-painting first on FER+, the baselines later: the table still begins with these."""
    runs = [
        ("faces", 1.0, "SL", 16, 1), ("faces", 0.2, "SL", 16, 0), ("faces", 1.0, "SL", 32, 0),
        ("faces", 1.0, "SL", 16, 0), ("faces", 1.0, "inpainting_grid_pl (paired)", 16, 0),
        ("ferplus", 1.0, "inpainting_grid_pl (paired)", 6, 0), ("ferplus", 1.0, "SL", 6, 0),
        ("ferplus", 1.0, "SL", 6, 1), ("ferplus", 1.0, "SL", 12, 0),
    ]  # fmt: skip
    table = pd.DataFrame(runs, columns=["data", "fraction", "method", "epochs", "seed"])
    table = table.assign(study=PLAN, task="emotion", arch="tiny", bs=32)
    found = runs_in_order(table)
    columns = ["data", "fraction", "method", "epochs"]
    rows = found[columns].drop_duplicates().itertuples(index=False, name=None)
    beside = "inpainting_grid_pl (paired)"
    assert list(rows) == [
        ("faces", 0.2, "SL", 16), ("faces", 1.0, "SL", 16), ("faces", 1.0, "SL", 32),
        ("faces", 1.0, beside, 16),
        ("ferplus", 1.0, "SL", 6), ("ferplus", 1.0, "SL", 12), ("ferplus", 1.0, beside, 6),
    ]  # fmt: skip
    assert sorted(found.index) == list(range(len(runs)))
    told = ["data", "fraction", "method", "epochs", "seed"]  # none lost, none made
    assert sorted(found[told].itertuples(index=False, name=None)) == sorted(runs)
    pd.testing.assert_frame_equal(runs_in_order(found), found)


def test_rows_added_to_a_record_follow_its_own():
    """Whatever the order in which they come, and each network by itself."""
    columns = ["arch", "method", "seed"]
    old = [("tiny", "SL", 0), ("tiny", "second_view (paired)", 0), ("other", "SL", 0)]
    new = [("tiny", "jigsaw_2x2 (paired)", 0), ("other", "SL", 1), ("tiny", "SL", 1)]

    def table(rows):
        own = pd.DataFrame(rows, columns=columns).assign(study=PLAN, data="faces", task="emotion")
        return own.assign(fraction=0.2, epochs=9, bs=32)

    found = runs_in_order(table(new + old), table(old))
    assert list(found[columns].itertuples(index=False, name=None)) == [
        ("tiny", "SL", 1), ("tiny", "SL", 0), ("tiny", "second_view (paired)", 0),
        ("other", "SL", 1), ("other", "SL", 0), ("tiny", "jigsaw_2x2 (paired)", 0),
    ]  # fmt: skip


@pytest.mark.slow
def test_columns_of_a_record_keep_their_places_when_runs_are_added(collect):
    headers = []
    for name in ("puzzling_2x2", "image_rotation"):  # each has a score of its own
        target, _ = collect(small(pretexts=(name,)))
        headers.append(list(pd.read_csv(target / "runs.csv", nrows=0)))
    assert headers[1] == [*headers[0], "image_rotation_score"]
