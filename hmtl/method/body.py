"""The representation, of anybody's network: which part gives it, and what it gave.

Pretext heads hang on the pooled vector or on the feature map before it. `find_body` says which
module of a model's ends with them, `Watch` keeps both of every forward pass, by hooks, so that the
model itself is never changed.
"""

__all__ = [
    "Call", "Watch", "as_map", "features_of", "find_body", "is_compiled", "is_timm",
    "kept_in_backward", "kept_statistics", "path_of", "pool", "same_part", "same_tensor",
    "unwrapped",
]  # fmt: skip

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from fastai.layers import AdaptiveConcatPool2d
from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel

from hmtl.method.encoder import Encoder
from hmtl.method.trace import FEWEST, traced_body


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, without what several processes, averages or a compiler wrap it in."""
    while True:
        if isinstance(model, DistributedDataParallel | nn.DataParallel | AveragedModel):
            model = model.module
        elif isinstance(model, OptimizedModule):
            model = model._orig_mod
        else:
            return model


def is_compiled(model: nn.Module) -> bool:
    """Whether the network, or a part of it, was compiled."""
    return any(
        isinstance(part, OptimizedModule) or part._compiled_call_impl is not None
        for part in model.modules()
    )


def path_of(part: nn.Module | None, model: nn.Module) -> str | None:
    """Where a part lies in a network; None where it does not."""
    modules = unwrapped(model).named_modules()
    return next((path for path, module in modules if module is part), None)


def same_part(part: nn.Module | None, path: str | None, model: nn.Module) -> nn.Module:
    """`part` if it is one of `model`, else what lies at its `path` there; one of them is given.

    Raises ValueError if there is nothing.
    """
    if part is not None and (path is None or any(module is part for module in model.modules())):
        return part
    try:
        return unwrapped(model).get_submodule(path or "")
    except AttributeError:
        raise ValueError(
            f"a callback has put another network in learn.model, which has no part {path!r} to "
            "read the representation from; take that callback off, or give one built alike"
        ) from None


def find_body(model: nn.Module, inputs: Sequence = ()) -> nn.Module:
    """The part of a model whose output is the representation, or that pools it.

    `model.encoder` (ours), the first of two where the second is a head (fastai's), the pooling
    layer of a timm model, or a timm model itself, whose `forward_features` gives it. Of any other
    network what `traced_body` finds. A head has no convolutions, or at most as many weights as the
    first.

    Args:
        model: any network.
        inputs: a batch as it is given it; empty: networks of another form are not tried.

    Raises:
        ValueError: asking for `body=`, if it is not certain; the network is scripted.
    """
    model = _hookable(unwrapped(model))
    for found in (
        getattr(model, "encoder", None),
        _first_of_two(model),
        getattr(model, "global_pool", None),
        model if is_timm(model) else None,
    ):
        if isinstance(found, nn.Module) and not isinstance(found, nn.Identity):
            return found
    return traced_body(model, inputs)


def _hookable(part: nn.Module) -> nn.Module:
    """The part itself; ValueError if torch.jit made it."""
    if isinstance(part, torch.jit.ScriptModule):
        raise ValueError(
            f"{getattr(part, 'original_name', 'the network')} was made by torch.jit and takes no "
            "hooks; give Hybrid the network from before, and script it after the training"
        )
    return part


def is_timm(model: nn.Module) -> bool:
    """Whether a model says, as all of timm's do, how its features and its answer are found."""
    return all(hasattr(model, name) for name in ("forward_features", "forward_head"))


def _first_of_two(model: nn.Module) -> nn.Module | None:
    if not (isinstance(model, nn.Sequential) and len(model) == 2):
        return None
    # a normalisation, say, or a layer before the network is no encoder; nor is a whole network
    body, head = (list(part.parameters()) for part in model)
    plain = all(weight.ndim < 4 for weight in head)  # without convolutions it is a head for sure
    return model[0] if body and head and (plain or _count(body) >= _count(head)) else None


def _count(weights: Sequence[nn.Parameter]) -> int:
    """How many numbers there are; those of a lazy layer, which has none yet, do not count."""
    return sum(weight.numel() for weight in weights if not is_lazy(weight))


def pool(features: Tensor) -> Tensor:
    """Representation (B, F) of a feature map (B, F, h, w), of tokens (B, N, F) or of itself."""
    if features.ndim == 4:
        return features.mean((2, 3))
    return features.mean(1) if features.ndim == 3 else features


def as_map(
    features: Tensor, size: Sequence[int] = (1, 1), prefix: int | None = None
) -> Tensor | None:
    """The feature map (B, C, h, w) of a map, or of tokens (B, N, C) on a grid; else None.

    `size` is the picture's (H, W), whose shape the grid has. The first `prefix` tokens, a class
    token say, are left out: None if it is unknown how many, and then those before the largest grid.
    """
    if features.ndim != 3:
        return features if features.ndim == 4 else None
    count = features.shape[1] - (prefix or 0)
    if prefix is None and size[0] == size[1]:
        count = math.isqrt(count) ** 2
    height = max(1, round(math.sqrt(count * size[0] / size[1])))
    width = count // height
    if height * width != count:
        return None
    return features[:, -count:].transpose(1, 2).unflatten(2, (height, width))


class Watch:
    """What a model's `body` says of every batch that goes through it, until `close`.

    A pass raises ValueError if the body gives no tensor.

    Args:
        body: the module whose output is the representation, or that pools it.
        model: the whole network, which may say that its maps are channels-last.
        size: (H, W) of the pictures, by which a channels-last map is told from others.

    Attributes:
        calls: what each pass since it was emptied saw and gave.
    """

    def __init__(self, body: nn.Module, model: nn.Module, size: Sequence[int] | None = None):
        self.calls: list[Call] = []
        self.size = size
        whole = unwrapped(model)
        self._marked = any(getattr(m, "output_fmt", "") == "NHWC" for m in (body, whole))
        self._map: Tensor | None = None
        self._undo = ExitStack()
        if is_timm(whole) and body in (whole, getattr(whole, "global_pool", None)):
            own, name = vars(whole), "forward_features"  # it says itself what its map is
            told = partial(self._forward_features, body, getattr(whole, name))
            self._undo.callback(own.update, {name: own[name]} if name in own else {})
            self._undo.callback(own.pop, name, None)
            own[name] = _Hook(told, (whole, name))
            if body is whole:
                return
        hook = _hookable(body).register_forward_hook(_Hook(self._keep), with_kwargs=True)
        self._undo.callback(hook.remove)
        pooling = _pooling_of(body)
        if pooling is not None:  # what enters the pooling is the map
            hook = pooling.register_forward_pre_hook(_Hook(self._keep_map), with_kwargs=True)
            self._undo.callback(hook.remove)

    def close(self) -> None:
        """Leave the body as it was."""
        self._undo.close()

    def _forward_features(self, body: nn.Module, own: Callable, *inputs, **named) -> Tensor:
        found = own(*inputs, **named)
        if is_timm(body):
            self._keep(body, inputs, named, found)
        elif isinstance(found, Tensor):  # there may be layers between it and the pooling
            self._map = found.as_subclass(Tensor)
        return found

    def _keep_map(self, module, inputs, named):
        self._map = _first(inputs, named)

    def _keep(self, module, inputs, named, output):
        if not isinstance(output, Tensor):
            raise ValueError(
                f"the body, {type(module).__name__}, gives a {type(output).__name__}, no tensor; "
                "pass body=, the module whose output is one map or one vector a picture"
            )
        given, before, self._map = _first(inputs, named), self._map, None
        found = self._upright(output.as_subclass(Tensor))  # fastai's costs a dispatch each time
        features = {"pooled": pool(found)}
        pooled = found.ndim == 4 and found.shape[2] * found.shape[3] == 1
        if found.ndim == 2 or pooled:  # what entered the pooling, a part of the body or the body
            alone = found.ndim == 2 or all(p.ndim < 2 for p in module.parameters())
            before = given if before is None and alone else before
            few = 0 if before is None else before.shape[1]
            if few in (1, 3) or (few < FEWEST and self._is_whole(before)):
                before = None  # the picture itself
            found = found if before is None or before.ndim < 3 else self._upright(before)
        as_one = _find_map(found, module, given, self.size)
        if as_one is not None:
            features["map"] = as_one
        self.calls = [*self.calls, Call(given, output, features)]

    def _upright(self, found: Tensor) -> Tensor:
        """A map (B, C, h, w), also of a network whose maps are (B, h, w, C)."""
        if found.ndim != 4:
            return found
        first, last = (self._fits(found.shape[i], found.shape[i + 1]) for i in (2, 1))
        return found.permute(0, 3, 1, 2) if last and (self._marked or not first) else found

    def _is_whole(self, found: Tensor | None) -> bool:
        return found is not None and [*found.shape[-2:]] == [*(self.size or ())]

    def _fits(self, height: int, width: int) -> bool:
        """Whether a map of this shape can be the pictures': its cells are square, but for one."""
        if self.size is None:
            return self._marked
        return abs(height * self.size[1] - width * self.size[0]) <= max(self.size)


@dataclass
class Call:
    """One pass of a body: the first tensor it was given, its output, and the features in that."""

    given: Tensor | None
    output: Tensor
    features: dict[str, Tensor]


def features_of(
    picture: Tensor, calls: Sequence[Call], body: Callable[[], nn.Module], compiled: bool
) -> dict[str, Tensor]:
    """The features of a picture (B, C, H, W), of all that a body saw in one pass of the network.

    Raises:
        ValueError: naming the cause and the remedy, if no or not only one call is of this picture.
    """
    if not calls and compiled:
        raise ValueError(
            "this network was compiled before Hybrid was added, so it runs without its hooks; call "
            "torch.compiler.reset() before the fit, or compile the network after adding Hybrid"
        )
    mine = calls if len(calls) < 2 else [call for call in calls if same_tensor(call.given, picture)]
    if len(mine) == 1 and len(mine[0].features["pooled"]) == len(picture):
        return mine[0].features
    name = type(body()).__name__
    if not calls:
        raise ValueError(
            f"the body, {name}, had no part in this pass of the network; pass body=, a module that "
            "every picture goes through"
        )
    if len(mine) != 1:
        raise ValueError(
            f"the body, {name}, ran {len(calls)} times in one pass, and which of them saw the "
            "first input alone is unclear; pass body=, a module that does, or give it the "
            "loader's own tensor once"
        )
    raise ValueError(
        f"the body, {name}, gives {len(mine[0].features['pooled'])} rows for {len(picture)} "
        "pictures; pass body=, a module whose output is a row a picture"
    )


def same_tensor(given: Tensor | None, picture: Tensor) -> bool:
    """Whether both are one tensor, whatever its class."""
    if given is None or given.shape != picture.shape:
        return False
    return given.data_ptr() == picture.data_ptr()


@contextmanager
def kept_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norm works on the batch but does not remember it.

    At inference a network sees no puzzles. Where the supervised head is not trained on a pretext's
    views, running means that count them are wrong for all that it will see: with them the error of
    a head pose is twice what the same weights give (papers/LOG.md).
    """
    buffers = _statistics(model)
    kept = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        _put_back(buffers, kept)


def kept_in_backward(
    model: nn.Module, kept: list[Tensor], own: Sequence[Call], before: Sequence[Call]
) -> None:
    """The same for gradient checkpointing, which makes a pass again while gradients are computed.

    Args:
        model: the network.
        kept: what to go back to; one list for all passes of a batch.
        own: the body's calls in the pass that is not remembered.
        before: those in the earlier passes that are. Gradients of the later pass are computed
            first: what it remembers meanwhile is undone when a gradient arrives here.
    """
    buffers = _statistics(model)

    def keep(_: Tensor) -> None:
        undo(_)
        kept[:] = [buffer.clone() for buffer in buffers]

    def undo(_: Tensor) -> None:
        if kept:
            _put_back(buffers, kept)
            kept.clear()

    for calls, hook in ((own, keep), (before, undo)):
        for call in calls if buffers else ():
            for found in (call.output, *call.features.values()):  # whichever a head hangs on
                if found.requires_grad:
                    found.register_hook(hook)


def _statistics(model: nn.Module) -> list[Tensor]:
    """What a pass in training changes of a network."""
    norms = [m for m in model.modules() if isinstance(m, _NormBase) and m.training]
    # .data: autograd keeps these tensors, and need not know that they are put back
    return [buffer.data for norm in norms for buffer in norm.buffers()]


def _put_back(buffers: list[Tensor], kept: list[Tensor]) -> None:
    for buffer, value in zip(buffers, kept, strict=True):
        buffer.copy_(value)


class _Hook:
    """What is ours in a network; a copy or a pickle of it has `left`, object and attribute, there.

    By default a function that takes anything and does nothing, wherever Python is.
    """

    def __init__(self, call: Callable, left: tuple[object, str] = (None, "__init__")):
        self._call, self._left = call, left

    def __call__(self, *given, **named):
        return self._call(*given, **named)

    def __reduce__(self) -> tuple:
        return getattr, self._left


def _pooling_of(body: nn.Module) -> nn.Module | None:
    """The layer of a body that its map enters, if there is one."""
    if isinstance(body, Encoder):
        return body.map
    for owner in (body, getattr(body, "body", None), getattr(body, "head", None)):
        if isinstance(pooling := getattr(owner, "global_pool", None), nn.Module):
            return pooling
    while isinstance(body, nn.Sequential) and len(body):  # torchvision's networks without the last
        last = [part for part in body if not isinstance(part, _AFTER_POOLING)]
        body = last[-1] if last else nn.Identity()
        if isinstance(body, _POOLINGS):
            return body
    return None


_AFTER_POOLING = (nn.Flatten, nn.Dropout, nn.Identity)
_POOLINGS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, AdaptiveConcatPool2d)


def _first(inputs: tuple, named: dict) -> Tensor | None:
    """The first tensor that a module was called with, by place or by name."""
    given = (*inputs, *named.values())
    return next((v.as_subclass(Tensor) for v in given if isinstance(v, Tensor)), None)


def _find_map(
    features: Tensor, body: nn.Module, picture: Tensor | None, size: Sequence[int] | None
) -> Tensor | None:
    if features.ndim != 3:
        return as_map(features)
    # of tokens: how many are no part of the picture, and its shape where the body sees it
    prefixes = (getattr(module, "num_prefix_tokens", None) for module in body.modules())
    prefix = next((count for count in prefixes if count is not None), None)
    seen = picture.shape[-2:] if picture is not None and picture.ndim == 4 else size
    return as_map(features, seen or (1, 1), prefix)
