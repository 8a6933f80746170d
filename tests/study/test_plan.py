"""The plan: its cells, what is chosen by trials, and that a part is made once and found again."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest

from hmtl.paths import reference_dir
from hmtl.runs.specs import RunSpec
from hmtl.study import plan
from hmtl.study.plan import ARMS, BEFORE, TRIAL_SEEDS, Cell, cells, choose, pretraining_of, spec_of
from hmtl.study.record import read_table

CELL = Cell("p", 1, "emotion", "mini", "few", "SL", 2, 10, 1)


def test_every_cell_is_a_training_and_no_seed_of_a_trial():
    found = cells()
    assert found[0].part == "plateau"
    assert {cell.part for cell in cells("few-labels")} == {"few-labels"}
    for cell in found:
        seeds = range(cell.first, cell.first + cell.seeds)
        assert not set(TRIAL_SEEDS) & set(seeds)
        spec = spec_of(cell, cell.first)
        assert (spec.task, spec.epochs, spec.norm_stats) == (cell.task, cell.epochs, "plain")
        assert (spec.fraction == 1) == (cell.labels == "all")
        if cell.labels == "few":
            assert spec.fraction_seed == spec.seed  # another draw of the labels
        if cell.data == "faces":
            assert spec.people == (300, 50, 2500)
        if cell.arm in BEFORE:
            first = pretraining_of(cell, spec)
            assert (first.task, first.fraction, first.epochs) == ("pretraining", 1, cell.epochs)
    few = [c for c in found if c.part == "few-labels" and c.arm in ("SL", "puzzle")]
    assert {(c.data, c.seeds) for c in few} == {("faces", 10), ("ferplus", 6)}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("p,1,emotion,faces,few,SLL,2,0,1", "line 2: unknown arm 'SLL'"),
        ("p,1,emotion,faces,some,SL,2,0,1", "line 2: unknown labels 'some'"),
        ("p,1,emotion,faces,few,SL,two,0,1", "line 2: epochs must be a whole number"),
    ],
)
def test_a_wrong_row_is_named(row, said, tmp_path):
    file = tmp_path / "plan.csv"
    file.write_text(f"part,block,task,data,labels,arm,epochs,first,seeds\n{row}\n")
    with pytest.raises(ValueError, match=said):
        cells(file=file)
    with pytest.raises(ValueError, match="unknown part 'x'; one of plateau"):
        cells("x")


@pytest.mark.parametrize("best", [0.5, 1, 4, 16, 40])
def test_a_grid_is_extended_until_its_best_lies_inside(best):
    tried = []

    def value(fields):
        tried.append(fields["lr"])
        return -abs(fields["lr"] - best)

    assert choose(value, rates=(2, 4, 8, 16)) == {"lr": {40: 32}.get(best, best)}
    assert len(tried) == len(set(tried)) >= 4
    assert min(tried) < {40: 32}.get(best, best) < max(tried)


def test_a_puzzle_is_given_as_many_trials_again():
    tried = []

    def value(fields):
        tried.append(fields)
        return fields.get("gap", 0) - abs(fields["lr"] - 4)

    assert choose(value, puzzle=True, rates=(2, 4, 8, 16)) == {"lr": 4, "gap": 4}
    assert len(tried) == 7
    plain = lambda fields: -abs(fields["lr"] - 4) - ("gap" in fields)  # noqa: E731
    assert choose(plain, puzzle=True, rates=(2, 4, 8, 16)) == {"lr": 4}


def test_what_was_chosen_is_in_the_training():
    chosen = {"lr": 0.004, "pretext_weight": 0.1, "gap": 4}
    for arm in ("puzzle", "puzzle_unlabelled"):
        spec = spec_of(replace(CELL, arm=arm), 3, chosen)
        assert spec.pretexts[0].endswith("puzzling_2x2_gap4")
        assert (spec.lr, spec.pretext_weight) == (0.004, 0.1)
    only = spec_of(replace(CELL, arm="only_puzzle"), 3, chosen)
    assert only.pretexts == ("only_puzzling_2x2_gap4",)
    assert set(plan.TUNED) | set(plan.TUNED.values()) <= set(ARMS)


@pytest.mark.slow
def test_a_part_is_made_once_and_found_again(tmp_path, monkeypatch):
    own = [CELL, replace(CELL, arm="puzzle_then_SL")]
    monkeypatch.setattr(plan, "cells", lambda part="", file=None: own)
    monkeypatch.setattr(plan, "chosen_for", lambda cell, score: {"lr": 0.004})
    monkeypatch.setitem(plan.BASE, "precision", "")
    lines = []
    assert plan.decide("p", store=tmp_path, root=tmp_path, say=lines.append) == 2
    assert len(lines) == 2
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("spec.json")}
    assert len(before) == 3  # the pre-training beside
    assert plan.decide("p", store=tmp_path, root=tmp_path, say=lines.append) == 2
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("spec.json")} == before
    table, runs, _ = plan.gather(tmp_path, tmp_path)
    assert table["start"].tolist() == ["scratch", "puzzling_2x2"]
    assert set(table["study"]) == {"decide"}
    assert [run.spec.seed for run in runs] == [10, 10]


def test_nothing_starts_from_a_pretraining_that_diverged():
    asked = []

    def get(spec):
        asked.append(spec.task)
        return SimpleNamespace(failure={"epoch": 1}, spec=spec)

    cell = replace(CELL, arm="puzzle_then_SL")
    assert plan._run_of(cell, plan.spec_of(cell, 10), get).spec.task == "pretraining"
    assert asked == ["pretraining"]


@pytest.mark.slow
def test_a_store_is_read_wherever_it_lies_and_on_whatever_device(tmp_path, monkeypatch):
    own = [replace(CELL, arm="puzzle_then_SL")]
    monkeypatch.setattr(plan, "cells", lambda part="", file=None: own)
    monkeypatch.setattr(plan, "chosen_for", lambda cell, score: {"lr": 0.004})
    monkeypatch.setitem(plan.BASE, "precision", "")
    plan.decide("p", store=tmp_path / "old", root=tmp_path, say=lambda line: None)
    (tmp_path / "old").rename(tmp_path / "new")
    for kind in ("", "cuda"):
        monkeypatch.setattr(plan, "gpu_kind", lambda kind=kind: kind)
        table, _, _ = plan.gather(tmp_path / "new", tmp_path)
        assert table["start"].tolist() == ["puzzling_2x2"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_after_an_error_no_other_run_is_begun(monkeypatch, error):
    begun = []

    def run(i):
        begun.append(i)
        if i == 1:
            raise error
        time.sleep(1)
        return i

    monkeypatch.setattr(plan, "worker_pool", ThreadPoolExecutor)
    with pytest.raises(error):
        plan._all([partial(run, i) for i in range(40)], 2, lambda run, seconds: None)
    assert len(begun) < 10


def test_old_names_stay_and_the_draw_of_labels_has_one():
    assert "fraction_seed" not in RunSpec(fraction=0.2).to_json()
    assert RunSpec(fraction=0.2, fraction_seed=0) == RunSpec(fraction=0.2)
    assert RunSpec(fraction_seed=3) == RunSpec()  # all labels: nothing is drawn
    assert RunSpec(fraction=0.2, fraction_seed=3) != RunSpec(fraction=0.2)
    with pytest.raises(ValueError, match="unknown norm_stats 'clean'; one of"):
        RunSpec(norm_stats="clean")
    with pytest.raises(ValueError, match="fraction_seed must be"):
        RunSpec(fraction_seed=-1)


@pytest.mark.slow
def test_what_the_record_holds_is_not_made_again(tmp_path, monkeypatch):
    """Trials and runs are carried by their rows alone: the store that made them is gone."""
    own = [CELL, replace(CELL, arm="puzzle")]
    monkeypatch.setattr(plan, "cells", lambda part="", file=None: own)
    monkeypatch.setattr(plan, "RATES", (0.002, 0.004))
    monkeypatch.setattr(plan, "FURTHER", 0)
    monkeypatch.setattr(plan, "TRIAL_SEEDS", (100,))
    monkeypatch.setitem(plan.BASE, "precision", "")
    chose = plan.choose
    monkeypatch.setattr(plan, "choose", lambda value, puzzle: chose(value, False, plan.RATES))
    first, record = tmp_path / "first", tmp_path / "record"
    monkeypatch.setattr(plan, "reference_dir", lambda: record)
    plan.decide("p", store=first, root=tmp_path, say=lambda line: None)
    table, runs, trials = plan.gather(first, tmp_path)
    assert len(runs) == 2
    assert len(trials) == 4
    (record / "tables").mkdir(parents=True)
    table.to_csv(record / "runs.csv", index=False, float_format="%.6g")
    trials.to_csv(record / "tables" / "trials.csv", index=False, float_format="%.4g")
    lines = []
    assert plan.decide("p", store=tmp_path / "second", root=tmp_path, say=lines.append) == 0
    assert lines == []
    own.append(replace(CELL, first=11))  # another seed: its trials are known, it is made
    assert plan.decide("p", store=tmp_path / "second", root=tmp_path, say=lines.append) == 1
    assert "seed 11" in lines[0]
    assert [run.spec.seed for run in plan.gather(tmp_path / "second", tmp_path)[1]] == [11]


def test_what_was_spent_is_told_by_part_and_each_second_counts_once():
    runs = read_table(reference_dir() / "runs.csv")
    trials = read_table(reference_dir() / "tables" / "trials.csv")
    table = plan.cost_table(runs, trials)
    tried = table["part"].str.startswith("trials of ")
    assert set(table["part"][~tried]) <= {cell.part for cell in cells()}
    for own, rows in ((table[~tried], runs), (table[tried], trials)):
        spent = rows.groupby("data")["cpu_seconds"].sum()
        assert (own.groupby("data")["core-seconds"].sum() - spent).abs().max() <= len(own)
    assert table["number"].sum() == len(runs) + len(trials)
    row = runs.iloc[:3].assign(processor=["A", None, "B"], epochs=77)
    (told,) = plan.cost_table(row, trials.iloc[:0]).to_dict("records")
    assert (told["part"], told["number"]) == ("no longer planned", 3)
    assert told["processor"] == "A, B, others not told"


def test_a_trial_that_diverged_is_never_the_best_of_the_record(tmp_path):
    (tmp_path / "tables").mkdir()
    row = {"study": "decide", "data": "faces", "task": "emotion", "arm": "SL", "lr": 0.004,
           "pretext_weight": None, "gap": 0, "seed": 100, "epochs": 2, "valid": 0.5}  # fmt: skip
    pose = {"task": "head_pose"}
    rows = [row, row | {"lr": 0.008, "valid": float("inf")}]
    rows += [row | pose | {"valid": 5.0}, row | pose | {"lr": 0.008, "valid": float("inf")}]
    pd.DataFrame(rows).to_csv(tmp_path / "tables" / "trials.csv", index=False)
    values = list(plan._in_record(tmp_path)[0].values())
    assert values == [0.5, -float("inf"), -5.0, -float("inf")]
