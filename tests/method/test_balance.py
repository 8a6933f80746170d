"""How losses become one: each method against its formula, worked by hand, and inside a training."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from hmtl import Puzzling, face_dataloaders, hmtl_learner
from hmtl.method.balance import BALANCES, GradNorm, make_balance
from hmtl.method.pretext import TileRotation


def nothing_shared():
    raise AssertionError("this method needs no gradients")


def test_sums_and_means_by_hand():
    losses = torch.tensor([4.0, 1.0, 2.0])
    assert float(make_balance("sum").combine(losses, nothing_shared)) == 7
    assert float(make_balance("geometric").combine(losses, nothing_shared)) == pytest.approx(2)
    # 8^(1/3) of all, times the first
    assert float(make_balance("focused").combine(losses, nothing_shared)) == pytest.approx(8)


def test_uncertainty_by_hand():
    """Variances 1, then 4 of the first: 4 / (2 * 4) + log(4) / 2 + 1 / 2."""
    balance = make_balance("uncertainty")
    balance.start(2, torch.device("cpu"))
    losses = torch.tensor([4.0, 1.0])
    assert balance.combine(losses, nothing_shared).item() == pytest.approx(2.5)
    with torch.no_grad():
        balance.module.log_var[0] = math.log(4)
    expected = 0.5 + math.log(4) / 2 + 0.5
    assert balance.combine(losses, nothing_shared).item() == pytest.approx(expected)


def test_dynamic_weight_average_by_hand():
    """The first loss halved, the second stayed: weights 2 softmax(0.5 / 2, 1 / 2)."""
    balance = make_balance("dwa")
    balance.start(2, torch.device("cpu"))
    for losses in ([2.0, 1.0], [1.0, 1.0]):
        assert float(balance.combine(torch.tensor(losses), nothing_shared)) == sum(losses)
        balance.after_epoch()
    weights = 2 * np.exp([0.25, 0.5]) / np.exp([0.25, 0.5]).sum()
    total = balance.combine(torch.tensor([3.0, 5.0]), nothing_shared)
    assert float(total) == pytest.approx(weights @ [3, 5], rel=1e-5)


def test_gradnorm_by_hand():
    """Gradients 3 and 1, mean 2: the first weight takes Adam's step down, the second up."""
    shared = torch.tensor([1.0], requires_grad=True)
    balance = GradNorm()
    balance.start(2, torch.device("cpu"))
    total = balance.combine(torch.stack([3 * shared[0], shared[0]]), lambda: [shared])
    assert total.item() == 4  # this step's weights are still 1
    torch.testing.assert_close(balance.weights, torch.tensor([0.975, 1.025]))
    total.backward()  # the graph is still there
    assert float(shared.grad) == 4


def test_gradnorm_gives_a_loss_that_lags_a_larger_gradient():
    """Sizes alike and the second loss not falling: r = 2/3 and 4/3, so its weight must rise."""
    balance = GradNorm()
    balance.start(2, torch.device("cpu"))
    balance._first = torch.tensor([2.0, 1.0])
    balance._step(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0]))
    assert balance.weights[1] > 1 > balance.weights[0]
    assert float(balance.weights.sum()) == pytest.approx(2)


def test_pcgrad_by_hand():
    """g1 = (1, 0), g2 = (-1, 1): projected (0.5, 0.5) and (0, 1); they add up to (0.5, 1.5)."""
    shared = torch.zeros(2, requires_grad=True)
    losses = torch.stack([shared[0], shared[1] - shared[0]])
    make_balance("pcgrad").combine(losses, lambda: [shared]).backward()
    torch.testing.assert_close(shared.grad, torch.tensor([0.5, 1.5]))


def test_pcgrad_leaves_gradients_that_agree_alone():
    shared = torch.zeros(2, requires_grad=True)
    losses = torch.stack([shared[0], shared[0] + shared[1]])
    make_balance("pcgrad").combine(losses, lambda: [shared]).backward()
    torch.testing.assert_close(shared.grad, torch.tensor([2.0, 1.0]))


def learner(pack, balance, pretexts=None):
    torch.manual_seed(0)
    dls = face_dataloaders(pack, bs=16, seed=0, device="cpu")
    pretexts = [Puzzling(2), TileRotation(2)] if pretexts is None else pretexts
    return hmtl_learner(dls, "tiny", pretexts=pretexts, balance=balance, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", BALANCES)
def test_every_balance_trains_and_leaves_the_learner_as_it_was(name, toy_pack, quiet):
    learn = learner(toy_pack, name)
    before = [p.clone() for p in learn.model.parameters()]
    with quiet(learn):
        learn.fit(1, 1e-3)
        learn.fit(1, 1e-3)
    assert all(torch.isfinite(p).all() for p in learn.model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, learn.model.parameters(), strict=True))
    trained = [p for group in learn.opt.param_lists for p in group]
    assert len(trained) == len(list(learn.model.parameters()))
    assert np.isfinite(learn.recorder.values[-1]).all()


def test_learned_variances_move_and_go_on_over_fits(toy_pack, quiet):
    learn = learner(toy_pack, "uncertainty")
    with quiet(learn):
        learn.fit(1, 1e-2)
        first = learn.hybrid.balance.module.log_var.detach().clone()
        learn.fit(1, 1e-2)
    assert len(first) == 3
    assert (first != 0).all()
    assert (learn.hybrid.balance.module.log_var != first).all()


def test_a_control_without_loss_is_not_balanced(toy_pack, quiet):
    """One loss stays itself, whatever the method."""
    from hmtl import SecondView

    states = []
    for name in ("sum", "geometric"):
        learn = learner(toy_pack, name, [SecondView()])
        with quiet(learn):
            learn.fit(1, 1e-3)
        states.append(nn.utils.parameters_to_vector(learn.model.parameters()))
    assert torch.equal(*states)


def test_gradnorm_looks_where_every_loss_reaches():
    """The last weight of all is the norm's, which one loss does not see, and a probe sees none."""
    body, norm, probe = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    losses = torch.stack([(body * norm).sum(), 3 * body.sum(), probe.sum()])
    balance = GradNorm()
    balance.start(3, losses.device)
    for _ in range(50):
        balance.combine(losses, lambda: [body, norm])
    assert balance._last is body
    assert balance.weights[2] > 0.5, "a loss without a gradient there takes nothing from others"
    sizes = balance.weights[:2] * torch.tensor([1.0, 3.0])
    assert sizes.max() / sizes.min() < 1.1, "alike in size"
