"""Runs -> tables: means with intervals over seeds, paired gaps, the paper's numbers beside.

Intervals are Student's t over the seeds' means. What is decided, for other faces too, is
`hmtl.study.verdicts`. Standard statistics, scipy's; the choice of them is ours.
"""

__all__ = [
    "CONTROL", "LONGER", "PLAN", "PUZZLE", "SCORES", "Outcomes", "claims",
    "gain_by_face", "gains", "interval", "markdown", "name_trainings",
    "near_chance", "outcome_by_face", "outcomes_by_run", "planned", "recorded_runs", "reported",
    "reported_effect", "small_variations", "study_tables", "summary", "supervised_runs",
    "write_outcomes",
]  # fmt: skip

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hmtl.data.sets import RENDERED
from hmtl.files import read_table, reading
from hmtl.paths import reference_dir

_SIZES = ", three sizes"  # what `RunSpec.method` says of `multiscale`
PAPERS = Path(__file__).parents[2] / "papers"


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Mean and half-width of its Student t interval; the half-width of one value is nan.

    Values that are nan, of runs that failed, are left out; without any other the mean is nan.
    """
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    if len(known) < 2:
        return float(known[0]) if len(known) else float("nan"), float("nan")
    half = stats.t.ppf(0.5 + level / 2, len(known) - 1) * stats.sem(known)
    return float(known.mean()), float(half)


def _scaled(values: Sequence[float], factor: float = 100) -> str:
    """Mean ± half-width of its interval, both times `factor`: % to a tenth, degrees to a hundredth.

    The margin for head pose is a tenth of a degree.
    """
    mean, half = interval(values)
    if np.isnan(mean):
        return ""
    digits = 1 if factor == 100 else 2  # only shares are shown in %
    spread = "" if np.isnan(half) else f" ± {factor * half:.{digits}f}"
    return f"{factor * mean:.{digits}f}{spread}"


SCORES = {
    "accuracy": ("accuracy %", 100),
    "macro_f1": ("macro F1 %", 100),
    "mean_recall": ("mean recall %", 100),
    "accuracy_at_best": ("at best epoch %", 100),
    "mae": ("MAE °", 1),
    "mae_yaw": ("yaw °", 1),
    "mae_pitch": ("pitch °", 1),
    "mae_roll": ("roll °", 1),
    "geodesic": ("geodesic °", 1),
    "mae_at_best": ("at best epoch °", 1),
}
"""Test scores of the tasks: the title of a table's column, and what a score is multiplied by.

They are of the last epoch, but for those "at best epoch", the one best on the valid split.
"""


def summary(runs: pd.DataFrame, by: Sequence[str], extra: Sequence[str] = ()) -> pd.DataFrame:
    """One row a combination of the columns `by` of `runs_table`, in the order they first appear.

    Columns: those of `SCORES` that the runs have (of classes accuracy, macro F1 and mean recall in
    %, of head pose errors in degrees) as mean ± half-width of the 95 % interval over seeds, means
    of the columns `extra`, seeds, and CPU seconds a run. If any run failed, `failed` counts those
    of each row; they are among its seeds, its scores are those of the others. A score that one of
    these lacks, recorded before it was kept, is left empty: no cell is of fewer seeds than its row.
    """
    failed = _failed(runs)
    rows, scores = [], [name for name in SCORES if name in runs and runs[name].notna().any()]
    for key, group in runs.groupby(list(by), sort=False):
        row = dict(zip(by, key, strict=True))
        for name in scores:
            title, factor = SCORES[name]
            whole = group.loc[~failed[group.index], name].notna().all()
            row[title] = _scaled(group[name], factor) if whole else ""
        told = {name: f"{group[name].mean():.2f}" for name in extra if name in group}
        row |= {name: value.replace("nan", "") for name, value in told.items()}
        row |= {"seeds": group["seed"].nunique(), "CPU s/run": round(group["cpu_seconds"].mean())}
        if failed.any():
            row["failed"] = int(failed[group.index].sum())
        rows.append(row)
    return pd.DataFrame(rows)


def _failed(runs: pd.DataFrame) -> pd.Series:
    """Which runs of a `runs_table` failed, bool."""
    if "failure" not in runs:
        return pd.Series(False, index=runs.index)
    return runs["failure"].notna() & (runs["failure"] != "")


def outcome_by_face(predictions: pd.DataFrame) -> np.ndarray:
    """What became of each test face: bool, named rightly or not; of head pose float32, degrees.

    Degrees are the mean absolute error over the angles. Raises ValueError for predictions that
    answer nothing, of a pre-training say.
    """
    if {"predicted", "target"} <= set(predictions):
        return (predictions["predicted"] == predictions["target"]).to_numpy()
    angles = [name.removeprefix("target_") for name in predictions.filter(regex="^target_")]
    if not angles:
        raise ValueError("these predictions hold no answers: no class and no angle")
    gaps = [(predictions[f"predicted_{a}"] - predictions[f"target_{a}"]).abs() for a in angles]
    return np.mean(gaps, axis=0).astype(np.float32)


class Outcomes(dict):
    """Run id -> `outcome_by_face`, (faces,); of classes also what was said and what was true.

    Attributes:
        predicted: Run id -> class named, uint8 (faces,).
        truth: (fingerprint of the data, task) -> true class, uint8 (faces,).
    """

    def __init__(self) -> None:
        super().__init__()
        self.predicted: dict[str, np.ndarray] = {}
        self.truth: dict[tuple[str, str], np.ndarray] = {}

    def add(self, other: "Outcomes") -> None:
        """Take in those of other runs."""
        self.update(other)
        self.predicted |= other.predicted
        self.truth |= other.truth

    def answer(self, run: str, pack: str, task: str, predicted: np.ndarray) -> None:
        """Add a run by the classes it named; their truth is there."""
        self.predicted[run] = predicted
        self[run] = predicted == self.truth[pack, task]


def outcomes_by_run(runs: Iterable) -> Outcomes:
    """The outcomes of finished runs; those without answers are left out.

    Raises ValueError if runs of one data set and task were tested on different faces.
    """
    outcomes = Outcomes()
    keys: dict[tuple[str, str], pd.Series] = {}
    for run in runs:
        task = run.spec.make_task()
        if not task.columns or run.failure:
            continue
        told = run.predictions
        tested = keys.setdefault((run.pack, run.spec.task), told["key"])
        if not tested.equals(told["key"]):
            raise ValueError(f"{run.id} was tested on other faces than the runs beside it")
        if task.has_classes:
            index = {name: i for i, name in enumerate(task.names)}
            said, true = (told[n].map(index).to_numpy(np.uint8) for n in ("predicted", "target"))
            outcomes.truth[run.pack, run.spec.task] = true
            outcomes.answer(run.id, run.pack, run.spec.task, said)
        else:
            outcomes[run.id] = outcome_by_face(told)
    return outcomes


def gain_by_face(treated: np.ndarray, base: np.ndarray) -> np.ndarray:
    """How much better `treated` did than `base`, of outcomes of one shape; float, the same shape.

    Points of accuracy (100 where one is right and the other is not); of head pose degrees less.
    Raises ValueError if the two differ in seeds or faces, or in kind.
    """
    if treated.shape != base.shape:
        raise ValueError(f"methods differ in seeds or faces: {treated.shape} and {base.shape}")
    if (treated.dtype == bool) != (base.dtype == bool):
        raise ValueError("classes and degrees do not compare")
    if treated.dtype == bool:
        return 100.0 * treated - 100.0 * base
    return base.astype(float) - treated


def _gaps(
    runs: pd.DataFrame, outcomes: dict[str, np.ndarray], base: str, by: Sequence[str]
) -> pd.DataFrame:
    """Every method against the method `base`: one row a method and combination of `by`.

    Only seeds that both methods have, and where none of the two failed, are paired. `gain` is in
    points of accuracy, or, of head pose, in degrees less error, with the half-width of its 95 % t
    interval over seeds.
    """
    rows = []
    runs = runs[~_failed(runs)]
    for key, group in runs.groupby(list(by), sort=False):
        reference = group[group["method"] == base].set_index("seed")["run"]
        for method, own in group[group["method"] != base].groupby("method", sort=False):
            own = own.set_index("seed")["run"]
            if own.index.has_duplicates or reference.index.has_duplicates:
                raise ValueError(f"{method} or {base}: several runs of one seed under one name")
            seeds = own.index.intersection(reference.index)
            if seeds.empty:
                continue
            treated, plain = (np.stack([outcomes[of[s]] for s in seeds]) for of in (own, reference))
            mean, half = interval(gain_by_face(treated, plain).mean(1))
            digits = 1 if plain.dtype == bool else 2
            spread = "" if np.isnan(half) else f" ± {half:.{digits}f}"
            told = {"method": method, "gain": f"{mean:+.{digits}f}{spread}"}
            rows.append(dict(zip(by, key, strict=True)) | told)
    return pd.DataFrame(rows)


CONTROL = "second_view (paired)"
PUZZLE = "puzzling_2x2 (paired)"
LONGER = "SL, 2× epochs"
_SHORT = {CONTROL: "second view", PUZZLE: "puzzling 2×2", LONGER: "2× epochs"}
FEWEST = 3  # seeds of a training that is shown or judged
PLAN = "decide"
"""The study that the runs of papers/hmtl/plan.csv are recorded under."""


def gains(
    runs: pd.DataFrame,
    outcomes: dict[str, np.ndarray],
    bases: Sequence[str],
    by: Sequence[str] = ("data", "fraction"),
) -> pd.DataFrame:
    """`summary` of the runs, trainings by their full names, and each one's gap to every base.

    Args:
        runs: Rows of `runs_table`. Of those without an answer of their own, pre-trainings, nothing
            is said; of those that failed, that they did.
        outcomes: Run id -> `outcome_by_face`.
        bases: Full names. Without runs of any the table is empty.
        by: Columns that tell cells apart.

    Returns:
        A row a training of a cell. A gap is paired by seed and face, in points or degrees less,
        with the half-width of its 95 % t interval over seeds.

    Raises:
        ValueError: A training of a cell has several runs of one seed.
    """
    runs = name_trainings(runs[runs["run"].isin(set(outcomes)) | _failed(runs)])
    bases = [base for base in bases if base in set(runs["method"])]
    by = list(by)
    table = summary(runs, [*by, "method"])
    if not bases:
        return table.iloc[:0]
    cost = [name for name in ("seeds", "failed", "CPU s/run") if name in table]
    out = table.drop(columns=["mean recall %", *cost], errors="ignore")
    for base in bases:
        gaps = _gaps(runs, outcomes, base, by)
        if gaps.empty:
            continue
        gaps = gaps.rename(columns={"gain": f"− {_SHORT.get(base, base)}"})
        out = out.merge(gaps, on=[*by, "method"], how="left")
    return out.fillna("").assign(**table[cost])


def name_trainings(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the full name of each training in `method`.

    "puzzling_2x2 → SL" starts from another run's weights. Where most runs of the same data, task
    and labels were of another length or batch, the name says so: "SL, 2× epochs", "SL, batch 128".
    Starts from ImageNet have a usual length of their own.
    Views at three sizes are said only where other runs beside them have one.
    """
    rows = runs.reset_index(drop=True)
    method = rows["method"].copy()
    if "start" in rows:
        follows = rows["start"].notna() & ~rows["start"].isin(["", "scratch", "imagenet"])
        method[follows] = rows["start"][follows] + " → " + method[follows]
    cells = [rows[name] for name in ("data", "task", "fraction", "arch") if name in rows]
    if "init" in rows:
        cells.append(rows["init"] == "imagenet")
    for _, group in rows.groupby(cells, sort=False):
        views = method[group.index][group["method"].str.contains("(paired", regex=False)]
        if views.str.contains(_SIZES, regex=False).all():
            method[views.index] = views.str.replace(_SIZES, "", regex=False)
        for column in ("epochs", "bs"):
            usual = group[column].mode()[0]
            for index, value in group.loc[group[column] != usual, column].items():
                word = f"{value / usual:g}× epochs" if column == "epochs" else f"batch {value}"
                method[index] += f", {word}"
    return runs.assign(method=method.array)


def supervised_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Plain supervised runs of emotion at their usual length, each once; none that failed."""
    own = name_trainings(runs[runs["task"] == "emotion"])
    return own[(own["method"] == "SL") & ~_failed(own)].drop_duplicates("run")


def near_chance(runs: pd.DataFrame, classes: int = 8) -> str:
    """A line a training, with the seeds of a `runs_table` at which it is near chance: fewer than
    two thirds more faces named rightly than by a guess.

    A seed that never began to learn drags its row's mean down, and widens every interval. Where
    some classes are common a constant answer does better than a guess; with each class weighing the
    same (mean recall) it does not.
    """
    scores = [name for name in ("accuracy", "mean_recall") if name in runs]
    low = runs[runs[scores].min(axis=1) < 5 / 3 / classes].drop_duplicates("run")
    if "arch" in runs and runs["arch"].nunique() > 1:
        low = low.assign(data=low["data"] + ", " + low["arch"])
    lines = []
    for (data, share, method), own in low.groupby(["data", "fraction", "method"], sort=False):
        seeds = ", ".join(f"{row.seed} ({row.accuracy:.1%})" for row in own.itertuples())
        many = "seeds" if len(own) > 1 else "seed"
        lines.append(f"near chance: {data}, {share:.0%} of the labels, {method}, {many} {seeds}")
    return "\n".join(lines)


def planned(
    runs: pd.DataFrame, labels: str = "few", ways: Sequence[str] = ("SL", LONGER, CONTROL, PUZZLE)
) -> pd.DataFrame:
    """The plan's trainings of emotion that a claim compares, by their full names, in their order.

    Args:
        runs: Rows of the record.
        labels: "few", or "all".
        ways: Full names. A data set is shown where the first and the last, which are held
            against each other, are both there, with three seeds at least.
    """
    share = runs["fraction"] < 1 if labels == "few" else runs["fraction"] == 1
    own = name_trainings(runs[(runs["study"] == PLAN) & (runs["task"] == "emotion") & share])
    own = own[own["method"].isin(ways)]
    own = own[own.groupby(["data", "method"])["seed"].transform("nunique") >= FEWEST]
    held = own[own["method"].isin({ways[0], ways[-1]})].groupby("data")["method"].nunique()
    own = own[own["data"].isin(held[held == 2].index)]
    return own.sort_values("method", key=lambda name: name.map(list(ways).index), kind="stable")


def small_variations(runs: pd.DataFrame) -> pd.DataFrame:
    """The plan's trainings with few labels of rendered faces, at the seeds that all of them have.

    Args:
        runs: Rows of the record.

    Returns:
        These rows: pretexts, views and sums of losses that have three seeds, and the same three
        seeds of the trainings that have ten. Those with fewer are left out.
    """
    own = runs[(runs["study"] == PLAN) & (runs["task"] == "emotion") & (runs["fraction"] < 1)]
    named = name_trainings(own[own["data"].isin(RENDERED)])
    named = named[named.groupby("method")["seed"].transform("nunique") >= FEWEST]
    trainings = named.groupby("seed")["method"].nunique()
    named = named[named["seed"].isin(trainings.index[trainings == trainings.max()])]
    return own[own["run"].isin(named["run"])]


def study_tables(runs: pd.DataFrame, outcomes: dict[str, np.ndarray]) -> dict[str, pd.DataFrame]:
    """The tables of the plan's runs by name; without runs a table is empty.

    `decided` has every training of three seeds or more (what is held against what stands in the
    verdicts); `tasks` has the `small_variations` and their gaps.
    """
    planned = name_trainings(runs[(runs["study"] == PLAN) & (runs["task"] != "pretraining")])
    by = ["data", "task", "fraction", "method"]
    planned = planned[planned.groupby(by)["seed"].transform("nunique") >= FEWEST]
    return {
        "decided": summary(planned, by, ["epochs"]),
        "tasks": gains(small_variations(runs), outcomes, ("SL", CONTROL, PUZZLE)),
    }


_REPORTED = {"SL": "SL", "puzzling": "SL + puzzling", "inpainting": "SL + in-painting-pl"}


def _reported_accuracy(method: str, fraction: float, backbone: str = "EfficientNet-B0") -> str:
    """What the paper reports for a method and a share of the labels; empty if unknown.

    Its rows do not say which puzzle or which views, so every puzzle of ours has the same one.
    """
    if method.startswith("inpainting") and not method.split(" ")[0].endswith("_pl"):
        return ""
    row = _REPORTED.get(method.split("_")[0])
    table = reported()
    same = (table["row"] == row) & (table["backbone"] == backbone) & (table["labels"] == fraction)
    found = table.loc[same, "value"]
    return f"{found.iloc[0]:.2f}" if found.notna().any() else ""


def reported_effect(method: str, base: str, where: str) -> float | None:
    """The paper's own gain of a training on supervised training, in points; None if unknown.

    `where` is a claim's conditions: "share=all", or "fraction=0.2 & data=faces".
    """
    asked = dict(part.split("=", 1) for part in where.split(" & ") if "=" in part)
    share = 1.0 if asked.get("share") == "all" else float(asked.get("fraction", "nan"))
    if base != "SL" or asked.get("task", "emotion") != "emotion":
        return None
    both = [_reported_accuracy(name, share) for name in (method, base)]
    return None if "" in both else float(both[0]) - float(both[1])


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, cells as they print, nan as an empty one."""
    cells = table.astype(object).where(table.notna(), "")
    rows = [list(table), ["---"] * table.shape[1], *cells.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def reported() -> pd.DataFrame:
    """The numbers the paper reports, from `papers/hmtl/reported.csv`; empty cells are unknown.

    Raises FileNotFoundError where there is no such file: papers and record belong to a checkout, an
    installed package has neither.
    """
    return pd.read_csv(_of_checkout(PAPERS / "hmtl" / "reported.csv"), dtype={"value": float})


def claims() -> pd.DataFrame:
    """Its claims and the notebook that tests each, from `papers/hmtl/claims.csv`.

    Raises as `reported`.
    """
    return pd.read_csv(_of_checkout(PAPERS / "hmtl" / "claims.csv"))


def _of_checkout(file: Path) -> Path:
    """The file; FileNotFoundError saying where such files are if it is missing."""
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is missing: papers and record are in a checkout or the source distribution, "
            "not in an installed package; run there (pip install -e .) or pass folder="
        )
    return file


def recorded_runs(folder: Path | None = None) -> tuple[pd.DataFrame, Outcomes]:
    """The committed runs: (runs.csv as a table, their outcomes).

    Degrees of head pose are recorded to three digits. Raises as `reported`.
    """
    folder = folder or reference_dir()
    remedy = "git checkout it, or make reference"
    needed = ("study", "run", "pack", "task")
    runs = read_table(_of_checkout(folder / "runs.csv"), remedy, needed, keep_default_na=True)
    outcomes = Outcomes()
    said = _arrays(folder / "predictions.npz", remedy)
    for name in [name for name in said if name.startswith(_TRUTH)]:
        pack, task = name.removeprefix(_TRUTH).split("/")
        outcomes.truth[pack, task] = said.pop(name)
    for row in runs.itertuples():
        if row.run in said:
            outcomes.answer(row.run, row.pack, row.task, said[row.run])
    for run, degrees in _arrays(folder / "errors.npz", remedy).items():
        outcomes[run] = degrees.astype(np.float32)
    return runs, outcomes


_TRUTH = "truth/"  # what a name in predictions.npz begins with that is no run's


def write_outcomes(folder: Path, outcomes: Outcomes) -> None:
    """Write what `recorded_runs` reads beside runs.csv: a byte or a float16 a face."""
    said = {f"{_TRUTH}{pack}/{task}": true for (pack, task), true in outcomes.truth.items()}
    degrees = {r: v.astype(np.float16) for r, v in outcomes.items() if v.dtype != bool}
    arrays: dict[str, Any]
    for name, arrays in (("predictions", said | outcomes.predicted), ("errors", degrees)):
        np.savez_compressed(folder / f"{name}.npz", **arrays)


def _arrays(file: Path, remedy: str) -> dict[str, np.ndarray]:
    """The arrays of a file of them by name."""
    with reading(file, remedy), np.load(file, allow_pickle=False) as packed:
        return dict(packed.items())
