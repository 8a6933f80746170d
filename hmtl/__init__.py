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

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "hmtl.data.pack": ["open_pack"],
        "hmtl.data.sets": ["load_pack"],
        "hmtl.method.batches": ["face_dataloaders"],
        "hmtl.method.hybrid": ["Hybrid"],
        "hmtl.method.learner": ["hmtl_learner"],
        "hmtl.method.pretext": [
            "BarlowTwins", "ImageRotation", "Inpainting", "Jigsaw", "OneView", "Puzzling",
            "PuzzlingRotation", "SecondView", "TileRotation",
        ],
        "hmtl.method.tasks": ["Emotion", "Gender", "HeadPose", "HeadPoseBins"],
        "hmtl.runs.fit": ["run_all"],
        "hmtl.runs.specs": ["RunSpec", "grid"],
        "hmtl.use.predict": ["load"],
    },
)  # fmt: skip
