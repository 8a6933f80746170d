"""Is a run as fast as the machine allows? `make bench`.

Prints tables of ratios measured in one run, interleaved, medians of five rounds after a first one,
writes them with machine and commit to `outputs/reference/bench-<cpu or cuda>.json`, and puts them
between the marks of papers/PERFORMANCE.md. On a CPU everything has one thread and no workers, as a
run has; on a GPU the pipelines of files have a worker a core.

    limit      forward, backward and optimizer step on tensors already in memory
    ours       whole epochs over a pack, weak and strong augmentation
    stock      fastai's Learner on the same pictures as JPEG files, `aug_transforms`
    per image  torchvision's transforms on the same files, a picture at a time, a plain loop
"""

import argparse
import cProfile
import json
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch.nn.functional as F
from bench_tasks import FEW_TASKS, task_costs
from PIL import Image
from timing import DEVICE, WORKERS, fit_one, medians, timed, torch
from torch.utils.flop_counter import FlopCounterMode

from hmtl import face_dataloaders, hmtl_learner
from hmtl.data.pack import GrowingPack, Pack
from hmtl.data.sets import face_pack
from hmtl.faces.faceset import FaceSet
from hmtl.method.learner import build_model
from hmtl.method.tasks import Emotion
from hmtl.paths import reference_dir
from hmtl.runs.fit import here_and_now, run_all
from hmtl.runs.specs import RunSpec
from hmtl.study.record import between_marks
from hmtl.study.tables import markdown
from hmtl.workers import cores

# (backbone, pixels, faces an epoch, batch): where pipelines show, and where arithmetic does
CONFIGS = [("tiny", 64, 1024, 64), ("tf_efficientnet_lite0", 112, 128, 32)]
HALF = torch.float16 if DEVICE == "cuda" else None  # as runs train
REPORT = Path(__file__).parents[1] / "papers" / "PERFORMANCE.md"


# -- whole epochs ---


def plain_step(arch: str, half: torch.dtype | None = HALF) -> Callable:
    """A training step of the plain network on images and classes, as fast as torch makes it.

    `half` is the type of mixed precision, None for single precision throughout.
    """
    model = build_model(arch, 8, Emotion()).to(DEVICE, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    scaler = torch.amp.GradScaler(DEVICE, enabled=DEVICE == "cuda")

    def step(images: torch.Tensor, classes: torch.Tensor) -> None:
        with torch.autocast(DEVICE, half, enabled=half is not None):
            loss = F.cross_entropy(model(images).float(), classes)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def limit(pack: Pack, arch: str, bs: int, half: torch.dtype | None = HALF) -> Callable[[], int]:
    """An epoch on tensors already there; the number of its pictures, as of all epochs below."""
    step, batches = plain_step(arch, half), len(pack.rows("train")) // bs
    images = torch.rand(bs, 3, pack.size, pack.size, device=DEVICE)
    images = images.contiguous(memory_format=torch.channels_last)
    classes = torch.arange(bs, device=DEVICE) % 8

    def epoch() -> int:
        for _ in range(batches):
            step(images, classes)
        return batches * bs

    return epoch


def ours(pack: Pack, arch: str, bs: int, level: str) -> Callable[[], int]:
    """An epoch of `hmtl_learner` on the pack."""
    dls = face_dataloaders(pack, bs=bs, augment=level, seed=0, device=DEVICE)
    return fit_one(hmtl_learner(dls, arch, seed=0))


def write_files(pack: Pack, folder: Path) -> None:
    """The training faces as JPEG files in a folder a class."""
    for row in pack.rows("train"):
        name = folder / pack.labels["emotion"].iloc[row] / f"{row}.jpg"
        name.parent.mkdir(exist_ok=True)
        Image.fromarray(pack.images[row]).save(name, quality=92)


def stock(folder: Path, arch: str, bs: int) -> Callable[[], int]:
    """An epoch of fastai as its tutorials have it, transforms on whole batches of one size."""
    from fastai.vision.all import ImageDataLoaders, Learner, aug_transforms

    transforms = aug_transforms(
        max_rotate=15, min_zoom=1.0, max_zoom=1.45, max_lighting=0.3, max_warp=0, p_affine=1.0,
        p_lighting=0.4,
    )  # fmt: skip
    dls = ImageDataLoaders.from_folder(
        folder, valid_pct=0.01, seed=0, bs=bs, num_workers=WORKERS, batch_tfms=transforms,
        device=torch.device(DEVICE),
    )  # fmt: skip
    model = build_model(arch, 8, Emotion())
    return fit_one(Learner(dls, model, metrics=[]))


def per_image(folder: Path, arch: str, size: int, bs: int) -> Callable[[], int]:
    """An epoch of a plain loop over torchvision's transforms, a picture at a time."""
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder

    chain = T.Compose(
        [
            T.RandomRotation(15), T.RandomResizedCrop(size, (0.69**2, 0.99**2), (1.0, 1.0)),
            T.RandomHorizontalFlip(), T.RandomApply([T.ColorJitter(0.32, 0.32, 0.32, 0.08)], 0.4),
            T.RandomGrayscale(0.2), T.ToTensor(),
        ]
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(
        ImageFolder(folder, chain),
        bs,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        persistent_workers=WORKERS > 0,
    )
    step = plain_step(arch)

    def epoch() -> int:
        for images, classes in loader:
            step(images.to(DEVICE), classes.to(DEVICE))
        return len(loader) * bs

    return epoch


def epochs(arch: str, size: int, faces: int, bs: int) -> pd.DataFrame:
    """Images a second of each way to train, and their ratio to the limit."""
    pack = face_pack(FaceSet((faces // 8, 2, 2), size=size, seed=1), progress=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(pack, folder)
        actions = {
            "limit": limit(pack, arch, bs),
            "ours, weak": ours(pack, arch, bs, "weak"),
            "ours, strong": ours(pack, arch, bs, "strong"),
            "stock fastai": stock(folder, arch, bs),
            "per image": per_image(folder, arch, size, bs),
            "limit, bfloat16": limit(pack, arch, bs, torch.bfloat16),
        }
        seconds = medians({name: timed(action) for name, action in actions.items()})
        pictures = {name: action() for name, action in actions.items()}
    rate = {name: pictures[name] / value for name, value in seconds.items()}
    return pd.DataFrame(
        {
            "network": f"{arch}, {size} px",
            "training": list(rate),
            "images/s": [round(value, 1) for value in rate.values()],
            "of the limit": [round(value / rate["limit"], 3) for value in rate.values()],
        }
    )


PARTS = {
    # what a profile calls it: file, function; cumulative
    "forward": ("encoder.py", "forward"),
    "backward": ("learner.py", "_backward"),
    "optimizer": ("learner.py", "_step"),
    "augmentation": ("augment.py", "augment_and_tell"),
    "gathering and the rest of loading": ("load.py", "__iter__"),
}


def profile(arch: str, size: int, faces: int, bs: int) -> pd.DataFrame:
    """Where an epoch of ours goes, as shares of its time, for weak and for strong augmentation."""
    pack = face_pack(FaceSet((faces // 8, 2, 2), size=size, seed=1), progress=False)
    rows = []
    for level in ("weak", "strong"):
        epoch = ours(pack, arch, bs, level)
        epoch()
        watch = cProfile.Profile()
        watch.runcall(epoch)
        stats = pstats.Stats(watch)
        cumulative = dict.fromkeys(PARTS, 0.0)
        for (file, _, function), (*_, seconds, _) in stats.stats.items():
            for name, part in PARTS.items():
                if (Path(file).name, function) == part and "torch" not in Path(file).parts:
                    cumulative[name] = max(cumulative[name], seconds)
        if silent := [name for name, seconds in cumulative.items() if not seconds]:
            raise RuntimeError(f"the profile has nothing of {', '.join(silent)}: PARTS is outdated")
        cumulative["gathering and the rest of loading"] -= cumulative["augmentation"]
        shares = {name: seconds / stats.total_tt for name, seconds in cumulative.items()}
        shares["callbacks and all else"] = 1 - sum(shares.values())
        named = {name: f"{share:.1%}" for name, share in shares.items()}
        rows.append({"network": f"{arch}, {size} px", "augmentation level": level, **named})
    return pd.DataFrame(rows)


def inference(arch: str, size: int) -> float:
    """Seconds of the network after hybrid training over those after supervised training."""
    pack = face_pack(FaceSet((8, 2, 2), size=size, seed=1), progress=False)
    images = torch.rand(64, 3, size, size, device=DEVICE)
    models = {}
    for name, pretexts in (("SL", ()), ("HMTL", ("puzzling_2x2",))):
        dls = face_dataloaders(pack, bs=32, seed=0, device=DEVICE)
        learn = hmtl_learner(dls, arch, pretexts=pretexts, seed=0)
        fit_one(learn)()
        models[name] = learn.model.eval()

    @torch.inference_mode()
    def predict(model) -> None:
        model(images)

    seconds = medians(
        {name: timed(lambda model=model: predict(model)) for name, model in models.items()}, 15
    )
    return seconds["HMTL"] / seconds["SL"]


# -- start-up, memory, several runs ---

STARTS = {
    "python -m hmtl --help": ["-m", "hmtl", "--help"],
    "import torch, timm, fastai.vision": ["-c", "import torch, timm, fastai.vision.all"],
    "import hmtl and its names": [
        "-c", "import hmtl; hmtl.hmtl_learner, hmtl.face_dataloaders, hmtl.load_pack"
    ],
    "first batch": [
        "-c",
        "import hmtl; "
        "hmtl.face_dataloaders(hmtl.load_pack('mini'), size=48, device='cpu').one_batch()",
    ],
}  # fmt: skip


def starts() -> dict[str, float]:
    """Median seconds of a fresh process, by what it does."""

    def call(arguments: list[str]) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    return medians({name: timed(lambda a=args: call(a)) for name, args in STARTS.items()})


_MEMORY = """
import sys
import torch
from pathlib import Path
from hmtl.data.pack import open_pack
from hmtl.method.batches import face_dataloaders
torch.set_num_threads(1)
dls = face_dataloaders(open_pack(Path(sys.argv[1])), bs=256, device="cpu")
peak = {}
def look():
    for line in open("/proc/self/status", encoding="utf-8"):
        name, _, value = line.partition(":")
        if name in ("RssAnon", "VmRSS"):
            peak[name] = max(peak.get(name, 0), int(value.split()[0]))
for i, batch in enumerate(dls.train):
    if i % 10 == 0:
        look()
print(peak["RssAnon"], peak["VmRSS"])
"""


def memory(count: int, size: int = 48) -> tuple[float, float]:
    """Peak memory in MB of a process that draws an epoch of `count` pictures: its own, and resident
    in all, libraries and pages of the pack included; read at every tenth batch."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "pack"
        with GrowingPack(path, count, size, identity="bench", step=10_000) as growing:
            for start, stop in growing.missing():
                labels = pd.DataFrame({"key": np.arange(start, stop), "split": "train"})
                labels.loc[:1, "split"] = ["valid", "test"]
                images = np.full((stop - start, size, size, 3), 7, np.uint8)
                growing.put(start, images, labels.assign(emotion="happy"))
            growing.finish()
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(path)], capture_output=True, text=True, check=True
        )
    own, resident = map(int, done.stdout.split())
    return own / 1024, resident / 1024


def jobs_gain() -> float:
    """How many times faster four runs are with a run a core than one after another."""
    specs = [RunSpec(epochs=6, augment="weak", seed=seed) for seed in range(4)]
    seconds = {}
    for jobs in (1, cores()):
        with tempfile.TemporaryDirectory() as store:
            started = time.perf_counter()
            run_all(specs, store=store, jobs=jobs, progress=False)
            seconds[jobs] = time.perf_counter() - started
    return seconds[1] / seconds[cores()]


# -- what the machine could do ---


def machine_limits() -> dict[str, float]:
    """GFLOP/s of a large matrix product, in the precision of runs, and GB/s of a large copy."""
    a, b = torch.rand(2, 1536, 1536, device=DEVICE, dtype=HALF or torch.float32)
    large = torch.rand(1 << 26, device=DEVICE)
    target = torch.empty_like(large)
    seconds = medians({"product": timed(lambda: a @ b), "copy": timed(lambda: target.copy_(large))})
    return {
        "GFLOP/s": 2 * 1536**3 / seconds["product"] / 1e9,
        "GB/s": 2 * 4 * large.numel() / seconds["copy"] / 1e9,  # read and written
    }


def step_flops(arch: str, size: int) -> float:
    """Floating-point operations of a training step, a picture: three times the forward pass.

    torch's counter knows the groups of a convolution on the way forward only, and a pass back costs
    as much as two forward.
    """
    model = build_model(arch, 8, Emotion()).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.rand(1, 3, size, size))
    return 3.0 * counter.get_total_flops()


def arithmetic(rates: pd.DataFrame, limits: dict[str, float]) -> pd.DataFrame:
    """The operations of a step, and which share of the machine's rate the limit reaches."""
    rows = []
    for arch, size, *_ in CONFIGS:
        network, flops = f"{arch}, {size} px", step_flops(arch, size)
        own = rates[(rates["network"] == network) & (rates["training"] == "limit")]
        share = own["images/s"].iloc[0] * flops / 1e9 / limits["GFLOP/s"]
        rows.append((network, flops / 1e6, share))
    return pd.DataFrame(
        rows, columns=["network", "MFLOP a picture and step", "limit, of the machine's GFLOP/s"]
    ).round(3)


# -- all of it ---


def goals(rates: pd.DataFrame, tasks: pd.DataFrame, rest: dict) -> pd.DataFrame:
    """What was aimed at, what was measured, and whether it is met."""
    rows = []
    for network, group in rates.groupby("network", sort=False):
        rate = group.set_index("training")["images/s"]
        for what, value, goal in (
            ("ours, weak, of the limit", rate["ours, weak"] / rate["limit"], 0.95),
            ("ours, strong, of the limit", rate["ours, strong"] / rate["limit"], 0.90),
            ("ours over stock fastai", rate["ours, weak"] / rate["stock fastai"], 2),
            ("ours over a pipeline per image", rate["ours, weak"] / rate["per image"], 2),
        ):
            rows.append((network, what, value, ">=", goal))
    for network, group in tasks.groupby("network", sort=False):
        ratio = group.set_index(["task", "views"])["ratio"]
        for task, views, goal in (
            ("puzzling_2x2", "shared", 1.05), ("puzzling_2x2", "paired", 2.1),
            ("tile_rotation_2x2", "shared", 1.05), ("inpainting_grid_pl", "shared", 1.4),
        ):  # fmt: skip
            rows.append(
                (
                    network,
                    f"epoch with {task}, {views}, over supervised",
                    ratio[task, views],
                    "<=",
                    goal,
                )
            )
    for network, value in rest["inference"].items():
        rows.append((network, "inference after hybrid training", value, "<=", 1.02))
    start = rest["starts"]
    base = start["import torch, timm, fastai.vision"]
    rows += [
        ("", "python -m hmtl --help, seconds", start["python -m hmtl --help"], "<=", 1),
        ("", "import hmtl and its names, over torch, timm, fastai.vision alone",
         start["import hmtl and its names"] / base, "<=", 1.1),
        ("", "peak memory, an epoch of 300,000 pictures over one of 10,000",
         rest["memory"]["300000"][1] / rest["memory"]["10000"][1], "<=", 1.1),
        ("", "a run a core over one after another", rest["jobs"], ">=", 1),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["network", "what", "measured", "", "goal"])
    table["met"] = [
        "yes" if (m >= g if sign == ">=" else m <= g) else "no"
        for m, sign, g in zip(table["measured"], table[""], table["goal"], strict=True)
    ]
    table["measured"] = table["measured"].round(3)
    return table


TITLES = {
    # tables of the record, in the order of the report
    "goals": "Goals",
    "epochs": "Whole epochs",
    "profile": "Where an epoch goes (a profile, which itself costs some)",
    "tasks": "An epoch with each task, over a supervised one",
    "arithmetic": "How far from the arithmetic",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=reference_dir() / f"bench-{DEVICE}.json")
    parser.add_argument("--again", action="store_true", help="judge --out anew, measure nothing")
    parser.add_argument("--no-report", action="store_true", help="leave papers/PERFORMANCE.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.again:
        record = json.loads(args.out.read_text(encoding="utf-8"))
        parts = {name: pd.DataFrame(record[name]) for name in TITLES}
        parts["goals"] = goals(parts["epochs"], parts["tasks"], record)
        parts["arithmetic"] = arithmetic(parts["epochs"], record["machine"])
        record |= {name: parts[name].to_dict("records") for name in ("goals", "arithmetic")}
        args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        write_report(parts, record)
        return
    rates = pd.concat([epochs(*config) for config in CONFIGS], ignore_index=True)
    print(rates.to_string(index=False), flush=True)
    small, large = CONFIGS
    tasks = pd.concat(
        [
            task_costs(small[0], small[1], small[3]),
            task_costs(large[0], large[1], large[3], FEW_TASKS, fraction=0.31),
        ],
        ignore_index=True,
    )
    print(tasks.to_string(index=False), flush=True)
    limits = machine_limits()
    rest = {
        "inference": {f"{a}, {s} px": inference(a, s) for a, s, *_ in CONFIGS},
        "starts": starts(),
        "memory": {str(count): memory(count) for count in (10_000, 300_000)},
        "jobs": jobs_gain(),
        "machine": limits,
    }
    table = goals(rates, tasks, rest)
    print(table.to_string(index=False))
    profiles = pd.concat([profile(*config) for config in CONFIGS], ignore_index=True)
    parts = {
        "goals": table, "epochs": rates, "profile": profiles, "tasks": tasks,
        "arithmetic": arithmetic(rates, limits),
    }  # fmt: skip
    record = {
        "made by": here_and_now(), "threads": torch.get_num_threads(), **rest,
        **{name: part.to_dict("records") for name, part in parts.items()},
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if not args.no_report:
        write_report(parts, record)


def write_report(parts: dict[str, pd.DataFrame], record: dict) -> None:
    """Put the tables between the marks of papers/PERFORMANCE.md."""
    made = record["made by"]
    lines = [
        f"Measured at commit {made['commit']} on {made['gpu'] or made['machine']}, "
        f"{made['cores']} cores, torch {made['torch']}; {record['threads']} thread a process.",
        f"A large matrix product runs at {record['machine']['GFLOP/s']:.0f} GFLOP/s, "
        f"a large copy at {record['machine']['GB/s']:.1f} GB/s.",
    ]
    for name, title in TITLES.items():
        lines += ["", f"### {title}", "", markdown(parts[name])]
    seconds = pd.DataFrame(record["starts"].items(), columns=["a fresh process", "seconds"])
    lines += ["", "### Start-up", "", markdown(seconds.round(2))]
    rows = [(int(n), round(own), round(all_)) for n, (own, all_) in record["memory"].items()]
    table = pd.DataFrame(rows, columns=["pictures", "own MB", "resident MB"])
    lines += ["", "### Peak memory of an epoch", "", markdown(table)]
    between_marks(REPORT, "bench", "\n".join(lines))


if __name__ == "__main__":
    main()
