"""A model card for a run and a data sheet for a pack, in Markdown, every number from their files.

The headings follow Mitchell et al., *Model cards for model reporting* (FAT* 2019), and Gebru et
al., *Datasheets for datasets* (CACM 2021). Intervals are of 95 %, each for itself: Wilson's for a
share of faces, Efron's bootstrap over test faces for everything else. They say what other faces of
the same kind would give, not other seeds, and count faces of one person as independent. The texts
are `card.md.jinja` and `sheet.md.jinja`, beside this file. Ours.
"""

__all__ = ["data_sheet", "model_card", "score_table", "slice_table", "write_card"]

import dataclasses
import html
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scipy.stats import binomtest

from hmtl.data.pack import Pack
from hmtl.data.readers.report import WARNING
from hmtl.data.sets import RENDERED, recorded_set
from hmtl.files import check_fields, checked, read_json, write_text
from hmtl.labels import SPLITS
from hmtl.runs.specs import RunSpec, get_preset
from hmtl.runs.store import Run, runs_table, score_predictions, start_of
from hmtl.study.slices import SLICES, sliced_faces
from hmtl.study.tables import markdown, outcome_by_face
from hmtl.study.verdicts import bootstrap_interval
from hmtl.use import explain

LEVEL = 0.95
RESAMPLES = 1000
NAME = "card.md"
_REMEDY = "pack the set again"
_SHARES = ("accuracy", "macro_f1", "mean_recall")


# ------------------------------------------------------------------------------------------ models


def write_card(made: Run | Pack, out: str | Path | None = None) -> Path:
    """Write the card of a run, or the data sheet of a pack.

    Args:
        made: A finished run with answers, or faces and labels.
        out: A file, or a folder for `card.md`; None: the run's or the pack's own folder.

    Returns:
        The file.

    Raises:
        ValueError: As `model_card`.
    """
    file = Path(out) if out else made.path
    text = model_card(made) if isinstance(made, Run) else data_sheet(made)
    return write_text(file / NAME if file.is_dir() else file, text)


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
    spec, task = run.spec, run.spec.make_task()
    if not task.columns:
        raise ValueError(
            f"{run.path}: a pre-training answers nothing, so it has no scores to state"
        )
    scores, by_class = score_table(run, resamples), {}
    if not task.unit:
        target, sure = run.predictions["target"], run.predictions.filter(regex="^p_").max(axis=1)
        edges = (0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
        names = [f"{low:g} to {high:g}" for low, high in zip(edges, edges[1:], strict=False)]
        bins = pd.cut(sure, edges, labels=names, include_lowest=True)
        by_class = {
            "common": next(iter(target.value_counts(normalize=True).items())),
            "classes": _by_slice(run, {"class": pd.Series(pd.Categorical(target, task.names))}),
            "gap": explain.calibration_error(run.predictions, bins=15),
            "sure": _by_slice(run, {"probability": bins}),
        }
    whole = json.dumps(spec.to_dict(), indent=1)
    for markup in ("<", "`", "]("):  # as JSON escapes: it shows them to nobody's browser
        whole = whole.replace(markup, f"{markup[:-1]}\\u{ord(markup[-1]):04x}")
    command = _command(spec)
    if not re.fullmatch(r"[\w ./:=,+'-]*", command, re.ASCII):  # there is markup in it
        command = ""
    return _filled(
        "card.md.jinja", run=run, spec=spec, task=task, rendered=spec.data in RENDERED,
        start=start_of(run), scores=scores, **by_class, slices=slice_table(run), whole=whole,
        command=command,
    )  # fmt: skip


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
    told = runs_table([run])
    drawn = recorded_set(*told[["data", "people", "size"]].iloc[0])
    same = drawn.people[2] * drawn.per_person == len(found)  # before any is drawn
    if same:
        faces = sliced_faces(told).set_index("key")
        same = set(faces.index) == set(found["key"])
    if same:
        faces = faces.reindex(found["key"]).reset_index()
        if label in faces and "target" in found:
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
    interval: Callable = _wilson if share else bootstrap_interval
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


def _command(spec: RunSpec) -> str:
    """What makes such a run: the fields in which it differs from those of preset study."""
    preset = RunSpec.preset("study", spec.data, task=spec.task, fraction=spec.fraction)
    words = [] if spec.data == get_preset("study").data else ["--data", spec.data]
    words += [] if spec.data in RENDERED else ["--root", "DIR"]
    words += [] if spec.task == "emotion" else ["--set", "task", spec.task]
    words += [] if spec.fraction == 1 else ["--set", "fraction", str(spec.fraction)]
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


def data_sheet(pack: Pack) -> str:
    """The data sheet of a pack: what it is of, counts by split and label, what was left out."""
    meta = pack.meta
    known = {name: meta[name] for name in ("source", "identity", "fingerprint") if name in meta}
    known |= {"faces": len(pack), "size, pixels": pack.size, "channels": pack.channels}
    known |= {"photographs of people": "yes" if pack.shows_people else "no"}
    known |= {name: json.dumps(value) if isinstance(value, Mapping) else value
              for name, value in meta.get("settings", {}).items()}  # fmt: skip
    report, notes = _report(pack.path / "report.json")
    return _filled(
        "sheet.md.jinja", name=pack.path.name, people=pack.shows_people, report=report, notes=notes,
        known=pd.DataFrame(known.items(), columns=["what", "value"]), tables=_counts(pack.labels),
    )  # fmt: skip


def _counts(labels: pd.DataFrame) -> Iterator[pd.DataFrame]:
    splits = [split for split in SPLITS if (labels["split"] == split).any()]
    for name in ("emotion", "gender"):
        if name in labels:
            values = labels[name].astype(object).where(labels[name].notna(), "not labelled")
            table = pd.crosstab(values, labels["split"])[splits]
            table.loc["all"] = table.sum()
            yield table.rename_axis(name).reset_index()
    if not {"emotion", "gender"} & set(labels):
        yield labels["split"].value_counts()[splits].rename("faces").reset_index()
    numbers = ("yaw", "pitch", "roll", "valence", "arousal", "age")
    if measured := [name for name in numbers if name in labels]:
        table = labels[measured].astype(float).quantile([0, 0.05, 0.5, 0.95, 1]).T.round(2)
        table.columns = ["least", "5 %", "median", "95 %", "most"]
        table["not labelled"] = labels[measured].isna().sum()
        yield table.rename_axis("label").reset_index()


def _report(file: Path) -> tuple[dict, list]:
    """The report of a packing and the notes in it; empty if there is none."""
    if not file.is_file():
        return {}, []
    lists = dict.fromkeys(("missing", "bad", "tiny", "turned", "differences"), list | dict)
    objects = dict.fromkeys(("reader", "duplicates", "images"), dict)
    report = read_json(checked(file, _REMEDY), _REMEDY, objects | lists, {"warnings": list})
    reader: dict = {"notes": list[str], "dropped": dict, "unlabelled": dict}
    check_fields(report["reader"], f"{file}: field 'reader'", _REMEDY, {}, reader)
    alike = {"across splits": list, "dropped": list}
    check_fields(report["duplicates"], f"{file}: field 'duplicates'", _REMEDY, alike, {})
    warned = [f"Warning: {text}" for text in report.get("warnings", [])]
    own = [note for note in report["reader"].get("notes", []) if WARNING not in note]
    return report, [*warned, *own, *report["differences"]]


def _filled(template: str, **values) -> str:
    """A template of this folder with values in its places."""
    place = FileSystemLoader(Path(__file__).parent)
    made = Environment(loader=place, trim_blocks=True, undefined=StrictUndefined,
                       keep_trailing_newline=True)  # fmt: skip
    made.filters |= {"plain": _plain, "table": _table}
    return made.get_template(template).render(values)


def _table(table: pd.DataFrame) -> str:
    return markdown(table.rename(columns=_plain).map(_plain, na_action="ignore"))


def _plain(value: object) -> str:
    """A text of a file as Markdown that shows it: one line, no markup, no HTML, no picture."""
    shown = "".join(sign if sign.isprintable() else " " for sign in str(value))
    text = html.escape(" ".join(shown.split()), quote=False)
    return re.sub(r"([\\`|\[\]])", r"\\\1", text)
