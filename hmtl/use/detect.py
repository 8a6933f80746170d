"""Where the faces of a picture are: OpenCV's Haar cascades, which ship inside its package.

The frontal cascade `alt2` and the profile cascade, the latter on the mirrored picture too (Viola &
Jones, *Rapid object detection using a boosted cascade of simple features*, CVPR 2001). Of 64
rendered faces of 80 to 220 pixels in pictures of 450, with their hats, masks and hands, they find
72 % with one box that is no face; `alt2` alone 56 % with none, scikit-image's LBP cascade 62 % with
44. Finer steps find more of them, and more in photographs that is no face. Of the mini set's faces
that look ahead 85 % are found; those that look far aside, lie on their side or are covered are
missed most. Needs `pip install "hmtl[use]"`; OpenCV 5 has no cascades any more. The choice and the
framing are ours.
"""

__all__ = ["find_faces", "frame_face"]

from functools import cache

import numpy as np
from PIL import Image

from hmtl.data.photos import to_mode

_CASCADES = ("haarcascade_frontalface_alt2.xml", "haarcascade_profileface.xml")
_LONGEST = 640  # pixels of the longer side while faces are looked for
_STEP, _AGREEING = 1.1, 4  # scales, and how many windows must agree on a face
_SMALLEST = 24, 1 / 20  # side of a face: pixels, and of the shorter side of the picture
_OVERLAP = 0.3  # intersection over union of two boxes that are one face

# What cascades box is narrower than the square in which training faces lie, and higher: the median
# over rendered faces of known squares. Heads fill theirs from 0.8 to 1.2 times as much.
_WIDER, _LOWER = 1.15, 0.08


def find_faces(picture: Image.Image) -> np.ndarray:
    """Return the boxes of the faces in a picture of any mode, the largest first, int64 (n, 4).

    Each is a square x0, y0, x1, y1 in pixels, framed as training faces are (`frame_face`), and may
    reach outside. Raises ImportError where OpenCV 4 is not installed, ValueError for grey levels
    of no known range.
    """
    shrink = min(1.0, _LONGEST / max(picture.size))
    size = [max(1, round(side * shrink)) for side in picture.size]
    grey = np.asarray(to_mode(picture, "L").resize(size, Image.Resampling.BOX))
    found = np.array(_candidates(grey), float).reshape(-1, 4) / shrink
    boxes = np.array([frame_face(*box) for box in _apart(found)], np.int64).reshape(-1, 4)
    return boxes[np.argsort(boxes[:, 0] - boxes[:, 2], kind="stable")]


def frame_face(x: float, y: float, width: float, height: float) -> tuple[int, int, int, int]:
    """Return the square x0, y0, x1, y1 around a cascade's box, in pixels."""
    side = round(_WIDER * max(width, height))
    left = round(x + (width - side) / 2)
    top = round(y + (height - side) / 2 + _LOWER * height)
    return left, top, left + side, top + side


def _candidates(grey: np.ndarray) -> list[tuple]:
    """Boxes x, y, width, height of all cascades in uint8 (H, W), the frontal one's first."""
    frontal, profile = _cascades()
    least = max(_SMALLEST[0], round(_SMALLEST[1] * min(grey.shape)))
    options = {"scaleFactor": _STEP, "minNeighbors": _AGREEING, "minSize": (least, least)}
    found = [*frontal.detectMultiScale(grey, **options), *profile.detectMultiScale(grey, **options)]
    mirrored = profile.detectMultiScale(np.ascontiguousarray(grey[:, ::-1]), **options)
    return found + [(grey.shape[1] - x - wide, y, wide, high) for x, y, wide, high in mirrored]


@cache
def _cascades() -> list:
    try:
        import cv2

        return [cv2.CascadeClassifier(cv2.data.haarcascades + name) for name in _CASCADES]
    except (ImportError, AttributeError) as error:
        raise ImportError(
            'faces are found by the cascades of OpenCV 4: pip install "hmtl[use]"; pictures that '
            "are faces already need none (--no-detect)"
        ) from error


def _apart(boxes: np.ndarray) -> np.ndarray:
    """Those of (n, 4) that overlap with none before them."""
    import torch
    from torchvision.ops import nms

    corners = torch.from_numpy(np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]))
    first = torch.arange(len(boxes), 0, -1, dtype=corners.dtype)  # the earlier, the better
    return boxes[nms(corners, first, _OVERLAP).numpy()]
