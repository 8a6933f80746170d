"""One picture: every mode, orientation, box and breakage, against Pillow by hand."""

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps
from reader_fixtures import draw_photo, make_fer2013, pixel_rows

from hmtl.data.photos import EXIF, FITS, PhotoTask, difference_hash, read_photos, square_box
from hmtl.data.readers.fer2013 import read_fer2013


def read(*paths, boxes=None, offsets=None, size=16, grey=False, fit="cover", exif="auto"):
    """The squares and notes of some files."""
    return read_photos(PhotoTask([str(p) for p in paths], boxes, offsets, size, grey, fit, exif))


def save(file, picture, **options):
    picture.save(file, **options)
    return file


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(
    ("fit", "box", "square"),
    [
        ("cover", None, (5, 0, 55, 50)),
        ("widen", None, (0, -5, 60, 55)),
        ("squash", None, (0, 0, 60, 50)),
        ("cover", (10.2, -5.0, 50.4, 44.6), (10, -0, 50, 40)),
        ("widen", (10, -5, 50, 45), (5, -5, 55, 45)),
        ("squash", (-7, 20, 30, 70), (-7, 20, 30, 70)),
        ("cover", (40, 30, 70, 60), (40, 30, 70, 60)),
        ("cover", (10, 10, 26, 26), (10, 10, 26, 26)),
    ],
)
def test_a_crop_is_what_pillow_makes_by_hand(tmp_path, fit, box, square, grey):
    picture = draw_photo(1, (60, 50))
    save(tmp_path / "a.png", picture)
    whole = np.zeros((250, 260, 3), np.uint8)  # black all round
    whole[100:150, 100:160] = np.asarray(picture)
    left, top, right, bottom = (100 + side for side in square)
    cut = Image.fromarray(whole[top:bottom, left:right])
    expected = np.asarray(
        cut.convert("L" if grey else "RGB").resize((16, 16), Image.Resampling.LANCZOS)
    )
    squares, (note,) = read(tmp_path / "a.png", boxes=box and [box], fit=fit, grey=grey)
    assert squares.shape == (1, 16, 16, 1 if grey else 3)
    np.testing.assert_array_equal(squares[0].squeeze(), expected)
    assert note.problem == ""
    assert note.side == min(right - left, bottom - top)


@pytest.mark.parametrize("fit", FITS)
def test_squares_are_square_and_centred(fit):
    rng = np.random.default_rng(0)
    for _ in range(50):
        left, top = rng.integers(-20, 20, 2)
        box = (left, top, left + rng.integers(1, 50), top + rng.integers(1, 50))
        square = square_box(box, fit)
        wide, high = square[2] - square[0], square[3] - square[1]
        sides = (box[2] - box[0], box[3] - box[1])
        if fit == "squash":
            assert square == box
            continue
        assert wide == high == (min if fit == "cover" else max)(sides)
        for i in (0, 1):  # half a pixel is the most that a centre can be off
            assert abs(square[i] + square[i + 2] - box[i] - box[i + 2]) <= 1


# mode -> (value of a flat picture, its colour, its grey level)
MODES = {
    "1": (255, (255, 255, 255), 255),
    "L": (90, (90, 90, 90), 90),
    "LA": ((90, 255), (90, 90, 90), 90),
    "RGB": ((200, 80, 10), (200, 80, 10), 108),
    "RGBA": ((200, 80, 10, 255), (200, 80, 10), 108),
    "P": ((200, 80, 10), (200, 80, 10), 108),
    "CMYK": ((55, 175, 245, 0), (200, 80, 10), 108),
    "I;16": (0x9ABC, (0x9A,) * 3, 0x9A),
    "I": (0x9ABC, (0x9A,) * 3, 0x9A),
}


@pytest.mark.parametrize("box", [None, (-4, 3, 16, 23)])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_colour_or_grey(tmp_path, mode, box):
    value, colour, level = MODES[mode]
    if mode == "P":
        picture = Image.new("RGB", (20, 30), value).quantize(4)
    elif mode == "I;16":
        picture = Image.fromarray(np.full((30, 20), value, np.uint16))
    else:
        picture = Image.new(mode, (20, 30), value)
    file = save(tmp_path / f"a.{'tif' if mode in ('CMYK', 'I') else 'png'}", picture)
    boxes = box and [box]
    for grey, expected in ((False, colour), (True, (level,))):
        squares, (note,) = read(file, boxes=boxes, grey=grey)
        assert note.problem == ""
        np.testing.assert_array_equal(squares[0, 8, 12], expected)
        if box:
            np.testing.assert_array_equal(squares[0, 8, 0], 0)  # outside of the picture: black


@pytest.mark.parametrize("box", [None, (0, 0, 8, 8), (-2, 0, 6, 8)])
@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_eight_bits_in_sixteen_are_not_black(tmp_path, kind, box):
    values = np.arange(256).reshape(16, 16)
    ending = "png" if kind == np.uint16 else "tif"
    low, deep = (
        save(tmp_path / f"{name}.{ending}", Image.fromarray(v.astype(kind)))
        for name, v in (("low", values), ("deep", values * 256))
    )
    plain = save(tmp_path / "plain.png", Image.fromarray(values.astype(np.uint8)))
    squares, notes = read(low, deep, plain, boxes=box and [box] * 3, size=8, grey=True)
    assert [note.problem for note in notes] == [""] * 3
    assert squares[2].max() > 100
    np.testing.assert_array_equal(squares[0], squares[2])
    np.testing.assert_array_equal(squares[1], squares[2])  # by the picture, not by what is cut out


def test_what_is_transparent_is_black_not_the_colour_that_is_hidden_there(tmp_path):
    clear = Image.new("RGBA", (16, 16), (200, 80, 10, 0))
    half = Image.new("RGBA", (16, 16), (200, 80, 10, 128))
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 0, 250, 250, 250])
    files = [save(tmp_path / "clear.png", clear), save(tmp_path / "half.png", half)]
    files.append(save(tmp_path / "palette.png", palette, transparency=1))
    squares, _ = read(*files)
    assert squares[0].max() == squares[2].max() == 0
    np.testing.assert_allclose(squares[1, 3, 3], np.array([200, 80, 10]) * 128 / 255, atol=1)


def photo_with_orientation(file, value):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    return save(file, draw_photo(2, (24, 20)), exif=exif, quality=95)


@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_is_applied_to_whole_pictures_and_never_under_a_box(tmp_path, value):
    file = photo_with_orientation(tmp_path / "a.jpg", value)
    with Image.open(file) as picture:
        stored = picture.convert("RGB")
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    for exif in EXIF:
        squares, (note,) = read(file, size=20, exif=exif)
        expected = np.asarray(ImageOps.fit(stored if exif == "never" else upright, (20, 20)))
        np.testing.assert_array_equal(squares[0], expected)
        assert note.turned == (value if exif == "never" else 1)
    squares, (note,) = read(file, boxes=[(0, 0, 20, 20)], size=20)
    np.testing.assert_array_equal(squares[0], np.asarray(stored)[:20, :20])
    assert note.turned == value
    squares, _ = read(file, boxes=[(0, 0, 20, 20)], size=20, exif="always")
    np.testing.assert_array_equal(squares[0], np.asarray(upright)[:20, :20])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_no_broken_picture(tmp_path):
    file = save(tmp_path / "a.jpg", draw_photo(2, (24, 20)), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    _, (note,) = read(file)
    assert (note.problem, note.turned) == ("", 1)


def test_every_broken_file_costs_itself_and_says_why(tmp_path):
    good = save(tmp_path / "good.jpg", draw_photo(3, (64, 64)))
    broken = {
        "cut.jpg": (good.read_bytes()[:-200], "truncated"),
        "head.jpg": (good.read_bytes()[:400], "Truncated"),
        "empty.jpg": (b"", "an empty file"),
        "text.jpg": (b"<html>", "no picture of a known format"),
    }
    for name, (content, _) in broken.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    save(tmp_path / "deep.tif", Image.new("I", (9, 9), 70_000))
    save(tmp_path / "fraction.tif", Image.new("F", (9, 9), 0.5))
    said = {name: why for name, (_, why) in broken.items()} | {
        "folder.jpg": "IsADirectoryError", "gone.jpg": "not on disk",
        "deep.tif": "more than 16 bits", "fraction.tif": "fractions",
    }  # fmt: skip
    squares, notes = read(good, *(tmp_path / name for name in said), good)
    for why, note in zip(["", *said.values(), ""], notes, strict=True):
        assert why in note.problem
        assert bool(note.problem) == bool(why)
        assert str(tmp_path) not in note.problem
    np.testing.assert_array_equal(squares[0], squares[-1])
    assert squares[1:-1].max() == 0


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((5, 5, 5, 9), "an empty face box"),
        ((9, 5, 5, 9), "an empty face box"),
        ((64, 0, 80, 20), "outside of the picture"),
        ((0, -20, 9, 0), "outside of the picture"),
        ((0, 0, float("nan"), 9), "no numbers"),
        ((-1e6, -1e6, 1e6, 1e6), "a face box of 2000000 by 2000000 pixels"),
    ],
)
def test_a_box_that_holds_no_face_is_a_problem(tmp_path, box, why):
    file = save(tmp_path / "a.png", draw_photo(3, (64, 64)))
    _, (note,) = read(file, boxes=[box])
    assert why in note.problem


@pytest.mark.parametrize(("left", "problem"), [(20, False), (47, False), (49, True), (-49, True)])
def test_a_box_that_lies_mostly_outside_is_a_problem(tmp_path, left, problem):
    """As of the whole photograph beside pictures that are cut already; loose boxes are none."""
    file = save(tmp_path / "a.png", draw_photo(3, (64, 64)))
    _, (note,) = read(file, boxes=[(left, 0, left + 64, 64)])
    assert ("most of a face box of 64 by 64 pixels is outside" in note.problem) == problem
    _, (note,) = read(file, boxes=[(134, 134, 899, 899)])
    assert "outside of the picture" in note.problem
    _, (note,) = read(file, boxes=[(9, 9, 899, 899)])
    assert "its picture (64 by 64): of another copy?" in note.problem


def test_names_of_any_script(tmp_path):
    names = ["with blanks.png", "چهره.png", "лицо é.png", "笑顔 (1).png", "a'b\"c.png"]
    files = [save(tmp_path / name, draw_photo(i, (20, 20))) for i, name in enumerate(names)]
    squares, notes = read(*files, size=20)
    assert [note.problem for note in notes] == [""] * len(names)
    for i, square in enumerate(squares):
        np.testing.assert_array_equal(square, np.asarray(draw_photo(i, (20, 20))))


def test_rows_of_a_csv_are_pictures_too(tmp_path):
    table = read_fer2013(make_fer2013(tmp_path))
    task = {"offsets": table["offset"].tolist(), "size": 48, "grey": True}
    squares, notes = read(*table["path"], **task)
    np.testing.assert_array_equal(squares.reshape(-1, 2304), pixel_rows())
    assert {note.side for note in notes} == {48}
    task["offsets"][1] += 30
    _, notes = read(*table["path"], **task)
    assert "expected 2,304 pixels" in notes[1].problem
    assert str(tmp_path) not in notes[1].problem
    assert notes[2].problem == ""


def test_the_hash_is_the_comparison_of_neighbours():
    rising = np.repeat(np.arange(0, 144, 2, dtype=np.uint8)[None], 64, axis=0)
    assert difference_hash(rising[..., None]) == 2**64 - 1
    assert difference_hash(rising[:, ::-1, None]) == 0
    pixels = np.asarray(draw_photo(4, (72, 64)).convert("L"), float)
    # means of 8x8 pixels, rounded to grey levels in each direction as Pillow does
    across = np.floor(pixels.reshape(64, 9, 8).mean(axis=2) + 0.5)
    bits = 0
    for row in np.floor(across.reshape(8, 8, 9).mean(axis=1) + 0.5):
        for left, right in zip(row[:-1], row[1:], strict=True):
            bits = 2 * bits + int(left < right)
    assert difference_hash(pixels.astype(np.uint8)[..., None]) == bits
