"""Exported networks answer as the run did, alone: no PyTorch, no pretext, nothing else to know."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import hmtl
from hmtl.__main__ import main
from hmtl.data.sets import load_pack
from hmtl.method.learner import Answers
from hmtl.method.tasks import make_task
from hmtl.runs.fit import build_learner, fit
from hmtl.runs.specs import RunSpec
from hmtl.use import export as E
from hmtl.use.export import export_run

pytestmark = pytest.mark.slow

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SPEC = RunSpec(data="mini", epochs=1, bs=64, pretexts=("puzzling_2x2",))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True, scope="module")
def short_card():
    """Few resamples: the card's own tests look at its numbers."""
    card = E.model_card
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(E, "model_card", lambda run: card(run, resamples=5))
        yield


@pytest.fixture(scope="module")
def run(store):
    return fit(SPEC, store=store)


@pytest.fixture(scope="module")
def exported(run, short_card, tmp_path_factory):
    """The run as ONNX."""
    return export_run(run, tmp_path_factory.mktemp("out") / "exported")


def answer_of(folder, images, **options):
    return hmtl.load(folder).predict(images, detect=False, **options)


@pytest.fixture(scope="module")
def faces():
    """The stored test faces, as pictures."""
    pack = load_pack("mini")
    return [np.asarray(pack.images[row]) for row in pack.rows("test")]


def test_onnx_gives_the_answers_of_the_test_split(run, exported, faces):
    """Through onnxruntime, against what fastai stored after training."""
    assert hmtl.load(exported).name == run.id
    wanted = run.predictions.filter(like="p_")
    for count, batch in ((20, 1), (128, 7), (128, 128)):  # the batch is free
        said = answer_of(exported, faces[:count], batch=batch)
        np.testing.assert_allclose(said[list(wanted)], wanted[:count], atol=1e-4)


@pytest.mark.parametrize("task", ["head_pose", "head_pose_bins"])
def test_poses_leave_as_degrees(task, store, faces, tmp_path):
    run = fit(dataclasses.replace(SPEC, task=task), store=store)
    said = answer_of(export_run(run, tmp_path / "exported"), faces)
    wanted = run.predictions.filter(like="predicted_")
    np.testing.assert_allclose(said[list(wanted)], wanted, atol=1e-4, rtol=1e-5)


def test_the_file_says_all_its_user_must_know_and_holds_no_pretext(run, exported):
    model = onnx.load(exported / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version >= 17
    said = {entry.key: entry.value for entry in model.metadata_props}
    card = said.pop("card")
    assert card == (exported / "card.md").read_text()
    config = json.loads((exported / "config.json").read_text())
    assert set(config.pop("files")) == {"model.onnx"}
    assert len(config.pop("sha256")) == 64
    assert said == config
    assert (said["colour"], said["fit"]) == ("colour", "cover")
    assert json.loads(said["labels"])[:2] == ["neutral", "happy"]
    assert (said["task"], said["size"], said["crop"]) == ("emotion", "48", "0.85")
    # as many numbers as the supervised network has: batch norms may be folded, never added
    stored = sum(np.prod(tensor.dims) for tensor in model.graph.initializer)
    plain = sum(p.numel() for p in E.answers_of(run).parameters())
    assert stored < 1.01 * plain + 1000
    assert not any("puzzl" in node.name for node in model.graph.node)
    assert not {p.name for p in exported.iterdir()} - {"model.onnx", "config.json", "card.md"}


def test_any_runtime_gives_probabilities_of_plain_pictures(run, exported, faces):
    """By hand, as somebody without this package would: crop, resize, [0, 1], channels first."""
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    face = Image.fromarray(faces[3]).crop((3, 3, 44, 44))
    face = face.resize((48, 48), Image.Resampling.BILINEAR)
    given = np.asarray(face, np.float32).transpose(2, 0, 1)[None] / 255
    (answer,) = session.run(None, {session.get_inputs()[0].name: given})
    assert answer.shape == (1, 8)
    np.testing.assert_allclose(answer.sum(), 1, atol=1e-5)
    # Pillow rounds to whole levels where torch does not
    np.testing.assert_allclose(answer[0], run.predictions.filter(like="p_").iloc[3], atol=0.01)


def test_the_command_writes_both_formats(run, store, tmp_path, capsys):
    out = tmp_path / "exported"
    arguments = ["export", run.id, "--store", str(store), "--out", str(out)]
    assert main([*arguments, "--format", "onnx", "torch"]) == 0
    assert str(out / "model.pt2") in capsys.readouterr().out
    extra = {"config.json": ""}
    saved = torch.export.load(out / "model.pt2", extra_files=extra).module()
    assert json.loads(extra["config.json"])["run"] == run.id
    faces = torch.rand(3, 3, 48, 48)
    with torch.no_grad():
        np.testing.assert_allclose(saved(faces), E.answers_of(run)(faces), atol=1e-5)
    assert main(arguments) == 2  # never over something
    assert "choose another folder" in capsys.readouterr().err


def test_only_onnx_is_opened_and_only_on_a_device_that_is_there(run, exported, tmp_path, capsys):
    saved = export_run(run, tmp_path / "saved", ["torch"])
    options = ["x.png", "--out", str(tmp_path / "o.csv"), "--device"]
    for folder, device, said in (
        (saved, "cpu", "only ONNX is opened for prediction"),
        (exported, "nonsense", "cannot run on device 'nonsense'"),
        (exported, "cuda", "cuda needs a GPU"),
    ):
        if device == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            continue
        assert main(["predict", str(folder), *options, device]) == 2
        assert said in capsys.readouterr().err
    assert hmtl.load(exported, device="cpu").task.name == "emotion"


def test_what_answers_otherwise_is_not_kept(run, tmp_path, monkeypatch):
    plain = E.answers_of(run)

    def broken(images):
        return plain(images).detach().numpy() + 2e-4

    with pytest.raises(RuntimeError, match="differs from PyTorch by 0.0002"):
        E._check(plain, 48, broken, tmp_path / "model.onnx")
    monkeypatch.setattr(E, "TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match="not kept"):
        export_run(run, tmp_path / "exported")
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_one_size_is_held_against_timm_at_that_size(store, tmp_path):
    spec = dataclasses.replace(
        SPEC, arch="mixer_s32_224", size=224, bs=8, augment="none", fraction=0.02
    )
    with pytest.raises(ValueError, match="pictures of 224 pixels only, size is 48: --set size 224"):
        fit(dataclasses.replace(spec, size=48), store=store)
    with pytest.raises(ValueError, match="mixer_s32_224.* of 224 pixels only, size is 64"):
        build_learner(dataclasses.replace(spec, size=64), load_pack("mini"), "cpu")
    model = Answers(build_learner(spec, load_pack("mini"), "cpu").model, make_task("emotion"))
    told = E._write_timm(model.eval(), 224, tmp_path / "encoder.safetensors")
    assert told["arch"].startswith("mixer_s32_224")


def test_what_cannot_be_exported_says_so(run, store, tmp_path):
    with pytest.raises(ValueError, match="unknown format tflite"):
        export_run(run, tmp_path / "exported", ["tflite"])
    silent = dataclasses.replace(SPEC, task="pretraining")
    with pytest.raises(ValueError, match="a pre-training answers nothing"):
        export_run(fit(silent, store=store), tmp_path / "exported")


@pytest.mark.parametrize("library", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_library_is_named_with_the_remedy(library, run, exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'needs {library}.*pip install "hmtl\[use\]"'):
        export_run(run, tmp_path / "exported")
    if library == "onnxruntime":
        with pytest.raises(ImportError, match=r'onnxruntime: pip install "hmtl\[use\]"'):
            hmtl.load(exported)


def test_metadata_that_is_missing_or_of_other_labels_is_named(exported, tmp_path):
    model = onnx.load(exported / "model.onnx")
    said = {entry.key: entry.value for entry in model.metadata_props}
    for change, problem in (
        ({"labels": '["good", "bad"]'}, "are not those of the task 'emotion'"),
        ({"size": None}, "metadata 'size' is missing"),
        ({"fit": "tight"}, "fit 'tight': no face is seen so"),
    ):
        props = {k: v for k, v in {**said, **change}.items() if v is not None}
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, props)
        onnx.save(model, tmp_path / "model.onnx")
        with pytest.raises(ValueError, match=problem):
            hmtl.load(tmp_path)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {k: v for k, v in said.items() if k != "fit"})
    onnx.save(model, tmp_path / "model.onnx")
    assert hmtl.load(tmp_path).fit == "cover"  # as exports of older versions are
