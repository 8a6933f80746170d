"""Optimizers against fastai's own and against hand-worked steps; the schedules of their rates."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from fastai.optimizer import SGD, Adam, ranger
from torch import nn

from hmtl import face_dataloaders, hmtl_learner, load_pack
from hmtl.method.optim import (
    OPTIMIZERS,
    FusedAdam,
    adabelief,
    adabelief_lookahead,
    fused_adam,
    muon,
)
from hmtl.runs.callbacks import fit_scheduled, learning_rate


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
    fused_again.clear_state()  # a fit that starts anew
    step(one, fused_again, 9)
    assert {state["step"] for state in fused_again.state.values()} == {1}


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


def test_a_hybrid_training_is_the_same_with_either(toy_pack, quiet):
    losses = {}
    for name, opt in (("plain", Adam), ("fused", fused_adam)):
        torch.manual_seed(0)
        dls = face_dataloaders(toy_pack, bs=16, augment="weak", seed=0, device="cpu")
        learn = hmtl_learner(dls, pretexts=["puzzling_2x2"], opt_func=opt, seed=0)
        with quiet(learn):
            learn.fit_one_cycle(1, 2e-3)
        assert isinstance(learn.opt, FusedAdam) == (name == "fused")
        losses[name] = np.array(learn.recorder.values[-1], float)
    np.testing.assert_allclose(losses["fused"], losses["plain"], rtol=5e-3, atol=2e-2)


# -- AdaBelief and Lookahead ---


def adabelief_by_hand(weight, gradients, rates, wd, beta1=0.9, beta2=0.999, eps=1e-16):
    """Weights after each step of rectified AdaBelief, by the papers' formulas in plain floats."""
    mean = variance = 0.0
    longest, path = 2 / (1 - beta2) - 1, []
    for t, (gradient, lr) in enumerate(zip(gradients, rates, strict=True), start=1):
        weight -= lr * wd * weight
        mean = beta1 * mean + (1 - beta1) * gradient
        variance = beta2 * variance + (1 - beta2) * (gradient - mean) ** 2 + eps
        step = mean / (1 - beta1**t)
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        if length >= 5:  # the variance can be told: before, momentum alone
            above = (length - 4) * (length - 2) * longest
            below = (longest - 4) * (longest - 2) * length
            step *= math.sqrt(above / below) / math.sqrt(variance / (1 - beta2**t))
        weight -= lr * step
        path.append(weight)
    return path


def test_adabelief_takes_the_steps_that_its_paper_says():
    weight = nn.Parameter(torch.tensor([0.7], dtype=torch.float64))
    opt = adabelief([[weight]], lr=1.0)
    gradients = [0.5, 0.4, -0.3, 0.6, 0.55, 0.1, 0.2, -0.7, 0.3, 0.25]
    rates = [0.01 * (i + 1) for i in range(10)]
    wanted = adabelief_by_hand(0.7, gradients, rates, wd=0.1)
    opt.set_hyper("wd", 0.1)
    for gradient, lr, value in zip(gradients, rates, wanted, strict=True):
        opt.set_hyper("lr", lr)  # as schedules do
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        opt.step()
        assert weight.item() == pytest.approx(value, rel=1e-9)


def test_lookahead_pulls_the_weights_halfway_back_every_six_steps():
    one, two = network(), network()
    plain, ahead = adabelief(groups(one), lr=1e-2), adabelief_lookahead(groups(two), lr=1e-2)
    slow = None
    for i in range(13):
        step(one, plain, i)
        step(two, ahead, i)
        if i % 6 == 5:
            with torch.no_grad():
                for n, weight in enumerate(one.parameters()):
                    weight.copy_(weight if slow is None else (weight + slow[n]) / 2)
            slow = [weight.clone() for weight in one.parameters()]
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_what_lookahead_knows_can_be_saved_and_cleared():
    model = network()
    opt = adabelief_lookahead(groups(model), lr=1e-2)
    for i in range(8):
        step(model, opt, i)
    again, copied = adabelief_lookahead(groups(model), lr=1e-2), copy.deepcopy(opt.state_dict())
    again.load_state_dict(copied)
    known = again.opt.state[model[0].weight]
    assert known["step"] == 8
    slow = opt.opt.state[model[0].weight]["lookahead_slow_buff"]
    assert torch.equal(known["lookahead_slow_buff"], slow)
    again.clear_state()
    step(model, again, 8)
    assert {state["step"] for state in again.opt.state.values()} == {1}


# -- Muon ---


def test_muon_steps_by_a_nearly_orthogonal_matrix_in_the_gradients_own_directions():
    model, lr = network(), 1e-2
    opt = muon(groups(model), lr=lr)
    before = [p.detach().clone() for p in model.parameters()]
    torch.manual_seed(1)
    model(torch.randn(6, 3, 8, 8)).square().sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    opt.step()
    convolution, *rest = [
        (old - new.detach()) / lr for old, new in zip(before, model.parameters(), strict=True)
    ]
    left, _, right = torch.linalg.svd(gradients[0].flatten(1), full_matrices=False)
    scale = 0.2 * 27**0.5  # of Adam's length: the longer side of (4, 27)
    within = left.T @ (convolution.flatten(1) / scale) @ right.T
    values = within.diagonal()
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert (within - values.diag()).abs().max() < 0.05  # bfloat16
    for step_taken, gradient in zip(rest, gradients[1:], strict=True):  # Adam's: signs, at first
        clear = gradient.abs() > 1e-3
        assert torch.equal(step_taken[clear].sign(), gradient[clear].sign())
        assert step_taken[clear].abs().max() < 2.5


def test_muon_of_one_group_keeps_a_schedule_off_its_own_momentum():
    model = network()
    opt = muon([list(model.parameters())], lr=1e-2)
    step(model, opt, 0)
    opt.set_hyper("mom", 0.85)  # as a one-cycle does
    step(model, opt, 1)
    (group,) = opt.opt.param_groups
    assert (group["momentum"], group["betas"][0], group["use_fallback"]) == (0.95, 0.85, False)
    assert "momentum_buffer" in opt.opt.state[model[3].weight]  # a matrix like any other


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pretext_heads_train_with_any_optimizer_and_leave_it_cleanly(name, toy_pack, quiet):
    dls = face_dataloaders(toy_pack, bs=16, augment="weak", seed=0, device="cpu")
    learn = hmtl_learner(
        dls, pretexts=["puzzling_2x2"], opt_func=OPTIMIZERS[name], balance="uncertainty", seed=0
    )
    learn.create_opt()
    torch_opt = getattr(learn.opt, "opt", learn.opt)
    before, steps = {}, len(dls.train)
    for epoch in (1, 2):
        with quiet(learn):
            learn.fit(1, 1e-3)
        own = {id(p) for p in learn.model.parameters()}
        held = [id(p) for group in learn.opt.param_lists for p in group]
        assert set(held) == own
        assert len(held) == len(own)
        assert {id(p) for p in torch_opt.state} <= own
        mine = [p for part in learn.hybrid.trained() for p in part.parameters()]
        after = {n: p.detach().clone() for n, p in enumerate(mine)}
        kept = [state for p in mine for state in learn.hybrid._guests.states[p] if "step" in state]
        assert [state["step"] for state in kept] == [epoch * steps] * len(mine)
        for n, old in before.items():
            assert not torch.equal(after[n], old)
        before = after


@pytest.mark.slow
@pytest.mark.parametrize("second", [fused_adam, adabelief_lookahead, muon, ranger])
def test_a_new_optimizer_knows_nothing_of_the_heads(second, quiet):
    dls = face_dataloaders(load_pack("mini"), bs=64, augment="none", seed=0, device="cpu")
    learn = hmtl_learner(dls, pretexts=["puzzling_2x2"], opt_func=partial(SGD, mom=0.9), seed=0)
    with quiet(learn):
        learn.fit(1, 1e-3)
        learn.opt_func = second
        learn.fit(1, 1e-3, reset_opt=True)
        learn.fit(1, 1e-3, reset_opt=True)  # of the same kind, and yet another
    (weight, *_) = learn.hybrid.heads["puzzling_2x2"].parameters()
    known = [state["step"] for state in learn.hybrid._guests.states[weight] if "step" in state]
    assert known == [len(dls.train)]


# -- schedules ---


def test_the_rate_rises_in_a_line_then_falls_by_a_cosine_to_nothing():
    rate = learning_rate("warmup_cosine", 1e-3, 100)  # five epochs of a hundred
    for share, wanted in (
        (0, 0), (0.02, 4e-4), (0.05, 1e-3), (0.05 + 0.95 / 2, 5e-4),
        (0.05 + 0.95 / 3, 7.5e-4), (1, 0),
    ):  # fmt: skip
        assert rate(share) == pytest.approx(wanted, abs=1e-9)
    assert learning_rate("warmup_cosine", 1e-3, 1)(0.5) == pytest.approx(1e-3)


def test_the_rate_is_divided_by_ten_after_15_and_40_of_80_epochs():
    rate = learning_rate("steps", 1e-3, 80)
    by_epoch = [rate(epoch / 80) for epoch in range(80)]
    np.testing.assert_allclose(by_epoch, [1e-3] * 15 + [1e-4] * 25 + [1e-5] * 40)
    with pytest.raises(ValueError, match="one of warmup_cosine, steps"):
        learning_rate("cosine", 1e-3, 80)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adabelief_lookahead", "muon", ""])
def test_a_fit_follows_its_schedule_with_any_optimizer(name, quiet):
    dls = face_dataloaders(load_pack("mini"), bs=104, augment="none", seed=0, device="cpu")
    learn = hmtl_learner(dls, opt_func=OPTIMIZERS[name], seed=0)
    assert len(dls.train) == 4
    with quiet(learn):
        fit_scheduled(learn, 2, 1e-3, "warmup_cosine")
    falls = [1e-3 * (1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)]
    wanted = [0, 2.5e-4, 5e-4, 7.5e-4, *falls]
    np.testing.assert_allclose(learn.recorder.hps["lr"], wanted, atol=1e-8)
