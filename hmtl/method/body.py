"""The representation, of anybody's network: which part gives it, and what it gave.

Pretext heads hang on the pooled vector or on the feature map before it. `find_body` says which
module of a model's ends with them, `Watch` keeps both of every forward pass, by hooks, so that the
model itself is never changed.
"""

__all__ = ["Watch", "as_map", "find_body", "is_compiled", "pool", "same_part", "unwrapped"]

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from hmtl.method.encoder import Encoder


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


def same_part(part: nn.Module, path: str | None, model: nn.Module) -> nn.Module:
    """`part` if it is one of `model`, else what lies at its `path` there.

    Raises ValueError if there is nothing.
    """
    if path is None or any(module is part for module in model.modules()):
        return part
    try:
        return unwrapped(model).get_submodule(path)
    except AttributeError:
        raise ValueError(
            f"a callback has put another network in learn.model, which has no part {path!r} to "
            "read the representation from; take that callback off, or give one built alike"
        ) from None


def find_body(model: nn.Module) -> nn.Module:
    """The part of a model whose output is the representation.

    `model.encoder` (ours), the first of two (fastai's body and head), or the pooling layer of a
    timm model. Raises ValueError asking for `body=` if it is none of these.
    """
    model = unwrapped(model)
    for found in (
        getattr(model, "encoder", None),
        model[0] if _is_pair(model) else None,
        getattr(model, "global_pool", None),
    ):
        if isinstance(found, nn.Module) and not isinstance(found, nn.Identity):
            return found
    raise ValueError(
        "cannot tell which part of this model is its encoder; "
        "pass it: Hybrid(..., body=learn.model.<the module whose output is the representation>)"
    )


def _is_pair(model: nn.Module) -> bool:
    # a first part without weights, a normalisation say, is no encoder
    pair = isinstance(model, nn.Sequential) and len(model) == 2
    return pair and next(model[0].parameters(), None) is not None


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

    `features` is of the last pass: "pooled" (B, F) and, where one is found, "map" (B, C, h, w). A
    pass raises ValueError if the body gives no tensor.
    """

    def __init__(self, body: nn.Module):
        self.calls: list[dict[str, Tensor]] = []
        self._map: Tensor | None = None
        self._hooks = [body.register_forward_hook(_Hook(self._keep), with_kwargs=True)]
        pooling = getattr(getattr(body, "body", body), "global_pool", None)
        if isinstance(body, Encoder):
            pooling = body.map
        if isinstance(pooling, nn.Module):  # what enters the pooling is the map
            hook = pooling.register_forward_pre_hook(_Hook(self._keep_map), with_kwargs=True)
            self._hooks.append(hook)

    @property
    def features(self) -> dict[str, Tensor]:
        """What the last pass gave; nothing before the first one."""
        return self.calls[-1] if self.calls else {}

    def close(self) -> None:
        """Leave the body as it was."""
        for hook in self._hooks:
            hook.remove()

    def _keep_map(self, module, inputs, named):
        self._map = _first(inputs, named)

    def _keep(self, module, inputs, named, output):
        if not isinstance(output, Tensor):
            raise ValueError(
                f"the body, {type(module).__name__}, gives a {type(output).__name__}, no tensor; "
                "pass body=, the module whose output is one map or one vector a picture"
            )
        output = output.as_subclass(Tensor)  # fastai's costs a dispatch for every operation
        features = {"pooled": pool(output)}
        given = _first(inputs, named)
        found = _find_map(output, module, given)
        if found is None:  # what entered the pooling, be that a part of the body or the body
            before = self._map if self._map is not None else given
            # not the picture itself, grey or in colour
            if before is not None and before.shape[1] not in (1, 3):
                found = _find_map(before, module, given)
        if found is not None:
            features["map"] = found
        self._map = None
        self.calls = [*self.calls, features]


class _Hook:
    """A hook that a copy or a pickle of the network leaves behind: there it does nothing."""

    def __init__(self, call: Callable):
        self._call = call

    def __call__(self, *given):
        self._call(*given)

    def __reduce__(self) -> tuple:
        return getattr, (None, "__init__")  # takes anything, does nothing, wherever Python is


def _first(inputs: tuple, named: dict) -> Tensor | None:
    """The first tensor that a module was called with, by place or by name."""
    given = (*inputs, *named.values())
    return next((v.as_subclass(Tensor) for v in given if isinstance(v, Tensor)), None)


def _find_map(features: Tensor, body: nn.Module, picture: Tensor | None) -> Tensor | None:
    if features.ndim != 3:
        return as_map(features)
    # of tokens: how many are no part of the picture, and its shape where the body sees it
    prefixes = (getattr(module, "num_prefix_tokens", None) for module in body.modules())
    prefix = next((count for count in prefixes if count is not None), None)
    seen = picture is not None and picture.ndim == 4
    return as_map(features, picture.shape[-2:] if seen else (1, 1), prefix)
