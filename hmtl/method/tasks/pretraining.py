"""No labels at all: pretexts alone shape the encoder, before a supervised run starts from it.

The usual order that claim C5 holds hybrid training against: first every image without its label,
then the labelled ones. A run of this task has no answer to score but its pretexts'; its encoder is
the `init` of the run that follows.
"""

__all__ = ["Pretraining"]

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from fastai.data.core import DataLoaders
from fastai.torch_core import TensorCategory, TitledStr
from torch import Tensor, nn

from hmtl.method.tasks.base import Task, TaskLoss


class ZeroLoss(TaskLoss):
    """Zero, whatever the outputs."""

    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Zeros (B,) that can be differentiated."""
        return outputs[:, 0] * 0

    def decodes(self, outputs: Tensor) -> Tensor:
        """Class 0, the only one."""
        return torch.zeros(len(outputs), dtype=torch.long)


@dataclass(frozen=True)
class Pretraining(Task):
    """Self-supervised pre-training: every picture counts, labelled or not. Ours."""

    name = "pretraining"
    names = ("unlabelled",)
    label_views = False

    def targets(self, table: pd.DataFrame, kind: str = "majority") -> Tensor:
        """Zeros, int64 (N,)."""
        return torch.zeros(len(table), dtype=torch.long)

    def label_type(self, targets: Tensor) -> type:
        """A class, as far as fastai is concerned."""
        return TensorCategory

    def decode(self, target: Tensor) -> TitledStr:
        """Nothing stands above the picture."""
        return TitledStr("")

    def head(self, num_features: int, outputs: int = 1) -> nn.Module:
        """The representation itself, (B, num_features)."""
        return nn.Identity()

    def loss(self, dls: DataLoaders | None) -> ZeroLoss:
        """Zero."""
        return ZeroLoss()

    def metrics(self, dls: DataLoaders) -> list:
        """None of its own: pretexts log theirs."""
        return []

    def predictions(self, table: pd.DataFrame, predicted: np.ndarray) -> pd.DataFrame:
        """The keys alone."""
        return pd.DataFrame({"key": table["key"].to_numpy()})

    def scores(self, predictions: pd.DataFrame) -> dict[str, float]:
        """How many test faces there are."""
        return {"test_faces": len(predictions)}
