from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hmtl.runs.specs import PRESETS, RunSpec
from hmtl.study.notebook import Setting
from hmtl.study.plan import BEFORE, cells, pretraining_of, spec_of
from hmtl.study.tables import (
    CONTROL,
    PUZZLE,
    ablation,
    claims,
    contrast,
    contrasts,
    gains,
    interval,
    name_trainings,
    near_chance,
    outcome_by_face,
    outcomes_by_run,
    reported,
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


def test_contrast_agrees_with_the_paired_t_test_and_with_enumeration():
    rng = np.random.default_rng(0)
    base = rng.random((4, 12)) < 0.5
    treated = rng.random((4, 12)) < 0.7
    out = contrast(treated, base)
    expected = stats.ttest_rel(100 * treated.mean(1), 100 * base.mean(1))
    assert out["p_seeds"] == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert out["difference"] - out["half"] == pytest.approx(low)
    assert out["difference"] + out["half"] == pytest.approx(high)
    # every one of the 2^n sign patterns, by brute force
    by_face = treated.mean(0) - base.mean(0)
    nonzero = by_face[by_face != 0]
    signs = 1 - 2 * ((np.arange(2 ** len(nonzero))[:, None] >> np.arange(len(nonzero))) & 1)
    sums = signs @ nonzero
    observed = nonzero.sum()
    low_tail, high_tail = (sums <= observed + 1e-9).mean(), (sums >= observed - 1e-9).mean()
    assert out["p_faces"] == pytest.approx(min(1, 2 * min(low_tail, high_tail)), abs=1e-9)


def test_with_one_seed_the_test_over_faces_is_mcnemars():
    rng = np.random.default_rng(4)
    base, treated = rng.random((1, 300)) < 0.6, rng.random((1, 300)) < 0.63
    won, lost = int((treated & ~base).sum()), int((base & ~treated).sum())
    exact = stats.binomtest(won, won + lost).pvalue
    assert 0.001 < exact < 0.9
    assert contrast(treated, base)["p_faces"] == pytest.approx(exact, abs=0.02)


def test_equal_methods_do_not_differ():
    same = np.random.default_rng(1).random((3, 50)) < 0.5
    out = contrast(same, same)
    assert out["difference"] == 0
    assert out["p_faces"] == 1
    one_face = same.copy()
    one_face[:, 0] ^= True
    assert contrast(one_face, same)["p_faces"] == 1
    with pytest.raises(ValueError, match="differ"):
        contrast(same, same[:, :-1])


def test_a_real_gap_is_found_and_a_null_one_is_not_more_often_than_it_should():
    rng = np.random.default_rng(2)
    gap = contrast(rng.random((2, 400)) < 0.7, rng.random((2, 400)) < 0.5)
    assert gap["p_faces"] < 0.01
    nulls = [
        contrast(rng.random((2, 100)) < 0.5, rng.random((2, 100)) < 0.5)["p_faces"]
        for _ in range(60)
    ]
    assert np.mean(np.array(nulls) < 0.05) < 0.15


def test_contrasts_pair_only_common_seeds():
    runs = table(
        method=["SL", "SL", "X"], seed=[0, 1, 1], fraction=1.0, accuracy=0.5, run=list("abc")
    )
    outcomes = {"a": np.zeros(4, bool), "b": np.array([1, 0, 0, 0], bool), "c": np.ones(4, bool)}
    out = contrasts(runs, outcomes, "SL")
    assert out["gain"].tolist() == ["+75.0"]
    assert out["seeds"].tolist() == [1]


def test_a_gain_in_degrees_is_the_error_saved():
    base, treated = np.array([[4.0, 6, 5], [5, 5, 8]]), np.array([[3.0, 6, 5], [5, 4, 7]])
    out = contrast(treated.astype(np.float32), base.astype(np.float32))
    assert out["difference"] == pytest.approx(3 / 6)
    expected = stats.ttest_rel(base.mean(1), treated.mean(1))
    assert out["p_seeds"] == pytest.approx(expected.pvalue)
    with pytest.raises(ValueError, match="do not compare"):
        contrast(treated.astype(np.float32), base > 5)


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
    assert out.loc["P", "− SL"] == "+100.0 (p = 0.125)"
    assert gains(runs, outcomes, ["unknown"]).empty


def test_reported_values_have_sources_and_unknown_cells_stay_empty():
    values = reported()
    assert values["value"].notna().any()
    assert values["value"].isna().any()
    assert (values["source"].notna() == values["value"].notna()).all()


def test_the_papers_column_is_filled_only_where_it_is_known():
    runs = table(
        study="20_hmtl_emotion", data="faces", task="emotion", init="scratch", augment="weak",
        epochs=9, bs=64, accuracy=0.5,
        method=["SL", "puzzling_2x2 (paired)", "inpainting_grid_pl (paired)"] * 2, seed=0,
        fraction=[0.2] * 3 + [1.0] * 3, run=list("abcdef"),
    )  # fmt: skip
    outcomes = {name: np.ones(4, bool) for name in "abcdef"}
    column = study_tables(runs, outcomes)["emotion"]["paper: AffectNet %"]
    assert column.tolist() == ["52.46", "", "55.36", "60.34", "61.09", "61.72"]


def test_an_ablation_sets_every_row_beside_its_bases():
    methods = ["SL", CONTROL, "X", "SL"]
    runs = table(
        data="faces", fraction=[0.2] * 8 + [1.0], method=[m for m in methods for _ in "ab"] + ["X"],
        seed=[0, 1] * 4 + [0], epochs=[40] * 6 + [80] * 2 + [12], bs=[64] * 6 + [128] * 2 + [64],
        run=list("abcdefghi"), accuracy=[0.25, 0.25, 0.5, 0.5, 0.75, 0.25, 0.5, 0.5, 1.0],
    )  # fmt: skip
    right = {0.25: [1, 0, 0, 0], 0.5: [1, 1, 0, 0], 0.75: [1, 1, 1, 0], 1.0: [1] * 4}
    outcomes = {
        r: np.array(right[a], bool) for r, a in zip(runs["run"], runs["accuracy"], strict=True)
    }
    out = ablation(runs, outcomes, ["SL", CONTROL]).set_index("method")
    # only the fewest labels, and the longer training is no second SL
    assert out.index.tolist() == ["SL", CONTROL, "X", "SL, 2× epochs, batch 128"]
    assert out["− SL"].tolist()[0] == ""
    assert out.loc[CONTROL, "− SL"].startswith("+25.0 ± 0.0 (p ")
    # by hand: gaps +50 and 0, half-width t(0.975, 1) * 50 / 2
    assert out.loc["X", "− SL"].startswith(f"+25.0 ± {12.7062 * 25:.1f} (p ")
    assert out.loc["X", "− second view"].startswith("+0.0 ±")
    assert out["seeds"].tolist() == [2, 2, 2, 2]
    assert ablation(runs[runs["method"] == "X"], outcomes, ["SL", CONTROL]).empty
    assert "− second view" not in ablation(
        runs[runs["method"] != CONTROL], outcomes, ["SL", CONTROL]
    )


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
        study="28_other_networks", data="faces", task="emotion", init="scratch", augment="weak",
        arch=["tiny", "tiny", "large", "large"], fraction=0.2, epochs=9, bs=64, seed=0,
        method=["SL", "puzzling_2x2 (paired)"] * 2, run=list("abcd"), accuracy=[0, 0.25, 0.5, 1],
    )  # fmt: skip
    outcomes = {name: np.arange(4) < i for name, i in zip("abcd", (0, 1, 2, 4), strict=True)}
    out = study_tables(runs, outcomes)["networks"].set_index(["arch", "method"])["− SL"]
    assert out["tiny", "puzzling_2x2 (paired)"].startswith("+25.0")
    assert out["large", "puzzling_2x2 (paired)"].startswith("+50.0")
    assert out["large", "SL"] == ""


def test_three_sizes_are_said_only_beside_runs_of_one():
    sized = RunSpec(pretexts=("puzzling_2x2",), multiscale=True).method
    both = pd.DataFrame({
        "method": ["SL", sized, PUZZLE], "data": "faces", "task": "emotion", "fraction": 1.0,
        "arch": "tiny", "epochs": 9, "bs": 64,
    })  # fmt: skip
    assert name_trainings(both[:2])["method"].tolist() == ["SL", PUZZLE]
    assert name_trainings(both)["method"].tolist() == ["SL", sized, PUZZLE]


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
