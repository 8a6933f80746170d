"""Runs watched from outside, if asked for: TensorBoard, Weights & Biases, MLflow.

`fit(spec, track="tensorboard")`, `python -m hmtl run --track tensorboard`, or the environment
variable `HMTL_TRACK=tensorboard,mlflow`, which notebooks and workers read too. A tracker reads
losses and metrics and draws no random number, so a run has the same numbers and the same name with
or without it, and `metrics.csv` is always written. What a tracker takes
counts in the run's seconds. A finished run is read, not trained, so nothing of it is tracked again.

    tensorboard  <outputs>/tensorboard/<run>     fastai's TensorBoardCallback
    wandb        project "hmtl", a run each      WANDB_MODE=offline leaves it on this machine
    mlflow       experiment "hmtl", a run each   where it is kept: MLFLOW_TRACKING_URI

fastai's WandbCallback is not used: it writes down every object the Learner holds, and stops at the
first path among them (fastai 2.8). The last two get each epoch's row of metrics.csv instead.
"""

__all__ = ["TRACKERS", "VARIABLE", "check_trackers", "tracked"]

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

from hmtl.labels import check_known
from hmtl.paths import outputs_dir

TRACKERS = ("tensorboard", "wandb", "mlflow")
VARIABLE = "HMTL_TRACK"
PROJECT = "hmtl"


def check_trackers(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """The trackers asked for, each once: names, names with commas, or None for `$HMTL_TRACK`.

    Raises ValueError for one that is not known and ModuleNotFoundError, with the command that
    installs it, for one whose package is missing.
    """
    if names is None:
        names = os.environ.get(VARIABLE, "")
    given = names.split(",") if isinstance(names, str) else names
    wanted = tuple(dict.fromkeys(name.strip() for name in given if name.strip()))
    for name in wanted:
        check_known(f"unknown tracker {name!r} (--track or ${VARIABLE});", name, TRACKERS)
        if find_spec(name) is None:
            raise ModuleNotFoundError(
                f"tracking by {name} needs a package that is not installed: pip install {name}",
                name=name,
            )
    return wanted


@contextmanager
def tracked(names: Iterable[str], run: str, config: dict[str, Any]) -> Iterator[list]:
    """Open the trackers `names` for one run; yields the callbacks its fit needs.

    `run` is its name there, `config` the fields of its spec. A fit that fails is marked as failed
    where the tracker knows such a mark.
    """
    openers = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
    with ExitStack() as stack:
        yield [stack.enter_context(openers[name](run, config)) for name in names]


@contextmanager
def _tensorboard(run: str, config: dict[str, Any]) -> Iterator:
    from fastai.callback.tensorboard import TensorBoardCallback
    from torch.utils.tensorboard import SummaryWriter

    folder = outputs_dir() / "tensorboard" / run
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link, and logs are written through none; remove it")
    with SummaryWriter(folder) as writer:
        rows = [f"| {name} | {value} |" for name, value in config.items()]
        writer.add_text("spec", "\n".join(["| field | value |", "|---|---|", *rows]))
    # tracing the model and showing predictions would both draw a batch
    yield TensorBoardCallback(str(folder), trace_model=False, log_preds=False)


@contextmanager
def _wandb(run: str, config: dict[str, Any]) -> Iterator:
    import wandb

    outputs_dir().mkdir(parents=True, exist_ok=True)  # wandb would fall back to a folder of its own
    with wandb.init(project=PROJECT, name=run, config=config, dir=str(outputs_dir())) as watched:
        yield _epoch_logger(watched.log)


@contextmanager
def _mlflow(run: str, config: dict[str, Any]) -> Iterator:
    import mlflow

    mlflow.set_experiment(PROJECT)
    with mlflow.start_run(run_name=run):
        mlflow.log_params(config)
        yield _epoch_logger(mlflow.log_metrics)


def _epoch_logger(log: Callable):
    """A callback that hands `log` each epoch's losses and metrics, and `step`, its number."""
    from fastai.callback.core import Callback
    from fastai.learner import Recorder

    class EpochLogger(Callback):
        """Log what the Recorder wrote, without the epoch's number and time."""

        order = Recorder.order + 1

        def after_epoch(self):
            names = self.recorder.metric_names[1:-1]
            log(dict(zip(names, self.recorder.values[-1], strict=True)), step=self.epoch + 1)

    return EpochLogger()
