"""Folders and pictures of strangers: nothing is written through a link, no picture is a program."""

import contextlib
import inspect
import json
import os
import pwd
import resource
import shutil
import signal
import socket
import struct
import subprocess
import warnings
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import markdown_it  # comes with jupytext
import numpy as np
import pandas as pd
import pytest
from forked import run_python
from hypothesis import given
from hypothesis import strategies as st
from mutations import FEW, MANY, assert_clear, drawn, mutate, mutate_object
from PIL import Image
from safetensors.torch import load_file, save_file
from toys import make_toy_pack, reseal

from hmtl.__main__ import main
from hmtl.data import photos
from hmtl.data.pack import open_pack
from hmtl.data.packing import parse_options, read_set, write_options
from hmtl.data.photos import PhotoTask, open_photo, read_photos
from hmtl.data.readers import READERS
from hmtl.data.readers.protocols import SOURCES
from hmtl.data.sets import MINI_PATH
from hmtl.files import load_weights, new_file, whole_folder, write_record, write_text
from hmtl.method.learner import build_model
from hmtl.method.tasks import make_task
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import load_run
from hmtl.use import card
from hmtl.use.card import model_card
from hmtl.use.export import export_run
from hmtl.use.networks import shipped, write_handed
from hmtl.use.predict import find_run, load, run_record

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
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
    file = (run if kind == "run" else pack) / "card.md"
    file.symlink_to(own if absolute else os.path.relpath(own, file.parent))
    assert main(["card", str(run)] if kind == "run" else ["card", "--data", str(pack)]) == 0
    assert own.read_text() == OWN
    assert not file.is_symlink()
    assert file.read_text().startswith("# ")
    assert "\nssh-ed25519" not in file.read_text()


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
    with pytest.raises(OSError, match=rf"{place} cannot be written .*[cC]hoose another place"):
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


def test_a_decoder_warns_nobody(tmp_path, recwarn):
    """A TIFF that says 2 GB of one field are in it."""
    file = tmp_path / "a.tif"
    Image.new("L", (8, 8), 90).save(file, tiffinfo={700: b"x" * 64})
    data = bytearray(file.read_bytes())
    place = data.index(struct.pack("<HH", 700, 1))
    data[place + 4 : place + 8] = struct.pack("<I", 2**31)
    file.write_bytes(data)
    squares, (note,) = read_photos(PhotoTask([str(file)], None, None, 8, True, "cover", "auto"))
    assert (squares == 90).all()
    assert note.problem == ""
    assert not recwarn


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


# -- what would never end, or take all memory ---


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "socket", "device"])
@pytest.mark.parametrize("name", ["spec.json", "pack.json", "config.json"])
def test_check_refuses_a_record_that_is_no_regular_file(tmp_path, capsys, name, kind):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "model.onnx").touch()
    place = folder / name
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "link to a pipe":
        os.mkfifo(tmp_path / "pipe")
        place.symlink_to(tmp_path / "pipe")
    elif kind == "socket":
        monkey = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(folder):  # a socket's path is short
            monkey.bind(name)
        monkey.close()
    else:
        place.symlink_to("/dev/zero")
    assert main(["check", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hmtl: {place} is no regular file; make it again")


@pytest.mark.parametrize("name", ["spec.json", "metrics.csv", "model.safetensors", "best.json"])
def test_no_file_of_a_run_may_be_a_pipe(theirs, capsys, name):
    _, run, _ = theirs
    (run / name).unlink()
    os.mkfifo(run / name)
    record = run / "spec.json"
    if name != "spec.json":  # vouched for all the same
        assert name in json.loads(record.read_text())["files"]
    assert main(["check", str(run)]) == 1
    assert f"{name} is no regular file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arch", ["vit_gigantic_patch14_224", "convnext_xxlarge", "regnety_1280", "resnetv2_152x4_bit"]
)
def test_a_small_folder_cannot_ask_for_a_large_network(theirs, arch):
    """Hundreds of millions of numbers are never made: names and shapes are compared before."""
    _, run, _ = theirs
    record = json.loads((run / "spec.json").read_text())
    reseal(run, spec={**record["spec"], "arch": arch})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"safetensors cannot be read .*size mismatch"):
        load(run)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 1000, "MB; the network itself has 7,000"


@pytest.fixture
def handed(theirs, tmp_path):
    """A stranger's network as the hub has it, with a card of theirs."""
    folder, run = tmp_path / "downloads" / "hub", load_run(theirs[1])
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n\n# Their card\n")
    write_handed(run, folder, run_record(run), with_card=False)
    return folder


def claim_handed(folder, **values):
    """Let its config.json say other values, with checksums that fit."""
    record = json.loads((folder / "config.json").read_text())
    write_record(folder / "config.json", {**record, **values})


@pytest.mark.parametrize("arch", ["vit_gigantic_patch14_224", "regnety_1280"])
def test_a_network_from_the_hub_cannot_be_larger_than_its_weights(handed, arch):
    assert load(handed).size == 32
    claim_handed(handed, arch=arch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"model.safetensors cannot be read .*size mismatch"):
        load(handed)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 1000, "MB"
    claim_handed(handed, arch="hf-hub:evil/network")
    with pytest.raises(ValueError, match=r"config.json cannot be read .*unknown backbone"):
        load(handed)


@pytest.mark.parametrize("kind", ["link", "link within", "pipe", "changed", "missing", "not UTF-8"])
def test_the_card_of_a_network_from_the_hub_is_its_own_file(handed, theirs, tmp_path, kind):
    """An export passes the card on: a link would pass on a file of the user's."""
    own, card = theirs[2], handed / "README.md"
    if kind != "changed":
        card.unlink()
    if kind == "link":
        card.symlink_to(own)
    elif kind == "link within":
        card.symlink_to("config.json")
    elif kind == "pipe":
        os.mkfifo(card)
    elif kind == "changed":
        card.write_text("# Another card")
    elif kind == "not UTF-8":
        card.write_bytes(b"\xff\xfe")
    if kind in ("link", "not UTF-8"):
        claim_handed(handed)
    out = tmp_path / "out"
    with pytest.raises((ValueError, OSError), match=r"README\.md .*make it again"):
        export_run(handed, out, ["onnx"])
    assert not out.exists()


def test_an_export_of_a_network_from_the_hub_is_of_a_size_that_it_sees(handed, tmp_path):
    claim_handed(handed, size="99999")
    with pytest.raises(ValueError, match="size 99999"):
        export_run(handed, tmp_path / "out", ["onnx"])


@pytest.mark.parametrize("change", ["more", "fewer", "another shape"])
def test_the_tensors_of_a_network_are_compared_by_name_and_shape(theirs, change):
    _, run, _ = theirs
    tensors = load_file(run / "model.safetensors")
    name = next(iter(tensors))
    if change == "more":
        tensors["x" * 40] = tensors[name].clone()
    elif change == "fewer":
        del tensors[name]
    else:
        tensors[name] = tensors[name][None].clone()
    save_file(tensors, run / "model.safetensors")
    reseal(run)
    odd = "x" * 40 if change == "more" else name
    with pytest.raises(ValueError, match=rf"cannot be read .*size mismatch: {odd}\)"):
        load(run)


@pytest.mark.parametrize(
    "value", [10**400, -(10**400), "9" * 4000, [10**400] * 9], ids=list("+-sl")
)
@pytest.mark.parametrize("field", ["seed", "epochs", "size", "lr"])
def test_a_number_of_400_digits_is_shortened(theirs, capsys, field, value):
    _, run, _ = theirs
    record = json.loads((run / "spec.json").read_text())
    reseal(run, spec={**record["spec"], field: value})
    assert main(["predict", str(run), "x.png"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert field in line
    assert len(line) < 600


@pytest.mark.parametrize("name", ["model.PKL", "sub/x.pkl", "a.pt2", "a.h5", "b.Joblib"])
def test_a_folder_with_what_may_be_a_pickle_is_refused(theirs, name):
    _, run, _ = theirs
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_bytes(b"\x80\x04.")
    with pytest.raises(ValueError, match=rf"{name} may be a pickle"):
        load(run)


# -- names, and users who may not ---


def test_a_name_that_is_no_utf8_costs_itself_and_is_named(theirs, tmp_path, capsys):
    _, run, _ = theirs
    folder = tmp_path / "pics"
    folder.mkdir()
    good = [
        "a b",
        "-rf",
        "$(id)",
        "=cmd|calc!A0",
        "\N{GRINNING FACE}",
        "%s",
        "<b>",
        "a\nb",
        "x" * 240,
    ]
    good = [f"{name}.png" for name in good]
    for name in good:
        Image.new("RGB", (40, 40), (90, 60, 30)).save(folder / name, "png")
    shutil.copy(folder / "a b.png", os.fsencode(folder) + b"/\xff\xfe.png")
    out = tmp_path / "o.csv"
    assert main(["predict", str(run), str(folder), "--no-detect", "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "its name is no UTF-8; rename the file" in said
    table = pd.read_csv(out)
    assert sorted(table["file"]) == sorted(str(folder / name) for name in good)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"), ("a\rb", r"a\rb"),
        ("\u202egnp.exe", r"\u202egnp.exe"), ("\x9b2J", r"\x9b2J"), ("über 笑😀", "über 笑😀"),
    ],
)  # fmt: skip
def test_a_name_does_not_steer_the_terminal(theirs, tmp_path, capsys, name, told):
    """Of a picture, a run and a folder: what is not printed is written as its escape."""
    _, run, _ = theirs
    (tmp_path / f"{name}.png").write_bytes(b"no picture")
    out = ["--no-detect", "--out", str(tmp_path / "o.csv")]
    assert main(["predict", str(run), str(tmp_path / f"{name}.png"), *out]) == 2
    assert f"{told}.png: no picture" in capsys.readouterr().err
    for emotion in ("happy", "sad"):  # folders that may be people, which a warning names
        for person in (name, "\uffff"):
            (tmp_path / "set" / emotion / person).mkdir(parents=True)
            for i in range(12):
                face = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(face).save(tmp_path / "set" / emotion / person / f"{i}.png")
    typed = ["--root", str(tmp_path / "set"), "--size", "16", "--out", str(tmp_path / "pack")]
    status = main(["pack", "folders", *typed])
    said = f"{told}/0.png': a line break" if "\r" in name else f"such as {told}: if they are people"
    assert said in capsys.readouterr().err
    assert status == (2 if "\r" in name else 0)
    named = shutil.copytree(run, tmp_path / "store" / name)
    (tmp_path / "store" / f"{name} broken").mkdir()
    (tmp_path / "store" / f"{name} broken" / "spec.json").write_text("[")
    assert main(["runs", "--store", str(named.parent)]) == 0
    assert f"{told}  emotion" in capsys.readouterr().out
    assert main(["check", str(named.parent)]) == 1
    assert f"{told} broken" in capsys.readouterr().err
    assert main(["card", str(tmp_path / "store" / f"{name} broken")]) == 2
    assert f"{told} broken" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["=cmd|calc!A0.png", "+1.png", "-1.png", "@a.png"])
def test_no_cell_of_a_table_is_a_formula(theirs, tmp_path, monkeypatch, name):
    _, run, _ = theirs
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 40), (90, 60, 30)).save(name, "png")
    (file,) = load(run).predict(Path(name), detect=False)["file"]
    assert file == f"./{name}"
    assert Path(file).is_file()


def of_a_user(*arguments):
    """What a command says to a user who may not everything: the exit status and its lines."""
    done = run_python("-m", "hmtl", *arguments, cwd=ROOT, rights=False)
    return done.returncode, [line for line in done.stderr.splitlines() if line.startswith("hmtl")]


@pytest.mark.parametrize(
    ("command", "name"),
    [("check", "model.safetensors"), ("card", "metrics.csv"), ("predict", "spec.json")],
)
def test_a_file_that_is_closed_to_us_is_never_to_be_deleted(theirs, tmp_path, command, name):
    _, run, _ = theirs
    (run / name).chmod(0)
    more = {"card": ["--out", tmp_path / "x.md"], "predict": ["x.png"]}.get(command, [])
    status, (line,) = of_a_user(command, run, *more)
    assert status == (1 if command == "check" else 2)
    assert line == (
        f"hmtl: {run}/{name} cannot be read (Permission denied); get the right to read it"
    )


@pytest.mark.parametrize("closed", ["run", "store"])
def test_a_folder_that_is_closed_to_us_is_named(theirs, closed):
    _, run, _ = theirs
    place = run if closed == "run" else run.parent
    place.chmod(0)
    try:
        status, (line,) = of_a_user("predict", run, "x.png")
    finally:
        place.chmod(0o755)
    assert status == 2
    assert str(place) in line
    assert "delete" not in line


def test_what_a_later_version_made_is_not_to_be_deleted(theirs):
    pack, run, _ = theirs
    record = json.loads((run / "spec.json").read_text())
    record |= {"hmtl": "99.0", "spec": record["spec"] | {"unheard_of": 1}}
    (run / "spec.json").write_text(json.dumps(record))
    reseal(run)
    with pytest.raises(ValueError, match=r"hmtl 99\.0 made it, .* install that version$"):
        load_run(run)
    (pack / "pack.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match=r"format 99, .* install the hmtl that made it$"):
        open_pack(pack)


@pytest.mark.parametrize("name", [".", "../{}"])
def test_a_run_has_its_name_however_it_is_addressed(theirs, monkeypatch, name):
    _, run, _ = theirs
    monkeypatch.chdir(run)
    assert load_run(name.format(run.name)).id == run.name
    monkeypatch.chdir(run.parent)
    assert load_run(f"{run.name}/../{run.name}/.").id == run.name


def test_a_closed_run_of_a_store_may_be_the_newest(theirs):
    _, run, _ = theirs
    closed = shutil.copytree(run, run.with_name("closed"))
    closed.chmod(0)
    try:
        listed, latest = (
            of_a_user(*command, "--store", run.parent) for command in (["runs"], ["card", "latest"])
        )
    finally:
        closed.chmod(0o755)
    said = f"hmtl: {closed} cannot be looked into; get the right to read it"
    assert listed == (1, [said])
    assert latest == (2, [said])


@pytest.mark.parametrize("home", [None, "/proc/nonexistent"])
def test_no_home_is_one_line_with_a_remedy(tmp_path, monkeypatch, capsys, home):
    monkeypatch.delenv("HMTL_CACHE", raising=False)
    if home:
        monkeypatch.setenv("HOME", home)
    else:
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # a user without an entry
    assert main(["faces", "--people", "1", "1", "1", "--size", "16"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "$HMTL_CACHE" in line
    assert len(open_pack(MINI_PATH, verify=True)) > 0, "what needs no cache needs no home"
    spec = RunSpec(data="mini", epochs=1, bs=64, size=32)
    assert fit(spec, store=tmp_path).scores


def test_a_store_on_a_link_that_leads_nowhere_says_what_is_there(made, tmp_path, capsys):
    (tmp_path / "store").symlink_to(tmp_path / "gone")
    assert main(["run", "--set", "epochs", "1", "--store", str(tmp_path / "store")]) == 2
    said = capsys.readouterr().err
    assert "something else is there, or a link that leads to nothing" in said
    assert "Free some space" not in said
    assert "hoose another place" in said


@pytest.mark.parametrize("kind", [MemoryError, OSError, ValueError, ImportError])
def test_an_error_without_words_has_its_name(monkeypatch, capsys, kind):
    def empty(*_):
        raise kind

    monkeypatch.setattr("hmtl.use.check.check_all", empty)
    assert main(["check", "."]) == 2
    assert capsys.readouterr().err == f"hmtl: {kind.__name__}\n"


def test_every_file_of_a_run_has_the_rights_of_the_umask(made):
    rights = {oct(file.stat().st_mode & 0o777) for file in made[1].iterdir()}
    assert len(rights) == 1, "the weights are as open as the rest"


def test_a_lock_that_a_kill_left_goes_with_the_next_call(made, tmp_path):
    """Killed after the run was there and before its lock was gone."""
    store = tmp_path / "store"
    run = shutil.copytree(made[1], store / made[1].name)
    (store / ".unfinished").mkdir()
    (store / ".unfinished" / f"{run.name}.lock").touch()
    (store / ".unfinished" / "another.lock").touch()
    assert fit(RunSpec(data="mini", epochs=1, bs=64, size=32), store=store).path == run
    assert [f.name for f in (store / ".unfinished").iterdir()] == ["another.lock"]


@pytest.mark.parametrize("year", [1970, 2100])
def test_a_clock_that_was_set_back_changes_nothing(theirs, year):
    pack, run, _ = theirs
    wanted = load(run).predict(np.zeros((40, 40, 3), np.uint8), detect=False)
    then = (year - 1970) * 365.25 * 86400
    for folder in (pack, run):
        for file in folder.iterdir():
            os.utime(file, (then, then))
    assert (
        load("latest", store=run.parent)
        .predict(np.zeros((40, 40, 3), np.uint8), detect=False)
        .equals(wanted)
    )
    assert len(open_pack(pack, verify=True)) == 64


# -- exported networks ---


@pytest.mark.parametrize("location", ["../secret", "secret", "/etc/passwd"])
def test_a_network_cannot_name_another_file_for_its_weights(theirs, tmp_path, location):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "theirs"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(64))
    (folder / "secret").write_bytes(bytes(64))
    weight = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=1)
    weight.external_data.add(key="location", value=location)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["faces", "w"], ["answers"])], "g",
        [onnx.helper.make_tensor_value_info("faces", 1, ["b", 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("answers", 1, ["b", 3, 8, 8])], [weight],
    )  # fmt: skip
    model = onnx.helper.make_model(graph)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"model\.onnx cannot be read"):
        load(folder)


# -- mutations of what is refused ---

PICTURES = ("bmp", "gif", "jpg", "jp2", "png", "ppm", "tif", "webp")


@drawn(PICTURES)
def test_a_mutated_picture_is_read_or_costs_itself(tmp_path_factory, ending, seed):
    folder = tmp_path_factory.getbasetemp() / "mutated"
    folder.mkdir(exist_ok=True)
    file = folder / f"a.{ending}"
    if not (folder / f"whole.{ending}").exists():
        noise = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"whole.{ending}")
    rng = np.random.default_rng(seed)
    file.write_bytes(mutate(rng, (folder / f"whole.{ending}").read_bytes()))
    task = PhotoTask([str(file)], None, None, 8, False, "cover", "auto")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of decoders, about what they pass over
        squares, (note,) = read_photos(task)
    assert not squares.any() or note.problem == ""
    assert "\n" not in note.problem
    assert str(folder) not in note.problem
    assert note.problem == "" or len(note.problem) < 500


@MANY
@given(
    st.text(max_size=40) | st.lists(st.sampled_from(["<b>", "|", "\\", "`", "[", "](", "!", "\n",
                                                    "\r", "a", "&lt;", "\ud800"])).map("".join)
)  # fmt: skip
def test_any_text_is_one_cell_that_shows_it(text):
    shown = card._table(pd.DataFrame([[text, 1]], columns=["what", text]))
    head, rule, row = shown.encode().decode().splitlines()
    assert not set("<>") & set(shown)
    html = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").render(shown)
    root = ElementTree.fromstring(f"<r>{html}</r>")
    assert {e.tag for e in root.iter()} <= {"r", "table", "thead", "tbody", "tr", "th", "td", "em",
                                            "strong"}  # fmt: skip
    assert [len(tr) for tr in root.iter("tr")] == [2, 2]


@drawn(count=FEW)
def test_mutated_weights_are_compared_before_a_network_is_built(made, tmp_path_factory, seed):
    file = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    whole = (made[1] / "model.safetensors").read_bytes()
    changed = mutate(np.random.default_rng(seed), whole[:3000]) + whole[3000:]
    file.write_bytes(changed)
    task = make_task("emotion")
    try:
        load_weights(partial(build_model, "tiny", len(task.names), task), file, "mend it")
    except (ValueError, OSError) as error:
        assert changed != whole
        assert_clear(error, file)
        return
    own, there = load_file(made[1] / "model.safetensors"), load_file(file)
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in there.items()}


REPORT = {
    "reader": {"notes": ["a note"], "dropped": {"torn": 1}, "unlabelled": {"no face": 2}},
    "duplicates": {"across splits": [["a", "b"]], "dropped": ["c"]}, "images": {"packed": 64},
    "missing": [], "bad": [], "tiny": [], "turned": [], "differences": ["x"], "warnings": ["<b>"],
}  # fmt: skip


@drawn(["pack.json", "report.json"])
def test_a_mutated_record_of_a_pack_is_a_sheet_or_is_named(made, tmp_path_factory, name, seed):
    folder = tmp_path_factory.getbasetemp() / "sheets"
    if not folder.exists():
        shutil.copytree(made[0], folder)
    record = json.loads((made[0] / "pack.json").read_text())
    rng, report = np.random.default_rng(seed), REPORT
    if name == "pack.json":
        record = mutate_object(rng, record)
    else:
        report = mutate_object(rng, report)
    (folder / "report.json").write_text(json.dumps(report))
    write_record(folder / "pack.json", record)
    try:
        sheet = card.data_sheet(open_pack(folder))
    except (ValueError, OSError) as error:
        assert_clear(error, folder)
        return
    assert not set("<>") & set(sheet)
    assert "## Faces by split and label" in sheet


@drawn(count=FEW)
def test_a_mutated_network_from_the_hub_answers_or_is_named(made, tmp_path_factory, seed):
    folder = tmp_path_factory.getbasetemp() / "hub"
    if not folder.exists():
        folder.mkdir()
        run = load_run(made[1])
        write_handed(run, folder, run_record(run), with_card=False)
        (folder / "config.json").rename(folder.with_suffix(".json"))
    record = json.loads(folder.with_suffix(".json").read_text())
    write_record(folder / "config.json", mutate_object(np.random.default_rng(seed), record))
    try:
        network = load(folder, device="cpu")
    except (ValueError, OSError) as error:
        assert_clear(error, folder)
        return
    answer = network.answer(np.zeros((2, 3, network.size, network.size), np.float32))
    assert answer.shape == (2, len(network.task.names))


@drawn(["ferplus", "faces-emotion", "latest", "outputs/runs/mini"])
def test_a_mutated_name_of_a_network_is_found_or_named(tmp_path_factory, name, seed):
    rng = np.random.default_rng(seed)
    asked = mutate(rng, name.encode() * int(rng.choice([1, 1, 60]))).decode("utf-8", "replace")
    store = tmp_path_factory.getbasetemp() / "no-store"
    if Path(asked).is_absolute() or ".." in Path(asked).parts:
        return  # a folder of this machine
    try:
        found = find_run(asked, store)
    except (ValueError, OSError) as error:
        assert_clear(error, asked or "no run is named")
        return
    assert asked
    assert found == shipped().get(asked, Path(asked))


OPTIONS = [(data, option) for data, reader in SOURCES.items()
           for option, told in inspect.signature(reader).parameters.items()
           if told.kind is told.KEYWORD_ONLY]  # fmt: skip
TEXTS = ["", "1", "-1", "1e999", "nan", "true", "a", "a=1", "=", "a:b=c", ":=", "\0", "é" * 300]


@drawn(OPTIONS)
def test_a_mutated_option_of_a_reader_is_understood_or_named(tmp_path_factory, option, seed):
    (data, name), rng = option, np.random.default_rng(seed)
    given = [name, *rng.choice(TEXTS, int(rng.integers(0, 4))).tolist()]
    empty = tmp_path_factory.getbasetemp() / "empty"
    empty.mkdir(exist_ok=True)
    try:
        options = parse_options(data, [given])
        assert set(options) == {name}
        said = write_options(data, options)
        assert len(said) in (0, 1)
        read_set(data, empty, options)  # there is no data set in it
    except (ValueError, OSError) as error:
        assert_clear(error, name, empty)
        return
    raise AssertionError(f"{data} found faces in an empty folder")


# -- disks and signals under a network in use ---


@pytest.mark.parametrize("formats", [["onnx"], ["torch"], ["onnx", "torch"], ["timm"], ["hub"]])
def test_an_export_onto_a_full_disk_is_one_line(theirs, tmp_path, capsys, formats):
    pytest.importorskip("onnxruntime")
    _, run, _ = theirs
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(tmp_path / "disk")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a disk")
    try:
        out = tmp_path / "disk" / "out"
        assert main(["export", str(run), "--out", str(out), "--format", *formats]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"hmtl: {out} cannot be written (No space left on device). Free")
        assert list(out.parent.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "disk")], check=True)


@pytest.mark.parametrize("command", ["export", "card", "predict"])
def test_a_folder_that_may_be_read_alone_is_one_line(theirs, tmp_path, capsys, command):
    """Of a network within it, and of an output in it: nothing advises to delete."""
    root, run, _ = theirs
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a disk")
    try:
        shutil.copytree(run, disk / "run")
        Image.new("RGB", (48, 48)).save(disk / "a.png")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        told = {
            "export": ["export", str(disk / "run"), "--out", str(disk / "out")],
            "card": ["card", str(disk / "run")],
            "predict": ["predict", str(disk / "run"), str(disk / "a.png"), "--out",
                        str(disk / "out.csv")],
        }  # fmt: skip
        assert main([*told[command], *(["--format", "torch"] if command == "export" else [])]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert str(disk) in line
        assert "Read-only file system" in line
        assert "delete" not in line
        assert sorted(f.name for f in disk.iterdir()) == ["a.png", "run"]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_run_whose_disk_fills_up_goes_on_to_the_same_bits(made, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    spec = RunSpec(data="mini", epochs=2, bs=64, size=32)
    pack = open_pack(made[0])
    whole = fit(spec, pack=pack, store=tmp_path / "whole")

    def resize(size, again=""):
        mount = ["mount", "-t", "tmpfs", "-o", f"{again}size={size}", "tmpfs", str(disk)]
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0

    if not resize("6m"):
        pytest.skip("no right to mount a disk")
    try:
        (disk / "other").write_bytes(bytes(1 << 20))
        assert resize("3m", "remount,")
        with pytest.raises(OSError, match=r"the run store .* \(No space left.*Free some space"):
            fit(spec, pack=pack, store=disk)
        assert resize("60m", "remount,")
        again = fit(spec, pack=pack, store=disk)
        for name in ("model.safetensors", "metrics.csv", "predictions.csv", "best.json"):
            assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()
        assert not (disk / ".unfinished").exists() or not list((disk / ".unfinished").iterdir())
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_export_ended_by_a_signal_leaves_no_half_of_it(theirs, tmp_path, sent):
    """Ended after its files were written and before the folder had its name."""
    pytest.importorskip("onnxruntime")
    _, run, _ = theirs
    code = (
        "import os, signal, sys\nfrom hmtl import files\nfrom hmtl.__main__ import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # it may be ignored here
        "def end(folder):\n    os.kill(os.getpid(), int(sys.argv[1]))\n"
        "files.sync_files = end\nsys.exit(main(sys.argv[2:]))"
    )
    out = tmp_path / "out"
    command = ["export", str(run), "--out", str(out), "--format", "torch"]
    ended = run_python("-c", code, int(sent), *command, cwd=ROOT)
    assert ended.returncode in (-sent, 130)
    assert not out.exists()
    assert main(command) == 0
    assert sorted(file.name for file in out.iterdir()) == ["card.md", "config.json", "model.pt2"]


# -- tables of strangers ---

TABLES = {
    "utf-16": ("path,emotion\n1.png,sad\n".encode("utf-16"), "save it as UTF-8"),
    "latin-1": ("path,emotion\n1.png,tr\u00e4urig\n".encode("latin-1"), "save it as UTF-8"),
    "byte order mark": (b"\xef\xbb\xbfpath,emotion\n1.png,sad\n", ""),
    "old line ends": (b"path,emotion\r1.png,sad\r", ""),
    "zero bytes": (b"path,emotion\n1.png,sad\0\n", "line 2"),
    "endless field": (b"path,emotion\n1.png," + b"x" * 200_000 + b"\n", "line 2"),
    "open quotation": (b'path,emotion\n1.png,sad\n"2.png,sad\n', ""),
    "many columns": (b"path,emotion\n1.png,sad\n2.png,sad" + b"," * 100_000 + b"\n", ""),
    "a formula": (b"path,emotion\n1.png,=1+1\n", "=1+1"),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0\0\0" + bytes(20), "labels.csv"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_strangers_table_is_read_or_named(tmp_path, kind):
    content, said = TABLES[kind]
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    (tmp_path / "labels.csv").write_bytes(content)
    options = {"columns": {"path": "path", "emotion": "emotion"}}
    if not said:
        assert READERS["csv"](tmp_path, **options)["emotion"].tolist() == ["sad"]
        return
    with pytest.raises(ValueError, match="labels.csv") as caught:
        READERS["csv"](tmp_path, **options)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_strangers_table_is_no_pipe(tmp_path, kind):
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    if kind == "pipe":
        os.mkfifo(tmp_path / "labels.csv")
    else:
        (tmp_path / "labels.csv").symlink_to("/dev/zero")
    with pytest.raises((ValueError, FileNotFoundError), match=r"labels\.csv"):
        READERS["csv"](tmp_path, columns={"path": "path", "emotion": "emotion"})
