"""Hybrid multi-task learning: self-supervised heads beside supervised facial analysis.

`hmtl_learner` and `Hybrid` add the method to any fastai training; `RunSpec`, `grid` and `run_all`
make studies of it. Nothing heavy is imported until one of the names below is used.
"""

__version__ = "0.3.0"

import warnings
from importlib import import_module

# Two notices of libraries, at import, that would open every notebook and worker: fastai scripts a
# small function, and tqdm misses a widget library that no bar here needs.
warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)
warnings.filterwarnings("ignore", message="IProgress not found")

_HOMES = {
    "BarlowTwins": "hmtl.pretext",
    "Emotion": "hmtl.tasks",
    "Gender": "hmtl.tasks",
    "HeadPose": "hmtl.tasks",
    "HeadPoseBins": "hmtl.tasks",
    "Hybrid": "hmtl.learner",
    "ImageRotation": "hmtl.pretext",
    "Inpainting": "hmtl.pretext",
    "Jigsaw": "hmtl.pretext",
    "OneView": "hmtl.pretext",
    "Puzzling": "hmtl.pretext",
    "PuzzlingRotation": "hmtl.pretext",
    "RunSpec": "hmtl.specs",
    "SecondView": "hmtl.pretext",
    "TileRotation": "hmtl.pretext",
    "face_dataloaders": "hmtl.batches",
    "grid": "hmtl.specs",
    "hmtl_learner": "hmtl.learner",
    "load": "hmtl.predict",
    "load_pack": "hmtl.datasets",
    "open_pack": "hmtl.pack",
    "run_all": "hmtl.runs",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    """Import a public name from its module on first use (torch and fastai take seconds)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hmtl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
