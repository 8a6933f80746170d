"""The rehearsal of `make gpu` on a processor, and the parts it rests on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.learner import Learner
from forked import run_python
from gpu_kit import keep_pack, keep_package, unpack
from stacked import stack, train_stacked, unstack
from torch import nn
from toys import make_toy_pack

from hmtl.data.pack import open_pack
from hmtl.method.batches import FaceDataset, face_dataloaders
from hmtl.method.learner import build_model
from hmtl.method.optim import FusedAdam
from hmtl.method.tasks import Emotion
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import device_line
from hmtl.study.plan import _in_record, cells

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_rehearsal_runs_every_part_and_goes_on_where_it_was(tmp_path):
    report = tmp_path / "report.json"
    rehearsal = ["--device", "cpu", "--small", "--minutes", "60", "--out", str(report)]
    environment = {**os.environ, "HMTL_PROGRESS": "0", "PYTHONPATH": str(ROOT)}
    code = (
        "import gpu, forked\n"
        "gpu._hmtl = lambda *a: forked.Python('-m', 'hmtl', *a, together=True)\n"
        "gpu.main()"
    )
    done = run_python("-W", "ignore", "-c", code, *rehearsal, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads(report.read_text())["parts"]
    assert {"right", "fast", "many", "decide", "size"} <= set(parts)
    assert all(row["ok"] for row in parts["right"])
    assert len(parts["right"]) > 30
    assert parts["decide"][0]["runs finished"] == 1
    assert 0 <= float(parts["size"][0]["accuracy"]) <= 1
    assert "## right" in report.with_suffix(".md").read_text()
    command = [sys.executable, "-W", "ignore", "benchmarks/gpu.py", *rehearsal]
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    # all is there: nothing is measured
    assert again.returncode == 0
    assert len(again.stdout.splitlines()) == 2


def networks(count, classes=8):
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(build_model("tiny", classes, Emotion()))
    return made


def test_stacked_networks_answer_as_each_alone():
    alone = networks(3)
    whole = stack(alone).eval()
    images = torch.rand(3, 4, 3, 48, 48)
    with torch.no_grad():
        together = whole(images.transpose(0, 1).flatten(1, 2)).unflatten(1, (3, -1))
        for seed, model in enumerate(alone):
            torch.testing.assert_close(together[:, seed], model.eval()(images[seed]))
    for state, model in zip(unstack(whole, alone[0]), alone, strict=True):
        assert all(torch.equal(state[n], v) for n, v in model.state_dict().items())


def test_a_stacked_seed_learns_what_a_plain_loop_teaches_it():
    """Against torch's own loop over one network, batch norm's running statistics included."""
    alone = networks(2)
    for model in alone:
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
    images, classes = torch.rand(4, 2, 8, 3, 48, 48), torch.randint(0, 8, (4, 2, 8))
    whole = stack(alone)
    assert train_stacked(whole, zip(images, classes, strict=True), 1e-4, wd=0.1) == 64
    states = unstack(whole, alone[0])
    for seed, model in enumerate(alone):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1)
        model.train()
        for batch, target in zip(images[:, seed], classes[:, seed], strict=True):
            nn.functional.cross_entropy(model(batch), target).backward()
            optimizer.step()
            optimizer.zero_grad()
        for name, value in model.state_dict().items():
            torch.testing.assert_close(states[seed][name], value, atol=2e-4, rtol=1e-3)


def test_what_cannot_be_stacked_is_named():
    with pytest.raises(ValueError, match="0, a GroupNorm, cannot be stacked"):
        stack([nn.Sequential(nn.GroupNorm(1, 3)) for _ in range(2)])


def test_a_pack_on_the_device_gives_the_same_batches(toy_pack):
    plain, held = (FaceDataset(toy_pack, toy_pack.rows("train")) for _ in range(2))
    held.held = torch.from_numpy(np.array(toy_pack.images))
    for positions in ([0, 5, 5, 2], np.array([3]), list(range(40))):
        for one, other in zip(plain.gather(positions), held.gather(positions), strict=True):
            assert torch.equal(one, other)
    assert held.only(np.array([1, 2])).held is held.held
    assert face_dataloaders(toy_pack, device="cpu").train_ds.held is None


@pytest.mark.parametrize("channels", [1, 3])
def test_a_kept_pack_comes_back_to_the_bit(tmp_path, channels):
    pack = make_toy_pack(tmp_path / "toy", count=300, channels=channels)
    keep_pack(pack.path, tmp_path / "toy.zip")
    unpack(tmp_path / "toy.zip", tmp_path / "again")
    again = open_pack(tmp_path / "again")
    assert again.fingerprint == pack.fingerprint
    assert np.array_equal(again.images, pack.images)
    unpack(tmp_path / "toy.zip", tmp_path / "again")  # what is there stays


def test_a_kit_knows_the_plan_and_what_the_record_has_of_it(tmp_path):
    keep_package(tmp_path)
    code = (
        "import hmtl; from hmtl.study import plan; trials, runs = plan._in_record()\n"
        "print(hmtl.__file__, len(plan.cells()), len(trials), len(runs))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    trials, runs = _in_record()
    told = [str(tmp_path / "hmtl" / "__init__.py"), *map(str, map(len, (cells(), trials, runs)))]
    assert done.stdout.split() == told


@pytest.mark.parametrize("pretexts", [(), ("puzzling_2x2",)])
def test_short_memory_makes_a_batch_in_parts(tmp_path, monkeypatch, capsys, pretexts):
    """A device that takes eight pictures at a time, played by an error of its kind."""
    pack = make_toy_pack(tmp_path / "toy", count=128)  # 64 to train: two batches
    step, steps = FusedAdam.step, []
    monkeypatch.setattr(FusedAdam, "step", lambda self, *a: steps.append(1) or step(self, *a))
    # no batch norm, whose statistics would be of a part
    spec = RunSpec(
        arch="test_vit", bs=32, epochs=2, lr=1e-4, augment="none", size=32, pretexts=pretexts
    )
    whole = fit(spec, store=tmp_path / "whole", pack=pack)
    made, plain, seen = len(steps), Learner._do_one_batch, []
    steps.clear()

    def short(self):
        if self.training and len(self.xb[0]) > 8:
            raise torch.OutOfMemoryError("played")
        seen.append((self.training, len(self.xb[0])))
        plain(self)

    monkeypatch.setattr(Learner, "_do_one_batch", short)
    run = fit(spec, store=tmp_path / "short", pack=pack)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"hmtl: the GPU's memory is short: batches of 32 are made in {n} parts" for n in (2, 4)
    ]
    assert max(count for training, count in seen if training) == 8
    assert run.id == whole.id
    assert made == len(steps) == 4, "a step a batch, however many its parts"
    losses = (r.metrics["valid_loss"] for r in (run, whole))  # flips are drawn part by part
    np.testing.assert_allclose(*losses, rtol=0.1)


def test_a_batch_of_two_is_not_divided(toy_pack, tmp_path, monkeypatch):
    def short(self):
        raise torch.OutOfMemoryError("played")

    monkeypatch.setattr(Learner, "_do_one_batch", short)
    with pytest.raises(torch.OutOfMemoryError):
        fit(RunSpec(bs=2, epochs=1), store=tmp_path, pack=toy_pack)


def test_a_gpu_is_named_in_the_first_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_line() == ""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    assert device_line() == "hmtl: trains on a card"
