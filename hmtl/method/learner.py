"""Hybrid training: `Hybrid`, a fastai callback for any Learner; `hmtl_learner` builds one.

Pretext tasks are trained beside the supervised task from the first step (papers/hmtl/card.md). Two
ways to show the network a pretext's picture:

    views="shared"  the supervised head sees the transformed picture too (the first scripts)
    views="paired"  the picture goes through untouched, its transformed version in a second pass;
                    the supervised loss of all views is combined by the geometric mean (the later
                    scripts)

The model itself is never changed: the pretext heads live in the callback, read the representation
through a forward hook, and share the optimizer only while a fit runs. So what is trained, saved and
used afterwards is the plain supervised network (claim C8).
"""

__all__ = ["AUTHORS_SCALES", "Answers", "Hybrid", "build_model", "hmtl_learner"]

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from fastai.callback.core import (
    Callback,
    CancelEpochException,
    CancelFitException,
)
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.mixup import MixHandler
from fastai.callback.schedule import LRFinder
from fastai.data.transforms import Normalize
from fastai.learner import Learner
from fastai.metrics import ValueMetric
from fastai.torch_core import TensorMask, params
from fastai.vision.core import TensorBBox, TensorPoint
from fastcore.foundation import L
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hmtl.method.balance import Balance, geometric_mean, make_balance
from hmtl.method.body import Watch, find_body
from hmtl.method.encoder import Encoder
from hmtl.method.optim import Guests, fused_adam
from hmtl.method.pretext import Pretext, make
from hmtl.method.pretext.base import batch_steps
from hmtl.method.pretext.composite import check_shared
from hmtl.method.tasks import Emotion, Task

VIEWS = ("shared", "paired")
_PLACES = (TensorPoint, TensorBBox, TensorMask)  # labels that move with the pixels
# The puzzled picture at three sizes, drawn once a batch: 113-128, 112 and 64-111 px of 112 [C].
AUTHORS_SCALES = ((113 / 112, 128 / 112), 1.0, (64 / 112, 111 / 112))


class Hybrid(Callback):
    """Train pretext tasks beside the supervised task of the Learner this is added to.

    `pretexts` are tasks or their short names (`hmtl.method.pretext.make`). They see pictures in [0,
    1], whether the DataLoaders normalise or not. `weight` multiplies their losses: a number for
    all, or a dict by pretext name; by default each task's own (of tiles the authors': 1 for shared
    views, 0.3 for paired ones). `balance` says how the losses
    become one (`hmtl.method.balance`): a name or a `Balance`. Several pretexts on a shared view are
    asked of one picture, transformed by each in turn; on paired views each has its own. `scales`
    are the relative sizes of the transformed views in paired mode, numbers or (low, high) ranges
    drawn once a batch (`AUTHORS_SCALES` for the authors' three). `label_views=False` takes the
    supervised loss on the untouched picture only; None is what the supervised `task` says, by
    default that of the DataLoaders: True, but of head pose for plain views only, such as the
    control's. Views without labels leave no trace in batch norm's running statistics. `body` is the
    module that yields the representation (`find_body`). A fit raises ValueError if a pretext would
    make the task's labels wrong.

    Logged by name for each pretext: `train_<name>_loss`; on the validation images `<name>_loss`
    and `<name>_score`. After any fit, interrupted ones included, the Learner is as it was; what is
    saved during one holds nothing of the heads.
    """

    # inside the autocast of mixed precision: before it leaves, after it has entered
    order = MixedPrecision.order - 1
    # of a run on several processes (hmtl.runs.distributed): the mean of a tensor over them, and
    # what is done to a new head
    average: Callable[[Tensor], Tensor] | None = None
    prepare_head: Callable[[nn.Module], nn.Module] = staticmethod(lambda head: head)

    def __init__(
        self,
        pretexts: Pretext | str | Iterable[Pretext | str],
        views: str = "paired",
        *,
        weight: float | dict[str, float] | None = None,
        scales: Sequence = (1.0,),
        label_views: bool | None = None,
        body: nn.Module | None = None,
        seed: int | None = None,
        balance: str | Balance = "sum",
        task: Task | None = None,
    ):
        if isinstance(pretexts, Pretext | str) or not isinstance(pretexts, Iterable):
            pretexts = [pretexts]
        self.pretexts = [make(p) if isinstance(p, str) else p for p in pretexts]
        if not self.pretexts or not all(isinstance(p, Pretext) for p in self.pretexts):
            raise ValueError(f"pretexts must be tasks or their names, at least one: {pretexts!r}")
        if views not in VIEWS:
            raise ValueError(f"unknown views {views!r}; one of {', '.join(VIEWS)}")
        if views == "shared":
            check_shared(self.pretexts)
        self.balance = make_balance(balance) if isinstance(balance, str) else balance
        if not isinstance(self.balance, Balance):
            raise ValueError(f"balance must be a name or a Balance, not {balance!r}")
        if not isinstance(scales, Sequence):
            raise ValueError(f"scales must be several relative sizes, such as (1.0,), not {scales}")
        if not (weight is None or isinstance(weight, int | float | dict)):
            raise ValueError(f"weight must be a number or a dict by pretext name, not {weight!r}")
        if not (task is None or isinstance(task, Task)):
            raise ValueError(f"task must be a Task such as hmtl.Emotion(), not {task!r}")
        for pretext in self.pretexts:
            if views not in pretext.weight:
                raise ValueError(f"{pretext.name} needs views={' or '.join(pretext.weight)!r}")
        names = [pretext.name for pretext in self.pretexts]
        if len(set(names)) < len(names):
            raise ValueError(f"a pretext is given twice: {', '.join(names)}")
        self.weights = {p.name: p.weight[views] for p in self.pretexts}
        given = weight if isinstance(weight, dict) else dict.fromkeys(self.weights, weight)
        if unknown := set(given) - set(self.weights):
            raise ValueError(f"weight names {sorted(unknown)}, the pretexts are {names}")
        self.weights |= {name: value for name, value in given.items() if value is not None}
        self.views, self.scales, self.label_views = views, tuple(scales), label_views
        self.body, self.seed, self.task = body, seed, task
        self.heads: dict[str, nn.Module] = {}
        self._widths: dict[str, int] = {}
        self._guests = Guests()
        self._watch: Watch | None = None
        self._shown: tuple | None = None  # by whom, the shapes of the view and of the picture
        self._parts: dict[str, Tensor] = {}
        self._normalize: tuple[Tensor, Tensor] | None = None
        self._balanced_count = 0
        self._attached = self._running = False
        self.generator: torch.Generator | None = None

    def __getstate__(self) -> dict:
        # an exported Learner carries the plain network: heads are made anew if it trains again
        return {**self.__dict__, "heads": {}, "_guests": Guests()}

    def __repr__(self) -> str:
        return f"Hybrid({self.pretexts}, views={self.views!r})"

    # -- a fit begins and ends ---------------------------------------------------------------

    def before_fit(self):
        """Hook the encoder, hand the heads to the optimizer, add the metrics."""
        if self._only_validating():
            if not self._running:  # a fit that failed before its first epoch left us attached
                self._detach()
            return
        if sum(isinstance(cb, Hybrid) for cb in self.learn.cbs) > 1:
            raise ValueError(
                "this Learner has two Hybrid callbacks; give all pretexts to one, and call "
                "learn.remove_cbs(Hybrid) before adding another"
            )
        self._detach()
        self._labelled = self._check_task()
        for pretext in self.pretexts:
            pretext.attach(self.dls)
        if self.seed is None:
            self.seed = torch.initial_seed() % 2**63
        if self.generator is None:
            self.generator = self._generator(0)
        self._normalize = self._find_normalize()
        self._watch = Watch(self._body())
        self._old_metrics = self.learn.metrics
        self.learn.metrics = L(self._old_metrics) + self._metrics()
        # A Learner tells callbacks of cancelled fits, but not of errors and interrupts: guard the
        # epochs with what callbacks do before and after them. What an error before the first one
        # leaves goes when this callback is removed or the next fit begins.
        self._old_events, self._old_save = self.learn._with_events, self.learn.save
        self.learn._with_events, self.learn.save = self._guarded_events, self._save
        self._sums: dict = defaultdict(lambda: [0.0, 0])
        self._searching = any(isinstance(cb, LRFinder) for cb in self.learn.cbs)
        if self._searching:  # the finder restores the model afterwards; we restore our own
            self._found_heads = {name: _copied(head) for name, head in self.heads.items()}
            learned = self.balance.module
            self._found_balance = None if learned is None else _copied(learned)
        self._attached, self._handed_over = True, False
        self._balanced_count = 0

    def _check_task(self) -> set[str]:
        """Pretexts whose views are labelled; ValueError if one breaks the task's labels."""
        task = self.task or task_of(self.dls) or Task()
        labelled = task.labelled(self.pretexts, self.label_views)
        if labelled and (places := [t for t in _types(self.dls.train) if issubclass(t, _PLACES)]):
            raise ValueError(
                f"{places[0].__name__} labels are places in the picture, and do not follow "
                f"{sorted(labelled)[0]}; pass label_views=False"
            )
        mixed = [cb for cb in self.learn.cbs if isinstance(cb, MixHandler)]
        if mixed and (plain := [p.name for p in self.pretexts if p.plain_view]):
            raise ValueError(
                f"{type(mixed[0]).__name__} mixes pictures and labels, and {plain[0]} shows the "
                "unmixed picture once more; use one of them"
            )
        task.check_pretexts(self.pretexts, self.views, labelled)
        return labelled

    def _find_normalize(self) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation by which the DataLoaders normalise, if they do."""
        for step in batch_steps(self.dls.train):
            if isinstance(step, Normalize):
                return step.mean, step.std
        return None

    def _body(self) -> nn.Module:
        return find_body(self.model) if self.body is None else self.body

    def after_fit(self):
        """Leave the Learner as it was."""
        if not self._only_validating():
            self._detach()

    def _only_validating(self) -> bool:
        # validate() and get_preds() fire before_fit and after_fit too, under the Learner's lock;
        # there the model is used as it will be at inference, and inside a fit nothing may end
        return self.learn.lock.locked()

    def before_epoch(self):
        """From here on the fit runs: every callback's before_fit has succeeded."""
        if self._attached and not self._only_validating():
            self._running = True

    def _guarded_events(self, step: Callable, event: str, *args):
        try:
            self._old_events(step, event, *args)
        except (CancelEpochException, CancelFitException):
            raise  # fastai's own control flow: after_fit still comes
        except BaseException as error:
            if event == "batch":
                self._tell_sizes(error)
            if event == "epoch":
                self._detach()
            raise

    @property
    def learn(self) -> Learner | None:
        """The Learner this was added to; when it is removed, nothing of a fit that failed stays."""
        return self.__dict__.get("learn")

    @learn.setter
    def learn(self, learn: Learner | None):
        if learn is None and self.__dict__.get("_attached"):
            self._detach()
        self.__dict__["learn"] = learn

    def _save(self, *args, **kwargs) -> Path:
        """`learn.save` within a fit: model and optimizer as they are after it, without our heads,
        with which fastai would not load the optimizer again."""
        if not self._handed_over:
            return self._old_save(*args, **kwargs)
        grads = [(p, p.grad) for head in self.trained() for p in head.parameters()]
        self._guests.leave(self.learn.opt, self.trained())
        try:
            return self._old_save(*args, **kwargs)
        finally:
            self._guests.enter(self.learn.opt, self.trained())
            for parameter, grad in grads:
                parameter.grad = grad

    def _detach(self):
        if not self._attached:
            return
        self._attached = self._running = False
        self._watch.close()
        self.learn.metrics = self._old_metrics
        del self.learn._with_events, self.learn.save  # the instance's, which hid the methods
        self._guests.leave(self.learn.opt, self.trained())
        if self._searching:
            self.heads = {n: self.heads[n] for n in self._found_heads}
            for name, state in self._found_heads.items():
                self.heads[name].load_state_dict(state)
            if self._found_balance is None:
                self.balance.module = None
            else:
                self.balance.module.load_state_dict(self._found_balance)
            self._guests = Guests()
        self._watch = self._predictions = self._view_losses = self._shown = None
        self._parts = {}

    def trained(self) -> list[nn.Module]:
        """Everything the optimizer trains beside the model."""
        learned = self.balance.module
        return [*self.heads.values(), *([] if learned is None else [learned])]

    # -- a batch -----------------------------------------------------------------------------

    def before_train(self):
        if not self._handed_over:
            # not in before_fit: what the learning-rate finder saves there is restored after we left
            self._guests.enter(self.learn.opt, self.trained())
            self._handed_over = True
        self._sums.clear()
        self._draw = self.generator

    def before_validate(self):
        # the same puzzles after every epoch, so that scores compare
        if self._attached:
            self._draw = self._generator(1)

    def before_batch(self):
        """Shared views: the supervised head sees the transformed picture."""
        self._predictions, self._view_losses, self._parts, self._shown = {}, [], {}, None
        if self._attached and self.training and self.views == "shared":
            self._target = self._transform_shared()

    def _transform_shared(self) -> dict:
        view, targets = self._chain(self._picture())
        self._shown = "+".join(targets), view.shape, self.xb[0].shape
        self.learn.xb = (self._seen(view), *self.xb[1:])
        for pretext in self.pretexts:
            self.learn.yb = pretext.relabel(self.yb)
        return targets

    def _picture(self) -> Tensor:
        """The batch's pictures in [0, 1], as pretexts see them, whatever the DataLoaders do."""
        return self._unnormalized(self.x)

    def _unnormalized(self, picture: Tensor) -> Tensor:
        picture = picture.as_subclass(Tensor)  # fastai's costs a dispatch for every operation
        if self._normalize is None:
            return picture
        mean, std = (t.as_subclass(Tensor).to(picture) for t in self._normalize)
        return picture * std + mean

    def _seen(self, view: Tensor) -> Tensor:
        """A view in [0, 1] as the model sees it."""
        if self._normalize is None:
            return view
        mean, std = (t.as_subclass(Tensor).to(view) for t in self._normalize)
        return (view - mean) / std

    def _chain(self, picture: Tensor) -> tuple[Tensor, dict]:
        """One picture transformed by every pretext in turn, and their targets by name."""
        targets = {}
        for pretext in self.pretexts:
            picture, targets[pretext.name] = pretext.transform(picture, self._draw)
        return picture, targets

    def after_pred(self):
        """Ask the pretext heads; paired views take their second pass here."""
        if not self._attached:
            return
        self._shown = None
        shared = self.views == "shared"
        if self.training and shared:
            for pretext in self.pretexts:
                self._ask(pretext, self._target[pretext.name])
            return
        picture, main = self._picture(), self._watch.features
        if self.training:
            for pretext in self.pretexts:
                self._pass_views(pretext, picture, main)
        elif shared and any(self.heads.get(p.name) is not None for p in self.pretexts):
            view, targets = self._chain(picture)
            self._look(view, "+".join(targets))
            for pretext in self.pretexts:
                self._ask(pretext, targets[pretext.name])
        elif not shared:
            for pretext in self.pretexts:
                if self.heads.get(pretext.name) is not None:
                    view, target = pretext.transform(picture, self._draw)
                    self._look(view, pretext.name)
                    self._ask(pretext, target, main)

    def skip(self, count: int):
        """Draw the puzzles of `count` validation pictures that another process sees.

        So ours are those that they would be in a single process.
        """
        asked = [p for p in self.pretexts if self.heads.get(p.name) is not None]
        if not self._attached or not asked:
            return
        others = torch.zeros_like(self._picture()[:1]).repeat(count, 1, 1, 1)
        if self.views == "shared":
            self._chain(others)
            return
        for pretext in asked:
            pretext.transform(others, self._draw)

    def _pass_views(self, pretext: Pretext, picture: Tensor, main: dict):
        view, target = pretext.transform(picture, self._draw)
        labels = pretext.relabel(self.yb)
        labelled = pretext.name in self._labelled
        for scale in self.scales:
            with nullcontext() if labelled else self._statistics_kept():
                output = self._look(self._rescale(view, scale), pretext.name)
            self._ask(pretext, target, main)
            if labelled:
                self._view_losses.append(self.learn.loss_func(output, *labels))

    def _look(self, view: Tensor, name: str) -> Tensor:
        """What the network says of a view of its own."""
        self._shown = name, view.shape, self.xb[0].shape
        output = self.model(self._seen(view), *self.xb[1:])
        self._shown = None
        return output

    def _tell_sizes(self, error: BaseException):
        """ValueError for the error of a network of one size that is shown a view of another."""
        if self._shown is None or not isinstance(error, AssertionError):  # timm's
            return
        name, *shapes = self._shown
        size, own = ([*map(int, shape[-2:])] for shape in shapes)
        if size != own:
            raise ValueError(
                f"{name} shows the network pictures of {size}, the loader's are {own}, and this "
                "network takes no other size than its own; choose a size that the grid divides, "
                "no other scales, and for a vision transformer dynamic_img_size=True"
            ) from error

    @contextmanager
    def _statistics_kept(self):
        """Batch norm works on the batch but does not remember it.

        At inference a network sees no puzzles. Where the supervised head is not trained on a
        pretext's views, running means that count them are wrong for all that it will see: with them
        the error of a head pose is twice what the same weights give (papers/LOG.md).
        """
        norms = [m for m in self.model.modules() if isinstance(m, _BatchNorm)]
        kept = [norm for norm in norms if norm.track_running_stats]
        for norm in kept:
            norm.track_running_stats = False
        try:
            yield
        finally:
            for norm in kept:
                norm.track_running_stats = True

    def _rescale(self, view: Tensor, scale) -> Tensor:
        if scale == 1:
            return view
        if not isinstance(scale, int | float):
            low, high = scale
            scale = low + (high - low) * float(torch.rand((), generator=self._draw))
        size = [round(side * scale) for side in view.shape[-2:]]
        return F.interpolate(view, size, mode="bilinear", align_corners=False)

    def _read(self, pretext: Pretext, features: dict) -> Tensor:
        """What a pretext's head hangs on."""
        if pretext.reads not in features:
            raise ValueError(
                f"{pretext.name} needs the encoder's feature map, and none was found; use a task "
                "on the pooled representation, or pass body= whose output is a map"
            )
        found = features[pretext.reads]
        return found.detach() if pretext.cut_off else found

    def _ask(self, pretext: Pretext, target, main: dict | None = None):
        """Ask a pretext's head about the view just seen; `main` are the untouched picture's
        features, which a siamese task holds its own against."""
        features = self._read(pretext, self._watch.features)
        if pretext.name not in self.heads:
            self._make_head(pretext, features.shape[1], features.device)
        head = self.heads.get(pretext.name)
        if head is None:
            return
        width = self._widths.get(pretext.name, features.shape[1])  # unknown of a head set by hand
        if features.shape[1] != width:
            raise ValueError(
                f"the head of {pretext.name} was trained on {width} features, this network has "
                f"{features.shape[1]}; add a new Hybrid"
            )
        head.train(self.training)
        prediction = head(features)
        if pretext.siamese:
            target = head(self._read(pretext, main)).float()
        if isinstance(prediction, Tensor):  # half precision ends here
            prediction = prediction.float()
        loss = pretext.loss(prediction, target)
        self._predictions.setdefault(pretext.name, []).append(loss)
        prefix = "train_" if self.training else ""
        self._add(f"{prefix}{pretext.name}_loss", loss.detach(), len(features))
        if not self.training:
            with torch.no_grad():
                score = pretext.score(prediction, target)
            self._add(f"{pretext.name}_score", score, len(features))

    def _make_head(self, pretext: Pretext, width: int, device: torch.device):
        """Heads are built when the first features show how wide they must be."""
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # the model's own randomness stays as it was
            torch.manual_seed(self.seed)
            head = pretext.head(width)
        if head is not None:
            self.heads[pretext.name] = self.prepare_head(head.to(device))
            self._widths[pretext.name] = width
            self._guests.enter(self.learn.opt, [self.heads[pretext.name]])

    def state(self) -> dict:
        """What a later `restore` needs beside model and optimizer, between two epochs of a fit."""
        return {
            "widths": dict(self._widths),
            "heads": {name: head.state_dict() for name, head in self.heads.items()},
            "losses": self._balanced_count,
            "balance": self.balance.state_dict() if self._balanced_count else {},
        }

    def restore(self, state: dict) -> None:
        """Bring heads and balance, in a fit that has just begun, to what `state` returned.

        The optimizer has their parameters in the same order as then.
        """
        known, device = {p.name: p for p in self.pretexts}, torch.device(self.dls.device)
        self._guests.enter(self.learn.opt, self.trained())
        for pretext in self.pretexts:
            pretext.prepare(device)
        for name, width in state["widths"].items():
            if name not in self.heads:
                self._make_head(known[name], width, device)
            self.heads[name].load_state_dict(state["heads"][name])
        if state["losses"]:
            self._start_balance(state["losses"], device)
            self.balance.load_state_dict(state["balance"])
        self._handed_over = True

    def after_loss(self):
        """Add the pretexts' losses to what is differentiated; `learn.loss` stays supervised."""
        if not (self._attached and self.training):
            return
        loss = self.learn.loss
        # what another callback did to the loss before us, gradient accumulation say, is kept
        share = torch.where(loss == 0, 1.0, self.learn.loss_grad / loss).detach()
        own = geometric_mean([self._of_all(part) for part in (loss, *self._view_losses)])
        if self._view_losses and loss < 0:
            raise ValueError(
                f"the supervised loss is {loss.item():.3g}; labelled views combine losses by the "
                "geometric mean, which needs them above 0: pass label_views=False"
            )
        self._parts["supervised"] = own
        for name, losses in self._predictions.items():
            if self.weights[name]:
                self._parts[name] = self._of_all(self.weights[name] * sum(losses) / len(losses))
        total = self._balanced(list(self._parts.values()))
        self.learn.loss_grad = share * total

    def _of_all(self, own: Tensor) -> Tensor:
        """A loss as all processes have it, so that they weigh it alike; its gradient stays ours."""
        return own if self.average is None else own + (self.average(own) - own).detach()

    def losses(self) -> dict[str, float]:
        """The last training batch's losses by name, as they are balanced: "supervised" first."""
        return {name: float(loss.detach()) for name, loss in self._parts.items()}

    def _balanced(self, parts: list[Tensor]) -> Tensor:
        """The supervised loss and the pretexts' weighted ones as one."""
        if len(parts) == 1:
            return parts[0]
        losses = torch.stack([part.as_subclass(Tensor) for part in parts])
        if self._balanced_count != len(parts):
            self._start_balance(len(parts), losses.device)
        return self.balance.combine(losses, self._shared_parameters)

    def _start_balance(self, count: int, device: torch.device):
        known = self.balance.module
        self.balance.start(count, device)
        if self.balance.module is not None and self.balance.module is not known:
            self._guests.enter(self.learn.opt, [self.balance.module])
        self._balanced_count = count

    def _shared_parameters(self) -> list[Tensor]:
        """The encoder's trainable parameters, in order."""
        # a timm model's pooling has none: all but the classifier then
        found = [p for p in self._body().parameters() if p.requires_grad]
        return found or [p for p in self.model.parameters() if p.requires_grad][:-2]

    def after_train(self):
        """Let the balance see that an epoch ended."""
        if self._attached and self._balanced_count:
            self.balance.after_epoch()

    # -- small parts -------------------------------------------------------------------------

    def _generator(self, stream: int) -> torch.Generator:
        # Not manual_seed(seed): the augmentation starts there, and a second view would repeat the
        # first one, number by number.
        mixed = np.random.SeedSequence([self.seed, 2105, stream]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(mixed[0] >> 1))

    def _add(self, name: str, value: Tensor, count: int):
        # kept on the device: reading a number would make a GPU wait
        entry = self._sums[name]
        entry[0] = entry[0] + value.detach().float() * count
        entry[1] += count

    def gather_scores(self, gather: Callable[[dict], list[dict]]):
        """Add to this epoch's losses and scores what other processes counted."""
        own = {name: (float(total), count) for name, (total, count) in self._sums.items()}
        for name, entry in _add_up(gather(own)).items():
            self._sums[name] = entry

    def _mean(self, name: str) -> float:
        total, count = self._sums[name]
        return float(total) / count if count else float("nan")

    def _metrics(self) -> list:
        shown = [p.name for p in self.pretexts if type(p).loss is not Pretext.loss]
        names = [m for n in shown for m in (f"train_{n}_loss", f"{n}_loss", f"{n}_score")]
        return [ValueMetric(lambda name=name: self._mean(name), name) for name in names]

    @torch.no_grad()
    def ask(self, images: Tensor, name: str | None = None, seed: int = 0) -> tuple:
        """What a trained pretext answers about pictures float (B, 3, H, W) in [0, 1].

        Returns (views, target, prediction) of the pretext `name`, the first one by default.
        ValueError if it was not trained yet or has no head.
        """
        known = {p.name: p for p in self.pretexts}
        if name is not None and name not in known:
            raise ValueError(f"unknown pretext {name!r}; one of {', '.join(known)}")
        pretext = self.pretexts[0] if name is None else known[name]
        if pretext.name not in self.heads:
            raise ValueError(f"{pretext.name} has no trained head; call learn.fit first")
        head, training = self.heads[pretext.name], self.model.training
        self._normalize = self._find_normalize()
        view, target = pretext.transform(images.to(self.dls.device), Pretext.seeded(seed))
        watch = Watch(self._body())
        try:
            self.model.eval()(self._seen(view))
            return view, target, head.eval()(self._read(pretext, watch.features))
        finally:
            self.model.train(training)
            watch.close()

    def show(self, count: int = 4):
        """Draw what each pretext asks of the first `count` validation pictures; list of figures."""
        self._normalize = self._find_normalize()
        images = self._unnormalized(self.dls.valid.one_batch()[0])[:count].cpu()
        for pretext in self.pretexts:
            pretext.attach(self.dls)
        return [pretext.show(images) for pretext in self.pretexts]


def _add_up(parts: Iterable[dict[str, tuple[float, int]]]) -> dict[str, list]:
    """name -> [total, count] over all parts."""
    sums: dict[str, list] = defaultdict(lambda: [0.0, 0])
    for part in parts:
        for name, (total, count) in part.items():
            sums[name] = [sums[name][0] + total, sums[name][1] + count]
    return sums


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _types(loader) -> list[type]:
    """The types of a batch of fastai's, pictures and labels; none if the loader does not know."""

    def flat(found) -> list[type]:
        if isinstance(found, type):
            return [found]
        parts = found.values() if isinstance(found, dict) else found
        return [kind for part in parts for kind in flat(part)]

    return flat(getattr(loader, "_types", ()))


def task_of(dls) -> Task | None:
    """The task that DataLoaders were made for (`face_dataloaders`), None if nothing tells."""
    return getattr(getattr(dls, "train_ds", None), "task", None)


def build_model(
    arch: str,
    classes: int,
    task: Task,
    weights: str | Path = "scratch",
    *,
    normalize: bool = True,
) -> nn.Module:
    """The plain supervised network, `encoder` then `head`; input float (B, 3, H, W) in [0, 1]."""
    encoder = Encoder(arch, weights, normalize=normalize)
    head = task.head(encoder.num_features, classes)
    return nn.Sequential(OrderedDict(encoder=encoder, head=head))


class Answers(nn.Module):
    """A network and its task's activation: images in [0, 1] -> probabilities or degrees.

    Input float (B, 3, H, W), output float (B, classes) or (B, 3). `model` is what `build_model`
    returns. This is what leaves the laboratory: normalisation is inside, pretexts are not.
    """

    def __init__(self, model: nn.Module, task: Task):
        super().__init__()
        self.model = model
        self.loss = task.loss(None)

    def forward(self, images: Tensor) -> Tensor:
        """Run both."""
        return self.loss.activation(self.model(images))


def split_model(model: nn.Module) -> list:
    """Parameter groups encoder and head, so that `learn.freeze()` trains the head alone."""
    return [params(model.encoder), params(model.head)]


def hmtl_learner(
    dls,
    arch: str = "tiny",
    task: Task | None = None,
    pretexts: Pretext | str | Sequence[Pretext | str] = (),
    *,
    views: str = "paired",
    weights: str | Path = "scratch",
    pretext_weight: float | dict[str, float] | None = None,
    scales: Sequence = (1.0,),
    label_views: bool | None = None,
    balance: str | Balance = "sum",
    seed: int | None = None,
    cbs: Iterable[Callback] = (),
    **learner_options,
) -> Learner:
    """Build an ordinary fastai Learner whose training is hybrid if `pretexts` are given.

    `task` is by default that of the DataLoaders, else emotion; ValueError if theirs has other
    labels, or if they ask for several classes a picture or for numbers and no `loss_func` is given.
    `arch` is "tiny" or any timm backbone, `weights` "scratch", "imagenet" or a checkpoint. Pictures
    are normalised inside the model, unless the DataLoaders already do it. `views`, `scales`,
    `label_views`, `pretext_weight`, `balance` and `seed` are those of `Hybrid`; other options go to
    `Learner`.
    """
    made_for = task_of(dls)
    if None not in (made_for, task) and made_for.columns != task.columns:
        raise ValueError(
            f"these DataLoaders have the labels of {made_for.name!r}; make them with "
            f"face_dataloaders(..., task={task.name!r})"
        )
    asked = getattr(getattr(getattr(dls, "train_ds", None), "loss_func", None), "func", None)
    other = isinstance(asked, nn.BCEWithLogitsLoss | nn.MSELoss)
    if task is None and other and "loss_func" not in learner_options:
        raise ValueError(
            f"these DataLoaders ask for {type(asked).__name__}, not for one class a picture; give "
            "task= or loss_func=, or add Hybrid to a Learner of fastai's"
        )
    task = task or made_for or Emotion()
    done = any(isinstance(step, Normalize) for step in batch_steps(dls.train))
    model = build_model(arch, dls.c, task, weights, normalize=not done)
    hybrid = []
    if pretexts:
        hybrid = [
            Hybrid(
                pretexts,
                views,
                weight=pretext_weight,
                scales=scales,
                label_views=label_views,
                body=model.encoder,
                seed=seed,
                balance=balance,
                task=task,
            )
        ]
    return Learner(
        dls,
        model,
        **{
            "loss_func": task.loss(dls),
            "metrics": task.metrics(dls),
            "opt_func": fused_adam,
            "splitter": split_model,
            "cbs": [*hybrid, *cbs],
            **learner_options,
        },
    )
