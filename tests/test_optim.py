"""The fused optimizer against fastai's own, step by step."""

import copy

import numpy as np
import pytest
import torch
from fastai.optimizer import Adam
from torch import nn

from hmtl import face_dataloaders, hmtl_learner, load_pack
from hmtl.optim import FusedAdam, fused_adam


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5)
    )


def groups(model):
    return [list(model[:2].parameters()), list(model[2:].parameters())]


def step(model, opt, seed):
    torch.manual_seed(seed)
    model(torch.randn(6, 3, 8, 8)).square().sum().backward()
    opt.step()
    opt.zero_grad()


def test_the_same_steps_as_fastais_adam_whatever_the_schedule_does():
    one, two = network(), network()
    plain, fused = Adam(groups(one), lr=1e-2, wd=0.1), fused_adam(groups(two), lr=1e-2, wd=0.1)
    for opt, model in ((plain, one), (fused, two)):
        opt.state[model[1].weight]["do_wd"] = False
    for i in range(25):
        for opt in (plain, fused):  # as a one-cycle schedule with two rates changes them
            opt.set_hyper("lr", [1e-2 * (i + 1) / 25, 2e-2 * (i + 1) / 25])
            opt.set_hyper("mom", 0.95 - 0.004 * i)
        step(one, plain, i)
        step(two, fused, i)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-6)


def test_either_goes_on_where_the_other_stopped():
    one, two = network(), network()
    plain, fused = Adam(groups(one), lr=1e-2), fused_adam(groups(two), lr=1e-2)
    for i in range(4):
        step(one, plain, i)
        step(two, fused, i)
    plain_again, fused_again = Adam(groups(two), lr=1e-2), fused_adam(groups(one), lr=1e-2)
    fused_again.load_state_dict(copy.deepcopy(plain.state_dict()))
    plain_again.load_state_dict(copy.deepcopy(fused.state_dict()))
    for i in range(4, 8):
        step(one, fused_again, i)
        step(two, plain_again, i)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-6)
    fused_again.load_state_dict(copy.deepcopy(plain_again.state_dict()))
    step(one, fused_again, 8)
    assert {state["step"] for state in fused_again.state.values()} == {9}
    assert {int(count) for count in fused_again._counts.values()} == {9}
    fused_again.clear_state()  # a fit that starts anew
    step(one, fused_again, 9)
    assert {int(count) for count in fused_again._counts.values()} == {1}


def test_a_layout_that_changes_between_steps_changes_nothing():
    one, two = network(), network()
    plain, fused = Adam(groups(one), lr=1e-2), fused_adam(groups(two), lr=1e-2)
    for i in range(6):
        if i == 3:
            two.to(memory_format=torch.channels_last)
        step(one, plain, i)
        step(two, fused, i)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-6)
    with pytest.raises(ValueError, match="decoupled"):
        fused_adam(groups(two), lr=1e-2, decouple_wd=False)


def test_a_weight_without_gradient_stays_and_gradients_are_forgotten():
    model = network()
    opt = fused_adam(groups(model), lr=1e-2, wd=0.5)
    opt.freeze()
    before = [p.clone() for p in model[0].parameters()]
    step(model, opt, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, model[0].parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(NotImplementedError):
        opt.step(lambda: None)


def test_a_hybrid_training_is_the_same_with_either(quiet):
    losses = {}
    for name, opt in (("plain", Adam), ("fused", fused_adam)):
        torch.manual_seed(0)
        dls = face_dataloaders(load_pack("mini"), bs=32, augment="weak", seed=0, device="cpu")
        learn = hmtl_learner(dls, pretexts=["puzzling_2x2"], opt_func=opt, seed=0)
        with quiet(learn):
            learn.fit_one_cycle(1, 2e-3)
        assert isinstance(learn.opt, FusedAdam) == (name == "fused")
        losses[name] = np.array(learn.recorder.values[-1], float)
    np.testing.assert_allclose(losses["fused"], losses["plain"], rtol=5e-3, atol=2e-2)
