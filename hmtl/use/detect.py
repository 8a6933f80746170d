"""Where the faces of a picture are: YuNet, run by OpenCV's `FaceDetectorYN`.

YuNet (Wu, Peng & Yu, *YuNet: a tiny millisecond-level face detector*, Machine Intelligence Research
20, 2023) ships inside this package (`hmtl/data/detector`, 233 kB, MIT). It sees colour, at most
640 pixels on the longer side. A picture in which it finds nothing is looked at twice more: larger,
for small faces; then smaller and with a margin, for one that fills its picture. `make
check-detect` measures what it finds and what its boxes cost in accuracy:
`outputs/reference/tables/detect.csv`. Faces are not turned until their eyes lie level: that helps
no network here, says the same table. Needs OpenCV 4.8 or newer: `pip install "hmtl[use]"`.
The choice and the framing are ours.
"""

__all__ = ["FRAME", "FRAMES", "find_faces", "frame_face"]

import threading
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import hmtl.data
from hmtl.data.photos import to_mode
from hmtl.files import hash_file

MODEL = Path(hmtl.data.__file__).parent / "detector" / "face_detection_yunet_2023mar.onnx"
_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
SCORE = 0.6  # of a face, at least
_OVERLAP = 0.3  # intersection over union of two boxes that are one face
_LOOKS = ((640, 1.0, 0.0), (1280, 2.0, 0.0), (320, 2.0, 0.25))
"""The longer side while faces are looked for (pixels), how many times larger than the picture's at
most, and a margin around the picture, as a share of its longer side."""

_LEAST = 64  # pixels of the shorter side; what is missing is black

FRAME = (1.04, 0.015)
"""Side of a face's square over the longer side of YuNet's box, and how far its middle lies below
the box's, in heights of the box."""
FRAMES = dict.fromkeys(("mini", "faces"), (1.1, 0.043))
FRAMES |= dict.fromkeys(("ferplus", "ferplus-csv", "fer2013"), (0.98, -0.01))
"""The same by data set: medians over training faces of known squares."""


def find_faces(picture: Image.Image, frame: tuple[float, float] = FRAME) -> np.ndarray:
    """Find the faces in a picture.

    Args:
        picture: Of any mode, of any size.
        frame: How training faces lie in their squares, of `FRAMES`; what is between is the default.

    Returns:
        Boxes int64 (n, 4), the largest first. Each is a square x0, y0, x1, y1 in pixels, framed as
        training faces are (`frame_face`), and may reach outside of the picture.

    Raises:
        ImportError: OpenCV is not installed, or too old.
        ValueError: Grey levels of no known range, or the detector's file was changed.
    """
    colour = to_mode(picture, "RGB")
    found = np.empty((0, 4))
    for longest, most, share in _LOOKS:
        # all four sides get the margin of the longer one: of a long picture that is all memory
        factor = max(1, max(colour.size) // (2 * longest)) if share else 1
        small = colour.reduce(factor) if factor > 1 else colour
        margin = round(share * max(small.size))
        found = _look(ImageOps.expand(small, margin), longest, most) - [margin, margin, 0, 0]
        if len(found):
            found *= factor
            break
    framed = [frame_face(x, y, width, height, frame) for x, y, width, height in found]
    boxes = np.array(framed, np.int64).reshape(-1, 4)
    return boxes[np.argsort(boxes[:, 0] - boxes[:, 2], kind="stable")]


def frame_face(
    x: float, y: float, width: float, height: float, frame: tuple[float, float] = FRAME
) -> tuple[int, int, int, int]:
    """Frame a face as training faces are.

    Args:
        x, y: Left and top of the detector's box, pixels.
        width, height: Its sides, pixels.
        frame: As `find_faces` takes it.

    Returns:
        The square x0, y0, x1, y1, pixels.
    """
    side = max(1, round(frame[0] * max(width, height)))
    left = round(x + (width - side) / 2)
    top = round(y + (height - side) / 2 + frame[1] * height)
    return left, top, left + side, top + side


_TURN = threading.Lock()  # one detector for all threads


def _look(picture: Image.Image, longest: int, most: float) -> np.ndarray:
    """Boxes x, y, width, height in an RGB picture, seen `longest` pixels long; (n, 4)."""
    scale = min(most, longest / max(picture.size))
    size = [max(1, round(side * scale)) for side in picture.size]
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    # one side of less than its coarsest cells, 32 pixels, and OpenCV reads beyond its memory
    seen = np.zeros((*(max(_LEAST, side) for side in reversed(size)), 3), np.uint8)
    seen[: size[1], : size[0]] = np.asarray(picture.resize(size, how))[..., ::-1]  # BGR
    with _TURN:  # it is told the size of what it then sees
        detector = _detector()
        detector.setInputSize(seen.shape[1::-1])
        _, found = detector.detect(seen)
    boxes = np.empty((0, 4)) if found is None else found[:, :4].astype(float)
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    whole = np.isfinite(boxes).all(1) & (boxes[:, 2:] > 0).all(1)
    return boxes[whole & ((middle >= 0) & (middle <= size)).all(1)] / scale


@cache
def _detector():
    try:
        import cv2

        make = cv2.FaceDetectorYN.create
    except (ImportError, AttributeError) as error:
        raise ImportError(
            'faces are found by OpenCV (4.8 or newer): pip install "hmtl[use]"; pictures that are '
            "faces already need none (--no-detect)"
        ) from error
    if hash_file(MODEL) != _SHA256:
        raise ValueError(f"{MODEL} was changed: it does not have its SHA-256; install hmtl again")
    return make(str(MODEL), "", (320, 320), SCORE, _OVERLAP)
