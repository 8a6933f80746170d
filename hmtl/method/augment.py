"""Augmentation none / weak / strong, on whole batches of tensors on their own device.

The levels follow the later of the authors' public scripts (112 px; "Augmentation" in
papers/hmtl/card.md). Lengths are kept as fractions of the image, so a level means the same at 48
and at 224 px. Crop, rotation, flip and resizing are one affine resampling: an image is interpolated
once.

Where this differs from the scripts: hue turns in the YIQ plane (one matrix product) instead of HSV;
the cut-out comes before the pretext; borders uncovered by a rotation are mirrored; the width of the
blur.
"""

__all__ = [
    "LEVELS", "VALID_CROP", "Augment", "Level", "Moves", "augment", "augment_and_tell",
    "center_crop",
]  # fmt: skip

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from fastai.vision.augment import DisplayedTransform
from fastai.vision.core import TensorImage
from torch import Tensor

from hmtl.labels import check_known

VALID_CROP = 0.85  # later scripts; 0.80 in the first ones


@dataclass(frozen=True)
class Level:
    """How strongly a training image is changed. Probabilities are per image."""

    crop: tuple[float, float]  # side of the crop over the side of the image, drawn uniformly
    centred: bool = True  # the crop keeps the centre; otherwise it lies anywhere
    rotate: float = 0.0  # degrees either way
    flip: float = 0.5  # probability of a horizontal flip
    jitter: float = 0.0  # probability of colour jitter
    strength: float = 0.4  # s: brightness +-0.8 s, contrast, saturation 1 +- 0.8 s, hue +-0.2 s
    grey: float = 0.0  # probability of dropping the colour
    blur: float = 0.0  # probability of a 3x3 Gaussian blur
    coarse: float = 0.0  # probability of resizing down (or up) and back
    coarse_to: tuple[float, float] = (64 / 112, 128 / 112)  # relative size, drawn once a batch
    cutout: float = 0.0  # side of one grey square over the side of the image; 0 is none


LEVELS = {
    "none": Level(crop=(0.80, 0.80)),
    "weak": Level(crop=(0.69, 0.99), rotate=15, jitter=0.4, grey=0.2),
    "strong": Level(
        crop=(0.75, 1.0), centred=False, rotate=25,
        jitter=0.9, grey=0.3, blur=0.2, coarse=0.2, cutout=40 / 112,
    ),
}  # fmt: skip


class Moves(NamedTuple):
    """What augmentation did to each picture that a label may have to follow."""

    flipped: Tensor  # bool (B,): mirrored left to right, after the turn
    turned: Tensor  # float (B,): degrees against the clock

    @classmethod
    def drawn(cls, level: Level, draw: Tensor) -> "Moves":
        """The moves that uniform numbers `draw` (B, >= 3) stand for."""
        return cls(draw[:, 2] < level.flip, (2 * draw[:, 1] - 1) * level.rotate)


# NTSC luminance and the two colour axes; the rows of the RGB -> YIQ matrix
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def center_crop(images: Tensor, fraction: float, size: int) -> Tensor:
    """Cut the central square and resize it: all that ever happens to a validation or test image.

    Args:
        images: Float (B, C, H, W).
        fraction: Side of the square over the shorter side, in (0, 1].
        size: Side of the result, pixels; antialiased where it shrinks.

    Returns:
        Float (B, C, size, size).

    Example:
        >>> center_crop(torch.rand(2, 3, 60, 80), 0.8, 48).shape
        torch.Size([2, 3, 48, 48])
    """
    height, width = images.shape[-2:]
    side = max(1, round(min(height, width) * fraction))
    top, left = (height - side) // 2, (width - side) // 2
    cut = images[..., top : top + side, left : left + side]
    if side == size:
        return cut.contiguous()
    return F.interpolate(cut, (size, size), mode="bilinear", align_corners=False, antialias=True)


def augment(images: Tensor, level: Level, size: int, generator: torch.Generator) -> Tensor:
    """Augment a batch as the authors' later scripts do.

    Args:
        images: Float (B, 3, H, W) in [0, 1].
        level: One of `LEVELS`' values, or another.
        size: Side of the result, pixels.
        generator: On the CPU. Numbers are drawn in one order whatever the level switches on, so two
            runs with one seed see the same crops.

    Returns:
        Float (B, 3, size, size) in [0, 1].
    """
    return augment_and_tell(images, level, size, generator)[0]


def augment_and_tell(
    images: Tensor, level: Level, size: int, generator: torch.Generator
) -> tuple[Tensor, Moves]:
    """`augment`, and the moves that labels may have to follow."""
    count = len(images)
    draw = torch.rand(count, 16, generator=generator)
    batch = torch.rand(2, generator=generator)
    out = _resample(images, level, size, draw[:, :5])
    if level.jitter or level.grey:
        out = _colour(out, level, draw[:, 5:11])
    if level.blur:
        sigma = 0.5 + 0.5 * float(batch[0])
        _change_some(out, draw[:, 11] < level.blur, lambda some: _blur(some, sigma))
    if level.coarse:
        low, high = level.coarse_to
        small = max(2, round(size * (low + (high - low) * float(batch[1]))))
        _change_some(
            out, draw[:, 12] < level.coarse, lambda some: _resize(_resize(some, small), size)
        )
    if level.cutout:
        out = _cut_out(out, level.cutout, draw[:, 13:15])
    return out, Moves.drawn(level, draw)


def _change_some(images: Tensor, chosen: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    """Change the `chosen` (B,) pictures in place: few are, so all would cost several times more."""
    rows = chosen.nonzero()[:, 0]  # on the CPU, where the draws are: no GPU waits for it
    if len(rows):
        rows = rows.to(images.device)
        images[rows] = change(images[rows])


def _resize(images: Tensor, size: int) -> Tensor:
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def _resample(images: Tensor, level: Level, size: int, draw: Tensor) -> Tensor:
    """Crop, rotate, flip and resize in one affine resampling; `draw` (B, 5) in [0, 1)."""
    low, high = level.crop
    scale = low + (high - low) * draw[:, 0]
    flipped, turned = Moves.drawn(level, draw)
    angle, mirror = torch.deg2rad(turned), torch.where(flipped, -1.0, 1.0)
    shift = torch.zeros(len(draw), 2) if level.centred else (2 * draw[:, 3:5] - 1)
    shift = shift * (1 - scale)[:, None]
    cos, sin = angle.cos() * scale, angle.sin() * scale
    # Where in the input each output pixel lies: what its column adds and what its row adds. It is
    # affine_grid's, which takes longer for it by a matrix product.
    along = ((2 * torch.arange(size) + 1) / size - 1)[:, None]  # pixel centres in [-1, 1]
    columns = along * torch.stack([cos * mirror, sin * mirror], 1)[:, None]  # (B, size, 2)
    rows = along * torch.stack([-sin, cos], 1)[:, None] + shift[:, None]
    grid = columns.to(images)[:, None] + rows.to(images)[:, :, None]  # (B, size, size, 2): x, y
    return F.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _colour(images: Tensor, level: Level, draw: Tensor) -> Tensor:
    """Brightness, contrast, saturation, hue and grey as one matrix a picture; `draw` (B, 6)."""
    spread = 2 * draw[:, :4] - 1
    on = (draw[:, 4] < level.jitter).float()
    reach = 0.8 * level.strength
    brightness = on * spread[:, 0] * reach
    contrast = 1 + on * spread[:, 1] * reach
    saturation = 1 + on * spread[:, 2] * reach
    hue = on * spread[:, 3] * 0.2 * level.strength * 2 * math.pi
    saturation = torch.where(draw[:, 5] < level.grey, 0.0, saturation)
    turn = torch.zeros(len(draw), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * hue.cos()
    turn[:, 1, 2] = saturation * hue.sin()
    turn[:, 2, 1] = -saturation * hue.sin()
    matrix = (torch.linalg.inv(_YIQ) @ turn @ _YIQ).to(images)  # (B, 3, 3)
    brightness, contrast = brightness.to(images), contrast.to(images)
    flat = images.flatten(2)  # (B, 3, H W)
    # contrast is taken about each picture's own mean, which the bias puts back
    bias = flat.mean(2) * (1 - contrast[:, None]) + brightness[:, None]
    bias = (matrix @ bias[..., None]).expand_as(flat)
    mixed = torch.baddbmm(bias, matrix * contrast[:, None, None], flat)
    return mixed.clamp_(0, 1).view_as(images)


def _blur(images: Tensor, sigma: float) -> Tensor:
    """3x3 Gaussian blur of width `sigma` pixels, mirrored at the border."""
    side = math.exp(-1 / (2 * sigma**2))
    line = torch.tensor([side, 1, side]) / (1 + 2 * side)
    kernel = torch.outer(line, line).to(images).expand(images.shape[1], 1, 3, 3)
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    return F.conv2d(padded, kernel, groups=images.shape[1])


def _cut_out(images: Tensor, fraction: float, draw: Tensor) -> Tensor:
    """Paint one mid-grey square of `fraction` of the side at a random place inside the picture."""
    size = images.shape[-1]
    side = round(size * fraction)
    corner = (draw * (size - side + 1)).floor().to(images.device)  # (B, 2): top, left
    at = torch.arange(size, device=images.device)
    inside = (at >= corner[..., None]) & (at < corner[..., None] + side)  # (B, 2, size)
    hole = inside[:, 0, :, None] & inside[:, 1, None, :]
    return images.masked_fill_(hole[:, None], 0.5)


class Augment(DisplayedTransform):
    """fastai batch transform: augments training batches, centre-crops the others.

    Args:
        level: One of `LEVELS`.
        size: Side of the pictures it gives, pixels.
        seed: Of its own random numbers.
        follow: What a picture's moves do to labels: (labels, flipped (B,), turned (B,)) -> labels
            (`Task.follow`); None: nothing.

    Raises:
        ValueError: An unknown level.
    """

    split_idx, order = None, 20  # after IntToFloatTensor (10)

    def __init__(
        self, level: str = "weak", size: int = 48, seed: int = 0,
        follow: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
    ):  # fmt: skip
        check_known(f"unknown augmentation {level!r};", level, LEVELS)
        super().__init__()
        self.level, self.size, self.follow = level, size, follow
        self.generator = torch.Generator().manual_seed(seed)
        self.training = False
        self._raw: Tensor | None = None  # the last training batch, its labels, what was done to it
        self._labels: Any = None
        self._moves: Any = None

    def __getstate__(self) -> dict:
        # an exported Learner carries nobody's picture
        return {**self.__dict__, "_raw": None, "_labels": None, "_moves": None}

    def __call__(self, b, split_idx: int | None = None, **kwargs):
        self.training = split_idx == 0
        out = super().__call__(b, split_idx=split_idx, **kwargs)
        if not self.training or self.follow is None or len(b) < 2:
            return out
        self._labels = b[1]
        return (out[0], *self.relabel(b[1:]))

    def encodes(self, x: TensorImage):
        images = x.as_subclass(Tensor)
        if not self.training:
            return TensorImage(center_crop(images, VALID_CROP, self.size))
        self._raw = images
        return TensorImage(self.again(self.generator))

    def again(self, generator: torch.Generator) -> Tensor:
        """Another augmentation of the last training batch, (B, 3, size, size).

        `generator` is the caller's own, so that a second view does not change the first ones.
        """
        if self._raw is None:
            raise RuntimeError("no training batch was augmented yet")
        level = LEVELS[self.level]
        images, self._moves = augment_and_tell(self._raw, level, self.size, generator)
        return images

    def relabel(self, labels: tuple) -> tuple:
        """The batch's `labels` as they are for the view of it that was made last."""
        if self.follow is None:
            return labels
        return (self.follow(self._labels, *self._moves), *labels[1:])
