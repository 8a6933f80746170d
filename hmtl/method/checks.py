"""What can be wrong with a Hybrid, its Learner or its network, and what is then said."""

__all__ = [
    "VIEWS", "added", "balance_of", "first_batch", "in_unit_range", "labelled_views", "one_hybrid",
    "options", "own_answer", "own_picture", "pretexts_of", "read", "task_of", "tell_sizes",
    "trained", "weights_of",
]  # fmt: skip

import traceback
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from annotated_types import Ge, Gt, Interval, MinLen
from fastai.callback.mixup import MixHandler
from fastai.torch_core import TensorCategory, TensorMask, TensorMultiCategory
from fastai.vision.augment import RandomErasing
from fastai.vision.core import TensorBBox, TensorPoint
from torch import Tensor

from hmtl.files import as_kind
from hmtl.labels import check_known, hint
from hmtl.method.balance import Balance, make_balance
from hmtl.method.body import same_tensor
from hmtl.method.pretext import Pretext, make
from hmtl.method.pretext.base import batch_steps, batch_types
from hmtl.method.pretext.composite import check_shared
from hmtl.method.tasks import Task
from hmtl.method.views import Pictures

T = TypeVar("T")
VIEWS = ("shared", "paired")
_WEIGHT = Annotated[float, Ge(0)]
_SCALE = Annotated[float, Interval(ge=0.05, le=20)]
_KINDS: dict[str, Any] = {
    "scales": Annotated[tuple[_SCALE | tuple[_SCALE, _SCALE], ...], MinLen(1)],
    "label_views": bool | None,
    "task": Task | None,
    "normalize": tuple[tuple[float, ...], tuple[Annotated[float, Gt(0)], ...]] | None,
}
_PLACES = (TensorPoint, TensorBBox, TensorMask)  # labels that move with the pixels


# -- arguments -------------------------------------------------------------------------------------


def pretexts_of(given: Pretext | str | Iterable[Pretext | str], views: str) -> list[Pretext]:
    """The tasks that were given, by name or themselves; ValueError if views do not fit them."""
    if isinstance(given, Pretext | str) or not isinstance(given, Iterable):
        given = [given]
    found = [make(p) if isinstance(p, str) else p for p in given]
    if not found or not all(isinstance(p, Pretext) for p in found):
        raise ValueError(
            f"pretexts must be tasks such as Puzzling(2), or names, at least one: {found!r}"
        )
    check_known(f"unknown views {views!r};", views, VIEWS)
    if views == "shared":
        check_shared(found)
    for pretext in found:
        as_kind(pretext.weight, dict[str, float], f"{pretext.name}: weight")
        if views not in pretext.weight:
            raise ValueError(f"{pretext.name} needs views={' or '.join(pretext.weight)!r}")
    names = [pretext.name for pretext in found]
    if len(set(names)) < len(names):
        raise ValueError(f"a pretext is given twice: {', '.join(names)}")
    return found


def weights_of(
    given: float | dict[str, float] | None, pretexts: Sequence[Pretext], views: str
) -> dict[str, float]:
    """name -> the weight of its loss: the task's own where none is given."""
    weights = {p.name: p.weight[views] for p in pretexts}
    named = given if isinstance(given, dict) else dict.fromkeys(weights, given)
    if unknown := set(named) - set(weights):
        near = hint(min(unknown), weights)
        raise ValueError(f"weight names {sorted(unknown)}; {near}the pretexts are {list(weights)}")
    weights |= {name: value for name, value in named.items() if value is not None}
    return {name: as_kind(w, _WEIGHT, f"weight of {name}") for name, w in weights.items()}


def balance_of(given: str | Balance) -> Balance:
    """A balance, given by its name or itself."""
    return as_kind(make_balance(given) if isinstance(given, str) else given, Balance, "balance")


def options(views: str, **given: Any) -> list:
    """The other arguments of a Hybrid by name; ValueError if one is of a wrong kind."""
    stats = given["normalize"]
    with suppress(TypeError, ValueError, RuntimeError):  # of any shape
        given["normalize"] = [torch.as_tensor(part).flatten() for part in stats]
    found = [as_kind(value, _KINDS[name], name) for name, value in given.items()]
    if views == "shared" and given["label_views"] is False:
        raise ValueError(
            "label_views=False needs views='paired': a shared view takes the picture's place"
        )
    if stats is not None and len({len(part) for part in found[-1]} - {1}) > 1:
        raise ValueError(f"normalize must be as many means as deviations, got {stats!r}")
    return found


# -- a Learner -------------------------------------------------------------------------------------


def one_hybrid(hybrid, learn) -> None:
    """ValueError if there is another Hybrid."""
    if sum(isinstance(cb, type(hybrid)) for cb in learn.cbs) > 1:
        raise ValueError(
            "this Learner has two Hybrid callbacks; give all pretexts to one, and call "
            "learn.remove_cbs(Hybrid) before adding another"
        )


def labelled_views(hybrid, learn) -> set[str]:
    """Names of the pretexts whose views are labelled; ValueError if one breaks the labels."""
    task = hybrid.task or task_of(learn.dls) or Task()
    labelled = task.labelled(hybrid.pretexts, hybrid.label_views)
    _typed_places_stay(hybrid, labelled)
    mixed = [cb for cb in learn.cbs if isinstance(cb, MixHandler)]
    if mixed and (plain := [p.name for p in hybrid.pretexts if p.plain_view]):
        raise ValueError(
            f"{type(mixed[0]).__name__} mixes pictures and labels, and {plain[0]} shows the "
            "unmixed picture once more; use one of them"
        )
    task.check_pretexts(hybrid.pretexts, hybrid.views, labelled)
    return labelled


def _typed_places_stay(hybrid, labelled: set[str]) -> None:
    """ValueError if fastai's type of the labels says that they are places; known after a batch."""
    if places := [t for t in batch_types(hybrid.dls.train) if issubclass(t, _PLACES)]:
        _stay(places[0].__name__, hybrid, labelled)


def _stay(kind: str, hybrid, labelled: set[str]) -> None:
    """ValueError if labels that are places in the picture would have to follow a pretext."""
    shared = hybrid.views == "shared"  # there the network's own pictures are the views
    paired = "views='paired', " if shared else ""
    if names := [p.name for p in hybrid.pretexts if shared or p.name in labelled]:
        raise ValueError(
            f"{kind} labels are places in the picture, and do not follow {names[0]}; pass "
            f"{paired}label_views=False"
        )


def task_of(dls) -> Task | None:
    """The task that DataLoaders were made for (`face_dataloaders`), None if nothing tells."""
    found = getattr(getattr(dls, "train_ds", None), "task", None)
    return found if isinstance(found, Task) else None  # others may call anything so


# -- a batch ---------------------------------------------------------------------------------------


def first_batch(hybrid, seen: set) -> None:
    """Look at the first batch of training and of validation in a fit; `seen` holds which were.

    Raises:
        ValueError: if pretexts could not do with its pictures, or would make its labels wrong.
    """
    if hybrid.training in seen:
        return
    seen.add(hybrid.training)
    _are_pictures(hybrid.xb[0], hybrid.training)
    steps = batch_steps(hybrid.dls.train) if hybrid.training else ()
    erased = any(isinstance(step, RandomErasing) for step in steps)
    hybrid._pictures = Pictures(hybrid.dls, hybrid.normalize)  # a loader knows its types by now
    which = "training" if hybrid.training else "validation"
    in_unit_range(hybrid._pictures.plain(hybrid.xb[0]), which, erased)
    if hybrid.training:
        _typed_places_stay(hybrid, hybrid._labelled)
        for y in hybrid.yb:
            if isinstance(y, Tensor) and (_is_dense(y, hybrid.xb[0]) or _are_points(y)):
                _stay(f"{tuple(y.shape)}", hybrid, hybrid._labelled)
        _no_turned_numbers(hybrid)


def _is_dense(labels: Tensor, picture: Tensor) -> bool:
    """Whether labels are maps, of the picture's size or another: masks, heatmaps, pictures."""
    if labels.ndim < 3 or min(labels.shape[-2:]) == 1:
        return False
    (high, wide), (own_high, own_wide) = labels.shape[-2:], picture.shape[-2:]
    if labels.ndim > 3 or (high, wide) == (own_high, own_wide):
        return True
    alike = abs(high * own_wide - wide * own_high) <= max(own_high, own_wide)
    return alike and not labels.is_floating_point()


def _are_points(labels: Tensor) -> bool:
    """Whether labels are coordinates of several points, (B, N, 2) or (B, N, 3)."""
    return labels.ndim == 3 and labels.is_floating_point() and labels.shape[-1] in (2, 3)


def own_answer(hybrid, seen: set) -> None:
    """ValueError if callbacks change what the network says, and views are compared with labels.

    Warns if `body=` is the layer that answers.

    Looked at in a fit's first training batch; `seen` holds that it was.
    """
    if not hybrid.training or "answer" in seen:
        return
    seen.add("answer")
    own, shown = hybrid.answer, hybrid.learn.pred
    body = hybrid.body
    head = body is not None and all(weight.ndim < 3 for weight in body.parameters())
    outputs = [call.output for call in hybrid._main if head]  # an encoder may be all there is
    if isinstance(own, Tensor) and any(same_tensor(output, own) for output in outputs):
        warnings.warn(
            f"body= is {type(hybrid.body).__name__}, whose output is the network's answer: the "
            "pretexts see no more than that; pass the module whose output is the representation",
            stacklevel=2,
        )
    if hybrid.views == "shared" or not hybrid._labelled:
        return
    if own is not shown and not (
        isinstance(own, Tensor) and isinstance(shown, Tensor) and own.shape == shown.shape
        and own.float().allclose(shown.float(), 0, 0, equal_nan=True)
    ):  # fmt: skip
        raise ValueError(
            "a callback changes the network's answer after each pass, which the views of "
            f"{sorted(hybrid._labelled)[0]} do not go through; pass label_views=False, or change "
            "it in the model or in the loss"
        )


def own_picture(hybrid) -> None:
    """ValueError if the network changed the batch's pictures in place, which views begin with."""
    paired = hybrid.training and hybrid.views == "paired"
    if paired and hybrid.xb[0]._version != hybrid._changed:
        raise ValueError(
            "the network changes its input in place, so that views would be of other pictures; "
            "let it work on a copy (Normalize(..., inplace=False), x - mean for x.sub_(mean))"
        )


def _are_pictures(given: Any, training: bool) -> None:
    known = isinstance(given, Tensor)
    if known and given.ndim == 4 and given.is_floating_point():
        return
    found = f"{tuple(given.shape)}, {given.dtype}" if known else f"a {type(given).__name__}"
    remedy = "let the loader give the pictures first, each further input after them (n_inp)"
    if known and given.ndim == 4:
        remedy = "let the loader give them in [0, 1], bytes by .float() / 255"
    raise ValueError(
        f"the first input of the {'training' if training else 'validation'} batches is no batch of "
        f"pictures, float (B, C, H, W): {found}; {remedy}"
    )


def in_unit_range(pictures: Tensor, which: str, erased: bool = False) -> None:
    """ValueError if `which` pictures are not in [0, 1], but for some noise."""
    low, high = pictures.min().item(), pictures.max().item()
    outside = ((pictures < -_MARGIN) | (pictures > 1 + _MARGIN)).float().mean().item()
    if outside > _NOISE + _ERASED * erased or (max(-low, high - 1) > _FAR and not erased):
        raise ValueError(
            f"the {which} pictures go from {low:.3g} to {high:.3g}; pretexts need them in [0, 1]. "
            "Normalise by fastai's Normalize in batch_tfms, or in the model; or say how it was "
            "done: Hybrid(..., normalize=(mean, std))"
        )


_MARGIN = 0.1  # what resampling adds to pictures in [0, 1]
_NOISE = 0.02  # share of a batch beyond that
_FAR = 1.5  # beyond [0, 1]
_ERASED = 0.4  # share of a batch that fastai's RandomErasing may fill with any noise


def _no_turned_numbers(hybrid) -> None:
    """ValueError if labels are numbers, and a pretext turns pictures that keep them."""
    known = type(hybrid.task or task_of(hybrid.dls) or Task()) is not Task
    turned = [p.name for p in hybrid.pretexts if p.turns]
    if known or hybrid.label_views is not None or not turned:
        return
    if any(_are_numbers(y, hybrid.loss_func) for y in hybrid.yb):
        also = "" if hybrid.views == "shared" else ", or label_views=False if it does"
        raise ValueError(
            f"the labels are numbers, and {turned[0]} turns the picture or parts of it: an angle, "
            "say, is then another. Pass label_views=True if a turn changes none of them" + also
        )


def _are_numbers(labels: Any, loss: Any) -> bool:
    """Whether labels are measured, not classes, one or several, nor their probabilities."""
    if not isinstance(labels, Tensor) or isinstance(labels, TensorCategory | TensorMultiCategory):
        return False
    loss = getattr(loss, "func", loss)  # fastai's wrapper
    name = getattr(loss, "__name__", type(loss).__name__).lower().replace("_", "")
    if any(word in name for word in ("crossentropy", "bce", "nll", "focal", "dice", "margin")):
        return False
    if any(word in name for word in ("mse", "l1", "huber")):
        return True
    if not labels.is_floating_point():
        return False
    shares = labels.ndim > 1 and ((labels >= 0) & (labels <= 1)).all()
    whole = (labels == labels.round()).all() or (labels.sum(-1) - 1).abs().max() < 1e-3
    return not (shares and whole)


def read(pretext: Pretext, features: Mapping[str, Tensor]) -> Tensor:
    """What a pretext's head hangs on."""
    if pretext.reads not in features:
        raise ValueError(
            f"{pretext.name} needs the encoder's feature map, and none was found; use a task "
            "on the pooled representation, or pass body= whose output is a map"
        )
    found = features[pretext.reads]
    return found.detach() if pretext.cut_off else found


def tell_sizes(error: BaseException, shown: tuple | None) -> None:
    """ValueError for the error of a network of one size that was shown a view of another.

    `shown` is by whom, and the shapes of the view and of the loader's picture.
    """
    if shown is None or isinstance(error, torch.OutOfMemoryError):
        return
    passed = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    known = isinstance(error, AssertionError | RuntimeError | ValueError)
    ours = not passed or Path(passed[-1]).parent == Path(__file__).parent
    in_network = any(file == torch.nn.modules.module.__file__ for file in passed)
    if ours or not (known and in_network):
        return
    name, *shapes = shown
    size, own = ([*map(int, shape[-2:])] for shape in shapes)
    if size != own:
        raise ValueError(
            f"{name} shows the network pictures of {size}, the loader's are {own}, and this "
            "network takes no other size than its own; choose a size that the grid divides, "
            "no other scales, and for a vision transformer dynamic_img_size=True"
        ) from error


# -- after a training ------------------------------------------------------------------------------


def added(hybrid) -> None:
    """ValueError without a Learner, whose network and pictures are asked."""
    if hybrid.learn is None:
        raise ValueError("this Hybrid is in no Learner: add it by learn.add_cb, and keep it there")


def trained(name: str, among: Mapping[str, T], heads: Mapping) -> T:
    """The pretext of that name; ValueError if it is unknown, untrained or without a head."""
    check_known(f"unknown pretext {name!r};", name, among)
    if name not in heads:
        raise ValueError(f"{name} has no trained head; call learn.fit first")
    return among[name]
