"""The supervised tasks: which head, which loss, which metrics. So far: emotion.

`Emotion` has the head of the authors' scripts: dropout 0.3, then one linear layer on the pooled
representation; its loss may be weighted by class.
"""

__all__ = ["Emotion", "EmotionLoss", "class_weights", "emotion_metrics", "macro_f1"]

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from fastai.metrics import AccumMetric, AvgMetric
from sklearn.metrics import f1_score
from torch import Tensor, nn


def hard(target: Tensor) -> Tensor:
    """The class of each target: itself, or the most probable where it is a distribution (B, K)."""
    return target.argmax(1) if target.ndim == 2 else target


class EmotionLoss(nn.Module):
    """Cross-entropy on classes int64 (B,) or on distributions float (B, K); optional class weights.

    Carries `activation` and `decodes`, by which fastai turns logits into probabilities and classes.
    """

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean"):
        super().__init__()
        self.register_buffer("weight", weight)
        self.reduction = reduction

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        # plain tensors: fastai's subclasses cost a dispatch for every operation
        logits, target = prediction.as_subclass(Tensor), target.as_subclass(Tensor)
        if self.weight is not None and self.weight.device != logits.device:
            self.weight = self.weight.to(logits.device)
        return F.cross_entropy(logits, target, self.weight, reduction=self.reduction)

    def activation(self, logits: Tensor) -> Tensor:
        """Logits (B, K) -> probabilities (B, K)."""
        return logits.softmax(-1)

    def decodes(self, probabilities: Tensor) -> Tensor:
        """Probabilities or logits (B, K) -> classes (B,)."""
        return probabilities.argmax(-1)


def accuracy(prediction: Tensor, target: Tensor) -> Tensor:
    """Share of faces whose class is the most probable one."""
    return (prediction.argmax(-1) == hard(target)).float().mean()


def macro_f1(predicted: np.ndarray, target: np.ndarray, classes: int) -> float:
    """Mean over all `classes` of the F1 score; a class nobody has or predicts counts as 0."""
    return float(
        f1_score(target, predicted, labels=range(classes), average="macro", zero_division=0)
    )


def emotion_metrics(classes: int) -> list:
    """fastai metrics `accuracy` and `macro_f1` over `classes` classes."""

    def f1(prediction: Tensor, target: Tensor) -> float:
        return macro_f1(prediction.argmax(-1).cpu(), hard(target).cpu(), classes)

    return [AvgMetric(accuracy), AccumMetric(f1, name="macro_f1", flatten=False)]


def class_weights(targets: np.ndarray, classes: int) -> Tensor:
    """Weight of each class, majority count over its own count, as in the authors' runs; (K,).

    A class without a single image gets weight 0.
    """
    counts = np.bincount(targets, minlength=classes)[:classes]
    weights = np.divide(counts.max(), counts, out=np.zeros(classes), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)


@dataclass(frozen=True)
class Emotion:
    """Emotion recognition; `weighted` multiplies the loss by the training set's class weights."""

    dropout: float = 0.3
    weighted: bool = False

    def head(self, num_features: int, classes: int) -> nn.Module:
        """(B, num_features) -> logits (B, classes)."""
        return nn.Sequential(nn.Dropout(self.dropout), nn.Linear(num_features, classes))

    def loss(self, dls) -> EmotionLoss:
        """The loss for these DataLoaders."""
        if not self.weighted:
            return EmotionLoss()
        if not hasattr(dls.train_ds, "classes"):
            raise ValueError("Emotion(weighted=True) needs DataLoaders made by face_dataloaders")
        return EmotionLoss(class_weights(dls.train_ds.classes, dls.c))

    def metrics(self, dls) -> list:
        """The metrics for these DataLoaders."""
        return emotion_metrics(dls.c)
