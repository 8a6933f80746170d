"""In how many core-seconds does a training reach which accuracy? `make bench-recipe`.

Plain supervised training on all labels, preset `study`, on the rendered faces and, with
HMTL_FERPLUS=DIR, on FER+. One training after another, one thread each; `core_seconds` is what the
processor spent on it, validation after each epoch included. Finished runs are read, so a second
call goes on. Writes outputs/reference/recipe.csv after every run, and puts the tables between the
marks of papers/PERFORMANCE.md.

    Adam    fastai's Adam, batches of 32
    Muon    timm's Muon, batches of 128; all else the same

Long trainings of Adam's recipe are not repeated if the record has them: their accuracy is read
from outputs/reference/runs.csv, and their core-seconds are their epochs at the rate of the short
training here (`source` says so). `--long` trains them here.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch

import pandas as pd

from hmtl.method.encoder import Encoder
from hmtl.paths import outputs_dir, reference_dir
from hmtl.runs.fit import fit, here_and_now
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import run_id
from hmtl.study.record import between_marks
from hmtl.study.tables import markdown

REPORT = Path(__file__).parents[1] / "papers" / "PERFORMANCE.md"
RECIPES = {"Adam": {"lr": 8e-3}, "Muon": {"optimizer": "muon", "bs": 128, "lr": 8e-3}}
# epochs, by data set and recipe, in the order of the trainings
LENGTHS = {"ferplus": {"Muon": (6, 12), "Adam": (6,)}, "faces": {"Adam": (16,), "Muon": (16, 32)}}
LONG = {"ferplus": (12, 24), "faces": (32, 64)}  # of Adam's recipe
COLUMNS = [
    "data", "recipe", "epochs", "core_seconds", "valid_accuracy", "test_accuracy", "mean_recall",
    "weights", "seeds", "source",
]  # fmt: skip


def measured(
    data: str, recipe: str, epochs: int, root: str | None, store: Path, train: bool = True
) -> dict | None:
    """Train one run, or read it, and say what it cost and reached.

    Args:
        data: "ferplus" or "faces".
        recipe: A key of `RECIPES`.
        epochs: Passes over all training faces, at least 1.
        root: Folder of FER+; None for rendered faces.
        store: Folder of finished runs.
        train: Whether to train a run that is not finished.

    Returns:
        One row, of `COLUMNS`; accuracies and mean recall in percent, at the last epoch. None for a
        run that is not finished and shall not be trained.
    """
    spec = RunSpec.preset("study", data, epochs=epochs, **RECIPES[recipe])
    pack = spec.load(root, progress=False)
    if not train and not (store / run_id(spec, pack.fingerprint)).exists():
        return None
    run = fit(spec, store=store, pack=pack)
    return {
        "data": data, "recipe": recipe, "epochs": epochs,
        "core_seconds": round(run.machine["cpu_seconds"], 1),
        "valid_accuracy": round(100 * float(run.metrics["accuracy"].iloc[-1]), 2),
        "test_accuracy": round(100 * run.scores["accuracy"], 2),
        "mean_recall": round(100 * run.scores["mean_recall"], 2),
        "weights": sum(p.numel() for p in Encoder(spec.arch).parameters()),
        "seeds": 1, "source": "trained here",
    }  # fmt: skip


def recorded(data: str, epochs: int, rate: float, weights: int) -> dict | None:
    """Today's recipe at a length that is in the record.

    Args:
        data: "ferplus" or "faces".
        epochs: Length of the recorded runs.
        rate: Core-seconds an epoch, as measured here.
        weights: Weights of the network.

    Returns:
        One row of means over seeds, or None if the record has no such run.
    """
    runs = pd.read_csv(reference_dir() / "runs.csv", low_memory=False)
    own = runs[
        (runs["data"] == data) & (runs["method"] == "SL") & (runs["fraction"] == 1)
        & (runs["epochs"] == epochs) & (runs["task"] == "emotion") & (runs["arch"] == "tiny")
        & (runs["start"] == "scratch") & (runs["bs"] == 32) & (runs["augment"] == "weak")
    ].drop_duplicates("run")  # fmt: skip
    if own.empty:
        return None
    means = (100 * own[["valid_accuracy", "accuracy", "mean_recall"]].mean()).to_dict()
    return {
        "data": data, "recipe": "Adam", "epochs": epochs,
        "core_seconds": round(rate * epochs, 1),
        "valid_accuracy": round(means["valid_accuracy"], 2),
        "test_accuracy": round(means["accuracy"], 2),
        "mean_recall": round(means["mean_recall"], 2), "weights": weights,
        "seeds": len(own), "source": "accuracy of the record, seconds at the rate here",
    }  # fmt: skip


def goals(rows: pd.DataFrame) -> pd.DataFrame:
    """Today's longest training against the cheapest one of the new recipe that is as good.

    Args:
        rows: Of `COLUMNS`.

    Returns:
        One row a data set: core-seconds of both on the valid split, and their ratio, whose goal is
        at most a third. Where none is as good, the best one is shown and the last column says no.
    """
    table = []
    for data, own in rows.groupby("data", sort=False):
        adam = own[own["recipe"] == "Adam"].sort_values("epochs")
        muon = own[own["recipe"] == "Muon"].sort_values("core_seconds")
        if adam.empty or muon.empty:
            continue
        aim = adam.iloc[-1]
        good = muon[muon["valid_accuracy"] >= aim["valid_accuracy"]]
        new = good.iloc[0] if len(good) else muon.loc[muon["valid_accuracy"].idxmax()]
        ratio = new["core_seconds"] / aim["core_seconds"]
        table.append(
            {
                "data": data, "Adam": f"{aim['epochs']} epochs",
                "its valid accuracy": aim["valid_accuracy"], "its core-s": aim["core_seconds"],
                "Muon": f"{new['epochs']} epochs", "valid accuracy": new["valid_accuracy"],
                "core-s": new["core_seconds"], "ratio": round(ratio, 2),
                "as good in a third": "yes" if len(good) and ratio <= 1 / 3 else "no",
            }
        )  # fmt: skip
    return pd.DataFrame(table)


def write_report(rows: pd.DataFrame) -> None:
    """Put time to accuracy, the goals and the trials between the marks of the report."""
    made = here_and_now()
    trials = pd.read_csv(reference_dir() / "recipe-trials.csv").fillna("")
    text = "\n".join(
        [
            f"At commit {made['commit']}, {made['machine']}, {made['cores']} cores, torch "
            f"{made['torch']}; one thread. Accuracies in percent, at the last epoch.",
            "", markdown(rows), "", markdown(goals(rows)), "", "### What was tried on the way",
            "",
            "One seed each, FER+ unless said, a loop without fastai around the same augmentation; "
            "chosen on the valid split alone. *mirrored*: the answer is the mean over a picture "
            "and its mirror image.",
            "", markdown(trials),
        ]
    )  # fmt: skip
    between_marks(REPORT, "bench-recipe", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    parser.add_argument("--long", action="store_true", help="train Adam's long runs here too")
    parser.add_argument("--again", action="store_true", help="read finished runs, train nothing")
    parser.add_argument("--no-report", action="store_true", help="leave papers/PERFORMANCE.md")
    args = parser.parse_args()
    root, out = os.environ.get("HMTL_FERPLUS"), reference_dir() / "recipe.csv"
    store, rows = outputs_dir() / "recipe", []

    def note(row: dict | None) -> None:
        if row is not None:
            rows.append(row)
            print(row, flush=True)
            pd.DataFrame(rows, columns=COLUMNS).to_csv(out, index=False)

    for data in args.data:
        if data == "ferplus" and not root:
            print("FER+ skipped: set HMTL_FERPLUS to its folder")
            continue
        own_root = root if data == "ferplus" else None
        for recipe, lengths in LENGTHS[data].items():
            for epochs in lengths + (LONG[data] if recipe == "Adam" and args.long else ()):
                note(measured(data, recipe, epochs, own_root, store, not args.again))
        adam = [row for row in rows if (row["data"], row["recipe"]) == (data, "Adam")]
        if adam and not args.long:
            rate = adam[0]["core_seconds"] / adam[0]["epochs"]
            for epochs in LONG[data]:
                note(recorded(data, epochs, rate, adam[0]["weights"]))
    if rows and not args.no_report:
        write_report(pd.DataFrame(rows, columns=COLUMNS))


if __name__ == "__main__":
    main()
