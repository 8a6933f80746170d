"""Trained runs in use: the answers of the test split, faces found in pictures, folders refused."""

import dataclasses
import json
import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from made_up_folders import _background
from PIL import Image, ImageOps
from toys import reseal

import hmtl
from hmtl.__main__ import main
from hmtl.data.packing import GREY_SETS, pack_photos, read_set
from hmtl.data.sets import load_pack
from hmtl.files import RECORDS, hash_folder, recorded_in, sealed
from hmtl.method.tasks import Emotion
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.use import detect as D
from hmtl.use.detect import _detector, find_faces, frame_face
from hmtl.use.predict import Network, find_run

pytestmark = pytest.mark.slow

SPEC = RunSpec(data="mini", epochs=1, bs=64, pretexts=("puzzling_2x2",))
TASKS = ("emotion", "gender", "head_pose", "head_pose_bins")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with one short run."""
    folder = tmp_path_factory.mktemp("store")
    fit(SPEC, store=folder)
    return folder


@pytest.fixture(scope="module")
def run(store):
    """Its run."""
    return fit(SPEC, store=store)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """The mini set's test faces as files, named so that they stand in the order of the run's."""
    folder, pack = tmp_path_factory.mktemp("faces"), load_pack("mini")
    for row in pack.rows("test"):
        Image.fromarray(np.asarray(pack.images[row])).save(folder / f"{row:04d}.png")
    return folder


def answers(table):
    """What a table says, without where."""
    return table.filter(regex="^p")


@pytest.mark.parametrize("task", TASKS)
def test_stored_faces_get_the_answers_of_the_test_split(task, faces, tmp_path):
    trained = fit(dataclasses.replace(SPEC, task=task), store=tmp_path)
    table = hmtl.load(trained.path).predict(faces, detect=False, batch=50)
    said, wanted = answers(table), answers(trained.predictions)
    assert list(said) == list(wanted)
    numbers = wanted.select_dtypes("number").columns
    np.testing.assert_allclose(said[numbers], wanted[numbers], atol=1e-4, rtol=1e-5)
    if "predicted" in wanted:
        assert (said["predicted"] == wanted["predicted"]).all()
    assert (table["face"] == 1).all()
    assert (table[["x0", "y0", "x1", "y1"]] == [0, 0, 48, 48]).all(axis=None)


def test_the_command_writes_the_table_and_finds_a_run_by_its_name(run, faces, tmp_path, capsys):
    out = tmp_path / "new" / "answers.csv"
    options = ["--no-detect", "--store", str(run.path.parent), "--out", str(out)]
    assert main(["predict", run.id, str(faces), *options]) == 0
    assert "128 faces in 128 pictures" in capsys.readouterr().out
    table = pd.read_csv(out)
    wanted = run.predictions.filter(like="p_")
    np.testing.assert_allclose(table[list(wanted)], wanted, atol=1e-4)
    assert table["file"].iloc[0] == str(sorted(faces.iterdir())[0])


def test_paths_pictures_and_arrays_are_one_and_so_is_any_batch(run, faces):
    network = hmtl.load(run.path)
    files = sorted(faces.iterdir())[:5]
    pictures = [Image.open(file) for file in files]
    arrays = [np.asarray(picture) for picture in pictures]
    first = network.predict(files, detect=False)
    for images, batch in ((map(str, files), 1), (pictures, 2), (arrays, 64)):
        other = network.predict(images, detect=False, batch=batch)
        np.testing.assert_allclose(other.filter(like="p_"), first.filter(like="p_"), atol=1e-6)
    assert len(network.predict(arrays[0], detect=False)) == 1


def test_a_picture_is_cut_to_its_central_square(run):
    face = np.asarray(load_pack("mini").images[600])
    wide = np.pad(face, ((0, 0), (20, 20), (0, 0)))
    table = hmtl.load(run.path).predict([face, wide], detect=False)
    np.testing.assert_allclose(*answers(table).filter(like="p_").to_numpy(), atol=1e-6)
    assert tuple(table.loc[1, ["x0", "y0", "x1", "y1"]]) == (20, 0, 68, 48)


def test_a_network_of_grey_pictures_sees_grey():
    given = []

    def answer(images):
        given.append(images)
        return np.full((len(images), 8), 1 / 8, np.float32)

    colour = np.zeros((30, 30, 3), np.uint8)
    colour[..., 0] = 200
    for grey in (False, True):
        Network("n", Emotion(), 24, 0.85, grey, answer).predict(colour, detect=False)
    for images in given:
        assert images.shape == (1, 3, 24, 24)
    np.testing.assert_allclose(given[0][0, :, 0, 0], [200 / 255, 0, 0], atol=1e-6)
    np.testing.assert_allclose(given[1][0, :, 0, 0], round(0.299 * 200) / 255, atol=1e-6)


@pytest.mark.parametrize(("grey", "how"), [(True, "cover"), (None, "widen"), (None, "squash")])
def test_pictures_are_seen_as_the_pack_of_the_run_has_them(grey, how, tmp_path):
    rng, root = np.random.default_rng(0), tmp_path / "photos"
    for i in range(48):
        folder = root / ("train", "valid", "test")[i % 3] / ("happy", "sad")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        tiles = rng.integers(0, 256, (4, 8, 3)).astype(np.uint8)
        Image.fromarray(tiles.repeat(8, 0).repeat(8, 1)).save(folder / f"{i}.png")
    table = read_set("folders", root)
    pack = pack_photos(table, tmp_path / "pack", 32, data="folders", grey=grey, fit=how)
    trained = fit(RunSpec("folders", size=32, epochs=1, bs=16), store=tmp_path, pack=pack)
    test = table[table["split"] == "test"]
    said = hmtl.load(trained.path).predict(list(test["path"]), detect=False).filter(like="p_")
    wanted = trained.predictions.set_index("key").loc[test["key"], list(said)]
    np.testing.assert_allclose(said, wanted, atol=1e-5)
    assert np.ptp(wanted["p_happy"]) > 1e-3, "answers hang on the picture"


def test_runs_that_do_not_say_what_they_saw_are_used_as_ever(run, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "old")
    for data, grey in (("mini", False), ("ferplus", True)):
        record = json.loads((run.path / "spec.json").read_text())
        del record["colour"], record["fit"]
        record["spec"]["data"] = data
        (folder / "spec.json").write_text(json.dumps(sealed(record, hash_folder(folder))))
        network = hmtl.load(folder)
        assert (network.grey, network.fit) == (grey, "cover")
        assert network.frame == D.FRAMES[data]  # as that set's faces lie in their squares


def test_what_is_no_picture_is_named_and_costs_itself_only(run, faces, tmp_path, capsys):
    good = shutil.copy(sorted(faces.iterdir())[0], tmp_path / "good.png")
    (tmp_path / "torn.png").write_bytes(good.read_bytes()[:900])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.txt").write_text("no picture, and not meant as one")
    out = tmp_path / "answers.csv"
    given = [str(tmp_path), str(tmp_path / "absent.png")]
    options = ["--no-detect", "--out", str(out)]
    assert main(["predict", str(run.path), *given, *options]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].rsplit("/")[-1] for line in said] == [
        "empty.jpg", "torn.png", "absent.png",
    ]  # fmt: skip
    assert "not on disk" in said[2]
    assert pd.read_csv(out)["file"].tolist() == [str(good)]


def test_bad_input_gives_one_line_that_says_what_to_do(run, tmp_path, capsys):
    (tmp_path / "none").mkdir()
    for arguments, said in (
        (["no-such-run", "x.png"], "no run in"),
        ([str(tmp_path), "x.png"], "no spec.json"),
        ([str(run.path), str(tmp_path / "none")], "holds no pictures"),
        ([str(run.path), "x.png", "--batch", "0"], "batch must be at least 1"),
    ):
        assert main(["predict", *arguments, "--out", str(tmp_path / "o.csv")]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "o.csv").exists()
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
        hmtl.load(run.path).predict([np.zeros((9, 9, 3))])
    with pytest.raises(ValueError, match="batch must be at least 1 face, got 0"):
        hmtl.load(run.path).predict([np.zeros((9, 9, 3), np.uint8)], detect=False, batch=0)


def test_a_run_is_found_by_its_name_its_beginning_or_as_the_latest(run, tmp_path, capsys):
    for name, age in (("mini-a-1", 20), ("mini-a-2", 10), ("mini-b-3", 30)):
        folder = shutil.copytree(run.path, tmp_path / name)
        os.utime(folder / "model.safetensors", (1e9 - age, 1e9 - age))
    (tmp_path / ".unfinished" / "mini-c-4").mkdir(parents=True)
    assert find_run("mini-b", tmp_path).name == "mini-b-3"
    assert find_run("latest", tmp_path).name == "mini-a-2"
    with pytest.raises(ValueError, match="2 runs in .* begin with mini-a: mini-a-2, mini-a-1"):
        find_run("mini-a", tmp_path)
    with pytest.raises(FileNotFoundError, match="python -m hmtl runs"):
        find_run("mini-c", tmp_path)
    assert main(["runs", "--store", str(tmp_path)]) == 0
    said = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["mini-a-2", "mini-a-1", "mini-b-3"]
    (tmp_path / "mini-a-1" / "predictions.csv").write_bytes(b"torn")
    (tmp_path / "mini-b-3" / "spec.json").unlink()
    assert main(["runs", "--store", str(tmp_path)]) == 1  # the others are listed
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["mini-a-2"]
    for line, name in zip(err.splitlines(), ["predictions.csv", "spec.json"], strict=True):
        assert name in line
    assert main(["runs", "--store", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("inside", [[], ["f0.png"], ["notes.txt", "table.csv"]])
def test_a_folder_without_a_record_is_never_to_be_deleted(inside, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name in inside:
        (tmp_path / "mine" / name).touch()
    for command in (
        ["predict", "mine", "x.png"],
        ["card", "mine"],
        ["export", "mine", "--out", "e"],
    ):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert "mine is no trained network" in said
        assert "are these your pictures?" in said
        assert "delete" not in said
    (tmp_path / "mine" / "metrics.csv").touch()  # of a run that lost its record
    assert main(["card", "mine"]) == 2
    assert "mine holds no spec.json, so it is no finished run" in capsys.readouterr().err


def test_a_network_made_of_a_run_has_its_card_already(tmp_path, capsys):
    folder = tmp_path / "made"
    assert main(["export", "ferplus", "--out", str(folder), "--format", "timm"]) == 0
    assert main(["check", str(folder)]) == 0
    assert "1 exported network: none changed" in capsys.readouterr().out
    for name, command, card in (
        ("ferplus", "card", "README.md"), (folder, "card", "card.md"), (folder, "ship", "card.md")
    ):  # fmt: skip
        assert main([command, str(name), *(["x"] if command == "ship" else [])]) == 2
        said = capsys.readouterr().err
        assert "is no run" in said
        assert card in said
        assert "delete" not in said
    assert main(["predict", str(folder), "x.png"]) == 2
    assert "encoder.safetensors" in capsys.readouterr().err
    weights = folder / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert main(["check", str(folder)]) == 1
    assert "encoder.safetensors was changed" in capsys.readouterr().err
    for formats, said in ((["hub"], "for the hub already"), (["onnx", "hub"], "hub already")):
        arguments = ["export", "ferplus", "--out", str(tmp_path / "h"), "--format", *formats]
        assert main(arguments) == 2
        assert said in capsys.readouterr().err


def test_nothing_is_written_where_no_picture_could_be_read(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("keep.csv", "keep.npz", "torn.png", "a.mp4"):
        (tmp_path / name).write_text("kept")
    given = ["torn.png", "a.mp4", "absent.png", "https://example.org/x.png"]
    out = ["--out", "keep.csv", "--embeddings", "keep.npz"]
    assert main(["predict", "ferplus", *given, *out]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [
        name for name, line in zip(given, said, strict=False) if f"hmtl: {name}: " in line
    ] == given
    assert "no picture could be read" in said[-1]
    for option, name in (("--out", "c.json"), ("--out", "csv"), ("--embeddings", "keep.csv")):
        assert main(["predict", "ferplus", "torn.png", option, name]) == 2
        assert capsys.readouterr().err.startswith(f"hmtl: {option} {name}: a .")
    assert {(tmp_path / name).read_text() for name in ("keep.csv", "keep.npz")} == {"kept"}
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("record", RECORDS)
def test_no_file_of_a_record_is_written_over(record, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / record).write_text('{"files": {"predictions.csv": "1f"}}')
    (tmp_path / "predictions.csv").write_text("kept")
    assert main(["predict", "ferplus", "x.png"]) == 2
    assert f"{record} in that folder vouches for a file of this name" in capsys.readouterr().err
    assert (tmp_path / "predictions.csv").read_text() == "kept"
    for other in ("", "[]", '{"files": 3}', "{}"):  # somebody else's
        (tmp_path / record).write_text(other)
        assert recorded_in("predictions.csv") is None


@pytest.mark.parametrize("option", ["--out", "--embeddings", "--draw"])
def test_a_place_that_cannot_be_is_told_before_the_first_picture(
    option, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hmtl.use.predict.find_faces", lambda *_: pytest.fail("looked for"))
    Image.new("RGB", (48, 48)).save("a.png")
    (tmp_path / "file").touch()
    place = {"--out": "file/x.csv", "--embeddings": "file/x.npz"}.get(option, "file")
    assert main(["predict", "ferplus", "a.png", option, place]) == 2
    assert f"{place} cannot be written" in capsys.readouterr().err.replace("/faces.png", "")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a.png", "file"]


def test_answers_stay_where_a_copy_cannot_be_drawn(tmp_path, capsys):
    files = [str(tmp_path / f"{i}.png") for i in range(3)]
    for file in files:
        Image.new("RGB", (48, 48)).save(file)
    (tmp_path / "drawn" / "1-faces.png").mkdir(parents=True)  # something else is there
    options = ["--no-detect", "--out", str(tmp_path / "t.csv"), "--draw", str(tmp_path / "drawn")]
    assert main(["predict", "ferplus", *files, *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hmtl: {files[1]}: ")
    assert "1-faces.png cannot be written" in line
    assert pd.read_csv(tmp_path / "t.csv")["file"].tolist() == files
    assert sorted(f.name for f in (tmp_path / "drawn").glob("*.png") if f.is_file()) == [
        "0-faces.png"
    ]


def test_a_picture_for_which_memory_is_short_costs_itself(monkeypatch):
    def find(picture, frame):
        if picture.width == 50:
            raise MemoryError
        return np.array([[0, 0, 48, 48]])

    monkeypatch.setattr("hmtl.use.predict.find_faces", find)
    network = hmtl.load("ferplus", device="cpu")
    table = network.predict([np.zeros((48, side, 3), np.uint8) for side in (48, 50, 49)])
    assert table["file"].tolist() == ["0", "2"]
    assert table.attrs["unreadable"] == {"1": "it needs more memory than there is; reduce it"}


def test_a_home_folder_is_meant_by_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.new("RGB", (48, 48)).save(tmp_path / "a.png")
    (tmp_path / "mine" / "one").mkdir(parents=True)
    assert find_run("~/mine") == tmp_path / "mine"
    assert find_run("one", "~/mine") == tmp_path / "mine" / "one"
    table = hmtl.load("ferplus", device="cpu").predict("~/a.png", detect=False, draw="~/drawn")
    assert table["file"].tolist() == [str(tmp_path / "a.png")]
    assert (tmp_path / "drawn" / "a-faces.png").is_file()


def test_what_is_offered_fits_the_command(run, tmp_path, capsys):
    store = ["--store", str(tmp_path)]
    for name in ("face-api", "fer", "facex", "deepface"):
        assert main(["predict", name, "x.png", *store]) == 2
        said = capsys.readouterr().err
        assert "did you mean" not in said
        assert "ferplus-best" in said
    for command in (["card", "ferpluss"], ["ship", "ferpluss", "x"]):
        assert main([*command, *store]) == 2
        assert "ships" not in capsys.readouterr().err
    for command in (["predict", "latest", "x"], ["card", "latest"], ["runs"]):
        assert main([*command, *store]) == 2
        assert f"no trained run yet in {tmp_path}; make one" in capsys.readouterr().err
    for i in range(5):
        with pytest.raises(FileNotFoundError, match="is no folder and no run"):
            find_run("mini", tmp_path / f"{i}")
        shutil.copytree(run.path, tmp_path / f"mini-{i}")
        for name in ("latest", "mini") if i == 0 else ():
            assert main(["predict", name, "x.png", *store]) == 2
            assert f"{name}: {tmp_path}/mini-0" in capsys.readouterr().err
        if i > 0:
            with pytest.raises(ValueError, match=f"{i + 1} runs") as refused:
                find_run("mini", tmp_path)
            assert ("..." in str(refused.value)) == (i + 1 > 4)


# -- folders of strangers ---


@pytest.mark.parametrize("name", ["model.pkl", "model.pth", "pytorch_model.bin"])
def test_a_folder_with_a_pickle_is_refused(run, name, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "theirs")
    assert find_run(folder) == folder
    (folder / name).write_bytes(b"")
    for load in (find_run, hmtl.load):
        with pytest.raises(ValueError, match=f"{name} may be a pickle"):
            load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx"])
def test_a_pickle_under_another_name_is_no_network(run, name, tmp_path):
    pytest.importorskip("onnxruntime")
    folder = shutil.copytree(run.path, tmp_path / "theirs")
    made = tmp_path / "code-ran"
    # what `pickle` would run: os.system("touch ...")
    (folder / name).write_bytes(f"cposix\nsystem\n(S'touch {made}'\ntR.".encode())
    with pytest.raises(ValueError, match=f"{name} (was changed|is not among the files)"):
        hmtl.load(folder)
    reseal(folder)
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        hmtl.load(folder)
    assert not made.exists()


def test_weights_of_another_network_and_missing_ones_are_named(run, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "theirs")
    gender = fit(dataclasses.replace(SPEC, task="gender"), store=tmp_path / "store")
    shutil.copy(gender.path / "model.safetensors", folder)
    reseal(folder)
    with pytest.raises(ValueError, match=r"model.safetensors cannot be read .*size mismatch"):
        hmtl.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model.safetensors is missing"):
        hmtl.load(folder)


# -- finding faces ---


@pytest.fixture
def astronaut():
    """A photograph that scikit-image ships: Eileen Collins, NASA, in the public domain."""
    pytest.importorskip("cv2")
    return pytest.importorskip("skimage.data").astronaut()


def overlap(box, other):
    """Intersection over union of two boxes."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    both = np.prod(np.clip(np.subtract(high, low), 0, None))
    areas = [np.prod(np.subtract(b[2:], b[:2])) for b in (box, other)]
    return both / (sum(areas) - both)


def test_the_face_in_a_photograph_is_found(run, astronaut, tmp_path):
    table = hmtl.load(run.path).predict(astronaut)
    assert table["face"].tolist() == [1]
    box = table.loc[0, ["x0", "y0", "x1", "y1"]].to_numpy(int)
    assert overlap(box, (165, 60, 285, 180)) > 0.7  # chin to hairline, read off by eye
    np.testing.assert_allclose(table.filter(like="p_").sum(axis=1), 1, atol=1e-5)
    # a picture stored on its side is the same picture
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(astronaut).transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png", exif=exif)
    assert (hmtl.load(run.path).predict(tmp_path / "turned.png")[table.columns[1:]] == table[
        table.columns[1:]
    ]).all(axis=None)  # fmt: skip


def test_boxes_follow_the_picture(astronaut):
    picture = Image.fromarray(astronaut)
    (box,) = find_faces(picture)
    (moved,) = find_faces(ImageOps.expand(picture, (40, 30, 0, 0)))
    assert overlap(moved - [40, 30, 40, 30], box) > 0.85
    (three,) = find_faces(picture.resize((1536, 1536), Image.Resampling.BICUBIC))
    assert overlap(three / 3, box) > 0.85
    assert three[2] - three[0] == three[3] - three[1]
    deep = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) << 8)
    grey = find_faces(picture.convert("L"))
    assert overlap(grey[0], box) > 0.85
    for mode in ("I;16", "I"):  # 16 bits of grey, of which the upper eight say the same
        np.testing.assert_array_equal(find_faces(deep.convert(mode)), grey)


def test_rendered_faces_are_found_and_framed_as_they_were_trained():
    pytest.importorskip("cv2")
    pack = load_pack("mini")
    plain = pack.labels.query("yaw.abs() < 15 and pitch.abs() < 10 and occlusion < 0.02")
    found = []
    for row in plain.index[:16]:
        picture = _background(np.random.default_rng(row), (400, 400))
        face = Image.fromarray(np.asarray(pack.images[row])).resize((150, 150), 3)
        picture.paste(face, (120, 140))
        boxes = find_faces(picture)
        found.append(max((overlap(b, (120, 140, 270, 290)) for b in boxes), default=0))
    assert np.mean(np.array(found) > 0.5) > 0.7
    assert np.median(found) > 0.6  # heads fill their squares to different parts


def test_a_picture_without_a_face_keeps_a_row(run):
    pytest.importorskip("cv2")
    grey = _background(np.random.default_rng(0), (200, 150))
    table = hmtl.load(run.path).predict([grey, np.zeros((5, 3), np.uint8)])
    assert table["face"].tolist() == [0, 0]
    assert table.drop(columns=["file", "face"]).isna().all(axis=None)


def test_without_opencv_faces_can_still_be_read(run, faces, monkeypatch):
    _detector.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None)
    network, file = hmtl.load(run.path), sorted(faces.iterdir())[0]
    with pytest.raises(ImportError, match=r'pip install "hmtl\[use\]".*--no-detect'):
        network.predict(file)
    assert len(network.predict(file, detect=False)) == 1


def test_the_frame_is_a_square_around_the_box():
    x0, y0, x1, y1 = frame_face(100, 100, 80, 100)
    assert x1 - x0 == y1 - y0 == pytest.approx(104, abs=1)
    assert x0 + x1 == pytest.approx(280, abs=1)
    assert y0 + y1 == pytest.approx(300, abs=5)
    one = np.subtract(frame_face(100, 100, 80, 100), [100] * 4)
    three = np.subtract(frame_face(300, 300, 240, 300), [300] * 4)
    np.testing.assert_allclose(three / 3, one, atol=1)
    wide = frame_face(100, 100, 80, 100, (1.5, 0.1))
    assert wide == (65, 85, 215, 235)
    assert {D.FRAMES[name] for name in GREY_SETS} == {D.FRAMES["ferplus"]}  # the same squares


@pytest.mark.parametrize("side", [400, 64])
def test_a_face_that_fills_its_picture_is_found(astronaut, side):
    """As a cropped face of a data set does; there is nothing around it."""
    crop = Image.fromarray(astronaut[55:185, 160:290]).resize((side, side))
    (box,) = find_faces(crop)
    assert overlap(box, (0, 0, side, side)) > 0.6


def test_faces_are_found_in_grey_at_any_size_and_the_largest_comes_first(astronaut):
    picture = Image.fromarray(astronaut)
    (box,) = find_faces(picture)
    (grey,) = find_faces(picture.convert("L"))
    assert overlap(grey, box) > 0.7
    two = Image.new("RGB", (1024, 512))
    two.paste(picture, (0, 0))
    two.paste(picture.resize((256, 256)), (700, 100))
    large, small = find_faces(two)
    assert large[2] - large[0] > 1.6 * (small[2] - small[0])
    for size in ((1, 1), (40, 3), (3000, 2), (2, 3000)):  # nothing there, and no error
        assert find_faces(Image.new("RGB", size)).shape == (0, 4)


def test_a_long_picture_is_looked_at_in_no_more_memory_than_it_has(monkeypatch):
    pytest.importorskip("cv2")
    picture, made = Image.new("RGB", (12_000, 200)), []
    new, of = Image.new, Image.Image._new
    monkeypatch.setattr(Image, "new", lambda m, size, *c: made.append(size) or new(m, size, *c))
    monkeypatch.setattr(Image.Image, "_new", lambda i, im: made.append(im.size) or of(i, im))
    assert find_faces(picture).shape == (0, 4)
    assert len(made) >= len(D._LOOKS)
    assert max(wide * high for wide, high in made) <= 12_000 * 200
    assert find_faces(Image.new("RGB", (1_000_000, 1))).shape == (0, 4)  # a file of few bytes


def test_a_detector_that_was_changed_is_not_run(tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    _detector.cache_clear()
    other = tmp_path / "face.onnx"
    other.write_bytes(D.MODEL.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(D, "MODEL", other)
    with pytest.raises(ValueError, match="face.onnx was changed.*install hmtl again"):
        find_faces(Image.new("RGB", (64, 64)))
    _detector.cache_clear()
