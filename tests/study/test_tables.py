from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hmtl.runs.specs import PRESETS, RunSpec
from hmtl.study.notebook import Setting
from hmtl.study.plan import BEFORE, cells, pretraining_of, spec_of
from hmtl.study.tables import (
    PLAN,
    PUZZLE,
    claims,
    gain_by_face,
    gains,
    interval,
    name_trainings,
    near_chance,
    outcome_by_face,
    outcomes_by_run,
    reported,
    small_variations,
    study_tables,
    summary,
)


def test_interval_by_hand():
    # 3 values 1, 2, 3: sd 1, standard error 1/sqrt(3), t(0.975, 2) = 4.3027
    mean, half = interval([1, 2, 3])
    assert mean == 2
    assert half == pytest.approx(4.3027 / 3**0.5, abs=1e-4)
    assert np.isnan(interval([0.5])[1])


def table(**columns):
    base = {"macro_f1": 0.4, "mean_recall": 0.3, "cpu_seconds": 10.0}
    return pd.DataFrame({**columns}).assign(**base)


def test_summary_groups_and_counts_seeds():
    runs = table(
        method=["SL", "SL", "X"], seed=[0, 1, 0], accuracy=[0.5, 0.6, 0.7], run=list("abc")
    )
    out = summary(runs, ["method"])
    assert out["method"].tolist() == ["SL", "X"]
    half = 100 * stats.t.ppf(0.975, 1) * np.std([0.5, 0.6], ddof=1) / 2**0.5
    assert out["accuracy %"].tolist() == [f"55.0 ± {half:.1f}", "70.0"]
    assert out["seeds"].tolist() == [2, 1]
    best = runs.assign(accuracy_at_best=[np.nan, 0.6, 0.7])  # no mean of fewer seeds than the row's
    assert summary(best, ["method"])["at best epoch %"].tolist() == ["", "70.0"]
    best = best.assign(failure=["nan", "", ""])
    assert summary(best, ["method"])["at best epoch %"].tolist() == ["60.0", "70.0"]


def test_a_gap_agrees_with_the_paired_t_test_over_common_seeds():
    rng = np.random.default_rng(0)
    base, treated = rng.random((4, 40)) < 0.5, rng.random((4, 40)) < 0.7
    runs = table(
        data="faces", fraction=1.0, epochs=9, bs=64, method=["SL"] * 5 + ["X"] * 4, accuracy=0.5,
        seed=[0, 1, 2, 3, 9, 0, 1, 2, 3], run=[*"abcdefghi"],
    )  # fmt: skip
    outcomes = dict(zip("abcd", base, strict=True)) | {"e": np.ones(40, bool)}
    outcomes |= dict(zip("fghi", treated, strict=True))
    gap = gains(runs, outcomes, ["SL"]).set_index("method").loc["X", "− SL"]
    expected = stats.ttest_rel(100 * treated.mean(1), 100 * base.mean(1))
    low, high = expected.confidence_interval(0.95)
    mean, half = map(float, gap.split(" ± "))
    assert mean == pytest.approx((low + high) / 2, abs=0.06)
    assert half == pytest.approx((high - low) / 2, abs=0.06)
    twice = runs.assign(seed=0)
    with pytest.raises(ValueError, match="several runs of one seed"):
        gains(twice, outcomes, ["SL"])


def test_a_gain_in_degrees_is_the_error_saved():
    base, treated = np.array([[4.0, 6, 5], [5, 5, 8]]), np.array([[3.0, 6, 5], [5, 4, 7]])
    gained = gain_by_face(treated.astype(np.float32), base.astype(np.float32))
    assert gained.mean() == pytest.approx(3 / 6)
    with pytest.raises(ValueError, match="do not compare"):
        gain_by_face(treated.astype(np.float32), base > 5)
    with pytest.raises(ValueError, match="differ in seeds or faces"):
        gain_by_face(base > 5, (base > 5)[:, :-1])


def test_what_became_of_a_face():
    classes = pd.DataFrame({"target": ["sad", "fear"], "predicted": ["sad", "sad"]})
    assert outcome_by_face(classes).tolist() == [True, False]
    pose = pd.DataFrame({"key": ["f1"]})
    for angle, target, predicted in (("yaw", 10, 13), ("pitch", -5, -5), ("roll", 0, -6)):
        pose[f"target_{angle}"], pose[f"predicted_{angle}"] = [target], [predicted]
    assert outcome_by_face(pose) == pytest.approx([3.0])
    with pytest.raises(ValueError, match="no answers"):
        outcome_by_face(pose[["key"]])


def test_runs_on_other_faces_are_not_paired():
    a = pd.DataFrame({"key": ["f1"], "target": ["sad"], "predicted": ["sad"]})
    runs = [
        SimpleNamespace(id=key, pack="p", spec=RunSpec(), failure={}, predictions=a.assign(key=key))
        for key in ("f1", "f2")
    ]
    assert outcomes_by_run(runs[:1])["f1"].tolist() == [True]
    with pytest.raises(ValueError, match="other faces"):
        outcomes_by_run(runs)


def test_a_training_is_named_by_where_it_starts_and_by_what_is_unusual_of_it():
    runs = table(
        data="faces", fraction=1.0, run=list("abcdef"), accuracy=0.5, seed=0,
        method=["SL"] * 4 + ["P"] * 2, epochs=[10, 20, 10, 10, 10, 5],
        bs=[64, 64, 64, 32, 64, 64], start=["scratch", "scratch", "Q", "imagenet", None, "Q"],
    )  # fmt: skip
    assert name_trainings(runs)["method"].tolist() == [
        "SL", "SL, 2× epochs", "Q → SL", "SL, batch 32", "P", "Q → P, 0.5× epochs",
    ]  # fmt: skip
    outcomes = {name: np.arange(4) < i for i, name in enumerate("abcde")}  # f answers nothing
    out = gains(runs, outcomes, ["SL"]).set_index("method")
    assert "Q → P, 0.5× epochs" not in out.index
    assert out.loc["P", "− SL"] == "+100.0"
    assert gains(runs, outcomes, ["unknown"]).empty


def test_reported_values_have_sources_and_unknown_cells_stay_empty():
    values = reported()
    assert values["value"].notna().any()
    assert values["value"].isna().any()
    assert (values["source"].notna() == values["value"].notna()).all()


def test_small_variations_stand_beside_the_same_seeds_of_the_others():
    rows = [("SL", s, 32) for s in range(10, 15)] + [("SL", s, 64) for s in range(10, 14)]
    rows += [("X", s, 32) for s in (10, 11, 12)] + [("Y", s, 32) for s in (10, 11)]
    runs = pd.DataFrame(rows, columns=["method", "seed", "epochs"])
    runs = runs.assign(study=PLAN, task="emotion", data="faces", fraction=0.1, bs=64)
    runs["run"] = [f"r{i}" for i in runs.index]
    other = runs.assign(data="ferplus", run="f" + runs["run"])
    whole = runs.assign(fraction=1.0, run="w" + runs["run"])
    found = small_variations(pd.concat([runs, other, whole]))
    assert sorted(found["seed"].unique()) == [10, 11, 12]
    assert found["run"].str.startswith("r").all()
    assert len(found) == 9, "Y has too few seeds yet"
    assert small_variations(runs[:0]).empty


def test_scores_of_different_tasks_stand_in_columns_of_their_own():
    runs = pd.DataFrame(
        {
            "task": ["gender", "gender", "head_pose", "head_pose"],
            "accuracy": [0.5, 0.7, np.nan, np.nan],
            "mae": [np.nan, np.nan, 4.0, 5.0],
            "seed": [0, 1, 0, 1],
            "cpu_seconds": 1.0,
        }
    )
    table = summary(runs, ["task"])
    half = stats.t.ppf(0.975, 1) * 0.5
    assert table["accuracy %"].tolist()[1] == ""
    assert table["MAE °"].tolist() == ["", f"4.50 ± {half:.2f}"]  # the margin is 0.1°
    assert "macro F1 %" not in table


def test_a_training_that_never_began_to_learn_is_named_once():
    columns = {"data": "faces", "fraction": 1.0, "method": "SL"}
    runs = pd.DataFrame(
        [
            {"run": run, "seed": seed, "accuracy": accuracy, **columns}
            for run, seed, accuracy in (
                ("a", 0, 0.7),
                ("b", 3, 0.13),
                ("b", 3, 0.13),
                ("c", 4, 0.3),
            )
        ]
    )
    said = near_chance(runs)
    assert said == "near chance: faces, 100% of the labels, SL, seed 3 (13.0%)"
    assert near_chance(runs[runs["run"] == "a"]) == ""
    both = near_chance(runs.assign(accuracy=[0.7, 0.13, 0.13, 0.2]))
    assert both == said.replace("seed 3 (13.0%)", "seeds 3 (13.0%), 4 (20.0%)")
    # the commonest of uneven classes, always: above a guess in accuracy, not with classes even
    uneven = runs.assign(accuracy=0.35, mean_recall=[0.6, 0.125, 0.125, 0.5])
    assert near_chance(uneven) == said.replace("13.0%", "35.0%")
    networks = near_chance(runs.assign(arch=["tiny", "tiny", "tiny", "resnet18"]))
    assert networks.startswith("near chance: faces, tiny, 100%")


def test_gaps_of_several_networks_are_within_each():
    runs = table(
        data="faces", task="emotion", arch=["tiny", "tiny", "large", "large"], fraction=0.2,
        epochs=9, bs=64, seed=0, method=["SL", "puzzling_2x2 (paired)"] * 2, run=list("abcd"),
        accuracy=[0, 0.25, 0.5, 1],
    )  # fmt: skip
    outcomes = {name: np.arange(4) < i for name, i in zip("abcd", (0, 1, 2, 4), strict=True)}
    out = gains(runs, outcomes, ["SL"], ["arch", "fraction"]).set_index(["arch", "method"])["− SL"]
    assert out["tiny", "puzzling_2x2 (paired)"].startswith("+25.0")
    assert out["large", "puzzling_2x2 (paired)"].startswith("+50.0")
    assert out["large", "SL"] == ""


def test_the_plans_tables_leave_out_other_studies():
    runs = table(
        study=[PLAN, PLAN, PLAN, "20_hmtl_emotion", PLAN, PLAN], data="faces", fraction=0.1,
        task=["emotion"] * 4 + ["pretraining", "gender"], method="SL", epochs=9, bs=64,
        seed=[0, 1, 2, 3, 4, 5], run=list("abcdef"), accuracy=0.5, arch="tiny",
    )  # fmt: skip
    out = study_tables(runs, dict.fromkeys("abcdf", np.ones(4, bool)))
    assert out["decided"]["seeds"].tolist() == [3], "one seed of gender is not shown"
    assert set(out) == {"decided", "tasks"}


def test_three_sizes_are_said_only_beside_runs_of_one():
    sized = RunSpec(pretexts=("puzzling_2x2",), multiscale=True).method
    both = pd.DataFrame({
        "method": ["SL", sized, PUZZLE], "data": "faces", "task": "emotion", "fraction": 1.0,
        "arch": "tiny", "epochs": 9, "bs": 64,
    })  # fmt: skip
    assert name_trainings(both[:2])["method"].tolist() == ["SL", PUZZLE]
    assert name_trainings(both)["method"].tolist() == ["SL", sized, PUZZLE]
    shared = RunSpec(pretexts=("puzzling_2x2",), multiscale=True, views="shared").method
    beside = both.assign(method=["SL", sized, shared])  # shared views have one size always
    assert name_trainings(beside)["method"].tolist() == ["SL", PUZZLE, "puzzling_2x2 (shared)"]


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_every_preset_makes_what_the_claims_compare(preset, tmp_path):
    """Claims name their trainings in words: no preset may call one otherwise."""
    here = Setting("x", preset, preset.data, None, tmp_path, 0)
    planned = set()  # made by the plan, by no preset
    for cell in cells():
        spec = spec_of(cell, cell.first)
        before = "+".join(pretraining_of(cell, spec).pretexts) if cell.arm in BEFORE else ""
        planned.add(f"{before} → {spec.method}" if before else spec.method)
    asked = claims().query("column == 'method'")
    asked = asked.assign(task=asked["where"].str.extract(r"task=(\w+)")[0].fillna("emotion"))
    for task in ("emotion", "head_pose", "gender"):
        half = {"pretexts": ("puzzling_2x2",), "epochs": here.spec(task=task).epochs // 2}
        ways = [("scratch", way) for way in here.ways("inpainting_grid_pl", task=task)]
        ways += [("image_rotation", half), ("puzzling_2x2", {})]
        specs = [(start, here.spec(**{**way, "task": task})) for start, way in ways]
        rows = [
            {"method": s.method, "data": s.data, "task": task, "fraction": 1.0, "arch": s.arch,
             "epochs": s.epochs, "bs": s.bs, "start": start} for start, s in specs
        ]  # fmt: skip
        made = set(name_trainings(pd.DataFrame(rows))["method"])
        own = asked[asked["task"] == task]
        named = set(own[["treated", "base", "control", "longer"]].to_numpy().ravel())
        missing = {name for name in named if isinstance(name, str)} - made - planned
        assert not missing, (task, made)
