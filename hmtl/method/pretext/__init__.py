"""Pretext tasks. Each is one file and offers the same five names:

    transform(images, generator) -> (views, target)   images float (B, 3, H, W)
    head(num_features) -> nn.Module or None            what it `reads` -> prediction
    loss(prediction, target) -> scalar
    score(prediction, target) -> scalar                what the progress table shows, larger is
                                                       better
    show(images) -> figure                             what the network is asked to do

and a `name`, under which its losses are logged. `reads` says what the head hangs on: "pooled", the
representation (B, F), or "map", the feature map (B, C, h, w). `make` reads the short names a
RunSpec stores.
"""

__all__ = [
    "PRETEXTS", "BarlowTwins", "ImageRotation", "Inpainting", "Jigsaw", "NoLoss", "OneView",
    "OtherPictures", "Pretext", "Puzzling", "PuzzlingRotation", "RandomTarget", "SecondView",
    "TileRotation", "TransformOnly", "make",
]  # fmt: skip

import re
from collections.abc import Callable

from hmtl.labels import hint
from hmtl.method.pretext.barlow import BarlowTwins
from hmtl.method.pretext.base import Pretext
from hmtl.method.pretext.composite import OneView, PuzzlingRotation
from hmtl.method.pretext.controls import (
    NoLoss,
    OtherPictures,
    RandomTarget,
    SecondView,
    TransformOnly,
)
from hmtl.method.pretext.inpainting import CELL, FRACTION, MASKS, Inpainting
from hmtl.method.pretext.jigsaw import Jigsaw
from hmtl.method.pretext.perceptual import PERCEPTUAL, FrozenFeatures
from hmtl.method.pretext.puzzling import Puzzling
from hmtl.method.pretext.rotation import ImageRotation, TileRotation


def _tiles(kind: type, match: re.Match) -> Pretext:
    """NxN, perhaps a gap or the number of turned tiles, perhaps on the feature map."""
    found = {name: text for name, text in match.groupdict().items() if text}
    on = {"on": found.pop("on")} if "on" in found else {}
    return kind(**{name: int(text) for name, text in found.items()}, **on)


_GRID, _MAP = r"_(?P<n>\d+)x(?P=n)", "(?:_(?P<on>map))?"
_GAP, _TURNED = r"_gap(?P<gap>\d+)", r"(?:_(?P<turned>\d+)turned)?"

_HIDDEN = rf"inpainting_({'|'.join(MASKS)})(?:_(\d+(?:\.\d+)?)percent)?(?:_cell(\d+))?(_pl)?"


def _inpainting(match: re.Match, features: str) -> Pretext:
    """The mask, perhaps the hidden share, the grid's cell, and a perceptual loss."""
    mask, percent, cell, perceptual = match.groups()
    fraction = float(percent) / 100 if percent else FRACTION
    seen = FrozenFeatures(features or PERCEPTUAL) if perceptual else None
    return Inpainting(mask, fraction, int(cell or CELL), features=seen)


PRETEXTS: dict[str, tuple[str, Callable[[re.Match, str], Pretext]]] = {
    "puzzling_NxN": ("puzzling" + _GRID + _MAP, lambda m, _: _tiles(Puzzling, m)),
    "puzzling_NxN_gap4": ("puzzling" + _GRID + _GAP + _MAP, lambda m, _: _tiles(Puzzling, m)),
    "tile_rotation_NxN": (
        "tile_rotation" + _GRID + _MAP + _TURNED, lambda m, _: _tiles(TileRotation, m)
    ),
    "puzzling_rotation_NxN": (
        "puzzling_rotation" + _GRID + _MAP, lambda m, _: _tiles(PuzzlingRotation, m)
    ),
    "jigsaw_NxN": (r"jigsaw_(\d+)x\1", lambda m, _: Jigsaw(int(m[1]))),
    "image_rotation": ("image_rotation", lambda m, _: ImageRotation()),
    "inpainting_block, _blocks, _grid, each [_60percent][_cell4][_pl]": (_HIDDEN, _inpainting),
    "barlow_twins": ("barlow_twins", lambda m, _: BarlowTwins()),
    "second_view": ("second_view", lambda m, _: SecondView()),
    "random_target": ("random_target", lambda m, _: RandomTarget()),
    "only_<pretext>": ("only_(.+)", lambda m, f: TransformOnly(make(m[1], f))),
    "probe_<pretext>": ("probe_(.+)", lambda m, f: NoLoss(make(m[1], f))),
    "unlabelled_<pretext>": ("unlabelled_(.+)", lambda m, f: OtherPictures(make(m[1], f))),
}  # fmt: skip
"""Short name as people read it -> (pattern, what to build of a match and `features`)."""


def make(name: str, features: str = "") -> Pretext:
    """Build a pretext from its short name.

    Suffixes of the tile tasks: "_gap4" for pixels between a puzzle's tiles, "_map" for a head on
    the feature map, "_2turned" for the number of turned tiles. Of in-painting, in this order:
    "_60percent" for the hidden share, "_cell4" for the grid's cell, "_pl" for a perceptual loss.

    Args:
        name: "puzzling_2x2", "inpainting_grid", "second_view", ...
        features: The network of a perceptual loss (`FrozenFeatures`); empty: its own choice.

    Raises:
        ValueError: Listing the known names.

    Example:
        >>> make("tile_rotation_3x3_4turned").turned
        4
    """
    for pattern, build in PRETEXTS.values():
        if match := re.fullmatch(pattern, name):
            return build(match, features)
    grid = re.search(r"\d+x\d+", name)
    near = [short.replace("NxN", grid[0] if grid else "2x2") for short in PRETEXTS]
    near += [f"inpainting_{mask}" for mask in MASKS]
    raise ValueError(f"unknown pretext {name!r}; {hint(name, near)}one of {'; '.join(PRETEXTS)}")
