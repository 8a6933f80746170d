"""Several seeds of one network in one: grouped layers, so that a GPU has enough to do.

Seeds of a cell differ in weights and pictures, not in shape. `stack` makes one network of S equal
ones: convolutions become grouped, batch norm gets S times the channels, a linear layer becomes a
batched product. Nothing of one seed reaches another, so each learns what it would learn alone, up
to the order of sums. `train_stacked` trains them on tensors that lie on the device. Ours.
"""

__all__ = ["Stacked", "stack", "train_stacked", "unstack"]

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Linear(nn.Module):
    """S linear layers, (B, S * in) -> (B, S * out)."""

    def __init__(self, count: int, inputs: int, outputs: int, bias: bool):
        super().__init__()
        self.count = count
        self.weight = nn.Parameter(torch.empty(count * outputs, inputs))
        self.bias = nn.Parameter(torch.empty(count * outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.unflatten(0, (self.count, -1))  # (S, out, in)
        out = torch.einsum("bsi,soi->bso", x.unflatten(1, (self.count, -1)), weight).flatten(1)
        return out if self.bias is None else out + self.bias


def _widened(layer: nn.Module, count: int) -> nn.Module | None:
    """The layer for `count` networks at once; None for one without channels of its own."""
    if isinstance(layer, nn.Conv2d):
        return nn.Conv2d(
            count * layer.in_channels, count * layer.out_channels, layer.kernel_size,
            layer.stride, layer.padding, layer.dilation, count * layer.groups,
            layer.bias is not None, layer.padding_mode,
        )  # fmt: skip
    if isinstance(layer, nn.BatchNorm2d):
        for name in ("num_features", "weight", "bias", "running_mean", "running_var"):
            value = getattr(layer, name)
            if isinstance(value, int):
                layer.num_features = count * value
            elif isinstance(value, nn.Parameter):
                setattr(layer, name, nn.Parameter(value.detach().repeat(count)))
            elif value is not None:
                setattr(layer, name, value.repeat(count))
        return layer
    if isinstance(layer, nn.Linear):
        return _Linear(count, layer.in_features, layer.out_features, layer.bias is not None)
    return None


def stack(models: Sequence[nn.Module]) -> nn.Module:
    """One network of several of the same shape.

    Args:
        models: S networks, each (B, C, H, W) -> (B, K), made of convolutions, batch norms, linear
            layers and what works on each channel alone. They are left as they are.

    Returns:
        A network (B, S * C, H, W) -> (B, S * K) with the weights of all, seed by seed.

    Raises:
        ValueError: naming a layer with weights that it does not know.
    """
    import copy

    count, whole = len(models), copy.deepcopy(models[0])
    for name, layer in list(whole.named_modules()):
        if list(layer.children()):
            own = [n for n, _ in layer.named_parameters(recurse=False)]
        else:
            wide = _widened(layer, count)
            own = [] if wide is not None else [n for n, _ in layer.named_parameters()]
            if wide is not None and wide is not layer:
                parent, _, leaf = name.rpartition(".")
                setattr(whole.get_submodule(parent), leaf, wide)
        if own:
            raise ValueError(f"{name}, a {type(layer).__name__}, cannot be stacked")
    states = [model.state_dict() for model in models]
    target = whole.state_dict()
    for name, value in target.items():
        parts = [state[name] for state in states]
        if value.ndim == 0:  # batch norm's count of batches, the same in all
            value.copy_(parts[0])
        elif value.shape[0] == count * parts[0].shape[0]:
            value.copy_(torch.cat(parts))
        elif all(torch.equal(part, value) for part in parts):  # a constant, normalisation say
            continue
        else:
            raise ValueError(f"{name} differs among the networks and cannot be stacked")
    return Stacked(whole, count)


class Stacked(nn.Module):
    """`stack`'s network; `inside` is made of grouped layers, `count` is the number of seeds."""

    def __init__(self, inside: nn.Module, count: int):
        super().__init__()
        self.inside, self.count = inside, count
        for layer in inside.modules():  # constants for each channel of a picture
            for name, value in list(layer.named_buffers(recurse=False)):
                if value.ndim == 4 and value.shape[1] == 3:
                    setattr(layer, name, value.repeat(1, count, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, S * C, H, W) -> outputs (B, S * K)."""
        return self.inside(x)


@torch.no_grad()
def unstack(whole: Stacked, like: nn.Module) -> list[dict[str, Tensor]]:
    """The state of each of the networks, under the names of `like`, one of them."""
    states: list[dict[str, Tensor]] = [{} for _ in range(whole.count)]
    found, own = whole.inside.state_dict(), like.state_dict()
    for name, value in own.items():
        parts = [found[name]] * whole.count
        if value.ndim and found[name].shape[0] == whole.count * value.shape[0]:
            parts = list(found[name].chunk(whole.count))
        elif value.ndim == 4 and found[name].shape != value.shape:
            parts = [value] * whole.count  # a constant
        for state, part in zip(states, parts, strict=True):
            state[name] = part.clone()
    return states


def train_stacked(
    whole: Stacked, batches: Iterable[tuple[Tensor, Tensor]], lr: float, wd: float = 0.01,
    half: torch.dtype | None = None,
) -> int:  # fmt: skip
    """Train all seeds by AdamW, each on its own batches.

    Args:
        whole: `stack`'s network, on the device.
        batches: pictures (S, B, C, H, W) and classes (S, B), on the same device.
        lr: the learning rate.
        wd: the decoupled weight decay.
        half: bfloat16 for mixed precision, None for float32.

    Returns:
        How many pictures were learned from, of all seeds.
    """
    count, seen = whole.count, 0
    device = next(whole.parameters()).device.type
    on_gpu = device == "cuda"
    optimizer = torch.optim.AdamW(whole.parameters(), lr=lr, weight_decay=wd, fused=True)
    whole.train()
    for images, classes in batches:
        wide = images.transpose(0, 1).flatten(1, 2)  # (B, S * C, H, W)
        if on_gpu:
            wide = wide.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, half, enabled=half is not None):
            outputs = whole(wide).float().unflatten(1, (count, -1)).transpose(1, 2)  # (B, K, S)
        # the sum over seeds of each one's mean: a seed's gradient is as if it were alone
        F.cross_entropy(outputs, classes.T, reduction="sum").div(len(classes.T)).backward()
        optimizer.step()
        optimizer.zero_grad()
        seen += classes.numel()
    return seen
