"""Controls: what else an auxiliary task brings along, without what it is said to teach. Ours.

    SecondView     the compute of a paired view, spent on another plain view of the same pictures
    TransformOnly  a pretext's pictures without its loss: is it only augmentation?
    NoLoss         a pretext's pictures and head, whose loss has weight 0: is it only the machinery?
    RandomTarget   a head that learns a random class of each picture: is it only a second loss?
    OtherPictures  a pretext asked of pictures with and without labels: is it only more pictures?

Twice the batch, the last control, is no task: a supervised run with `bs` doubled.
"""

__all__ = ["NoLoss", "OtherPictures", "RandomTarget", "SecondView", "TransformOnly"]

from collections.abc import Callable
from typing import Any

import torch
from fastai.data.core import DataLoaders
from matplotlib.figure import Figure
from torch import Tensor

from hmtl.method.augment import LEVELS, augment
from hmtl.method.pretext.base import OneChoice, Pretext, batch_steps, show_rows


class _Augmented(Pretext):
    """Base of what needs the DataLoaders' own augmentation."""

    plain_view = True
    _augment: Any = None  # a step of the DataLoaders that can augment a batch again
    _dls: DataLoaders = None  # until a fit

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_dls": None, "_augment": None}

    def attach(self, dls: DataLoaders) -> None:
        """Find the `Augment` transform of the DataLoaders, which can augment a batch again."""
        steps = [step for step in batch_steps(dls.train) if hasattr(step, "again")]
        if not steps:
            raise ValueError(
                f"{type(self).__name__} needs DataLoaders made by hmtl.face_dataloaders, whose "
                "augmentation can be applied a second time to the same batch"
            )
        self._augment, self._dls = steps[0], dls

    @property
    def training(self) -> bool:
        """Whether the batch at hand is one of training."""
        return self._augment is not None and self._augment.training

    def again(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A second view of the training batch `images` came from; others are never augmented."""
        return self._augment.again(generator) if self.training else images

    def relabel(self, labels: tuple) -> tuple:
        """A second view was flipped and turned in its own way."""
        return self._augment.relabel(labels) if self.training else labels

    def show(self, images: Tensor, seed: int = 0) -> Figure:
        """The images, one beside the other: there is no task to show."""
        return show_rows([images])


class SecondView(_Augmented):
    """Another augmentation of the same images, no head, no loss; for `views="paired"` only. Ours.

    Needs DataLoaders of `face_dataloaders`; a fit with others raises ValueError.
    """

    name = "second_view"
    weight = {"paired": 0.0}

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, None]:
        """A second view of the training batch `images` came from; they themselves go unused."""
        return self.again(images, generator), None

    def head(self, num_features: int) -> None:
        """No head."""


class RandomTarget(OneChoice, _Augmented):
    """A head that learns a random class of each training picture, the same in every epoch.

    Paired views show it another augmentation, shared ones the picture itself. On validation
    pictures, whose classes are random too, its score is chance, 1 / `classes`.
    """

    name = "random_target"
    classes, dropout, seed = 8, 0.2, 0

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Target int64 (B,): the class of each picture's row in the pack."""
        loader = self._dls.train if self.training else self._dls.valid
        rows = loader.dataset.rows[loader.positions]
        table = torch.randint(
            self.classes, (int(loader.dataset.rows.max()) + 1,), generator=self.seeded(self.seed)
        )
        return self.again(images, generator), table[torch.as_tensor(rows)].to(images.device)


def _own(name: str) -> Callable:
    """A method that is the wrapped pretext's own."""
    return lambda self, *given, **named: getattr(self.pretext, name)(*given, **named)


class _Wrapped(Pretext):
    """Base of the controls that change one thing about another pretext."""

    prefix = ""

    def __init__(self, pretext: Pretext):
        self.pretext = pretext
        self.name = f"{self.prefix}_{pretext.name}"
        self.reads, self.revision = pretext.reads, pretext.revision
        self.turns, self.siamese = pretext.turns, pretext.siamese
        self.plain_view, self.own_pictures = pretext.plain_view, pretext.own_pictures
        self.weight = dict.fromkeys(pretext.weight, 0.0)

    transform, relabel, attach, prepare, show = map(
        _own, ("transform", "relabel", "attach", "prepare", "show")
    )


class TransformOnly(_Wrapped):
    """A pretext's pictures, without head and loss: augmentation by puzzles, say."""

    prefix = "only"

    def head(self, num_features: int) -> None:
        """No head."""


class _Whole(_Wrapped):
    """A wrapped pretext with its head, loss and score."""

    head, loss, score = map(_own, ("head", "loss", "score"))


class NoLoss(_Whole):
    """A pretext with its head and its score, whose loss trains the head but not the encoder.

    The head learns on features that are cut off from the encoder, so its score says what the
    supervised representation knows of the task by itself.
    """

    prefix = "probe"
    cut_off = True

    def __init__(self, pretext: Pretext):
        super().__init__(pretext)
        self.weight = dict.fromkeys(pretext.weight, 1.0)


class OtherPictures(_Whole, _Augmented):
    """A pretext asked of any training pictures; for `views="paired"` only.

    With few labels a hybrid training asks its pretext of the labelled pictures alone, a
    pre-training of all. This shows the pretext as many pictures a batch, drawn from all: the
    supervised loss is taken on the labelled ones, which the network sees untouched.

    Args:
        pretext: What is asked; one that does not compare the view with the batch's own picture.

    Raises:
        ValueError: The pretext compares its view with the batch's own picture.
    """

    prefix = "unlabelled"

    def __init__(self, pretext: Pretext):
        if pretext.siamese or pretext.plain_view:
            raise ValueError(f"{pretext.name} is about the batch's own pictures, not about others")
        super().__init__(pretext)
        self.own_pictures = False
        self.cut_off, self.weight = pretext.cut_off, {"paired": pretext.weight["paired"]}

    def attach(self, dls: DataLoaders) -> None:
        """Take hold of the DataLoaders, whose pack holds the other pictures."""
        _Augmented.attach(self, dls)
        self.pretext.attach(dls)

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Any]:
        """The pretext's, in training of as many pictures drawn from the whole train split."""
        if self.training:
            images = self._others(len(images), generator).to(images.device)
        return self.pretext.transform(images, generator)

    def _others(self, count: int, generator: torch.Generator) -> Tensor:
        """Training pictures of the pack, augmented as the batch is; float (count, 3, S, S)."""
        pack = self._dls.train_ds.pack
        rows = pack.rows("train")
        drawn = rows[torch.randint(len(rows), (count,), generator=generator).numpy()]
        pixels = torch.from_numpy(pack.take(drawn)).permute(0, 3, 1, 2).float() / 255
        level = LEVELS[self._augment.level]
        return augment(pixels.expand(-1, 3, -1, -1), level, self._augment.size, generator)
