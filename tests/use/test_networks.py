"""Networks that ship: small, whole, as good as they say; and how one is made of a run."""

import dataclasses
import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import hmtl
from hmtl.__main__ import main
from hmtl.data.pack import write_pack
from hmtl.data.sets import load_pack
from hmtl.faces.faceset import FaceSet
from hmtl.faces.render import render_faces
from hmtl.faces.table import LABEL_COLUMNS, draw_faces
from hmtl.method.tasks import make_task
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.use import networks as N
from hmtl.use.export import export_run
from hmtl.use.predict import answers_of

SPEC = RunSpec(data="mini", epochs=1, bs=64)
SHIPPED = N.shipped()
FOLDER = N.FOLDER.resolve()
MOST = 8_000_000  # bytes of all together


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fit(SPEC, store=tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    """The run as a network that ships."""
    return N.ship(run, "toy", folder=tmp_path_factory.mktemp("networks"), notes="A *toy*.")


# -- those that ship ---


def test_together_they_are_small_and_each_is_whole():
    files = [file for folder in SHIPPED.values() for file in folder.iterdir()]
    assert sum(file.stat().st_size for file in files) < MOST
    for folder in SHIPPED.values():
        assert {f.name for f in folder.iterdir()} == {
            "README.md", "config.json", "model.safetensors",
        }  # fmt: skip
        assert main(["check", str(folder)]) == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_the_first_rendered_test_faces_are_answered_as_the_record_says(name, tmp_path):
    """They are drawn and rendered anew. Another processor rounds otherwise: a face may flip."""
    config = N.read_config(SHIPPED[name])
    if config["spec"]["data"] != "faces":
        pytest.skip("not trained on rendered faces")
    spec = RunSpec.from_dict(config["spec"])
    drawn = FaceSet(spec.people, size=spec.size)
    first = sum(spec.people[:2]) * drawn.per_person
    table = draw_faces(drawn, first, first + N.SAMPLE)
    assert set(table["split"]) == {"test"}
    pixels = render_faces(table, spec.size, processes=1)
    pack = write_pack(tmp_path / "p", pixels, table[list(LABEL_COLUMNS)])
    network = hmtl.load(name, device="cpu")
    scores = N.score_faces(network, pack, np.arange(N.SAMPLE))
    near = 2.1 / N.SAMPLE if network.task.has_classes else 0.05
    assert scores == pytest.approx(config["sample"], abs=near)


@pytest.mark.parametrize("name", SHIPPED)
def test_real_test_faces_are_answered_as_the_record_says(name):
    config = N.read_config(SHIPPED[name])
    if config["spec"]["data"] != "ferplus" or not os.environ.get("HMTL_FERPLUS"):
        pytest.skip("needs HMTL_FERPLUS, and a network of FER+")
    spec = RunSpec.from_dict(config["spec"])
    pack = spec.load(os.environ["HMTL_FERPLUS"])
    scores = N.score_faces(hmtl.load(name, device="cpu"), pack, pack.rows("test"))
    assert scores == pytest.approx(config["scores"], abs=1e-3)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_says_what_it_is_for_and_what_not(name):
    card = (SHIPPED[name] / "README.md").read_text()
    for text in ("## Training data", "## What it must not be used for", "## Scores", "## Limits"):
        assert text in card
    config = N.read_config(SHIPPED[name])
    assert "README.md" in config["files"]  # sealed: `check` and `load` compare it
    assert "predictions.csv" not in card  # which such a folder does not hold
    scores, task = config["scores"], make_task(config["task"])
    if task.has_classes:
        assert f"| accuracy | {100 * scores['accuracy']:.1f} |" in card
        assert "calibration" in card
        for label in task.names:
            assert f"| class | {label} |" in card
    if config["spec"]["data"] == "ferplus":
        assert "gathered from the web" in card
        assert name in (FOLDER.parents[2] / "NOTICE").read_text()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_cards_command_makes_it_again(name, tmp_path, monkeypatch):
    """The command, read by the command line itself, asks for the training that the record names."""
    card = (SHIPPED[name] / "README.md").read_text()
    (command,) = re.findall(r"```\n(python -m hmtl run .*)\n```", card)
    asked = []
    monkeypatch.setattr("hmtl.runs.fit.fit", lambda spec, **_: asked.append(spec) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(shlex.split(command)[3:])
    wanted = RunSpec.from_dict(N.read_config(SHIPPED[name])["spec"])
    (spec,) = asked
    assert dataclasses.replace(spec, init=Path(spec.init).name) == wanted


@pytest.mark.parametrize("name", SHIPPED)
def test_the_hubs_own_library_reads_the_cards_that_ship(name):
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard.load(SHIPPED[name] / "README.md").data
    scores = N.read_config(SHIPPED[name])["scores"]
    assert data.eval_results
    for result in data.eval_results:
        assert result.metric_value == pytest.approx(scores[result.metric_name], abs=1e-4)
    if data.license == "other":
        assert data.to_dict()["license_name"]


@pytest.mark.skipif(not SHIPPED, reason="none ships")
def test_the_command_lists_them_with_their_numbers(capsys):
    assert main(["networks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(SHIPPED)
    for name, line in zip(SHIPPED, lines[1:], strict=True):
        assert line.split()[0] == name
        config = N.read_config(SHIPPED[name])
        if make_task(config["task"]).has_classes:
            assert f"accuracy {100 * config['scores']['accuracy']:.1f} %" in line


@pytest.mark.skipif(not SHIPPED, reason="none ships")
def test_a_data_sets_folder_of_its_name_does_not_hide_it(tmp_path, monkeypatch):
    name = next(iter(SHIPPED))
    (tmp_path / name / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert N.is_handed(hmtl.use.predict.find_run(name))


# -- making one ---


@pytest.mark.slow
def test_it_answers_as_the_run_in_half_the_bytes(run, made):
    pack = load_pack("mini")
    faces = [np.asarray(pack.images[row]) for row in pack.rows("test")]
    network = hmtl.load(made, device="cpu")
    said = network.predict(faces, detect=False).filter(like="p_")
    np.testing.assert_allclose(said, run.predictions[list(said)], atol=0.01)
    config = N.read_config(made)
    assert config["bits"] == 16
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (made, run.path)]
    assert sizes[0] < 0.55 * sizes[1]
    assert config["scores"] == pytest.approx(run.scores, abs=1e-6)
    first = pack.rows("test")[: N.SAMPLE]
    assert N.score_faces(network, pack, first) == pytest.approx(config["sample"], abs=1e-6)
    assert "A *toy*." in (made / "README.md").read_text()


@pytest.mark.slow
def test_weights_stay_whole_where_half_of_their_bits_move_a_score(run, tmp_path, monkeypatch):
    monkeypatch.setattr(N, "SAME", (-1.0, -1.0))
    with pytest.raises(ValueError, match="give other scores than it has"):
        N.ship(run, "toy", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    scored, half = N.score_faces, []

    def moved(network, *rest):
        half.append(len(half) == 0)
        scores = scored(network, *rest)
        return {**scores, "accuracy": scores["accuracy"] + 0.01} if half[-1] else scores

    monkeypatch.setattr(N, "SAME", (5e-4, 0.05))
    monkeypatch.setattr(N, "score_faces", moved)
    assert N.read_config(N.ship(run, "toy", folder=tmp_path))["bits"] == 32
    assert [f.name for f in tmp_path.iterdir()] == ["toy"]


@pytest.mark.parametrize("name", ["", "../out", "Name", "a b"])
def test_a_name_that_is_none_is_refused(run, name, tmp_path):
    with pytest.raises(ValueError, match="lower-case letters"):
        N.ship(run, name, folder=tmp_path)


def test_a_folder_that_was_changed_is_refused(made, tmp_path):
    for file, change, said in (
        ("model.safetensors", lambda b: b[:-1] + b"x", "was changed"),
        ("config.json", lambda b: b.replace(b'"size": "48"', b'"size": "64"'), "was changed"),
        ("config.json", lambda b: b"{}", "field 'task' is missing"),
    ):
        folder = shutil.copytree(made, tmp_path / f"{said}{file}")
        (folder / file).write_bytes(change((folder / file).read_bytes()))
        with pytest.raises(ValueError, match=f"{file}.*{said}"):
            hmtl.load(folder)


# -- handing over ---


@pytest.mark.slow
def test_the_hubs_own_library_reads_the_card(run, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    folder = export_run(run, tmp_path / "hub", ["hub"])
    card = hub.ModelCard.load(folder / "README.md")
    data = card.data.to_dict()
    assert (data["license"], data["library_name"]) == ("apache-2.0", "hmtl")
    (result, *_) = card.data.eval_results
    assert result.metric_value == pytest.approx(run.scores["accuracy"], abs=1e-4)
    assert hub.metadata_load(folder / "README.md") == data
    assert card.text.lstrip().startswith("# Model card")
    assert json.loads((folder / "config.json").read_text())["arch"] == "tiny"
    assert hmtl.load(folder).name == run.id


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["tiny", "test_vit", "mobilenetv3_small_050"])
def test_timm_loads_the_encoder_as_it_is(arch, tmp_path):
    timm = pytest.importorskip("timm")
    run = fit(dataclasses.replace(SPEC, arch=arch, fraction=0.2), store=tmp_path / "store")
    folder = export_run(run, tmp_path / "out", ["timm"])
    config = json.loads((folder / "config.json").read_text())
    file = str(folder / "encoder.safetensors")
    body = timm.create_model(config["arch"], num_classes=0, checkpoint_path=file).eval()
    mean, std = (torch.tensor(config[n]).view(1, 3, 1, 1) for n in ("mean", "std"))
    side = body.pretrained_cfg["input_size"][1]  # which some networks insist on
    faces = torch.rand(3, 3, side, side)
    with torch.inference_mode():
        wanted = answers_of(run).model.encoder(faces)
        torch.testing.assert_close(body((faces - mean) / std), wanted, atol=1e-4, rtol=1e-4)


def test_timm_loads_the_best_network_by_the_options_in_its_record(tmp_path):
    timm = pytest.importorskip("timm")
    folder = export_run(SHIPPED["ferplus-best"], tmp_path / "out", ["timm"])
    config = json.loads((folder / "config.json").read_text())
    told = {"checkpoint_path": str(folder / "encoder.safetensors"), "num_classes": 0}
    body = timm.create_model(config["arch"], **told, **config["model_args"]).eval()
    mean, std = (torch.tensor(config[n]).view(1, 3, 1, 1) for n in ("mean", "std"))
    faces = torch.rand(3, 3, 80, 80)
    with torch.inference_mode():
        wanted = N.open_handed(SHIPPED["ferplus-best"]).model.encoder(faces)
        torch.testing.assert_close(body((faces - mean) / std), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_network_that_ships_is_exported_like_a_run(made, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    exported = export_run(made, tmp_path / "out", ["onnx", "timm"])
    pack = load_pack("mini")
    faces = [np.asarray(pack.images[row]) for row in pack.rows("test")[:20]]
    one, other = (hmtl.load(f).predict(faces, detect=False) for f in (made, exported))
    np.testing.assert_allclose(one.filter(like="p_"), other.filter(like="p_"), atol=1e-4)
    with pytest.raises(ValueError, match="is a folder for the hub already"):
        export_run(made, tmp_path / "hub", ["hub"])
