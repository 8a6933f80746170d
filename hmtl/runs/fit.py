"""RunSpec -> fit -> Run: one training, or many.

While a run trains, one process holds it and keeps its state after every epoch, so that one killed
at any moment goes on from its last (`hmtl.runs.unfinished`). What it leaves is read by
`hmtl.runs.store`.

On a CPU a run trains on one thread: its numbers then do not depend on how many cores there are, and
several runs at once never oversubscribe them. Ours.
"""

__all__ = ["Diverged", "build_learner", "fit", "here_and_now", "replay", "run_all"]

import dataclasses
import gc
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path
from threading import RLock

import numpy as np
import pandas as pd
from tqdm import tqdm

from hmtl import __version__
from hmtl.data.pack import Pack
from hmtl.data.pack_report import no_run
from hmtl.data.sets import parse_data
from hmtl.files import write_record
from hmtl.labels import SPLITS
from hmtl.paths import full_root, show_progress
from hmtl.runs import cluster, distributed
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import REMEDY, Run, default_store, gpu_kind, load_run, run_id, why
from hmtl.runs.tracking import check_trackers, tracked
from hmtl.workers import cores, worker_pool

# seeds and torch's threads belong to the process: threads of an executor take turns
_TURN = RLock()


@contextmanager
def _threads(count: int):
    import torch

    with _TURN:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


class Diverged(FloatingPointError):
    """The loss of a run stopped being finite; `path` is its folder in the store."""

    def __init__(self, message: str, path: Path):
        super().__init__(message, path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.args[0]}; kept in {self.path}, for hmtl.runs.fit.replay"


def fit(
    spec: RunSpec, *, root: str | Path | None = None, store: str | Path | None = None,
    threads: int = 1, progress: bool = False, pack: Pack | None = None,
    track: str | Iterable[str] | None = None, wait: bool = True,
) -> Run:  # fmt: skip
    """Train one run, go on with it if it was cut off, or read it if it is finished.

    Started on several processes (`hmtl.runs.distributed`), all train this one run and return it.

    Args:
        spec: The training.
        root: Folder of a real data set, or a pack of it.
        store: Where runs lie; None: `outputs/runs`.
        threads: Of a CPU; with 1 the numbers can be reproduced to the bit elsewhere.
        progress: Whether a bar is shown.
        pack: In the place of the spec's own data.
        track: Names of trackers (`hmtl.runs.tracking`), which change no number; None: those of
            `$HMTL_TRACK`.
        wait: Whether the end is waited for if another process makes this run.

    Returns:
        The finished run.

    Raises:
        ValueError: A split has no face.
        Diverged: A loss is not finite, now or when the run was made.
        Claimed: Another process makes this run, and `wait` is False.
        ModuleNotFoundError: A tracker is not installed.
        OSError: The store cannot be written.
    """
    from hmtl.runs.unfinished import claim

    trackers = check_trackers(track)
    distributed.join(spec.bs)
    pack = spec.load(root, progress) if pack is None else pack
    _check_splits(spec, pack)
    path = Path(store or default_store()) / run_id(spec, pack.fingerprint)
    if not distributed.agreed(_is_made(path)):
        with distributed.by_main(claim(path, wait)) as unfinished, _threads(threads):
            # made by the process that was waited for
            if not distributed.agreed(_is_made(path)):
                _train(spec, pack, path, unfinished, progress, trackers)
    run = _finished(path)
    if run.failure:
        raise Diverged(why(run), path)
    return run


def _is_made(path: Path) -> bool:
    """Whether something stands where a run will; an empty folder, as of a cut copy, is nothing."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


def _finished(path: Path) -> Run:
    """Read a finished run, and clear away what a kill at its very end left of its making."""
    from hmtl.runs.unfinished import FOLDER, Claimed, claim

    left = path.parent / FOLDER / path.name
    if distributed.is_main() and (left.exists() or left.with_name(f"{left.name}.lock").exists()):
        with suppress(Claimed, OSError), claim(path, wait=False):
            pass  # what is left of a finished run goes with the claim
    run = load_run(path)
    if not (run.failure or run.weights.is_file()):
        raise FileNotFoundError(f"{run.weights} is missing; {REMEDY}")
    return run


def _check_splits(spec: RunSpec, pack: Pack) -> None:
    """Raise ValueError, before anything is trained, unless every split has a face."""
    if empty := [split for split in SPLITS if not len(pack.rows(split))]:
        raise ValueError(
            f"{spec.data} has {no_run(parse_data(spec.data)[0], empty)}. You can also train by "
            "hmtl.runs.fit.build_learner and test on another set, as notebooks/02_your_data does "
            f"with 300W-LP{_protocols_of(spec.data)}"
        )


def _protocols_of(data: str) -> str:
    """Name the protocols that read a set beside another one, or none."""
    from hmtl.data.readers.protocols import PROTOCOLS

    reader = parse_data(data)[0]
    fitting = [
        name for name, known in PROTOCOLS.items()
        if len(known.sets) > 1 and reader in [own for _, own, _ in known.sets]
    ]  # fmt: skip
    return f", or give a protocol as data: {' or '.join(fitting)}" if fitting else ""


def build_learner(spec: RunSpec, pack: Pack, device=None):
    """The fastai Learner a spec describes, before its training.

    Args:
        spec: The training.
        pack: The faces it learns from.
        device: Where it runs; None: fastai's default.

    Returns:
        The Learner; its network, heads and order follow the spec's seed.

    Raises:
        ValueError: The network sees pictures of another size only.
    """
    import torch

    from hmtl.method.batches import face_dataloaders
    from hmtl.method.learner import AUTHORS_SCALES, hmtl_learner
    from hmtl.method.optim import OPTIMIZERS
    from hmtl.method.pretext import make

    random.seed(spec.seed)
    np.random.seed(spec.seed)
    torch.manual_seed(spec.seed)
    task, pretexts = spec.make_task(), [make(name, spec.features) for name in spec.pretexts]
    dls = face_dataloaders(
        pack, task=task, size=spec.size, bs=spec.bs, augment=spec.augment, fraction=spec.fraction,
        fraction_seed=spec.fraction_seed or 0, fill=spec.fill, labels=spec.labels,
        sampling=spec.sampling, seed=spec.seed, device=device,
    )  # fmt: skip
    learn = hmtl_learner(
        dls, spec.arch, task, pretexts, views=spec.views, weights=spec.init,
        pretext_weight=spec.pretext_weight, label_views=spec.label_views, balance=spec.balance,
        scales=AUTHORS_SCALES if spec.multiscale else (1.0,), seed=spec.seed, wd=spec.wd,
        opt_func=OPTIMIZERS[spec.optimizer],
    )  # fmt: skip
    if (fixed := learn.model.encoder.fixed_size) not in (None, spec.size):
        raise ValueError(
            f"arch={spec.arch!r} sees pictures of {fixed} pixels only, size is {spec.size}: "
            f"--set size {fixed}"
        )
    return learn


def _train(
    spec: RunSpec, pack: Pack, path: Path, unfinished: Path, progress: bool, trackers: Iterable[str]
) -> None:
    """Train, from the last epoch in `unfinished` if there is one, and write the run to `path`."""
    from hmtl.runs.unfinished import store_errors

    learn, keeper, failure, cost = _fit(spec, pack, unfinished, progress, trackers, path.name)
    columns = learn.recorder.metric_names[1:-1]  # without the epoch and the time
    metrics = pd.DataFrame(list(map(list, learn.recorder.values)), columns=columns)
    metrics.insert(0, "epoch", range(1, len(metrics) + 1))
    left_out = sum(loader.dataset.left_out for loader in learn.dls.loaders)
    record = {
        "spec": dataclasses.asdict(spec), "data": pack.fingerprint, "fit": pack.fit,
        "colour": "grey" if pack.channels == 1 else "colour", "hmtl": __version__,
    }  # fmt: skip
    machine = {**cost, "train_faces": len(np.unique(learn.dls.train_ds.rows)), "left_out": left_out}
    if distributed.world() > 1:
        machine["processes"] = distributed.world()
    if said := pack.meta.get("warnings"):
        machine["warnings"] = said
    machine |= here_and_now()
    with store_errors(path.parent), distributed.one_folder(path) as folder:
        metrics.to_csv(folder / "metrics.csv", index=False)
        _write_json(folder / "machine.json", machine)
        if failure:
            _write_failure(folder, learn, failure, spec.seed, unfinished)
        else:
            _write_answers(folder, learn, keeper, pack, spec)
        write_record(folder / "spec.json", record)


def _fit(spec: RunSpec, *options, **named) -> tuple:
    """`_fit_in_parts`, in as few parts as the GPU's memory allows: one, two, four ..."""
    import torch

    parts = 1
    while True:
        try:
            return _fit_in_parts(parts, spec, *options, **named)
        except torch.OutOfMemoryError:
            if distributed.world() > 1 or spec.bs // (2 * parts) < 2:
                raise
            parts *= 2
        gc.collect()  # a Learner and its callbacks hold each other
        torch.cuda.empty_cache()
        print(
            f"hmtl: the GPU's memory is short: batches of {spec.bs} are made in {parts} parts",
            file=sys.stderr,
        )


def _fit_in_parts(
    parts: int, spec: RunSpec, pack: Pack, unfinished: Path, progress: bool = False,
    trackers: Iterable[str] = (), name: str = "",
) -> tuple:  # fmt: skip
    """The trained Learner, the keeper of its best epoch, its failure or None, and what it cost.

    A batch is made in `parts`, whose gradients are summed before a step. Each has its own batch
    norm, so several parts have the same result but for that.
    """
    import torch
    from fastai.callback.progress import ProgressCallback
    from fastai.callback.training import GradientAccumulation

    from hmtl.runs import callbacks
    from hmtl.runs.unfinished import resumable

    learn = build_learner(dataclasses.replace(spec, bs=spec.bs // parts), pack)
    gathered = [GradientAccumulation(spec.bs)] if parts > 1 else []
    task = spec.make_task()
    keeper = [callbacks.BestEpoch(task.metric, task.better)] if task.metric else []
    finite = callbacks.FiniteLoss(learn.hybrid.losses if spec.pretexts else dict)
    trackers = trackers if distributed.is_main() else ()
    if not progress:
        learn.remove_cbs(ProgressCallback)
    learn.model.to(learn.dls.device, memory_format=torch.channels_last)
    with (
        distributed.shared_fit(learn, spec.seed),
        learn.no_logging(),
        tracked(trackers, name, dataclasses.asdict(spec)) as watching,
        resumable(learn, unfinished) as checkpoints,
        callbacks.bfloat16_products(spec.precision, learn.dls.device),
        callbacks.autocast_ended(learn.dls.device),
    ):
        cbs = [*callbacks.mixed_precision(spec.precision, learn.dls.device), *gathered, *keeper]
        cbs += [finite, checkpoints, *watching]
        callbacks.fit_scheduled(learn, spec.epochs, spec.lr, spec.schedule, cbs)
    cost = {
        "seconds": round(checkpoints.seconds, 2),
        "cpu_seconds": round(sum(distributed.gather(checkpoints.cpu_seconds)), 2),
        "taken_up": checkpoints.taken_up,  # after how many kills
    }
    failure = next(filter(None, distributed.gather(finite.failure)), None)
    return learn, keeper[0] if keeper else None, failure, cost


def _write_json(path: Path, values: dict) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _write_answers(folder: Path, learn, keeper, pack: Pack, spec: RunSpec) -> None:
    """What a finished training leaves: weights, predictions, the best epoch's scores."""
    from safetensors.torch import save_model

    from hmtl.runs.callbacks import plain_statistics

    if spec.norm_stats == "plain":
        plain_statistics(learn, spec.seed)
    predictions = _test(learn, pack)
    predictions.to_csv(folder / "predictions.csv", index=False, float_format="%.6g")
    save_model(learn.model, str(folder / "model.safetensors"))
    if keeper:
        learn.model.load_state_dict(keeper.state)
        if spec.norm_stats == "plain":
            plain_statistics(learn, spec.seed)
        scores = learn.dls.train_ds.task.scores(_test(learn, pack))
        best = {"epoch": keeper.epoch_number, "scores": scores}
        if pack.chosen_on == "test":
            best["chosen_on"] = "test"
        _write_json(folder / "best.json", best)


def _write_failure(folder: Path, learn, failure: dict, seed: int, unfinished: Path) -> None:
    """What a training leaves whose loss is not finite."""
    from safetensors.torch import save_file

    loader = learn.dls.train if failure["training"] else learn.dls.valid
    rows = loader.dataset.rows[np.asarray(failure["positions"])]
    told = {name: failure[name] for name in ("epoch", "batch", "training")}
    told["losses"] = {name: repr(value) for name, value in failure["losses"].items()}
    faces = loader.dataset.pack.labels["key"].iloc[rows].tolist()
    _write_json(folder / "failure.json", {**told, "seed": seed, "faces": faces})
    tensors = {"images": failure["images"]}
    tensors |= {f"labels.{i}": labels for i, labels in enumerate(failure["labels"])}
    tensors |= {f"model.{name}": value for name, value in learn.model.state_dict().items()}
    for pretext, head in (learn.hybrid.heads if hasattr(learn, "hybrid") else {}).items():
        tensors |= {f"{pretext}.{name}": value for name, value in head.state_dict().items()}
    kept = {name: value.cpu().contiguous() for name, value in tensors.items()}
    save_file(kept, str(folder / "failure.safetensors"))
    for state in unfinished.glob("epoch-*.pt"):
        shutil.copy(state, folder)


def replay(run: Run, *, root: str | Path | None = None, pack: Pack | None = None) -> dict:
    """Train a run that failed once more, from its last whole epoch to where it failed.

    Nothing is stored.

    Args:
        run: It failed, and one process made it.
        root: Folder of its data set, where that is a real one.
        pack: In the place of the spec's own data.

    Returns:
        That batch: `epoch`, `batch`, `training`, `losses` by name, `images` float (B, 3, H, W),
        `labels`. On the CPU that made them they are those of `failure.json` and
        `failure.safetensors` to the bit.

    Raises:
        ValueError: The run did not fail, or does not fail again.
    """
    if not run.failure:
        raise ValueError(f"{run.id} did not fail, so there is nothing to replay")
    if (processes := run.machine.get("processes", 1)) > 1:
        raise ValueError(f"{run.id} was made by {processes} processes; replay knows one only")
    pack = run.spec.load(root) if pack is None else pack
    with tempfile.TemporaryDirectory() as place, _threads(1):
        states = Path(place) / "store" / "unfinished"
        states.mkdir(parents=True)
        for state in run.path.glob("epoch-*.pt"):
            shutil.copy(state, states)
        failure = _fit(run.spec, pack, states)[2]
    if failure is None:
        raise ValueError(f"{run.id} trained to its end this time; it failed on another machine?")
    return failure


def _test(learn, pack: Pack) -> pd.DataFrame:
    """The predictions of the test faces, as the task stores them."""
    with learn.no_bar():
        predicted = distributed.predictions(learn, learn.dls[2])
    test = learn.dls[2].dataset
    answers = predicted.float().cpu().numpy()
    return test.task.predictions(pack.labels.iloc[test.rows], answers)


def here_and_now() -> dict:
    """The machine, the versions and the commit (None outside a checkout), for the record."""
    import fastai
    import timm
    import torch

    kind = gpu_kind()
    gpu = torch.cuda.get_device_name() if kind == "cuda" else kind or None
    return {
        "commit": _commit(), "machine": platform.machine(), "processor": _processor(),
        "system": platform.system(), "cores": os.cpu_count(), "gpu": gpu,
        "python": platform.python_version(), "torch": torch.__version__,
        "fastai": fastai.__version__, "timm": timm.__version__,
    }  # fmt: skip


def _processor() -> str | None:
    """The processor's name, as the system tells it; None where it tells none."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for name, _, value in (line.partition(":") for line in lines):
            if name.strip() == "model name":
                return value.strip() or None
    return platform.processor() or None


def _commit() -> str | None:
    """The commit of the checkout this package is in; None without git, or if it is in none.

    A package installed somewhere below another project's checkout has not that one's commit.
    """
    checkout = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(checkout), "rev-parse", "--show-toplevel", "--short", "HEAD"]
    try:
        said = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    except OSError:  # no git on this machine
        return None
    return said[1] if len(said) == 2 and Path(said[0]).resolve() == checkout else None


def run_all(
    specs: Iterable[RunSpec], *, root: str | Path | None = None, store: str | Path | None = None,
    jobs: int | None = None, progress: bool | None = None, executor: Executor | None = None,
) -> list[Run]:  # fmt: skip
    """Make every run that is not finished yet.

    Runs that another process is making are left to it, and waited for at the end. A run whose loss
    is not finite is returned like the others, with its `failure`. One that fails otherwise does not
    stop the others.

    Args:
        specs: The trainings; one that is given twice is made once.
        root: Folder of a real data set, or a pack of it.
        store: Where runs lie; None: `outputs/runs`.
        jobs: Runs at once, each in a process of its own on one thread; None: one a core, 1 on a
            GPU.
        progress: Whether a bar is shown; None: `hmtl.paths.show_progress`.
        executor: Of concurrent.futures, or Dask's `client.get_executor()`: makes the runs in the
            place of these processes, and stays open. None: the cluster at `$HMTL_SCHEDULER`, if
            that is set (`hmtl.runs.cluster`).

    Returns:
        The runs, in the order of `specs`.

    Raises:
        RuntimeError: Naming every run that failed; the others are stored.
        OSError, ValueError: No run can be made at all: their data cannot be read.
    """
    from hmtl.runs.unfinished import Claimed

    distributed.refuse("run_all")
    check_trackers(None)  # once and now, not once a run
    specs = list(specs)
    progress = show_progress() if progress is None else progress
    found: dict[RunSpec, Run | BaseException] = {}
    todo: dict[RunSpec, Path] = {}
    unread: list[Exception] = []
    for spec in dict.fromkeys(specs):  # each once, in order
        try:
            pack = spec.load(root, progress)  # rendered here, once, before the processes start
        except (OSError, ValueError) as error:  # of this run's data
            unread.append(error)
            found[spec] = error
            continue
        try:
            path = Path(store or default_store()) / run_id(spec, pack.fingerprint)
            if _is_made(path):
                found[spec] = _finished(path)
            else:
                todo[spec] = path
        except (OSError, ValueError) as error:  # of this run alone: its start, its folder
            found[spec] = error
    if unread and len(unread) == len(set(specs)):  # nothing can be made: one error, not many
        raise unread[0]
    if jobs is None:
        jobs = 1 if gpu_kind() else cores()
    # absolute: processes elsewhere have another working directory, and another $HMTL_OUTPUTS
    options = {"root": full_root(root), "store": Path(store or default_store()).absolute()}
    bar = tqdm(total=len(todo), desc="training", unit="run", disable=not progress or not todo)
    with bar, ExitStack() as stack:
        address = os.environ.get(cluster.VARIABLE)
        if todo and executor is None and address:
            executor = stack.enter_context(cluster.cluster_executor(address))
        elsewhere: list[RunSpec] = []  # what others make: waited for, and taken up if they die
        ours = _attempts(list(todo), jobs, {**options, "wait": False}, executor)
        for spec, outcome in chain(ours, _attempts(elsewhere, jobs, options, executor)):
            if isinstance(outcome, Claimed):
                elsewhere.append(spec)
                continue
            here = todo[spec]
            if isinstance(outcome, Diverged):
                tqdm.write(str(outcome), file=sys.stderr)
                outcome = load_run(outcome.path)
            elif isinstance(outcome, Run) and (
                outcome.path.name != here.name or not (here / "spec.json").is_file()
            ):
                outcome = RuntimeError(
                    f"made as {outcome.path}, which is not {here} here: a worker elsewhere "
                    "needs this version of hmtl, and the run store on a disk that all machines "
                    "share, under one path (--outputs or $HMTL_OUTPUTS)"
                )
            found[spec] = outcome
            bar.update()
    runs = {spec: run for spec, run in found.items() if isinstance(run, Run)}
    failed = {spec: e for spec, e in found.items() if isinstance(e, BaseException)}
    if failed:
        listed = "\n".join(f"  {spec.method}, seed {spec.seed}: {e}" for spec, e in failed.items())
        raise RuntimeError(
            f"{len(failed)} of {len(specs)} runs failed, the others are stored:\n{listed}"
        ) from next(iter(failed.values()))
    return [runs[spec] for spec in specs]


def _attempts(todo: list[RunSpec], jobs: int, options: dict, executor: Executor | None):
    """Yield (spec, Run or Exception) as runs end, `jobs` at once or as the executor has room."""
    jobs = min(jobs, len(todo))
    if jobs <= 1 and executor is None:
        for spec in todo:
            try:
                yield spec, fit(spec, **options)
            except Exception as error:
                yield spec, error
        return
    killed = []
    with worker_pool(jobs) if executor is None else nullcontext(executor) as pool:
        pending = {pool.submit(fit, spec, **options): spec for spec in todo}
        try:
            for future in as_completed(pending):
                outcome = _outcome(future)
                if executor is None and isinstance(outcome, BrokenExecutor):
                    killed.append(pending[future])
                else:
                    yield pending[future], outcome
        finally:  # Ctrl-C: those not begun yet never begin
            for future in pending:
                future.cancel()
    for spec in killed:  # one process killed takes its pool along: which of them was it?
        with worker_pool(1) as pool:
            outcome = _outcome(pool.submit(fit, spec, **options))
        if isinstance(outcome, BrokenExecutor):
            outcome = RuntimeError(
                "its process was killed from outside, alone too, or cannot start (then it said why "
                "above); if for want of memory, take fewer jobs or a smaller bs"
            )
        yield spec, outcome


def _outcome(future: Future) -> Run | BaseException:
    try:
        return future.exception() or future.result()
    except CancelledError:
        return RuntimeError("given up by its executor, which was closed or lost its scheduler")
