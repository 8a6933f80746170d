"""The record: what studies measured -> runs.csv, its tables and figures, README's numbers.

`collect_runs` reads what notebooks recorded in their output folders, `write_reference` makes the
committed record of it (`outputs/reference`), beside or in place of what was there. Ours.
"""

__all__ = [
    "KEPT", "PAGES", "between_marks", "collect_curves", "collect_runs", "from_papers",
    "name_curves", "read_table", "runs_in_order", "write_reference", "write_tables",
]  # fmt: skip

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from hmtl import files
from hmtl.data.sets import RENDERED
from hmtl.paths import reference_dir
from hmtl.runs.store import Run, load_run
from hmtl.study.face_checks import slice_tables
from hmtl.study.tables import (
    CLAIM_TABLES,
    Outcomes,
    cost_table,
    markdown,
    name_trainings,
    outcomes_by_run,
    planned,
    readme_table,
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
README_MARKS = ("<!-- record -->", "<!-- end of record -->")
VERDICT_MARKS = ("<!-- verdicts -->", "<!-- end of verdicts -->")
CLAIM_MARKS = ("<!-- claims -->", "<!-- end of claims -->")
DECIDED_MARKS = ("<!-- decided -->", "<!-- end of decided -->")
PAGES = {
    "13_balance": "11_puzzling",
    "23_head_pose": "23_other_face_tasks",
    "24_gender": "23_other_face_tasks",
    "25_same_model_at_inference": "20_hmtl_emotion",
    "27_rendered_to_real": "22_pretraining_versus_hmtl",
    "28_other_networks": "28_networks_and_lengths",
    "29_longer_trainings": "28_networks_and_lengths",
}
"""Studies whose runs another notebook trains and shows. Studies keep their names."""
RATES = "learning-rates"
KEPT = {
    RATES: ["study", "data", "task", "fraction", "arch", "start", "method", "epochs"],
    "as-they-are": ["study", "data", "trained", "seed"],
    "trials": ["study", "data", "task", "arm", "lr", "pretext_weight", "gap", "seed"],
}
"""Tables that notebooks save and the record keeps, and which columns tell their rows apart.

All others follow from the record's runs.
"""
ROW = ["study", "data", "task", "fraction", "arch", "augment", "start", "method", "epochs", "bs"]
"""Columns of the record's runs that are the same along a row of a table; over seeds it averages."""
PROTOCOL = [
    "people", "proportions", "label_noise", "size", "labels", "sampling", "weighted", "lr", "wd",
    "fill", "schedule", "optimizer", "precision", "norm_stats", "pack",
]  # fmt: skip
"""Columns that must be the same along a row, or its mean is of nothing."""
_COARSE = {"10_imagenet_versus_scratch": ["study", "data", "init", "augment"]}
"""Studies whose tables tell rows by fewer columns than `ROW`; the others are protocol there."""
_REMEDY = "repeat the notebook that wrote it, or git checkout the committed one"


def collect_runs(
    folders: Iterable[str | Path],
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The runs recorded in output folders of `run_study`, whose store lies beside them.

    Returns (a row a run and study, run id -> `outcome_by_face`). Raises FileNotFoundError for a
    folder without recorded runs.
    """
    return _runs_of(_recorded(folders))


def _runs_of(recorded: Iterable[tuple[pd.DataFrame, list[Run]]]) -> tuple[pd.DataFrame, Outcomes]:
    tables, outcomes = [], Outcomes()
    for table, runs in recorded:
        tables.append(table.assign(pack=[run.pack for run in runs]))
        outcomes.add(outcomes_by_run(runs))
    runs = pd.concat(tables).drop_duplicates(["study", "run"])  # two folders may hold one
    return runs.reset_index(drop=True), outcomes


def _recorded(folders: Iterable[str | Path]) -> Iterator[tuple[pd.DataFrame, list[Run]]]:
    """Yield what each notebook recorded: its table of runs, and these."""
    for folder in map(Path, folders):
        tables = sorted((folder / "tables").glob("*-runs.csv"))
        if not tables:
            raise FileNotFoundError(
                f"{folder / 'tables'} holds no *-runs.csv: run the notebooks that train first "
                "(python -m hmtl study)"
            )
        for file in tables:
            table = files.read_table(file, _REMEDY, ("study", "run"))
            yield table, [load_run(folder.parent / "runs" / name) for name in table["run"]]


def collect_curves(folders: Iterable[str | Path]) -> pd.DataFrame:
    """Every epoch of the recorded runs: run, epoch, train_loss, and the score on the valid split.

    `valid` is the metric of the run's task: accuracy in [0, 1], or degrees of head pose.
    """
    return _curves_of(_recorded(folders))


def _curves_of(recorded: Iterable[tuple[pd.DataFrame, list[Run]]]) -> pd.DataFrame:
    parts = {}
    for _, runs in recorded:
        for run in runs:
            metric = run.spec.make_task().metric
            columns = ["epoch", "train_loss", *([metric] if metric else [])]
            own = run.metrics[columns].rename(columns={metric: "valid"})
            parts[run.id] = own.assign(run=run.id)
    curves = pd.concat(parts.values(), ignore_index=True)
    return curves.reindex(columns=["run", "epoch", "train_loss", "valid"])


def write_reference(
    folders: Iterable[str | Path],
    target: Path | None = None,
    *,
    keep: bool = False,
    add: bool = False,
) -> Path:
    """Write `collect_runs(folders)` as the committed record, with its tables and README's figures.

    `runs.csv` holds a row a run, `predictions.npz` the class named of each test face and the true
    ones (`correct.npz` a bit a face of older runs), `errors.npz` the degrees of each face whose
    head pose was asked for, `curves.csv` a row an epoch: all else follows from them.
    With `keep` the recorded runs of studies and data sets that the folders do not hold stay; with
    `add` all do, and the folders' are added. Raises ValueError, and writes nothing, if a row of a
    table would then average runs of two protocols.
    """
    folders = list(folders)
    kept = {name: _collect(folders, name) for name in KEPT}
    return _write(list(_recorded(folders)), kept, target or reference_dir(), keep, add)


def write_decided(
    store: str | Path | None = None,
    root: str | Path | None = None,
    target: Path | None = None,
) -> Path:
    """Add what a store holds of the plan (`hmtl.study.plan`) to the record; returns its folder.

    Args:
        store: Where `decide` left the runs (outputs/runs).
        root: Folder of FER+; without it only runs of rendered faces are found.
        target: In place of outputs/reference.

    Raises:
        FileNotFoundError: The store holds no run of the plan yet.
    """
    from hmtl.study.plan import gather

    table, runs, trials = gather(store, root)
    if not runs:
        raise FileNotFoundError("no run of the plan is there yet: python -m hmtl decide")
    kept = {name: pd.DataFrame(columns=["study", "data"]) for name in KEPT}
    return _write(
        [(table, runs)], kept | {"trials": trials}, target or reference_dir(), False, True
    )


def _write(
    recorded: list[tuple[pd.DataFrame, list[Run]]],
    kept: dict[str, pd.DataFrame],
    target: Path,
    keep: bool,
    add: bool,
) -> Path:
    (runs, outcomes), curves = _runs_of(recorded), _curves_of(recorded)
    old = None
    if (keep or add) and (target / "runs.csv").is_file():
        old, old_outcomes = recorded_runs(target)
        by = ["study", "run"] if add else ["study", "data"]
        remade = runs.set_index(["study", "data"]).index
        runs = _with_old(runs, old, by)
        old_outcomes.add(outcomes)
        outcomes = old_outcomes.only(runs["run"])
        curves = _with_old(curves, read_table(target / "curves.csv"), ["run"])
        curves = curves[curves["run"].isin(runs["run"])]
        for name, table in kept.items():
            before = read_table(target / "tables" / f"{name}.csv")
            if not add and len(before):  # what chose runs that have left
                left = before.set_index(by).index.isin(remade)
                before = before[~left]
            kept[name] = _with_old(table, before, KEPT[name] if add else by)
    _check_rows(runs)
    runs = runs_in_order(runs, old)
    kept = {name: _in_order(table, KEPT[name][2:]) for name, table in kept.items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", dir=target.parent) as beside:  # what fails leaves no half
        draft = Path(beside) / target.name  # not `beside` itself, which others may not enter
        (draft / "tables").mkdir(parents=True)
        runs.to_csv(draft / "runs.csv", index=False, float_format="%.6g")
        curves.to_csv(draft / "curves.csv", index=False, float_format="%.5g")
        write_outcomes(draft, outcomes)
        for name, table in kept.items():
            table.to_csv(draft / "tables" / f"{name}.csv", index=False, float_format="%.4g")
        told = _write_tables(draft)
        shutil.copytree(draft, target, dirs_exist_ok=True, copy_function=_replace)
    return _tell(target, *told)


def write_tables(target: Path | None = None) -> Path:
    """Write what follows from a record's runs, its tables and figures; README's if it is ours.

    Returns the record's folder.
    """
    target = target or reference_dir()
    return _tell(target, *_write_tables(target))


def _write_tables(target: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write a record's tables and figures; return its runs and verdicts."""
    runs, outcomes = recorded_runs(target)  # as a reader will find them, rounding included
    (target / "figures").mkdir(exist_ok=True)
    effects = effect_table(runs, outcomes)
    verdicts = verdict_table(runs, outcomes, effects=effects)
    tables = study_tables(runs, outcomes) | slice_tables(runs, outcomes)
    tables |= {"verdicts": verdicts, "plateau": plateau_table(runs, outcomes)}
    tables["cost"] = cost_table(runs, read_table(target / "tables" / "trials.csv"))
    for name, table in tables.items():
        with files.new_file(target / "tables" / f"{name}.csv") as part:
            table.to_csv(part, index=False, float_format="%.4g")
    shown = files.hash_file(target / "tables" / "verdicts.csv")
    _draw_front_page(target / "figures", runs, effects, shown)
    _draw_curves(target, runs)
    return runs, verdicts


def _tell(target: Path, runs: pd.DataFrame, verdicts: pd.DataFrame) -> Path:
    """Put the numbers of this checkout's own record into its pages; returns the record's folder."""
    if target == reference_dir():
        results = _CHECKOUT / "papers" / "RESULTS.md"
        between_marks(results, README_MARKS, readme_table(runs))
        between_marks(results, VERDICT_MARKS, from_papers(readme_verdicts(verdicts)))
        between_marks(results, DECIDED_MARKS, markdown(read_table(target / "tables/decided.csv")))
        for page in ("README.md", "papers/hmtl/reproduction.md"):
            between_marks(_CHECKOUT / page, CLAIM_MARKS, readme_claims(verdicts))
    return target


def from_papers(text: str) -> str:
    """Links of the checkout's root as a page in papers/ writes them, to the pages of today."""
    for study, page in PAGES.items():
        old, new = (f"[{name[:2]}](notebooks/{name}.ipynb)" for name in (study, page))
        text = text.replace(old, new)
    return text.replace("](notebooks/", "](../notebooks/")


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


_ONE_PROTOCOL = (
    "record the folders of one protocol, without --add, so that the other runs leave the record"
)


def _check_rows(runs: pd.DataFrame) -> None:
    """Raise ValueError naming a row of a table, over whose seeds the protocol changes, or in which
    a seed stands twice; or a run that serves two studies with two results."""
    several = runs.groupby("run")[[name for name in ("accuracy", "mae") if name in runs]]
    apart = (several.max() - several.min()).gt(1e-4).any(axis=1)
    if apart.any():
        name = apart.idxmax()
        studies = " and ".join(runs.loc[runs["run"] == name, "study"])
        raise ValueError(
            f"runs.csv: run {name}, which serves {studies}, would have two results, of two "
            "machines; record these studies from one store, without --add"
        )
    for study, own in runs.groupby("study", sort=False):
        row = _COARSE.get(study, ROW)
        protocol = [*PROTOCOL, *(name for name in ROW if name not in row)]
        _check_cells(own, *([n for n in names if n in runs] for names in (row, protocol)))


def _check_cells(runs: pd.DataFrame, row: list[str], protocol: list[str]) -> None:
    for cell, group in runs.groupby(row, sort=False, dropna=False):
        told = ", ".join(f"{k} {v}" for k, v in zip(row, cell, strict=True))
        twice = group.loc[group["seed"].duplicated(keep=False), "run"]
        if len(twice):
            raise ValueError(
                f"runs.csv: several runs of one seed in one row of a table ({told}): "
                f"{', '.join(twice)}; {_ONE_PROTOCOL}"
            )
        for name in protocol:
            if group[name].nunique(dropna=False) > 1:
                values = " and ".join(map(str, group[name].unique()))
                raise ValueError(
                    f"runs.csv: {name} is {values} along one row of a table ({told}); "
                    f"{_ONE_PROTOCOL}"
                )


def _collect(folders: Iterable[str | Path], name: str) -> pd.DataFrame:
    """The tables of that name, of `KEPT`, that the notebooks saved."""
    parts = [pd.DataFrame(columns=["study", "data"])]
    for folder in map(Path, folders):
        for file in sorted((folder / "tables").glob(f"*-{name}.csv")):
            own = files.read_table(file, _REMEDY)
            own.insert(0, "study", file.stem.removesuffix(f"-{name}"))
            parts.append(own)
    return pd.concat(parts, ignore_index=True)


def _with_old(new: pd.DataFrame, old: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The new rows, and the old ones whose columns `by` no new row has; columns as they were.

    A row of an older table may lack some of `by`: any new row that has the others takes its place.
    """
    if old.empty or new.empty:
        return old if new.empty else new
    old_keys = old.reindex(columns=[name for name in by if name in new])
    keys = new[old_keys.columns]
    stays = []
    for _, row in old_keys.iterrows():
        told = row.dropna()
        stays.append(not (keys[told.index] == told).all(axis=1).any())
    table = pd.concat([new, old[stays]], ignore_index=True)
    return table[[*old, *new.columns.difference(old.columns, sort=False)]]


def between_marks(path: Path, marks: tuple[str, str], text: str) -> None:
    """Put `text` between two marks of a file, so that no number there is typed.

    Raises ValueError naming the mark that the file lacks.
    """
    before, start, rest = path.read_text().partition(marks[0])
    _, end, after = rest.partition(marks[1])
    for mark, found in zip(marks, (start, end), strict=True):
        if not found:
            raise ValueError(f"{path.name} has no mark {mark}")
    files.write_text(path, f"{before}{start}\n{text}\n{end}{after}")


def _replace(source: str, target: str) -> None:
    """Copy a file over another, whole or not at all, and never through a link."""
    with files.new_file(target) as part:
        shutil.copyfile(source, part)


def _draw_curves(target: Path, runs: pd.DataFrame) -> None:
    """The learning curves that the claims on labels and length rest on; with the hash of the table
    shown."""
    from hmtl.study.plots import plot_learning, set_style

    epochs = read_table(target / "curves.csv")
    parts = []
    for name, length in (("few-labels", ""), ("lengths", "twice as long")):
        own = runs[runs["study"] == CLAIM_TABLES[name][0]]
        parts.append(name_curves(epochs, own).assign(length=length))
    curves = pd.concat(parts)
    if len(curves):
        set_style()
        says = {"Source": f"curves.csv, sha256 {files.hash_file(target / 'curves.csv')}"}
        figure = plot_learning(curves)
        with files.new_file(target / "figures" / "learning-curves.png") as part:
            figure.savefig(part, dpi=100, metadata=says)


def _draw_front_page(folder: Path, runs: pd.DataFrame, effects: pd.DataFrame, shown: str) -> None:
    """README's figures: scores by the number of labels, and what became of the claims.

    Each keeps the hash of the table it shows.
    """
    from hmtl.study.plots import plot_label_curve, plot_trainings, plot_verdicts, set_style

    set_style()
    says = {"Source": f"runs.csv, sha256 {files.hash_file(folder.parent / 'runs.csv')}"}
    older = name_trainings(runs[runs["study"] == CLAIM_TABLES["few-labels"][0]])
    compared = pd.concat(planned(runs, labels) for labels in ("few", "all"))
    compared["labels"] = compared["train_faces"].map("{:,} labels".format)
    compared = compared.sort_values(["data", "train_faces"], kind="stable")
    for page in ("light", "dark"):
        drawn = {}
        if len(older):
            drawn["few-labels"] = plot_label_curve(older, night=page == "dark")
        if len(compared):
            drawn["decided"] = plot_trainings(  # narrow: it is read on phones too
                compared, "task", "primary", panel="labels", night=page == "dark", side=3
            )
        for name, figure in drawn.items():
            with files.new_file(folder / f"{name}-{page}.png") as part:
                figure.savefig(
                    part, format="png", dpi=140, metadata=says, facecolor=figure.get_facecolor()
                )
    if len(effects):
        says = {"Source": f"verdicts.csv, sha256 {shown}"}
        with files.new_file(folder / "verdicts.png") as part:
            plot_verdicts(effects).savefig(part, dpi=100, metadata=says)


def read_table(path: Path) -> pd.DataFrame:
    """A table in csv; one without rows and columns if there is no such file."""
    return files.read_table(path, _REMEDY) if path.is_file() else pd.DataFrame()


def name_curves(epochs: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Rows of `collect_curves`, those whose run is in a `runs_table`, with what that run is.

    Columns: epoch, train_loss, valid; data, task, fraction, method (by the training's full name)
    and seed.
    """
    if epochs.empty:
        return epochs
    named = name_trainings(runs)[["run", "data", "task", "fraction", "method", "seed"]]
    return epochs.merge(named.drop_duplicates("run"), on="run")
