"""Tracking: what a tracker is told is what metrics.csv says, and it changes no number of a run."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hmtl.__main__ import main
from hmtl.runs.fit import fit, run_all
from hmtl.runs.specs import RunSpec
from hmtl.runs.tracking import TRACKERS, VARIABLE, check_trackers

pytestmark = pytest.mark.slow

# two epochs, so that the order of epochs is seen too
SPEC = RunSpec(data="mini", epochs=2, bs=128, pretexts=("puzzling_2x2",))
FILES = ("metrics.csv", "predictions.csv", "model.safetensors")

# what is asked of the two services, each call written down as a line
STUBS = {
    "wandb": """
import json, os, pathlib
LOG = pathlib.Path(os.environ["STUB_LOG"])
def note(*what):
    with LOG.open("a") as file: file.write(json.dumps(what, default=float) + "\\n")
class Run:
    def __enter__(self): return self
    def __exit__(self, kind, *_): note("finish", kind is not None)
    def log(self, values, step): note("log", values, step)
def init(project, name, config, dir):
    note("init", name, config)
    return Run()
""",
    "mlflow": """
import json, os, pathlib
from contextlib import contextmanager
LOG = pathlib.Path(os.environ["STUB_LOG"])
def note(*what):
    with LOG.open("a") as file: file.write(json.dumps(what, default=float) + "\\n")
def set_experiment(name): note("experiment", name)
@contextmanager
def start_run(run_name):
    yield
    note("finish", run_name)
def log_params(values): note("init", None, values)
def log_metrics(values, step): note("log", values, step)
""",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The run that nobody watched."""
    return fit(SPEC, store=tmp_path_factory.mktemp("plain"), track=())


@pytest.fixture
def stubbed(tmp_path, monkeypatch, request):
    """A stand-in for the service named by the test; returns (its name, the calls it got)."""
    name, log = request.param, tmp_path / "calls.jsonl"
    (tmp_path / "stubs").mkdir()
    (tmp_path / "stubs" / f"{name}.py").write_text(STUBS[name])
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path / "stubs")
    monkeypatch.setenv("STUB_LOG", str(log))
    monkeypatch.setenv("HMTL_OUTPUTS", str(tmp_path / "outputs"))
    yield name, lambda: [json.loads(line) for line in log.read_text().splitlines()]
    sys.modules.pop(name, None)


def same_bits(run, other):
    return all((run.path / f).read_bytes() == (other.path / f).read_bytes() for f in FILES)


def test_the_command_says_where_a_tracker_wrote_and_what_was_trained_already(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HMTL_OUTPUTS", str(tmp_path / "outputs"))
    command = ["run", "--store", str(tmp_path / "store"), "--set", "epochs", "1"]
    said = []
    for _ in range(2):
        assert main([*command, "--track", "tensorboard"]) == 0
        said.append(capsys.readouterr())
    (first, told), (second, again) = said
    assert first == second
    path = first.splitlines()[0]
    assert f"was trained already: {path}" in again
    assert "tensorboard" not in again
    assert "already" not in told
    where = told.partition("tensorboard: ")[2].splitlines()[0]
    assert list((tmp_path / "outputs" / "tensorboard").iterdir()) == [Path(where)]


def test_tensorboard_holds_the_metrics_and_the_run_is_the_same(plain, tmp_path, monkeypatch):
    monkeypatch.setenv("HMTL_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv(VARIABLE, "tensorboard")  # as notebooks ask for it
    run = fit(SPEC, store=tmp_path / "store")
    assert run.id == plain.id, "tracking is no part of a run's identity"
    assert same_bits(run, plain)
    events = EventAccumulator(str(tmp_path / "outputs" / "tensorboard" / run.id)).Reload()
    for name in run.metrics.columns.drop(["epoch", "train_loss"]):
        told = [event.value for event in events.Scalars(name)]
        np.testing.assert_allclose(told, run.metrics[name], rtol=1e-6, err_msg=name)
    # told every batch, smoothed: an epoch's is the one at its end
    steps = [event.step for event in events.Scalars("valid_loss")]
    losses = {event.step: event.value for event in events.Scalars("train_loss")}
    np.testing.assert_allclose([losses[s] for s in steps], run.metrics["train_loss"], rtol=1e-6)
    (told,) = events.Tensors("spec/text_summary")
    assert "| pretexts | ('puzzling_2x2',) |" in told.tensor_proto.string_val[0].decode()


@pytest.mark.parametrize("stubbed", ["wandb", "mlflow"], indirect=True)
def test_the_services_are_told_the_metrics_and_the_spec(stubbed, plain, tmp_path):
    name, calls = stubbed
    run = fit(SPEC, store=tmp_path / "store", track=name)
    assert same_bits(run, plain)
    (spec,) = [call[2] for call in calls() if call[0] == "init"]
    assert spec == json.loads(json.dumps(dataclasses.asdict(SPEC)))
    assert calls()[-1][0] == "finish"
    rows = [{"epoch": call[2], **call[1]} for call in calls() if call[0] == "log"]
    told = pd.DataFrame(rows)
    pd.testing.assert_frame_equal(told, run.metrics, check_exact=False, rtol=1e-6)


def test_a_missing_package_is_named_with_its_remedy_before_anything_is_trained(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr("hmtl.runs.tracking.find_spec", lambda name: None)
    for name in TRACKERS:
        with pytest.raises(ModuleNotFoundError, match=f"pip install {name}"):
            fit(SPEC, store=tmp_path, track=name)
    command = ["run", "--store", str(tmp_path), "--track"]
    assert main([*command, "tensorboard"]) == 2
    assert "pip install tensorboard" in capsys.readouterr().err
    assert main([*command, "notebook"]) == 2
    assert "one of tensorboard, wandb, mlflow" in capsys.readouterr().err
    monkeypatch.setenv(VARIABLE, "mlflow")
    with pytest.raises(ModuleNotFoundError, match="pip install mlflow"):
        run_all([SPEC], store=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_names_are_read_from_a_list_a_text_and_the_environment(monkeypatch):
    monkeypatch.setattr("hmtl.runs.tracking.find_spec", lambda name: True)
    for given in (["mlflow", "wandb"], "mlflow, wandb,", "mlflow,wandb,mlflow"):
        assert check_trackers(given) == ("mlflow", "wandb")
    monkeypatch.setenv(VARIABLE, "wandb")
    assert check_trackers(None) == ("wandb",)
    assert check_trackers(()) == (), "nothing asked for here goes before the environment"
    monkeypatch.delenv(VARIABLE)
    assert check_trackers(None) == ()
