"""Face boxes out of landmarks, as methods of head pose estimation cut them.

Boxes are `left, top, right, bottom` in pixels, whole numbers as `PIL.Image.crop` takes them; they
may reach outside of the picture, which Pillow pads with black.
"""

__all__ = [
    "BOX", "FAR", "HOPENET_BIWI", "HOPENET_TEST", "HOPENET_TRAIN", "are_boxes", "hopenet_crop",
    "plain_crop",
]  # fmt: skip

import numpy as np
import pandas as pd

BOX = ["left", "top", "right", "bottom"]
FAR = 1e6  # pixels: nothing of a picture lies beyond

# By how much of k times width or height Hopenet moves each side (github.com/natanielruiz/
# deep-head-pose, code/datasets.py): 300W-LP in training, AFLW2000 in tests, BIWI.
HOPENET_TRAIN = (0.6, 2.0, 0.6, 0.6)
HOPENET_TEST = (2.0, 2.0, 2.0, 0.6)
HOPENET_BIWI = (0.6, 1.0, 0.6, 0.6)


def are_boxes(table: pd.DataFrame) -> pd.Series:
    """Return whether each row's `BOX`, numbers or nan, has a width, a height, and lies near."""
    wide, high = table["right"] - table["left"], table["bottom"] - table["top"]
    return (wide > 0) & (high > 0) & (table[BOX].abs() < FAR).all(axis=1)


def hopenet_crop(boxes: np.ndarray, k, sides: tuple = HOPENET_TRAIN) -> np.ndarray:
    """Return Hopenet's crops of tight `boxes` (N, 4), int64 (N, 4); `k` is a number or (N,).

    Sides move one after another, left, top, right, bottom, so the right side moves by the width
    that the left one has already widened, and the bottom likewise. Truncated towards 0, never
    clamped to the picture.
    """
    left, top, right, bottom = np.array(boxes, float).T
    left = left - sides[0] * k * abs(right - left)
    top = top - sides[1] * k * abs(bottom - top)
    right = right + sides[2] * k * abs(right - left)
    bottom = bottom + sides[3] * k * abs(bottom - top)
    return np.trunc(np.stack([left, top, right, bottom], axis=1)).astype(np.int64)


def plain_crop(boxes: np.ndarray, margin: float = 0.6) -> np.ndarray:
    """Return `boxes` (N, 4) widened by `margin` of their width and height on each side, int64.

    0.6 is FSA-Net's margin for 300W-LP (github.com/shamangary/FSA-Net); unlike there, the box is
    not clamped to the picture, so a face at its edge keeps its shape.
    """
    left, top, right, bottom = np.array(boxes, float).T
    wide, high = margin * (right - left), margin * (bottom - top)
    return np.rint(np.stack([left - wide, top - high, right + wide, bottom + high], 1)).astype(
        np.int64
    )
