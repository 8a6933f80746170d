"""`hmtl_learner`: a fastai Learner of a plain network whose training is hybrid.

What leaves the laboratory is that network and its task's activation, `Answers`.
"""

__all__ = [
    "AUTHORS_SCALES", "Answers", "Hybrid", "build_model", "hmtl_learner", "split_model",
]  # fmt: skip

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.data.transforms import Normalize
from fastai.learner import Learner
from fastai.torch_core import params
from torch import Tensor, nn

from hmtl.method.balance import Balance
from hmtl.method.checks import task_of
from hmtl.method.encoder import Encoder
from hmtl.method.hybrid import Hybrid
from hmtl.method.optim import fused_adam
from hmtl.method.pretext import Pretext
from hmtl.method.pretext.base import batch_steps
from hmtl.method.tasks import Emotion, Task

# The puzzled picture at three sizes, drawn once a batch: 113-128, 112 and 64-111 px of 112 [C].
AUTHORS_SCALES = ((113 / 112, 128 / 112), 1.0, (64 / 112, 111 / 112))


def build_model(
    arch: str, classes: int, task: Task, weights: str | Path = "scratch", *, normalize: bool = True,
) -> nn.Module:  # fmt: skip
    """The plain supervised network, `encoder` then `head`; input float (B, 3, H, W) in [0, 1]."""
    encoder = Encoder(arch, weights, normalize=normalize)
    head = task.head(encoder.num_features, classes)
    return nn.Sequential(OrderedDict(encoder=encoder, head=head))


class Answers(nn.Module):
    """A network and its task's activation: images in [0, 1] -> probabilities or degrees.

    Input float (B, 3, H, W), output float (B, classes) or (B, 3). `model` is what `build_model`
    returns. This is what leaves the laboratory: normalisation is inside, pretexts are not.
    """

    def __init__(self, model: nn.Module, task: Task):
        super().__init__()
        self.model = model
        self.loss = task.loss(None)

    def forward(self, images: Tensor) -> Tensor:
        """Run both."""
        return self.loss.activation(self.model(images))


def split_model(model: nn.Module) -> list:
    """Parameter groups encoder and head, so that `learn.freeze()` trains the head alone."""
    return [params(model.encoder), params(model.head)]


def hmtl_learner(
    dls: DataLoaders, arch: str = "tiny", task: Task | None = None,
    pretexts: Pretext | str | Sequence[Pretext | str] = (), *, views: str = "paired",
    weights: str | Path = "scratch", pretext_weight: float | dict[str, float] | None = None,
    scales: Sequence = (1.0,), label_views: bool | None = None, balance: str | Balance = "sum",
    seed: int | None = None, cbs: Iterable[Callback] = (), **learner_options
) -> Learner:  # fmt: skip
    """Build an ordinary fastai Learner whose training is hybrid if pretexts are given.

    Pictures are normalised inside the model, unless the DataLoaders already do it.

    Args:
        dls: Of `face_dataloaders`, or any whose batches are pictures (B, 3, H, W) and labels.
        arch: "tiny", "small" or any timm backbone.
        task: What is supervised; None: what the DataLoaders were made for, else emotion.
        pretexts: Tasks or their short names (`hmtl.method.pretext.make`), one, several or none.
        views, scales, label_views, balance, seed: As `Hybrid` takes them.
        weights: "scratch", "imagenet", or a checkpoint (`hmtl.method.encoder.Encoder`).
        pretext_weight: The `weight` of `Hybrid`.
        cbs: Further callbacks.
        learner_options: Further options of fastai's `Learner`.

    Returns:
        The Learner; of a hybrid training `learn.hybrid` is its `Hybrid`.

    Raises:
        ValueError: The DataLoaders have the labels of another task; or they ask for several classes
            a picture or for numbers, and no `task` or `loss_func` is given.

    Example:
        >>> from hmtl import face_dataloaders, hmtl_learner, load_pack
        >>> dls = face_dataloaders(load_pack("mini"), size=32, bs=16, device="cpu")
        >>> learn = hmtl_learner(dls, "tiny", pretexts="puzzling_2x2", seed=0)
        >>> learn.hybrid
        Hybrid([puzzling_2x2], views='paired')

        `learn.fit_one_cycle(10, 4e-3)` trains it.
    """
    made_for = task_of(dls)
    if made_for and task and made_for.columns != task.columns:
        raise ValueError(
            f"these DataLoaders have the labels of {made_for.name!r}; make them with "
            f"face_dataloaders(..., task={task.name!r})"
        )
    asked = getattr(getattr(getattr(dls, "train_ds", None), "loss_func", None), "func", None)
    other = isinstance(asked, nn.BCEWithLogitsLoss | nn.MSELoss)
    if task is None and other and "loss_func" not in learner_options:
        raise ValueError(
            f"these DataLoaders ask for {type(asked).__name__}, not for one class a picture; give "
            "task= or loss_func=, or add Hybrid to a Learner of fastai's"
        )
    task = task or made_for or Emotion()
    done = any(isinstance(step, Normalize) for step in batch_steps(dls.train))
    if not hasattr(dls, "c"):
        raise ValueError(
            "these DataLoaders do not say how many classes there are: set dls.c, or give fastai's "
            "Learner a network of your own, and add Hybrid"
        )
    model = build_model(arch, dls.c, task, weights, normalize=not done)
    hybrid = [Hybrid(
        pretexts, views, weight=pretext_weight, scales=scales, label_views=label_views,
        body=model.get_submodule("encoder"), seed=seed, balance=balance, task=task,
    )] if pretexts else []  # fmt: skip
    options = {
        "loss_func": task.loss(dls), "metrics": task.metrics(dls), "opt_func": fused_adam,
        "splitter": split_model, "cbs": [*hybrid, *cbs], **learner_options,
    }  # fmt: skip
    return Learner(dls, model, **options)
