"""Runs: their identity, their reproducibility, and a store that a crash cannot break."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from forked import processes, run_python
from safetensors.torch import load_file
from tested_again import predict_test
from toys import reseal

from hmtl import Gender, Puzzling, load
from hmtl.__main__ import main
from hmtl.files import write_record
from hmtl.method.optim import OPTIMIZERS
from hmtl.runs import fit as R
from hmtl.runs.fit import fit, run_all
from hmtl.runs.specs import RunSpec, grid
from hmtl.runs.store import Run, load_run, run_id, runs_table, score_predictions, start_of
from hmtl.study.tables import outcomes_by_run

pytestmark = pytest.mark.slow

# the smallest honest training: one epoch over the shipped faces
SPEC = RunSpec(data="mini", epochs=1, bs=64, pretexts=("puzzling_2x2",))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished hybrid run."""
    return fit(SPEC, store=tmp_path_factory.mktemp("store"))


def test_a_run_is_reproduced_to_the_bit_from_its_seed(run, tmp_path):
    torch.manual_seed(99)  # what happened before must not matter
    again = fit(SPEC, store=tmp_path)
    for name in ("predictions.csv", "metrics.csv", "model.safetensors"):
        assert (again.path / name).read_bytes() == (run.path / name).read_bytes(), name
    other = fit(dataclasses.replace(SPEC, seed=1), store=tmp_path)
    assert (other.path / "predictions.csv").read_bytes() != (
        run.path / "predictions.csv"
    ).read_bytes()


def test_a_run_in_a_process_of_its_own_gives_the_same_bits(run, tmp_path):
    """With other threads allowed outside: a run trains on one, so cores do not matter."""
    code = (
        "import torch; torch.set_num_threads(2)\n"
        "from hmtl.runs.fit import fit\n"
        "from hmtl.runs.specs import RunSpec\n"
        f"fit(RunSpec.from_dict({dataclasses.asdict(SPEC)!r}), store={str(tmp_path)!r})"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("[!.]*")
    assert (path / "predictions.csv").read_bytes() == (run.path / "predictions.csv").read_bytes()


def test_the_folder_holds_everything_and_nothing_of_the_pretext(run):
    names = {p.name for p in run.path.iterdir()}
    assert names == {
        "spec.json", "metrics.csv", "predictions.csv", "model.safetensors", "machine.json",
        "best.json",
    }  # fmt: skip
    assert load_run(run.path).spec == SPEC
    assert len(run.metrics) == 1
    assert np.isfinite(run.metrics.to_numpy(float)).all()
    assert not any("puzzling" in k for k in load_file(run.path / "model.safetensors"))
    assert len(run.predictions) == SPEC.load().labels["split"].eq("test").sum()
    shares = run.predictions.filter(like="p_").to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-4)
    assert {"seconds", "cpu_seconds", "commit", "torch"} <= set(run.machine)


def test_saved_weights_give_the_saved_predictions(run):
    learn = R.build_learner(SPEC, SPEC.load(), device="cpu")
    learn.model.load_state_dict(load_file(run.path / "model.safetensors"))
    learn.model.eval()
    with torch.no_grad():
        out = torch.cat([learn.model(x).softmax(1) for x, _ in learn.dls[2]])
    expected = run.predictions.filter(like="p_").to_numpy()
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-4)


def test_a_finished_run_is_read_not_repeated(run, monkeypatch):
    monkeypatch.setattr(R, "_train", lambda *a: pytest.fail("trained again"))
    assert fit(SPEC, store=run.path.parent).path == run.path
    assert run_all([SPEC, SPEC], store=run.path.parent)[1].path == run.path


def test_identity_follows_all_that_can_change_the_numbers(run):
    data = "abc"
    base = run_id(SPEC, data)
    changes = {
        "fraction": 0.5, "augment": "none", "epochs": 2, "lr": 1e-3, "seed": 1, "views": "shared",
        "pretext_weight": 0.5, "init": "imagenet", "weighted": True, "bs": 32, "task": "gender",
        "precision": "bf16",
    }  # fmt: skip
    ids = {run_id(dataclasses.replace(SPEC, **{k: v}), data) for k, v in changes.items()}
    assert len(ids | {base}) == len(changes) + 1
    assert run_id(SPEC, "abd") != base
    # what means nothing to a supervised run does not give it a second name
    plain = RunSpec()
    assert run_id(dataclasses.replace(plain, views="shared"), data) == run_id(plain, data)


def test_identity_says_which_kind_of_gpu(monkeypatch):
    ids = set()
    for cuda, mps in ((False, False), (True, False), (False, True)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        ids.add(run_id(SPEC, "abc"))
    assert len(ids) == 3
    assert R.here_and_now()["gpu"] == "mps"


def test_a_new_field_renames_no_run(monkeypatch):
    """The names that version 0.3.0 gave on a CPU before runs had a task."""
    monkeypatch.setattr("hmtl.runs.store.__version__", "0.3.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(Puzzling, "revision", 1)
    puzzle = {"pretexts": ("puzzling_2x2",)}
    for fields, name in (
        ({}, "mini-tiny-sl-s0-348954e20ed9"),
        (puzzle, "mini-tiny-puzzling_2x2-paired-s0-e9bcb159fe1d"),
        (puzzle | {"label_views": True}, "mini-tiny-puzzling_2x2-paired-s0-e9bcb159fe1d"),
        # since then their views leave no trace in batch norm
        (puzzle | {"label_views": False}, "mini-tiny-puzzling_2x2-paired-s0-a711107192e6"),
    ):
        assert run_id(RunSpec(**fields, task="emotion"), "fixed") == name


def test_how_weights_are_updated_is_part_of_the_identity_if_it_is_not_the_usual():
    assert not {"optimizer", "schedule"} & set(json.loads(SPEC.to_json()))
    changes = [{"optimizer": "adabelief"}, {"optimizer": "adabelief_lookahead"}]
    changes += [{"schedule": "steps"}, {"schedule": "warmup_cosine"}]
    ids = {run_id(dataclasses.replace(SPEC, **change), "abc") for change in changes}
    assert len(ids | {run_id(SPEC, "abc")}) == 5
    seven = dataclasses.replace(SPEC, data="affectnet:classes=7")
    assert run_id(seven, "abc").startswith("affectnet-classes=7-tiny-")
    whole = dataclasses.replace(SPEC, data="affectnet")
    assert dataclasses.replace(SPEC, data="affectnet:classes=8") == whole
    with pytest.raises(ValueError, match="one of , adabelief, adabelief_lookahead"):
        dataclasses.replace(SPEC, optimizer="adam")
    with pytest.raises(ValueError, match="one of , warmup_cosine, steps"):
        dataclasses.replace(SPEC, schedule="cosine")


def test_the_papers_presets_train_by_their_own_rules(tmp_path, monkeypatch):
    used = []
    for name, value in OPTIMIZERS.items():

        def watched(params, lr, name=name, value=value):
            used.append(name)
            return value(params, lr)

        monkeypatch.setitem(OPTIMIZERS, name, watched)
    small = {"arch": "tiny", "size": 48, "epochs": 1}
    for name, optimizer in (("paper", "adabelief_lookahead"), ("paper-first", "adabelief")):
        spec = RunSpec.preset(name, "mini", pretexts=("puzzling_2x2",), **small)
        assert fit(spec, store=tmp_path).metrics["train_loss"].notna().all()
        assert used.pop() == optimizer
        assert not used
    paper, first = RunSpec.preset("paper"), RunSpec.preset("paper-first")
    assert (paper.size, paper.bs, paper.schedule) == (112, 128, "warmup_cosine")
    assert (first.size, first.bs, first.epochs, first.schedule) == (224, 32, 80, "steps")
    assert paper.weighted
    assert not RunSpec.preset("paper", task="head_pose").weighted  # which has no classes
    assert RunSpec.preset("paper", pretexts=("puzzling_2x2",)).multiscale


def test_a_model_chosen_on_the_test_images_is_labelled_so(run, tmp_path, toy_pack, capsys):
    spec = RunSpec(data="affectnet-8:chosen_on=test", size=32, bs=32, epochs=3)
    pack = dataclasses.replace(toy_pack, meta=toy_pack.meta | {"protocol": {"chosen_on": "test"}})
    customary = fit(spec, pack=pack, store=tmp_path)
    assert customary.best["chosen_on"] == "test"
    # the epoch that is best on valid is that of the test images, and so is its score
    found = customary.best["scores"]["accuracy"]
    assert found == pytest.approx(customary.metrics["accuracy"].max(), abs=1e-6)
    clean = fit(dataclasses.replace(spec, data="affectnet-8"), pack=toy_pack, store=tmp_path)
    assert "chosen_on" not in clean.best
    assert runs_table([customary, clean, run])["chosen_on"].tolist() == ["test", "valid", "valid"]


TASK_RUNS = [
    ("gender", ["accuracy", "macro_f1", "mean_recall"]),
    ("head_pose", ["mae", "mae_yaw", "mae_pitch", "mae_roll", "geodesic"]),
    ("head_pose_bins", ["mae", "mae_yaw", "mae_pitch", "mae_roll", "geodesic"]),
]


@pytest.mark.parametrize(("task", "scores"), TASK_RUNS)
def test_every_task_makes_runs_beside_those_of_emotion(run, tmp_path, task, scores):
    other = fit(dataclasses.replace(SPEC, task=task), store=tmp_path)
    assert task in other.id
    assert load_run(other.path).spec.task == task
    assert list(other.scores) == [*scores, "test_faces"]
    assert other.scores["test_faces"] == len(other.predictions) == len(run.predictions)
    assert other.predictions["key"].equals(run.predictions["key"])
    assert other.machine["left_out"] == 0
    table = runs_table([run, other])
    pd.testing.assert_frame_equal(table[:1][list(runs_table([run]))], runs_table([run]))
    assert table["task"].tolist() == ["emotion", task]
    metric = scores[0]
    assert table[f"valid_{metric}"].iloc[1] == other.metrics[metric].iloc[-1]
    assert table["mae"].isna().tolist() == [True, False] if metric == "mae" else True
    assert table["label_views"].tolist() == [True, metric != "mae"]
    outcomes = outcomes_by_run([run, other])
    assert set(outcomes) == {run.id, other.id}
    assert outcomes[other.id].mean() == pytest.approx(other.scores[metric], rel=1e-5)


def test_pretraining_reads_no_label_and_leaves_an_encoder_to_start_from(tmp_path):
    spec = RunSpec(task="pretraining", pretexts=("puzzling_2x2",), views="shared", epochs=1, bs=64)
    before = fit(spec, store=tmp_path)
    assert before.scores == {"test_faces": len(before.predictions)}
    assert list(before.predictions) == ["key"]
    assert before.best == {}
    mini = spec.load()
    other = mini.labels.assign(
        emotion=np.roll(mini.labels["emotion"], 3), gender="female", yaw=0.0, roll=9.0
    )
    pack = dataclasses.replace(mini, labels=other)
    again = fit(spec, store=tmp_path / "other", pack=pack)
    weights, same = (load_file(r.path / "model.safetensors") for r in (before, again))
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    # the run that follows starts from these weights, and says so
    spec = dataclasses.replace(spec, task="emotion", pretexts=(), init=str(before.path))
    start = R.build_learner(spec, mini, device="cpu").model.encoder.body.state_dict()
    for name, tensor in start.items():
        assert torch.equal(tensor, weights[f"encoder.body.{name}"]), name
    after = fit(spec, store=tmp_path)
    table = runs_table([before, after])
    assert table["start"].tolist() == ["scratch", "puzzling_2x2"]
    assert table["accuracy"].isna().tolist() == [True, False]
    assert set(outcomes_by_run([before, after])) == {after.id}
    with pytest.raises(ValueError, match="name the pretexts"):
        RunSpec(task="pretraining")


def test_the_best_epoch_on_valid_is_scored_on_test_too(tmp_path):
    run = fit(RunSpec(epochs=3, lr=0.02, bs=32), store=tmp_path)
    accuracy = run.metrics["accuracy"].tolist()
    assert run.best["epoch"] == accuracy.index(max(accuracy)) + 1
    row = runs_table([run]).iloc[0]
    assert row["best_epoch"] == run.best["epoch"]
    assert row["accuracy_at_best"] == run.best["scores"]["accuracy"]
    shorter = fit(RunSpec(epochs=1, bs=32), store=tmp_path)
    assert shorter.best == {"epoch": 1, "scores": shorter.scores}  # the last one is the best


def test_a_network_is_tested_on_other_faces(run, tmp_path):
    mini = SPEC.load()
    again = predict_test(run, mini)
    assert again["predicted"].equals(run.predictions["predicted"])
    np.testing.assert_allclose(
        again.filter(like="p_"), run.predictions.filter(like="p_"), atol=1e-5
    )
    darker = dataclasses.replace(mini, images=np.array(mini.images) // 4)
    assert not predict_test(run, darker)["p_happy"].equals(again["p_happy"])
    alone = dataclasses.replace(mini, labels=mini.labels.assign(split="test"))
    everyone = predict_test(run, alone)  # a set for tests only, as AFLW2000 is
    assert len(everyone) == len(mini)
    own = everyone[everyone["key"].isin(again["key"])]
    assert own["predicted"].tolist() == again["predicted"].tolist()
    with pytest.raises(ValueError, match="no test faces"):
        predict_test(run, dataclasses.replace(mini, labels=mini.labels.assign(split="train")))


def test_data_that_cannot_be_read_cost_their_own_runs_only(tmp_path):
    broken = RunSpec(data="rafdb", epochs=1)
    whole = RunSpec(epochs=1, bs=64)
    with pytest.raises(RuntimeError, match="1 of 2 runs failed.*\n.*EmoLabel"):
        run_all([broken, whole], root=tmp_path, store=tmp_path / "runs", jobs=1)
    assert len(list((tmp_path / "runs").glob("mini-*"))) == 1
    with pytest.raises(FileNotFoundError, match="EmoLabel"):  # nothing at all: said once
        run_all([broken, dataclasses.replace(broken, seed=1)], root=tmp_path, store=tmp_path)


def test_a_run_that_diverged_is_named_in_a_line_and_has_no_predictions(tmp_path, capsys):
    options = ["--set", "lr", "1e30", "--set", "epochs", "1", "--store", str(tmp_path)]
    assert main(["run", "--preset", "smoke", *options]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("hmtl: loss not finite")
    (folder,) = tmp_path.glob("mini-*")
    assert str(folder) in said
    with pytest.raises(ValueError, match="no predictions, loss not finite"):
        _ = load_run(folder).predictions
    with pytest.raises(ValueError, match="left no network, loss not finite"):
        predict_test(load_run(folder), SPEC.load())
    with pytest.raises(ValueError, match="left no network, loss not finite"):
        load(folder)


def test_a_checkpoint_counts_by_its_bytes(run, tmp_path):
    spec = dataclasses.replace(SPEC, init=str(run.path))
    first = run_id(spec, "abc")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((run.path / "model.safetensors").read_bytes())
    moved = dataclasses.replace(SPEC, init=str(copy))
    before = run_id(moved, "abc")
    with copy.open("ab") as handle:
        handle.write(b" ")
    assert run_id(moved, "abc") != before
    assert run_id(spec, "abc") == first
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run_id(dataclasses.replace(SPEC, init="nowhere"), "abc")


def test_features_of_a_run_count_by_its_weights_and_only_where_they_are_used(run, tmp_path):
    perceptual = dataclasses.replace(SPEC, pretexts=("inpainting_grid_pl",))
    own = dataclasses.replace(perceptual, features=str(run.path))
    moved = shutil.copytree(run.path, tmp_path / "moved")
    assert run_id(own, "abc") == run_id(dataclasses.replace(own, features=str(moved)), "abc")
    assert run_id(own, "abc") != run_id(perceptual, "abc")
    assert own.method.endswith("features of a run)")
    assert dataclasses.replace(SPEC, features=str(run.path)) == SPEC  # a puzzle has none
    trained = fit(dataclasses.replace(own, epochs=1), store=tmp_path)
    assert runs_table([trained])["features"].tolist() == [run.id]  # no place on this machine


def test_a_run_of_an_earlier_revision_of_its_task_is_not_taken_for_its_own(monkeypatch):
    before, other = run_id(SPEC, "abc"), run_id(RunSpec(), "abc")
    monkeypatch.setattr(Puzzling, "revision", 2)
    assert run_id(SPEC, "abc") != before
    assert run_id(RunSpec(), "abc") == other
    both = dataclasses.replace(SPEC, pretexts=("puzzling_rotation_2x2",))
    changed = run_id(both, "abc")
    monkeypatch.setattr(Puzzling, "revision", 1)
    assert run_id(both, "abc") != changed
    monkeypatch.setattr(Gender, "revision", 2)
    assert run_id(RunSpec(), "abc") == other
    gender = run_id(RunSpec(task="gender"), "abc")
    monkeypatch.setattr(Gender, "revision", 1)
    assert run_id(RunSpec(task="gender"), "abc") != gender


def test_a_crash_between_the_files_of_a_run_leaves_none(tmp_path, monkeypatch):
    # after metrics, predictions and weights
    monkeypatch.setattr(R, "write_record", lambda file, record: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(SPEC, store=tmp_path)
    assert list(tmp_path.glob("[!.]*")) == []


def test_a_failed_run_does_not_stop_the_others(tmp_path):
    good, bad = SPEC, dataclasses.replace(SPEC, arch="resnetty")
    with pytest.raises(RuntimeError, match=r"1 of 2 runs failed(?s:.*)resnetty"):
        run_all([bad, good], store=tmp_path, jobs=1, progress=False)
    assert len(list(tmp_path.glob("[!.]*"))) == 1
    assert not list((tmp_path / ".unfinished").iterdir())


def test_a_broken_folder_or_a_start_that_is_not_there_costs_one_run(run, tmp_path):
    broken = tmp_path / run.id
    shutil.copytree(run.path, broken)
    (broken / "spec.json").write_text("{")
    specs = [
        SPEC,
        dataclasses.replace(SPEC, pretexts=(), init=str(tmp_path / "nowhere")),
        dataclasses.replace(SPEC, pretexts=()),
    ]
    with pytest.raises(RuntimeError, match=r"2 of 3 runs failed(?s:.*)delete its folder") as told:
        run_all(specs, store=tmp_path, jobs=1, progress=False)
    assert "no checkpoint there" in str(told.value)
    assert len(list(tmp_path.glob("[!.]*"))) == 2
    shutil.rmtree(broken)
    assert run_all(specs[::2], store=tmp_path, jobs=1, progress=False)[0].path == broken


def fit_or_die(spec, **options):
    """In the place of `fit`: seed 1 is killed in every process, seed 2 in its first one.

    Seed 1 waits for seed 2: were the pool gone before that began, its next process were its first.
    """
    met = Path(options["store"]) / "met-2"
    deadline = time.monotonic() + 60
    while spec.seed == 1 and not met.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    if spec.seed == 1 or (spec.seed == 2 and not met.exists()):
        met.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return spec.seed


def test_a_process_killed_for_its_memory_takes_no_other_run_along(tmp_path, monkeypatch):
    monkeypatch.setattr(R, "fit", fit_or_die)
    monkeypatch.setattr("hmtl.workers.get_context", lambda method: processes())
    specs = grid(SPEC, seed=range(5))
    outcomes = dict(R._attempts(specs, 2, {"store": str(tmp_path)}, None))
    failed = outcomes.pop(specs[1])
    assert isinstance(failed, RuntimeError)
    assert "killed from outside, alone too" in str(failed)
    assert {spec.seed: said for spec, said in outcomes.items()} == {0: 0, 2: 2, 3: 3, 4: 4}


def test_runs_that_have_not_begun_do_not_begin_after_an_interrupt():
    class Idle(Executor):
        def __init__(self):
            self.given = []

        def submit(self, function, *args, **options):
            self.given.append(Future())
            if len(self.given) == 3:
                self.given[0].set_result("made")
            return self.given[-1]

    idle = Idle()
    attempts = R._attempts(grid(SPEC, seed=[0, 1, 2]), 2, {}, idle)
    assert next(attempts)[1] == "made"
    attempts.close()  # as an exception does that leaves the loop over them
    assert [future.cancelled() for future in idle.given] == [False, True, True]


def test_a_run_names_its_processor_and_one_of_before_is_read(run, tmp_path):
    (here,) = runs_table([run])["processor"]
    assert here == R.here_and_now()["processor"]
    file = Path("/proc/cpuinfo")
    if file.is_file() and "model name" in (told := file.read_text()):
        assert f": {here}\n" in told
    file = shutil.copytree(run.path, tmp_path / run.id) / "machine.json"
    told = json.loads(file.read_text())
    del told["processor"]
    file.write_text(json.dumps(told))
    reseal(file.parent)
    assert runs_table([load_run(file.parent)])["processor"].isna().all()


def test_the_commit_is_the_checkouts_own_and_git_need_not_be_there(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    monkeypatch.setattr(R, "__file__", str(tmp_path / "hmtl" / "runs" / "fit.py"))
    assert len(R.here_and_now()["commit"]) >= 7
    monkeypatch.setattr(R, "__file__", str(tmp_path / "venv" / "hmtl" / "runs" / "fit.py"))
    assert R.here_and_now()["commit"] is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert R.here_and_now()["commit"] is None


def test_two_jobs_give_the_runs_of_one(run, tmp_path):
    specs = grid(SPEC, seed=[0, 1])
    made = run_all(specs, store=tmp_path, jobs=2, progress=False)
    assert [r.spec for r in made] == specs
    assert made[0].predictions.equals(run.predictions)


def test_broken_run_folders_are_named(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_run(tmp_path)
    record = json.loads((run.path / "spec.json").read_text())
    record["spec"]["epoch"] = 3
    (tmp_path / "spec.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"spec\.json was changed"):
        load_run(tmp_path)
    reseal(tmp_path)
    with pytest.raises(ValueError, match=r"spec\.json.*epoch"):
        load_run(tmp_path)


def test_scores_against_hand_worked_ones():
    table = pd.DataFrame(
        {"target": ["happy", "happy", "sad", "fear"], "predicted": ["happy", "sad", "sad", "sad"]}
    )
    scores = score_predictions(table)
    assert scores["accuracy"] == 0.5
    assert scores["mean_recall"] == pytest.approx((0.5 + 1 + 0) / 3)
    # F1: happy 2/3, sad 1/2, fear 0, and five classes nobody has
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 8)


def test_runs_table_has_a_row_a_run(run):
    table = runs_table([run])
    assert table.loc[0, "accuracy"] == run.scores["accuracy"]
    assert table.loc[0, "method"] == "puzzling_2x2 (paired)"
    assert 0 <= table.loc[0, "puzzling_2x2_score"] <= 1


def test_a_start_is_found_in_a_store_that_was_moved(tmp_path):
    first = RunSpec(task="pretraining", pretexts=("puzzling_2x2",), views="shared")
    (tmp_path / "new" / "first").mkdir(parents=True)
    record = {"spec": dataclasses.asdict(first), "data": "x"}
    write_record(tmp_path / "new" / "first" / "spec.json", record)
    spec = RunSpec(init=str(tmp_path / "old" / "first"))
    assert start_of(Run(tmp_path / "new" / "second", spec)) == "puzzling_2x2"
    assert start_of(Run(tmp_path / "alone" / "second", spec)) == "checkpoint"
