"""The plan: which trainings decide the claims, and the command that makes what is missing of them.

`papers/hmtl/plan.csv` is the one list of cells (papers/hmtl/protocol.md says why these):

    part, block    what `decide` is asked for; the cells of a block are made seed by seed
    task, data     what is learned from what
    labels         all, or few: `FEW` of them
    arm            one of `ARMS`
    epochs         of the length of all labels, however few are shown
    first, seeds   the first seed and how many

Learning rates, and the puzzle's weight and gap, are chosen before a training that needs them, by
trials with few labels, half the epochs and seeds that no cell has. Ours.
"""

__all__ = [
    "ARMS", "BASE", "FEW", "RATES", "TUNED", "Cell", "cells", "choose", "cost_table", "decide",
    "gather", "missing_runs", "row_key", "seeds_planned", "spec_of", "trials_table",
]  # fmt: skip

import csv
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from hmtl.data.sets import parse_data
from hmtl.method.tasks import make_task
from hmtl.paths import full_root, reference_dir
from hmtl.runs.fit import Diverged, fit
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import Run, default_store, gpu_kind, load_run, run_id, runs_table
from hmtl.study.tables import PAPERS, PLAN
from hmtl.workers import worker_pool

BASE: dict = {
    "arch": "tiny", "bs": 128, "optimizer": "muon", "precision": "bf16", "fill": True,
    "norm_stats": "plain",
}  # fmt: skip
"""The recipe: what all trainings of the plan share, as fields of a RunSpec."""
RATES = (2e-3, 4e-3, 8e-3, 16e-3)
"""Peak learning rates that are tried; beyond an end while the best lies there."""
FEW = {"faces": 0.1, "ferplus": 0.05}
"""The share that few labels are, by data set; elsewhere a twentieth."""
PEOPLE = (300, 50, 2500)
"""People in train, valid and test of rendered faces."""
TRIAL_PEOPLE = (300, 500, 125)
"""The same where a rate is chosen: train and the first test people are those of `PEOPLE`."""
TRIAL_SEEDS = (100, 101)
FURTHER = 3  # times a grid is extended at most
_PUZZLE = {"pretexts": ("puzzling_2x2",)}
_LITE = {"arch": "tf_efficientnet_lite0", "augment": "strong", "size": 112, "bs": 64,
         "optimizer": "", "precision": ""}  # fmt: skip
ARMS: dict[str, dict] = {
    "SL": {},
    "second_view": {"pretexts": ("second_view",)},
    "second_view_unlabelled": {"pretexts": ("second_view",), "label_views": False},
    "puzzle": _PUZZLE,
    "only_puzzle": {"pretexts": ("only_puzzling_2x2",)},
    "puzzle_unlabelled": {"pretexts": ("unlabelled_puzzling_2x2",)},
    "puzzle_then_SL": {},
    "rotation_then_puzzle": _PUZZLE,
    "inpainting": {"pretexts": ("inpainting_grid_pl",)},
    "inpainting_pixels": {"pretexts": ("inpainting_grid",)},
    "puzzle_3x3": {"pretexts": ("puzzling_3x3",)},
    "puzzle_gap": {"pretexts": ("puzzling_2x2_gap4",)},
    "tile_rotation": {"pretexts": ("tile_rotation_2x2",)},
    "jigsaw": {"pretexts": ("jigsaw_2x2",)},
    "image_rotation": {"pretexts": ("image_rotation",)},
    "random_target": {"pretexts": ("random_target",)},
    "puzzle_shared": {**_PUZZLE, "views": "shared"},
    "puzzle_geometric": {**_PUZZLE, "balance": "geometric"},
    "puzzle_uncertainty": {**_PUZZLE, "balance": "uncertainty"},
    "imagenet": {**_LITE, "init": "imagenet"},
    "scratch": _LITE,
}
"""Ways of training, as fields of a RunSpec."""
BEFORE = {"puzzle_then_SL": "puzzling_2x2", "rotation_then_puzzle": "image_rotation"}
"""What an arm is pre-trained by, on all pictures, for as many epochs."""
TUNED = {
    "second_view_unlabelled": "second_view", "only_puzzle": "puzzle",
    "puzzle_unlabelled": "puzzle", "puzzle_then_SL": "SL", "rotation_then_puzzle": "puzzle",
    **dict.fromkeys((
        "inpainting_pixels", "puzzle_3x3", "puzzle_gap", "tile_rotation", "jigsaw",
        "image_rotation", "random_target", "puzzle_shared", "puzzle_geometric",
        "puzzle_uncertainty",
    ), "puzzle"),
}  # fmt: skip
"""Arms that take the choice made for another."""
APART = {"imagenet": "10_imagenet_versus_scratch"}
"""Parts that are a study of their own, with a network of their own: the notebook that shows it."""
WEIGHTS, GAPS = (0.1, 1.0), (4,)
"""Of the puzzle, tried beside the authors' weight and no gap at the rate chosen."""


@dataclass(frozen=True)
class Cell:
    """One row of the plan."""

    part: str
    block: int
    task: str
    data: str
    labels: str
    arm: str
    epochs: int
    first: int
    seeds: int


def cells(part: str = "", file: Path | None = None) -> list[Cell]:
    """The cells of a part of the plan, or all of it.

    Args:
        part: Its name; empty for all.
        file: In place of papers/hmtl/plan.csv.

    Returns:
        They stand in the order in which they are made.

    Raises:
        ValueError: No such part, or a row with an unknown arm or share, or a wrong number.
        FileNotFoundError: There is no such file; papers belong to a checkout.
    """
    file = file or PAPERS / "hmtl" / "plan.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        found = [_cell(row, f"{file}, line {n}") for n, row in enumerate(csv.DictReader(lines), 2)]
    known = list(dict.fromkeys(cell.part for cell in found))
    if part and part not in known:
        raise ValueError(f"unknown part {part!r}; one of {', '.join(known)}")
    return [cell for cell in found if part in ("", cell.part)]


def _cell(row: dict, where: str) -> Cell:
    values = dict(row)
    for name in ("block", "epochs", "first", "seeds"):
        if not str(row.get(name)).isdigit():
            raise ValueError(f"{where}: {name} must be a whole number, got {row.get(name)!r}")
        values[name] = int(row[name])
    for name, valid in (("arm", ARMS), ("labels", ("all", "few"))):
        if row[name] not in valid:
            raise ValueError(f"{where}: unknown {name} {row[name]!r}; one of {', '.join(valid)}")
    return Cell(**values)


def seeds_planned(data: str, task: str, labels: str) -> int:
    """How many seeds a cell's trainings have before they are judged; 0: the plan has none.

    What only the plateau asks for, or the table of tasks, does not count.
    """
    own = [c for c in cells() if (c.data, c.task, c.labels) == (data, task, labels)]
    judged = [cell.seeds for cell in own if cell.part not in ("plateau", "tasks")]
    return min(judged, default=0)


def share(data: str) -> float:
    """The share that few labels of a data set are."""
    return FEW.get(parse_data(data)[0], 0.05)


def spec_of(cell: Cell, seed: int, chosen: dict | None = None, **changes) -> RunSpec:
    """The training of a cell and seed with the `chosen` fields of its trials.

    Of an arm that is pre-trained the second part, as if it began from nothing. A seed draws
    weights, order, augmentation and which labels are kept.
    """
    chosen = dict(chosen or {})
    gap = chosen.pop("gap", 0)
    fields = {**BASE, "task": cell.task, "data": cell.data, "epochs": cell.epochs, "seed": seed}
    fields |= {"people": PEOPLE} | ARMS[cell.arm]
    if cell.labels == "few":
        fields |= {"fraction": share(cell.data), "fraction_seed": seed}
    if gap and "pretexts" in fields:
        names = fields["pretexts"]
        fields["pretexts"] = tuple(n.replace("_2x2", f"_2x2_gap{gap}") for n in names)
    if cell.arm in ("SL", "puzzle_then_SL", "only_puzzle"):
        chosen.pop("pretext_weight", None)
    return RunSpec(**{**fields, **chosen, **changes})


def pretraining_of(cell: Cell, spec: RunSpec) -> RunSpec:
    """The first part of an arm that is pre-trained: all pictures, no label, as many epochs."""
    return replace(
        spec, task="pretraining", pretexts=(BEFORE[cell.arm],), views="shared", fraction=1.0,
        label_views=None, pretext_weight=None,
    )  # fmt: skip


def _run_of(cell: Cell, spec: RunSpec, get: Callable[[RunSpec], Run]) -> Run:
    """A cell's run, its pre-training first: `get` trains or finds the run of a spec.

    A pre-training that diverged is returned itself: no run can start from it.
    """
    if cell.arm in BEFORE:
        before = get(pretraining_of(cell, spec))
        if before.failure:
            return before
        spec = replace(spec, init=str(before.path))
    return get(spec)


def _fitted(spec: RunSpec, root: str | None, store: Path) -> Run:
    """Train a run, or read it; one that diverged too."""
    try:
        return fit(spec, root=root, store=store)
    except Diverged as error:
        return load_run(error.path)


def _all(tasks: Sequence[Callable[[], Run]], jobs: int, tell: Callable[[Run, float], None]) -> None:
    """Call every task, `jobs` at once, and tell of each run when it is there."""
    if jobs <= 1:
        for task in tasks:
            started = time.perf_counter()
            tell(task(), time.perf_counter() - started)
        return
    with worker_pool(min(jobs, len(tasks) or 1)) as pool:
        started, pending = time.perf_counter(), [pool.submit(task) for task in tasks]
        try:
            for future in as_completed(pending):
                tell(future.result(), time.perf_counter() - started)
        finally:  # after Ctrl-C or an error nothing new is begun
            for future in pending:
                future.cancel()


# -- trials --------------------------------------------------------------------------------------


def _trial_cell(cell: Cell) -> Cell:
    """Few labels and half the epochs that the plan gives supervised training with few labels."""
    few = [c.epochs for c in cells() if (c.data, c.labels, c.arm) == (cell.data, "few", "SL")]
    return replace(cell, labels="few", epochs=max(1, min(few, default=cell.epochs) // 2))


def _value(run: Run) -> float:
    """A run's last score on the valid split, more is better; of one that diverged minus infinity.

    So a rate that breaks a training is never chosen.
    """
    task = run.spec.make_task()
    if run.failure:
        return float("-inf")
    last = float(run.metrics[task.metric].iloc[-1])
    return last if task.better is max else -last


def choose(
    value: Callable[[dict], float], puzzle: bool = False, rates: Iterable[float] = RATES
) -> dict:
    """The best of a grid of rates, extended while the best lies at an end; then weight and gap.

    Args:
        value: Fields of a RunSpec (and `gap`) -> how good they are; more is better.
        puzzle: Whether weight and gap are chosen too, at the rate that is best.
        rates: The grid, rising by a constant factor.

    Returns:
        The fields chosen: `lr`, and of a puzzle `pretext_weight` and `gap` where they help.
    """
    grid = sorted(rates)
    tried = {lr: value({"lr": lr}) for lr in grid}
    step = grid[1] / grid[0]
    for _ in range(FURTHER):
        best = max(tried, key=tried.__getitem__)
        if min(tried) < best < max(tried):
            break
        further = best * step if best == max(tried) else best / step
        tried[further] = value({"lr": further})
    best = max(tried, key=tried.__getitem__)
    options = [{"lr": best}]
    if puzzle:
        options += [{"lr": best, "pretext_weight": w} for w in WEIGHTS]
        options += [{"lr": best, "gap": gap} for gap in GAPS]
    values = [tried[best], *(value(option) for option in options[1:])]
    return options[values.index(max(values))]


_TRIED = ("data", "task", "arm", "lr", "pretext_weight", "gap", "seed", "epochs")
_TRAINED = ("data", "task", "arch", "method", "start", "fraction", "epochs", "seed", "lr")


def row_key(row: dict, names: Iterable[str]) -> tuple:
    """Values of a row that tell trainings apart, numbers as the record writes them."""
    values = (row[name] for name in names)
    shown = ("" if value is None or value != value else value for value in values)
    return tuple(f"{v:.6g}" if isinstance(v, int | float) else str(v) for v in shown)


def _tried(arm: str, spec: RunSpec) -> dict:
    """What a trial is, as a row of `trials_table` says it."""
    gap = re.search(r"_gap(\d+)", "".join(spec.pretexts))
    return {
        "data": spec.data, "task": spec.task, "arm": arm, "lr": spec.lr,
        "pretext_weight": spec.pretext_weight, "gap": int(gap[1]) if gap else 0,
        "seed": spec.seed, "epochs": spec.epochs,
    }  # fmt: skip


def _trained(cell: Cell, seed: int, chosen: dict) -> dict:
    """What a cell's run is, as a row of runs.csv says it."""
    spec, plain = spec_of(cell, seed, chosen), spec_of(cell, seed)
    before = pretraining_of(cell, spec).pretexts if cell.arm in BEFORE else ()
    start = "+".join(before) or spec.init
    return {
        "data": spec.data, "task": spec.task, "arch": spec.arch, "method": plain.method,
        "start": start, "fraction": spec.fraction, "epochs": spec.epochs, "seed": seed,
        "lr": spec.lr,
    }  # fmt: skip


def _in_record(folder: Path | None = None) -> tuple[dict[tuple, float], set[tuple]]:
    """What the record holds of the plan: trials with their value, and runs.

    So machines that come later go on where the record ends, without the weights that were left
    behind.
    """
    folder = folder or reference_dir()
    tables = {}
    for name, file in (("runs", folder / "runs.csv"), ("trials", folder / "tables/trials.csv")):
        table = pd.read_csv(file, low_memory=False) if file.is_file() else pd.DataFrame()
        tables[name] = table.to_dict("records")
    trials = {}
    for row in tables["trials"]:
        sign = 1 if make_task(row["task"]).better is max else -1
        valid = float(row["valid"])  # infinite of one that diverged: never the best
        trials[row_key(row, _TRIED)] = sign * valid if math.isfinite(valid) else -math.inf
    return trials, {row_key(row, _TRAINED) for row in tables["runs"]}


def chosen_for(cell: Cell, score: Callable[[Cell, RunSpec], float]) -> dict:
    """What trials choose for a cell's arm.

    `score` gives a trial's value: of a run just made, or of one that is there.
    """
    trial = _trial_cell(replace(cell, arm=TUNED.get(cell.arm, cell.arm)))

    def value(fields: dict) -> float:
        specs = [spec_of(trial, s, fields, people=TRIAL_PEOPLE) for s in TRIAL_SEEDS]
        return sum(score(trial, spec) for spec in specs) / len(specs)

    return choose(value, puzzle=trial.arm == "puzzle")


# -- the command ---------------------------------------------------------------------------------


def decide(
    part: str,
    *,
    store: str | Path | None = None,
    root: str | Path | None = None,
    data: str = "",
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> int:
    """Train what is missing of a part of the plan, in order; a second call goes on where it was.

    What the committed record holds is not trained again.

    Args:
        part: A part of the plan, or empty for all of it.
        store: The run store (outputs/runs).
        root: Folder of FER+.
        data: One data set of the part alone.
        jobs: Runs at once, each on one thread.
        say: Is given a line a run.

    Returns:
        How many runs of the part are in the store now, beside those of the record.

    Raises:
        ValueError: No such part or data set in it, or no root for a data set that needs one.
    """
    store, root = Path(store or default_store()).absolute(), full_root(root)
    wanted = [cell for cell in cells(part) if data in ("", cell.data)]
    if not wanted:
        raise ValueError(f"part {part!r} has no cell of data {data!r}")
    if not root and any(parse_data(cell.data)[0] != "faces" for cell in wanted):
        raise ValueError("part needs FER+: give its folder as --root, or --data faces")

    tried, trained = _in_record()
    train = partial(_fitted, root=root, store=store)
    told: set[str] = set()

    def tell(name: str, run: Run, seconds: float) -> None:
        if run.id in told:  # a trial that several cells ask for
            return
        told.add(run.id)
        metric = run.spec.make_task().metric
        said = "diverged" if run.failure else f"{metric} {run.scores[metric]:.4f}"
        stamp = time.strftime("%H:%M:%S")
        say(
            f"{stamp} {name}: {run.spec.data} {run.spec.fraction:g} {run.spec.method} "
            f"lr {run.spec.lr:g} epochs {run.spec.epochs} seed {run.spec.seed}: {said} "
            f"({seconds:.0f} s) {run.id}"
        )

    def score(cell: Cell, spec: RunSpec) -> float:
        if (key := row_key(_tried(cell.arm, spec), _TRIED)) in tried:
            return tried[key]
        started = time.perf_counter()
        run = _run_of(cell, spec, train)
        tell("trial", run, time.perf_counter() - started)
        return _value(run)

    made = 0
    for block in dict.fromkeys((cell.part, cell.block) for cell in wanted):
        own = [cell for cell in wanted if (cell.part, cell.block) == block]
        best = {cell: chosen_for(cell, score) for cell in own}
        tasks = [
            partial(_run_of, cell, spec_of(cell, seed, best[cell]), train)
            for seed in sorted({s for c in own for s in range(c.first, c.first + c.seeds)})
            for cell in own
            if cell.first <= seed < cell.first + cell.seeds
            and row_key(_trained(cell, seed, best[cell]), _TRAINED) not in trained
        ]
        _all(tasks, jobs, partial(tell, block[0]))
        made += len(tasks)
    return made


def missing_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """What the plan still lacks, and what it would cost.

    Args:
        runs: Rows of the record.

    Returns:
        One row a part and data set that lacks any: part, data, runs, and core-hours without
        trials, from the seconds an epoch of the same network, data set and kind of training
        takes in the record. Of a network that has no run there: from the pictures a second in
        `bench-cpu.json`. Empty where neither is known.
    """
    trained = set(_keys(runs))
    own = runs[runs["fraction"].eq(1) | runs["fill"].eq(True)]
    kinds = [own["data"], own["arch"], own["pretexts"].notna() & own["pretexts"].ne("")]
    rate = (own["cpu_seconds"] / own["epochs"]).groupby(kinds).median()
    faces = own["train_faces"].where(own["fraction"].eq(1)).groupby(own["data"]).median()
    speed = _benched()
    rows = []
    for cell, seed, key in _planned():
        if key not in trained:
            spec = spec_of(cell, seed)
            first = rate.get((cell.data, spec.arch, True), math.nan) if cell.arm in BEFORE else 0
            network = (f"{spec.arch}, {spec.size} px", f"ours, {spec.augment}")
            timed = faces.get(cell.data, math.nan) / speed.get(network, math.nan)
            seconds = rate.get((cell.data, spec.arch, bool(spec.pretexts)), timed) + first
            rows.append((cell.part, cell.data, seconds * cell.epochs / 3600))
    table = pd.DataFrame(rows, columns=["part", "data", "core-hours"])
    parts = table.groupby(["part", "data"], sort=False)["core-hours"]
    return parts.agg(
        **{"runs": "size", "core-hours": lambda hours: hours.sum(skipna=False)}
    ).round(1).reset_index()  # fmt: skip


def cost_table(runs: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """What each part of the plan cost, and the trials before it.

    A training of several parts counts in the first. Pre-trainings are not in the record, and not
    counted.

    Args:
        runs: Of the record.
        trials: `trials_table`'s.

    Returns:
        Columns: data, part, number, core-seconds (one thread each) and processor, which is empty
        where a record of before 2026-11-30 does not tell it. Trials are a part a task, "trials of
        emotion".
    """
    first: dict[tuple, str] = {}
    for cell, _, key in _planned():
        first.setdefault(key, cell.part)
    tried = [f"trials of {row['task'].replace('_', ' ')}" for row in trials.to_dict("records")]
    made = [first.get(key, "no longer planned") for key in _keys(runs)]
    table = pd.concat([runs.assign(part=made), trials.assign(part=tried)])
    table = table.reindex(columns=["data", "part", "cpu_seconds", "processor"])
    own = table.groupby(["data", "part"], sort=False)
    return own.agg(**{
        "number": ("cpu_seconds", "size"),
        "core-seconds": ("cpu_seconds", lambda seconds: round(seconds.sum())),
        "processor": ("processor", _names),
    }).reset_index()  # fmt: skip


def _names(told: pd.Series) -> str:
    """The processors that runs name, and whether some runs name none."""
    names = sorted({*told.dropna()} - {""})
    rest = bool(names) and told.fillna("").eq("").any()
    return ", ".join([*names, *(["others not told"] if rest else [])])


def _planned() -> Iterator[tuple[Cell, int, tuple]]:
    """Every training of the plan: its cell, its seed, and its key among `_keys`."""
    for cell in cells():
        for seed in range(cell.first, cell.first + cell.seeds):
            yield cell, seed, row_key(_trained(cell, seed, {}), _TRAINED[:-1])


def _keys(runs: pd.DataFrame) -> list[tuple]:
    """What each run of the record is, whatever rate was chosen for it."""
    return [row_key(row, _TRAINED[:-1]) for row in runs.to_dict("records")]


def _benched() -> pd.Series:
    """Pictures a second that supervised training takes, by network and training of `make bench`."""
    file = reference_dir() / "bench-cpu.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["epochs"] if file.is_file() else []
    table = pd.DataFrame(rows, columns=["network", "training", "images/s"])
    return table.set_index(["network", "training"])["images/s"]


class _MissingError(Exception):
    """A run of the plan is not in the store yet."""


def gather(
    store: str | Path | None = None, root: str | Path | None = None
) -> tuple[pd.DataFrame, list[Run], pd.DataFrame]:
    """What a store holds of the plan: (table of its runs, these, `trials_table`)."""
    store, root = Path(store or default_store()).absolute(), full_root(root)
    packs: dict = {}
    trials: dict[str, tuple[str, Run]] = {}

    def find(spec: RunSpec, kind: str) -> Run:
        key = (spec.data, spec.people, spec.size)
        if key not in packs:
            if parse_data(spec.data)[0] != "faces" and not root:
                raise _MissingError
            packs[key] = spec.load(root).fingerprint
        path = store / run_id(spec, packs[key], kind)
        if not path.is_dir():
            raise _MissingError
        return load_run(path)

    def run_of(cell: Cell, spec: RunSpec) -> Run:
        for kind in dict.fromkeys((gpu_kind(), "", "cuda", "mps")):  # of another machine too
            with suppress(_MissingError):
                return _run_of(cell, spec, partial(find, kind=kind))
        raise _MissingError

    known = _in_record()[0]

    def score(cell: Cell, spec: RunSpec) -> float:
        try:
            run = run_of(cell, spec)
        except _MissingError:
            if (key := row_key(_tried(cell.arm, spec), _TRIED)) in known:
                return known[key]
            raise
        trials[run.id] = (cell.arm, run)
        return _value(run)

    found: dict[str, Run] = {}
    names: dict[str, str] = {}
    studies: dict[str, str] = {}
    chosen: dict[tuple, dict] = {}
    for cell in cells():
        try:
            best = chosen_for(cell, score)
        except _MissingError:
            continue
        chosen[cell.data, cell.task, TUNED.get(cell.arm, cell.arm)] = best
        for seed in range(cell.first, cell.first + cell.seeds):
            try:
                run = run_of(cell, spec_of(cell, seed, best))
            except _MissingError:
                continue
            if run.spec.task != cell.task:  # a pre-training that diverged
                continue
            found[run.id], names[run.id] = run, spec_of(cell, seed).method
            studies[run.id] = APART.get(cell.part, PLAN)
    runs = list(found.values())
    table = runs_table(runs)
    if runs:
        table.insert(0, "study", table["run"].map(studies))
        table["method"] = table["run"].map(names)  # whatever weight and gap were chosen
    return table, runs, trials_table(trials.values(), chosen)


def trials_table(trials: Iterable[tuple[str, Run]], chosen: dict) -> pd.DataFrame:
    """One row a trial: what was tried, its score on the valid split, and whether it was chosen."""
    rows = []
    for arm, run in trials:
        spec = run.spec
        tried = _tried(arm, spec)
        best = chosen.get((spec.data, spec.task, arm), {})
        told = {"pretext_weight": None, "gap": 0, **best}
        same = all(tried[name] == told[name] for name in ("lr", "pretext_weight", "gap") if best)
        own = {"valid": abs(_value(run)), "chosen": bool(best) and same, "run": run.id}
        own |= {name: run.machine.get(name) for name in ("cpu_seconds", "processor")}
        rows.append({"study": PLAN, **tried, **own})
    return pd.DataFrame(
        rows, columns=["study", *_TRIED, "valid", "chosen", "run", "cpu_seconds", "processor"]
    )
