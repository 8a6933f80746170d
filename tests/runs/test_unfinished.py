"""A run may be cut off at any moment, and several processes may share a store: nothing is lost."""

import dataclasses
import errno
import json
import os
import random
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from forked import processes, run_python
from killed import train
from safetensors.torch import load_file

from hmtl.data.pack import write_pack
from hmtl.files import hash_file
from hmtl.labels import EMOTIONS
from hmtl.method.balance import BALANCES
from hmtl.method.optim import OPTIMIZERS
from hmtl.method.tasks.pose import ANGLES
from hmtl.runs import fit as R
from hmtl.runs import unfinished as U
from hmtl.runs.fit import Diverged, fit, replay, run_all
from hmtl.runs.specs import PRESETS, RunSpec
from hmtl.runs.store import load_run, run_id, runs_table
from hmtl.study.tables import gains, outcomes_by_run, summary

pytestmark = pytest.mark.slow

PUZZLE = {"pretexts": ["puzzling_2x2"]}
SPECS = [
    {},
    {**PUZZLE, "precision": "bf16", "sampling": "balanced", "fraction": 0.5, "fill": True},
    {**PUZZLE, "views": "shared", "balance": "uncertainty", "augment": "strong"},
    {**PUZZLE, "balance": "gradnorm", "optimizer": "adabelief_lookahead", "schedule": "steps"},
    {"pretexts": ["puzzling_2x2", "second_view"], "balance": "dwa", "multiscale": True},
]
BASE = {"epochs": 4, "bs": 16, "size": 32, "seed": 3}
ANSWERS = ("metrics.csv", "predictions.csv", "best.json", "model.safetensors")


def bars(folder, train, rest):
    """Noisy pictures of 32 pixels with a bar that says the emotion, and a head pose."""
    rng, count = np.random.default_rng(0), train + 2 * rest
    classes = np.arange(count) % len(EMOTIONS)
    images = rng.integers(0, 200, (count, 32, 32, 3)).astype(np.uint8)
    for image, value in zip(images, classes, strict=True):
        image[8:24, 3 + 3 * value : 6 + 3 * value] += 50
    labels = pd.DataFrame(
        {
            "key": [f"{i:04d}" for i in range(count)],
            "split": np.repeat(["train", "valid", "test"], [train, rest, rest]),
            "emotion": np.array(EMOTIONS)[classes],
            **{angle: rng.normal(0, 20, count) for angle in ANGLES},
        }
    )
    return write_pack(folder, images, labels, source="bars")


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return bars(tmp_path_factory.mktemp("packs") / "bars", 160, 80)


def answers(path):
    return {name: (path / name).read_bytes() for name in ANSWERS if (path / name).is_file()}


def only_run(store):
    """The one finished run of a store, which must hold nothing else."""
    (path,) = [p for p in store.iterdir() if p.name != U.FOLDER]
    assert not list((store / U.FOLDER).iterdir())
    return path


# -- killed at random moments ----------------------------------------------------------------------


def start(store, values, pack, context=None):
    """A process that trains, and has begun to."""
    context = context or processes()
    started = context.Event()
    process = context.Process(target=train, args=(values, str(store), str(pack.path), started))
    process.start()
    assert started.wait(300)
    return process


def test_twenty_kills_at_random_moments_leave_no_trace_in_the_run(tmp_path):
    pack = bars(tmp_path / "bars", 96, 48)
    rng, met = random.Random(0), []
    for number, changes in enumerate(SPECS):
        values = [{**BASE, **changes}]
        process = start(tmp_path / f"whole-{number}", values, pack)
        began = time.perf_counter()  # as kills count, without the first process's imports
        process.join()
        takes = time.perf_counter() - began
        whole = only_run(tmp_path / f"whole-{number}")
        assert len(answers(whole)) == len(ANSWERS)
        for kill in range(4):
            store = tmp_path / f"{number}-{kill}"
            process = start(store, values, pack)
            process.join(takes * (kill + rng.random()) / 4)
            process.kill()
            process.join()
            again = start(store, values, pack)
            again.join()
            assert again.exitcode == 0
            resumed = only_run(store)
            assert resumed.name == whole.name
            assert answers(resumed) == answers(whole), (changes, kill)
            met.append(load_run(resumed).machine["taken_up"])
    assert len(met) == 20
    assert sum(met) >= 5, met  # the kills met trainings, not imports only


# -- in one process: every pretext, balance and optimizer ------------------------------------------


def two_fits(spec, pack, tmp_path, monkeypatch):
    """The same fit, whole and from the state after its first epoch; (model, heads, scores) each."""
    first = tmp_path / "first"

    def keep_first(folder, state):
        if state["epoch"] == 1:
            write(first, state)

    write = U.write_state
    monkeypatch.setattr(U, "write_state", keep_first)
    out = []
    for folder in (tmp_path / "none", first):
        learn = R._fit(spec, pack, folder)[0]
        heads = learn.hybrid.heads if hasattr(learn, "hybrid") else {}
        out.append(
            (
                learn.model.state_dict(),
                {name: head.state_dict() for name, head in heads.items()},
                [list(row) for row in learn.recorder.values],
            )
        )
    return out


def same(one, other):
    """Whether two nested values agree to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


STUDY = PRESETS["study"]
VARIANTS = [
    *({"pretexts": [name]} for name in (*STUDY.tasks, *STUDY.inpaintings, "second_view")),
    *({**PUZZLE, "balance": name} for name in BALANCES),
    *({"optimizer": name} for name in OPTIMIZERS),
    {"task": "head_pose", "pretexts": ["second_view"]},
    {"task": "head_pose_bins"},
    {"task": "pretraining", **PUZZLE, "views": "shared"},
    {**PUZZLE, "schedule": "warmup_cosine", "weighted": True},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_any_training_goes_on_from_its_first_epoch_as_if_it_had_not_stopped(
    changes, pack, tmp_path, monkeypatch
):
    spec = RunSpec(**{**BASE, "epochs": 2, "bs": 32, **changes})
    whole, resumed = two_fits(spec, pack, tmp_path, monkeypatch)
    assert len(whole[2]) == 2
    assert same(list(whole), list(resumed))


def test_a_state_that_is_not_all_there_would_be_noticed(pack, tmp_path, monkeypatch):
    """The comparison above can fail: without its random numbers a fit ends elsewhere."""
    monkeypatch.setattr(U, "_set_random_state", lambda learn, state: None)
    spec = RunSpec(**{**BASE, "epochs": 2, "augment": "strong"})
    whole, resumed = two_fits(spec, pack, tmp_path, monkeypatch)
    assert not same(list(whole), list(resumed))


def test_a_state_comes_back_as_it_was_written(tmp_path):
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    state = {
        "epoch": 7,
        "a": [weight, {"b": 0.1, "c": None}],
        "d": torch.tensor(3),
        "n": np.int8(2),
    }
    file = U.write_state(tmp_path, state)
    read = U.read_state(tmp_path)
    assert same(read["a"], [weight, {"b": 0.1, "c": None}])
    assert read["n"] == 2
    assert U.write_state(tmp_path, {**state, "epoch": 8}).name.startswith("epoch-00008")
    assert not file.exists()


def test_a_broken_state_is_named_and_not_read(pack, tmp_path):
    spec = RunSpec(**{**BASE, "epochs": 1})
    path = tmp_path / run_id(spec, pack.fingerprint)
    file = U.write_state(tmp_path / U.FOLDER / path.name, {"epoch": 1, "x": torch.zeros(9)})
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.warns(UserWarning, match="is broken"):
        assert fit(spec, store=tmp_path, pack=pack).machine["taken_up"] == 0


def test_a_state_of_other_code_is_named_with_a_remedy(pack, tmp_path):
    spec = RunSpec(**{**BASE, "epochs": 2})
    folder = tmp_path / U.FOLDER / run_id(spec, pack.fingerprint)
    U.write_state(folder, {"epoch": 1, "learn": {"model": {"other": torch.zeros(1)}}})
    with pytest.raises(ValueError, match=rf"{folder.name}: the state in it does not fit.*delete"):
        fit(spec, store=tmp_path, pack=pack)


class Spell:
    """What would run code if it were unpickled."""

    def __reduce__(self):
        return Path.touch, (Path(os.environ["SPELL"]),)


@pytest.mark.parametrize("content", [{"epoch": 1, "x": Spell()}, {"epoch": Path("x")}, b"no zip"])
def test_a_state_that_is_more_than_tensors_is_refused(pack, tmp_path, monkeypatch, content):
    """Though its name has its hash: whoever can write there can make one that fits."""
    monkeypatch.setenv("SPELL", str(tmp_path / "cast"))
    spec = RunSpec(**{**BASE, "epochs": 1})
    folder = tmp_path / "store" / U.FOLDER / run_id(spec, pack.fingerprint)
    folder.mkdir(parents=True)
    file = folder / "new"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    file = file.rename(folder / f"epoch-00001-{hash_file(file)[:16]}.pt")
    with pytest.raises(ValueError, match=rf"{file.name} cannot be read.*begins anew"):
        fit(spec, store=tmp_path / "store", pack=pack)
    assert not (tmp_path / "cast").exists()


def test_what_a_kill_left_after_the_very_end_goes_when_the_run_is_read(pack, tmp_path):
    spec = RunSpec(**{**BASE, "epochs": 1})
    run = fit(spec, store=tmp_path, pack=pack)
    left = tmp_path / U.FOLDER / run.id
    for read in (lambda: fit(spec, store=tmp_path, pack=pack), lambda: R._finished(run.path)):
        U.write_state(left, {"epoch": 1})
        assert read().path == run.path
        assert only_run(tmp_path) == run.path


# -- one store, many writers -----------------------------------------------------------------------


def test_two_processes_share_a_grid_and_a_third_takes_over_from_the_killed(pack, tmp_path):
    values = [{**BASE, "epochs": 2, "seed": seed} for seed in range(6)]
    store, context = tmp_path / "store", processes()
    victim = start(store, values, pack, context)
    helpers = [start(store, values, pack, context) for _ in range(2)]
    late = time.monotonic() + 300
    while not list((store / U.FOLDER).glob("*/epoch-*")):
        assert time.monotonic() < late, "no state was seen"
        time.sleep(0.02)
    victim.kill()
    for helper in helpers:
        helper.join()
        assert helper.exitcode == 0
    finished = [p for p in store.iterdir() if p.name != U.FOLDER]
    specs = [RunSpec.from_dict(value) for value in values]
    assert {p.name for p in finished} == {run_id(s, pack.fingerprint) for s in specs}
    assert not list((store / U.FOLDER).iterdir())
    for spec in specs:
        alone = fit(spec, pack=pack, store=tmp_path / "alone")
        assert answers(alone.path) == answers(store / alone.id)


def test_no_run_is_made_twice_while_another_process_makes_it(pack, tmp_path):
    spec = RunSpec(**{**BASE, "epochs": 2})
    path = tmp_path / run_id(spec, pack.fingerprint)
    with U.claim(path):
        with pytest.raises(U.Claimed, match=f"{path.name} is being trained"):
            fit(spec, pack=pack, store=tmp_path, wait=False)
        assert not path.exists()
    assert fit(spec, pack=pack, store=tmp_path, wait=False).path == path


def test_what_a_kill_left_of_a_half_written_run_goes_away(pack, tmp_path):
    spec = RunSpec(**{**BASE, "epochs": 1})
    left = tmp_path / f".tmp-{run_id(spec, pack.fingerprint)}-abc"
    left.mkdir()
    (left / "metrics.csv").write_text("half")
    fit(spec, pack=pack, store=tmp_path)
    assert not left.exists()


# -- a full disk, a store that cannot be written ---------------------------------------------------


def test_a_full_disk_says_so_and_the_run_goes_on_later(pack, tmp_path, monkeypatch):
    spec = RunSpec(**{**BASE, **SPECS[2]})
    whole = fit(spec, pack=pack, store=tmp_path / "whole")
    write = U.write_state

    def fill(folder, state):
        if state["epoch"] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(folder, state)

    with monkeypatch.context() as patch:
        patch.setattr(U, "write_state", fill)
        with pytest.raises(OSError, match="cannot be written.*No space left.*goes on from"):
            fit(spec, pack=pack, store=tmp_path / "store")
    assert [p.name for p in (tmp_path / "store").iterdir()] == [U.FOLDER]
    again = fit(spec, pack=pack, store=tmp_path / "store")
    assert again.machine["taken_up"] == 1
    assert answers(again.path) == answers(whole.path)


def test_a_disk_that_takes_no_large_file_leaves_the_store_whole(pack, tmp_path):
    """The system itself refuses here: a limit on the size of files, as a full quota."""
    code = (
        "import json, resource, sys; sys.path.insert(0, sys.argv[1]); import killed, torch\n"
        "from hmtl.runs import fit\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "killed.train([json.loads(sys.argv[2])], sys.argv[3], sys.argv[4])"
    )
    values = {**BASE, "epochs": 1}
    done = run_python("-c", code, "tests/helpers", json.dumps(values), tmp_path, pack.path)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000
    assert done.returncode == 1
    assert "cannot be written (File too large)" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == [U.FOLDER]
    assert not list(tmp_path.rglob("epoch-*.pt"))


def test_a_store_where_nothing_may_be_written_is_named(pack, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"the run store .*file.* cannot be written.*HMTL_OUTPUTS"):
        fit(RunSpec(**BASE), pack=pack, store=tmp_path / "file" / "runs")


# -- a loss that is not finite ---------------------------------------------------------------------

ODD = RunSpec(**{**BASE, **PUZZLE})  # ten batches an epoch


@pytest.fixture(scope="module")
def whole(pack, tmp_path_factory):
    """The run that ODD makes if all its losses are finite, and the targets of its batches."""
    from hmtl.method.pretext import Puzzling

    targets, loss = [], Puzzling.loss

    def recorded(self, prediction, target):
        if torch.is_grad_enabled():
            targets.append(target.clone())
        return loss(self, prediction, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Puzzling, "loss", recorded)
        run = fit(ODD, pack=pack, store=tmp_path_factory.mktemp("whole"))
    assert len(targets) == 40
    return run, targets


@pytest.fixture
def odd(whole, monkeypatch):
    """The puzzles of the 24th batch, the 4th of epoch 3, have an infinite loss."""
    from hmtl.method.pretext import Puzzling

    loss, chosen = Puzzling.loss, whole[1][23]

    def infinite(self, prediction, target):
        value = loss(self, prediction, target)
        return value * float("inf") if torch.equal(target, chosen) else value

    monkeypatch.setattr(Puzzling, "loss", infinite)


def test_a_loss_that_is_not_finite_stops_the_run_and_is_kept_for_replay(odd, whole, pack, tmp_path):
    with pytest.raises(Diverged, match=r"puzzling_2x2.*batch 4 of epoch 3, seed 3") as told:
        fit(ODD, pack=pack, store=tmp_path)
    run = load_run(told.value.path)
    assert run.failure["losses"]["puzzling_2x2"] == "inf"
    assert np.isfinite(float(run.failure["losses"]["supervised"]))
    assert len(set(run.failure["faces"])) == ODD.bs
    assert set(run.failure["faces"]) <= set(pack.labels["key"][pack.rows("train")])
    # what was trained before is the same as without the failure
    assert len(run.metrics) == 2
    pd.testing.assert_frame_equal(run.metrics, whole[0].metrics.iloc[:2])
    # a second call does not train it again
    before = {p: p.stat().st_mtime_ns for p in run.path.iterdir()}
    with pytest.raises(Diverged, match="batch 4 of epoch 3"):
        fit(ODD, pack=pack, store=tmp_path)
    assert before == {p: p.stat().st_mtime_ns for p in run.path.iterdir()}
    # and the batch comes again to the bit
    again, kept = replay(run, pack=pack), load_file(run.path / "failure.safetensors")
    assert torch.equal(again["images"], kept["images"])
    assert torch.equal(again["labels"][0], kept["labels.0"])
    assert {k: repr(v) for k, v in again["losses"].items()} == run.failure["losses"]
    assert any(name.startswith("puzzling_2x2.") for name in kept)
    with pytest.raises(ValueError, match="did not fail"):
        replay(whole[0], pack=pack)


def test_a_study_goes_on_after_a_failure_and_its_tables_show_it(odd, pack, tmp_path, monkeypatch):
    monkeypatch.setattr(RunSpec, "load", lambda *a, **k: pack)
    plain = [dataclasses.replace(ODD, pretexts=(), seed=seed, epochs=3) for seed in (3, 4)]
    hybrid = [dataclasses.replace(ODD, seed=seed, epochs=3) for seed in (3, 4)]
    runs = run_all([*hybrid, *plain], store=tmp_path, jobs=1, progress=False)
    assert [bool(run.failure) for run in runs] == [True, False, False, False]
    table = runs_table(runs).assign(study="x")
    assert "batch 4 of epoch 3" in table["failure"][0]
    assert table["failure"][1:].isna().all()
    assert np.isnan(table["accuracy"][0])
    assert table["accuracy"][1:].notna().all()
    outcomes = outcomes_by_run(runs)
    assert len(outcomes) == 3
    rows = summary(table, ["method"]).set_index("method")
    assert rows.loc[hybrid[0].method, ["seeds", "failed"]].tolist() == [2, 1]
    assert rows.loc["SL", "failed"] == 0
    assert rows.loc[hybrid[0].method, "accuracy %"] == f"{100 * table['accuracy'][1]:.1f}"
    gained = gains(table, outcomes, ["SL"]).set_index("method").loc[hybrid[0].method]
    assert gained["failed"] == 1
    one = 100 * (table["accuracy"][1] - table["accuracy"][3])  # only the other seed pairs
    assert float(gained["− SL"]) == pytest.approx(one, abs=0.051)
    # what would start from it says why it cannot, and the others are made
    starts = [dataclasses.replace(plain[0], init=str(run.path), epochs=1) for run in runs[:2]]
    with pytest.raises(RuntimeError, match=r"1 of 2 runs(?s:.*)no run can start.*batch 4 of"):
        run_all(starts, store=tmp_path, jobs=1, progress=False)
    assert len(list(tmp_path.glob("[!.]*"))) == 5


def test_a_failure_in_the_very_first_epoch_has_a_row_too(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(RunSpec, "load", lambda *a, **k: pack)
    # so large a step that the second batch's variances overflow
    (run,) = run_all([RunSpec(**{**BASE, "lr": 1e30})], store=tmp_path, jobs=1, progress=False)
    assert run.failure["epoch"] == 1
    assert run.failure["losses"]["total"] == "nan"
    assert not list(run.path.glob("epoch-*"))
    assert summary(runs_table([run]), ["method"])["failed"][0]
    assert np.isnan(replay(run, pack=pack)["losses"]["total"])
