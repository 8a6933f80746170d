"""The record: it holds what the runs said, in one order, and no row mixes two protocols."""

import numpy as np
import pandas as pd
import pytest

from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.study import record
from hmtl.study.notebook import open_notebook
from hmtl.study.record import runs_in_order, write_reference, write_tables
from hmtl.study.tables import readme_table, recorded_runs


def recorded_alone(folder, name, notebook="20_hmtl_emotion", **changes):
    """One run, told by a notebook of its own in `folder / name`: (the notebook, the run)."""
    run = fit(RunSpec(**{"epochs": 1, "bs": 64, **changes}), store=folder / "runs")
    here = open_notebook(notebook, "", "", "", str(folder / name), 0)
    here.results([run])
    return here, run


@pytest.mark.slow
def test_the_record_holds_what_the_runs_said(tmp_path):
    """runs.csv and predictions.npz give back each run's accuracy, face by face."""
    here = open_notebook("20_hmtl_emotion", "", "", "", str(tmp_path / "smoke"), 0)
    specs = [RunSpec(epochs=1), RunSpec(epochs=1, pretexts=("puzzling_2x2",))]
    runs = [fit(spec, store=tmp_path / "runs") for spec in specs]
    here.results(runs)
    write_reference([tmp_path / "smoke"], tmp_path / "reference")
    assert (tmp_path / "reference").stat().st_mode == (tmp_path / "smoke").stat().st_mode
    table, outcomes = recorded_runs(tmp_path / "reference")
    assert table["method"].tolist() == ["SL", "puzzling_2x2 (paired)"]
    for run, row in zip(runs, table.itertuples(), strict=True):
        right = run.predictions["predicted"] == run.predictions["target"]
        np.testing.assert_array_equal(outcomes[row.run], right)
        assert row.accuracy == pytest.approx(right.mean(), abs=1e-5)
    with pytest.raises(FileNotFoundError, match="run the notebooks"):
        write_reference([tmp_path / "elsewhere"], tmp_path / "reference")
    # tables follow from what stands there: one that is spoilt comes back, nothing else changes
    files = [p for p in (tmp_path / "reference").rglob("*") if p.suffix in (".csv", ".npz")]
    before = {file: file.read_bytes() for file in files}
    (tmp_path / "reference" / "tables" / "verdicts.csv").write_text("spoilt\n")
    write_tables(tmp_path / "reference")
    assert {file: file.read_bytes() for file in files} == before


@pytest.mark.slow
def test_a_partial_record_keeps_the_other_arms_if_asked_to(tmp_path):
    run = fit(RunSpec(epochs=1), store=tmp_path / "runs")
    for name in ("20_hmtl_emotion", "10_imagenet_versus_scratch"):
        open_notebook(name, "", "", "", str(tmp_path / name), 0).results([run])
    target = tmp_path / "reference"
    write_reference([tmp_path / "20_hmtl_emotion"], target)
    write_reference([tmp_path / "10_imagenet_versus_scratch"], target, keep=True)
    table, outcomes = recorded_runs(target)
    assert sorted(table["study"]) == ["10_imagenet_versus_scratch", "20_hmtl_emotion"]
    np.testing.assert_array_equal(outcomes[run.id].mean(), run.scores["accuracy"])
    write_reference([tmp_path / "10_imagenet_versus_scratch"], target)
    assert len(recorded_runs(target)[0]) == 1


@pytest.mark.slow
def test_runs_are_added_to_a_record_but_never_to_a_row_of_another_protocol(tmp_path):
    target = tmp_path / "reference"
    first, one = recorded_alone(tmp_path, "a")
    _, other = recorded_alone(tmp_path, "b", seed=1)
    recorded_alone(tmp_path, "c", seed=2, lr=1e-3)
    rates = {"data": "mini", "task": "emotion", "arch": "tiny", "method": "SL", "epochs": 1}
    rates = pd.DataFrame([rates | {"chosen": 0.004}])
    first.save(rates, "learning-rates")
    write_reference([tmp_path / "a"], target)
    for _ in range(2):  # the same run a second time takes its own place
        write_reference([tmp_path / "b"], target, add=True)
    table, outcomes = recorded_runs(target)
    assert set(table["run"]) == set(outcomes) == {one.id, other.id}
    assert len(table) == 2
    curves = pd.read_csv(target / "curves.csv")
    assert sorted(curves["run"]) == sorted(table["run"])
    kept = pd.read_csv(target / "tables" / "learning-rates.csv")
    assert kept["chosen"].tolist() == [0.004]
    before = (target / "runs.csv").read_bytes()
    with pytest.raises(ValueError, match=r"lr is 0.001 and 0.\d+ along one row.*without --add"):
        write_reference([tmp_path / "c"], target, add=True)
    assert (target / "runs.csv").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"epochs": 2}, {"arch": "test_efficientnet"}])
def test_rows_of_c1_are_of_one_length_and_network(change, tmp_path):
    """Its table tells rows by start and augmentation alone."""
    target = tmp_path / "reference"
    recorded_alone(tmp_path, "a", "10_imagenet_versus_scratch")
    recorded_alone(tmp_path, "b", "10_imagenet_versus_scratch", seed=1, **change)
    write_reference([tmp_path / "a"], target)
    with pytest.raises(ValueError, match=f"{next(iter(change))} is .* along one row"):
        write_reference([tmp_path / "b"], target, add=True)


@pytest.mark.slow
def test_a_run_that_serves_two_studies_has_one_result(tmp_path):
    target = tmp_path / "reference"
    _, run = recorded_alone(tmp_path, "a")
    write_reference([tmp_path / "a"], target)
    recorded_alone(tmp_path, "b", "21_few_labels")  # the same run, read
    (file,) = (tmp_path / "b" / "tables").glob("*-runs.csv")
    table = pd.read_csv(file)
    table.assign(accuracy=table["accuracy"] + 0.01).to_csv(file, index=False)
    with pytest.raises(ValueError, match=f"run {run.id}.*21_few_labels.*two results"):
        write_reference([tmp_path / "b"], target, add=True)
    table.to_csv(file, index=False)
    write_reference([tmp_path / "b"], target, add=True)
    assert recorded_runs(target)[0]["run"].tolist() == [run.id] * 2


@pytest.mark.slow
def test_what_fails_while_tables_are_made_leaves_the_record_as_it_was(tmp_path, monkeypatch):
    target = tmp_path / "reference"
    recorded_alone(tmp_path, "a")
    recorded_alone(tmp_path, "b", seed=1)
    write_reference([tmp_path / "a"], target)
    before = {file: file.read_bytes() for file in target.rglob("*.*")}

    def refuse(*_, **__):
        raise ValueError("no claim holds")

    monkeypatch.setattr(record, "effect_table", refuse)
    with pytest.raises(ValueError, match="no claim"):
        write_reference([tmp_path / "b"], target, add=True)
    assert {file: file.read_bytes() for file in target.rglob("*.*")} == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("text", "said"), [("study\n", "column run is missing"), ("", "cannot be")]
)
def test_a_torn_table_of_runs_is_named(text, said, tmp_path):
    recorded_alone(tmp_path, "a")
    (file,) = (tmp_path / "a" / "tables").glob("*-runs.csv")
    file.write_text(text)
    with pytest.raises(ValueError, match=f"{file.name}.*{said}.*repeat the notebook"):
        write_reference([tmp_path / "a"], tmp_path / "reference")


@pytest.mark.slow
def test_a_torn_record_is_named(tmp_path):
    recorded_alone(tmp_path, "a")
    target = write_reference([tmp_path / "a"], tmp_path / "reference")
    whole = (target / "predictions.npz").read_bytes()
    (target / "predictions.npz").write_bytes(whole[:50])
    with pytest.raises(ValueError, match="predictions.npz cannot be read"):
        recorded_runs(target)
    for name in ("predictions", "correct"):
        (target / f"{name}.npz").unlink()
    with pytest.raises(FileNotFoundError, match="correct.npz is missing"):
        recorded_runs(target)


def test_readmes_row_is_of_one_network():
    runs, _ = recorded_runs()
    own = runs[runs["study"] == "20_hmtl_emotion"]
    other = own.assign(run=own["run"] + "x", arch="resnet18", accuracy=0.5)
    rows = readme_table(pd.concat([own, other])).splitlines()
    assert len(rows) - 2 == 2 * (len(readme_table(own).splitlines()) - 2)
    for row in readme_table(own).splitlines()[2:]:
        data, rest = row.removeprefix("| ").split(" | ", 1)
        assert f"| {data}, tiny | {rest}" in rows


def test_the_committed_record_agrees_with_itself():
    table, outcomes = recorded_runs()
    for row in table.itertuples():
        if row.task in ("emotion", "gender"):
            assert row.accuracy == pytest.approx(outcomes[row.run].mean(), abs=1e-5)
        elif row.task != "pretraining":
            assert row.mae == pytest.approx(outcomes[row.run].mean(), abs=1e-2)
    assert not table.duplicated(["study", "run"]).any()
    pd.testing.assert_frame_equal(runs_in_order(table), table)
    for _, own in table.groupby("study"):  # in one order, however the record was put together
        real = own["data"].map(["faces", "ferplus"].index)
        places = list(zip(real, own["fraction"], strict=True))
        assert places == sorted(places)
    arms = table[table["study"] == "20_hmtl_emotion"]
    seeds = arms.groupby(["data", "fraction", "method"])["seed"].nunique()
    assert set(arms["data"]) == {"faces", "ferplus"}
    assert set(arms["fraction"]) == {0.2, 1.0}
    assert seeds.min() >= 2


def test_a_row_recorded_later_stands_where_the_other_data_sets_have_it():
    """In-painting first on FER+, the baselines later: the table still begins with these."""
    runs = [
        ("faces", 1.0, "SL", 16, 1), ("faces", 0.2, "SL", 16, 0), ("faces", 1.0, "SL", 32, 0),
        ("faces", 1.0, "SL", 16, 0), ("faces", 1.0, "inpainting_grid_pl (paired)", 16, 0),
        ("ferplus", 1.0, "inpainting_grid_pl (paired)", 6, 0), ("ferplus", 1.0, "SL", 6, 0),
        ("ferplus", 1.0, "SL", 6, 1), ("ferplus", 1.0, "SL", 12, 0),
    ]  # fmt: skip
    table = pd.DataFrame(runs, columns=["data", "fraction", "method", "epochs", "seed"])
    table = table.assign(study="20_hmtl_emotion", task="emotion", arch="tiny", bs=32)
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


def test_seeds_added_to_some_rows_of_a_study_leave_its_rows_in_order():
    cells = [(init, augment) for init in ("scratch", "imagenet") for augment in ("none", "strong")]
    fixed = {"study": "10_imagenet_versus_scratch", "task": "emotion", "arch": "tiny", "bs": 64}
    fixed |= {"data": "faces", "fraction": 1.0, "method": "SL", "epochs": 4}
    rows = [{**fixed, "start": i, "augment": a, "seed": s} for s in (0, 1) for i, a in cells]
    before = runs_in_order(pd.DataFrame(rows[:4]))
    new = pd.DataFrame([row for row in rows[4:] if row["augment"] == "strong"])
    found = runs_in_order(pd.concat([new, before]), before)
    assert [(r.start, r.augment) for r in found.itertuples()] == [
        cells[0], cells[1], cells[1], cells[2], cells[3], cells[3]
    ]  # fmt: skip


def test_rows_added_to_a_record_follow_its_own():
    """Whatever the order in which they come, and each network by itself."""
    columns = ["arch", "method", "seed"]
    old = [("tiny", "SL", 0), ("tiny", "second_view (paired)", 0), ("other", "SL", 0)]
    new = [("tiny", "jigsaw_2x2 (paired)", 0), ("other", "SL", 1), ("tiny", "SL", 1)]

    def table(rows):
        own = pd.DataFrame(rows, columns=columns).assign(study="28", data="faces", task="emotion")
        return own.assign(fraction=0.2, epochs=9, bs=32)

    found = runs_in_order(table(new + old), table(old))
    assert list(found[columns].itertuples(index=False, name=None)) == [
        ("tiny", "SL", 1), ("tiny", "SL", 0), ("tiny", "second_view (paired)", 0),
        ("other", "SL", 1), ("other", "SL", 0), ("tiny", "jigsaw_2x2 (paired)", 0),
    ]  # fmt: skip


@pytest.mark.slow
def test_columns_of_a_record_keep_their_places_when_runs_are_added(tmp_path):
    headers = []
    for name in ("puzzling_2x2", "image_rotation"):  # each has a score of its own
        recorded_alone(tmp_path, name, pretexts=(name,))
        write_reference([tmp_path / name], tmp_path / "reference", add=True)
        headers.append(list(pd.read_csv(tmp_path / "reference" / "runs.csv", nrows=0)))
    assert headers[1] == [*headers[0], "image_rotation_score"]


@pytest.mark.slow
def test_an_older_table_that_tells_less_leaves_room_for_one_that_tells_more(tmp_path):
    """Learning rates recorded before their share of the labels and start were."""
    here, _ = recorded_alone(tmp_path, "new")
    old = {"study": "20_hmtl_emotion", "data": "mini", "task": "emotion", "arch": "tiny"}
    old = pd.DataFrame([old | {"method": name, "epochs": 1, "chosen": 1.0} for name in "ab"])
    new = old[old["method"] == "a"].drop(columns="study").assign(start="scratch", chosen=2.0)
    here.save(pd.concat([new.assign(fraction=share) for share in (0.2, 1.0)]), "learning-rates")
    target = tmp_path / "reference"
    (target / "tables").mkdir(parents=True)
    write_reference([tmp_path / "new"], target)
    file = target / "tables" / "learning-rates.csv"
    old.to_csv(file, index=False)
    write_reference([tmp_path / "new"], target, add=True)
    kept = pd.read_csv(file)
    assert kept.groupby("method")["chosen"].apply(list).to_dict() == {"a": [2.0, 2.0], "b": [1.0]}
    # the older row beside newer ones, which say nothing in its place, leaves when told anew
    here.save(new.assign(method="b", fraction=1.0), "learning-rates")
    write_reference([tmp_path / "new"], target, add=True)
    kept = pd.read_csv(file)
    assert kept.groupby("method")["chosen"].apply(list).to_dict() == {"a": [2.0, 2.0], "b": [2.0]}


@pytest.mark.slow
def test_two_protocols_are_refused_before_anything_is_written(tmp_path):
    for name, changes in (("a", {}), ("b", {"seed": 1, "lr": 1e-3})):
        recorded_alone(tmp_path, name, **changes)
    with pytest.raises(ValueError, match="lr is .* along one row"):
        write_reference([tmp_path / "a", tmp_path / "b"], tmp_path / "reference")
    assert not (tmp_path / "reference").exists()
    write_reference([tmp_path / "a", tmp_path / "a"], tmp_path / "reference")
    assert len(recorded_runs(tmp_path / "reference")[0]) == 1  # one run in two folders is one


@pytest.mark.slow
def test_a_seed_made_anew_by_another_version_is_no_second_seed(tmp_path, monkeypatch):
    recorded_alone(tmp_path, "a")
    target = write_reference([tmp_path / "a"], tmp_path / "reference")
    before = {file: file.read_bytes() for file in target.rglob("*.csv")}
    monkeypatch.setattr("hmtl.runs.store.__version__", "99.0")
    recorded_alone(tmp_path, "b")
    with pytest.raises(ValueError, match="several runs of one seed"):
        write_reference([tmp_path / "b"], target, add=True)
    assert {file: file.read_bytes() for file in target.rglob("*.csv")} == before


@pytest.mark.slow
def test_rates_leave_the_record_with_the_runs_they_chose(tmp_path):
    rates = {"data": "mini", "task": "emotion", "arch": "tiny", "method": "SL", "epochs": 1}
    here, _ = recorded_alone(tmp_path, "a")
    here.save(pd.DataFrame([rates | {"chosen": 0.004}]), "learning-rates")
    target = write_reference([tmp_path / "a"], tmp_path / "reference")
    file = target / "tables" / "learning-rates.csv"
    assert len(pd.read_csv(file)) == 1
    recorded_alone(tmp_path, "b", seed=5)  # chosen from no rates
    write_reference([tmp_path / "b"], target, keep=True)
    assert recorded_runs(target)[0]["seed"].tolist() == [5]
    assert len(pd.read_csv(file)) == 0
