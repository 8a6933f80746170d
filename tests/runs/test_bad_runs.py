"""Runs and checkpoints whose files were changed: what was written, or an error that names them."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from mutations import age, assert_clear, drawn, mutate_file
from safetensors.torch import load_file, save_file
from tested_again import predict_test
from toys import make_toy_pack, reseal

from hmtl.__main__ import main
from hmtl.labels import EMOTIONS
from hmtl.method.encoder import Encoder
from hmtl.method.pretext.perceptual import FrozenFeatures
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import load_run, run_id, runs_table, why
from hmtl.use.check import check_all
from hmtl.use.predict import answers_of, load

pytestmark = pytest.mark.slow

SPEC = RunSpec(data="mini", epochs=1, bs=64, size=32)
TABLES = ("spec.json", "metrics.csv", "predictions.csv", "best.json", "machine.json")
WEIGHTS = "model.safetensors"


def summary(run):
    """Everything that a run's tables say."""
    return run.spec, run.pack, run.metrics, run.predictions, run.best, run.machine


def same(one, other):
    return all(a.equals(b) if isinstance(a, pd.DataFrame) else a == b
               for a, b in zip(one, other, strict=True))  # fmt: skip


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return make_toy_pack(tmp_path_factory.mktemp("pack") / "toy", count=64)


@pytest.fixture(scope="module")
def run(pack, tmp_path_factory):
    return fit(SPEC, pack=pack, store=tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def folders(run, tmp_path_factory):
    """A function from a version to the folder of a run and what it says."""
    made, folder = {}, tmp_path_factory.mktemp("runs")
    for name in ("sealed", "older", "forged"):
        shutil.copytree(run.path, folder / name)
        if name == "older":
            age(folder / name / "spec.json")
        made[name] = folder / name, summary(load_run(folder / name))
    return lambda version: made[version]


@drawn(["sealed", "older", "forged"], TABLES)
def test_runs(folders, version, name, seed):
    folder, wanted = folders(version)
    whole = {file: (folder / file).read_bytes() for file in {name, "spec.json"}}
    try:
        (folder / name).write_bytes(mutate_file(np.random.default_rng(seed), whole[name]))
        try:
            if version == "forged" and name != "spec.json":
                reseal(folder)
            run = load_run(folder)
            found = summary(run)
            (row,) = runs_table([run]).to_dict("records")
        except (ValueError, OSError) as error:
            assert_clear(error, folder)
            return
        if "files" in run.record and version != "forged":
            assert same(found, wanted)
        # nothing is read otherwise than the files now say
        predictions = pd.read_csv(folder / "predictions.csv")
        assert set(predictions["target"]) | set(predictions["predicted"]) <= set(EMOTIONS)
        right = (predictions["target"] == predictions["predicted"]).mean()
        assert row["accuracy"] == pytest.approx(right)
        assert np.isfinite(predictions.filter(like="p_").to_numpy(float)).all()
        assert run.best == json.loads((folder / "best.json").read_text())
        assert dataclasses.asdict(run.spec)["seed"] == run.record["spec"].get("seed", 0)
    finally:
        for file, content in whole.items():
            (folder / file).write_bytes(content)


@drawn(["sealed", "older"])
def test_weights_and_checkpoints(folders, version, seed):
    """As a run's network, as the start of another run, and as a file by itself."""
    folder, _ = folders(version)
    file = folder / WEIGHTS
    whole = file.read_bytes()
    rng = np.random.default_rng(seed)
    # the header, 8 bytes and some thousand of JSON, is where there is most to break
    cut = int(rng.choice([64, 2000, len(whole)]))
    try:
        file.write_bytes(mutate_file(rng, whole[:cut]) + whole[cut:])
        changed = file.read_bytes() != whole
        kind = rng.integers(0, 3)
        try:
            if kind == 0:
                state = answers_of(load_run(folder)).state_dict()
            elif kind == 1:
                state = Encoder("tiny", str(folder)).state_dict()
            else:
                name = run_id(dataclasses.replace(SPEC, init=str(folder)), "f")
                state = Encoder("tiny", file).state_dict()
        except (ValueError, OSError) as error:
            assert changed
            assert_clear(error, folder)
            return
        assert version == "older" or not changed
        assert all(tensor.isfinite().all() for tensor in state.values())
        if kind == 2 and not changed:
            assert name == run_id(dataclasses.replace(SPEC, init=str(folder)), "f")
        stored = load_file(file)
        for key, tensor in state.items():
            (own,) = [t for k, t in stored.items() if k.endswith(key.removeprefix("model."))]
            assert torch.equal(own, tensor)
    finally:
        file.write_bytes(whole)


def test_a_cut_copy_of_a_run_is_made_anew_or_told(run, pack, tmp_path):
    """An empty folder is nothing; half a run is no finished one, and what to do is said."""
    folder = tmp_path / run.id
    folder.mkdir()
    assert fit(run.spec, store=tmp_path, pack=pack).scores == run.scores
    (folder / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=f"{WEIGHTS} is missing; delete its folder"):
        fit(run.spec, store=tmp_path, pack=pack)


def test_a_failure_that_says_too_little_is_named(run, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "failed")
    whole = {
        "epoch": 1, "batch": 2, "training": True, "losses": {"total": "nan"}, "seed": 0,
        "faces": ["a"],
    }  # fmt: skip

    def said(**changes):
        (folder / "failure.json").write_text(json.dumps({**whole, **changes}))
        reseal(folder)
        return why(load_run(folder))

    assert "(total) in training batch 2 of epoch 1, seed 0" in said()
    for name, value in (*dict.fromkeys(whole).items(), ("losses", {"total": 0.5})):
        with pytest.raises(ValueError, match=rf"failure\.json: field '{name}' must"):
            said(**{name: value})


# -------------------------------------------------------------------------------------- checksums


def flip(file):
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


def test_every_file_is_vouched_for_and_compared_when_it_is_read(run, pack, tmp_path):
    uses = {
        "metrics.csv": lambda r: r.metrics,
        "predictions.csv": lambda r: r.scores,
        "best.json": lambda r: r.best,
        "machine.json": lambda r: r.machine,
    }
    assert set(run.record["files"]) == {*uses, WEIGHTS}
    uses[WEIGHTS] = answers_of
    of_weights = {
        "init": lambda r: fit(
            dataclasses.replace(SPEC, init=str(r.path)), pack=pack, store=tmp_path
        ),
        "features": lambda r: FrozenFeatures(r.path)(torch.zeros(1, 3, 32, 32)),
        "predict_test": lambda r: predict_test(r, pack),
        "load": lambda r: load(r.path),
    }
    for name, use in (*uses.items(), *((WEIGHTS, use) for use in of_weights.values())):
        folder = shutil.copytree(run.path, tmp_path / "run")
        use(load_run(folder))
        flip(folder / name)
        opened = load_run(folder)  # stays cheap: other files are not read
        with pytest.raises(ValueError, match=rf"{name} was changed.*SHA-256 in spec\.json; "):
            use(opened)
        shutil.rmtree(folder)


def test_a_missing_file_is_missed(run, tmp_path):
    for name in (*TABLES[1:], WEIGHTS):
        folder = shutil.copytree(run.path, tmp_path / name)
        (folder / name).unlink()
        with pytest.raises(FileNotFoundError, match=rf"{name} is missing"):
            summary(load_run(folder)), answers_of(load_run(folder))


def test_runs_of_older_versions_open_as_before(run, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "old")
    age(folder / "spec.json")
    (folder / "best.json").unlink()
    old = load_run(folder)
    assert old.best == {}
    assert old.scores == run.scores
    assert predictable(old)


def predictable(run):
    with torch.inference_mode():
        return answers_of(run)(torch.rand(2, 3, 32, 32)).isfinite().all()


def test_check_names_what_is_wrong_in_a_whole_store(run, pack, tmp_path, capsys):
    shutil.copytree(pack.path, tmp_path / "packs" / "p")
    for name in ("good", "bad", "old"):
        shutil.copytree(run.path, tmp_path / "runs" / name)
    age(tmp_path / "runs" / "old" / "spec.json")
    assert main(["check", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "1 pack, 3 runs: none changed" in said
    assert "1 of an older version" in said
    flip(tmp_path / "runs" / "bad" / "metrics.csv")
    assert main(["check", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "1 changed" in out
    assert len(err.splitlines()) == 1
    assert "bad/metrics.csv was changed" in err
    assert [f.folder.name for f in check_all(tmp_path) if f.problem] == ["bad"]
    (tmp_path / "runs" / "bad" / "spec.json").unlink()
    (tmp_path / "runs" / "old" / "spec.json").write_text(f'{{"lr": {10**400}}}')
    problems = {f.folder.name: f.problem for f in check_all(tmp_path) if f.problem}
    assert sorted(problems) == ["bad", "old"]
    assert "spec.json is missing" in problems["bad"]
    (tmp_path / "runs" / "good" / "best.json").unlink()
    os.mkfifo(tmp_path / "runs" / "good" / "best.json")  # a read of it would never end
    problems = {f.folder.name: f.problem for f in check_all(tmp_path) if f.problem}
    assert "best.json is no regular file" in problems["good"]
    assert main(["check", str(tmp_path / "runs" / "none")]) == 2
    assert "holds no pack" in capsys.readouterr().err


def test_a_network_that_would_answer_nonsense_is_refused(run, pack, tmp_path):
    """Not finite: all faces would be neutral, the first class; or other numbers than it had."""
    weights = load_file(run.path / WEIGHTS)
    first = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    for change, said in (
        (lambda t: t.fill_(float("nan")), "not finite"),
        (lambda t: t.view(torch.int32), "another type"),
    ):
        folder = shutil.copytree(run.path, tmp_path / said)
        made = {k: v.clone() for k, v in weights.items()}
        made[first] = change(made[first])
        save_file(made, folder / WEIGHTS)
        reseal(folder)
        with pytest.raises(ValueError, match=rf"{WEIGHTS}.*{said}"):
            load(folder)
        with pytest.raises(ValueError, match=rf"{WEIGHTS}.*{said}"):
            predict_test(load_run(folder), pack)


# ---------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("predict", "spec.json"), ("predict", WEIGHTS), ("run", "spec.json"), ("run", WEIGHTS),
        ("export", WEIGHTS), ("export", "predictions.csv"), ("card", "machine.json"),
    ],
)  # fmt: skip
def test_commands_end_with_one_line(run, name, command, tmp_path, capsys):
    folder = shutil.copytree(run.path, tmp_path / "run")
    (folder / name).write_bytes(b"\x80\x04\x95 no such file was ever written here")
    arguments = {
        "predict": [str(folder), "x.png", "--out", str(tmp_path / "o.csv")],
        "export": [str(folder), "--out", str(tmp_path / "out")],
        "card": [str(folder), "--out", str(tmp_path / "card.md")],
        "run": ["--set", "init", str(folder), "--store", str(tmp_path)],
    }[command]
    assert main([command, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hmtl: ")
    assert name in line
