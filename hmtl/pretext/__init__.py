"""Pretext tasks. Each is one file and offers the same five names:

    transform(images, generator) -> (views, target)   images float (B, 3, H, W)
    head(num_features) -> nn.Module or None            pooled representation (B, F) -> prediction
    loss(prediction, target) -> scalar
    score(prediction, target) -> scalar                what the progress table shows, larger is
                                                       better
    show(images) -> figure                             what the network is asked to do

and a `name`, under which its losses are logged. `make` reads the short names a RunSpec stores.
"""

__all__ = ["PRETEXTS", "Pretext", "Puzzling", "SecondView", "make"]

import re

from hmtl.pretext.base import Pretext
from hmtl.pretext.controls import SecondView
from hmtl.pretext.puzzling import Puzzling

PRETEXTS = {"puzzling": Puzzling, "second_view": SecondView}


def make(name: str) -> Pretext:
    """Build a pretext from its short name: "puzzling_2x2", "puzzling_3x3", "second_view".

    Raises ValueError listing the known names.
    """
    match = re.fullmatch(r"([a-z_]+?)(?:_(\d+)x(\d+))?", name)
    known = match and match[1] in PRETEXTS and match[2] == match[3]
    if not known or (match[1] == "puzzling") != bool(match[2]):
        raise ValueError(f"unknown pretext {name!r}; one of puzzling_NxN, second_view")
    return PRETEXTS[match[1]](int(match[2])) if match[2] else PRETEXTS[match[1]]()
