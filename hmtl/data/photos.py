"""One picture on the disk -> its face as a square of `size` pixels, and what was odd about it.

Nothing here imports more than numpy and Pillow, as every worker process does it anew. What is done,
in this order:

1. **Orientation.** A camera's EXIF orientation is applied to a picture that is used whole, as every
   viewer shows it. Where the row has a face box it is not (`exif="auto"`): a box counts pixels of
   the picture as stored, and turning would move the face out of it. `exif="always"` and `"never"`
   are for sets that are known to be otherwise. (TIFF files are turned by Pillow itself.)
2. **Colour.** Grey (one plane, the luma of ITU-R 601) or colour (sRGB taken for granted; colour
   profiles are not applied). Of 16 bits the upper eight are kept, the lower where no upper is set;
   palettes are looked up; CMYK is converted plainly; what is transparent is laid on black.
3. **Square.** Of the box, or of the whole picture, by `fit`: "cover" is the central square (nothing
   is squeezed, the longer sides lose their ends; as Hopenet's Resize and CenterCrop), "widen" the
   square around the box (nothing is lost, more is seen), "squash" the box itself, squeezed.
   Whatever of it lies outside of the picture is black.
4. **Size.** Lanczos with Pillow's antialiasing: its window grows with the reduction.

Ours.
"""

__all__ = [
    "EXIF", "FITS", "FORMATS", "MISSING", "SECONDS", "Note", "PhotoTask", "check_name",
    "cut_square", "describe_problem", "difference_hash", "open_photo", "read_photos", "square_box",
    "to_mode",
]  # fmt: skip

import hashlib
import os
import signal
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Raster formats by Pillow's names: decoders only. PostScript, say, is a program that is run."""
SECONDS = 20  # of processor time that one picture may take
FITS = ("cover", "widen", "squash")
EXIF = ("auto", "always", "never")
MISSING = "not on disk"
_BACKGROUND = 0  # behind what is transparent, and outside of the picture
_MOST_PIXELS = 1 << 26  # of a box that reaches outside: 200 MB in colour
_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_TURNS = dict(enumerate((
    "FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE",
    "ROTATE_90",
), start=2))  # fmt: skip
"""EXIF orientation -> what brings a picture upright."""

Box = tuple[int, int, int, int]


class PhotoTask(NamedTuple):
    """Some pictures to read: `boxes` (left, top, right, bottom) or None, `offsets` of csv rows."""

    paths: list[str]
    boxes: list[tuple] | None
    offsets: list[int] | None
    size: int
    grey: bool
    fit: str
    exif: str


class Note(NamedTuple):
    """About one picture: why it cannot be used ("" if it can), the shorter side of what was cut
    out (pixels), an EXIF orientation that was not applied (1: none), the 64 bits of
    `difference_hash` and of a digest of its pixels, hexadecimal."""

    problem: str
    side: int = 0
    turned: int = 1
    hash: str = ""
    digest: str = ""


def read_photos(task: PhotoTask) -> tuple[np.ndarray, list[Note]]:
    """Return the squares of a task, uint8 (n, size, size, 1 or 3), and a note on each.

    A picture that cannot be read is black, and its note says why; none raises.
    """
    channels = 1 if task.grey else 3
    squares = np.zeros((len(task.paths), task.size, task.size, channels), np.uint8)
    notes = []
    for i in range(len(task.paths)):
        try:
            pixels, side, turned = _read_photo(task, i)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise anything on a broken file
            notes.append(Note(describe_problem(error, task.paths[i])))
            continue
        squares[i] = pixels.reshape(squares.shape[1:])
        digest = hashlib.blake2b(squares[i].tobytes(), digest_size=8).hexdigest()
        notes.append(Note("", side, turned, f"{difference_hash(squares[i]):016x}", digest))
    return squares, notes


def describe_problem(error: Exception, path: str) -> str:
    """Return why a picture cannot be used, in one line and without the folders of its path."""
    if isinstance(error, FileNotFoundError):
        return MISSING
    if isinstance(error, MemoryError):
        return "it needs more memory than there is; reduce it"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"no picture of a known format ({', '.join(FORMATS)})"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(text.replace(path, os.path.basename(path)).split())
    return f"{type(error).__name__}: {text}"


def _read_photo(task: PhotoTask, i: int) -> tuple[np.ndarray, int, int]:
    """Return pixels, shorter side cut out, and the EXIF orientation that was left alone."""
    if task.offsets is not None:
        from hmtl.data.readers.fer2013 import read_pixels  # pandas: for such sets only
        from hmtl.data.readers.pose_npz import read_npz_image

        read = read_npz_image if task.paths[i].lower().endswith(".npz") else read_pixels
        picture = Image.fromarray(read(task.paths[i], task.offsets[i]))
        return *cut_square(picture, None, task.size, task.grey, task.fit), 1
    path, box = task.paths[i], task.boxes[i] if task.boxes else None
    turn = task.exif == "always" or (task.exif == "auto" and box is None)
    picture, turned = open_photo(path, turn)
    _check_inside(box, picture.size)
    return *cut_square(picture, box, task.size, task.grey, task.fit), turned


def open_photo(path: str, turn: bool = True) -> tuple[Image.Image, int]:
    """Open a picture of one of `FORMATS`, whatever its name; nothing else of a stranger's is.

    Args:
        path: the file.
        turn: whether to bring it upright by its EXIF orientation.

    Returns:
        The picture, pixels read, and the EXIF orientation that was left alone (1: none).

    Raises:
        ValueError: a name that is no UTF-8, a pipe, socket or device, an empty file, or more pixels
            than Pillow calls safe (`PIL.Image.MAX_IMAGE_PIXELS`, 89,478,485).
        TimeoutError: its decoder computed for more than `SECONDS`.
        Exception: anything, from a decoder of a broken file (`describe_problem`).
    """
    check_name(path)
    state = os.stat(path)
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):  # may never end
        raise ValueError("no regular file")
    if state.st_size == 0:
        raise ValueError("an empty file")
    with _limited(), Image.open(path, formats=FORMATS) as picture:
        picture.load()
        turned = _orientation(picture)
        if turn and turned > 1:
            return picture.transpose(Image.Transpose[_TURNS[turned]]), 1
    return picture, turned


def check_name(path: str) -> None:
    """Raise ValueError for a file whose name is no UTF-8: at it some decoders end the process."""
    try:
        os.path.basename(path).encode()
    except UnicodeEncodeError:
        raise ValueError("its name is no UTF-8; rename the file") from None


@contextmanager
def _limited() -> Iterator[None]:
    """Stop a decoder after `SECONDS` of processor time, and refuse what Pillow only warns about.

    The clock is the system's timer of this process; it can be set in the main thread alone, and it
    acts between two blocks of the file.
    """

    def stop(*_) -> None:
        raise TimeoutError(f"it took more than {SECONDS:g} seconds to decode")

    timed = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what a decoder passes over
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before = signal.signal(signal.SIGVTALRM, stop) if timed else None
        try:
            if timed:
                signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
            yield
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise ValueError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels; reduce it") from None
        finally:
            if timed:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
                signal.signal(signal.SIGVTALRM, before)


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken EXIF, whatever it raises, is no broken picture
        return 1
    return value if value in _TURNS else 1


def cut_square(
    picture: Image.Image, box: tuple | None, size: int, grey: bool, fit: str = "cover"
) -> tuple[np.ndarray, int]:
    """Return the square of one picture, uint8 (size, size) or (size, size, 3), and its side.

    `box` (left, top, right, bottom) in pixels, None for the whole picture; `fit` one of `FITS`.
    Raises ValueError for a box without pixels and for colours that are not known.
    """
    box = (0, 0, *picture.size) if box is None else _check_box(box, picture.size)
    square, picture = square_box(box, fit), _eight_bits(picture)
    side = min(square[2] - square[0], square[3] - square[1])
    # converted after the cut: most of a photograph is not the face
    cut = to_mode(_crop(picture, square), "L" if grey else "RGB")
    if cut.size != (size, size):
        cut = cut.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(cut), side


def _check_box(box: tuple, size: tuple[int, int]) -> Box:
    """Return a box in whole pixels; ValueError if nothing of the picture is in it."""
    if not np.isfinite(box).all():
        raise ValueError("a face box that is no numbers")
    left, top, right, bottom = (round(float(side)) for side in box)
    if right <= left or bottom <= top:
        raise ValueError("an empty face box")
    if right <= 0 or bottom <= 0 or left >= size[0] or top >= size[1]:
        raise ValueError("a face box outside of the picture")
    return left, top, right, bottom


def _check_inside(box: tuple | None, size: tuple[int, int]) -> None:
    """ValueError if less than a quarter of a box lies in its picture: that was cut already, say.

    Loose boxes of published sets (AFLW2000-3D's) reach outside with half of their area.
    """
    left, top, right, bottom = box or (0, 0, *size)
    x, y = min(right, size[0]) - max(left, 0), min(bottom, size[1]) - max(top, 0)
    if x > 0 and y > 0 and 4 * x * y < (right - left) * (bottom - top):
        raise ValueError(
            f"most of a face box of {right - left:.0f} by {bottom - top:.0f} pixels is outside of "
            f"its picture ({size[0]} by {size[1]}): of another copy? the reader csv needs no boxes"
        )


def square_box(box: Box, fit: str) -> Box:
    """Return the square of a box by `fit`: "cover" within it, "widen" around it, "squash" itself.

    Of an odd difference the larger half is left on the right or bottom.
    """
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    if fit == "squash":
        return box
    side = min(wide, high) if fit == "cover" else max(wide, high)
    left, top = left + (wide - side) // 2, top + (high - side) // 2
    return left, top, left + side, top + side


def _crop(picture: Image.Image, box: Box) -> Image.Image:
    """Return the pixels in a box, black where it reaches outside, in a mode that keeps them."""
    left, top, right, bottom = box
    x, y = max(left, 0), max(top, 0)
    inside = (x, y, min(right, picture.width), min(bottom, picture.height))
    part = picture.crop(inside)
    if inside == box:
        return part
    if (right - left) * (bottom - top) > _MOST_PIXELS:
        raise ValueError(f"a face box of {right - left} by {bottom - top} pixels")
    # Pillow pads with 0, which is not black in every mode (CMYK, palettes)
    part = to_mode(part, "L" if part.mode in ("1", "L") else "RGB")
    return part.crop((left - x, top - y, right - x, bottom - y))


def to_mode(picture: Image.Image, mode: str) -> Image.Image:
    """Return a picture of any mode as "L" or "RGB"; ValueError for greys of no known range."""
    picture = _eight_bits(picture)
    if picture.mode == "F":
        raise ValueError("grey levels that are fractions, of an unknown range")
    if picture.mode in _ALPHA or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (*[_BACKGROUND] * 3, 255))
        picture = Image.alpha_composite(ground, picture).convert("RGB")
    return picture.convert(mode)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a whole picture, greys of 16 bits by the upper eight, or the lower if none is set."""
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("grey levels of more than 16 bits")
    return Image.fromarray((values >> 8 if values.max() > 0xFF else values).astype(np.uint8))


def difference_hash(pixels: np.ndarray) -> int:
    """Return the 64 bits of Krawetz's dHash of one picture, uint8 (H, W, 1 or 3).

    The picture is reduced to 8 rows of 9 grey levels; each bit says whether a level is below its
    right neighbour, the first in the highest bit.
    """
    picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    levels = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX))
    bits = np.packbits(levels[:, :-1] < levels[:, 1:])
    return int.from_bytes(bits.tobytes(), "big")
