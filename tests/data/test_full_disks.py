"""Disks that are full and unfinished packs that are damaged: one line, and no bit is lost.

The disks are real ones of the system, in memory; they need the right to mount and are skipped
where there is none.
"""

import os
import signal
import stat
import subprocess

import numpy as np
import pandas as pd
import pytest
import reader_fixtures as fixtures
from forked import run_python
from mutations import FEW, assert_clear, drawn, mutate_file
from toys import make_toy_pack

from hmtl.data.pack import GrowingPack, open_pack
from hmtl.data.packing import pack_photos, read_set
from hmtl.data.sets import CHUNK, write_faces
from hmtl.faces.faceset import FaceSet
from hmtl.files import whole_folder, write_text

FULL = r"cannot be written \(No space left on device\)\. Free some space, or choose another place"


@pytest.fixture
def disk(tmp_path):
    """A function that makes a disk of some bytes, or gives the one there another size."""
    place = tmp_path / "disk"
    place.mkdir()

    def resize(size):
        kind = "remount," if os.path.ismount(place) else ""
        options = ["-t", "tmpfs", "-o", f"{kind}size={size}", "tmpfs", str(place)]
        if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
            pytest.skip("no right to mount a disk")
        return place

    yield resize
    if os.path.ismount(place):
        subprocess.run(["umount", "-l", str(place)], check=True)


def parts(count=6, step=4, size=32):
    """Images, labels by part, from a seed."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count * step, size, size, 3)).astype(np.uint8)
    keys = [f"{i:05d}" for i in range(len(images))]
    return images, pd.DataFrame({"key": keys, "split": "train", "emotion": "happy"})


def grow(path, stop=None, notes=False, keep=None):
    """Write the pack of `parts`, or begin to: the call ends as if killed after `stop` parts."""
    images, labels = parts()
    with GrowingPack(path, len(images), 32, identity="parts", step=4) as growing:
        if growing.finished:
            return open_pack(path)
        for number, (start, end) in enumerate(growing.missing()):
            if number == stop:
                raise KeyboardInterrupt
            table = labels.iloc[start:end]
            growing.put(start, images[start:end], table, table[["key"]] if notes else None)
        growing.finish(keep=keep)
    return open_pack(path)


def begun(path, stop=3, **options):
    with pytest.raises(KeyboardInterrupt):
        grow(path, stop, **options)
    return path.with_name(f".{path.name}.part")


@pytest.mark.parametrize("size", ["8k", "40k", "72k", "80k", "88k"])
def test_a_pack_on_a_full_disk_says_so_and_goes_on_later(tmp_path, disk, size):
    whole = grow(tmp_path / "whole")
    place = disk(size)
    with pytest.raises(OSError, match=rf"{place}/p {FULL}"):
        grow(place / "p")
    assert [f.name for f in place.iterdir()] in ([], [".p.part"])
    disk("4m")
    assert grow(place / "p").fingerprint == whole.fingerprint
    assert [f.name for f in place.iterdir()] == ["p"]


def test_rows_left_out_on_a_full_disk_wait_for_room(tmp_path, disk):
    keep = np.arange(24) % 3 > 0
    whole = grow(tmp_path / "whole", keep=keep)
    place = disk("148k")  # the parts fit, a second copy does not
    with pytest.raises(OSError, match=FULL):
        grow(place / "p", keep=keep)
    disk("4m")
    again = grow(place / "p", keep=keep)
    assert (again.fingerprint, len(again)) == (whole.fingerprint, 16)
    assert sorted(f.name for f in again.path.iterdir()) == ["images.npy", "labels.csv", "pack.json"]


@pytest.mark.parametrize("size", ["4k", "28k", "60k"])
def test_a_pack_written_at_once_a_text_and_a_folder_say_so_too(disk, size):
    place = disk(size)
    with pytest.raises(OSError, match=rf"{place}/p {FULL}"):
        make_toy_pack(place / "p", count=64)
    with pytest.raises(OSError, match=rf"{place}/x.md {FULL}"):
        write_text(place / "x.md", "x" * 100_000)

    def fill():
        with whole_folder(place / "out") as folder:
            (folder / "model.onnx").write_bytes(bytes(100_000))

    with pytest.raises(OSError, match=rf"{place}/out {FULL}"):
        fill()
    assert list(place.iterdir()) == []


# -- kills ---

KILLED = """
import os, signal, sys
from hmtl.data import pack, packing
put, count = pack.GrowingPack.put, [0]
def kill(self, *given):
    put(self, *given)
    count[0] += 1
    if count[0] == 2:
        os.kill(os.getpid(), int(sys.argv[3]))
        os.kill(os.getpid(), signal.SIGKILL)
pack.GrowingPack.put = kill
packing._STEP = 4
from hmtl.data import sets
sets.CHUNK["cpu"] = 4
if sys.argv[4] == "faces":
    from pathlib import Path
    from hmtl.data.sets import write_faces
    from hmtl.faces.faceset import FaceSet
    write_faces(FaceSet((5, 4, 4), size=16), Path(sys.argv[2]), processes=1)
else:
    packing.pack_photos(packing.read_set("folders", sys.argv[1]), sys.argv[2], 16, data="folders",
                        workers=1, progress=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_packing_ended_by_a_signal_is_taken_up_to_the_bit(tmp_path, monkeypatch, sent):
    root = fixtures.make_class_folders(tmp_path / "set", ["happy", "sad"], count=10)
    for file in root.rglob("*.jpg"):
        fixtures.save_picture(file)
    out = tmp_path / "p"
    ended = run_python("-c", KILLED, root, out, int(sent), "photos")
    assert ended.returncode in (-sent, 1, -signal.SIGKILL), ended.stderr
    assert not out.exists()
    assert (tmp_path / ".p.part").is_dir(), ended.stderr
    monkeypatch.setattr("hmtl.data.packing._STEP", 4)
    table = read_set("folders", root)
    again = pack_photos(table, out, 16, data="folders", workers=1, progress=False)
    whole = pack_photos(table, tmp_path / "w", 16, data="folders", workers=1, progress=False)
    assert again.fingerprint == whole.fingerprint
    left = {"set", "p", "w"}
    assert {f.name for f in tmp_path.iterdir()} == left, "no lock, no part"


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_faces_ended_by_a_signal_are_taken_up_to_the_bit(tmp_path, monkeypatch, sent):
    out, faces = tmp_path / "p", FaceSet((5, 4, 4), size=16)
    ended = run_python("-c", KILLED, "", out, int(sent), "faces")
    assert ended.returncode in (-sent, 1, -signal.SIGKILL), ended.stderr
    assert not out.exists()
    assert (tmp_path / ".p.part").is_dir(), ended.stderr
    monkeypatch.setitem(CHUNK, "cpu", 4)
    write_faces(faces, out, processes=1)
    write_faces(faces, tmp_path / "w", processes=1)
    for name in ("images.npy", "labels.csv", "pack.json"):
        assert (out / name).read_bytes() == (tmp_path / "w" / name).read_bytes()
    assert {f.name for f in tmp_path.iterdir()} == {"p", "w"}, "no lock, no part"


# -- an unfinished pack that is damaged ---

REMEDY = "delete this unfinished, hidden folder, and the same command begins anew"


@pytest.mark.parametrize(
    ("name", "break_it"),
    [
        ("identity.txt", lambda f: f.write_bytes(b"\xff\xfe")),
        ("images.npy", lambda f: f.unlink()),
        ("images.npy", lambda f: f.write_bytes(f.read_bytes()[:-1])),
        ("images.npy", lambda f: np.save(f, np.ones((24, 16, 16, 3), np.uint8))),
        ("images.npy", lambda f: np.save(f, np.ones((20, 32, 32, 3), np.uint8))),
        ("labels-000000000.csv", lambda f: f.write_bytes(b"")),
        ("images.npy", lambda f: f.unlink() or os.mkfifo(f)),
    ],
)
def test_a_damaged_unfinished_pack_names_itself_and_its_remedy(tmp_path, name, break_it):
    part = begun(tmp_path / "p")
    break_it(part / name)
    with pytest.raises((ValueError, OSError), match=rf"{part}.*{REMEDY}"):
        grow(tmp_path / "p")
    # what the error says helps
    for file in part.iterdir():
        file.unlink()
    part.rmdir()
    assert len(grow(tmp_path / "p")) == 24
    assert [f.name for f in tmp_path.iterdir()] == ["p"]


def test_a_part_that_is_lost_is_written_again(tmp_path):
    whole = grow(tmp_path / "whole")
    (begun(tmp_path / "p") / "labels-000000004.csv").unlink()
    assert grow(tmp_path / "p").fingerprint == whole.fingerprint


def test_an_unfinished_pack_is_never_written_through_a_link(tmp_path):
    own = tmp_path / "own"
    own.write_text("mine")
    part = begun(tmp_path / "p")
    (part / "labels-000000012.csv").symlink_to(own)
    (part / "labels.csv").symlink_to(own)
    (part / "pack.json").symlink_to(own)
    assert len(grow(tmp_path / "p")) == 24
    assert own.read_text() == "mine"
    part = begun(tmp_path / "q")
    images = (part / "images.npy").read_bytes()
    (tmp_path / "elsewhere").write_bytes(images)
    (part / "images.npy").unlink()
    (part / "images.npy").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="q cannot be written"):
        grow(tmp_path / "q")
    assert (tmp_path / "elsewhere").read_bytes() == images
    part.rename(tmp_path / "moved")
    part.symlink_to(tmp_path / "moved")
    with pytest.raises(ValueError, match=rf"is a link; {REMEDY}"):
        grow(tmp_path / "q")


def test_a_kill_while_an_unfinished_pack_was_cleared_away_is_no_dead_end(tmp_path, monkeypatch):
    """Its identity goes first: without it nothing there counts."""
    part = begun(tmp_path / "p")
    (part / "identity.txt").unlink()
    (part / ".tmp-left.csv").write_text("by a kill")
    assert len(grow(tmp_path / "p")) == 24
    assert [f.name for f in tmp_path.iterdir()] == ["p"]


@drawn(["identity.txt", "images.npy", "notes"], count=FEW)
def test_mutated_unfinished_packs_end_rightly_or_in_one_line(tmp_path_factory, name, seed):
    """What is not vouched for, pixels and labels, is as the files now say; all else is an error."""
    folder = tmp_path_factory.mktemp("grown")
    part = begun(folder / "p", notes=True)
    name = "notes-000000000.csv" if name == "notes" else name
    whole = (part / name).read_bytes()
    rng = np.random.default_rng(seed)
    (part / name).write_bytes(mutate_file(rng, whole[:200]) + whole[200:])
    try:
        made = grow(folder / "p", notes=True)
    except (ValueError, OSError) as error:
        assert_clear(error, part, folder / "p")
        return
    images, labels = parts()
    assert made.labels["key"].tolist() == list(labels["key"])
    if name != "images.npy":
        np.testing.assert_array_equal(made.images, images)


# -- rights follow the umask ---


@pytest.mark.parametrize(("mask", "rights"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_all_files_of_a_pack_and_a_folder_have_the_rights_of_the_umask(tmp_path, mask, rights):
    before = os.umask(mask)
    try:
        grow(tmp_path / "grown")
        make_toy_pack(tmp_path / "made", count=16)
        write_text(tmp_path / "text", "x")
        with whole_folder(tmp_path / "whole") as folder:
            (folder / "private").touch(0o600)  # as safetensors writes
            (folder / "open").touch(0o666)
    finally:
        os.umask(before)
    for place in tmp_path.rglob("*"):
        wanted = rights | ((rights & 0o444) >> 2) if place.is_dir() else rights
        assert stat.S_IMODE(place.stat().st_mode) == wanted, place
