"""Several processes, one run: two real ones (gloo) against one, and against gradients by hand."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from distributed_worker import BATCH, SEED, plain_learner, train, watch
from fastai.callback.core import Callback, CancelTrainException
from safetensors.torch import load_model
from tested_again import predict_test
from timm.layers import convert_sync_batchnorm
from torch.nn.modules.batchnorm import _BatchNorm

from hmtl.data.pack import open_pack
from hmtl.method.balance import geometric_mean
from hmtl.method.batches import face_dataloaders
from hmtl.method.pretext import Puzzling
from hmtl.runs import distributed
from hmtl.runs.fit import build_learner, fit, run_all
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import load_run, run_id

pytestmark = pytest.mark.slow

accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")

ROOT = Path(__file__).parents[2]
TWO = ["--standalone", "--nproc_per_node", "2"]
SPEC = RunSpec.preset("smoke", pretexts=("puzzling_2x2",), epochs=2, bs=24, balance="uncertainty")


def launch(*arguments):
    """Start a launcher; returns what it printed and its exit status."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where two processes wrote what they did (tests/helpers/distributed_worker.py)."""
    place = tmp_path_factory.mktemp("distributed")
    worker = Path(__file__).parents[1] / "helpers" / "distributed_worker.py"
    done = launch("torch.distributed.run", *TWO, worker, place)
    assert done.returncode == 0, done.stderr
    (place / "printed").write_text(done.stdout)
    return place


@pytest.fixture(scope="module")
def ranks(place):
    """The report of each process."""
    return [torch.load(place / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def run(place):
    """The one run that the command made."""
    (path,) = (place / "store").glob("[!.]*")
    return load_run(path)


@pytest.fixture(scope="module")
def alone(place):
    """The worker's first fit in a single process: the Learner, and what it saw."""
    learn = plain_learner(open_pack(place / "toy-0"))
    seen = watch(learn)
    train(learn)
    return learn, seen


def test_a_step_has_the_gradient_of_the_whole_batch(ranks, place):
    """Of the network and the puzzle's head, against autograd on both halves together.

    By hand: the geometric mean of both views' cross-entropy, and 0.3 times the puzzle's.
    """
    parts = [rank["seen"] for rank in ranks]
    learn = plain_learner(open_pack(place / "toy-0"))
    puzzle = learn.hybrid.pretexts[0]
    head = puzzle.head(16)
    parameters = [*learn.model.parameters(), *head.parameters()]
    with torch.no_grad():
        for parameter, value in zip(parameters, parts[0]["weights"], strict=True):
            parameter.copy_(value)
    pictures, views, order = (
        torch.cat(column) for column in zip(*(p["puzzles"][0] for p in parts), strict=True)
    )
    labels = torch.cat([part["labels"] for part in parts])
    assert len(pictures) == BATCH
    features = learn.model.encoder(views)
    losses = [F.cross_entropy(learn.model(pictures), labels)]
    losses.append(F.cross_entropy(learn.model.head(features), labels))
    loss = geometric_mean(losses) + 0.3 * puzzle.loss(head(features), order)
    wanted = torch.autograd.grad(loss, parameters)
    for own, others, whole in zip(*(p["gradients"] for p in parts), wanted, strict=True):
        torch.testing.assert_close(own, whole, rtol=1e-4, atol=1e-7)
        assert torch.equal(own, others)


def test_processes_share_the_batches_of_one_and_draw_their_own_puzzles(ranks, alone):
    parts, (learn, seen) = [rank["seen"] for rank in ranks], alone
    together = [own + other for own, other in zip(*(p["rows"] for p in parts), strict=True)]
    assert together == seen["rows"]
    assert len(seen["rows"]) == len(learn.dls.train) == 80 // BATCH
    views, orders = zip(*((v, o) for p in parts for _, v, o in p["puzzles"][:1]), strict=True)
    assert not torch.equal(orders[0], orders[1])
    for part, view, order in zip(parts, views, orders, strict=True):  # a target is its image's
        picture = part["puzzles"][0][0]
        for i, places in enumerate(order):
            for place, tile in enumerate(places):
                assert torch.equal(_tile(view[i], place), _tile(picture[i], tile))
    # rank 0 draws what a single process would, for the pictures it has
    assert torch.equal(parts[0]["puzzles"][0][2], seen["puzzles"][0][2][: BATCH // 2])


def _tile(picture, place, n=2):
    """Tile number `place` of a picture, by rows."""
    side = picture.shape[-1] // n
    row, column = divmod(int(place), n)
    return picture[..., row * side : (row + 1) * side, column * side : (column + 1) * side]


def test_validation_puzzles_are_those_of_one_process(ranks, alone):
    shared = dict(entry for rank in ranks for entry in rank["seen"]["valid puzzles"])
    single = dict(alone[1]["valid puzzles"])
    assert shared.keys() == single.keys()
    assert len(single) > 1
    for start, order in single.items():
        assert torch.equal(shared[start], order)


def test_all_processes_end_with_the_same_weights(ranks):
    """Network, running statistics, heads and learned balances, to the bit."""
    one, other = ranks
    pairs = [(one["plain"], other["plain"]), (one["command"], other["command"])]
    pairs += [(one["balances"][name], other["balances"][name]) for name in one["balances"]]
    for mine, yours in pairs:
        assert mine.keys() == yours.keys()
        for name, value in mine.items():
            assert torch.equal(value, yours[name]), name
    assert not torch.equal(one["balances"]["gradnorm"]["balance weights"], torch.ones(2))
    assert one["balances"]["uncertainty"]["2 log_var"].abs().min() > 0
    assert one["gathered"] == other["gathered"] == [0, 10]
    assert one["agreed"] == other["agreed"] == "said by 0"


class NoTraining(Callback):
    """An epoch of validation alone."""

    order = 100

    def before_train(self):
        raise CancelTrainException


def test_gathered_metrics_are_those_of_one_process_on_the_same_weights(ranks, run):
    """Valid loss, accuracy, F1 and the puzzle's loss and score, of the last epoch."""
    learn = build_learner(SPEC, SPEC.load())
    load_model(learn.model, str(run.path / "model.safetensors"))
    hybrid, state = learn.hybrid, ranks[0]["command"]
    head = hybrid.pretexts[0].head(learn.model.encoder.num_features)
    head.load_state_dict({k[2:]: v for k, v in state.items() if k.startswith("1 ")})
    hybrid.heads = {"puzzling_2x2": head}
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, cbs=NoTraining())
    row = dict(zip(learn.recorder.metric_names[2:-1], learn.recorder.values[-1], strict=True))
    names = ["valid_loss", "accuracy", "macro_f1", "puzzling_2x2_loss", "puzzling_2x2_score"]
    assert set(names) < set(run.metrics.columns)
    for name in names:
        assert run.metrics[name].iloc[-1] == pytest.approx(row[name], rel=1e-5), name
    assert run.metrics["train_puzzling_2x2_loss"].notna().all()


def test_gathered_predictions_are_those_of_one_process(run):
    single = predict_test(run, run.spec.load())
    assert single["key"].is_unique
    assert list(run.predictions["key"]) == list(single["key"])
    shares = single.filter(like="p_").columns
    np.testing.assert_allclose(run.predictions[shares], single[shares], atol=1e-5)


def test_one_process_writes_and_speaks(place, run, monkeypatch):
    printed = (place / "printed").read_text()
    assert printed.count("accuracy") == 2  # the last epoch's and the best one's
    assert printed.count(run.id) == 1
    assert [p.name for p in (place / "store").glob("[!.]*")] == [run.id]
    assert run.machine["processes"] == 2
    assert run.spec == SPEC
    fingerprint = run.spec.load().fingerprint
    assert run_id(SPEC, fingerprint) != run.id
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_id(SPEC, fingerprint) == run.id


def test_a_run_that_was_cut_off_goes_on_in_all_processes(ranks):
    """To the bits of the run that was not: every process takes up its own random numbers."""
    assert ranks[0]["killed"] == ranks[1]["killed"]
    whole, again = (load_run(path) for path in ranks[0]["killed"])
    assert (whole.machine["taken_up"], again.machine["taken_up"]) == (0, 1)
    for name in ("metrics.csv", "predictions.csv", "model.safetensors"):
        assert (whole.path / name).read_bytes() == (again.path / name).read_bytes(), name


def test_a_loss_that_is_not_finite_in_one_process_ends_the_run_in_all(ranks):
    assert ranks[0]["diverged"] == ranks[1]["diverged"]
    for path, training, batch in zip(ranks[0]["diverged"], (True, False), (2, 1), strict=True):
        failure = load_run(path).failure
        assert (failure["epoch"], failure["batch"], failure["training"]) == (1, batch, training)
        faces = SPEC.load().labels.set_index("key").loc[failure["faces"]]
        assert set(faces["split"]) == {"train" if training else "valid"}
        assert len(faces) == (12 if training else 48)  # its part of a batch of 24; a whole one


@pytest.mark.parametrize("arch", ["test_resnet", "test_efficientnet"])
def test_converted_batch_norm_keeps_its_activation(arch):
    """What GPUs train with: torch's own conversion would drop timm's fused activations."""
    model = timm.create_model(arch).eval()
    pictures = torch.rand(2, 3, 48, 48)
    before, names = model(pictures), list(model.state_dict())
    converted = convert_sync_batchnorm(model)
    norms = [m for m in converted.modules() if isinstance(m, _BatchNorm)]
    assert norms
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
    torch.testing.assert_close(converted(pictures), before)
    assert list(converted.state_dict()) == names


@pytest.mark.parametrize(("bs", "count"), [(63, 2), (4, 4)])
def test_a_batch_that_does_not_divide_is_refused(tmp_path, monkeypatch, bs, count):
    monkeypatch.setenv("WORLD_SIZE", str(count))
    with pytest.raises(ValueError, match=f"multiple of {count}, at least {2 * count}"):
        fit(dataclasses.replace(SPEC, bs=bs), store=tmp_path)


def test_without_accelerate_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install .hmtl\[parallel\]"):
        fit(SPEC, store=tmp_path)


def test_many_runs_are_not_for_a_launcher(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="python -m hmtl run"):
        run_all([SPEC], store=tmp_path)


def test_a_launcher_that_starts_one_process_of_several_is_found_out(tmp_path):
    """accelerate does so on CPUs, and says nothing."""
    done = launch(
        "accelerate.commands.launch", "--cpu", "--num_processes", "2", "-m", "hmtl", "run",
        "--store", tmp_path,
    )  # fmt: skip
    assert done.returncode != 0
    assert "torch.distributed.run" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_single_process_is_as_it_was(toy_pack):
    """Outside of a launcher nothing is gathered, averaged or shared."""
    assert os.environ.get("WORLD_SIZE") is None
    assert (distributed.world(), distributed.rank(), distributed.is_main()) == (1, 0, True)
    assert distributed.gather("own") == ["own"]
    dls = face_dataloaders(toy_pack, bs=BATCH, seed=SEED)
    assert list(dls[1].get_idxs()) == list(range(len(dls.valid_ds)))
    assert Puzzling(2).weight["paired"] == 0.3  # the number by hand above


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("world", [2, 3, 7])
def test_shares_are_whole_and_without_overlap(toy_pack, training, world):
    """However the numbers fall: in training every process has as many batches as the others."""
    bs, rows, lengths = 21, [], set()
    for rank in range(world):
        loader = face_dataloaders(toy_pack, bs=bs, seed=SEED).loaders[0 if training else 1]
        loader.bs = bs // world if training else 6
        loader.share = (rank, world)
        batches = [loader.positions for _ in loader]
        assert len(batches) == len(loader)
        lengths.add(len(loader))
        rows += [row for batch in batches for row in batch]
    assert len(rows) == len(set(rows))
    if training:
        assert lengths == {len(loader.dataset) // (bs // world * world)}
        assert len(rows) == lengths.pop() * (bs // world * world)
    else:
        assert sorted(rows) == list(range(len(loader.dataset)))
