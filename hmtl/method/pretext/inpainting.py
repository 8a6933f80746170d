"""In-painting: parts of the picture are masked, and a light decoder rebuilds them.

The paper's second pretext, as "in-painting-pl" with a perceptual loss
(`hmtl.method.pretext.perceptual`). Its details are not known to us: masks, decoder and the weights
of the losses are ours. Context encoders (Pathak et al., CVPR 2016) mask blocks; masked autoencoders
(He et al., CVPR 2022) grid cells.
"""

__all__ = ["MASKS", "Decoder", "Inpainting", "draw_masks"]

from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from hmtl.labels import check_known
from hmtl.method.pretext.base import Pretext, show_rows

MASKS = ("block", "blocks", "grid")
_GREY = 0.5  # what a masked pixel shows
_BLOCKS = 4
FRACTION, CELL = 0.4, 8  # what a name says nothing of


def draw_masks(
    count: int, size: tuple[int, int], kind: str, fraction: float, cell: int, generator
) -> Tensor:
    """Masks bool (count, 1, H, W), True where the picture is hidden.

    "block" is one rectangle of `fraction` of the area, "blocks" four that cover about as much
    together, "grid" a `fraction` of the cells of `cell` pixels, exactly as many in each picture.
    """
    height, width = size
    if kind == "grid":
        rows, columns = -(-height // cell), -(-width // cell)
        hidden = max(1, round(fraction * rows * columns))
        rank = torch.rand(count, rows * columns, generator=generator).argsort(1).argsort(1)
        cells = (rank < hidden).view(count, 1, rows, columns)
        whole = cells.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
        return whole[:, :, :height, :width]
    blocks = 1 if kind == "block" else _BLOCKS
    y = torch.arange(height)[:, None]
    x = torch.arange(width)[None]
    masks = torch.zeros(count, 1, height, width, dtype=torch.bool)
    for _ in range(blocks):
        # sides whose product is the area asked for, up to 1:2 and 2:1
        stretch = 2 ** (torch.rand(count, generator=generator) - 0.5)
        side = (fraction / blocks) ** 0.5
        tall = (height * side * stretch).round().clamp(1, height)
        wide = (width * side / stretch).round().clamp(1, width)
        top = (torch.rand(count, generator=generator) * (height - tall + 1)).floor()
        left = (torch.rand(count, generator=generator) * (width - wide + 1)).floor()
        tall, wide, top, left = (part[:, None, None] for part in (tall, wide, top, left))
        inside = (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)
        masks |= inside[:, None]
    return masks


class Decoder(nn.Module):
    """Feature map (B, C, h, w) -> picture (B, 3, 16 h, 16 w) in 0..1, a patch a position.

    One hidden layer, then 16 x 16 pixels from every position: for masked pictures so light a
    decoder does as well as a deep one (Xie et al., *SimMIM*, CVPR 2022): the encoder has to work.
    """

    def __init__(self, num_features: int, width: int = 128, patch: int = 16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(num_features, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 3 * patch**2, 1),
            nn.PixelShuffle(patch),
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(features))


class Inpainting(Pretext):
    """In-painting: the head rebuilds what is hidden of a picture.

    The score is 1 - error / error of the picture's own mean colour, on hidden pixels.

    Args:
        mask: "block", one rectangle; "blocks", four; or "grid", some cells of one.
        fraction: Share of the area that is hidden, in 0..1.
        cell: Side of the grid's cell in pixels of a picture of 48; it grows with the picture.
        masked_only: Whether the loss of the pixels is taken on hidden ones alone.
        features: Adds a perceptual loss, by its `distance` of two batches of pictures (B, 3, H, W),
            such as `FrozenFeatures`; None: pixels alone.
        perceptual: Weight of that loss.
        share: Of a batch, in 0..1: the first pictures, on which alone that loss is taken, at the
            decoder's own size. The frozen network would otherwise cost more than all the rest.

    Raises:
        ValueError: An unknown mask; a fraction, cell or share out of range.

    Example:
        >>> import torch
        >>> from hmtl import Inpainting
        >>> task = Inpainting("grid", fraction=0.25)
        >>> views, (images, masks) = task.transform(torch.rand(2, 3, 48, 48), task.seeded(0))
        >>> masks.float().mean((1, 2, 3))
        tensor([0.2500, 0.2500])
    """

    reads = "map"
    weight = {"shared": 1.0, "paired": 1.0}
    revision = 2  # 1: a deeper decoder; the perceptual loss on whole batches at full size

    def __init__(
        self, mask: str = "blocks", fraction: float = FRACTION, cell: int = CELL, *,
        masked_only: bool = True, features: Any = None, perceptual: float = 0.2,
        share: float = 0.25,
    ):  # fmt: skip
        check_known(f"unknown mask {mask!r};", mask, MASKS)
        if not 0 < fraction < 1 or cell < 1:
            raise ValueError(f"fraction must lie in (0, 1) and cell be >= 1: {fraction}, {cell}")
        if not 0 < share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {share}")
        self.mask, self.fraction, self.cell = mask, fraction, cell
        self.masked_only, self.features, self.perceptual = masked_only, features, perceptual
        self.share = share
        self.name = f"inpainting_{mask}"
        if fraction != FRACTION:
            self.name += f"_{100 * fraction:g}percent"
        if cell != CELL and mask == "grid":
            self.name += f"_cell{cell}"
        if features is not None:
            self.name += "_pl"

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, tuple]:
        """Grey out the masks. Target: the pictures themselves, and the masks (B, 1, H, W)."""
        if images.shape[1] not in (1, 3):
            raise ValueError(
                f"{self.name} rebuilds grey pictures or colours, 1 or 3 channels, these have "
                f"{images.shape[1]}; use another pretext"
            )
        height, width = images.shape[-2:]
        cell = max(1, round(self.cell * height / 48))
        masks = draw_masks(len(images), (height, width), self.mask, self.fraction, cell, generator)
        masks = masks.to(images.device)
        return torch.where(masks, _GREY, images), (images, masks)

    def prepare(self, device: torch.device) -> None:
        """Load the network of the perceptual loss, if it has one."""
        if hasattr(self.features, "prepare"):  # as `FrozenFeatures` has
            self.features.prepare(device)

    def head(self, num_features: int) -> nn.Module:
        """The decoder."""
        return Decoder(num_features)

    def _rebuilt(self, prediction: Tensor, images: Tensor) -> Tensor:
        if images.shape[1] == 1:  # grey pictures; the decoder knows colours alone
            prediction = prediction.mean(1, keepdim=True)
        if prediction.shape[-2:] == images.shape[-2:]:
            return prediction
        return F.interpolate(prediction, images.shape[-2:], mode="bilinear", align_corners=False)

    def loss(self, prediction: Tensor, target: tuple) -> Tensor:
        """Mean absolute error of the pixels, and the perceptual distance of the filled picture."""
        images, masks = target
        rebuilt = self._rebuilt(prediction, images)
        error = (rebuilt - images).abs()
        if self.masked_only:
            pixels = (error * masks).sum() / (masks.sum() * images.shape[1]).clamp_min(1)
        else:
            pixels = error.mean()
        if self.features is None:
            return pixels
        return pixels + self.perceptual * self._perceived(prediction, rebuilt, images, masks)

    def _perceived(
        self, prediction: Tensor, rebuilt: Tensor, images: Tensor, masks: Tensor
    ) -> Tensor:
        """Distance of the filled pictures from the true ones in the features of a network."""
        some = max(1, round(self.share * len(images)))
        images = images[:some]
        filled = torch.where(masks[:some], rebuilt[:some], images)
        size = prediction.shape[-2:]
        if size[-1] < images.shape[-1]:  # what was enlarged holds no more than its own pixels
            filled, images = (
                F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
                for x in (filled, images)
            )
        return self.features.distance(filled, images)

    def score(self, prediction: Tensor, target: tuple) -> Tensor:
        """Share of the hidden pixels' variation that is rebuilt, at least 0."""
        images, masks = target
        rebuilt = self._rebuilt(prediction.float(), images)
        plain = images.mean((2, 3), keepdim=True)
        error = ((rebuilt - images).square() * masks).sum()
        return (1 - error / ((plain - images).square() * masks).sum().clamp_min(1e-8)).clamp_min(0)

    def show(self, images: Tensor, seed: int = 0, rebuilt: Tensor | None = None) -> Figure:
        """Pictures, what the network sees of them, and, if given, what it makes of that."""
        views, (_, masks) = self.transform(images, self.seeded(seed))
        rows = [images, views]
        if rebuilt is not None:
            rows.append(torch.where(masks, self._rebuilt(rebuilt, images), images))
        return show_rows(rows, side=(1.4, 1.4))
