"""Runs -> tables: means with intervals over seeds, paired contrasts, the paper's numbers beside.

Two questions are kept apart. *Would another seed say the same?* The interval and `p (seeds)` are
Student's t over the seeds' means. *Would other faces say the same?* `p (faces)` is a sign-flip test
over the test faces, on the same faces for both methods; it takes a person's faces as independent.
Standard statistics, scipy's; the choice of them is ours.
"""

__all__ = [
    "ABLATIONS", "CONTROL", "PUZZLE", "SCORES", "ablation", "claims", "contrast", "contrasts",
    "correct_by_run", "correct_matrix", "few_labels", "interval", "markdown", "readme_table",
    "recorded_runs", "reported", "study_tables", "summary",
]  # fmt: skip

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from hmtl.paths import reference_dir

RESAMPLES = 9999
PAPERS = Path(__file__).parents[1] / "papers"


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Mean and half-width of its Student t interval; the half-width of one value is nan."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(half)


def _scaled(values: Sequence[float], factor: float = 100) -> str:
    """Mean ± half-width of its interval, both times `factor`, to a tenth."""
    mean, half = interval(values)
    return f"{factor * mean:.1f}" + ("" if np.isnan(half) else f" ± {factor * half:.1f}")


SCORES = {
    "accuracy": ("accuracy %", 100),
    "macro_f1": ("macro F1 %", 100),
    "mean_recall": ("mean recall %", 100),
    "mae": ("MAE °", 1),
    "mae_yaw": ("yaw °", 1),
    "mae_pitch": ("pitch °", 1),
    "mae_roll": ("roll °", 1),
    "geodesic": ("geodesic °", 1),
}
"""Test scores of the tasks: the title of a table's column, and what a score is multiplied by."""


def summary(runs: pd.DataFrame, by: Sequence[str], extra: Sequence[str] = ()) -> pd.DataFrame:
    """One row a combination of the columns `by` of `runs_table`, in the order they first appear.

    Columns: those of `SCORES` that the runs have (of classes accuracy, macro F1 and mean recall in
    %, of head pose errors in degrees) as mean ± half-width of the 95 % interval over seeds, means
    of the columns `extra`, seeds, and CPU seconds a run.
    """
    rows, scores = [], [name for name in SCORES if name in runs and runs[name].notna().any()]
    for key, group in runs.groupby(list(by), sort=False):
        row = dict(zip(by, key, strict=True))
        for name in scores:
            title, factor = SCORES[name]
            row[title] = _scaled(group[name], factor) if group[name].notna().any() else ""
        row |= {name: _round(group[name].mean()) for name in extra if name in group}
        row |= {"seeds": group["seed"].nunique(), "CPU s/run": round(group["cpu_seconds"].mean())}
        rows.append(row)
    return pd.DataFrame(rows)


def _p(value: float) -> str:
    if np.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _round(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def correct_matrix(predictions: Sequence[pd.DataFrame]) -> np.ndarray:
    """Whether each run (row) names each test face (column) rightly, bool (runs, faces).

    Raises ValueError if the runs were tested on different faces, or measure angles, where nothing
    is right or wrong.
    """
    if not all({"predicted", "target"} <= set(table) for table in predictions):
        raise ValueError("runs of head pose have errors in degrees, no right and wrong answers")
    keys = predictions[0]["key"].to_numpy()
    for table in predictions:
        if not np.array_equal(table["key"].to_numpy(), keys):
            raise ValueError("runs tested on different faces cannot be paired")
    return np.stack([(t["predicted"] == t["target"]).to_numpy() for t in predictions])


def correct_by_run(runs: Iterable) -> dict[str, np.ndarray]:
    """Run id -> bool (faces,), whether each test face was named rightly, of finished runs.

    Runs of head pose are left out: their errors are angles.
    """
    named = [run for run in runs if "predicted" in run.predictions]
    return {run.id: correct_matrix([run.predictions])[0] for run in named}


def contrast(treated: np.ndarray, base: np.ndarray, seed: int = 0) -> dict:
    """Paired comparison of two methods, bool (seeds, faces) each, seed by seed and face by face.

    Returns `difference` (mean, accuracy), `half` (half-width of its 95 % t interval over seeds),
    `p_seeds` (paired t-test over seeds; both nan with one seed) and `p_faces` (sign-flip
    permutation over faces, two-sided).
    """
    if treated.shape != base.shape:
        raise ValueError(f"methods differ in seeds or faces: {treated.shape} and {base.shape}")
    by_seed = treated.mean(1) - base.mean(1)
    mean, half = interval(by_seed)
    p_seeds = float("nan")
    if len(by_seed) > 1 and np.ptp(by_seed) > 0:
        p_seeds = float(stats.ttest_rel(treated.mean(1), base.mean(1)).pvalue)
    by_face = treated.mean(0) - base.mean(0)
    return {
        "difference": mean,
        "half": half,
        "p_seeds": p_seeds,
        "p_faces": _sign_flip(by_face, np.random.default_rng(seed)),
    }


def _sign_flip(differences: np.ndarray, rng: np.random.Generator) -> float:
    """Two-sided p of a mean of zero: how often random signs give as large a sum."""
    nonzero = differences[differences != 0]
    if len(nonzero) < 2:  # one flip either way proves nothing
        return 1.0
    test = stats.permutation_test(
        (nonzero,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=rng,
        vectorized=True, batch=500,
    )  # fmt: skip
    return float(test.pvalue)


def contrasts(
    runs: pd.DataFrame, correct: dict[str, np.ndarray], base: str, by: Sequence[str] = ("fraction",)
) -> pd.DataFrame:
    """Every method against the method `base`, one row a method and combination of `by`.

    `runs` is a `runs_table`; `correct` maps a run's id to bool (faces,). Only seeds that both
    methods have are paired. Differences are in percentage points.
    """
    gaps = _gaps(runs, correct, base, by)
    if len(gaps):
        gaps.insert(len(by), "contrast", gaps.pop("method") + f" − {base}")
    return gaps


def _gaps(
    runs: pd.DataFrame, correct: dict[str, np.ndarray], base: str, by: Sequence[str]
) -> pd.DataFrame:
    """The rows of `contrasts` with the column `method` for the contrast."""
    rows = []
    for key, group in runs.groupby(list(by), sort=False):
        reference = group[group["method"] == base].set_index("seed")["run"]
        for method, own in group[group["method"] != base].groupby("method", sort=False):
            own = own.set_index("seed")["run"]
            if own.index.has_duplicates or reference.index.has_duplicates:
                raise ValueError(f"{method} or {base}: several runs of one seed under one name")
            seeds = [s for s in own.index if s in reference.index]
            if not seeds:
                continue
            result = contrast(
                np.stack([correct[own[s]] for s in seeds]),
                np.stack([correct[reference[s]] for s in seeds]),
            )
            half = "" if np.isnan(result["half"]) else f" ± {100 * result['half']:.1f}"
            rows.append(
                {
                    **dict(zip(by, key, strict=True)),
                    "method": method,
                    "points": f"{100 * result['difference']:+.1f}{half}",
                    "p (seeds)": _p(result["p_seeds"]),
                    "p (faces)": _p(result["p_faces"]),
                    "seeds": len(seeds),
                }
            )
    return pd.DataFrame(rows)


CONTROL = "second_view (paired)"
PUZZLE = "puzzling_2x2 (paired)"
ABLATIONS = {
    "tasks": ("11_puzzling", ("SL", CONTROL)),
    "inpainting": ("12_inpainting", ("SL", CONTROL, PUZZLE)),
    "balance": ("13_balance", ("SL", CONTROL, PUZZLE)),
}
"""Tables of small variations, with few labels: the notebook, and what each row is held against."""


def ablation(
    runs: pd.DataFrame, correct: dict[str, np.ndarray], bases: Sequence[str]
) -> pd.DataFrame:
    """`summary` of the runs with the fewest labels, and beside it each row's gap to every base.

    Runs of other lengths or batches than the most are rows of their own. The gap is in points, with
    the half-width of its interval over seeds; its `p` is over faces, by sign flips. Where a base
    was not run the table is empty.
    """
    runs = few_labels(runs)
    if not set(bases) <= set(runs["method"]):
        return summary(runs.iloc[:0], ["data"])
    arms = ["data", "fraction"]
    table = summary(runs, [*arms, "method"])
    cost = ["seeds", "CPU s/run"]
    out = table.drop(columns=["mean recall %", *cost])
    for base in bases:
        gaps = _gaps(runs, correct, base, arms)
        gaps = gaps.rename(columns={"points": f"− {base}", "p (faces)": f"p, {base}"})
        kept = [*arms, "method", f"− {base}", f"p, {base}"]
        out = out.merge(gaps[kept], on=[*arms, "method"], how="left")
    return out.fillna("").assign(**table[cost])


def few_labels(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the fewest labels of each data set, as an `ablation` names them.

    A method is named by its epochs and its batch too, where most runs of its data had others.
    """
    runs = runs[runs["fraction"] == runs.groupby("data")["fraction"].transform("min")]
    method = runs["method"].copy()
    for _, group in runs.groupby("data", sort=False):
        for column, words in (("epochs", "{} epochs"), ("bs", "batch {}")):
            usual = group[column].mode()[0]
            for index, value in group.loc[group[column] != usual, column].items():
                method[index] += f", {words.format(value)}"
    return runs.assign(method=method)


def study_tables(runs: pd.DataFrame, correct: dict[str, np.ndarray]) -> dict[str, pd.DataFrame]:
    """Every table of the study by name, from all its runs; without runs a table is empty.

    `c1` and `c1-contrasts` (ImageNet or scratch), `c2`, `c2-contrasts-sl` (against supervised
    training) and `c2-contrasts-control` (against a second plain view at the same compute), and
    those of `ABLATIONS`.
    """
    c1 = runs[runs["study"] == "10_imagenet_versus_scratch"]
    c2 = runs[runs["study"] == "20_hmtl_emotion"]
    starts, arms = c1.assign(method=c1["init"]), ["data", "fraction"]
    scores = [c for c in c2 if c.endswith("_score") and c2[c].notna().any()]
    emotion = summary(c2, [*arms, "method"], scores)
    if len(emotion):
        emotion["paper: AffectNet %"] = [
            _reported_accuracy(row.method, row.fraction) for row in emotion.itertuples()
        ]
    small = {
        name: ablation(runs[runs["study"] == notebook], correct, bases)
        for name, (notebook, bases) in ABLATIONS.items()
    }
    return {
        "c1": summary(c1, ["data", "init", "augment"]),
        "c1-contrasts": contrasts(starts, correct, "imagenet", ["data", "augment"]),
        "c2": emotion,
        "c2-contrasts-sl": contrasts(c2, correct, "SL", arms),
        "c2-contrasts-control": contrasts(c2, correct, CONTROL, arms),
        **small,
    }


def _reported_accuracy(method: str, fraction: float, backbone: str = "EfficientNet-B0") -> str:
    """What the paper reports for a method and a share of the labels; empty if unknown.

    Its rows do not say which puzzle or which views, so every puzzle of ours has the same one.
    """
    row = "SL" if method == "SL" else "SL + puzzling" if method.startswith("puzzling") else None
    table = reported()
    same = (table["row"] == row) & (table["backbone"] == backbone) & (table["labels"] == fraction)
    found = table.loc[same, "value"]
    return f"{found.iloc[0]:.2f}" if found.notna().any() else ""


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, cells as they print."""
    rows = [list(table), ["---"] * table.shape[1], *table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def readme_table(runs: pd.DataFrame) -> str:
    """README's table in Markdown: test accuracy in %, data and label share by method."""
    c2 = runs[runs["study"] == "20_hmtl_emotion"]
    methods = list(dict.fromkeys(c2["method"]))
    rows = []
    for (data, fraction), group in c2.groupby(["data", "fraction"]):
        cells = [_scaled(group.loc[group["method"] == m, "accuracy"]) for m in methods]
        rows.append(
            [data, f"{fraction:.0%}", *cells, group.groupby("method")["seed"].nunique().min()]
        )
    return markdown(pd.DataFrame(rows, columns=["faces", "labels", *methods, "seeds"]))


def reported(paper: str = "hmtl", folder: Path | None = None) -> pd.DataFrame:
    """The numbers a paper reports, from `papers/<paper>/reported.csv`; empty cells are unknown."""
    return pd.read_csv((folder or PAPERS) / paper / "reported.csv", dtype={"value": float})


def claims(paper: str = "hmtl", folder: Path | None = None) -> pd.DataFrame:
    """The claims of a paper and the notebook that tests each, from `papers/<paper>/claims.csv`."""
    return pd.read_csv((folder or PAPERS) / paper / "claims.csv")


def recorded_runs(folder: Path | None = None) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The committed runs: (runs.csv as a table, run id -> bool (faces,) from correct.npz)."""
    folder = folder or reference_dir()
    runs = pd.read_csv(folder / "runs.csv", keep_default_na=True)
    # what was recorded before there were other tasks
    runs["task"] = runs["task"].fillna("emotion") if "task" in runs else "emotion"
    with np.load(folder / "correct.npz", allow_pickle=False) as packed:
        correct = {
            run: np.unpackbits(packed[run], count=int(faces)).astype(bool)
            for run, faces in zip(runs["run"], runs["test_faces"], strict=True)
            if run in packed  # runs of head pose are neither right nor wrong
        }
    return runs, correct
