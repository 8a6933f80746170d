"""Trained networks as folders that leave the laboratory; those that ship inside the package.

    config.json         what `predict` must know (task, labels, size, crop, colour, fit), the
                        backbone, the spec it was trained by, scores; checksums
    model.safetensors   the weights, of 16 bits where the scores stay the same
    README.md           the model card, with metadata that the Hugging Face hub reads

`python -m hmtl networks` lists what ships in `hmtl/data/networks`; `hmtl.load("ferplus")` opens
one. `python -m hmtl ship RUN NAME` makes one of a finished run: it answers the test faces again,
and keeps weights of 16 bits if no score moves by more than 0.05 points (0.05 degrees). It stores
the scores of the first test faces too, which a test renders and answers again. Ours.
"""

__all__ = [
    "SAMPLE", "is_handed", "network_table", "open_handed", "read_card", "score_faces", "ship",
    "shipped", "write_handed",
]  # fmt: skip

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

import hmtl.data
from hmtl.data.pack import Pack
from hmtl.data.sets import RENDERED
from hmtl.files import (
    checked,
    load_weights,
    read_record,
    reading,
    tensors_in,
    whole_folder,
    write_record,
)
from hmtl.method.tasks import Task, make_task
from hmtl.runs.store import Run, score_predictions
from hmtl.use.card import model_card

FOLDER = Path(hmtl.data.__file__).parent / "networks"
CARD = "README.md"
SAMPLE = 64  # first test faces whose scores are stored
SAME = 5e-4, 0.05  # how far a share, or a number in its unit, may move by 16 bits
_REMEDY = "make it again, or install hmtl again"
_FIELDS = {"task": str, "arch": str, "labels": str, "size": str, "crop": str, "colour": str}


def shipped() -> dict[str, Path]:
    """Name -> folder of each network inside the package, by name."""
    return {file.parent.name: file.parent for file in sorted(FOLDER.glob("*/config.json"))}


def is_handed(folder: Path) -> bool:
    """Whether a folder is one of these, by its files' names."""
    names = [folder / "config.json", folder / "model.safetensors"]
    return all(file.is_file() for file in names) and not (folder / "spec.json").is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """The record of such a folder.

    Raises:
        FileNotFoundError, OSError, ValueError: naming the file, the field and the remedy.
    """
    optional = {"scores": dict, "spec": dict, "sample": dict}
    return read_record(folder / "config.json", _REMEDY, _FIELDS, optional)


def read_card(folder: Path) -> str:
    """The card of such a folder, without the metadata; it is its maker's text, and no link.

    Raises:
        FileNotFoundError, OSError, ValueError: naming the file and the remedy.
    """
    file = checked(folder / CARD, _REMEDY)
    if file.is_symlink():  # what another file holds is not passed on
        raise ValueError(f"{file} is a link; {_REMEDY}")
    with reading(file, _REMEDY):
        return file.read_text(encoding="utf-8").split("---\n", 2)[-1].lstrip()


def open_handed(folder: Path):
    """The network in such a folder.

    Args:
        folder: With `config.json` and `model.safetensors`.

    Returns:
        `hmtl.method.learner.Answers` of 32 bits, in evaluation mode.

    Raises:
        FileNotFoundError, OSError, ValueError: naming the file and the remedy.
    """
    from hmtl.method.learner import Answers, build_model

    config = read_config(folder)
    with reading(folder / "config.json", _REMEDY):
        task = make_task(config["task"])

    def build():
        with reading(folder / "config.json", _REMEDY):
            return build_model(config["arch"], len(task.names), task)

    return Answers(load_weights(build, folder / "model.safetensors", _REMEDY), task).eval()


# ---------------------------------------------------------------------------------------- making


def write_handed(
    run: Run, folder: Path, record: Mapping[str, str], *, half: bool = False,
    with_card: bool = True, more: Mapping[str, Any] | None = None, notes: str = "",
) -> None:  # fmt: skip
    """Write a run's network into an empty `folder`.

    Args:
        run: A finished run with answers.
        folder: An empty folder.
        record: `hmtl.use.predict.run_record` of it.
        half: Weights of 16 bits.
        with_card: Whether to write the card, which takes some seconds.
        more: Further fields of `config.json`.
        notes: A last section of the card, Markdown.
    """
    from safetensors.torch import save_file

    tensors = tensors_in(run.weights, _REMEDY)
    kept = {name: t.half() if half and t.is_floating_point() else t for name, t in tensors.items()}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    config = {
        **record, "arch": run.spec.arch, "bits": 16 if half else 32, "spec": run.spec.to_dict(),
        "method": run.spec.method, "data": run.pack, "scores": _rounded(run.scores), **(more or {}),
    }  # fmt: skip
    if with_card:  # before the record, which vouches for it
        card = model_card(run) + (f"\n## Notes\n\n{notes.strip()}\n" if notes.strip() else "")
        (folder / CARD).write_text(f"---\n{_metadata(run)}---\n\n{card}", encoding="utf-8")
    write_record(folder / "config.json", config)


def ship(
    run: Run, name: str, *, root: str | Path | None = None, notes: str = "",
    folder: Path = FOLDER,
) -> Path:  # fmt: skip
    """Make a network that ships of a finished run; one of that name is replaced.

    Args:
        run: A finished run with answers.
        name: Of the network: lower-case letters, digits, hyphens.
        root: Folder of its data set, where that is no rendered one.
        notes: A last section of the card, Markdown.
        folder: Where networks lie.

    Returns:
        Its folder.

    Raises:
        ValueError: a name of other characters, a run without answers or on other data; or the
            weights, even of 32 bits, give other scores than the run has.
    """
    from hmtl.use.predict import load, run_record

    if not name or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"):
        raise ValueError(f"name {name!r}: lower-case letters, digits and hyphens are taken")
    pack, place = run.spec.load(root), folder / name
    if pack.fingerprint != run.pack:
        raise ValueError(f"{run.path} was trained on other data than {pack.path} holds")
    moved: dict[str, float] = {}
    for half in (True, False):
        with TemporaryDirectory() as fresh:
            write_handed(run, Path(fresh), run_record(run), half=half, with_card=False)
            network = load(fresh)
        scores = score_faces(network, pack, pack.rows("test"))
        moved = {n: abs(scores[n] - run.scores[n]) for n in scores}
        if max(moved.values()) <= SAME[not network.task.has_classes]:
            sample = score_faces(network, pack, pack.rows("test")[:SAMPLE])
            shutil.rmtree(place, ignore_errors=True)
            with whole_folder(place) as made:
                write_handed(run, made, run_record(run), half=half, notes=notes,
                             more={"sample": _rounded(sample)})  # fmt: skip
            return place
    raise ValueError(f"{run.path}: its weights give other scores than it has: {moved}")


def score_faces(network, pack: Pack, rows: np.ndarray, batch: int = 256) -> dict[str, float]:
    """What a network scores on some rows of a pack, as a run's test faces are scored.

    Args:
        network: `hmtl.use.predict.Network`.
        pack: Faces and labels.
        rows: Of the pack, int64 (n,); those without a label are left out.
        batch: Faces asked about at once.

    Returns:
        Scores by name (`Task.scores`).
    """
    task: Task = network.task
    labels = pack.labels.iloc[rows]
    known = task.has_label(labels)
    rows, labels = np.asarray(rows)[known], labels[known]
    taken = pack.take(rows)  # (n, S, S, 1 or 3)
    faces = list(taken[..., 0] if network.grey else taken)
    parts = [faces[start : start + batch] for start in range(0, len(faces), batch)]
    said = [network.answer(network.see(part)) for part in parts]
    return score_predictions(task.predictions(labels, np.concatenate(said)), task.name)


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in scores.items()}


def _metadata(run: Run) -> str:
    """The card's metadata, as the Hugging Face hub checks and shows it; YAML."""
    from huggingface_hub import EvalResult, ModelCardData

    task, data = run.spec.make_task(), run.spec.data
    rendered = data in RENDERED
    kind = "image-classification" if task.has_classes else "image-feature-extraction"
    names = {"accuracy": "accuracy", "macro_f1": "f1", "mae": "mae", "ccc": "concordance"}
    names = {name: known for name, known in names.items() if name in run.scores}
    results = [
        EvalResult(
            task_type=kind, dataset_type=data.partition(":")[0], dataset_name=_data_name(data),
            dataset_split="test", metric_type=known, metric_name=name,
            metric_value=round(float(run.scores[name]), 4),
        )
        for name, known in names.items()
    ]  # fmt: skip
    terms: dict[str, Any] = {"license": "apache-2.0"}
    if not rendered:
        terms = {"license": "other", "license_name": "terms-of-the-data-set", "license_link": CARD}
    tags = ["face", task.name.replace("_", "-"), "multi-task-learning", "arxiv:2105.06421"]
    data_of = ModelCardData(
        **terms, library_name="hmtl", pipeline_tag=kind, tags=tags, metrics=list(names.values()),
        model_name=run.id, eval_results=results,
    )  # fmt: skip
    return data_of.to_yaml() + "\n"


def _data_name(data: str) -> str:
    return "rendered faces" if data in RENDERED else data


def network_table() -> pd.DataFrame:
    """The networks that ship.

    Returns:
        A row a network: `name`, `task`, `data`, `method`, `scores` as text, `kB` of its weights.
    """
    rows = []
    for name, folder in shipped().items():
        config = read_config(folder)
        task = make_task(config["task"])
        factor, sign = (100, " %") if task.has_classes else (1, "°" * (task.unit == "degrees"))
        main = ("accuracy", "macro_f1") if task.has_classes else (task.metric, "geodesic")
        scores = [
            f"{n.replace('_', ' ')} {factor * config['scores'][n]:.{1 if factor == 100 else 2}f}"
            f"{sign}" for n in main if n in config["scores"]
        ]  # fmt: skip
        size = (folder / "model.safetensors").stat().st_size // 1000
        data = _data_name(config["spec"]["data"])
        rows.append((name, task.name, data, config["method"], ", ".join(scores), size))
    return pd.DataFrame(rows, columns=["name", "task", "data", "method", "scores", "kB"])
