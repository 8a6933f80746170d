"""Optimizers by name: `OPTIMIZERS[name]` is the `opt_func` of a Learner.

    ""                   `fused_adam`: fastai's Adam as one fused kernel
    adabelief            timm's AdaBelief, as in the authors' first scripts
    adabelief_lookahead  the same with timm's Lookahead, as in the later ones
    muon                 timm's Muon: fewer passes to the same accuracy (papers/PERFORMANCE.md)

AdaBelief (Zhuang et al., arXiv 2010.07468) is rectified (arXiv 1908.03265) and its weight decay
decoupled; its momenta are 0.9 and 0.999. Lookahead (Zhang et al., arXiv 1907.08610) pulls the
weights halfway back to slow ones every six steps; timm's slow weights begin at the sixth step.
Muon (Jordan et al., https://kellerjordan.github.io/posts/muon) makes the singular values of each
matrix's momentum equal before the step; its steps have the length of Adam's (arXiv 2502.16982).

The fused Adam has fastai's numbers up to rounding. fastai updates each weight by a dozen small
operations, from Python; torch has one kernel for all weights at once. Its equations are the same
(Kingma and Ba, arXiv 1412.6980; decoupled weight decay, Loshchilov and Hutter, arXiv 1711.05101),
and so are the names of the state: a saved optimizer of one loads into the other.
"""

__all__ = [
    "OPTIMIZERS", "FusedAdam", "Guests", "Lookahead", "adabelief", "adabelief_lookahead",
    "fused_adam", "muon", "states_by_parameter",
]  # fmt: skip

import weakref
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import timm.optim
import torch
from fastai.optimizer import Adam, Optimizer, OptimWrapper
from torch import Tensor, nn
from torch.optim.adam import adam


class FusedAdam(Optimizer):
    """fastai's Adam, stepping all weights of a group at once; see `fused_adam`."""

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next ones are written instead of added."""
        for group in self.param_lists:
            for weight in group:
                weight.grad = None

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step; weights without a gradient stay. `closure` must be None, as in fastai."""
        if closure is not None:
            raise NotImplementedError("fastai optimizers take no closure")
        for group, hyper in zip(self.param_lists, self.hypers, strict=True):
            decayed: dict[bool, list[Tensor]] = {True: [], False: []}
            for weight in group:
                if weight.grad is not None:
                    decayed[self.state[weight].get("do_wd", True)].append(weight)
            for decays, weights in decayed.items():
                if weights:
                    self._step(weights, hyper, hyper["wd"] if decays else 0.0)

    def _step(self, weights: list, hyper: dict, wd: float) -> None:
        states = [self._started(weight) for weight in weights]
        gradients = [self._as_laid(weight.grad, weight) for weight in weights]
        firsts, seconds = ([state[name] for state in states] for name in ("grad_avg", "sqr_avg"))
        # the kernel counts steps in tensors; the state counts them in Python, as fastai does
        counts = torch.tensor([float(state["step"]) for state in states])
        counts = counts.to(weights[0].device, non_blocking=True)
        adam(
            weights, gradients, firsts, seconds, [], list(counts.unbind()),
            fused=True, decoupled_weight_decay=True, amsgrad=False, beta1=hyper["mom"],
            beta2=hyper["sqr_mom"], lr=hyper["lr"], weight_decay=wd, eps=hyper["eps"],
            maximize=False,
        )  # fmt: skip
        for state in states:
            state["step"] += 1

    @staticmethod
    def _as_laid(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The tensor in the memory layout of `weight`."""
        if tensor.stride() == weight.stride():
            return tensor
        return torch.empty_like(weight).copy_(tensor)

    def _started(self, weight: torch.Tensor) -> dict:
        """The state of a weight, from its first step on."""
        state = self.state[weight]
        if "grad_avg" not in state:
            state.update(
                grad_avg=torch.zeros_like(weight), sqr_avg=torch.zeros_like(weight), step=0
            )
        for name in ("grad_avg", "sqr_avg"):
            # the kernel walks through memory: a layout that changed since is followed
            state[name] = self._as_laid(state[name], weight)
        return state


def states_by_parameter(opt) -> list[dict]:
    """The states by parameter of a fastai optimizer: its own, and of the torch one it may wrap."""
    optimizers: tuple[Any, ...] = (opt, getattr(opt, "opt", None))
    states = [o.state for o in optimizers if hasattr(o, "state")]
    # a wrapper such as fastai's Lookahead passes on the state of what it wraps: one, not two
    return [s for i, s in enumerate(states) if all(s is not other for other in states[:i])]


class Guests:
    """Modules that a fastai optimizer trains for a while, in its last group, beside a model's.

    What it knew of their parameters when they left, momenta and Lookahead's slow weights, is kept
    for when they enter it again; another optimizer begins anew with them, as with the model. In
    between it is as if they had never been there: it is saved and loaded without them.
    """

    def __init__(self) -> None:
        self.states: dict[Tensor, list[dict]] = {}
        self._slow: dict[Tensor, Tensor] = {}
        self._of: weakref.ref | None = None  # the optimizer that knew them

    def enter(self, opt, modules: Iterable[nn.Module]) -> None:
        """Let `opt` train the parameters of `modules`, in their order."""
        if not self.are_with(opt):
            self.states, self._slow, self._of = {}, {}, weakref.ref(opt)
        slow = getattr(opt, "slow_weights", None)  # fastai's Lookahead, in the order of its groups
        for parameter in _parameters(modules):
            opt.param_lists[-1].append(parameter)
            kept = self.states.get(parameter, [{}, {}])
            for state, own in zip(states_by_parameter(opt), kept, strict=False):
                # set even if empty: a loaded optimizer's state is no defaultdict any more
                state[parameter] = own
            if slow is not None:
                slow[-1].append(self._slow.pop(parameter, parameter.detach().clone()))

    def are_with(self, opt) -> bool:
        """Whether it is `opt` that they entered last."""
        return self._of is not None and self._of() is opt

    def follow(self, opt) -> None:
        """Take `opt` for the optimizer they left: it holds the state of that one."""
        self._of = weakref.ref(opt)

    def leave(self, opt, modules: Iterable[nn.Module]) -> None:
        """Take them out of `opt`; their gradients go."""
        mine = {id(parameter): parameter for parameter in _parameters(modules)}
        slow = getattr(opt, "slow_weights", None)
        for number, group in enumerate(opt.param_lists):
            for i in reversed(range(len(group))):
                if id(group[i]) in mine:
                    if slow is not None:
                        self._slow[group[i]] = slow[number][i]
                        del slow[number][i]
                    del group[i]
        for parameter in mine.values():
            parameter.grad = None
            self.states[parameter] = [s.pop(parameter, {}) for s in states_by_parameter(opt)]


def _parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters()]


def fused_adam(params, lr: float, **hypers) -> FusedAdam:
    """The `opt_func` of a Learner: fastai's `Adam` (its defaults too) as a `FusedAdam`.

    For dense floating-point weights on a CPU or a CUDA device. Raises ValueError for
    `decouple_wd=False`, which it does not have.
    """
    if not hypers.get("decouple_wd", True):
        raise ValueError("fused_adam has decoupled weight decay only; use fastai's Adam")
    plain = Adam(params, lr=lr, **hypers)
    fused = FusedAdam(plain.param_lists, plain.cbs, lr=lr)
    for own, hyper in zip(fused.hypers, plain.hypers, strict=True):
        own.update(hyper)
    return fused


class Lookahead(timm.optim.Lookahead):
    """timm's Lookahead whose `state` is that of the optimizer it wraps.

    timm keeps an empty one beside it, so fastai could not clear what the optimizer knows.
    """

    @property
    def state(self) -> defaultdict[Tensor, Any]:
        """What is known of each weight, slow weights included."""
        return self._base_optimizer.state

    @state.setter
    def state(self, value: defaultdict[Tensor, Any]) -> None:
        self._base_optimizer.state = value


def adabelief(params, lr: float, **hypers) -> OptimWrapper:
    """The `opt_func` of a Learner: timm's `AdaBelief`; `hypers` are its own.

    fastai's exception of biases and batch norm from weight decay does not reach it: with `wd` above
    0 all weights decay.
    """
    return OptimWrapper(params, opt=timm.optim.AdaBelief, lr=lr, **hypers)


def adabelief_lookahead(params, lr: float, **hypers) -> OptimWrapper:
    """`adabelief` with Lookahead, six steps and half the way."""

    def make(groups, **options):
        return Lookahead(timm.optim.AdaBelief(groups, **options))

    return OptimWrapper(params, opt=make, lr=lr, **hypers)


def muon(params, lr: float, **hypers) -> OptimWrapper:
    """The `opt_func` of a Learner: timm's `Muon` for the backbone, its NAdamW for the rest.

    Convolutions count as matrices (out, in x height x width). Biases, batch norm and the last
    group, which holds the heads, take NAdamW's steps, at the same rate. The matrices are
    orthogonalised in bfloat16, which costs more on a processor without units for it.

    Args:
        params: One list of parameters a group. A single group has no heads: all its matrices are
            Muon's.
        lr: Learning rate, above 0; 8e-3 in the trials of the network "tiny" at batches of 128.
        hypers: Muon's own options (`timm.optim.Muon`).

    Returns:
        The optimizer, wrapped for fastai. A schedule's momentum reaches NAdamW alone; Muon's
        stays 0.95. As of `adabelief`, weight decay reaches all weights.
    """

    def make(groups, **options):
        for group in groups:
            group["use_fallback"] = len(groups) > 1 and group is groups[-1]
        return timm.optim.Muon(groups, **options)

    return OptimWrapper(params, opt=make, lr=lr, **hypers)


OPTIMIZERS = {
    "": fused_adam, "adabelief": adabelief, "adabelief_lookahead": adabelief_lookahead,
    "muon": muon,
}  # fmt: skip
