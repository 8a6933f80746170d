"""Folders and pictures of strangers: nothing is written through a link, no picture is a program."""

import json
import os
import shutil
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import make_toy_pack, reseal

from hmtl.__main__ import main
from hmtl.data import photos
from hmtl.data.photos import PhotoTask, open_photo, read_photos
from hmtl.files import new_file, whole_folder, write_text
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import load_run
from hmtl.use.card import model_card

pytestmark = pytest.mark.slow

OWN = "ssh-ed25519 AAAAOWNKEY me\n"
EVIL = "2 |\nssh-ed25519 AAAAEVILKEY stranger\n| <script>alert(1)</script>"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pack and a run of it, to be copied and changed."""
    folder = tmp_path_factory.mktemp("made")
    pack = make_toy_pack(folder / "pack", count=64)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HMTL_OUTPUTS", str(folder / "outputs"))
        run = fit(RunSpec(data="mini", epochs=1, bs=64, size=32), store=folder / "runs")
    return pack.path, run.path


@pytest.fixture
def theirs(made, tmp_path):
    """A stranger's copies of the pack and the run, and a file of the user's own."""
    own = tmp_path / "home" / "authorized_keys"
    own.parent.mkdir()
    own.write_text(OWN)
    pack = shutil.copytree(made[0], tmp_path / "downloads" / "pack")
    run = shutil.copytree(made[1], tmp_path / "downloads" / made[1].name)
    return pack, run, own


def claim_machine(run, **values):
    """Let a run's machine.json say other values, with checksums that fit."""
    file = run / "machine.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    reseal(run)


# -- nothing is written through a link ---


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("kind", ["run", "pack"])
def test_a_card_replaces_a_link_and_leaves_what_it_led_to(theirs, kind, absolute):
    pack, run, own = theirs
    claim_machine(run, torch=EVIL)
    card = (run if kind == "run" else pack) / "card.md"
    card.symlink_to(own if absolute else os.path.relpath(own, card.parent))
    assert main(["card", str(run)] if kind == "run" else ["card", "--data", str(pack)]) == 0
    assert own.read_text() == OWN
    assert not card.is_symlink()
    assert card.read_text().startswith("# ")
    assert "\nssh-ed25519" not in card.read_text()


def test_a_prediction_and_a_card_elsewhere_replace_links(theirs, tmp_path):
    _, run, own = theirs
    picture = tmp_path / "a.png"
    Image.new("RGB", (40, 40), (90, 60, 30)).save(picture)
    out = tmp_path / "out.csv"
    out.symlink_to(own)
    assert main(["predict", str(run), str(picture), "--no-detect", "--out", str(out)]) == 0
    assert (own.read_text(), out.is_symlink()) == (OWN, False)
    card = tmp_path / "x.md"
    card.symlink_to(own)
    assert main(["card", str(run), "--out", str(card)]) == 0
    assert (own.read_text(), card.is_symlink()) == (OWN, False)


@pytest.mark.parametrize("to", ["file", "nothing", "loop", "itself beside"])
def test_a_written_file_never_follows_a_link(tmp_path, to):
    own, link = tmp_path / "own", tmp_path / "link"
    own.write_text(OWN)
    link.symlink_to({"file": own, "nothing": tmp_path / "no", "loop": link}.get(to, "own"))
    write_text(link, "new")
    assert (link.is_symlink(), link.read_text(), own.read_text()) == (False, "new", OWN)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["link", "own"]


def test_what_fails_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    file = write_text(tmp_path / "a", "old")

    def fail():
        with new_file(file) as part:
            part.write_text("half")
            raise ZeroDivisionError

    pytest.raises(ZeroDivisionError, fail)
    assert [f.name for f in tmp_path.iterdir()] == ["a"]
    assert file.read_text() == "old"


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "/dev"])
def test_what_is_no_regular_file_is_not_replaced(tmp_path, kind):
    place = {"device": Path("/dev/null"), "/dev": Path("/dev/stdout")}.get(kind, tmp_path / "x")
    if kind == "folder":
        place.mkdir()
    if kind == "pipe":
        os.mkfifo(place)
    before = place.lstat()
    with pytest.raises(OSError, match=rf"{place} cannot be written .*choose another place"):
        write_text(place, "x")
    assert (place.lstat().st_ino, place.lstat().st_mode) == (before.st_ino, before.st_mode)


def test_a_folder_is_not_made_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match=r"link cannot be written \(a link\)"):
        whole_folder(tmp_path / "link").__enter__()
    assert list((tmp_path / "real").iterdir()) == []


# -- what a stranger wrote is shown, never rendered ---

MARKUP = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "![x](http://evil.example/t.png)",
    "a | b\n\n# Scores\n| 100 %", "`</code>`", "[click](javascript:alert(1))", "\u2028<b>",
]  # fmt: skip


@pytest.mark.parametrize("text", MARKUP)
@pytest.mark.parametrize("place", ["value", "key", "spec"])
def test_cards_show_markup_as_text(theirs, text, place):
    _, run, _ = theirs
    if place == "spec":
        record = json.loads((run / "spec.json").read_text())
        named = text.replace("/", "").replace("\n", " ")
        reseal(run, spec={**record["spec"], "data": f"csv:columns=path=a+emotion=b,file={named}"})
    else:
        claim_machine(run, **{"torch" if place == "value" else text: text})
    try:
        card = model_card(load_run(run), resamples=2)
    except ValueError:
        assert place == "spec", "only a spec may be refused"
        return
    for raw in ("<script", "<img", "![x](", "<b>", "</code>", "\n# Scores", "[click]("):
        assert raw not in card
    import markdown_it  # comes with jupytext

    shown = markdown_it.MarkdownIt("commonmark").enable("table").render(card)
    for tag in ("<script", "<img", "<b>", 'href="javascript:'):
        assert tag not in shown
    widths = {line.count("|") - line.count("\\|") for line in card.split("How it was")[1]
              .splitlines() if line.startswith("|")}  # fmt: skip
    assert widths == {3}, "a row has two cells, whatever stands in them"


# -- no picture is a program ---

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\n{ } loop\n%%EOF\n"
PROGRAMS = {
    "eps": EPS,
    "binary eps": b"\xc5\xd0\xd3\xc6" + (30).to_bytes(4, "little") + len(EPS).to_bytes(4, "little")
    + bytes(18) + EPS,
    "wmf": b"\xd7\xcd\xc6\x9a\0\0" + bytes(40),
    "fits": b"SIMPLE  =                    T" + bytes(3000),
    "pdf": b"%PDF-1.4\n%%EOF",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}  # fmt: skip


@pytest.mark.parametrize("name", ["a.png", "a.eps", "a"])
@pytest.mark.parametrize("kind", PROGRAMS)
def test_no_picture_is_handed_to_a_program(tmp_path, monkeypatch, kind, name):
    """A `gs` on the path that would tell if it was called, and a decoder that would look for it."""
    told = tmp_path / "called"
    (tmp_path / "bin").mkdir()
    gs = tmp_path / "bin" / "gs"
    gs.write_text(f"#!/bin/sh\ntouch {told}\nwhile :; do :; done\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{gs.parent}:{os.environ['PATH']}")
    Image.init()  # every decoder of Pillow is there
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    file = tmp_path / name
    file.write_bytes(PROGRAMS[kind])
    squares, (note,) = read_photos(PhotoTask([str(file)], None, None, 8, False, "cover", "auto"))
    assert "no picture of a known format (BMP, GIF, JPEG" in note.problem
    assert not squares.any()
    assert not told.exists()


def test_predict_names_the_program_and_answers_about_the_picture(theirs, tmp_path, capsys):
    _, run, _ = theirs
    (tmp_path / "a.png").write_bytes(EPS)
    Image.new("RGB", (40, 40), (90, 60, 30)).save(tmp_path / "b.png")
    pictures = [str(tmp_path / name) for name in ("a.png", "b.png")]
    out = str(tmp_path / "o.csv")
    assert main(["predict", str(run), *pictures, "--no-detect", "--out", out]) == 1
    said = capsys.readouterr()
    assert f"hmtl: {pictures[0]}: no picture of a known format" in said.err
    assert "1 faces in 1 pictures" in said.out


@pytest.mark.parametrize("ending", ["bmp", "gif", "jpg", "jp2", "png", "ppm", "pgm", "tif", "webp"])
def test_every_raster_format_is_read_as_pillow_does(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8))
    (picture.convert("L") if ending == "pgm" else picture).save(file)
    with Image.open(file) as expected:
        np.testing.assert_array_equal(np.asarray(open_photo(str(file))[0]), np.asarray(expected))


def test_a_picture_of_two_frames_is_read_from_a_phone(tmp_path):
    """MPO, what many phones write as .jpg."""
    frames = [Image.new("RGB", (8, 8), (value, 0, 0)) for value in (200, 10)]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert np.asarray(open_photo(str(tmp_path / "a.jpg"))[0])[0, 0, 0] > 150


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    rows = 13_300  # 176,890,000 pixels in all: between Pillow's warning and its error
    Image.new("1", (rows, rows)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="more than 89,478,485 pixels; reduce it"):
            open_photo(str(tmp_path / "a.png"))


def test_a_picture_that_takes_too_long_costs_itself(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    monkeypatch.setattr(photos, "SECONDS", 0.001)
    task = PhotoTask([str(tmp_path / "a.png")], None, None, 8, False, "cover", "auto")
    assert "more than 0.001 seconds to decode" in read_photos(task)[1][0].problem
    monkeypatch.setattr(photos, "SECONDS", 20)
    assert read_photos(task)[1][0].problem == ""
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a pipe"])
def test_what_is_no_file_is_no_picture(tmp_path, kind):
    place = tmp_path / "a.png"
    if kind in ("pipe", "link to a pipe"):
        os.mkfifo(tmp_path / "pipe")
        place.symlink_to("pipe")
    if kind == "pipe":
        place = tmp_path / "pipe"
    if kind == "device":
        place = Path("/dev/zero")
    with pytest.raises(ValueError, match="no regular file"):
        open_photo(str(place))
