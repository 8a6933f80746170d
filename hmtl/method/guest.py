"""A guest in anybody's Learner: heads that are trained beside a network for as long as a fit runs.

A `Guest` is a fastai callback that knows nothing of what its heads are for. The network is neither
replaced nor wrapped: its representation is read by a hook, the heads live in the callback and share
the optimizer's last group. After any fit, interrupted ones included, the Learner is as it was, and
what is saved, exported or copied during one holds nothing of the heads.

    class Brightness(Guest):  # an auxiliary head in ten lines
        def after_pred(self):
            found = self.representation()["pooled"]
            answer = self.head("brightness", found, lambda width: nn.Linear(width, 1))(found)
            self._loss = F.mse_loss(answer[:, 0], self.xb[0].mean((1, 2, 3)))

        def total(self, loss):
            return loss + self._loss
"""

__all__ = ["Guest", "gathered", "mean_of_all", "slopes"]

import copy
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import chain
from typing import Annotated, Any

import torch
from annotated_types import Interval
from fastai.callback.core import Callback, CancelEpochException, CancelFitException, _inner_loop
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.hook import Hook
from fastai.callback.schedule import LRFinder
from fastai.learner import Learner
from fastcore.foundation import L
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from hmtl.files import as_kind
from hmtl.method.body import (
    Call,
    Watch,
    features_of,
    find_body,
    is_compiled,
    kept_in_backward,
    kept_statistics,
    path_of,
    same_part,
)
from hmtl.method.optim import Guests


class Guest(Callback):
    """Train heads beside the network of the Learner this is added to.

    A subclass asks its heads in `after_pred` and returns in `total` the loss that is differentiated
    in the place of the network's own. It may override `begin` and `end`, a fit's.

    Args:
        body: the module whose output is the representation; None: `find_body` looks for it.
        seed: where the heads' weights begin; None: torch's own seed.
    """

    # inside the autocast of mixed precision: before it leaves, after it has entered
    order = MixedPrecision.order - 1

    def __init__(self, body: nn.Module | None = None, seed: int | None = None):
        self.body = as_kind(body, nn.Module | None, "body")
        self.seed = as_kind(seed, Annotated[int, Interval(ge=0, lt=2**64)] | None, "seed")
        self._forget_heads()
        self._forget_fit()

    heads: dict[str, nn.Module]
    _widths: dict[str, int]
    _guests: Guests
    _beside: tuple[weakref.ref, weakref.ref] | None = None  # a Learner, its network's first weight

    def _forget_heads(self) -> None:
        # past fastai, which warns of a name that the network has too
        self.__dict__.update(heads={}, _widths={}, _guests=Guests(), _beside=None)

    def _forget_fit(self) -> None:
        self._host: Host | None = None
        self._found: tuple | None = None  # what there was before a search, which goes back to it
        self._watch: Watch | None = None
        self._main: list[Call] = []  # of the batch's own pass
        self._passes: list[Call] = []  # of all that are remembered
        self._asked_of: nn.Module | None = None
        self._handed_over = self._several = False

    def __getstate__(self) -> dict:
        # an exported Learner carries the plain network: heads are made anew if it trains again
        plain = self.__new__(type(self))
        plain.__dict__.update(self.__dict__, _shown=L())
        plain._forget_heads()
        plain._forget_fit()
        return plain.__dict__

    # -- what a subclass says ----------------------------------------------------------------

    _path: str | None = None  # of the body in the network
    _changed = 0  # of the batch's pictures, which grows with changes in place

    #: One module more that is learned beside the heads, if there is one.
    extra: nn.Module | None = None

    def begin(self) -> None:
        """A fit begins: check what can be checked; ValueError ends it."""

    def end(self) -> None:
        """It is over, however it ended."""

    def metrics(self) -> list:
        """fastai metrics that are shown for as long as a fit runs."""
        return []

    def total(self, loss: Tensor) -> Tensor:
        """The loss to differentiate, given the network's own."""
        return loss

    def forget(self) -> None:
        """The network is another one, of another fold say: what was learned beside it goes."""
        self._forget_heads()
        self.extra = None

    def explain(self, error: BaseException) -> None:
        """Raise a better error in the place of one that a batch raised."""

    # -- what it may use ---------------------------------------------------------------------

    def representation(self) -> dict[str, Tensor]:
        """What the network found in the batch: "pooled" (B, F) and perhaps "map" (B, C, h, w).

        Raises:
            ValueError: naming the cause, if the batch's own pass did not tell.
        """
        return self._told(self._main, self.xb[0])

    def second_pass(
        self, picture: Tensor, remember: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The network's output for another first input, and its representation.

        With `remember=False` batch norm's running statistics do not count it.
        """
        self._open(picture)
        keep = nullcontext() if remember else kept_statistics(self.model)
        held = _stored(self.model)
        with keep, _own_buffers(self.model):
            output = self.model(picture, *self.xb[1:])
        for hook, found in held:  # callbacks read there what the batch's own pass gave
            hook.stored = found
        calls = self._close()
        if not remember:
            kept_in_backward(self.model, self._kept, calls, self._passes)
        else:
            self._passes = [*self._passes, *calls]
        return output, self._told(calls, picture)

    def head(
        self, name: str, features: Tensor, make: Callable[[int], nn.Module | None]
    ) -> nn.Module | None:
        """The head `name` of a width that fits `features`; built by `make(width)` at first."""
        width = features.shape[1]
        if name not in self.heads:
            self.add_head(name, width, make, features.device)
        known = self._widths.get(name, width)  # unknown of a head set by hand
        if width != known:
            raise ValueError(
                f"the head of {name} was trained on {known} features, this network has {width}; "
                f"add a new {type(self).__name__}"
            )
        head = self.heads.get(name)
        if head is not None:
            head.train(self.training)
        return head

    def add_head(
        self, name: str, width: int, make: Callable[[int], nn.Module | None], device: torch.device
    ) -> None:
        """Build a head whose weights follow `seed` alone; None of `make` is no head."""
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # the model's own randomness stays as it was
            torch.manual_seed(self.fixed_seed())
            head = make(width)
        if head is None:
            return
        for norm in (m for m in head.modules() if isinstance(m, _BatchNorm)):
            norm.register_forward_pre_hook(_of_one)
        self.heads[name], self._widths[name] = self._shared(head.to(device)), width
        self._guests.enter(self.learn.opt, [self.heads[name]])

    def fixed_seed(self) -> int:
        """Where the heads' weights begin: `seed`, which is a number from now on."""
        if self.seed is None:
            self.seed = torch.initial_seed() % 2**63
        return self.seed

    def trained(self) -> list[nn.Module]:
        """Everything the optimizer trains beside the model."""
        return [*self.heads.values(), *([] if self.extra is None else [self.extra])]

    def watched(self) -> nn.Module:
        """The part of the network, or of another one built alike, that gives the representation."""
        return same_part(self.body, self._path, self.model)

    # -- a fit begins and ends ---------------------------------------------------------------

    def __call__(self, event_name: str):
        """Batches are the fit's own: others validate and predict without us, within one too."""
        if self.present or event_name not in _inner_loop:
            super().__call__(event_name)

    @property
    def _attached(self) -> bool:
        """Whether a fit goes on."""
        return self._host is not None

    @property
    def present(self) -> bool:
        """Whether a fit goes on, and no validation or prediction of others within it."""
        return self._host is not None and self._host.asks()

    def before_fit(self):
        """Add the metrics, and stand around what the Learner does."""
        if self._attached or self.learn.lock.locked():  # validate(), get_preds(), tta()
            return
        weights = [*self.model.parameters()]
        learn, first = self._beside or (lambda: self.learn, None)
        if first and learn() is not self.learn and not any(w is first() for w in weights):
            self.forget()
        self._beside = (weakref.ref(self.learn), weakref.ref(weights[0])) if weights else None
        self._path = path_of(self.body, self.model)
        self.begin()
        self.fixed_seed()
        # the learning-rate finder restores the model it tried; we restore what is ours
        if any(isinstance(callback, LRFinder) for callback in self.learn.cbs):
            states = copy.deepcopy([module.state_dict() for module in self.trained()])
            self._found = dict(self.heads), self.extra, states
        self._shown = L(self.metrics())
        self.learn.metrics = L(self.learn.metrics) + self._shown
        self._host = Host.of(self.learn)
        self._host.guests.append(self)

    def before_train(self):
        """Every process has the heads of the first one."""
        if not self._attached:
            raise ValueError(
                f"this {type(self).__name__} came into a fit that had begun: add it before, and "
                "switch it on and off by its `run` within an epoch"
            )
        if self._attached and isinstance(self.model, DistributedDataParallel) and not self._several:
            self._several = True
            for module in self.trained():
                self._shared(module)

    def hand_over(self) -> None:
        """Let the Learner's optimizer, a new one perhaps, train what is there already.

        Not in `before_fit`, whose optimizer the finder saves and restores.
        """
        if not (self._handed_over and self._guests.are_with(self.learn.opt)):
            self._guests.enter(self.learn.opt, self.trained())
            self._handed_over = True
            if self._host is not None:
                self._host.cover(self.learn.opt)

    def detach(self) -> None:
        """Leave the Learner as it was, if we are in it."""
        if self._host is None:
            return
        host, self._host = self._host, None
        self._close_hooks()
        host.left_by(self)
        self.learn.metrics = L(m for m in self.learn.metrics if m not in self._shown)
        if self._handed_over:
            if not host.guests:
                host.uncover(self.learn.opt)
            self._guests.leave(self.learn.opt, self.trained())
        if self._found is not None:
            self.heads, extra, states = self._found
            if self.extra is not extra:
                self.extra = extra
            for module, state in zip(self.trained(), states, strict=True):
                module.load_state_dict(state)
            self._guests = Guests()
        self._forget_fit()
        self.end()

    @property
    def learn(self) -> Learner:
        """The Learner this was added to; what it leaves has nothing of a fit that failed."""
        return self.__dict__.get("learn")

    @learn.setter
    def learn(self, learn: Learner | None):
        if self.__dict__.get("_host") is not None and learn is not self.learn:
            self.detach()
        self.__dict__["learn"] = learn

    # -- a pass ------------------------------------------------------------------------------

    @property
    def answer(self) -> Any:
        """What the network said of the batch, whatever callbacks made of it."""
        return None if self._host is None else self._host.answer

    def _find(self, inputs: Sequence) -> None:
        """Find the body of a network that nothing is known of, before its first pass."""
        if self.body is None and self._path is None:
            self._path = path_of(find_body(self.model, inputs), self.model)

    def _open(self, picture: Tensor) -> None:
        """Begin to watch the network as it is now: other callbacks may have put another in."""
        if len(getattr(self.model, "device_ids", None) or ()) > 1:
            raise ValueError(
                "DataParallel splits each batch among copies of the network, and which part saw "
                "what is unclear; use one device, or learn.distrib_ctx() on several processes"
            )
        size = picture.shape[-2:] if picture.ndim == 4 else None
        if self._watch is not None and self._compiled():
            self._watch.calls = []  # a compiled network knows the hooks of its first pass alone
            self._watch.size = size
            return
        self._close_hooks()
        self._watch = Watch(self.watched(), self.model, size)

    def _close(self) -> list[Call]:
        """End watching; what was seen."""
        if self._watch is None:
            return []
        if not self._compiled():
            self._close_hooks()
        return self._watch.calls

    def _told(self, calls: list[Call], picture: Tensor) -> dict[str, Tensor]:
        """The features of `picture` in a pass of the network; float32 but within autocast."""
        found = features_of(picture, calls, self.watched, self._compiled())
        mixed = torch.is_autocast_enabled(picture.device.type)
        return found if mixed else {name: value.float() for name, value in found.items()}

    def _compiled(self) -> bool:
        if self._asked_of is not self.model:
            self._asked_of, self._was_compiled = self.model, is_compiled(self.model)
        return self._was_compiled

    def _close_hooks(self) -> None:
        if self._watch is not None:
            self._watch.close()

    # -- several processes -------------------------------------------------------------------

    def average(self, own: Tensor) -> Tensor:
        """A loss as all processes have it, so that they weigh it alike; its gradient stays ours."""
        return own + (mean_of_all(own) - own).detach() if self._several else own

    def _shared(self, module: nn.Module) -> nn.Module:
        """A module as the first process has it, its batch norm over all if the network's is."""
        if not self._several:
            return module
        if any(isinstance(part, nn.SyncBatchNorm) for part in self.model.modules()):
            module = convert_sync_batchnorm(module)
        for tensor in chain(module.parameters(), module.buffers()):
            torch.distributed.broadcast(tensor.detach(), 0)
        return module

    def after_backward(self):
        """Average the gradients of the heads, which DistributedDataParallel does not see."""
        if not self._several:
            return
        grads = [p.grad for m in self.trained() for p in m.parameters() if p.grad is not None]
        if grads:  # in one message
            mean = mean_of_all(torch.cat([grad.flatten() for grad in grads]))
            for grad, part in zip(grads, mean.split([g.numel() for g in grads]), strict=True):
                grad.copy_(part.view_as(grad))

    def after_train(self):
        """Average the running statistics of the heads before they count."""
        if self._several:
            for module in self.trained():
                for name, buffer in module.named_buffers():
                    if name.endswith(("running_mean", "running_var")):
                        buffer.copy_(mean_of_all(buffer))


class Host(Callback):
    """What stands around a Learner while it has guests: one for all of them.

    Its order is before that of any other callback, so the guests see the loss and the features as
    the network gave them, and what others do to the loss is done to all of it.
    """

    order = -math.inf
    _METHODS = ("_with_events", "save", "load", "export", "parameters", "__deepcopy__")
    _STATES = ("state_dict", "load_state_dict", "__deepcopy__")  # of the optimizer

    def __init__(self, learn: Learner):
        self.learn = learn
        self.guests: list[Guest] = []
        self.answer: Any = None  # the network's own, before callbacks change it
        self._aside: list[tuple] = []  # what was shown before each validation within the fit
        self._began = False
        self._total: Tensor | None = None
        self._arrive()

    @classmethod
    def of(cls, learn: Learner) -> "Host":
        """The Learner's host, a new one if there is none."""
        return next((cb for cb in learn.cbs if isinstance(cb, cls)), None) or cls(learn)

    def left_by(self, guest: Guest) -> None:
        """Let a guest go, and leave after the last one."""
        self.guests.remove(guest)
        if not self.guests:
            self._depart()

    def _dismiss(self) -> None:
        for guest in list(self.guests):
            guest.detach()

    def _arrive(self) -> None:
        mine = vars(self.learn)  # the instance's names hide the methods
        self._own = {name: mine[name] for name in self._METHODS if name in mine}
        self._own_events, self._own_parameters = self.learn._with_events, self.learn.parameters
        mine |= {name: partial(self._plainly, name) for name in ("save", "load", "export")}
        mine |= {"_with_events": self._with_events, "parameters": self.parameters}
        mine["__deepcopy__"] = self._copied
        self.learn.cbs.append(self)

    def _depart(self) -> None:
        for name in self._METHODS:
            vars(self.learn).pop(name, None)
        vars(self.learn).update(self._own)
        self.learn.cbs.remove(self)

    # -- a fit, and what others validate or predict within it -----------------------------------

    def asks(self) -> bool:
        """Whether batches are the fit's own."""
        return not (self._aside or self.learn.lock.locked())

    def before_fit(self):
        """Others validate or predict: nobody is asked; before the first epoch none is shown."""
        recorder = getattr(self.learn, "recorder", None)
        names = getattr(recorder, "metric_names", None)
        self._aside.append((self.learn.metrics, recorder, names))
        if not self._began:  # or a fit failed there
            self.learn.metrics = self._others_metrics()

    def after_fit(self):
        """Leave the Learner as it was, after a validation or after the fit."""
        if not self._aside:
            self._dismiss()
            return
        self.learn.metrics, recorder, names = self._aside.pop()
        if names is not None:
            recorder.metric_names = names

    def _others_metrics(self) -> L:
        mine = [metric for guest in self.guests for metric in guest._shown]
        return L(m for m in self.learn.metrics if m not in mine)

    # -- a batch -----------------------------------------------------------------------------

    def _with_events(self, step: Callable, event: str, *args):
        # A Learner tells callbacks of cancelled fits, but not of errors and interrupts: guard the
        # epochs with what callbacks do before and after them. What an error before the first one
        # leaves goes when a guest is removed or the next fit begins.
        if event == "fit":
            self._dismiss()
        self._began = self._began or event == "epoch"
        try:
            step = partial(self._watched, step) if event == "batch" and self.asks() else step
            self._own_events(step, event, *args)
        except (CancelEpochException, CancelFitException):
            raise  # fastai's own control flow: after_fit still comes
        except BaseException as error:
            if event == "batch":
                for guest in self.guests:
                    guest.explain(error)
            if event == "epoch":
                self._dismiss()
            raise

    def _watched(self, step: Callable) -> None:
        """The batch's own pass comes next: every callback has done with its pictures."""
        for guest in self.guests:
            guest.hand_over()
            guest._find(self.learn.xb)
        for guest in self.guests:
            guest._open(self.learn.xb[0])
            guest._changed = self.learn.xb[0]._version if self.learn.training else 0
        step()

    def after_pred(self):
        """Keep the features of the batch's own pass, whatever passes others add."""
        if not self.asks():
            return
        self.answer = self.learn.pred
        for guest in self.guests:
            guest._main = guest._passes = guest._close()
            guest._kept = []

    def after_loss(self):
        """Put the guests' total in the place of the loss; `learn.loss` stays the network's own."""
        if not self.asks():
            return
        self._total = self.answer = None
        if not (self.training and len(self.yb)):
            return
        loss = self.learn.loss
        # others may yet weigh a loss per picture, and change ours and the total in place
        own = total = loss.mean() if loss.ndim else loss.clone()
        for guest in self.guests:
            if guest.run and guest.run_train:  # a callback may have switched it off
                total = guest.total(total)
        if total is not own and total.requires_grad:
            total = loss + (total - own) if loss.ndim else total.clone()
            # kept by their places in the graph: others may change the numbers in place
            of_own = self.learn.loss_grad
            self._edges = [get_gradient_edge(x) for x in (total, of_own) if x.requires_grad]
            self._plain, self._total = loss, total
            self.learn.loss_grad = total

    def before_backward(self):
        """Add the guests' part again if a callback built its loss on the network's own alone."""
        loss = self.learn.loss_grad
        if self._total is None or loss is self._total:
            return
        of_total, *rest = slopes(loss, self._edges)
        of_own = rest[0] if rest else None
        if of_total is None and of_own is None:
            raise ValueError(
                "a callback has put a loss of its own in the place of learn.loss_grad; let it add "
                "to learn.loss_grad, or multiply it"
            )
        if of_total is None:
            self.learn.loss_grad = loss + (of_own * (self._total - self._plain)).sum()

    # -- saving ------------------------------------------------------------------------------

    def parameters(self) -> Iterator[nn.Parameter]:
        """All that is trained: clipping a gradient, or reading its norm, is of the heads too."""
        own = (m.parameters() for guest in self.guests for m in guest.trained())
        return chain(self._own_parameters(), *own)

    def _plainly(self, name: str, *args, **kwargs) -> Any:
        """`learn.save`, `load` or `export` within a fit: of the Learner as it is after it."""
        with self._away():
            return getattr(self.learn, name)(*args, **kwargs)

    def _of_optimizer(self, name: str, *args, **kwargs) -> Any:
        """`opt.state_dict`, `load_state_dict` or a copy within a fit: without the heads."""
        with self._away():
            if name == "__deepcopy__":
                return copy.deepcopy(self.learn.opt, *args)
            return getattr(self.learn.opt, name)(*args, **kwargs)

    def cover(self, opt) -> None:
        """Let an optimizer tell and take states without the heads."""
        vars(opt).update({name: partial(self._of_optimizer, name) for name in self._STATES})

    def uncover(self, opt) -> None:
        """Give it back its own methods."""
        for name in self._STATES:
            vars(opt).pop(name, None)

    def _copied(self, memo: dict) -> Learner:
        """`copy.deepcopy(learn)` within a fit: the Learner as it is after it."""
        with self._away():
            return copy.deepcopy(self.learn, memo)

    @contextmanager
    def _away(self) -> Iterator[None]:
        """Leave the Learner for a while; heads, gradients and what is known of them stay."""
        guests = [guest for guest in self.guests if guest._handed_over]
        grads = [(p, p.grad) for g in guests for m in g.trained() for p in m.parameters()]
        for guest in guests:
            self.uncover(self.learn.opt)
            guest._guests.leave(self.learn.opt, guest.trained())
        shown = self.learn.metrics
        self._depart()
        self.learn.metrics = self._others_metrics()
        try:
            yield
        finally:
            self.learn.metrics = shown
            self._arrive()
            for guest in guests:
                guest._guests.follow(self.learn.opt)  # an export makes another optimizer
                guest._guests.enter(self.learn.opt, guest.trained())
                self.cover(self.learn.opt)
            for parameter, grad in grads:
                parameter.grad = grad


def slopes(
    loss: Tensor, edges: Sequence[GradientEdge] | Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """How a loss follows what lies at these edges of its graph; None where it does not."""
    if not (loss.requires_grad and edges):
        return (None,) * len(edges)
    return torch.autograd.grad(loss, edges, retain_graph=True, allow_unused=True)


def _of_one(norm: nn.Module, given: tuple[Tensor]) -> None:
    """One picture's one cell has no spread: batch norm does with it as at inference."""
    norm.train(norm.training and given[0].numel() > given[0].shape[1])


@contextmanager
def _own_buffers(model: nn.Module) -> Iterator[None]:
    """Without the broadcast of running statistics, which spoils the graph of the pass before."""
    if not (isinstance(model, DistributedDataParallel) and model.broadcast_buffers):
        yield
        return
    model.broadcast_buffers = False
    try:
        yield
    finally:
        model.broadcast_buffers = True


def _stored(model: nn.Module) -> list[tuple[Hook, Any]]:
    """fastai's hooks of a network, and what they hold."""
    calls = (call for module in model.modules() for call in module._forward_hooks.values())
    hooks = (getattr(call, "__self__", None) for call in calls)
    return [(hook, hook.stored) for hook in hooks if isinstance(hook, Hook)]


def mean_of_all(own: Tensor) -> Tensor:
    """Mean of a tensor over the processes; no gradient goes through it."""
    mean = own.detach().as_subclass(Tensor).clone()
    torch.distributed.all_reduce(mean)
    return mean / torch.distributed.get_world_size()


def gathered(own: Any) -> list:
    """Every process's value."""
    everyone: list = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, own)
    return everyone
