"""The record: what the plan's trainings measured -> runs.csv, its tables, figures and pages.

`write_decided` puts what a store holds of the plan (`hmtl.study.plan`) into the committed record,
`outputs/reference`, beside what was there; `write_tables` makes anew what follows from it. Ours.
"""

__all__ = ["between_marks", "read_table", "runs_in_order", "write_decided", "write_tables"]

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from hmtl import files
from hmtl.data.sets import RENDERED
from hmtl.paths import reference_dir
from hmtl.runs.store import Run
from hmtl.study.face_checks import slice_tables
from hmtl.study.plan import cost_table, gather, missing_runs, row_key
from hmtl.study.tables import (
    markdown,
    name_trainings,
    outcomes_by_run,
    planned,
    recorded_runs,
    study_tables,
    write_outcomes,
)
from hmtl.study.verdicts import (
    effect_table,
    plateau_table,
    readme_claims,
    readme_verdicts,
    verdict_table,
)

_CHECKOUT = Path(__file__).parents[2]
_TRIAL = ["study", "data", "task", "arm", "lr", "pretext_weight", "gap", "seed"]
"""What tells trials apart."""
ROW = ["study", "data", "task", "fraction", "arch", "augment", "start", "method", "epochs", "bs"]
"""Columns of the record's runs that are the same along a row of a table; over seeds it averages."""
PROTOCOL = [
    "people", "proportions", "label_noise", "size", "labels", "sampling", "weighted", "lr", "wd",
    "fill", "schedule", "optimizer", "precision", "norm_stats", "pack", "pretexts",
    "pretext_weight", "features", "gpu",
]  # fmt: skip
"""Columns that must be the same along a row, or its mean is of nothing."""
_REMEDY = "git checkout the committed one"


def _curves_of(runs: list[Run]) -> pd.DataFrame:
    """Every epoch of some runs: run, epoch, train_loss, and the score on the valid split.

    `valid` is the metric of the run's task: accuracy in [0, 1], or degrees of head pose.
    """
    parts = [pd.DataFrame(columns=["run", "epoch", "train_loss", "valid"])]
    for run in runs:
        metric = run.spec.make_task().metric
        columns = ["epoch", "train_loss", *([metric] if metric else [])]
        own = run.metrics[columns].rename(columns={metric: "valid"})
        parts.append(own.assign(run=run.id))
    return pd.concat(parts, ignore_index=True)


def write_decided(
    store: str | Path | None = None, root: str | Path | None = None, target: Path | None = None
) -> Path:
    """Add what a store holds of the plan (`hmtl.study.plan`) to the record.

    `runs.csv` holds a row a run, `predictions.npz` the class named of each test face and the true
    ones, `errors.npz` the degrees of each face whose head pose was asked for, `curves.csv` a row an
    epoch, `tables/trials.csv` a row a trial: all else follows from them.

    Args:
        store: Where `decide` left the runs (outputs/runs).
        root: Folder of FER+; without it only runs of rendered faces are found.
        target: In place of outputs/reference.

    Returns:
        The record's folder.

    Raises:
        FileNotFoundError: The store holds no run of the plan yet.
        ValueError: A row of a table would average runs of two protocols; nothing is written.
    """
    table, found, trials = gather(store, root)
    if not found:
        raise FileNotFoundError("no run of the plan is there yet: python -m hmtl decide")
    target = target or reference_dir()
    runs = table.assign(pack=[run.pack for run in found])
    outcomes, curves = outcomes_by_run(found), _curves_of(found)
    old = None
    if (target / "runs.csv").is_file():
        old, before = recorded_runs(target)
        runs = _with_old(runs, old, ["run"])
        before.add(outcomes)
        outcomes = before
        curves = _with_old(curves, read_table(target / "curves.csv"), ["run"])
        trials = _with_old(trials, read_table(target / "tables" / "trials.csv"), _TRIAL)
    _check_rows(runs)
    runs, trials = runs_in_order(runs, old), _in_order(trials, _TRIAL[2:])
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", dir=target.parent) as beside:  # what fails leaves no half
        draft = Path(beside) / target.name  # not `beside` itself, which others may not enter
        (draft / "tables").mkdir(parents=True)
        runs.to_csv(draft / "runs.csv", index=False, float_format="%.6g")
        curves.to_csv(draft / "curves.csv", index=False, float_format="%.5g")
        write_outcomes(draft, outcomes)
        trials.to_csv(draft / "tables" / "trials.csv", index=False, float_format="%.4g")
        told = _write_tables(draft)
        shutil.copytree(draft, target, dirs_exist_ok=True, copy_function=_replace)
    return _tell(target, told)


def write_tables(target: Path | None = None) -> Path:
    """Write what follows from a record's runs, its tables and figures; README's if it is ours.

    Args:
        target: In place of outputs/reference.

    Returns:
        The record's folder.
    """
    target = target or reference_dir()
    return _tell(target, _write_tables(target))


def _write_tables(target: Path) -> pd.DataFrame:
    """Write a record's tables and figures; return its verdicts."""
    runs, outcomes = recorded_runs(target)  # as a reader will find them, rounding included
    (target / "figures").mkdir(exist_ok=True)
    effects = effect_table(runs, outcomes)
    verdicts = verdict_table(runs, outcomes, effects=effects)
    tables = study_tables(runs, outcomes) | slice_tables(runs, outcomes)
    tables |= {"verdicts": verdicts, "plateau": plateau_table(runs, outcomes)}
    tables["missing"] = missing_runs(runs)
    tables["cost"] = cost_table(runs, read_table(target / "tables" / "trials.csv"))
    for name, table in tables.items():
        with files.new_file(target / "tables" / f"{name}.csv") as part:
            table.to_csv(part, index=False, float_format="%.4g")
    _draw_figures(target, runs, effects)
    return verdicts


def _tell(target: Path, verdicts: pd.DataFrame) -> Path:
    """Put the numbers of this checkout's own record into its pages; returns the record's folder."""
    if target == reference_dir():
        results = _CHECKOUT / "papers" / "RESULTS.md"
        linked = readme_verdicts(verdicts).replace("](notebooks/", "](../notebooks/")
        between_marks(results, "verdicts", linked)
        for name in ("decided", "tasks", "missing", "cost"):
            between_marks(results, name, markdown(read_table(target / f"tables/{name}.csv")))
        for page in ("README.md", "papers/hmtl/reproduction.md"):
            between_marks(_CHECKOUT / page, "claims", readme_claims(verdicts))
    return target


def _in_order(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """By study, rendered faces before real ones, then `by`, however the rows were put together."""
    if table.empty:
        return table
    real = ~table["data"].isin(RENDERED)
    by = ["study", "real", "data", *(name for name in by if name in table)]
    order = table.assign(real=real).sort_values(by, kind="stable")
    return order.drop(columns="real").reset_index(drop=True)


def runs_in_order(runs: pd.DataFrame, before: pd.DataFrame | None = None) -> pd.DataFrame:
    """Fewer labels before more; within a share the trainings as their study first has them.

    So a row added later to one data set stands where the other data sets have it. The trainings of
    `before`, the record so far, keep their places, and new ones follow.
    """
    runs = _in_order(runs, ["fraction"])
    own = _trainings(runs)
    known = [] if before is None else _trainings(_in_order(before, ["fraction"]))
    places = {training: place for place, training in enumerate(dict.fromkeys([*known, *own]))}
    ordered = _in_order(runs.assign(place=[places[t] for t in own]), ["fraction", "place"])
    return ordered.drop(columns="place")


def _trainings(runs: pd.DataFrame) -> list[tuple]:
    """What each run is in its study: start, augmentation and the training's full name.

    Runs of a study are together.
    """
    named = pd.concat(name_trainings(own) for _, own in runs.groupby("study", sort=False))
    told = ("study", "arch", "task", "start", "augment", "method")
    names = named[[name for name in told if name in named]]
    return list(names.itertuples(index=False, name=None))


_ONE_PROTOCOL = "git checkout the committed record, and collect a store of one protocol"


def _check_rows(runs: pd.DataFrame) -> None:
    """Raise ValueError naming a row of a table, over whose seeds the protocol changes, or in which
    a seed stands twice."""
    row, protocol = ([name for name in names if name in runs] for names in (ROW, PROTOCOL))
    for cell, group in runs.groupby(row, sort=False, dropna=False):
        told = ", ".join(f"{k} {v}" for k, v in zip(row, cell, strict=True))
        twice = group.loc[group["seed"].duplicated(keep=False), "run"]
        if len(twice):
            raise ValueError(
                f"runs.csv: several runs of one seed in one row of a table ({told}): "
                f"{', '.join(twice)}; {_ONE_PROTOCOL}"
            )
        for name in protocol:
            found = group[name].mask(group[name].isin(["", None]))  # as a csv reads an empty cell
            if found.nunique(dropna=False) > 1:
                values = " and ".join(map(str, found.unique()))
                raise ValueError(
                    f"runs.csv: {name} is {values} along one row of a table ({told}); "
                    f"{_ONE_PROTOCOL}"
                )


def _with_old(new: pd.DataFrame, old: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The new rows, and the old ones whose columns `by` no new row has; columns as they were."""
    if old.empty or new.empty:
        return old if new.empty else new
    known = {row_key(row, by) for row in new.to_dict("records")}
    stays = [row_key(row, by) not in known for row in old.to_dict("records")]
    table = pd.concat([new, old[stays]], ignore_index=True)
    return table[[*old, *new.columns.difference(old.columns, sort=False)]]


def between_marks(path: Path, name: str, text: str) -> None:
    """Put `text` between `<!-- name -->` and `<!-- end of name -->`: no number there is typed.

    Raises ValueError naming the mark that the file lacks.
    """
    marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, start, rest = path.read_text(encoding="utf-8").partition(marks[0])
    _, end, after = rest.partition(marks[1])
    for mark, found in zip(marks, (start, end), strict=True):
        if not found:
            raise ValueError(f"{path.name} has no mark {mark}")
    files.write_text(path, f"{before}{start}\n{text}\n{end}{after}")


def _replace(source: str, target: str) -> None:
    """Copy a file over another, whole or not at all, and never through a link."""
    with files.new_file(target) as part:
        shutil.copyfile(source, part)


def _draw_figures(target: Path, runs: pd.DataFrame, effects: pd.DataFrame) -> None:
    """The record's figures: scores by the number of labels, learning curves, verdicts.

    Each keeps the hash of the table it shows.
    """
    from hmtl.study.plots import plot_learning, plot_trainings, plot_verdicts, set_style

    set_style()
    compared = pd.concat(planned(runs, labels) for labels in ("few", "all"))
    compared["labels"] = compared["train_faces"].map("{:,} labels".format)
    compared = compared.sort_values(["data", "train_faces"], kind="stable")
    curves = read_table(target / "curves.csv").merge(
        compared[["run", "data", "fraction", "method", "seed"]], on="run"
    )

    def put(name: str, figure, table: str) -> None:
        says = {"Source": f"{Path(table).name}, sha256 {files.hash_file(target / table)}"}
        with files.new_file(target / "figures" / f"{name}.png") as part:
            figure.savefig(
                part, format="png", dpi=140, metadata=says, facecolor=figure.get_facecolor()
            )

    if len(compared):
        for page in ("light", "dark"):  # narrow: it is read on phones too
            figure = plot_trainings(
                compared, "task", "primary", panel="labels", night=page == "dark", side=3
            )
            put(f"decided-{page}", figure, "runs.csv")
        put("learning-curves", plot_learning(curves), "curves.csv")
    if len(effects):
        put("verdicts", plot_verdicts(effects), "tables/verdicts.csv")


def read_table(path: Path) -> pd.DataFrame:
    """A table in csv, an empty cell of words is ""; one without rows if there is no such file."""
    if not path.is_file():
        return pd.DataFrame()
    table = files.read_table(path, _REMEDY)
    words = table.select_dtypes(exclude="number").columns
    return table.fillna(dict.fromkeys(words, ""))
