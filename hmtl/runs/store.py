"""Finished runs: what the store holds, by name.

A run is one training, named by a hash of everything that can change its numbers: the spec, the
fingerprint of the data, the version of this package. A finished run is a folder, written whole or
not at all (`hmtl.runs.fit`), and is never trained again:

    spec.json          the RunSpec, the data's fingerprint, their colour and fit, the version; the
                       checksums of the other files and its own, compared when a file is read
    metrics.csv        one row an epoch
    best.json          the epoch that is best on the valid split, and its test scores; `chosen_on`
                       is "test" where the data's protocol chooses it on the test images instead
    predictions.csv    one row a test face: key, target, prediction; probability of each class
    model.safetensors  weights of the plain supervised network
    machine.json       machine, library versions, commit, seconds

A run whose loss stops being finite is a result too: another try would end there again. Its folder
has the epochs that were finished, and in the place of predictions and weights

    failure.json            epoch, batch, the losses by name, the seed, the keys of the faces
    failure.safetensors     the batch as the network saw it, and the weights it met
    epoch-*.pt              the state after the epoch before, from which `replay` goes there again

Ours.
"""

__all__ = ["REMEDY", "Run", "default_store", "device_line", "load_run", "run_id", "runs_table"]

import dataclasses
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from hmtl import __version__
from hmtl.files import CHECKED, checked, has_kind, hash_file, read_json, read_record, read_table
from hmtl.paths import file_name, outputs_dir
from hmtl.runs import distributed
from hmtl.runs.specs import RunSpec

REMEDY = "delete its folder and train the run again, or copy it anew from where it came"
_FILES = "metrics.csv", "predictions.csv", "model.safetensors", "machine.json", "failure.json"
_LONGEST = 180  # bytes of a name; a file's may have 255, and more is put around it
_MACHINE = {
    "train_faces": int, "seconds": float, "cpu_seconds": float, "cores": int | None,
    "gpu": str | None, "commit": str | None,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A finished run in the store; its files are read when asked for, and checked then.

    Args:
        path: Its folder.
        spec: The training that made it.

    Raises:
        FileNotFoundError, OSError, ValueError: Of each attribute: naming the file, the field and
            the remedy.
    """

    path: Path
    spec: RunSpec

    @property
    def id(self) -> str:
        """Name of its folder."""
        return self.path.name

    @property
    def weights(self) -> Path:
        """The file of its network's weights. Raises ValueError if the run failed and left none."""
        if self.failure:
            raise ValueError(f"{self.path}: this run left no network, {why(self)}")
        return self.path / "model.safetensors"

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row an epoch: train_loss, valid_loss, the task's metrics, the pretexts' own."""
        task = self.spec.make_task()
        columns = ("epoch", *([task.metric] if task.metric else []))
        file = checked(self.path / "metrics.csv", REMEDY)
        table = read_table(file, REMEDY, columns)
        numbers = table.select_dtypes("number")
        if table.empty and self.failure:  # in its first epoch
            return table
        if table.empty or set(columns) - set(numbers):
            raise ValueError(f"{file} holds no epochs with numbers for each column; {REMEDY}")
        return table

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row a test face: key, target and prediction, as the task stores them.

        Of classes target, predicted (names) and a probability each, `p_<name>`; of head pose
        `target_<angle>` and `predicted_<angle>` in degrees. Raises ValueError if the run failed.
        """
        if self.failure:
            raise ValueError(f"no predictions, {why(self)}")
        file = checked(self.path / "predictions.csv", REMEDY)
        table = read_table(file, REMEDY, ("key",))
        try:
            self.spec.make_task().check_predictions(table)
        except ValueError as error:
            raise ValueError(f"{file}: {error}; {REMEDY}") from None
        return table

    @cached_property
    def best(self) -> dict:
        """`epoch` that is best on the valid split, counted from 1, and its test `scores`.

        `chosen_on` is "test" if it is best on the test images, as is customary: see
        `hmtl.data.readers.protocols`. Empty for runs that were made before this was kept, and for
        those without labels.
        """
        fields = {"epoch": int, "scores": dict}
        best, metric = self._read("best.json", fields), self.spec.make_task().metric
        if best and not has_kind(best["scores"].get(metric), float):
            file = self.path / "best.json"
            raise ValueError(f"{file}: field 'scores' has no number for {metric!r}; {REMEDY}")
        return best

    @cached_property
    def failure(self) -> dict:
        """Where the loss was not finite any more, empty if it always was.

        `epoch` and `batch` counted from 1, `training`, the `losses` by name as text, the `seed`,
        the keys of the `faces`. Such a run has no predictions and no weights.
        """
        fields = {
            "epoch": int, "batch": int, "training": bool, "losses": dict[str, str],
            "seed": int, "faces": list,
        }  # fmt: skip
        return self._read("failure.json", fields)

    def _read(self, name: str, fields: dict[str, Any]) -> dict:
        """What a JSON file says that not every run has; nothing if there is none."""
        path = self.path / name
        if not path.is_file() and name not in self.record.get(CHECKED, {}):
            return {}
        return read_json(checked(path, REMEDY), REMEDY, fields, {"chosen_on": str})

    @cached_property
    def machine(self) -> dict:
        """Where it ran: machine, versions, commit, seconds."""
        file = checked(self.path / "machine.json", REMEDY)
        return read_json(file, REMEDY, _MACHINE, {"warnings": list, "processor": str | None})

    @cached_property
    def pack(self) -> str:
        """Fingerprint of the pixels and labels it learned from."""
        return self.record["data"]

    @cached_property
    def record(self) -> dict:
        """All that spec.json says."""
        return _read_record(self.path)

    @cached_property
    def scores(self) -> dict:
        """Test scores of the last epoch.

        Of classes accuracy, macro_f1 and mean_recall, each in [0, 1]; of head pose mae, mae_yaw,
        mae_pitch, mae_roll and geodesic, in degrees. None of a run that failed.
        """
        if self.failure:
            return {}
        return score_predictions(self.predictions, self.spec.task)


def score_predictions(predictions: pd.DataFrame, task: str = "emotion") -> dict:
    """The scores of a table of a task's predictions, by name."""
    from hmtl.method.tasks import make_task

    return make_task(task).scores(predictions)


def run_id(spec: RunSpec, data_fingerprint: str, kind: str | None = None) -> str:
    """Readable name plus a hash of the spec, the data and the version of the package.

    Hashed too, where there is one: the checkpoints' bytes instead of where they lie, the revision
    of the task or a pretext, that it runs on a GPU and of which kind ("cuda" or "mps"), whose
    arithmetic gives other numbers, and on how many processes. `kind` stands for this machine's.
    """
    from hmtl.method.pretext import make

    digests: dict[str, Any] = {}
    if spec.init not in ("scratch", "imagenet"):
        digests["init"] = _digest("init", spec.init)
    if spec.features and Path(spec.features).is_dir():
        digests["features"] = _digest("features", spec.features)
    text = f"{dataclasses.replace(spec, **digests).to_json()}\n{data_fingerprint}\n{__version__}"
    if kind := gpu_kind() if kind is None else kind:
        text += f"\n{kind}"
    if distributed.world() > 1:
        text += f"\n{distributed.world()} processes"
    task, pretexts = spec.make_task(), {name: make(name) for name in spec.pretexts}
    labelled = task.labelled(list(pretexts.values()), spec.label_views)
    if spec.views == "paired" and set(pretexts) - labelled:
        text += "\nstatistics kept"  # not so before 25 November 2026
    if spec.balance in ("gradnorm", "pcgrad"):
        text += "\nweights that the losses reach"  # not so before 30 November 2026
    parts = {spec.task: task} | pretexts
    text += "".join(f"\n{name} {p.revision}" for name, p in parts.items() if p.revision > 1)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    method = "-".join((*spec.pretexts, spec.views)) if spec.pretexts else "sl"
    task = "" if spec.task == "emotion" else f"-{spec.task}"
    name = f"{file_name(spec.data)}{task}-{spec.arch}-{method}"
    end = f"-s{spec.seed}-{digest}"
    return f"{name.encode()[: _LONGEST - len(end)].decode(errors='ignore')}{end}"


def _digest(field: str, place: str) -> str:
    """Hash of the weights at `place`, a run's folder or a file."""
    start = Path(place)
    if (start / "failure.json").is_file():
        raise ValueError(f"{field}={place!r}: no run can start from it, {why(load_run(start))}")
    file = start / "model.safetensors" if start.is_dir() else start
    if not file.is_file():
        raise FileNotFoundError(f"{field}={place!r}: no checkpoint there")
    return hash_file(checked(file, REMEDY))


def load_run(path: str | Path) -> Run:
    """Open a finished run.

    Its other files are compared with their checksums when they are asked for, so that opening
    hundreds of runs is cheap (`hmtl.use.check` compares all).

    Args:
        path: Its folder.

    Returns:
        The run.

    Raises:
        FileNotFoundError: There is no finished run.
        ValueError: Its `spec.json` was changed or says what cannot be, naming the field.
    """
    path = Path(path)
    if path.name in ("", ".."):  # the name is the run's
        path = path.absolute().resolve()
    if not os.path.isfile(path / "spec.json"):
        raise FileNotFoundError(_what_instead(path))
    record = _read_record(path)
    try:
        return Run(path, RunSpec.from_dict(record["spec"]))
    except ValueError as error:
        made, remedy = record.get("hmtl", __version__), REMEDY
        if made != __version__:
            remedy = f"hmtl {made} made it, this is {__version__}: install that version"
        raise ValueError(f"{path / 'spec.json'}: {error}; {remedy}") from error


def _what_instead(path: Path) -> str:
    """What a folder without spec.json is; a run's alone is ever to be deleted."""
    if path.is_dir() and not os.access(path, os.X_OK):
        return f"{path} cannot be looked into; get the right to read it"
    if (path / "config.json").is_file():
        card = next((file for file in ("README.md", "card.md") if (path / file).is_file()), "")
        told = f", and has its card already: {path / card}" if card else ""
        return f"{path} is no run but a network made of one{told}; give the run's own folder"
    if any((path / name).is_file() for name in _FILES):
        return f"{path} holds no spec.json, so it is no finished run; {REMEDY}"
    ask = "; are these your pictures?" if path.is_dir() else ""
    return f"{path} is no trained network: it holds no spec.json; give a run's folder or name{ask}"


def _read_record(path: Path) -> dict:
    """What the spec.json of a folder says, if it is whole."""
    optional = {"colour": str, "fit": str}
    return read_record(path / "spec.json", REMEDY, {"spec": dict, "data": str}, optional)


def why(run: Run) -> str:
    """Why a run failed, in one line; empty if it did not."""
    if not run.failure:
        return ""
    odd = [name for name, value in run.failure["losses"].items() if "n" in value]  # nan, inf
    phase = "training" if run.failure["training"] else "validation"
    return (
        f"loss not finite ({', '.join(odd)}) in {phase} batch {run.failure['batch']} of epoch "
        f"{run.failure['epoch']}, seed {run.failure['seed']}: {run.id}"
    )


def default_store() -> Path:
    """The run store, `outputs/runs`."""
    return outputs_dir() / "runs"


def gpu_kind() -> str:
    """Where fastai puts a training on this machine: "cuda", "mps", or "" for the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else ""


def device_line() -> str:
    """Where trainings run on this machine, in one line; empty on a processor."""
    import torch

    kind = gpu_kind()
    name = torch.cuda.get_device_name() if kind == "cuda" else kind
    return f"hmtl: trains on {name}" if kind else ""


def start_of(run: Run) -> str:
    """Where the weights come from: "scratch", "imagenet", or what the run at `init` learned.

    Of a pre-training its pretexts; "checkpoint" if `init` is no finished run, nor one of its name
    beside `run`, as in a store that was moved.
    """
    start = run.spec.init
    if start in ("scratch", "imagenet"):
        return start
    for folder in (Path(start), run.path.parent / Path(start).name):
        with suppress(OSError, ValueError):
            before = load_run(folder).spec
            return before.method if before.make_task().columns else "+".join(before.pretexts)
    return "checkpoint"


def runs_table(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a run: id, method, the fields of its spec, test scores, epoch scores, cost.

    Scores of the last and the best epoch on the valid split are `valid_<metric>` and
    `best_valid_<metric>`: accuracy of classes, mae of head pose. `<metric>_at_best` is the test
    score of that `best_epoch`. Where `chosen_on` is "test", all of these are of the test images.
    What a task has not stays empty, and so do the scores of a run that failed, whose `failure` says
    why. `start` says where its weights come from (`start_of`).

    Args:
        runs: Finished ones, failed ones too.

    Returns:
        The table, in their order.
    """
    rows = []
    for run in runs:
        whole = len(run.metrics) > 0  # else the very first epoch failed
        last = run.metrics.iloc[-1] if whole else {}
        own = {k: v for k, v in last.items() if k.endswith("_score")}
        task = run.spec.make_task()
        epochs = {}
        if task.metric and whole:
            valid, best = run.metrics[task.metric], run.best
            epochs = {
                f"valid_{task.metric}": valid.iloc[-1],
                f"best_valid_{task.metric}": task.better(valid),
                "chosen_on": best.get("chosen_on", "valid"), "best_epoch": best.get("epoch"),
                f"{task.metric}_at_best": best.get("scores", {}).get(task.metric),
            }  # fmt: skip
        spec = run.spec.to_dict() | {"label_views": run.spec.views_are_labelled}
        spec["pretexts"] = "+".join(run.spec.pretexts)
        spec["people"] = "/".join(map(str, run.spec.people))
        cost: dict[str, Any] = {k: run.machine.get(k) for k in (*_MACHINE, "processor")}
        rows.append(
            {
                "run": run.id, "method": run.spec.method, **spec, "start": start_of(run),
                "pack": run.pack, **run.scores, **epochs, **own, **cost,
                **({"failure": why(run)} if run.failure else {}),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
