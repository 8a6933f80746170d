"""A model card for a run and a data sheet for a pack, in Markdown, every number from their files.

The headings follow Mitchell et al., *Model cards for model reporting* (FAT* 2019), and Gebru et
al., *Datasheets for datasets* (CACM 2021). Intervals are of 95 %, each for itself: Wilson's for a
share of faces, Efron's bootstrap over test faces for everything else. They say what other faces of
the same kind would give, not other seeds, and count faces of one person as independent. Ours.
"""

__all__ = [
    "calibration_error",
    "data_sheet",
    "model_card",
    "score_table",
    "slice_table",
    "write_card",
    "write_sheet",
]

import dataclasses
import html
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from hmtl.data.pack import Pack
from hmtl.data.readers.report import WARNING
from hmtl.data.sets import RENDERED
from hmtl.files import checked, read_json, write_text
from hmtl.labels import SPLITS
from hmtl.runs.specs import RunSpec, get_preset
from hmtl.runs.store import Run, runs_table, score_predictions, start_of
from hmtl.study.slices import SLICES, sliced_faces
from hmtl.study.tables import markdown, outcome_by_face
from hmtl.study.verdicts import bootstrap_interval

LEVEL = 0.95
RESAMPLES = 1000
NAME = "card.md"
_REMEDY = "pack the set again"
_UNITS = {
    "degrees": "degrees, less is better",
    "in -1..1": "concordance and sign agreement, more is better; errors, less is better",
}
"""Of a task's numbers -> how its scores are read."""
_FROM_THE_WEB = ("ferplus", "ferplus-csv", "fer2013")
_TOLD = ("train_faces", "left_out", "warnings")  # of a run's machine.json, above its cost
_SHARES = ("accuracy", "macro_f1", "mean_recall")

_ANSWERS = {
    "emotion": "which of eight emotions a cropped face shows, as raters would name it",
    "gender": "whether a cropped face is labelled female or male",
    "head_pose": "yaw, pitch and roll of a cropped head, in degrees",
    "affect": "how pleasant and how active a cropped face looks, each from -1 to 1",
}
_MEANING = {
    "emotion": "The answer is how a face looks to raters, not what a person feels: faces do not "
    "show feelings reliably, raters disagree, and cultures differ. Emotion recognition from faces "
    "is contested as science and sensitive in use; several uses of it are forbidden by law in "
    "places.",
    "gender": "The answer is the annotation of a data set, or the parameter of a rendered head. It "
    "says nothing about a person's gender or identity, and it knows two words only.",
    "head_pose": "The answer is where a head is turned. It is not where somebody looks, nor what "
    "they attend to.",
    "affect": "The answer is how a face looks to raters, or the parameters of a rendered head, not "
    "what a person feels.",
}
_NEVER = (
    "to judge, rank, select or watch people: no hiring, schooling, insurance, credit, policing, "
    "border control, surveillance or advertising",
    "to infer feelings, honesty, intent, health, character or identity",
    "on anyone who has not agreed to it",
    "where a wrong answer has consequences for somebody; it is wrong as often as stated below, and "
    "more often on pictures of another kind",
)


# ------------------------------------------------------------------------------------------ models


def write_card(run: Run, out: str | Path | None = None) -> Path:
    """Write the card of a run.

    Args:
        run: A finished run with answers.
        out: A file, or a folder for `card.md`; None: the run's own folder.

    Returns:
        The file.

    Raises:
        ValueError: As `model_card`.
    """
    return _write(model_card(run), run.path, out)


def model_card(run: Run, resamples: int = RESAMPLES) -> str:
    """The model card of a finished run.

    Args:
        run: It has answers.
        resamples: Of the test faces, for the intervals that are no shares.

    Returns:
        Markdown.

    Raises:
        ValueError: The run has no answers (a pre-training), or was tested on other faces than its
            spec draws.
    """
    if not run.spec.make_task().columns:
        raise ValueError(
            f"{run.path}: a pre-training answers nothing, so it has no scores to state"
        )
    parts = [
        f"# Model card: {_plain(run.id)}", *_use(run), *_training_data(run),
        *_scores(run, resamples), *_limits(run), *_training(run),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _of_task(texts: Mapping[str, str], run: Run) -> str:
    return next(text for name, text in texts.items() if run.spec.task.startswith(name))


def _use(run: Run) -> Iterator[str]:
    yield (
        f"A network that answers {_of_task(_ANSWERS, run)}. Trained to study a method "
        "(arXiv 2105.06421), not to be put to use on people."
    )
    yield "## Intended use"
    yield (
        "Research and teaching on hybrid multi-task learning: comparing trainings, repeating the "
        "study, trying the network on pictures of yourself or of others who agreed."
    )
    yield "## What it must not be used for"
    yield "\n".join(f"- {text}" for text in _NEVER)
    yield _of_task(_MEANING, run)


def _training_data(run: Run) -> Iterator[str]:
    spec, machine = run.spec, run.machine
    yield "## Training data"
    rows: list[tuple[str, object]] = [("data set", spec.data)]
    rows += [("fingerprint of its pack", run.pack)]
    if spec.data == "faces":
        rows += [("people in train, valid, test", ", ".join(map(str, spec.people)))]
        rows += [("proportions of the emotions", spec.proportions)]
        rows += [("share of labels confused", spec.label_noise)]
    rows += [("faces trained on", machine.get("train_faces", "not recorded"))]
    rows += [("faces left out, without a label", machine.get("left_out", "not recorded"))]
    rows += [("test faces", len(run.predictions)), ("size, pixels", spec.size)]
    rows += [("share of the training labels", spec.fraction), ("seed", spec.seed)]
    yield _table(pd.DataFrame(rows, columns=["what", "value"]))
    if spec.data in RENDERED:
        yield (
            "The faces are rendered from a CC0 parametric head, so no person is shown; labels are "
            "the parameters that shaped the picture."
        )
    else:
        yield "Pictures and labels are that set's, and its terms bind this network too."
        if spec.data.partition(":")[0] in _FROM_THE_WEB:
            yield (
                "The pictures of FER-2013 were gathered from the web by searching for words, for a "
                "research competition; nobody in them was asked. Use what was learned from them "
                "for research alone."
            )


def _scores(run: Run, resamples: int) -> Iterator[str]:
    unit = run.spec.make_task().unit
    yield "## Scores on the test faces"
    yield (
        "Of the last epoch, with intervals of 95 % over test faces"
        f"{f'; {_UNITS[unit]}' if unit else ', in %'}."
    )
    yield _table(score_table(run, resamples))
    if not unit:
        shares = run.predictions["target"].value_counts(normalize=True)
        yield (
            f"Always answering {shares.index[0]} would be right on {100 * shares.iloc[0]:.1f} %. "
            "Of the faces of each class, the share that was named rightly:"
        )
        classes = pd.Categorical(run.predictions["target"], run.spec.make_task().names)
        yield _table(_by_slice(run, {"class": pd.Series(classes)}))
        yield (
            "How far its probabilities are to be believed (calibration): the test faces by the "
            "probability of the answer, and the share that was named rightly. Expected calibration "
            f"error: {100 * calibration_error(run.predictions):.1f} points."
        )
        sure = run.predictions.filter(regex="^p_").max(axis=1)
        edges = (0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
        names = [f"{low:g} to {high:g}" for low, high in zip(edges, edges[1:], strict=False)]
        bins = pd.cut(sure, edges, labels=names, include_lowest=True)
        yield _table(_by_slice(run, {"probability": bins}))
    if (table := slice_table(run)) is not None:
        yield "## Scores by slices of the rendered test faces"
        yield (
            f"Mean absolute error over {' and '.join(run.spec.make_task().names)} ({unit})"
            if unit
            else "Accuracy in %"
        ) + "; each interval for itself. Small slices say little."
        yield _table(table)


def calibration_error(predictions: pd.DataFrame, bins: int = 15) -> float:
    """Expected calibration error of named classes (Guo et al., ICML 2017, arXiv 1706.04599).

    Args:
        predictions: Of a run: target, predicted, `p_<name>`.
        bins: Of equal width, by the probability of the answer.

    Returns:
        Mean over faces of |probability of the answer - share named rightly| by bin, in 0..1.
    """
    sure = predictions.filter(regex="^p_").max(axis=1).to_numpy()
    gap = outcome_by_face(predictions).astype(float) - sure
    place = np.minimum((sure * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(place, gap, bins)).sum() / len(sure))


def score_table(run: Run, resamples: int = RESAMPLES) -> pd.DataFrame:
    """The scores of a run with intervals of 95 %.

    Args:
        run: A finished run with answers.
        resamples: Of the test faces.

    Returns:
        Columns: score, value, low, high; of classes in %, of head pose in degrees. The interval is
        Wilson's of the accuracy, the bootstrap's of the others.
    """
    found, task = run.predictions, run.spec.task
    scores = score_predictions(found, task)
    names = [name for name in scores if name != "test_faces"]
    rng = np.random.default_rng(0)
    drawn = pd.DataFrame(
        score_predictions(found.iloc[rng.integers(len(found), size=len(found))], task)
        for _ in range(resamples)
    )
    low, high = (drawn.quantile(q) for q in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2))
    table = pd.DataFrame({"value": pd.Series(scores), "low": low, "high": high}).loc[names]
    if "accuracy" in names:
        table.loc["accuracy", ["low", "high"]] = _wilson(outcome_by_face(found))[1:]
    table *= np.where(table.index.isin(_SHARES), 100, 1)[:, None]
    return table.round(1 if "accuracy" in names else 2).rename_axis("score").reset_index()


def slice_table(run: Run) -> pd.DataFrame | None:
    """Accuracy (%) or mean error (degrees) by slices of the rendered test faces, with intervals.

    Args:
        run: A finished run with answers.

    Returns:
        Columns: by, slice, faces, value, low, high. None for a run on other faces.

    Raises:
        ValueError: The run was tested on other faces than its spec draws today.
    """
    if run.spec.data not in RENDERED:
        return None
    found, (label, *_) = run.predictions, run.spec.make_task().columns
    faces = sliced_faces(runs_table([run])).set_index("key")
    same = len(faces) == len(found) and set(faces.index) == set(found["key"])
    faces = faces.reindex(found["key"]).reset_index()
    if same and label in faces and "target" in found:
        same = (faces[label].astype(str) == found["target"]).all()
    if not same:
        raise ValueError(
            f"{run.path / 'predictions.csv'}: these are not the test faces that its spec draws; "
            "train the run anew"
        )
    return _by_slice(run, {name: faces[name] for name in SLICES if name != label})


def _by_slice(run: Run, columns: Mapping[str, pd.Series]) -> pd.DataFrame:
    outcomes, rows = outcome_by_face(run.predictions), []
    share = outcomes.dtype == bool
    interval: Callable = _wilson if share else lambda inside: bootstrap_interval(inside[None])
    for by, values in columns.items():
        values = values.astype("category")
        for name in values.cat.categories:
            inside = outcomes[(values == name).to_numpy()]
            if len(inside):
                found = np.round(
                    np.multiply(interval(inside), 100 if share else 1), 1 + (not share)
                )
                rows.append((by, name, len(inside), *found))
    return pd.DataFrame(rows, columns=["by", "slice", "faces", "value", "low", "high"])


def _wilson(right: np.ndarray) -> tuple[float, float, float]:
    """Share of bool (n,) that is true, and Wilson's interval of it."""
    test = binomtest(int(right.sum()), len(right)).proportion_ci(LEVEL, method="wilson")
    return float(right.mean()), test.low, test.high


def _limits(run: Run) -> Iterator[str]:
    yield "## Limits"
    kind = (
        "Rendered faces are simpler than photographs: nothing above tells how it does on those."
        if run.spec.data in RENDERED
        else "The scores hold for pictures gathered, labelled and cut as this set's are."
    )
    yield "\n".join(
        (
            *(f"- **Warning**: {_plain(text)}" for text in run.machine.get("warnings", [])),
            f"- {kind}",
            f"- It is one training, of seed {run.spec.seed}; another seed gives another network.",
            "- Slices and classes with few faces have wide intervals; a difference within them is "
            "no finding, and equal scores are no proof of fairness.",
            f"- It sees {run.spec.size} by {run.spec.size} pixels and always answers, also about "
            "what is no face; a probability is not a measure of being right.",
        )
    )


def _training(run: Run) -> Iterator[str]:
    spec, machine = run.spec, run.machine
    record = run.record
    cost: list[tuple[str, object]] = [("method", spec.method), ("backbone", spec.arch)]
    cost += [("start", start_of(spec))]
    cost += [("epochs", spec.epochs), ("augmentation", spec.augment)]
    cost += [("hmtl", record.get("hmtl", "not recorded"))]
    cost += [(name.replace("_", " "), value) for name, value in machine.items()
             if name not in _TOLD and value is not None]  # fmt: skip
    yield "## How it was trained"
    yield _table(pd.DataFrame(cost, columns=["what", "value"]))
    yield "The whole spec:"
    whole = dataclasses.asdict(spec)
    for name in ("init", "features"):  # which run, not where it lies on this machine
        whole[name] = Path(whole[name]).name
    text = json.dumps(whole, indent=1)
    for markup in ("<", "`", "]("):  # as JSON escapes: it shows them to nobody's browser
        text = text.replace(markup, f"{markup[:-1]}\\u{ord(markup[-1]):04x}")
    yield f"```json\n{text}\n```"
    if re.fullmatch(r"[\w ./:=,+'-]*", command := _command(spec), re.ASCII):  # no markup in it
        yield f"Repeat it:\n\n```\n{command}\n```"
    yield "That run stores, beside the network, what it answers about every test face."


def _command(spec: RunSpec) -> str:
    """What makes such a run: the fields in which it differs from those of preset study."""
    preset = RunSpec.preset("study", spec.data, task=spec.task)
    words = [] if spec.data == get_preset("study").data else ["--data", spec.data]
    words += [] if spec.data in RENDERED else ["--root", "DIR"]
    words += [] if spec.task == "emotion" else ["--set", "task", spec.task]
    for name, value in dataclasses.asdict(spec).items():
        if value == getattr(preset, name):
            continue
        if name in ("init", "features") and Path(value).name != value:
            value = f"outputs/runs/{Path(value).name}"  # which run, wherever it lay
        if isinstance(value, tuple):
            value = ("+" if name == "pretexts" else ",").join(map(str, value))
        words += ["--set", name, str(value)]
    return " ".join(["python -m hmtl run --preset study", *map(shlex.quote, words)])


# -------------------------------------------------------------------------------------------- data


def write_sheet(pack: Pack, out: str | Path | None = None) -> Path:
    """Write the data sheet of a pack.

    Args:
        pack: Faces and labels.
        out: A file, or a folder for `card.md`; None: the pack's own folder.

    Returns:
        The file.
    """
    return _write(data_sheet(pack), pack.path, out)


def data_sheet(pack: Pack) -> str:
    """The data sheet of a pack: what it is of, counts by split and label, what was left out."""
    meta = pack.meta
    known = {name: meta[name] for name in ("source", "identity", "fingerprint") if name in meta}
    known |= {"faces": len(pack), "size, pixels": pack.size, "channels": pack.channels}
    known |= {"photographs of people": "yes" if pack.shows_people else "no"}
    known |= {name: json.dumps(value) if isinstance(value, Mapping) else value
              for name, value in meta.get("settings", {}).items()}  # fmt: skip
    yes = "Photographs of people: keep to the terms of the set, and show none of them."
    parts = [
        f"# Data sheet: {_plain(pack.path.name)}",
        _table(pd.DataFrame(known.items(), columns=["what", "value"])),
        yes if pack.shows_people else "Rendered or drawn: no person is shown.",
        "## Faces by split and label",
        *_counts(pack.labels),
        *_left_out(pack.path / "report.json"),
    ]
    return "\n\n".join(parts) + "\n"


def _counts(labels: pd.DataFrame) -> Iterator[str]:
    splits = [split for split in SPLITS if (labels["split"] == split).any()]
    for name in ("emotion", "gender"):
        if name in labels:
            values = labels[name].astype(object).where(labels[name].notna(), "not labelled")
            table = pd.crosstab(values, labels["split"])[splits]
            table.loc["all"] = table.sum()
            yield _table(table.rename_axis(name).reset_index())
    if not {"emotion", "gender"} & set(labels):
        yield _table(labels["split"].value_counts()[splits].rename("faces").reset_index())
    if measured := [
        n for n in ("yaw", "pitch", "roll", "valence", "arousal", "age") if n in labels
    ]:
        table = labels[measured].astype(float).quantile([0, 0.05, 0.5, 0.95, 1]).T.round(2)
        table.columns = ["least", "5 %", "median", "95 %", "most"]
        table["not labelled"] = labels[measured].isna().sum()
        yield _table(table.rename_axis("label").reset_index())


def _left_out(file: Path) -> Iterator[str]:
    """What packing left out or found odd, from its report, if there is one."""
    if not file.is_file():
        return
    lists = dict.fromkeys(("missing", "bad", "tiny", "turned", "differences"), list | dict)
    objects = dict.fromkeys(("reader", "duplicates", "images"), dict)
    report = read_json(checked(file, _REMEDY), _REMEDY, objects | lists, {"warnings": list})
    reader, duplicates = report["reader"], report["duplicates"]
    rows = [*report["images"].items()]
    rows += [(f"left out by the reader: {why}", n) for why, n in reader.get("dropped", {}).items()]
    rows += [(f"without a label: {why}", n) for why, n in reader.get("unlabelled", {}).items()]
    for title, what in (("missing on the disk", "missing"), ("unreadable", "bad"),
                        ("tiny", "tiny"), ("perhaps on their side", "turned")):  # fmt: skip
        rows.append((title, len(report[what])))
    rows.append(("one picture in two splits", len(duplicates["across splits"])))
    rows.append(("left out as duplicates", len(duplicates["dropped"])))
    yield "## What was found and left out"
    yield _table(pd.DataFrame(rows, columns=["what", "pictures"]))
    warned = (f"Warning: {text}" for text in report.get("warnings", []))
    own = (note for note in reader.get("notes", []) if WARNING not in note)
    notes: Sequence[str] = [*warned, *own, *report["differences"]]
    if notes:
        yield "\n".join(f"- {_plain(note)}" for note in notes)


def _write(text: str, folder: Path, out: str | Path | None) -> Path:
    file = Path(out) if out else folder / NAME
    return write_text(file / NAME if out and file.is_dir() else file, text)


def _table(table: pd.DataFrame) -> str:
    return markdown(table.rename(columns=_plain).map(_plain))


def _plain(value: object) -> str:
    """A text of a file as Markdown that shows it: one line, no markup, no HTML, no picture."""
    shown = "".join(sign if sign.isprintable() else " " for sign in str(value))
    text = html.escape(" ".join(shown.split()), quote=False)
    return re.sub(r"([\\`|\[\]])", r"\\\1", text)
