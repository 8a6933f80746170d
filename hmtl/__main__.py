"""python -m hmtl: study, run, runs, predict, export, card, faces, pack, check, reference ...

Nothing heavy is imported. Bad input gives one line on stderr and exit status 2.
"""

__all__ = ["main"]

import argparse
import dataclasses
import sys
from typing import Any


def _value(text: str) -> Any:
    """A parameter as papermill's -p reads it: number, true/false or text."""
    lowered = {"true": True, "false": False}
    if text.lower() in lowered:
        return lowered[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hmtl", description="Hybrid multi-task learning on faces")
    commands = parser.add_subparsers(dest="command", required=True)

    study = commands.add_parser("study", help="execute the notebooks and write index.html")
    study.add_argument(
        "--preset",
        default="quick",
        help="smoke, quick, study, gpu, paper, paper-first (default: quick)",
    )
    study.add_argument(
        "--data", help="mini, faces, ferplus, affectnet:classes=7 ... (default: the preset's)"
    )
    study.add_argument("--root", help="folder of a real data set, or a pack of it")
    study.add_argument("--outputs", help="where to write (default: outputs/PRESET[-DATA])")
    study.add_argument("--only", nargs="+", default=[], help="some, e.g. 20 or 11_puzzling")
    study.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[],
        metavar=("NAME", "VALUE"), help="another notebook parameter, e.g. -p seed 3",
    )  # fmt: skip
    study.add_argument(
        "--scheduler", metavar="ADDRESS", help="a Dask cluster makes the runs: tcp://HOST:8786"
    )

    run = commands.add_parser("run", help="train one run of a preset and print its scores")
    run.add_argument("--preset", default="smoke")
    run.add_argument("--data", help="as for study, e.g. 300w-lp-aflw2000, affectnet:classes=7")
    run.add_argument("--root", help="folder of a real data set, or a pack of it")
    run.add_argument("--store", help="run store (default: outputs/runs)")
    run.add_argument(
        "--track", nargs="+", help="tensorboard, wandb, mlflow (default: $HMTL_TRACK, else none)"
    )
    run.add_argument(
        "--set", dest="fields", nargs=2, action="append", default=[],
        metavar=("FIELD", "VALUE"), help="a field of RunSpec, e.g. --set pretexts puzzling_2x2",
    )  # fmt: skip

    runs = commands.add_parser(
        "runs",
        help="list the trained runs of the store, newest first",
        description="Exit status 0: every run could be read; 1: some could not, they are on "
        "stderr; 2: there is none.",
    )
    runs.add_argument("--store", help="run store (default: outputs/runs)")

    predict = commands.add_parser(
        "predict",
        help="a run's answers about pictures, as a table",
        description="A row a face; face 0: none was found. Exit status 0: every picture was read; "
        "1: some were not, they are on stderr and the table has the others; 2: nothing was made.",
    )
    predict.add_argument("run", help="a run's folder or name, latest, or an exported folder")
    predict.add_argument("images", nargs="+", help="pictures or folders of them")
    predict.add_argument("--out", default="predictions.csv", help="(default: predictions.csv)")
    predict.add_argument("--no-detect", action="store_true", help="the pictures are faces already")
    predict.add_argument("--batch", type=int, default=64, help="faces at once (default: 64)")
    predict.add_argument("--device", help="cpu or cuda (default: a GPU where there is one)")

    export = commands.add_parser("export", help="a run's network as ONNX or torch.export's file")
    export.add_argument("run", help="a run's folder or name, or latest")
    export.add_argument("--out", required=True, help="new folder")
    export.add_argument("--format", dest="formats", nargs="+", default=["onnx"], help="onnx torch")

    card = commands.add_parser("card", help="a run's model card, or a pack's data sheet")
    card.add_argument("run", nargs="?", help="a run's folder or name, or latest")
    card.add_argument("--data", metavar="PACK", help="a pack's folder, or mini")
    card.add_argument("--out", help="file (default: card.md in the folder)")

    for command in (predict, export, card):
        command.add_argument("--store", help="run store (default: outputs/runs)")

    faces = commands.add_parser("faces", help="render faces into a pack; resumable")
    faces.add_argument("--count", type=int, help="faces in all, rounded up to whole people")
    faces.add_argument("--people", nargs=3, type=int, help="people in train, valid and test")
    faces.add_argument("--size", type=int, default=48, help="pixels (default: 48)")
    faces.add_argument("--seed", type=int, default=0)
    faces.add_argument("--out", help="folder of the pack (default: in the cache)")
    faces.add_argument("--workers", type=int, help="processes (default: one a core)")
    faces.add_argument("--device", default="cpu", help="cpu or cuda")
    faces.add_argument(
        "--without", nargs="+", default=[], metavar="NUISANCE",
        help="switch nuisances off, e.g. hands light-direction; all; an unknown one lists them",
    )  # fmt: skip
    faces.add_argument(
        "--set", dest="fields", nargs="+", action="append", default=[],
        metavar="VALUE", help="a field of FaceSet and its values, e.g. --set yaw 10 45",
    )  # fmt: skip
    faces.add_argument("--mini", action="store_true", help="render the set the package ships, anew")

    pack = commands.add_parser("pack", help="a data set on the disk -> a pack; resumable")
    pack.add_argument("data", help="affectnet, 300w-lp-aflw2000 ...; an unknown one lists them")
    pack.add_argument("--root", required=True, help="folder of the data set")
    pack.add_argument("--out", required=True, help="folder of the pack")
    pack.add_argument("--size", type=int, default=144, help="pixels (default: 144)")
    pack.add_argument(
        "--option", dest="options", nargs="+", action="append", default=[],
        metavar=("NAME", "VALUE"),
        help="an option of the reader: --option classes 7, --option columns path=image",
    )  # fmt: skip
    pack.add_argument("--workers", type=int, help="processes (default: one a core)")
    pack.add_argument("--grey", action="store_true", help="grey, whatever the set is")
    pack.add_argument("--fit", default="cover", help="square of a face: cover, widen, squash")
    pack.add_argument("--exif", default="auto", help="orientation: auto, always, never")
    pack.add_argument(
        "--valid", type=float, metavar="SHARE",
        help="of training to hold out where nothing is valid (default: 0.05; 0: nothing)",
    )  # fmt: skip
    pack.add_argument("--valid-seed", type=int, default=0)
    pack.add_argument("--max-bad", type=float, metavar="SHARE", help="unreadable (default: 0.05)")
    pack.add_argument(
        "--drop-duplicates", action="store_true", help="leave out what the report would name"
    )

    whole = commands.add_parser(
        "check",
        help="compare packs, runs and exported networks with their checksums",
        description="Exit status 0: all are as they were written; 1: some are not, they are on "
        "stderr; 2: there is nothing to check.",
    )
    whole.add_argument("folder", help="of a pack, a run, an exported network, or above them")

    checks = commands.add_parser("check-faces", help="look for shortcuts in the rendered faces")
    checks.add_argument("--preset", default="study", help="whose faces and training (study)")
    checks.add_argument("--out", help="CSV file (default: outputs/reference/faces-shortcuts.csv)")

    reference = commands.add_parser("reference", help="collect finished studies for the record")
    reference.add_argument(
        "folders", nargs="*",
        help="output folders, e.g. outputs/study; none: the record's tables and figures anew",
    )  # fmt: skip
    old = reference.add_mutually_exclusive_group()
    old.add_argument(
        "--keep", action="store_true", help="keep recorded runs of data sets not in the folders"
    )
    old.add_argument(
        "--add", action="store_true", help="keep all recorded runs, add those of the folders"
    )

    scaling = commands.add_parser("scaling", help="what many runs on many machines need")
    scaling.add_argument("--runs", type=int, default=1000)
    scaling.add_argument("--machines", type=int, default=100)
    return parser


def _study(args) -> int:
    from hmtl.study.notebook import run_study

    index, failed = run_study(
        args.preset,
        data=args.data,
        root=args.root,
        outputs=args.outputs,
        only=args.only,
        parameters={name: _value(value) for name, value in args.parameters},
        scheduler=args.scheduler,
    )
    print(f"report: {index}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _three_counts(text: str) -> tuple[int, ...]:
    counts = text.replace(",", " ").split()
    if len(counts) != 3 or not all(count.isdigit() for count in counts):
        raise ValueError(f"people {text!r}: three counts are needed, e.g. --set people 300,50,125")
    return tuple(map(int, counts))


def _run(args) -> int:
    from hmtl.paths import show_progress
    from hmtl.runs import distributed
    from hmtl.runs.fit import fit
    from hmtl.runs.specs import RunSpec

    changes = {name: _value(value) for name, value in args.fields}
    if "people" in changes:
        changes["people"] = _three_counts(dict(args.fields)["people"])
    if isinstance(changes.get("pretexts"), str):
        changes["pretexts"] = tuple(changes["pretexts"].split("+"))
    names = [field.name for field in dataclasses.fields(RunSpec) if field.name != "data"]
    if unknown := sorted(set(changes) - set(names)):
        known = "data has an option of its own: --data" if unknown == ["data"] else ", ".join(names)
        raise ValueError(f"--set {', '.join(unknown)} is no field of a run; {known}")
    spec = RunSpec.preset(args.preset, args.data, **changes)
    if lost := set(changes) & set(spec.unused()):
        raise ValueError(f"--set {', '.join(sorted(lost))} has no meaning for this run: {spec}")
    options = {"root": args.root, "store": args.store, "track": args.track}
    result = fit(spec, progress=show_progress(), **options)
    distributed.leave()
    if not distributed.is_main():
        return 0
    print(result.path)
    for name, value in result.scores.items():
        print(f"{name:12} {value:.4f}" if isinstance(value, float) else f"{name:12} {value}")
    if result.best:
        metric, split = spec.make_task().metric, result.best.get("chosen_on", "valid")
        score = result.best["scores"][metric]
        print(f"at epoch {result.best['epoch']}, best on the {split} images: {metric} {score:.4f}")
    return 0


def _runs(args) -> int:
    from pathlib import Path

    from hmtl.runs.store import default_store, load_run
    from hmtl.use.predict import trained_runs

    store = Path(args.store or default_store())
    found = trained_runs(store)
    if not found:
        raise FileNotFoundError(f"no trained run in {store}; make one: python -m hmtl run")
    broken = False
    for folder in found:
        try:
            run = load_run(folder)
            metric = run.spec.make_task().metric
            said = f"{metric} {run.scores[metric]:.3f}" if metric else ""
        except (ValueError, OSError) as error:
            broken = True
            print(f"hmtl: {error}", file=sys.stderr)
            continue
        print(f"{folder.name}  {run.spec.task}  {run.spec.method}  {said}".rstrip())
    return 1 if broken else 0


def _predict(args) -> int:
    from pathlib import Path

    from hmtl.use.predict import load

    network = load(args.run, store=args.store, device=args.device)
    table = network.predict(args.images, detect=not args.no_detect, batch=args.batch)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.out, index=False, float_format="%.6g")
    unreadable = table.attrs["unreadable"]
    for name, problem in unreadable.items():
        print(f"hmtl: {name}: {problem}", file=sys.stderr)
    faces = int((table["face"] > 0).sum())
    print(f"{faces} faces in {table['file'].nunique()} pictures: {args.out}")
    return 1 if unreadable else 0


def _export(args) -> int:
    from hmtl.runs.store import load_run
    from hmtl.use.export import export_run
    from hmtl.use.predict import find_run

    out = export_run(load_run(find_run(args.run, args.store)), args.out, args.formats)
    print("\n".join(str(file) for file in sorted(out.iterdir())))
    return 0


def _card(args) -> int:
    from hmtl.data.pack import open_pack
    from hmtl.data.sets import MINI_PATH
    from hmtl.runs.store import load_run
    from hmtl.use.card import write_card, write_sheet
    from hmtl.use.predict import find_run

    if (args.run is None) == (args.data is None):
        raise ValueError("give a run, or --data and a pack")
    if args.run:
        print(write_card(load_run(find_run(args.run, args.store)), args.out))
    elif args.data == "mini" and not args.out:
        raise ValueError("the mini set lies inside the package; say where with --out FILE")
    else:
        print(write_sheet(open_pack(MINI_PATH if args.data == "mini" else args.data), args.out))
    return 0


def _people(count: int, per_person: int) -> tuple[int, int, int]:
    """Three quarters of the people to train, a tenth to valid, the rest to test."""
    if count < 1:
        raise ValueError(f"--count must be at least 1, got {count}")
    people = -(-count // per_person)
    valid, test = round(0.1 * people), round(0.15 * people)
    return people - valid - test, valid, test


def _face_set(args):
    """The FaceSet that the options of `faces` describe."""
    from hmtl.faces.faceset import FaceSet

    own = {"size": "--size", "seed": "--seed", "people": "--people or --count"}
    changes = {}
    for name, *values in args.fields:
        if name in own:
            raise ValueError(f"{name} has an option of its own: {own[name]}")
        if not values:
            raise ValueError(f"--set {name} needs a value")
        values = tuple(map(_value, values))
        changes[name] = values[0] if len(values) == 1 else values
    if args.count is not None and args.people:
        raise ValueError("give --count or --people, not both")
    try:
        faces = FaceSet((0, 0, 0), size=args.size, seed=args.seed, **changes)
    except TypeError as error:
        raise ValueError(f"{error}; --set takes a field of FaceSet") from error
    people = tuple(args.people or (300, 50, 125))
    if args.count is not None:
        people = _people(args.count, faces.per_person)
    return dataclasses.replace(faces, people=people).without(*args.without)


def _faces(args) -> int:
    from pathlib import Path

    from hmtl.data.sets import build_mini, face_pack, write_faces

    if args.mini:
        given = (args.count, args.people, args.out, args.without or None, args.fields or None)
        if any(option is not None for option in given):
            raise ValueError("--mini is one fixed set; it goes with no other option")
        pack = build_mini()
    else:
        faces = _face_set(args)
        options = {"processes": args.workers, "device": args.device}
        if args.out:
            pack = write_faces(faces, Path(args.out), **options)
        else:
            pack = face_pack(faces, **options)
    print(f"{len(pack)} faces: {pack.path}")
    return 0


def _pack(args) -> int:
    from pathlib import Path

    from hmtl.data.packing import MAX_BAD, VALID_SHARE, pack_photos, parse_options, read_set
    from hmtl.files import read_json

    options = parse_options(args.data, args.options)
    share = VALID_SHARE if args.valid is None else args.valid
    table = read_set(args.data, args.root, options, valid=share, seed=args.valid_seed)
    pack = pack_photos(
        table,
        Path(args.out),
        args.size,
        data=args.data,
        options=options,
        grey=True if args.grey else None,
        fit=args.fit,
        exif=args.exif,
        max_bad=MAX_BAD if args.max_bad is None else args.max_bad,
        drop_duplicates=args.drop_duplicates,
        workers=args.workers,
    )
    report = read_json(pack.path / "report.json", "pack the set again")
    for line in report["differences"]:
        print(line)
    bad, missing = len(report["bad"]), len(report["missing"])
    leaks = len(report["duplicates"]["across splits"])
    print(f"{bad} unreadable, {missing} missing; {leaks} pictures in two splits")
    print(f"{len(pack)} images: {pack.path} (report.txt says what was found)")
    return 0


def _check(args) -> int:
    from collections import Counter

    from hmtl.use.check import check_all

    counts: Counter = Counter()
    for found in check_all(args.folder):
        counts[found.kind] += 1
        counts["changed"] += bool(found.problem)
        counts["old"] += not found.has_checksums
        if found.problem:
            print(f"hmtl: {found.problem}", file=sys.stderr)
    kinds = [
        f"{n} {kind}{'s' * (n > 1)}" for kind, n in counts.items() if kind not in ("changed", "old")
    ]
    changed, old = counts["changed"], counts["old"]
    print(f"{', '.join(kinds)}: {changed or 'none'} changed or broken")
    if old:
        print(f"{old} of an older version have no checksums, so their bytes were not compared")
    return 1 if changed else 0


def _check_faces(args) -> int:
    from pathlib import Path

    from hmtl.paths import reference_dir
    from hmtl.runs.specs import RunSpec
    from hmtl.study.face_checks import shortcut_table

    table = shortcut_table(RunSpec.preset(args.preset, "faces"))
    out = Path(args.out) if args.out else reference_dir() / "faces-shortcuts.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(out, index=False)
    print(table.to_string(index=False))
    print(out)
    return 0


def _reference(args) -> int:
    from hmtl.study.record import write_reference, write_tables

    if args.folders:
        print(write_reference(args.folders, keep=args.keep, add=args.add))
    else:
        print(write_tables())
    return 0


def _scaling(args) -> int:
    from hmtl.study.scaling import scaling_report
    from hmtl.study.tables import recorded_runs

    if min(args.runs, args.machines) < 1:
        raise ValueError("--runs and --machines must be at least 1")
    print(scaling_report(recorded_runs()[0], args.runs, args.machines))
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status. Bad input prints one line and gives 2."""
    args = _parser().parse_args(arguments)
    handlers = {
        "study": _study, "run": _run, "runs": _runs,
        "predict": _predict, "export": _export, "card": _card, "faces": _faces,
        "pack": _pack, "check": _check, "check-faces": _check_faces,
        "reference": _reference, "scaling": _scaling,
    }  # fmt: skip
    told = (ValueError, OSError, ImportError, MemoryError, RuntimeError, FloatingPointError)
    try:
        return handlers[args.command](args)
    except told as error:
        print(f"hmtl: {error or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hmtl: stopped; the same command goes on where it was", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
