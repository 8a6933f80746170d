"""Barlow Twins as an auxiliary task: two views of a face should say the same, dimension by
dimension, and every dimension something else.

Zbontar, Jing, Misra, LeCun & Deny, *Barlow Twins: self-supervised learning via redundancy
reduction* (ICML 2021); the loss is lightly's. The authors' second repository tried it as the
auxiliary task; the small projector and the weight are ours.
"""

__all__ = ["BarlowTwins"]

from functools import cached_property

import torch
from fastai.data.core import DataLoaders
from torch import Tensor, nn

from hmtl.method.pretext.controls import _Augmented


class BarlowTwins(_Augmented):
    """A second augmentation of the same pictures, held against the first; paired views only.

    Args:
        width: Numbers a picture that the projector gives.
        redundancy: Weight of the correlations off the diagonal, as published.
    """

    name = "barlow_twins"
    weight = {"paired": 0.01}
    siamese = True

    def __init__(self, width: int = 256, redundancy: float = 5e-3):
        self.width, self.redundancy = width, redundancy

    @cached_property
    def _loss(self) -> nn.Module:
        from lightly.loss import BarlowTwinsLoss

        return BarlowTwinsLoss(lambda_param=self.redundancy)

    def attach(self, dls: DataLoaders) -> None:
        """Take hold of the DataLoaders; ImportError where lightly is missing, whose the loss is."""
        super().attach(dls)
        try:
            self._loss  # noqa: B018
        except ImportError as error:
            raise ImportError("BarlowTwins needs lightly's loss: pip install lightly") from error

    def transform(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, None]:
        """Another augmentation; of validation pictures the mirrored ones."""
        return (self.again(images, generator) if self.training else images.flip(-1)), None

    def head(self, num_features: int) -> nn.Module:
        """The projector: two layers."""
        return nn.Sequential(
            nn.Linear(num_features, self.width, bias=False),
            nn.BatchNorm1d(self.width),
            nn.ReLU(inplace=True),
            nn.Linear(self.width, self.width),
        )

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """lightly's Barlow Twins loss of both projections (B, width)."""
        return self._loss(prediction, target)

    def score(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean correlation of a dimension over the two views, at least 0."""
        a, b = (z - z.mean(0) for z in (prediction, target))
        correlation = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp_min(1e-8)
        return correlation.mean().clamp_min(0)
