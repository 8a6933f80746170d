"""One of the processes of tests/runs/test_distributed.py: trains, and writes down what it did.

python -m torch.distributed.run --standalone --nproc_per_node 2 THIS_FILE DIR
"""

import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from torch import nn
from toys import make_toy_pack

from hmtl.__main__ import main
from hmtl.method.batches import face_dataloaders
from hmtl.method.learner import Hybrid, hmtl_learner
from hmtl.method.pretext import Puzzling
from hmtl.runs import distributed, unfinished
from hmtl.runs import fit as runs

SEED, BATCH = 3, 16


class Plain(nn.Module):
    """An encoder without batch norm and dropout, so that a half of a batch knows no other."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1))

    def forward(self, x):
        """Pooled features (B, 16) of images (B, 3, H, W)."""
        return self.body(x).mean((2, 3))


def plain_learner(pack, balance="sum", augment="weak"):
    """A Learner on that encoder, with the puzzle beside the emotions."""
    torch.manual_seed(SEED)
    dls = face_dataloaders(pack, bs=BATCH, augment=augment, seed=SEED, device="cpu")
    learn = hmtl_learner(dls, "tiny", pretexts=[Puzzling(2, dropout=0)], seed=SEED, balance=balance)
    learn.model = nn.Sequential(OrderedDict(encoder=Plain(), head=nn.Linear(16, dls.c)))
    learn.hybrid.body = learn.model.encoder
    return learn


def watch(learn):
    """Keep what the first steps saw, and the gradients of the first one, in a dict."""
    seen = {"rows": [], "puzzles": [], "valid puzzles": []}
    hybrid = learn.hybrid
    transform = hybrid.pretexts[0].transform

    def remember(images, generator):
        view, target = transform(images, generator)
        if hybrid.training:
            seen["rows"].append(list(learn.dls.train.positions))
            seen["puzzles"].append((images.clone(), view.clone(), target.clone()))
        elif images.any():  # not the blanks that stand for others' pictures
            seen["valid puzzles"].append((learn.dls.valid.positions[0], target.clone()))
        return view, target

    hybrid.pretexts[0].transform = remember
    step = learn._step

    def before_step():
        if "gradients" not in seen:
            parameters = [*learn.model.parameters(), *hybrid.heads["puzzling_2x2"].parameters()]
            seen["gradients"] = [p.grad.clone() for p in parameters]
            seen["weights"] = [p.detach().clone() for p in parameters]
            seen["labels"] = learn.yb[0].clone()
        step()

    learn._step = before_step
    return seen


def train(learn, epochs=1):
    """Fit in silence, on all processes."""
    with distributed.shared_fit(learn, SEED), learn.no_bar(), learn.no_logging():
        learn.fit(epochs, 1e-2)


def state(learn):
    """All that training changes: network, heads, learned balance."""
    hybrid = learn.hybrid
    modules = [learn.model, *hybrid.trained()]
    found = {f"{i} {k}": v for i, m in enumerate(modules) for k, v in m.state_dict().items()}
    for name in ("weights", "_adam"):
        value = getattr(hybrid.balance, name, None)
        if isinstance(value, torch.Tensor):
            found[f"balance {name}"] = value.detach()
    return {k: v.clone() for k, v in found.items()}


def run_all_balances(pack):
    """name -> the state after two epochs."""
    states = {}
    for balance in ("uncertainty", "gradnorm", "dwa", "pcgrad"):
        learn = plain_learner(pack, balance)
        train(learn, 3 if balance == "dwa" else 1)
        states[balance] = state(learn)
    return states


def killed(folder):
    """The weights of a run that was cut off after its first epoch and taken up, and of one not."""
    spec = runs.RunSpec(data="mini", epochs=2, bs=64, pretexts=("puzzling_2x2",), balance="dwa")
    after_epoch = unfinished.Checkpoints.after_epoch

    def cut_off(checkpoints):
        after_epoch(checkpoints)
        raise KeyboardInterrupt

    whole = runs.fit(spec, store=folder / "whole")
    unfinished.Checkpoints.after_epoch = cut_off
    with pytest.raises(KeyboardInterrupt):
        runs.fit(spec, store=folder / "killed")
    unfinished.Checkpoints.after_epoch = after_epoch
    again = runs.fit(spec, store=folder / "killed")
    return [str(run.path) for run in (whole, again)]


class OnceNotFinite(Callback):
    """A loss that is not finite, in one process alone."""

    order = MixedPrecision.order

    def __init__(self, training):
        self.wanted = training

    def after_loss(self):
        last = self.iter == (1 if self.training else 0)
        if distributed.rank() == 1 and self.training == self.wanted and last:
            self.learn.loss_grad = self.learn.loss_grad * float("nan")
            self.learn.loss = self.learn.loss_grad.clone()


def diverged(folder, training):
    """Where a run is kept that failed in process 1."""
    build = runs.build_learner

    def spoilt(*args, **options):
        learn = build(*args, **options)
        learn.add_cb(OnceNotFinite(training))
        return learn

    runs.build_learner = spoilt
    try:
        spec = runs.RunSpec(data="mini", epochs=2, bs=24)
        runs.fit(spec, store=folder / f"diverged-{training}")
    except runs.Diverged as error:
        return str(error.path)
    finally:
        runs.build_learner = build


def command(folder):
    """A run by the command line: what the Learner ends with."""
    kept = {}
    build = runs.build_learner

    def keep(*args, **options):
        kept["learn"] = build(*args, **options)
        return kept["learn"]

    runs.build_learner = keep
    fields = {"pretexts": "puzzling_2x2", "epochs": "2", "bs": "24", "balance": "uncertainty"}
    changes = [text for pair in fields.items() for text in ("--set", *pair)]
    assert main(["run", "--store", str(folder / "store"), *changes]) == 0
    learn = kept["learn"]
    assert isinstance(learn.hybrid, Hybrid)
    return state(learn)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    distributed.join(BATCH)
    toys = make_toy_pack(place / f"toy-{distributed.rank()}", votes=False)
    learner = plain_learner(toys)
    report = {"seen": watch(learner)}
    train(learner)
    report["plain"] = state(learner)
    report["balances"] = run_all_balances(toys)
    report["gathered"] = distributed.gather(distributed.rank() * 10)
    report["agreed"] = distributed.agreed(f"said by {distributed.rank()}")
    report["killed"] = killed(place)
    report["diverged"] = [diverged(place, training) for training in (True, False)]
    report["command"] = command(place)
    torch.save(report, place / f"rank-{distributed.rank()}.pt")
