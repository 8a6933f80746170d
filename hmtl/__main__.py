"""python -m hmtl: study, run, runs, predict, export, card, faces, pack, check, reference ...

A command is a function below: typer reads its options from the signature, and their help from its
`Args`. Nothing heavy is imported before a command runs. Bad input gives one line on stderr and exit
status 2.
"""

__all__ = ["main"]

import copy
import dataclasses
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.exceptions import TyperException

from hmtl.labels import hint, shown

app = typer.Typer(
    help="Hybrid multi-task learning on faces.", add_completion=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)  # fmt: skip
GROUPED = ("--set", "--option", "-p")
"""Options whose values belong together: --set yaw 10 45."""
REPEATED = ("--only", "--track", "--format", "--without")
"""Options of any number of values: --only 20 30 is --only 20 --only 30."""
_LISTS = {"parser": json.loads, "metavar": "NAME VALUE"}
Fields = Annotated[list[Any] | None, typer.Option("--set", **_LISTS)]
Options = Annotated[list[Any] | None, typer.Option("--option", **_LISTS)]
Parameters = Annotated[list[Any] | None, typer.Option("-p", **_LISTS)]
Formats = Annotated[list[str] | None, typer.Option("--format")]


_ALSO = {"batch": "bs", "batch_size": "bs", "learning_rate": "lr", "weight_decay": "wd"}
"""What others call a field of a run."""


def command(function: Callable) -> Callable:
    """Make a function the command of its name, with the help of its docstring; returns it."""
    text, _, args = (inspect.getdoc(function) or "").partition("\n\nArgs:\n")
    helps = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", args, re.M))
    for name, parameter in inspect.signature(function).parameters.items():
        kind = parameter.annotation
        if get_origin(kind) is Annotated:
            kind, info = get_args(kind)
            info = copy.copy(info)
        elif parameter.default is parameter.empty:
            info = typer.Argument()
        else:  # a switch has one name, not a second one that turns it off
            info = typer.Option(*([f"--{name.replace('_', '-')}"] if kind is bool else []))
        info.help = " ".join(helps[name].split())
        function.__annotations__[name] = Annotated[kind, info]
    app.command(function.__name__.strip("_").replace("_", "-"), help=text)(function)
    return function


def _spread(arguments: Sequence[str]) -> list[str]:
    """Options of several values as typer reads them: repeated, or as a JSON list.

    No shell expands the ~ of --name=~/x, so it is done here.
    """
    found, rest = [], list(arguments)
    while rest:
        name, has_value, value = rest.pop(0).partition("=")
        if name not in GROUPED + REPEATED:
            found.append(name + has_value + os.path.expanduser(value))
            continue
        values = [value] if has_value else []
        while rest and not re.match(r"--?[a-zA-Z]", rest[0]):
            values.append(rest.pop(0))
        if not values:
            raise ValueError(f"{name} needs a value")
        texts = [json.dumps(values)] if name in GROUPED else values
        found += [part for text in texts for part in (name, text)]
    return found


def _value(text: str) -> Any:
    """A parameter as papermill's -p reads it: number, true/false or text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _tell_device() -> None:
    """The first line of what trains, on a machine with a GPU."""
    from hmtl.runs.store import device_line

    if line := device_line():
        print(line, file=sys.stderr)


def _check_place(option: str, file: str | Path | None, ending: str) -> None:
    """ValueError or OSError, before long work, if a file cannot be written there as it is named."""
    from hmtl.files import check_place, recorded_in

    if not file:
        return
    if not str(file).lower().endswith(ending):
        raise ValueError(f"{option} {file}: a {ending} file is written, so its name must end so")
    if record := recorded_in(file):
        raise ValueError(
            f"{option} {file}: {record} in that folder vouches for a file of this name, which "
            f"stays as it is; choose another place by {option}"
        )
    check_place(file)


def _found(run: str, store: str | None, handed: bool = True) -> Path:
    """The folder of a network (`find_run`); it is told if the name left open which one it is."""
    from hmtl.use.predict import find_run

    folder = find_run(run, store, handed=handed)
    if folder.name != Path(run).name:
        print(shown(f"{run}: {folder}"), file=sys.stderr)
    return folder


def _pairs(option: str, given: list[list[str]] | None) -> dict[str, str]:
    """Name -> value of an option that was given once a name."""
    given = given or []
    if bad := [" ".join(values) for values in given if len(values) != 2]:
        raise ValueError(f"{option} needs a name and a value, got {bad[0]!r}")
    return dict(given)


def _with_options(data: str | None, options: list[list[str]] | None) -> str | None:
    """The name of a data set that has the options which were given beside it."""
    for name, *values in options or []:
        said = f"{'+' if '=' in name else '='}{'+'.join(values)}" if values else ""
        data = f"{data or ''}{',' if ':' in (data or '') else ':'}{name}{said}"
    return data


@command
def study(
    preset: str = "quick", data: str | None = None, root: str | None = None,
    outputs: str | None = None, only: list[str] | None = None, parameters: Parameters = None,
    options: Options = None, scheduler: str | None = None,
) -> int:  # fmt: skip
    """Execute the notebooks and write index.html.

    Args:
        preset: smoke, quick, study, gpu, paper, paper-first.
        data: mini, faces, ferplus, affectnet:classes=7 ... (default: the preset's).
        root: Folder of a real data set, or a pack of it.
        outputs: Where to write (default: outputs/PRESET[-DATA]).
        only: Some notebooks, e.g. 20 or 11_puzzling.
        parameters: Another notebook parameter, e.g. -p seed 3.
        options: An option of the data, as for pack.
        scheduler: A Dask cluster makes the runs: tcp://HOST:8786.
    """
    from hmtl.study.notebook import run_study, what_it_saw

    _tell_device()
    values = {name: _value(value) for name, value in _pairs("-p", parameters).items()}
    index, failed = run_study(
        preset, data=_with_options(data, options), root=root, outputs=outputs, only=only or (),
        parameters=values, scheduler=scheduler,
    )  # fmt: skip
    print(f"seen: {what_it_saw(index.parent)}")
    print(f"report: {index}")
    more = "--preset study, --only NUMBER or -p seed 10 --outputs outputs/seed10"
    print(f"next: open the report, or run more with {more}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


@command
def run(
    preset: str = "smoke", data: str | None = None, root: str | None = None,
    store: str | None = None, track: list[str] | None = None, fields: Fields = None,
    options: Options = None,
) -> None:  # fmt: skip
    """Train one run of a preset and print its scores.

    Args:
        preset: smoke, quick, study, gpu, paper or paper-first.
        data: A set, e.g. 300w-lp-aflw2000, affectnet:classes=7 (default: the preset's).
        root: Folder of a real data set, or a pack of it.
        store: Run store (default: outputs/runs).
        track: tensorboard, wandb, mlflow (default: $HMTL_TRACK, else none).
        fields: A field of RunSpec, e.g. --set pretexts puzzling_2x2,inpainting_grid.
        options: An option of the data, as for pack.
    """
    from hmtl.data.sets import check_root
    from hmtl.paths import outputs_dir, show_progress
    from hmtl.runs import distributed
    from hmtl.runs.fit import fit
    from hmtl.runs.specs import RunSpec
    from hmtl.runs.store import default_store
    from hmtl.runs.tracking import check_trackers

    _tell_device()

    given = _pairs("--set", fields)
    changes = {name: _value(value) for name, value in given.items()}
    if people := given.get("people"):
        counts = people.replace(",", " ").split()
        if len(counts) != 3 or not all(count.isdigit() for count in counts):
            raise ValueError(
                f"people {people!r}: three counts are needed, e.g. --set people 300,50,125"
            )
        changes["people"] = tuple(map(int, counts))
    if isinstance(changes.get("pretexts"), str):
        changes["pretexts"] = tuple(re.split("[+,]", changes["pretexts"]))
    names = [field.name for field in dataclasses.fields(RunSpec) if field.name != "data"]
    if unknown := sorted(set(changes) - set(names)):
        near = hint(_ALSO.get(unknown[0], unknown[0]), names)
        known = f"{near}{', '.join(names)}"
        known = "data has an option of its own: --data" if unknown == ["data"] else known
        raise ValueError(f"--set {', '.join(unknown)} is no field of a run; {known}")
    spec = RunSpec.preset(preset, _with_options(data, options), **changes)
    if lost := set(changes) & set(spec.unused()):
        raise ValueError(f"--set {', '.join(sorted(lost))} has no meaning for this run: {spec}")
    for name in sorted({"fraction", "fill"} & set(changes)):
        if (taken := getattr(spec, name)) != changes[name]:
            said = f"preset {preset} takes a share of {data or spec.data}"
            print(shown(f"{said}: {name} is {taken:g}, not {changes[name]}"), file=sys.stderr)
    check_root(spec.data, root)
    trackers, before = check_trackers(track), set(Path(store or default_store()).glob("*"))
    result = fit(spec, progress=show_progress(), root=root, store=store, track=trackers)
    distributed.leave()
    if not distributed.is_main():
        return
    if result.path in before:
        print(f"was trained already: {result.path}", file=sys.stderr)
    elif "tensorboard" in trackers:
        print(f"tensorboard: {outputs_dir() / 'tensorboard' / result.id}", file=sys.stderr)
    print(result.path)
    for warning in result.machine.get("warnings", []):
        print(shown(f"warning: {warning}"), file=sys.stderr)
    for name, value in result.scores.items():
        print(f"{name:12} {value:.4f}" if isinstance(value, float) else f"{name:12} {value}")
    if result.best:
        metric, split = spec.make_task().metric, result.best.get("chosen_on", "valid")
        score = result.best["scores"][metric]
        told = f"of epoch {result.best['epoch']}, the best on the {split} images"
        print(f"test {metric} {told}: {score:.4f}")


@command
def runs(store: str | None = None) -> int:
    """List the trained runs of the store, newest first.

    Exit status 0: every run could be read; 1: some could not, they are on stderr; 2: there is none.

    Args:
        store: Run store (default: outputs/runs).
    """
    from hmtl.runs.store import default_store, load_run
    from hmtl.use.predict import trained_runs

    broken = False
    for folder in trained_runs(Path(store or default_store()), needed=True):
        try:
            one = load_run(folder)
            metric = one.spec.make_task().metric
            said = f"{metric} {one.scores[metric]:.3f}" if metric else ""
        except (ValueError, OSError) as error:
            broken = True
            print(f"hmtl: {shown(error)}", file=sys.stderr)
            continue
        print(shown(f"{folder.name}  {one.spec.task}  {one.spec.method}  {said}".rstrip()))
    return 1 if broken else 0


@command
def predict(
    run: str, images: list[str], out: str = "predictions.csv", no_detect: bool = False,
    batch: int = 64, every: int = 1, draw: str | None = None, embeddings: str | None = None,
    device: str | None = None, store: str | None = None,
) -> int:  # fmt: skip
    """Write a network's answers about pictures as a table.

    A row a face; face 0: none was found. Exit status 0: all is there; 1: pictures that were not
    read, or not drawn, are on stderr and the table has the others; 2: nothing was made.

    Args:
        run: A network that ships, a run's folder or name, latest, or an exported folder.
        images: Pictures, videos, or folders of them.
        out: The table, a .csv file.
        no_detect: The pictures are faces already.
        batch: Faces at once.
        every: Of a video one frame in so many.
        draw: Folder for copies with boxes and answers.
        embeddings: A .npz file for the representation of each face.
        device: cpu or cuda (default: a GPU where there is one).
        store: Run store (default: outputs/runs).
    """
    import time

    from hmtl.files import new_file
    from hmtl.use.predict import load, save_embeddings

    _check_place("--out", out, ".csv")
    _check_place("--embeddings", embeddings, ".npz")
    network, start = load(_found(run, store), device=device), time.perf_counter()
    given: dict[str, Any] = {"detect": not no_detect, "batch": batch, "every": every, "draw": draw}
    if embeddings:
        table, vectors = network.embed(images, **given)
    else:
        table = network.predict(images, **given)
    seconds = time.perf_counter() - start
    problems = [*table.attrs["unreadable"].items(), *table.attrs["undrawn"].items()]
    for name, problem in problems:
        print(f"hmtl: {shown(name)}: {shown(problem)}", file=sys.stderr)
    if table.empty:
        raise ValueError(f"no picture could be read, so {out} was not written")
    with new_file(out) as part:
        table.to_csv(part, index=False, float_format="%.6g", errors="backslashreplace")
    if embeddings:
        save_embeddings(embeddings, table, vectors)
    faces = int((table["face"] > 0).sum())
    pictures = len(table[[n for n in ("file", "frame") if n in table]].drop_duplicates())
    print(f"{faces} faces in {pictures} pictures: {out}")
    if pictures >= 100:  # of few, the start is what is measured
        print(f"{pictures / seconds:.0f} pictures a second", file=sys.stderr)
    return 1 if problems else 0


@command
def networks() -> None:
    """List the trained networks that ship, with their test scores."""
    from hmtl.use.networks import network_table

    table = network_table().astype(str)
    wide = {name: f"{{:{values.str.len().max()}}}".format for name, values in table.items()}
    print(table.to_string(index=False, justify="left", formatters=wide))


@command
def ship(
    run: str, name: str, root: str | None = None, notes: str = "", store: str | None = None
) -> None:
    """Make a network that ships of a finished run.

    For maintainers; it lies in hmtl/data/networks.

    Args:
        run: A run's folder or name, or latest.
        name: Of the network; one of that name is replaced.
        root: Folder of the run's data set, where that is no rendered one.
        notes: A last section of its card.
        store: Run store (default: outputs/runs).
    """
    from hmtl.runs.store import load_run
    from hmtl.use.networks import ship as make

    print(make(load_run(_found(run, store, handed=False)), name, root=root, notes=notes))


@command
def export(
    run: str, out: Annotated[str, typer.Option()], formats: Formats = None, store: str | None = None
) -> None:
    """Write a network as ONNX, torch.export, timm or for the hub.

    Args:
        run: A network that ships, a run's folder or name, or latest.
        out: New folder.
        formats: onnx torch timm, or hub alone (default: onnx).
        store: Run store (default: outputs/runs).
    """
    from hmtl.runs.store import load_run
    from hmtl.use.export import export_run
    from hmtl.use.networks import is_handed

    found = _found(run, store)
    source = found if is_handed(found) else load_run(found)
    folder = export_run(source, out, formats or ["onnx"])
    print("\n".join(str(file) for file in sorted(folder.iterdir())))


@command
def card(
    run: Annotated[str | None, typer.Argument()] = None,
    data: str | None = None,
    out: str | None = None,
    store: str | None = None,
) -> None:
    """Write a run's model card, or a pack's data sheet.

    Args:
        run: A run's folder or name, or latest.
        data: A pack's folder, or mini.
        out: File (default: card.md in the folder).
        store: Run store (default: outputs/runs).
    """
    from hmtl.data.pack import open_pack
    from hmtl.data.sets import MINI_PATH
    from hmtl.runs.store import load_run
    from hmtl.use.card import write_card

    if (run is None) == (data is None):
        raise ValueError("give a run, or --data and a pack")
    if data == "mini" and not out:
        raise ValueError("the mini set lies inside the package; say where with --out FILE")
    pack = MINI_PATH if data == "mini" else data
    made = load_run(_found(str(run), store, handed=False)) if pack is None else open_pack(pack)
    print(write_card(made, out))


@command
def faces(
    count: int | None = None, people: tuple[int, int, int] | None = None, size: int = 48,
    seed: int = 0, out: str | None = None, workers: int | None = None, device: str = "cpu",
    without: list[str] | None = None, fields: Fields = None, mini: bool = False,
) -> None:  # fmt: skip
    """Render faces into a pack; resumable.

    Args:
        count: Faces in all, rounded up to whole people.
        people: People in train, valid and test (default: 300 50 125).
        size: Pixels.
        seed: Another seed draws other people.
        out: Folder of the pack (default: in the cache).
        workers: Processes (default: one a core).
        device: cpu or cuda.
        without: Switch nuisances off, e.g. hands light-direction; all; an unknown one lists them.
        fields: A field of FaceSet and its values, e.g. --set yaw 10 45.
        mini: Render the set the package ships, anew.
    """
    from hmtl.data.sets import build_mini, face_pack, write_faces

    if mini:
        given = (count, people, out, without or None, fields or None)
        if any(option is not None for option in given):
            raise ValueError("--mini is one fixed set; it goes with no other option")
        pack = build_mini()
    else:
        drawn = _face_set(count, people, size, seed, without or (), fields or ())
        write = partial(write_faces, path=Path(out)) if out else face_pack
        pack = write(drawn, processes=workers, device=device)
    print(f"{len(pack)} faces: {pack.path}")


def _face_set(count, people, size, seed, without, fields):
    """The FaceSet that the options of `faces` describe."""
    from hmtl.faces.faceset import FaceSet

    own = {"size": "--size", "seed": "--seed", "people": "--people or --count"}
    changes = {}
    for name, *values in fields:
        if name in own:
            raise ValueError(f"{name} has an option of its own: {own[name]}")
        if not values:
            raise ValueError(f"--set {name} needs a value")
        values = tuple(map(_value, values))
        changes[name] = values[0] if len(values) == 1 else values
    if count is not None and people:
        raise ValueError("give --count or --people, not both")
    try:
        drawn = FaceSet((0, 0, 0), size=size, seed=seed, **changes)
    except TypeError as error:
        raise ValueError(f"{error}; --set takes a field of FaceSet") from error
    people = tuple(people or (300, 50, 125))
    if count is not None:  # three quarters of the people to train, a tenth to valid
        if count < 1:
            raise ValueError(f"--count must be at least 1, got {count}")
        every = -(-count // drawn.per_person)
        valid, test = round(0.1 * every), round(0.15 * every)
        people = every - valid - test, valid, test
    return dataclasses.replace(drawn, people=people).without(*without)


@command
def pack(
    data: str, root: Annotated[str, typer.Option()], out: Annotated[str, typer.Option()],
    size: int = 144, options: Options = None, workers: int | None = None, grey: bool = False,
    fit: str = "cover", exif: str = "auto", valid: float | None = None, valid_seed: int = 0,
    max_bad: float | None = None, drop_duplicates: bool = False,
) -> None:  # fmt: skip
    """Read a data set on the disk into a pack; resumable.

    Args:
        data: affectnet, affectnet:classes=7 ...; an unknown one lists them.
        root: Folder of the data set.
        out: Folder of the pack.
        size: Pixels.
        options: An option of the reader: --option classes 7, --option columns path=image.
        workers: Processes (default: one a core).
        grey: Grey, whatever the set is.
        fit: Square of a face: cover, widen, squash.
        exif: Orientation: auto, always, never.
        valid: Share of training to hold out where nothing is valid (default: 0.05; 0: nothing).
        valid_seed: Another seed holds out others.
        max_bad: Share that may be unreadable (default: 0.05).
        drop_duplicates: Leave out what the report would name.
    """
    from hmtl.data import packing
    from hmtl.files import read_json

    data, own = packing.split_options(data)
    parsed = packing.parse_options(data, [*own, *(options or [])])
    share = packing.VALID_SHARE if valid is None else valid
    table = packing.read_set(data, root, parsed, valid=share, seed=valid_seed)
    made = packing.pack_photos(
        table, Path(out), size, data=data, options=parsed, grey=grey or None, fit=fit, exif=exif,
        max_bad=packing.MAX_BAD if max_bad is None else max_bad, drop_duplicates=drop_duplicates,
        workers=workers,
    )  # fmt: skip
    report = read_json(made.path / "report.json", "pack the set again")
    for warning in report["warnings"]:
        print(shown(f"warning: {warning}"), file=sys.stderr)
    if report["differences"]:
        print(shown(f"not as published: {'; '.join(report['differences'])}"))
    for note in report["reader"].get("notes", []):
        if "so it makes no run" in note:
            print(shown(note))
    bad, missing = len(report["bad"]), len(report["missing"])
    leaks = len(report["duplicates"]["across splits"])
    print(f"{bad} unreadable, {missing} missing; {leaks} pictures in two splits")
    print(f"{len(made)} images: {made.path} (report.txt says what was found)")


@command
def check(folder: str) -> int:
    """Compare packs, runs and exports with their checksums.

    Exit status 0: all are as they were written; 1: some are not, they are on stderr; 2: there is
    nothing to check.

    Args:
        folder: Of a pack, a run, an exported network, or above them.
    """
    from collections import Counter

    from hmtl.use.check import check_all

    kinds: Counter = Counter()
    changed = old = 0
    for found in check_all(folder):
        kinds[found.kind] += 1
        old += not found.has_checksums
        if found.problem:
            changed += 1
            print(f"hmtl: {shown(found.problem)}", file=sys.stderr)
    listed = ", ".join(f"{n} {kind}{'s' * (n > 1)}" for kind, n in kinds.items())
    print(f"{listed}: {changed or 'none'} changed or broken")
    if old:
        print(f"{old} of an older version have no checksums, so their bytes were not compared")
    return 1 if changed else 0


@command
def check_faces(preset: str = "study", out: str | None = None) -> None:
    """Look for shortcuts in the rendered faces.

    Args:
        preset: Whose faces and training.
        out: CSV file (default: outputs/reference/faces-shortcuts.csv of preset study, else none).
    """
    from hmtl.files import new_file
    from hmtl.paths import reference_dir
    from hmtl.runs.specs import RunSpec
    from hmtl.study.face_checks import shortcut_table

    file = out or (reference_dir() / "faces-shortcuts.csv" if preset == "study" else None)
    _check_place("--out", file, ".csv")
    table = shortcut_table(RunSpec.preset(preset, "faces"))
    print(table.to_string(index=False))
    if file:
        with new_file(file) as part:
            table.to_csv(part, index=False)
        print(file)


@command
def reference() -> None:
    """Make the record's tables, figures and the numbers in its pages anew."""
    from hmtl.study.record import write_tables

    print(write_tables())


@command
def decide(
    part: str = "", data: str = "", root: str | None = None, store: str | None = None,
    jobs: int = 1, collect: bool = False,
) -> None:  # fmt: skip
    """Train what the plan of the study lacks, or collect it.

    The plan is papers/hmtl/plan.csv.

    A second call goes on where the first one was; a line a run.

    Args:
        part: Of the plan, e.g. plateau, few-labels (default: all).
        data: faces or ferplus (default: both).
        root: Folder of FER+.
        store: Run store (default: outputs/runs).
        jobs: Runs at once, each on one thread.
        collect: Train nothing; put the finished runs into the record.
    """
    from hmtl.study import plan
    from hmtl.study.record import write_decided

    if collect:
        print(write_decided(store, root))
        return
    options: dict[str, Any] = {"store": store, "root": root, "data": data, "jobs": jobs}
    made = plan.decide(part, say=lambda line: print(line, flush=True), **options)
    print(f"{made} runs are there")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Bad input prints one line and gives 2."""
    told = (ValueError, OSError, ImportError, MemoryError, RuntimeError, FloatingPointError)
    try:
        given = _spread(sys.argv[1:] if arguments is None else arguments)
        group = typer.main.get_command(app)
        with group.make_context("hmtl", given) as context:
            return group.invoke(context) or 0
    except typer.Exit as end:  # of --help
        return end.exit_code
    except TyperException as error:
        print(
            f"hmtl: {' '.join(error.format_message().split())} (--help lists what is known)",
            file=sys.stderr,
        )
        return 2
    except told as error:
        print(f"hmtl: {shown(error) or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = {"run", "study", "decide", "faces", "pack"} & set(given[:1])
        what = "the same command goes on where it was" if goes_on else "call the command again"
        print(f"hmtl: stopped; {what}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
