"""How several losses become one: the supervised loss, and each pretext's times its weight.

    sum          L_0 + ... + L_k: what the authors' scripts do
    geometric    their geometric mean
    focused      geometric mean times the supervised loss: the authors' second repository
    uncertainty  each loss over a learned variance
    dwa          dynamic weight average: more weight on what falls slowly
    gradnorm     learned weights that make gradients alike in size
    pcgrad       gradients without what contradicts another loss

`combine` takes the losses as a vector, the supervised one first. Where torchjd has the method, it
is torchjd's. Those that look at gradients say what they cost.
"""

__all__ = ["BALANCES", "Balance", "geometric_mean", "make_balance"]

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from hmtl.labels import check_known

_REMEDY = "pass another balance"


def geometric_mean(losses: Sequence[Tensor], remedy: str = _REMEDY) -> Tensor:
    """Geometric mean of scalar losses; one loss is returned as it is.

    Raises ValueError, which ends in `remedy`, for a loss below 0.
    """
    if len(losses) == 1:
        return losses[0]
    _above_zero(torch.stack(list(losses)), remedy)
    return torch.stack([loss.clamp_min(1e-8).log() for loss in losses]).mean().exp()


def _above_zero(losses: Tensor, remedy: str) -> None:
    """ValueError for a loss below 0, whose logarithm is taken next; asked of the device once."""
    if (lowest := losses.detach().min()) < 0:
        raise ValueError(
            f"a loss is {lowest.item():.3g}; a geometric mean needs losses above 0: {remedy}"
        )


class Balance:
    """The plain sum, and base of the others.

    `module` holds what is learned by the optimizer, if anything. `average` is the mean of a tensor
    over the processes that share a run (`hmtl.runs.distributed`); the losses have it already.
    """

    name = "sum"
    module: nn.Module | None = None
    average: Callable[[Tensor], Tensor] = staticmethod(lambda own: own)

    def start(self, count: int, device: torch.device) -> None:
        """Called before the first batch of a fit.

        Args:
            count: Losses of each step, k.
            device: Theirs.
        """

    def combine(self, losses: Tensor, shared: Callable[[], Sequence[Tensor]]) -> Tensor:
        """One loss of several.

        Args:
            losses: Float (k,), the supervised one first, each times its weight.
            shared: Returns the encoder's trainable parameters that the losses reach.

        Returns:
            A scalar that can be differentiated.
        """
        return losses.sum()

    def after_epoch(self) -> None:
        """Called after every training epoch."""

    def state_dict(self) -> dict:
        """What the next epoch hangs on, once it was started."""
        return {} if self.module is None else self.module.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """The inverse of `state_dict`, after `start`."""
        if self.module is not None:
            self.module.load_state_dict(state)


class Geometric(Balance):
    """Geometric mean of the losses."""

    name = "geometric"

    def combine(self, losses: Tensor, shared: Callable) -> Tensor:
        """(L_0 ... L_k)^(1 / (k + 1))."""
        return geometric_mean(list(losses))


class Focused(Balance):
    """Geometric mean times the supervised loss.

    Chennupati, Sistu, Yogamani & Rawashdeh, *MultiNet++* (CVPR workshops 2019), focused loss
    strategy.
    """

    name = "focused"

    def combine(self, losses: Tensor, shared: Callable) -> Tensor:
        """(L_0 ... L_k)^(1 / (k + 1)) L_0."""
        _above_zero(losses, _REMEDY)
        logs = losses.clamp_min(1e-8).log()
        return (logs.mean() + logs[0]).exp()


class Uncertainty(Balance):
    """Homoscedastic uncertainty: each loss over a learned variance.

    Sum of L_i / (2 s_i) + log(s_i) / 2 over variances s_i. Kendall, Gal & Cipolla, *Multi-task
    learning using uncertainty to weigh losses* (CVPR 2018); torchjd's `UW`.
    """

    name = "uncertainty"

    def start(self, count: int, device: torch.device) -> None:
        """One variance a loss, from 1; kept over fits."""
        from torchjd.scalarization import UW

        if self.module is None or self.module.log_var.shape != (count,):
            self.module = UW(count).to(device)

    def combine(self, losses: Tensor, shared: Callable) -> Tensor:
        """The uncertainty-weighted sum."""
        assert self.module is not None  # `start` made it
        return self.module(losses)


class DynamicWeightAverage(Balance):
    """Weights from how fast each loss fell over the last two epochs, temperature 2.

    Liu, Johns & Davison, *End-to-end multi-task learning with attention* (CVPR 2019); torchjd's
    `DWA`. The first two epochs have equal weights.
    """

    name = "dwa"

    def start(self, count: int, device: torch.device) -> None:
        """Start a new history."""
        from torchjd.scalarization import DWA

        self._dwa = DWA(temperature=2.0)

    def combine(self, losses: Tensor, shared: Callable) -> Tensor:
        """The weighted sum."""
        return self._dwa(losses)

    def after_epoch(self) -> None:
        """Roll the history on."""
        self._dwa.step()

    def state_dict(self) -> dict:
        """The means of the last two epochs."""
        return {"means": list(self._dwa._previous_averages)}

    def load_state_dict(self, state: dict) -> None:
        """The inverse of `state_dict`."""
        self._dwa._previous_averages = [*state["means"]]


class GradNorm(Balance):
    """Weights learned so that each loss's gradient has the size its training rate deserves.

    Chen, Badrinarayanan, Lee & Rabinovich, *GradNorm* (ICML 2018), alpha 1.5; the weights' own
    Adam steps at 0.025, and they add up to the number of losses. Costs one more backward pass a
    loss, down to the encoder's last weights only: cheap where heads are light.
    """

    name = "gradnorm"

    def __init__(self, alpha: float = 1.5, lr: float = 0.025):
        self.alpha, self.lr = alpha, lr

    def start(self, count: int, device: torch.device) -> None:
        """Equal weights; the first batch's losses are the measure of progress."""
        self.weights = torch.ones(count, device=device)
        self._adam = torch.optim.Adam([self.weights], lr=self.lr)
        self._first: Tensor | None = None
        self._last: Tensor | None = None

    def combine(self, losses: Tensor, shared: Callable) -> Tensor:
        """The weighted sum; the weights move on by one step."""
        total = (self.weights.clone() * losses).sum()
        if self._last is None and (parameters := shared()):
            self._last = self._last_of_all(losses, parameters)
        if self._last is None:  # a frozen encoder: no loss has a gradient to be made alike
            return total
        gradients = [_gradients(loss, [self._last])[0] for loss in losses]
        norms = torch.stack([self.average(gradient).norm() for gradient in gradients])
        self._step(losses.detach(), norms.detach())
        return total

    def _last_of_all(self, losses: Tensor, parameters: Sequence[Tensor]) -> Tensor | None:
        """The last parameter that every loss reaches, but for losses that reach none."""
        rows = [[g.abs().max() for g in _gradients(loss, parameters)] for loss in losses]
        # of all processes together, which have to choose the same one
        reached = self.average(torch.stack([torch.stack(row) for row in rows]).float()) > 0
        common = reached[reached.any(1)].all(0) & reached.any(0)
        return parameters[int(common.nonzero()[-1])] if common.any() else None

    def state_dict(self) -> dict:
        """The weights, their Adam, and the first batch's losses."""
        return {"weights": self.weights, "adam": self._adam.state_dict(), "first": self._first}

    def load_state_dict(self, state: dict) -> None:
        """The inverse of `state_dict`."""
        with torch.no_grad():
            self.weights.copy_(state["weights"])
        self._adam.load_state_dict(state["adam"])
        self._first = state["first"]

    def _step(self, losses: Tensor, norms: Tensor) -> None:
        """One step of the weights: losses (k,) and the norms (k,) of their own gradients."""
        if self._first is None:
            self._first = losses.clamp_min(1e-8)
        reach = norms > 0  # a probe's does not, and has no size to be made alike
        if not reach.any():
            return
        rate = losses / self._first
        rate = rate / rate[reach].mean()
        sizes = self.weights * norms
        wanted = sizes[reach].mean() * rate**self.alpha
        # d/dw of sum |w g - wanted|, the wanted sizes held fixed
        self.weights.grad = torch.sign(sizes - wanted) * norms
        self._adam.step()
        self.weights.clamp_(min=1e-3)
        self.weights.mul_(len(losses) / self.weights.sum())


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of a loss on each parameter, zeros where the loss does not depend on it."""
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


class PCGrad(Balance):
    """From each loss's gradient, what contradicts another loss's is projected away.

    Yu et al., *Gradient surgery for multi-task learning* (NeurIPS 2020), algorithm 1; torchjd's
    `PCGradWeighting`. Costs one more backward pass through the encoder a loss. Its order of
    projections is drawn from torch's global generator.
    """

    name = "pcgrad"

    def combine(self, losses: Tensor, shared: Callable) -> Tensor:
        """The sum, weighted so that its gradient is the projected ones' sum."""
        from torchjd.aggregation import PCGradWeighting

        if not (parameters := shared()):  # a frozen encoder: nothing contradicts anything
            return losses.sum()
        rows = [torch.cat([g.flatten() for g in _gradients(loss, parameters)]) for loss in losses]
        gradients = self.average(torch.stack(rows).float())
        weights = self.average(PCGradWeighting()(gradients @ gradients.T))
        return (weights.to(losses) * losses).sum()


BALANCES = {
    kind.name: kind
    for kind in (Balance, Geometric, Focused, Uncertainty, DynamicWeightAverage, GradNorm, PCGrad)
}


def make_balance(name: str) -> Balance:
    """A balance by its name; ValueError naming all of them otherwise."""
    check_known(f"unknown balance {name!r};", name, BALANCES)
    return BALANCES[name]()
