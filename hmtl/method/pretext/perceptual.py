"""A perceptual loss: distance of two pictures in the features of a frozen network.

Johnson, Alahi & Fei-Fei, *Perceptual losses for real-time style transfer and super-resolution*
(ECCV 2016). The paper names such a loss for in-painting; which network and layers is not known to
us, so both are parameters. The frozen network normalises its own input, receives no gradient, and
is no part of any head, so it never enters a checkpoint.
"""

__all__ = ["PERCEPTUAL", "FrozenFeatures"]

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hmtl.files import read_json
from hmtl.labels import hint
from hmtl.method.encoder import Encoder

PERCEPTUAL = "tf_efficientnet_lite0"  # the network where nothing is said: its weights are at hand
_REMEDY = "name another finished run in features, or train that one again"
# Layers by their timm names where nothing is said: shallow and middle, where texture and parts are.
_LAYERS = {
    PERCEPTUAL: ("blocks.0", "blocks.1", "blocks.2"),
    "tiny": ("layer1", "layer2", "layer3"),
    "vgg16": ("features.8", "features.15"),
}


class _Enough(Exception):
    """Every wanted layer was seen: the rest of the network is not worth its time."""


class FrozenFeatures:
    """Features of pictures in [0, 1] at some layers of a frozen network; no `nn.Module` on purpose.

    `network` is a timm name whose ImageNet weights are used, or the folder of a finished run of
    this project, whose encoder is used. `layers` are names of its timm body's modules; the layers'
    distances count equally. Raises ValueError naming the layers there are if one is unknown.
    """

    def __init__(self, network: str | Path = PERCEPTUAL, layers: Sequence[str] | None = None):
        self.network = str(network)
        self.layers = tuple(layers or ())
        self._encoder: Encoder | None = None
        self._seen: dict[str, Tensor] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_encoder": None, "_seen": {}}

    def _load(self, device: torch.device) -> Encoder:
        folder = Path(self.network)
        if (folder / "spec.json").is_file():
            record = read_json(folder / "spec.json", _REMEDY, {"spec": dict})
            arch = str(record["spec"].get("arch", "tiny"))
            encoder = Encoder(arch, folder)
        else:
            arch, encoder = self.network, Encoder(self.network, "imagenet")
        modules = dict(encoder.body.named_modules())
        self.layers = self.layers or _LAYERS.get(arch, ())
        if unknown := [name for name in self.layers if name not in modules]:
            raise ValueError(
                f"{arch} has no layer {', '.join(unknown)}; {hint(unknown[0], modules)}it has "
                f"{', '.join(name for name in modules if name.count('.') <= 1 and name)}"
            )
        if not self.layers:
            raise ValueError(f"say which layers of {arch} to use: FrozenFeatures(..., layers=...)")
        for name in self.layers:
            modules[name].register_forward_hook(self._keeper(name))
        return encoder.eval().requires_grad_(False).to(device)

    def _keeper(self, name: str):
        def keep(module, inputs, output):
            self._seen[name] = output
            if len(self._seen) == len(self.layers):
                raise _Enough

        return keep

    def prepare(self, device: torch.device) -> Encoder:
        """The network, loaded if it was not, on the device."""
        if self._encoder is None:
            self._encoder = self._load(device)
        return self._encoder.to(device)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Feature maps of images (B, 3, H, W) in [0, 1], one a layer.

        Gradients reach the images, never the network. In full precision whatever autocast says:
        deep sums of squares overflow in half.
        """
        encoder = self.prepare(images.device)
        with torch.autocast(images.device.type, enabled=False), suppress(_Enough):
            encoder.forward_map(images.float())
        seen = [self._seen[name] for name in self.layers]
        self._seen.clear()
        return seen

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over layers of the features' squared distance, relative to their mean square."""
        with torch.no_grad():
            wanted = self(target)
        parts = [
            F.mse_loss(got, want) / want.square().mean().clamp_min(1e-8)
            for got, want in zip(self(prediction), wanted, strict=True)
        ]
        return torch.stack(parts).mean()
