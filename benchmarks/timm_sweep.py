"""Which of timm's backbones a plain fastai Learner can train with Hybrid, and on which map.

    python benchmarks/timm_sweep.py                      # modules without a row; an hour of a core
    python benchmarks/timm_sweep.py --modules swin vit   # these rows anew

Takes the smallest model of every module of timm's, by parameters, of the six whose names say that
they are small; trains, from random weights, one batch of two pictures with a puzzle and
in-painting, and holds the shape of the map that pretexts read against `forward_features` of the
model itself. Models that take more than 16 GB so are made with one block. Writes
outputs/reference/tables/timm-backbones.csv:

    module, model, parameters, size    what was tried ("depth=1": of one block), on pictures of
                                       size x size
    map                                channels x height x width that pretexts read
    verdict                            right, wrong: <the model's own shape>, refused: <why>, or
                                       not tried: <why>
"""

import argparse
import csv
import gc
import re
import sys
import warnings

import timm
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from torch import Tensor, nn

from hmtl import Hybrid, Inpainting, Puzzling
from hmtl.paths import reference_dir

COLUMNS = ("module", "model", "parameters", "size", "map", "verdict")
CLASSES, CANDIDATES = 4, 6
SHALLOW = ("deepseek_vit", "gemma4_vit")  # made with one block
SMALL = "test_|atto|femto|pico|nano|xxs|xx_small|_0[345]0|mini|tiny|_xs|x_small|small|_s$|_b?0$"
LARGE = "large|huge|giant|so400m|xl|_l$|_l_|base|_b$|_384|_448|_512"


def _by_name(name: str) -> tuple:
    """Small models first, as far as names tell."""
    return bool(re.search(LARGE, name)), not re.search(SMALL, name), name


def build(name: str) -> nn.Module:
    """The model, of the options that stand after its name: "vit_tiny_patch16_224 depth=1"."""
    name, _, depth = name.partition(" depth=")
    return timm.create_model(name, num_classes=CLASSES, **({"depth": int(depth)} if depth else {}))


def parameters(name: str) -> int | None:
    """How many parameters a model has; None if it cannot be built without memory."""
    try:
        with torch.device("meta"):
            model = build(name)
    except Exception:  # whatever the model's own code raises on tensors without numbers
        return None
    return sum(parameter.numel() for parameter in model.parameters())


def smallest(module: str) -> tuple[str, int | None]:
    """Name and parameters of a module's smallest model; else the first that cannot be counted."""
    names = sorted(timm.list_models(module=module, exclude_filters="*_enc"), key=_by_name)
    if module in SHALLOW:
        names = [f"{name} depth=1" for name in names]
    counts = {name: parameters(name) for name in names[:CANDIDATES]}
    known = {name: count for name, count in counts.items() if count}
    return min(known.items(), key=lambda item: item[1]) if known else (names[0], None)


def own_map(model: nn.Module, pictures: Tensor) -> tuple[int, ...] | None:
    """(C, h, w) of what `forward_features` gives, None if that is no map of the picture."""
    with torch.no_grad():
        found = model.eval().forward_features(pictures)
    if not isinstance(found, Tensor):
        return None
    if found.ndim == 4:
        last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        return tuple(found.permute(0, 3, 1, 2).shape[1:] if last else found.shape[1:])
    side = round((found.shape[1] - (getattr(model, "num_prefix_tokens", 0) or 0)) ** 0.5)
    return (found.shape[2], side, side) if found.ndim == 3 else None


class _Look(Callback):
    """Keeps the shape of the map of the first batch."""

    order = Hybrid.order + 1
    shape: tuple[int, ...] | None = None

    def after_pred(self):
        self.shape = tuple(self.hybrid.representation()["map"].shape[1:])


def tried(name: str) -> tuple[int, str, str]:
    """The size of the pictures, the map and the verdict of a model; 64 px if it takes them."""
    own = timm.get_pretrained_cfg(name.partition(" ")[0]).input_size[-1]
    for size in (64, own):
        found = size, *_trained(name, size)
        if not found[-1].startswith("refused"):
            break
    return found


def _trained(name: str, size: int) -> tuple[str, str]:
    torch.manual_seed(0)
    model = build(name)
    channels = model.pretrained_cfg["input_size"][0]
    data = [(torch.rand(channels, size, size), i % CLASSES) for i in range(2)]
    loaders = [torch.utils.data.DataLoader(data, 2) for _ in range(2)]
    look = _Look()
    learn = Learner(
        DataLoaders(*loaders, device="cpu"), model, loss_func=nn.CrossEntropyLoss(),
        cbs=[Hybrid([Puzzling(2), Inpainting("grid")], label_views=False, seed=0), look],
    )  # fmt: skip
    learn.dls.loaders[1] = torch.utils.data.DataLoader([], 2)
    try:
        with learn.no_bar(), learn.no_logging():
            learn.fit(1)
    except Exception as error:  # the model's own, too
        reason = " ".join(f"{type(error).__name__} {error}".split())
        if "allocate memory" in reason:  # of the machine, not of the model
            return "", "not tried: more memory than this machine has"
        return _text(look.shape), f"refused: {reason[:160]}"
    wanted = own_map(model, torch.stack([x for x, _ in data]))
    verdict = "right" if look.shape == wanted else f"wrong: {_text(wanted)}"
    return _text(look.shape), verdict


def _text(shape: tuple[int, ...] | None) -> str:
    return "x".join(map(str, shape or ()))


def main() -> None:
    """Sweep, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--modules", nargs="*", help="whose rows are made anew")
    modules = parser.parse_args().modules
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = reference_dir() / "tables" / "timm-backbones.csv"
    rows = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = {row[0]: row for row in list(csv.reader(file))[1:]}
    for module in modules or [name for name in timm.list_modules() if name not in rows]:
        name, count = smallest(module)
        rows[module] = [module, name, count, *tried(name)]
        gc.collect()  # Learners are circles, which may hold gigabytes
        print(*rows[module], sep=", ", file=sys.stderr, flush=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            table = [COLUMNS, *(rows[module] for module in sorted(rows))]
            csv.writer(file, lineterminator="\n").writerows(table)


if __name__ == "__main__":
    main()
