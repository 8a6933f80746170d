"""The method: augmentation, pretext tasks, supervised tasks, encoder, `Hybrid`, `hmtl_learner`.

In: DataLoaders of faces (a pack's, or anybody's). Out: a fastai Learner whose training is hybrid
and whose network is the plain one. A loss is summed only here. Imports data.
"""

from hmtl.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "hmtl.method.batches": ["face_dataloaders"],
        "hmtl.method.hybrid": ["Hybrid"],
        "hmtl.method.learner": ["hmtl_learner"],
    },
)
