"""What may be asked about: pictures, folders of them, arrays, videos; and answers drawn on them.

A video is read by OpenCV, one frame of `every`, and has a row a frame and face. Only files whose
first bytes are those of MP4, QuickTime, AVI, Matroska or WebM are opened: a playlist under such a
name could lead its decoder to other files. Ours.
"""

__all__ = ["VIDEOS", "Drawer", "Picture", "count_pictures", "draw_answers", "pictures_in",
           "several"]  # fmt: skip

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hmtl.data.photos import check_name, describe_problem, open_photo, to_mode
from hmtl.data.readers.listing import PICTURES, list_files
from hmtl.files import check_place, check_regular, new_file

VIDEOS = (".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".mts", ".webm", ".wmv")
"""Endings, lower case; of .mpg, .mts and .wmv nothing is opened, but each is told as unreadable."""
_WHOLE = 0.95  # of its frames and of its time: a video with less breaks off
_ESTIMATED = (".mkv", ".webm")  # say how long they are, sound included, not how many frames
_NEEDS = 'videos are read by OpenCV: pip install "hmtl[use]"'


class Picture(NamedTuple):
    """One picture: the file or place it is named by, where in a video it is, and how it is read.

    `source` is a file, or the pixels; `frame` counts a video's from 0, `seconds` is its time.
    """

    name: str
    source: Path | Image.Image
    frame: int | None = None
    seconds: float | None = None

    def open(self) -> Image.Image:
        """The pixels, upright; raises whatever a decoder raises on a broken file."""
        return open_photo(str(self.source))[0] if isinstance(self.source, Path) else self.source


def several(images) -> list:
    """What a user gave as a list: one path, picture or array is a list of itself."""
    one = isinstance(images, str | Path | Image.Image | np.ndarray)
    return [images] if one else list(images)


def pictures_in(images, every: int = 1) -> Iterator[Picture | tuple[str, Exception]]:
    """Yield the pictures of what a user gives, in order.

    Args:
        images: A path, a PIL image, an array uint8 (H, W, 3), RGB (OpenCV's are BGR:
            `[..., ::-1]`), or (H, W), or several of these. A path may be a picture, a video or a
            folder; what has no path is named by its place.
        every: Of a video one frame in so many.

    Yields:
        Pictures; for a video that cannot be read, or breaks off, and for an address of the web,
            its name and the error.

    Raises:
        ValueError: a folder without pictures, an array of another kind, `every` below 1.
        ImportError: OpenCV is needed for a video and not there.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1 frame, got {every}")
    for name, source in _sources(images):
        try:
            if isinstance(source, Exception):
                raise source
            yield from _frames(source, every) if _is_video(source) else [Picture(name, source)]
        except (ValueError, OSError) as error:
            yield name, error


def count_pictures(images, every: int = 1) -> int:
    """How many pictures `pictures_in` will yield, for a bar; of a video as many as it says."""
    return sum(-(-_length(one) // every) if _is_video(one) else 1 for _, one in _sources(images))


def _sources(images) -> Iterator[tuple[str, Any]]:
    """Name and file, pixels or error of each picture that a user gives; of folders all files."""
    for place, image in enumerate(several(images)):
        if not isinstance(image, str | Path):
            yield str(place), _checked(image, place)
            continue
        files = [path := Path(os.path.expanduser(image))]
        if path.is_dir():
            files = [path / name for name in list_files(path, (*PICTURES, *VIDEOS))]
            if not files:
                raise ValueError(f"{path} holds no pictures")
        if "://" in str(image):  # a path would lose a slash
            yield str(image), ValueError("an address is no file; save the picture first")
            continue
        yield from ((_name(file), file) for file in files)


def _is_video(source: Path | Image.Image) -> bool:
    return isinstance(source, Path) and source.suffix.lower() in VIDEOS


def _name(file: Path) -> str:
    """A file's name for the table: text, and no formula, as which a spreadsheet takes "=1.png"."""
    name = str(file).encode("utf-8", "backslashreplace").decode()
    return f"./{name}" if name[0] in "=+-@" else name


def _checked(image, place: int) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    shape: tuple[int, ...] = getattr(image, "shape", ())
    grey_or_colour = len(shape) == 2 or shape[2:] == (3,)
    if getattr(image, "dtype", None) != np.uint8 or not grey_or_colour:
        raise ValueError(
            f"image {place}: paths, PIL images and arrays uint8 (H, W, 3), RGB, or (H, W) are "
            f"taken, not {type(image).__name__} {getattr(image, 'dtype', '')} {shape or ''}"
        )
    return Image.fromarray(image)


# ------------------------------------------------------------------------------------------ videos


@contextmanager
def _opened(file: Path):
    try:
        import cv2
    except ImportError as error:
        raise ImportError(_NEEDS) from error
    check_name(str(file))
    check_regular(file, "give a video")
    with file.open("rb") as handle:  # raises where it is missing
        head = handle.read(12)
    boxes = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
    known = head[4:8] in boxes or head[:4] == b"\x1aE\xdf\xa3" or (head[:4], head[8:]) == (
        b"RIFF", b"AVI ",
    )  # fmt: skip
    if not known:
        raise ValueError("no video of a known format (MP4, QuickTime, AVI, Matroska, WebM)")
    video = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise ValueError("no video that OpenCV can read")
        yield video, cv2
    finally:
        video.release()


def _length(file: Path) -> int:
    """Frames of a video as its header says; 1 if it cannot be read."""
    try:
        with _opened(file) as (video, cv2):
            return max(1, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    except (ValueError, OSError):
        return 1


def _frame_rate(file: Path) -> float:
    """Frames a second of a video; 25 if it does not say."""
    with _opened(file) as (video, cv2):
        rate = video.get(cv2.CAP_PROP_FPS)
    return rate if np.isfinite(rate) and 0 < rate < 1000 else 25.0


def _frames(file: Path, every: int) -> Iterator[Picture]:
    rate, number, seconds = _frame_rate(file), 0, 0.0
    with _opened(file) as (video, cv2):
        told = video.get(cv2.CAP_PROP_FRAME_COUNT)  # some files say their length only
        while video.grab():
            seconds = video.get(cv2.CAP_PROP_POS_MSEC) / 1000 or number / rate
            if number % every == 0:
                read, pixels = video.retrieve()
                if not read:
                    break
                image = Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))  # OpenCV's BGR
                yield Picture(_name(file), image, number, seconds)
            number += 1
        lasts = told / (video.get(cv2.CAP_PROP_FPS) or rate)
    if number == 0:
        raise ValueError("a video without a frame that can be read")
    whole = 0.5 if file.suffix.lower() in _ESTIMATED else _WHOLE
    if number < whole * told and seconds < whole * lasts:
        raise ValueError(
            f"a video that breaks off after {seconds:.1f} of {lasts:.1f} seconds, frame {number}; "
            "the answers so far are kept"
        )


# ----------------------------------------------------------------------------------------- drawing


def draw_answers(
    picture: Image.Image, boxes: Sequence[tuple[int, ...]], texts: Sequence[str]
) -> Image.Image:
    """Draw boxes and what was answered about them.

    Args:
        picture: Of any mode; it stays as it is.
        boxes: A square x0, y0, x1, y1 a face, pixels; what is outside of the picture is not seen.
        texts: A line or several a face, written under its box, or in it where there is no room.

    Returns:
        A new picture of the same size, RGB.
    """
    drawn = to_mode(picture, "RGB").copy()
    pen = ImageDraw.Draw(drawn)
    line = max(1, round(min(drawn.size) / 250))
    for box, text in zip(boxes, texts, strict=True):
        font = ImageFont.load_default(max(10, min(0.12 * (box[2] - box[0]), 0.05 * drawn.height)))
        pen.rectangle(box, outline=(255, 210, 0), width=line)
        left, top, right, bottom = pen.multiline_textbbox((0, 0), text, font=font)
        x = min(max(0, box[0]), max(0, drawn.width - (right - left)))
        y = min(max(0, box[3]), max(0, drawn.height - (bottom + line)))
        pen.rectangle((x, y, x + right, y + bottom + line), fill=(0, 0, 0))
        pen.multiline_text((x, y), text, font=font, fill=(255, 255, 255))
    return drawn


class Drawer(ExitStack):
    """Writes pictures with their answers into a folder, frames of a video into one copy of it.

    A copy is named after its picture, `photo-faces.png` or `clip-faces.mp4`; same names of two
    folders are numbered, and no picture that is asked about is written over. To be used in `with`.
    The first copy that cannot be written is the last: `undrawn` maps its picture to why.
    """

    def __init__(self, folder: str | Path, every: int = 1, images=()):
        super().__init__()
        self.folder, self.every = Path(os.path.expanduser(folder)).resolve(), every
        check_place(self.folder / "faces.png")
        self._taken = {file.resolve() for _, file in _sources(images) if isinstance(file, Path)}
        self._video: tuple[str, Callable] | None = None
        self.undrawn: dict[str, str] = {}

    def __exit__(self, *raised) -> None:
        try:
            super().__exit__(*raised)
        except Exception as error:  # of a video that has no place any more
            name = self._video[0] if self._video else ""
            self.undrawn[name] = describe_problem(error, name)

    def write(self, picture: Picture, pixels: Image.Image, boxes, texts: Sequence[str]) -> None:
        """Write a copy of one picture with its answers, or append it to its video."""
        try:
            if not self.undrawn:
                self._write(picture, draw_answers(pixels, boxes, texts))
        except Exception as error:  # encoders raise anything; the answers are to be kept
            self.undrawn[picture.name] = describe_problem(error, picture.name)
            with suppress(Exception):  # half a video is none
                super().__exit__(type(error), error, None)

    def _write(self, picture: Picture, drawn: Image.Image) -> None:
        if self._video and self._video[0] != picture.name:
            self.close()
            self._video = None
        if picture.frame is None:
            with new_file(self._place(picture.name, ".png")) as part:
                drawn.save(part, "PNG")
            return
        if self._video is None:
            rate = _frame_rate(Path(picture.name)) / self.every
            place = self._place(picture.name, ".mp4")
            append = self.enter_context(_video_writer(place, drawn.size, rate))
            self._video = picture.name, append
        self._video[1](drawn)

    def _place(self, name: str, ending: str) -> Path:
        stem, number = Path(name).stem, 1
        place = self.folder / f"{stem}-faces{ending}"
        while place in self._taken:
            number += 1
            place = self.folder / f"{stem}-faces-{number}{ending}"
        self._taken.add(place)
        return place


@contextmanager
def _video_writer(file: Path, size: tuple[int, int], rate: float):
    """Yield a function that appends a picture of `size` to a new video, there whole or not."""
    import cv2

    even = size[0] // 2 * 2, size[1] // 2 * 2  # which its encoder needs: odd sides lose a pixel
    with new_file(file) as part:
        video = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), rate, even)
        if not video.isOpened():
            raise OSError("OpenCV has no encoder for MP4 here")
        try:
            yield lambda picture: video.write(
                np.ascontiguousarray(np.asarray(picture)[: even[1], : even[0], ::-1])
            )
        finally:
            video.release()
        try:
            with _opened(part):  # its encoder says nothing of a full disk, and leaves no index
                pass
        except ValueError:
            raise OSError("a video that OpenCV could not end; is the disk full?") from None
