"""The study: what a notebook needs to open, and papermill over all notebooks.

`open_notebook` turns the parameters every notebook has (preset, data, root, outputs, seed) into a
`Setting`; `run_study` executes the notebooks in order and writes `index.html`, which shows every
table and figure they made. Ours.
"""

__all__ = [
    "NOTEBOOKS", "Setting", "history", "open_notebook", "readable", "run_study", "versions",
]  # fmt: skip

import ast
import html
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from hmtl.data.pack import Pack
from hmtl.data.sets import RENDERED, check_root, full_name, parse_data
from hmtl.files import has_kind, new_file, read_json, write_text, writing
from hmtl.labels import hint
from hmtl.paths import cache_dir, file_name, full_root, outputs_dir, reference_dir
from hmtl.runs import cluster, distributed
from hmtl.runs.fit import here_and_now, run_all
from hmtl.runs.specs import Preset, RunSpec, get_preset
from hmtl.runs.store import Run, runs_table, why
from hmtl.study.record import read_table
from hmtl.study.tables import CONTROL, LONGER, gains, name_trainings, outcomes_by_run, recorded_runs
from hmtl.study.verdicts import verdict_table

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SMOKE = "smoke"
_PLACES = ("root", "outputs")
_COMMON = ("preset", "data", *_PLACES, "seed")  # parameters of every notebook
_REMEDY = "execute it again"
NEEDS = {
    **dict.fromkeys(("00", "01", "10", "11", "12", "20", "21", "22", "40"), "emotion"),
    "23": "head_pose",
}
"""What a notebook, by its number, needs: labels of a task."""
_RATE = ["data", "task", "fraction", "arch", "start", "method", "epochs"]
"""What tells rows of a table of learning rates apart."""


@dataclass(frozen=True)
class Setting:
    """How one notebook runs: its preset, data and places."""

    notebook: str
    preset: Preset
    data: str
    root: str | None
    outputs: Path
    seed: int
    rates: list = field(default_factory=list, compare=False, repr=False)  # what was chosen so far

    @property
    def seeds(self) -> range:
        """The seeds of every cell of a table."""
        return range(self.seed, self.seed + self.preset.seeds)

    @property
    def trains(self) -> bool:
        """Whether a page of results trains and shows its runs; at defaults it reads the record."""
        at_defaults = self.preset.name == SMOKE and self.data == self.preset.data and not self.seed
        return not (at_defaults and (reference_dir() / "runs.csv").is_file())

    def has(self, column: str) -> bool:
        """Whether the data have this label."""
        return self.data in RENDERED or column in self.load().labels.dropna(axis=1, how="all")

    def spec(self, **changes) -> RunSpec:
        """A RunSpec of this preset on this data."""
        return self.preset.spec(self.data, **{"seed": self.seed, **changes})

    def short(self, **changes) -> RunSpec:
        """A RunSpec of this preset at the length of its ablations.

        On data for which the preset has other epochs theirs follow in proportion, to whole ones.
        """
        return self.spec(**{**self._in_proportion(self.preset.short), **changes})

    @property
    def short_seeds(self) -> range:
        """The seeds of every cell of an ablation."""
        return self.seeds[: self.preset.short_seeds]

    @property
    def imagenet_seeds(self) -> range:
        """The seeds of ImageNet against scratch at less augmentation than claim C1 is about."""
        return self.seeds[: self.preset.imagenet_seeds]

    @property
    def imagenet(self) -> dict:
        """What networks with ImageNet weights need, as fields of a RunSpec.

        Their epochs follow those of the data as the ablations' do.
        """
        return self._in_proportion(self.preset.imagenet)

    def _in_proportion(self, changes: Mapping) -> dict:
        """Fields of a RunSpec, their epochs in proportion to the preset's on this data."""
        changes = dict(changes)
        if "epochs" in changes:
            length = self.spec().epochs / self.preset.base["epochs"]
            changes["epochs"] = max(1, round(length * changes["epochs"]))
        return changes

    def ways(self, *more: str, **changes) -> list[dict]:
        """The ways of training that the claims compare, as fields of a RunSpec with `changes`.

        Supervised; supervised for twice the epochs; a second plain view; puzzling 2x2, as costly
        as either; then each pretext named in `more`, in paired views too. (Ours.)
        """
        ways: list[dict] = [{}, {"epochs": 2 * self.spec(**changes).epochs}]
        ways += [{"pretexts": (name,)} for name in ("second_view", "puzzling_2x2", *more)]
        return [{**changes, **way} for way in ways]

    def choose_lr(
        self, methods: Iterable[Mapping], lrs: Iterable[float] | None = None, **changes
    ) -> list[dict]:
        """Each method (fields of a RunSpec) with the learning rate that serves it best.

        One seed, in a spec with `changes`, is trained with each of `lrs`, the preset's own unless
        given; the last epoch's score on the valid split decides, never a test face; a rate at which
        the loss stops being finite is not chosen. `tables/<notebook>-learning-rates.csv` says what
        was tried. Without `lrs`, and where the data have no valid split but the test images, a
        method keeps its own rate. Raises ValueError if no rate trains a method.
        """
        ways = [dict(method) for method in methods]
        rates = self.preset.lrs if lrs is None else tuple(lrs)
        if not rates:
            return ways
        if self.load().chosen_on == "test":
            print(f"{self.data}: no rate is chosen on test images, each training keeps its own")
            return ways
        tried = [[self.spec(**{**changes, **way, "lr": lr}) for lr in rates] for way in ways]
        runs = iter(self.train(spec for row in tried for spec in row))
        table = pd.concat([rate_row([next(runs) for _ in rates]) for _ in ways])
        self.rates.append(table)
        self.save(pd.concat(self.rates).drop_duplicates(), "learning-rates")
        return [way | {"lr": lr} for way, lr in zip(ways, table["chosen"], strict=True)]

    @property
    def is_read(self) -> bool:
        """Whether the data are read from a user's folder, not rendered."""
        return parse_data(self.data)[0] not in RENDERED

    def load(self) -> Pack:
        """The pack of this data."""
        return self.spec().load(self.root)

    def train(self, specs: Iterable[RunSpec]) -> list[Run]:
        """Make the runs that are not in the store yet; all of them, in order."""
        return run_all(
            specs, root=self.root, store=self.outputs.parent / "runs", jobs=self.preset.jobs
        )

    def results(self, runs: list[Run]) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
        """What runs just made say; they are recorded in `tables/<notebook>-runs.csv`.

        Returns:
            (`runs_table`, run id -> bool (faces,), or degrees of head pose).
        """
        table = runs_table(runs)
        table.insert(0, "study", self.notebook)
        self.save(table, "runs")
        return table, outcomes_by_run(runs)

    def record(self) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
        """What the study's committed runs say (`hmtl.study.tables.recorded_runs`), as `results`."""
        return recorded_runs()

    def table(
        self,
        name: str,
        runs: pd.DataFrame,
        outcomes: dict[str, np.ndarray],
        bases: Iterable[str] = ("SL", CONTROL, LONGER),
    ) -> pd.DataFrame:
        """A table of this page's own runs, saved; at defaults the record's of that name.

        Args:
            name: Of the record's table, such as "decided"; of the page's own, in its file's name.
            runs: From `results`.
            outcomes: From `results`.
            bases: Trainings by full name that every other is held against (`gains`).
        """
        if self.trains:
            by = ["data", *(c for c in ("task", "arch") if runs[c].nunique() > 1), "fraction"]
            table = gains(runs, outcomes, list(bases), by)
        else:
            table = read_table(reference_dir() / "tables" / f"{name}.csv")
        return self.save(table, name)

    def verdicts(self, runs: pd.DataFrame, outcomes: dict[str, np.ndarray]) -> pd.DataFrame:
        """`verdict_table` of this notebook's claims, from its `results`, saved beside them.

        At defaults the record's, whose intervals hold for the claims of all notebooks together;
        else they hold for this notebook's.
        """
        if not self.trains:
            judged = read_table(reference_dir() / "tables" / "verdicts.csv")
            judged = judged.astype("string").fillna("")
        else:
            judged = verdict_table(runs, outcomes)
        judged = judged[(judged["notebook"] == self.notebook) & (judged["faces"] != "")]
        if judged.empty:
            lacks = f"preset {self.preset.name} lacks trainings that the claim compares"
            print(f"no verdict: {lacks if self.trains else 'not recorded yet'}")
        return self.save(judged, "verdicts").set_index("claim").drop(columns="notebook")

    def save(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """Write a table to `tables/<notebook>-<name>.csv` and return it."""
        with new_file(self.outputs / "tables" / f"{self.notebook}-{name}.csv") as part:
            table.to_csv(part, index=False)
        return table

    def save_figure(self, figure, name: str, caption: str) -> None:
        """Write a figure to `figures/<notebook>-<name>.png`; in a notebook show it and its caption.

        Args:
            figure: A matplotlib Figure. A notebook shows it here, and `plt.show()` not again.
            name: Of the file, without the notebook's.
            caption: What the figure says in words. It stands below the figure, and is its
                alternative text for readers who do not see it; so in HTML, book and report.
        """
        from hmtl.study.plots import show_captioned

        with new_file(self.outputs / "figures" / f"{self.notebook}-{file_name(name)}.png") as part:
            figure.savefig(part, dpi=150)
        show_captioned(figure, caption)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A table of the study in words: names spelled out, shares in %.

    The saved table also has what each training cost and had at its best epoch.
    """
    from hmtl.study.plots import method_label, network_label, set_label

    left = [name for name in table if name.startswith(("CPU s/run", "at best epoch"))]
    shown = table.drop(columns=left)
    words = {"method": method_label, "data": set_label, "fraction": "{:.0%}".format}
    words["arch"] = network_label
    for name in [name for name in words if name in shown]:
        shown[name] = shown[name].map(words[name])
    named = {"data": "faces", "fraction": "labels", "method": "training", "arch": "network"}
    named |= {"− SL": "− labels alone", "− 2× epochs": "− twice the epochs"}
    shown = shown.rename(columns=named)
    return shown.set_index([name for name in named.values() if name in list(shown)][:1]).fillna("")


def rate_row(runs: list[Run]) -> pd.DataFrame:
    """One row: a training's score on the valid split by learning rate, and the rate chosen."""
    task = runs[0].spec.make_task()
    scores = [
        float("nan") if run.failure else float(run.metrics[task.metric].iloc[-1]) for run in runs
    ]
    whole = [score for score in scores if score == score]
    if not whole:
        raise ValueError(f"no learning rate trains: {why(runs[0])}")
    best = runs[scores.index(task.better(whole))].spec
    tried = {f"valid {task.metric}, lr {r.spec.lr:g}": s for r, s in zip(runs, scores, strict=True)}
    (own,) = name_trainings(runs_table(runs[:1])).to_dict("records")
    row = {name: own[name] for name in _RATE}
    return pd.DataFrame([row | tried | {"chosen": best.lr}])


def open_notebook(
    notebook: str, preset: str, data: str, root: str, outputs: str, seed: int
) -> Setting:
    """Check the parameters of a notebook and set the look of its figures.

    Args:
        notebook: Its name, such as "20_hmtl_emotion".
        preset: "smoke", "study", ...; empty: `$HMTL_PRESET`, else "smoke".
        data: A data set by name; empty: the preset's own.
        root: Folder of that data set; empty where it is a rendered one.
        outputs: Where tables and figures go; empty: `outputs/<preset>` of the checkout.
        seed: The first seed, from 0 up.

    Returns:
        The `Setting`, by which a page trains, reads the record and saves what it shows.

    Raises:
        ValueError: Naming the parameter that is wrong, and the valid presets and data sets.

    Example:
        >>> here = open_notebook("20_hmtl_emotion", "smoke", "", "", "", seed=3)
        >>> here.data, here.seeds
        ('mini', range(3, 4))
    """
    from hmtl.study.plots import set_style

    refuse_injected()
    check_values(preset=preset, data=data, root=root, outputs=outputs, seed=seed)
    root = os.path.expanduser(root)
    chosen = get_preset(preset or os.environ.get("HMTL_PRESET") or SMOKE)
    data = full_name(data or chosen.data)
    check_root(data, root)
    set_style()
    if os.environ.get("HMTL_PROGRESS") == "0":
        _quiet_fastai()
    folder = Path(outputs).expanduser().resolve() if outputs else study_folder(chosen, data)
    return Setting(notebook, chosen, data, root or None, folder, seed)


def refuse_injected() -> None:
    """Raise ValueError naming a parameter that papermill injected and this notebook has not.

    papermill itself only warns, and the notebook would run for long with its defaults. Injected
    cells are known by their first line, parameters by the cells before them.
    """
    from IPython import get_ipython

    shell, known = get_ipython(), set[str]()
    for cell in shell.user_ns.get("In", ()) if shell else ():
        injected = cell.startswith("# Parameters\n")
        try:
            assigned = _assigned(cell)
        except SyntaxError:  # not ours: a cell with an error of its own
            continue
        if injected and known:
            _refuse_unknown("this notebook", assigned, known)
        known |= assigned


def _assigned(cell: str) -> set[str]:
    """The names that the lines of a cell give a value."""
    found = set()
    for line in ast.parse(cell).body:
        targets = getattr(line, "targets", [getattr(line, "target", None)])
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def _refuse_unknown(notebook: str, given: Iterable, known: Iterable[str]) -> None:
    """Raise ValueError for parameters that are not known, with the nearest one that is."""
    known = sorted(known)
    if unknown := sorted(str(name) for name in set(given) - set(known)):
        raise ValueError(
            f"{notebook} has no parameter {', '.join(unknown)}; {hint(unknown[0], known)}"
            f"it has {', '.join(known)}"
        )


def check_values(**values) -> None:
    """Raise ValueError naming a parameter of a notebook that is not of its kind.

    papermill passes what it is given: `-p seed 1.5` is a number, `-p data 300` one too.
    """
    for name, value in values.items():
        number = name == "seed"
        if number and not (has_kind(value, int) and 0 <= value < 2**32):
            raise ValueError(f"parameter {name} must be a whole number from 0 up, got {value!r}")
        if not (number or isinstance(value, str | Path if name in _PLACES else str)):
            raise ValueError(f"parameter {name} must be text, got {value!r}")
        if "\0" in str(value):
            raise ValueError(f"parameter {name} holds a zero byte: {value!r}")
    if (outputs := values.get("outputs")) and Path(outputs).is_file():
        raise ValueError(f"parameter outputs: {outputs} is a file; name a folder")


def study_folder(preset: Preset, data: str | None) -> Path:
    """Where a study goes unless told otherwise: `outputs/<preset>`, another data set beside it."""
    suffix = f"-{file_name(data)}" if data and data != preset.data else ""
    return outputs_dir() / f"{preset.name}{suffix}"


def versions(setting: Setting) -> pd.DataFrame:
    """What this notebook runs with: preset, data, seeds, device and library versions."""
    names, machine = ("python", "torch", "fastai", "timm"), here_and_now()
    rows = {
        "preset": setting.preset.name,
        "data": setting.data,
        "seeds": ", ".join(map(str, setting.seeds)),
        "device": machine["gpu"] or "CPU",
        **{name: machine[name] for name in names},
    }
    return pd.DataFrame({"": rows})


def history(learn) -> pd.DataFrame:
    """The epochs of a Learner's last fit as a table: each loss and metric by its own name."""
    names = [n for n in learn.recorder.metric_names if n not in ("epoch", "time")]
    table = pd.DataFrame(list(map(list, learn.recorder.values)), columns=names)
    table.index = pd.RangeIndex(1, len(table) + 1, name="epoch")
    return table.round(3)


def _quiet_fastai() -> None:
    """No progress bars where nobody watches: fastai's leave HTML in the executed notebook."""
    from fastai.callback.core import Callback
    from fastai.callback.progress import ProgressCallback
    from fastai.torch_core import defaults

    class Quiet(Callback):
        """Print no row an epoch."""

        def before_fit(self):
            self.learn.logger = lambda row: None

    defaults.callbacks = [c for c in defaults.callbacks if c is not ProgressCallback] + [Quiet]


def notebook_paths(only: Iterable[str] = ()) -> list[Path]:
    """The notebooks in order; `only` names some by stem or number; ValueError if unknown."""
    paths = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    if not paths:
        raise FileNotFoundError(f"no notebooks in {NOTEBOOKS}; run the study from a checkout")
    only = list(only)
    chosen = [p for p in paths if p.stem in only or p.stem.split("_")[0] in only]
    found = {p.stem for p in chosen} | {p.stem.split("_")[0] for p in chosen}
    if unknown := set(only) - found:
        near = hint(min(unknown), stems := [p.stem for p in paths])
        raise ValueError(
            f"unknown notebook {', '.join(sorted(unknown))}; {near}one of {', '.join(stems)}"
        )
    return chosen if only else paths


def check_parameters(path: Path, parameters: Mapping[str, Any]) -> None:
    """Raise ValueError if a notebook has no such parameter (papermill itself would only warn)."""
    import papermill

    _refuse_unknown(path.name, parameters, papermill.inspect_notebook(str(path)))
    check_values(**{name: parameters[name] for name in _COMMON if name in parameters})


def run_study(
    preset: str,
    *,
    data: str | None = None,
    root: str | None = None,
    outputs: str | Path | None = None,
    only: Iterable[str] = (),
    parameters: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
) -> tuple[Path, list[str]]:
    """Execute the notebooks in order; one that fails does not stop the others.

    Args:
        preset: A preset by name.
        data: A data set by name; None: the preset's own.
        root: Its folder, where it is no rendered one.
        outputs: Where notebooks and their report go; None: `study_folder`.
        only: Notebooks by name or number; else all whose labels the data have.
        parameters: Further parameters of the notebooks.
        scheduler: Address of a Dask cluster that makes their runs (`hmtl.runs.cluster`).

    Returns:
        The report, `index.html`, and the names of notebooks that failed.

    Raises:
        ValueError: Before anything runs: an unknown preset, data set, notebook or parameter.
    """
    distributed.refuse("the study")
    chosen = get_preset(preset)
    check_root(data or chosen.data, root)
    data = full_name(data) if data else None
    folder = Path(os.path.expanduser(outputs)) if outputs else study_folder(chosen, data)
    if own := sorted({"preset", "data", "root", "outputs"} & set(parameters or {})):
        raise ValueError(f"{own[0]} has an option of its own: --{own[0]}, not -p {own[0]}")
    values = {"preset": preset, "outputs": str(folder.resolve()), **(parameters or {})}
    values |= {k: v for k, v in (("data", data), ("root", full_root(root))) if v}
    only = list(only)
    paths = notebook_paths(only)
    for path in paths:
        check_parameters(path, values)
    if not only:
        lacks = what_lacks(chosen, data or chosen.data, values.get("root"), paths)
        for name, reason in lacks.items():
            tqdm.write(f"{name}: skipped, {reason}")
        paths = [path for path in paths if path.stem not in lacks]
    folder.mkdir(parents=True, exist_ok=True)
    elsewhere = {cluster.VARIABLE: scheduler} if scheduler else {}
    if scheduler:  # a cluster that cannot serve is known now, not in the first notebook
        with cluster.cluster_executor(scheduler):
            pass
    entries, failed = {}, []
    bar = tqdm(paths, desc="study", unit="notebook")
    for path in bar:
        started = time.perf_counter()
        with _watched(bar, path.stem, folder.parent / "runs"):
            error = _execute(path, folder / path.name, values, elsewhere)
        seconds = time.perf_counter() - started
        state = f"failed: {error}" if error else "done"
        tqdm.write(f"{path.stem}: {state} ({seconds:.0f} s)")
        entries[path.stem] = (folder / path.name, f"{state}, {seconds:.0f} s", error)
        if error:
            failed.append(path.stem)
    for path in notebook_paths():  # what an earlier call left there stays in the report
        if path.stem not in entries and (folder / path.name).is_file():
            error = _failure_in(folder / path.name)
            state = f"failed earlier: {error}" if error else "done earlier"
            entries[path.stem] = (folder / path.name, state, error)
    title = f"hmtl study: preset {preset}, data {data or chosen.data}"
    return write_index(folder, title, [entries[name] for name in sorted(entries)]), failed


@contextmanager
def _watched(bar: tqdm, notebook: str, store: Path) -> Iterator[None]:
    """Meanwhile the bar says which notebook runs, for how long, and how many trainings it made."""
    before, done = set(store.glob("[!.]*")), threading.Event()
    pause = 1 if sys.stderr.isatty() else 60  # seconds: a log gets a line a minute

    def tell() -> None:
        while True:
            made = len(set(store.glob("[!.]*")) - before)
            bar.set_postfix_str(f"{notebook}, trainings made: {made}")
            if done.wait(pause):
                return

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def what_it_saw(folder: Path) -> str:
    """The accuracies that a study's emotion trainings reached, in one line for the terminal."""
    from hmtl.study.plots import method_label

    runs = read_table(folder / "tables" / "20_hmtl_emotion-runs.csv")
    if runs.empty:
        return "no training of emotions: run notebook 20 with a preset"
    share = runs["fraction"].max()
    runs = name_trainings(runs[runs["fraction"] == share])
    scores = 100 * runs.groupby("method", sort=False)["accuracy"].mean()
    told = ", ".join(f"{method_label(name)} {score:.1f} %" for name, score in scores.items())
    guess = ", a guess 12.5 %" if runs["data"].isin(RENDERED).all() else ""
    labels = "all" if share == 1 else f"{100 * share:g} % of the"
    seeds = runs["seed"].nunique()
    return f"accuracy on unseen faces, {labels} labels, {seeds} seeds: {told}{guess}"


def what_lacks(
    preset: Preset, data: str, root: str | None, paths: Iterable[Path]
) -> dict[str, str]:
    """Return notebook -> "ferplus has no head pose" for those that the data cannot serve."""
    if parse_data(data)[0] in RENDERED:  # which have everything
        return {}
    labels = preset.spec(data).load(root).labels
    known, lacks = set(labels.columns[labels.notna().any()]), {}
    for path in paths:
        need = NEEDS.get(path.stem.split("_")[0])
        if need and not known.issuperset(preset.spec(task=need).make_task().columns):
            lacks[path.stem] = f"{data} has no {need.replace('_', ' ')}"
    return lacks


def _execute(
    source: Path, target: Path, values: Mapping[str, Any], variables: Mapping[str, str]
) -> str | None:
    """Execute one notebook by papermill; the error in one line, or None.

    Its kernel has the environment `variables` too. What was at `target` stays until the new one is
    whole. Raises OSError naming `target` if it cannot be written, as on a full disk.
    """
    import nbformat

    with writing(target, "Finished trainings are kept; the same command goes on from them."):
        with new_file(target) as part:
            error = _run_cells(source, part, values, variables)
            if not part.stat().st_size:  # no kernel could be started
                part.write_bytes(source.read_bytes())
            text = part.read_text(encoding="utf-8").replace(part.name, target.name)
            part.write_text(_without_paths(text, values), encoding="utf-8")
            if error and not _failure_in(part):
                _add_failure(part, error)
        _write_html(target.with_suffix(".html"), nbformat.read(target, 4), target.stem)
    return error


def _run_cells(
    source: Path, target: Path, values: Mapping[str, Any], variables: Mapping[str, str]
) -> str | None:
    import papermill

    # the kernel inherits them: no bars in the pages, no start-up chatter on the terminal
    ipython = tempfile.TemporaryDirectory()  # kernels run what lies there, so it is a new one
    quiet = {"HMTL_PROGRESS": "0", "IPYTHONDIR": _quiet_ipython(ipython.name)}
    before = {k: os.environ.get(k) for k in (*quiet, *variables)}
    os.environ.update(quiet | dict(variables))
    try:
        papermill.execute_notebook(
            str(source), str(target), dict(values), kernel_name="python3", progress_bar=False
        )
    except papermill.exceptions.PapermillExecutionError as error:
        return _without_paths(f"{error.ename}: {error.evalue}".splitlines()[0], values)
    except Exception as error:  # a dead kernel, a time-out: the study goes on
        if isinstance(error, OSError) and error.errno:  # a full disk: it does not
            raise
        return _without_paths(f"{type(error).__name__}: {error}".splitlines()[0], values)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        ipython.cleanup()
    return None


def _add_failure(notebook: Path, error: str) -> None:
    """Put at a notebook's end what no cell of it says: that it has no kernel, or lost it."""
    import nbformat

    name, _, value = error.partition(": ")
    said = nbformat.read(notebook, nbformat.NO_CONVERT)
    output = nbformat.v4.new_output("error", ename=name, evalue=value, traceback=[error])
    said.cells.append(nbformat.v4.new_code_cell(outputs=[output]))
    nbformat.write(said, notebook)


def _failure_in(notebook: Path) -> str | None:
    """What went wrong in an executed notebook, in one line; None if nothing did."""
    said = read_json(notebook, _REMEDY, {"cells": list})
    for cell in said["cells"]:
        for output in cell.get("outputs", ()):
            if output.get("output_type") == "error":
                return f"{output.get('ename')}: {output.get('evalue')}".splitlines()[0]
    papermill = said.get("metadata", {}).get("papermill", {})
    return "an exception" if papermill.get("exception") else None


# a picture in a notebook or a page: its base64 letters may spell the name of a folder
_PICTURE = r'"image/(?:png|jpeg)": (?:"[^"]*"|\[[^\]]*\])|data:image/[^"\'\\ )]*'


def _without_paths(text: str, values: Mapping[str, Any]) -> str:
    """Text of an executed notebook without the folders of this machine, which may be passed on.

    Of each the last part stays, of the home folder "~".
    """
    own = [values.get("outputs", ""), *str(values.get("root", "")).split(os.pathsep)]
    if values.get("outputs"):
        own.append(str(Path(values["outputs"]).with_name("runs")))  # the store beside it
    own += [str(cache_dir()), str(outputs_dir())]
    places = [*own, str(NOTEBOOKS), str(NOTEBOOKS.parent), sys.prefix, tempfile.gettempdir()]
    names = {place: Path(place).name for place in places if Path(place).name}
    names[os.path.expanduser("~")] = "~"  # unlike Path.home, it needs none
    for place in sorted(names, key=len, reverse=True):  # a folder before the one it lies in
        if len(Path(place).parts) > 1:
            for escaped in (True, False):  # json may escape what is not ASCII, notebooks do not
                long, short = (
                    json.dumps(part, ensure_ascii=escaped)[1:-1] for part in (place, names[place])
                )
                pattern = re.compile(rf"({_PICTURE})|{re.escape(long)}(?!\w)")
                text = pattern.sub(lambda found: found[1] or short, text)  # noqa: B023
    return text


def _quiet_ipython(folder: str) -> str:
    """An IPython folder whose kernels keep their warnings and colours to themselves.

    Errors of cells come back with the notebook; what a kernel logs is of itself, as that it was
    interrupted when it was told to stop.
    """
    write_text(
        Path(folder) / "profile_default" / "ipython_kernel_config.py",
        "c = get_config()\nc.IPKernelApp.log_level = 50\n"
        'c.InteractiveShell.colors = "nocolor"\nc.InteractiveShell.xmode = "Plain"\n',
    )
    return folder


def write_index(folder: Path, title: str, entries: Iterable[tuple[Path, str, str | None]]) -> Path:
    """Write `index.html`: for each (notebook, state, error) its state, tables and figures."""
    from nbformat.v4 import new_markdown_cell, new_notebook

    style = "<style>.failed { color: #b00 }</style>"
    cells = [new_markdown_cell(f"# {html.escape(title)}\n\n{style}")]
    for notebook, state, error in entries:
        name, kind = notebook.stem, "failed" if error else "note"
        told = f'<p class="{kind}">{html.escape(state)}</p>'
        cells.append(new_markdown_cell(f"## [{name}]({name}.html)\n\n{told}"))
        if notebook.is_file():
            cells += _shown(notebook)
    made = new_notebook(cells=cells)
    hidden = ("exclude_input", "exclude_input_prompt", "exclude_output_prompt")
    options: dict[str, Any] = dict.fromkeys(hidden, True)
    # nothing in it needs a script of the web
    options |= dict.fromkeys(("jquery_url", "require_js_url", "mathjax_url"), "")
    return _write_html(folder / "index.html", made, title, **options)


def _shown(notebook: Path) -> Iterator:
    """The headings, tables and figures of an executed notebook, as cells; empty headings go."""
    import nbformat

    heading = None
    for cell in nbformat.read(notebook, 4).cells:
        if cell.cell_type == "markdown":
            titles = [line for line in cell.source.splitlines() if line.startswith("#")]
            heading = f"### {titles[-1].lstrip('# ')}" if titles else heading
        outputs = [
            output for output in cell.get("outputs", ()) if _is_shown(output.get("data", {}))
        ]
        if outputs and heading:
            yield nbformat.v4.new_markdown_cell(heading)
            heading = None
        if outputs:
            yield nbformat.v4.new_code_cell(outputs=outputs)


def _is_shown(data: Mapping) -> bool:
    """Whether an output is a figure, its caption, or a table."""
    kinds = ("image/png", "image/jpeg", "text/markdown")
    return any(kind in data for kind in kinds) or "<table" in "".join(data.get("text/html", ""))


def _write_html(file: Path, notebook, title: str, **options) -> Path:
    from nbconvert import HTMLExporter

    # the one of its templates that has alternative texts
    body, _ = HTMLExporter(template_name="classic", **options).from_notebook_node(
        notebook, {"metadata": {"name": html.escape(title)}}
    )
    return write_text(file, body)
