"""Hybrid multi-task learning: self-supervised heads beside supervised facial analysis.

`hmtl_learner` and `Hybrid` add the method to any fastai training; `RunSpec`, `grid` and `run_all`
make studies of it. Nothing heavy is imported until one of the names below is used.
"""

__version__ = "0.3.0"

import warnings

from hmtl.lazy import attach

# Two notices of libraries, at import, that would open every notebook and worker: fastai scripts a
# small function, and tqdm misses a widget library that no bar here needs.
warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)
warnings.filterwarnings("ignore", message="IProgress not found")

_HOMES = {
    "BarlowTwins": "hmtl.method.pretext",
    "Emotion": "hmtl.method.tasks",
    "Gender": "hmtl.method.tasks",
    "HeadPose": "hmtl.method.tasks",
    "HeadPoseBins": "hmtl.method.tasks",
    "Hybrid": "hmtl.method.hybrid",
    "ImageRotation": "hmtl.method.pretext",
    "Inpainting": "hmtl.method.pretext",
    "Jigsaw": "hmtl.method.pretext",
    "OneView": "hmtl.method.pretext",
    "Puzzling": "hmtl.method.pretext",
    "PuzzlingRotation": "hmtl.method.pretext",
    "RunSpec": "hmtl.runs.specs",
    "SecondView": "hmtl.method.pretext",
    "TileRotation": "hmtl.method.pretext",
    "face_dataloaders": "hmtl.method.batches",
    "grid": "hmtl.runs.specs",
    "hmtl_learner": "hmtl.method.learner",
    "load": "hmtl.use.predict",
    "load_pack": "hmtl.data.sets",
    "open_pack": "hmtl.data.pack",
    "run_all": "hmtl.runs.fit",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
