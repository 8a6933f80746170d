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
    "Pretext", "Puzzling", "PuzzlingRotation", "RandomTarget", "SecondView", "TileRotation",
    "TransformOnly", "make",
]  # fmt: skip

import re
from collections.abc import Callable

from hmtl.pretext.barlow import BarlowTwins
from hmtl.pretext.base import Pretext
from hmtl.pretext.composite import OneView, PuzzlingRotation
from hmtl.pretext.controls import NoLoss, RandomTarget, SecondView, TransformOnly
from hmtl.pretext.inpainting import MASKS, Inpainting
from hmtl.pretext.jigsaw import Jigsaw
from hmtl.pretext.perceptual import FrozenFeatures
from hmtl.pretext.puzzling import Puzzling
from hmtl.pretext.rotation import ImageRotation, TileRotation


def _tiles(kind: type, match: re.Match) -> Pretext:
    """NxN, perhaps the number of turned tiles, perhaps on the feature map."""
    options = {"on": "map"} if match["map"] else {}
    if match["turned"]:
        options["turned"] = int(match["turned"])
    return kind(int(match["n"]), **options)


_GRID = r"_(?P<n>\d+)x(?P=n)(?P<turned>)(?P<map>_map)?"
_TURNED = r"_(?P<n>\d+)x(?P=n)(?P<map>_map)?(?:_(?P<turned>\d+)turned)?"

PRETEXTS: dict[str, tuple[str, Callable[[re.Match], Pretext]]] = {
    "puzzling_NxN": ("puzzling" + _GRID, lambda m: _tiles(Puzzling, m)),
    "tile_rotation_NxN": ("tile_rotation" + _TURNED, lambda m: _tiles(TileRotation, m)),
    "puzzling_rotation_NxN": ("puzzling_rotation" + _GRID, lambda m: _tiles(PuzzlingRotation, m)),
    "jigsaw_NxN": (r"jigsaw_(\d+)x\1", lambda m: Jigsaw(int(m[1]))),
    "image_rotation": ("image_rotation", lambda m: ImageRotation()),
    "inpainting_block, _blocks, _grid": (
        rf"inpainting_({'|'.join(MASKS)})", lambda m: Inpainting(m[1])
    ),
    "inpainting_..._pl": (
        rf"inpainting_({'|'.join(MASKS)})_pl",
        lambda m: Inpainting(m[1], features=FrozenFeatures()),
    ),
    "barlow_twins": ("barlow_twins", lambda m: BarlowTwins()),
    "second_view": ("second_view", lambda m: SecondView()),
    "random_target": ("random_target", lambda m: RandomTarget()),
    "only_<pretext>": ("only_(.+)", lambda m: TransformOnly(make(m[1]))),
    "probe_<pretext>": ("probe_(.+)", lambda m: NoLoss(make(m[1]))),
}  # fmt: skip
"""Short name as people read it -> (pattern, what to build)."""


def make(name: str) -> Pretext:
    """Build a pretext from its short name: "puzzling_2x2", "inpainting_grid", "second_view".

    Suffixes of the tile tasks: "_map" for a head on the feature map, "_2turned" for the number of
    turned tiles. Raises ValueError listing the known names.
    """
    for pattern, build in PRETEXTS.values():
        if match := re.fullmatch(pattern, name):
            return build(match)
    raise ValueError(f"unknown pretext {name!r}; one of {'; '.join(PRETEXTS)}")
