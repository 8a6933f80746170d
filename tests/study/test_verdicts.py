"""Verdicts: the interval against theory and brute force, the rule by hand, README by the record."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hmtl.data.sets import recorded_set
from hmtl.faces import table as face_table
from hmtl.paths import reference_dir
from hmtl.study import verdicts
from hmtl.study.plan import seeds_planned
from hmtl.study.plots import plot_verdicts
from hmtl.study.tables import claims, recorded_runs, supervised_runs
from hmtl.study.verdicts import (
    ASSERTED,
    EFFECT_COLUMNS,
    MIN_SEEDS,
    POSE_MARGIN,
    PRIOR,
    Effect,
    bootstrap_interval,
    effect_table,
    estimate,
    holm,
    judge,
    people_tested,
    plateau_table,
    pooled_variance,
    readme_verdicts,
    unit_scores,
    verdict_table,
)


def test_one_runs_interval_is_that_of_its_resampled_means():
    values = np.random.default_rng(0).normal(1, 2, 300)
    drawn = np.random.default_rng(1).choice(values, (9000, 300)).mean(1)
    mean, low, high = bootstrap_interval(values)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.02)
    assert np.isnan(bootstrap_interval(values[:1])[1:]).all()  # of one face there is none


def test_the_people_are_those_of_the_rendered_test_faces():
    runs, outcomes = recorded_runs()
    own = runs[(runs["data"] == "faces") & runs["run"].isin(set(outcomes))]
    people = people_tested(own)
    answers = outcomes[own["run"].iloc[0]]
    assert people.shape == answers.shape
    sizes = np.bincount(people)
    assert len(sizes) == int(own["people"].iloc[0].split("/")[2])
    assert set(sizes) == {len(people) // len(sizes)}
    assert people_tested(runs[runs["data"] == "ferplus"]) is None
    assert people_tested(own.drop(columns="people")) is None


def test_a_cell_of_the_plan_is_judged_when_whole():
    assert judge(Effect(3, 1, 5, 9), wanted=10) == "undecided (9 of 10 seeds)"
    assert judge(Effect(3, 1, 5, 10), wanted=10) == "supported"
    assert seeds_planned("faces", "emotion", "few") == 10
    assert seeds_planned("ferplus", "emotion", "few") == 6
    assert seeds_planned("faces", "age", "few") == 0


def test_people_are_known_without_drawing_their_faces():
    for data, people in (("mini", ""), ("faces", "6/2/7")):
        drawn = face_table.tested_faces(recorded_set(data, people, 48))["person"]
        runs = pd.DataFrame({"data": [data], "people": [people], "size": [48]})
        np.testing.assert_array_equal(people_tested(runs), pd.factorize(drawn)[0])


@pytest.mark.parametrize(
    ("low", "high", "better", "not_worse"),
    [
        (0.2, 3.0, "supported", "supported"),
        (-3.0, -0.2, "refuted", "undecided"),
        (-3.0, -1.2, "refuted", "refuted"),
        (-0.8, 0.9, "equivalent", "supported"),
        (-2.0, 0.9, "undecided", "undecided"),
        (-0.9, 2.0, "undecided", "supported"),
    ],
)
def test_the_rule_by_hand(low, high, better, not_worse):
    effect = Effect((low + high) / 2, low, high, MIN_SEEDS)
    assert judge(effect) == better
    assert judge(effect, "not worse") == not_worse
    assert judge(effect._replace(seeds=3)) == "undecided (3 of 6 seeds)"
    with pytest.raises(ValueError, match="better or not worse"):
        judge(effect, "identical")


LONGER = "SL, 2× epochs"


def made(effects: dict, faces: int = 400, seeds: dict | None = None) -> tuple[pd.DataFrame, dict]:
    """Runs of methods whose accuracy is given, by fraction, with six seeds or those of a fraction.

    Supervised training gains nothing from twice the epochs unless that is given.
    """
    rows, outcomes, rng = [], {}, np.random.default_rng(5)
    longer = {(LONGER, f): a for (m, f), a in effects.items() if m == "SL"}
    for (method, fraction), accuracy in (longer | effects).items():
        for seed in range((seeds or {}).get(fraction, MIN_SEEDS)):
            run = f"{method}-{fraction}-{seed}"
            rows.append((run, "s", "faces", method, fraction, seed, 10, 64))
            outcomes[run] = np.arange(faces) < round(faces * accuracy) + rng.integers(3)
    return pd.DataFrame(
        rows, columns=["run", "study", "data", "method", "fraction", "seed", "epochs", "bs"]
    ), outcomes


CLAIM = {
    "id": "X", "short": "it helps", "claim": "it helps", "notebook": "s", "asks": "better",
    "unit": "points", "column": "method", "treated": "T", "base": "SL", "control": "two",
    "longer": "", "where": "fraction=0.2", "versus": "",
}  # fmt: skip


def test_a_claim_is_judged_against_its_base_and_against_its_control():
    runs, outcomes = made({("T", 0.2): 0.6, ("SL", 0.2): 0.5, ("two", 0.2): 0.7})
    (row,) = verdict_table(runs, outcomes, pd.DataFrame([CLAIM])).to_dict("records")
    assert (row["verdict"], row["verdict, second view"]) == ("supported", "refuted")
    assert row["effect"].startswith("+10.")
    assert row["− second view"].startswith(("-10.", "-9."))
    assert row["n"] == "6 × 400"
    effects = effect_table(runs, outcomes, pd.DataFrame([CLAIM]))
    assert effects["kind"].tolist() == ["base", "control"]  # `longer` was not asked for
    mean = {m: np.mean([outcomes[f"{m}-0.2-{s}"] for s in range(6)]) for m in ("T", "SL", "two")}
    gains = [100 * (mean["T"] - mean[base]) for base in effects["base"]]
    assert effects["gain"].to_numpy() == pytest.approx(gains)
    assert (effects["low"] < effects["gain"]).all()
    assert (effects["gain"] < effects["high"]).all()


def test_the_figure_shows_each_contrast_and_whether_it_is_decided():
    rows = [
        ("A", "faces", "base", "SL", "points", 2.0, 1.0, 3.0, 5, "supported"),
        ("A", "faces", "control", "two", "points", -1.0, -30.0, 40.0, 5, "undecided"),
        ("B", "faces", "base", "SL", "points", 20.0, 4.0, 36.0, 5, "supported"),
        ("B", "faces", "longer", "SL", "points", -44.0, -50.0, -38.0, 5, "refuted"),
        ("P", "faces", "base", "SL", "degrees", 0.1, -0.1, 0.3, 2, "undecided (2 of 5 seeds)"),
    ]
    columns = [name for name in EFFECT_COLUMNS if name not in ("short", "test_faces")]
    effects = pd.DataFrame(rows, columns=columns)
    effects["short"] = effects["claim"].map({"A": "one", "B": "two", "P": "three"})
    figure = plot_verdicts(effects)
    points, degrees = figure.axes
    assert [label.get_text() for label in points.get_yticklabels()] == [
        "A: one, rendered faces", "B: two, rendered faces"
    ]  # fmt: skip
    dots = {
        (axis, round(float(line.get_xdata()[0]), 3)): line.get_markerfacecolor() != "white"
        for axis in figure.axes
        for line in axis.lines
        if line.get_marker() in ("o", "s", "^")
    }
    assert dots == {
        (points, 2.0): True, (points, -1.0): False, (points, 20.0): True, (points, -44.0): True,
        (degrees, 0.1): False,
    }  # fmt: skip
    ends = [bar.get_segments()[0][:, 0] for bar in points.collections]
    assert np.allclose(ends, [[1, 3], [-30, 40], [4, 36], [-50, -38]])
    assert points.get_xlim()[0] < -50, "no interval is cut"
    assert points.get_xlim()[1] > 40
    plt.close(figure)


def test_head_pose_is_judged_by_degrees_saved_and_by_its_own_margin():
    runs, _ = made({("T", 0.2): 0.5, ("SL", 0.2): 0.5, ("two", 0.2): 0.5})
    rng = np.random.default_rng(1)
    level = {"T": 5.0, "SL": 5.05, LONGER: 5.02, "two": 3.0}

    def judged(**changes):
        errors = {
            row.run: (level[row.method] + 0.01 * rng.random(400)).astype(np.float32)
            for row in runs.itertuples()
        }
        claim = CLAIM | {"unit": "degrees"} | changes
        (row,) = verdict_table(runs, errors, pd.DataFrame([claim])).to_dict("records")
        return row

    row = judged()
    assert row["effect"].startswith("+0.05° [+0.0")
    assert (row["verdict"], row["verdict, second view"]) == ("supported", "refuted")
    assert judged(treated="SL", base="T")["verdict"] == "refuted"
    level[LONGER] = 4.9  # more than a tenth of a degree is still to be had
    assert judged()["verdict"] == "not tested"
    assert judge(Effect(0.02, -0.05, 0.09, 6), margin=POSE_MARGIN) == "equivalent"
    assert judge(Effect(0.02, -0.05, 0.19, 6), margin=POSE_MARGIN) == "undecided"


def test_a_length_at_the_plateau_counts_where_the_trainings_have_it():
    """24 epochs gain ten points from 48, those none from 96: what is judged at 48 is ready."""
    shares = {("T", 1.0): 0.75, ("SL", 1.0): 0.7}
    half, ready = "SL, 0.5× epochs", []
    for usual in ("SL", half):  # the trainings that are judged lie beside this length
        effects = shares | {(half, 1.0): 0.6, (LONGER, 1.0): 0.705}
        runs, outcomes = made(effects)
        if usual == half:  # each name is of the length before
            names = {half: "SL", "SL": LONGER, LONGER: "SL, 4× epochs"}
            runs["method"] = runs["method"].replace(names)
        claim = pd.DataFrame([CLAIM | {"where": "fraction=1.0", "control": ""}])
        (row,) = verdict_table(runs, outcomes, claim).to_dict("records")
        ready.append(row["verdict"])
        table = plateau_table(runs.assign(task="emotion"), outcomes)
        assert table["reached"].tolist() == [False, True]
        assert np.allclose(table["gain"], [10, 0.5], atol=0.5)
    assert ready == ["supported", "not tested"]


@pytest.mark.parametrize(
    ("few", "verdict"), [(10, "supported"), (9, "undecided (9 of 10 seeds)"), (12, "supported")]
)
def test_each_training_of_a_contrast_has_the_seeds_of_its_own_plan(few, verdict):
    """Ten seeds of few labels and six of all are planned; a contrast of both needs just these."""
    shares = {("T", 0.1): 0.6, ("SL", 0.1): 0.4, ("T", 1.0): 0.7, ("SL", 1.0): 0.7}
    runs, outcomes = made(shares, seeds={0.1: few})
    runs = runs.assign(study="decide", task="emotion")
    claim = CLAIM | {"where": "share=few", "versus": "share=all", "control": ""}
    (row,) = verdict_table(runs, outcomes, pd.DataFrame([claim])).to_dict("records")
    assert row["verdict"] == verdict
    assert row["effect"].startswith(("+19.", "+20."))


@pytest.mark.parametrize(
    ("study", "seeds", "shown"),
    [
        ("decide", 2, ""),
        ("s", 2, "undecided (2 of 6 seeds)"),
        ("decide", 3, "undecided (3 of 6 seeds)"),
        ("10_imagenet_versus_scratch", 2, ""),  # of the plan too, kept apart
        ("10_imagenet_versus_scratch", 3, "undecided (3 of 6 seeds)"),
    ],
)
def test_of_a_training_of_the_plan_nothing_is_shown_before_its_third_seed(study, seeds, shown):
    runs, outcomes = made({("SL", 0.2): 0.5, ("T", 0.2): 0.6})
    runs = runs[(runs["method"] != "T") | (runs["seed"] < seeds)].assign(
        study=study, task="emotion"
    )
    claim = pd.DataFrame([CLAIM | {"notebook": study}])
    (row,) = verdict_table(runs, outcomes, claim).to_dict("records")
    assert row["verdict"] == shown
    assert bool(row["effect"]) == bool(shown)


def test_conditions_are_joined():
    runs, outcomes = made({("T", 0.2): 0.6, ("SL", 0.2): 0.5, ("T", 1.0): 0.7, ("SL", 1.0): 0.7})
    claim = pd.DataFrame([CLAIM | {"where": "fraction=0.2 & data=faces", "control": ""}])
    assert verdict_table(runs, outcomes, claim)["verdict"].tolist() == ["supported"]
    claim = pd.DataFrame([CLAIM | {"where": "fraction=0.2 & data=ferplus"}])
    assert verdict_table(runs, outcomes, claim)["verdict"].tolist() == [""]


@pytest.mark.parametrize("longer", [0.50, 0.58, None])
def test_starts_are_held_against_each_other_at_their_usual_lengths(longer):
    """20 epochs from ImageNet, 60 from nothing, and 120 that say whether 60 were enough."""
    runs, outcomes = made({("SL", 0.2): 0.5, ("T", 0.2): 0.52})
    runs = runs[runs["method"] != LONGER]
    scratch = runs["method"] == "SL"
    runs = runs.assign(
        init=scratch.map({True: "scratch", False: "imagenet"}), method="SL",
        epochs=scratch.map({True: 60, False: 20}), task="emotion",
    )  # fmt: skip
    if longer:
        more = runs[scratch & (runs["seed"] < 3)]
        more = more.assign(epochs=120, run=more["run"] + " longer")
        outcomes |= {run: np.arange(400) < 400 * longer for run in more["run"]}
        runs = pd.concat([runs, more], ignore_index=True)
    own = CLAIM | {"column": "init", "treated": "scratch", "base": "imagenet", "control": ""}
    claim = pd.DataFrame([own | {"asks": "not worse", "family": "apart"}])
    (row,) = verdict_table(runs, outcomes, claim).to_dict("records")
    assert row["n"] == "6 × 400"
    assert float(row["effect"].split()[0]) == pytest.approx(-2, abs=0.5)
    assert row["verdict"] == ("undecided" if longer == 0.5 else "not tested")


def test_a_larger_gain_is_a_gain_of_gains():
    levels = {("T", 0.2): 0.6, ("SL", 0.2): 0.5, ("T", 1.0): 0.72, ("SL", 1.0): 0.7}
    runs, outcomes = made(levels)
    claim = pd.DataFrame([CLAIM | {"versus": "fraction=1", "control": ""}])
    (row,) = verdict_table(runs, outcomes, claim).to_dict("records")
    assert row["verdict"] == "supported"
    assert float(row["effect"].split()[0]) == pytest.approx(8, abs=0.5)
    assert row["verdict, second view"] == ""


def test_what_was_not_run_has_no_verdict_and_what_is_unclear_is_refused():
    runs, outcomes = made({("SL", 0.2): 0.5})
    (row,) = verdict_table(runs, outcomes, pd.DataFrame([CLAIM])).to_dict("records")
    assert (row["claim"], row["short"], row["verdict"]) == ("X", "it helps", "")
    assert (row["contrast"], row["n"]) == ("T − SL, fraction=0.2", "")
    runs, outcomes = made({("T", 0.2): 0.6, ("SL", 0.2): 0.5, ("T", 1.0): 0.7, ("SL", 1.0): 0.7})
    with pytest.raises(ValueError, match="several runs"):
        verdict_table(runs, outcomes, pd.DataFrame([CLAIM | {"where": ""}]))
    with pytest.raises(ValueError, match="no column"):
        verdict_table(runs, outcomes, pd.DataFrame([CLAIM | {"where": "labels_=1"}]))


def test_readme_shows_each_effect_with_its_verdict_behind_it():
    runs, outcomes = made({("T", 0.2): 0.6, ("SL", 0.2): 0.5, ("two", 0.2): 0.6})
    asked = [CLAIM, CLAIM | {"id": "Y", "notebook": "t"}, CLAIM | {"id": "Z", "asks": "identical"}]
    asked[2]["column"] = ""
    table = verdict_table(runs, outcomes, pd.DataFrame(asked))
    table.loc[0, "verdict, second view"] = "undecided (2 of 5 seeds)"
    title, _, *rows = readme_verdicts(table).replace("\N{NO-BREAK SPACE}", " ").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (title, *rows)]
    x, y, z = (dict(zip(cells[0], row, strict=True)) for row in cells[1:])
    assert x["claim"] == "X: it helps"
    assert x["effect"] == f"{table['effect'][0]} **supported**"
    assert x["− second view"].endswith("] undecided (2 of 5 seeds)")
    assert x["− twice the epochs"] == ""
    assert (y["effect"], y["n"]) == ("not tested yet", "")
    assert z["effect"] == ASSERTED


def test_readme_names_a_claim_once_for_both_kinds_of_faces():
    runs, outcomes = made({("T", 0.2): 0.6, ("SL", 0.2): 0.5})
    real = runs.assign(data="ferplus", run="real-" + runs["run"])
    both = outcomes | {f"real-{run}": faces for run, faces in outcomes.items()}
    asked = pd.DataFrame([CLAIM, CLAIM | {"id": "Y"}])
    table = verdict_table(pd.concat([runs, real]), both, asked)
    lines = readme_verdicts(table).splitlines()[2:]
    told = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines]
    assert told == [
        ["X: it helps", "faces", "T − SL, fraction=0.2"], ["", "ferplus", ""],
        ["Y: it helps", "faces", "T − SL, fraction=0.2"], ["", "ferplus", ""],
    ]  # fmt: skip


def test_every_claim_of_the_paper_has_a_row():
    table = verdict_table(*recorded_runs())
    assert set(table["claim"]) == set(claims()["id"])
    known = (
        "supported",
        "refuted",
        "equivalent",
        "undecided",
        "asserted",
        "exploratory",
        "not",
        "",
    )
    assert set(table.loc[table["verdict"] == ASSERTED, "claim"]) == {"C8"}
    for column in table.filter(like="verdict"):
        assert table[column].str.split(" ").str[0].isin(known).all()


def test_a_person_s_faces_count_together_and_a_class_as_much_as_another():
    rng = np.random.default_rng(2)
    truth, people = rng.integers(0, 3, 120), np.repeat(np.arange(40), 3)
    right = rng.random((4, 120)) < 0.7
    recall = [[100 * right[s, truth == c].mean() for c in range(3)] for s in range(4)]
    assert unit_scores(right, people, truth).mean(1) == pytest.approx(np.mean(recall, 1))
    assert unit_scores(right, people).shape == (4, 40)
    assert unit_scores(right, people).mean(1) == pytest.approx(100 * right.mean(1))
    degrees = rng.random((4, 120)).astype(np.float32)
    assert unit_scores(degrees).mean(1) == pytest.approx(-degrees.mean(1))
    with pytest.raises(ValueError, match="40 faces have a person, 120 were tested"):
        unit_scores(right, np.arange(40))
    with pytest.raises(ValueError, match="9 faces have a class"):
        unit_scores(right, truth=np.arange(9))


def test_without_faces_that_differ_it_is_the_t_test_of_unpaired_seeds():
    """Where one pool is all there is and each arm has its own variance, by scipy."""
    rng = np.random.default_rng(0)
    one, two = rng.normal(1, 1, (6, 1)), rng.normal(0, 1, (6, 1))
    cells = [np.repeat(v, 50, 1) for v in (one, two)]
    pool = pooled_variance(cells)
    assert pool == pytest.approx(((one.var(ddof=1) + two.var(ddof=1)) / 2, 10))
    known = estimate(cells, (1, -1), (pool[0], 10**9))  # as if many cells told that variance
    wanted = stats.ttest_ind(one, two)
    shrunk = [(PRIOR * pool[0] + 5 * v.var(ddof=1)) / (PRIOR + 5) / 6 for v in (one, two)]
    assert known.mean == pytest.approx(one.mean() - two.mean())
    assert known.error == pytest.approx(np.sqrt(sum(shrunk)))
    assert known.error == pytest.approx(abs(known.mean / wanted.statistic[0]))  # equal numbers
    assert known.p < wanted.pvalue[0]  # for the same error: more degrees of freedom


def test_it_covers_other_seeds_and_other_people_once():
    rng = np.random.default_rng(7)
    hits = np.zeros(2)
    for _ in range(400):
        people = rng.normal(0, 6, (1, 150))
        cells = [
            people + rng.normal(0, 3, (1, 150)) + rng.normal(0, 0.5, (6, 1))
            + rng.normal(0, 8, (6, 150)) for _ in range(4)
        ]  # fmt: skip
        pool = pooled_variance(cells)
        known = estimate(cells[:2], (1, -1), pool)
        low, high = known.interval()
        hits += low < 0 < high, known.p > 0.05
    assert (hits == hits[0]).all()
    assert 0.925 < hits[0] / 400 < 0.975


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.02], 3) == [True, True, True]
    assert holm([0.04, 0.01, 0.03], 3) == [False, True, False]
    assert holm([0.01], 6) == [False]  # those not run yet count
    assert holm([0.008], 6) == [True]
    assert holm([], 4) == []


def test_controls_are_asked_only_where_the_claim_is_decided():
    levels = {("T", 0.2): 0.502, ("SL", 0.2): 0.5, ("two", 0.2): 0.7}
    (row,) = verdict_table(*made(levels), pd.DataFrame([CLAIM])).to_dict("records")
    assert row["verdict"] in ("equivalent", "undecided")
    assert row["verdict, second view"] == "exploratory"
    after = CLAIM | {"id": "Y", "family": "after X", "treated": "two", "control": ""}
    table = pd.DataFrame([CLAIM | {"family": "primary"}, after])
    assert verdict_table(*made(levels), table)["verdict"].tolist()[1] == "exploratory"
    told = verdict_table(*made(levels | {("T", 0.2): 0.6}), table)
    assert told["verdict"].tolist() == ["supported", "supported"]
    assert told["holds"].tolist() == ["1 of 1", "1 of 1"]


@pytest.mark.parametrize("gain", [0.009, 0.011, None])
def test_what_still_gains_from_twice_the_epochs_is_not_tested(gain):
    levels = {("T", 0.2): 0.6, ("SL", 0.2): 0.5, ("two", 0.2): 0.4}
    runs, outcomes = made(levels | {(LONGER, 0.2): 0.5 + (gain or 0)}, faces=4000)
    if gain is None:
        runs = runs[runs["method"] != LONGER]
    (row,) = verdict_table(runs, outcomes, pd.DataFrame([CLAIM])).to_dict("records")
    reached = gain is not None and gain < 0.01
    assert row["verdict"] == ("supported" if reached else "not tested")
    assert (row["verdict, second view"] == "exploratory") != reached
    table = plateau_table(runs.assign(task="emotion"), outcomes)
    assert len(table) == (gain is not None)
    assert (table["reached"] == reached).all()


def test_a_verdict_does_not_move_because_other_questions_are_asked():
    levels = {("T", 0.2): 0.6, ("SL", 0.2): 0.5, ("two", 0.2): 0.55}
    runs, outcomes = made(levels)
    alone = effect_table(runs, outcomes, pd.DataFrame([CLAIM]))
    others = [CLAIM | {"id": f"E{i}", "family": "exploratory"} for i in range(30)]
    asked = pd.DataFrame([CLAIM | {"family": "primary"}, *others])
    beside = effect_table(runs, outcomes, asked)
    pd.testing.assert_frame_equal(beside[beside["claim"] == "X"], alone)


def test_supervised_training_in_the_puzzles_place_gets_no_verdict_in_any_cell(monkeypatch):
    """The placebo, on the committed record: some seeds of a training against the others."""
    monkeypatch.setattr(verdicts, "MIN_SEEDS", 2)
    monkeypatch.setattr(verdicts, "seeds_planned", lambda *_: 0)
    runs, outcomes = recorded_runs()
    runs = runs[runs["task"] == "emotion"]
    own = supervised_runs(runs)
    claim = claims().fillna("").set_index("id", drop=False).loc[["C4"]]
    moved = own[own["seed"] % 2 == 0].assign(method="T")
    both = pd.concat([runs[~runs["run"].isin(moved["run"])], moved])
    asked = 0
    for share in ("few", "all"):
        here = claim.assign(treated="T", where=f"share={share}")
        table = effect_table(both, outcomes, here)
        assert not table["verdict"].isin(("supported", "refuted", "equivalent")).any()
        asked += (table["kind"] == "base").sum()
    assert asked == 4


def test_another_task_is_no_second_run_of_a_seed():
    runs, outcomes = made({("T", 0.2): 0.6, ("SL", 0.2): 0.5})
    runs = runs.assign(task="emotion")
    other = runs.assign(run="pose-" + runs["run"], task="head_pose")
    both = outcomes | {f"pose-{run}": np.ones(400, np.float32) for run in outcomes}
    table = pd.DataFrame([CLAIM | {"control": ""}])
    alone = effect_table(runs, outcomes, table)
    pd.testing.assert_frame_equal(effect_table(pd.concat([runs, other]), both, table), alone)


def test_every_verdict_follows_from_the_stored_answers():
    runs, outcomes = recorded_runs()
    told = verdict_table(runs, outcomes)
    file = reference_dir() / "tables" / "verdicts.csv"
    stored = pd.read_csv(file, dtype="string", keep_default_na=False)
    pd.testing.assert_frame_equal(told.reset_index(drop=True), stored, check_dtype=False)
