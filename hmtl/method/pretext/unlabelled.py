"""A pretext on training pictures with and without labels, as pre-training has them. Ours.

With few labels a hybrid training asks its pretext of the labelled pictures alone, a pre-training of
all. `OtherPictures` shows the pretext as many pictures a batch, drawn from all: the supervised loss
is taken on the labelled ones, which the network sees untouched, at no further cost.
"""

__all__ = ["OtherPictures"]

from typing import Any

import torch
from fastai.data.core import DataLoaders
from matplotlib.figure import Figure
from torch import Tensor

from hmtl.method.augment import LEVELS, augment
from hmtl.method.pretext.base import Pretext
from hmtl.method.pretext.controls import _Augmented, _Whole


class OtherPictures(_Augmented, _Whole):
    """A pretext asked of any training pictures; for `views="paired"` only.

    Args:
        pretext: What is asked; one that does not compare the view with the batch's own picture.

    Raises:
        ValueError: The pretext compares its view with the batch's own picture.
    """

    prefix, own_pictures = "unlabelled", False

    def __init__(self, pretext: Pretext):
        if pretext.siamese or pretext.plain_view:
            raise ValueError(f"{pretext.name} is about the batch's own pictures, not about others")
        super().__init__()
        _Whole.__init__(self, pretext)
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

    def relabel(self, labels: tuple) -> tuple:
        """Theirs are not known, and not asked for."""
        return labels

    def show(self, images: Tensor, seed: int = 0) -> Figure:
        """The pretext's own."""
        return self.pretext.show(images, seed)
