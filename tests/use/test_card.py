"""Cards state what a run's and a pack's own files say, with intervals that hold."""

import dataclasses
import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest
from toys import make_toy_pack, reseal

from hmtl.__main__ import main
from hmtl.data.pack import Pack
from hmtl.data.sets import load_pack
from hmtl.files import hash_folder, sealed
from hmtl.method.tasks.pose import ANGLES
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.use.card import _command, data_sheet, model_card, score_table, slice_table
from hmtl.use.explain import calibration_error

pytestmark = pytest.mark.slow

SPEC = RunSpec(data="mini", epochs=1, bs=64)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def run(store):
    """A short run whose answers are as good as those of a long one: two in three are right."""
    run = fit(SPEC, store=store)
    file = run.path / "predictions.csv"
    table = pd.read_csv(file)
    table["predicted"] = table["target"].where(np.arange(len(table)) % 3 > 0, "fear")
    table.to_csv(file, index=False)
    reseal(run.path)
    return fit(SPEC, store=store)


def wilson(right, count, z=1.959964):
    """Wilson's interval by its formula."""
    share = right / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return middle - half, middle + half


def test_scores_are_the_runs_own_with_intervals_around_them(run):
    table = score_table(run, resamples=200).set_index("score")
    found = run.predictions
    right = (found["target"] == found["predicted"]).sum()
    assert list(table.index) == ["accuracy", "macro_f1", "mean_recall"]
    for name, row in table.iterrows():
        assert row["value"] == pytest.approx(100 * run.scores[name], abs=0.051)
        assert row["low"] < row["value"] < row["high"]
    expected = 100 * np.array(wilson(right, len(found)))
    np.testing.assert_allclose(
        table.loc["accuracy", ["low", "high"]].astype(float), expected, atol=0.051
    )


def test_errors_of_poses_are_in_degrees(store):
    run = fit(dataclasses.replace(SPEC, task="head_pose"), store=store)
    table = score_table(run, resamples=200).set_index("score")
    gaps = np.stack(
        [(run.predictions[f"predicted_{a}"] - run.predictions[f"target_{a}"]).abs() for a in ANGLES]
    )
    assert table.loc["mae", "value"] == pytest.approx(gaps.mean(), abs=0.006)
    error = gaps.mean(0).std(ddof=1) / np.sqrt(gaps.shape[1])  # the normal interval, nearly
    low, high = gaps.mean() - 1.96 * error, gaps.mean() + 1.96 * error
    np.testing.assert_allclose(
        table.loc["mae", ["low", "high"]].astype(float), [low, high], atol=0.4 * error + 0.05
    )
    card = model_card(run, resamples=5)
    assert "not where somebody looks" in card
    assert "Always answering" not in card


def test_slices_part_the_test_faces_and_agree_with_the_whole(run):
    table = slice_table(run)
    assert "emotion" not in set(table["by"])  # it stands among the classes
    for by, rows in table.groupby("by"):
        if by != "intensity":  # neutral faces have none
            assert rows["faces"].sum() == len(run.predictions), by
            whole = (rows["value"] * rows["faces"]).sum() / rows["faces"].sum()
            assert whole == pytest.approx(100 * run.scores["accuracy"], abs=0.1)
        assert (rows["low"] <= rows["value"]).all()
        assert (rows["value"] <= rows["high"]).all()
    labels = load_pack("mini").labels
    yaw = labels.set_index("key").loc[run.predictions["key"], "yaw"].abs().to_numpy()
    right = (run.predictions["target"] == run.predictions["predicted"]).to_numpy()
    wide = table[(table["by"] == "yaw") & (table["slice"] == "> 30°")].iloc[0]
    assert wide["faces"] == (yaw > 30).sum()
    assert wide["value"] == pytest.approx(100 * right[yaw > 30].mean(), abs=0.06)


def test_the_card_says_what_for_and_what_never(run, store):
    text = model_card(run, resamples=5)
    assert text == model_card(run, resamples=5)
    for heading in (
        "Intended use", "What it must not be used for", "Training data",
        "Scores on the test faces", "Limits", "How it was trained",
    ):  # fmt: skip
        assert f"\n## {heading}" in text
    assert "not what a person feels" in text
    assert "policing" in text
    gender = model_card(fit(dataclasses.replace(SPEC, task="gender"), store=store), resamples=5)
    assert "nothing about a person's gender or identity" in gender


def test_every_number_of_the_card_is_in_the_runs_files(run):
    text = model_card(run, resamples=5)
    machine = json.loads((run.path / "machine.json").read_text())
    for what, value in (
        ("faces trained on", machine["train_faces"]), ("test faces", len(run.predictions)),
        ("seconds", machine["seconds"]), ("torch", machine["torch"]), ("epochs", SPEC.epochs),
        ("fingerprint of its pack", run.pack),
    ):  # fmt: skip
        assert f"| {what} | {value} |" in text
    spec = json.loads(re.search(r"```json\n(.*?)```", text, re.S)[1])
    assert RunSpec.from_dict(spec) == run.spec


@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("fraction", [0.1, 1.0])
@pytest.mark.parametrize("data", ["faces", "mini", "ferplus"])
def test_the_command_of_a_card_asks_for_the_same_training(data, fraction, fill, monkeypatch):
    asked = []
    monkeypatch.setattr("hmtl.runs.fit.fit", lambda spec, **_: asked.append(spec) or 1 / 0)
    spec = RunSpec(data, task="emotion", fraction=fraction, fill=fill, pretexts=("second_view",))
    with pytest.raises(ZeroDivisionError):
        main(shlex.split(_command(spec))[3:])
    assert asked == [spec]


def test_a_start_is_named_without_the_folders_it_lies_in(run, store):
    second = fit(dataclasses.replace(SPEC, init=str(run.path)), store=store)
    text = model_card(second, resamples=5)
    assert run.id in text
    assert str(store) not in text


def test_other_faces_than_the_specs_have_no_slices(store, tmp_path):
    run = fit(SPEC, store=store, pack=make_toy_pack(tmp_path / "toy", size=48))
    with pytest.raises(ValueError, match="not the test faces that its spec draws"):
        model_card(run, resamples=5)


def test_a_set_of_millions_is_not_drawn_to_find_that_it_is_another(store, tmp_path, monkeypatch):
    run = fit(SPEC, store=store)
    many = dataclasses.replace(run.spec, data="faces", people=(1, 0, 1_000_000))
    monkeypatch.setattr("hmtl.study.slices.tested_faces", lambda faces: pytest.fail("drawn"))
    with pytest.raises(ValueError, match="not the test faces that its spec draws"):
        slice_table(dataclasses.replace(run, spec=many))


def test_commands_write_beside_the_run_and_elsewhere(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hmtl.use.card.model_card", lambda run: f"# {run.id}\n")
    assert main(["card", str(run.path)]) == 0
    assert capsys.readouterr().out.strip() == str(run.path / "card.md")
    assert main(["card", str(run.path), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "card.md").read_text() == f"# {run.id}\n"
    assert main(["card", "--data", "mini", "--out", str(tmp_path / "mini.md")]) == 0
    assert "# Data sheet: mini" in (tmp_path / "mini.md").read_text()
    for wrong in (["card"], ["card", "x", "--data", "mini"], ["card", "--data", "mini"]):
        assert main(wrong) == 2


def test_a_sheet_counts_every_face_once(tmp_path):
    pack = load_pack("mini")
    text = data_sheet(pack)
    row = re.search(r"\| anger \| (\d+) \| (\d+) \| (\d+) \|", text)
    anger = pack.labels[pack.labels["emotion"] == "anger"]["split"].value_counts()
    assert [int(n) for n in row.groups()] == [anger[s] for s in ("train", "valid", "test")]
    assert f"| {pack.fingerprint} |" in text
    assert "no person is shown" in text
    assert f"| {pack.labels['yaw'].abs().max():.2f}" in text


def test_the_sheet_of_a_set_says_what_was_left_out(tmp_path):
    from made_up_folders import write_affectnet_csv

    from hmtl.data.packing import pack_photos, read_set

    table = read_set("affectnet", write_affectnet_csv(tmp_path / "set"), {})
    pack = pack_photos(table, tmp_path / "pack", 32, data="affectnet", max_bad=0.2)
    report = json.loads((pack.path / "report.json").read_text())
    text = data_sheet(pack)
    assert "Photographs of people" in text
    assert f"| unreadable | {len(report['bad'])} |" in text
    for why, count in report["reader"]["dropped"].items():
        assert f"| left out by the reader: {why} | {count} |" in text
    assert f"| packed | {len(pack)} |" in text


REPORT = {
    "reader": {"notes": ["a note"], "dropped": {"torn": 1}, "unlabelled": {"no face": 2}},
    "duplicates": {"across splits": [["a", "b"]], "dropped": ["c"]}, "images": {"packed": 64},
    "missing": [], "bad": [], "tiny": [], "turned": [], "differences": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("reader", {"dropped": ["torn"]}, "'dropped' must be an object"),
        ("reader", {"unlabelled": "no face"}, "'unlabelled' must be an object"),
        ("reader", {"notes": ["a", {"b": 1}]}, "'notes' must be text"),
        ("reader", [], "'reader' must be an object"),
        ("duplicates", {}, "'across splits' is missing"),
        ("duplicates", {"across splits": 5, "dropped": []}, "'across splits' must be a list"),
        ("duplicates", {"across splits": [], "dropped": "c"}, "'dropped' must be a list"),
        ("images", [1], "'images' must be an object"),
        ("warnings", "one", "'warnings' must be a list"),
    ],
)  # fmt: skip
def test_a_report_of_another_form_is_named(tmp_path, field, value, named):
    pack = make_toy_pack(tmp_path / "pack", count=64)
    report = pack.path / "report.json"
    for told in (REPORT, {**REPORT, field: value}):
        report.write_text(json.dumps(told))
        record = json.loads((pack.path / "pack.json").read_text())
        (pack.path / "pack.json").write_text(json.dumps(sealed(record, hash_folder(pack.path))))
        if told is REPORT:
            assert "| left out by the reader: torn | 1 |" in data_sheet(pack)
    with pytest.raises(ValueError, match=rf"report\.json: field .*{named}.*; pack the set again"):
        data_sheet(pack)


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% if x %}", "{# gone #}", "{{ run.__class__ }}"])
def test_what_a_file_says_is_shown_and_never_read_as_a_template(text):
    pack = load_pack("mini")
    told = Pack(pack.path, pack.images, pack.labels, {**pack.meta, "source": text})
    assert f"| source | {text} |" in data_sheet(told)


def test_calibration_error_is_guos():
    """By a loop over bins; none where each probability is the share that is right."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 500)
    names = np.array(["happy", "sad", "fear"])
    table = pd.DataFrame(p, columns=[f"p_{name}" for name in names])
    table["predicted"], table["target"] = names[p.argmax(1)], names[rng.integers(0, 3, 500)]
    sure, right = p.max(1), (table["predicted"] == table["target"]).to_numpy()
    by_hand = 0.0
    for i in range(15):
        inside = (sure >= i / 15) & (sure < (i + 1) / 15)
        if inside.any():
            by_hand += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    assert calibration_error(table, 15) == pytest.approx(by_hand)
    half = table.assign(p_happy=0.5, p_sad=0.5, p_fear=0.0, predicted="happy")
    half["target"] = np.where(np.arange(500) % 2, "happy", "sad")
    assert calibration_error(half, 15) == pytest.approx(0)
    assert calibration_error(half.assign(target="sad"), 15) == pytest.approx(0.5)
