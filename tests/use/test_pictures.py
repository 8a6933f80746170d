"""Pictures, arrays, videos in; drawn copies, embeddings and tables out."""

import dataclasses
import os
import re
import resource
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import hmtl
from hmtl.__main__ import main
from hmtl.data.sets import load_pack
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.use import pictures
from hmtl.use.detect import find_faces
from hmtl.use.pictures import Drawer, draw_answers, pictures_in

cv2 = pytest.importorskip("cv2")
SPEC = RunSpec(data="mini", epochs=1, bs=64)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fit(SPEC, store=tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def network(run):
    return hmtl.load(run.path, device="cpu")


def write_video(file, frames, rate=10.0, code="mp4v"):
    """A video of uint8 (n, H, W, 3), by OpenCV."""
    size = frames[0].shape[1::-1]
    video = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*code), rate, size)
    assert video.isOpened()
    for frame in frames:
        video.write(np.ascontiguousarray(frame[..., ::-1]))
    video.release()
    return file


@pytest.fixture(scope="module")
def frames():
    """Seven grounds of one grey each, brighter and brighter; a face from skimage in the fourth."""
    shades = [np.full((240, 320, 3), 30 * i, np.uint8) for i in range(7)]
    astronaut = pytest.importorskip("skimage.data").astronaut()
    shades[3][:, :240] = np.asarray(Image.fromarray(astronaut).resize((240, 240)))
    return shades


# -- videos ---


@pytest.mark.parametrize(("ending", "code"), [(".mp4", "mp4v"), (".avi", "MJPG")])
def test_a_video_gives_every_nth_frame_with_its_time(frames, ending, code, tmp_path):
    file = write_video(tmp_path / f"clip{ending}", frames, code=code)
    found = list(pictures_in(file, every=3))
    assert [(p.frame, p.name) for p in found] == [(i, str(file)) for i in (0, 3, 6)]
    np.testing.assert_allclose([p.seconds for p in found], [0, 0.3, 0.6], atol=1e-6)
    means = [np.asarray(p.open()).mean() for p in found]
    np.testing.assert_allclose(means[::2], [0, 180], atol=6)  # as they were written
    assert len(list(pictures_in([file, file]))) == 14


@pytest.mark.slow
def test_the_command_answers_a_video_and_draws_it(run, frames, tmp_path, capsys):
    file = write_video(tmp_path / "clip.mp4", frames)
    out, drawn = tmp_path / "t.csv", tmp_path / "drawn"
    more = ["--every", "3", "--out", str(out), "--draw", str(drawn)]
    assert main(["predict", str(run.path), str(file), *more]) == 0
    assert "1 faces in 3 pictures" in capsys.readouterr().out
    table = pd.read_csv(out)
    assert table["frame"].tolist() == [0, 3, 6]
    assert table["face"].tolist() == [0, 1, 0]
    assert table["seconds"].round(2).tolist() == [0, 0.3, 0.6]
    copy = list(pictures_in(drawn / "clip-faces.mp4"))
    assert len(copy) == 3
    assert [p.name for p in drawn.iterdir()] == ["clip-faces.mp4"]
    box = table.loc[1, ["x0", "y0", "x1", "y1"]].to_numpy(int)
    line = np.asarray(copy[1].open())[box[1] + 20, box[0] - 1 : box[0] + 2].max(0)
    assert line[0] > 150 > line[2], "a yellow line at the left of the face"


def test_pictures_and_videos_go_together_in_order(network, frames, tmp_path):
    write_video(tmp_path / "b.mp4", frames[:2])
    for name in ("a.png", "c.png"):
        Image.fromarray(frames[5]).save(tmp_path / name)
    table = network.predict(tmp_path, detect=False)
    assert [f[-5:] for f in table["file"]] == ["a.png", "b.mp4", "b.mp4", "c.png"]
    assert table["frame"].isna().tolist() == [True, False, False, True]
    assert "frame" not in network.predict(tmp_path / "a.png", detect=False)


@pytest.mark.parametrize("what", ["text", "playlist", "empty", "torn", "absent"])
def test_what_is_no_video_costs_itself_only(network, frames, what, tmp_path):
    good = write_video(tmp_path / "good.mp4", frames[:2])
    bad = tmp_path / "bad.mp4"
    secret = write_video(tmp_path / "secret.mp4", frames[:2])
    if what == "text":
        bad.write_text("no video")
    elif what == "playlist":  # which a decoder would follow to another file
        bad.write_text(f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    elif what == "empty":
        bad.touch()
    elif what == "torn":
        bad.write_bytes(good.read_bytes()[:200])
    table = network.predict([bad, good], detect=False)
    assert set(table["file"]) == {str(good)}
    assert list(table.attrs["unreadable"]) == [str(bad)]
    assert "\n" not in table.attrs["unreadable"][str(bad)]


@pytest.mark.parametrize(
    ("ending", "code"), [(".avi", "MJPG"), (".mkv", "MJPG"), (".webm", "VP80")]
)
def test_a_video_that_breaks_off_says_where_after_its_frames(tmp_path, ending, code):
    noise = np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
    whole = write_video(tmp_path / f"whole{ending}", noise, code=code)
    assert len(list(pictures_in(whole))) == 60
    torn = tmp_path / f"torn{ending}"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    *found, (name, error) = pictures_in(torn)
    assert 5 < len(found) < 40
    assert name == str(torn)
    assert re.search(rf"breaks off after .* of 6.0 seconds, frame {len(found)};", str(error))


def test_a_video_whose_sound_is_longer_is_whole(frames, tmp_path):
    file = write_video(tmp_path / "sound.mkv", frames, code="MJPG")
    data = bytearray(file.read_bytes())
    place = data.index(b"\x44\x89\x88") + 3  # its length, which is all that says how many frames
    (length,) = struct.unpack(">d", data[place : place + 8])
    data[place : place + 8] = struct.pack(">d", 1.3 * length)
    file.write_bytes(data)
    assert [p.frame for p in pictures_in(file)] == list(range(7))


def test_times_are_the_frames_own_and_estimated_lengths_no_fault(monkeypatch):
    """A phone's video: frames as they came, and a header that counts at a constant rate."""
    times, told = [0, 40, 1000, 5000, 9000], {cv2.CAP_PROP_FPS: 25, cv2.CAP_PROP_FRAME_COUNT: 226}

    class Played:
        at = -1

        def grab(self):
            self.at += 1
            return self.at < len(times)

        def get(self, what):
            return told.get(what, times[min(self.at, 4)])

        def retrieve(self):
            return True, np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(pictures, "_opened", lambda file: nullcontext((Played(), cv2)))
    assert [p.seconds for p in pictures_in("clip.mp4", every=2)] == [0, 1, 9]


def test_a_videos_name_that_is_no_utf8_costs_itself_only(frames, tmp_path):
    write_video(tmp_path / "a.mp4", frames[:2])
    shutil.copy(tmp_path / "a.mp4", os.fsencode(tmp_path) + b"/\xff.mp4")
    *found, (_, error) = pictures_in(tmp_path)
    assert len(found) == 2
    assert "no UTF-8; rename the file" in str(error)


def test_a_folder_is_read_as_data_sets_are(network, frames, tmp_path):
    (tmp_path / "set" / "__MACOSX").mkdir(parents=True)
    (tmp_path / "set" / "x.png").mkdir()
    for name in ("photo.png", "._photo.png", "__MACOSX/photo.png", "x.png/b.jfif"):
        Image.fromarray(frames[3]).save(tmp_path / "set" / name, "PNG")
    (tmp_path / "set" / "phone.HEIC").write_bytes(b"ftypheic")
    (tmp_path / "apart").mkdir()
    Image.fromarray(frames[3]).save(tmp_path / "apart" / "c.png")
    (tmp_path / "set" / "link").symlink_to(tmp_path / "apart", target_is_directory=True)
    table = network.predict(tmp_path / "set", detect=False)
    names = [str(tmp_path / "set" / n) for n in ("link/c.png", "photo.png", "x.png/b.jfif")]
    assert table["file"].tolist() == names
    assert list(table.attrs["unreadable"]) == [str(tmp_path / "set" / "phone.HEIC")]


# -- drawings ---


def test_a_drawn_video_is_there_whole_or_not_at_all(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    (tmp_path / "drawn").mkdir()
    before = tmp_path / "drawn" / "whole-faces.mp4"
    before.write_bytes(b"an older copy")
    file = write_video(tmp_path / "whole.mp4", noise)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Drawer(tmp_path / "drawn") as drawer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))  # a full disk
        try:
            for picture in pictures_in(file):
                drawer.write(picture, picture.open(), [], [])
            drawer.close()
        except OSError as error:
            drawer.undrawn[str(file)] = str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "is the disk full?" in drawer.undrawn[str(file)]
    assert [f.name for f in before.parent.iterdir()] == [before.name]
    assert before.read_bytes() == b"an older copy"


def test_drawn_copies_are_beside_nothing_and_over_nothing(network, frames, tmp_path):
    files = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "photo.png")
        Image.fromarray(frames[3]).save(files[-1])
    before = [file.read_bytes() for file in files]
    network.predict(files, draw=tmp_path / "one")
    assert [file.read_bytes() for file in files] == before
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == [
        "photo-faces-2.png", "photo-faces.png", "photo.png",
    ]  # fmt: skip
    drawn = np.asarray(Image.open(tmp_path / "one" / "photo-faces.png"))
    assert drawn.shape == frames[3].shape
    before = {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()}
    network.predict(tmp_path / "one", draw=tmp_path / "one")  # copies are pictures now
    after = {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == 6
    changed = (drawn != frames[3]).any(-1)
    assert 0.005 < changed.mean() < 0.3, "a box and its words, not the face"


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "I;16"])
def test_any_mode_is_drawn_and_left_as_it_was(mode):
    picture = Image.new("RGB", (90, 60), (0, 90, 0))
    picture = Image.new("I;16", (90, 60), 9000) if mode == "I;16" else picture.convert(mode)
    before = picture.tobytes()
    drawn = draw_answers(picture, [(10, 10, 50, 50), (-20, -20, 200, 200)], ["happy 93%", "a\nb"])
    assert (drawn.size, drawn.mode) == ((90, 60), "RGB")
    assert picture.tobytes() == before
    assert tuple(np.asarray(drawn)[30, 10]) == (255, 210, 0)


# -- embeddings ---


def test_embeddings_are_what_the_head_reads(run, network):
    """The head alone, on them, gives the answers."""
    import torch

    from hmtl.use.predict import answers_of

    pack = load_pack("mini")
    faces = [np.asarray(pack.images[row]) for row in pack.rows("test")[:20]]
    table, vectors = network.embed(faces, detect=False, batch=7)
    plain = answers_of(run)
    assert vectors.shape == (20, plain.model.encoder.num_features)
    with torch.inference_mode():
        said = plain.loss.activation(plain.model.head(torch.from_numpy(vectors)))
    np.testing.assert_allclose(said, table.filter(like="p_"), atol=1e-5)
    pd.testing.assert_frame_equal(table, network.predict(faces, detect=False, batch=7))


def test_the_command_stores_an_embedding_for_each_face(run, frames, tmp_path):
    for i in (0, 3):
        Image.fromarray(frames[i]).save(tmp_path / f"{i}.png")
    more = ["--out", str(tmp_path / "t.csv"), "--embeddings"]
    assert main(["predict", str(run.path), str(tmp_path), *more, str(tmp_path / "e.npz")]) == 0
    with np.load(tmp_path / "e.npz", allow_pickle=False) as stored:
        assert stored["picture"].tolist() == [str(tmp_path / "3.png")]
        assert stored["face"].tolist() == [1]
        assert stored["embeddings"].shape[0] == 1
        assert np.ptp(stored["embeddings"]) > 0


def test_exports_without_an_encoder_say_so(network):
    with pytest.raises(ValueError, match="give the run's own folder"):
        dataclasses.replace(network, represent=None).embed(np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="every must be at least 1"):
        network.predict(np.zeros((9, 9, 3), np.uint8), every=0)


def test_faces_are_found_by_threads_as_one_after_the_other():
    rng = np.random.default_rng(0)
    sizes = [(60, 80), (200, 90), (130, 310), (64, 64)] * 6
    pictures = [Image.fromarray(rng.integers(0, 255, (*s, 3), dtype=np.uint8)) for s in sizes]
    one = [find_faces(picture) for picture in pictures]
    with ThreadPoolExecutor(8) as threads:
        many = list(threads.map(find_faces, pictures))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("error", [AssertionError, RuntimeError])
def test_a_device_that_torch_was_built_without_is_told(network, error, monkeypatch):
    def to(self, *given, **named):
        raise error("Torch not compiled with CUDA enabled")

    monkeypatch.setattr("torch.nn.Module.to", to)
    with pytest.raises(ValueError, match="device='cuda': Torch not compiled.*; cpu is always"):
        hmtl.load("ferplus", device="cuda")
