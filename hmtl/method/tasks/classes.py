"""Tasks whose label is a class: emotion and gender.

The head is that of the authors' scripts: dropout 0.3, then one linear layer on the pooled
representation; the loss may be weighted by class. A flip or a turn of the picture changes neither
label: a picture of a smiling woman upside down shows a smiling woman.
"""

__all__ = [
    "ClassTask", "Emotion", "EmotionLoss", "Gender", "class_weights", "hard", "macro_f1",
]  # fmt: skip

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from fastai.data.core import DataLoaders
from fastai.data.transforms import Category
from fastai.metrics import AccumMetric, AvgMetric
from fastai.torch_core import TensorCategory, TensorMultiCategory
from sklearn.metrics import f1_score, recall_score
from torch import Tensor, nn

from hmtl.labels import EMOTIONS, GENDERS, class_indices
from hmtl.method.tasks.base import Task, TaskLoss


def hard(target: Tensor) -> Tensor:
    """The class of each target: itself, or the most probable where it is a distribution (B, K)."""
    return target.argmax(1) if target.ndim == 2 else target


class EmotionLoss(TaskLoss):
    """Cross-entropy on classes int64 (B,) or on distributions float (B, K); optional class weights.

    Carries `activation` and `decodes`, by which fastai turns logits into probabilities and classes.
    """

    y_int = True  # for fastai's MixUp, which then mixes losses in place of targets

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None):
        super().__init__()
        self.register_buffer("weight", weight)

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


def class_weights(targets: np.ndarray, classes: int) -> Tensor:
    """Weight of each class, majority count over its own count, as in the authors' runs; (K,).

    A class without a single image gets weight 0.
    """
    counts = np.bincount(targets, minlength=classes)[:classes]
    weights = np.divide(counts.max(), counts, out=np.zeros(classes), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)


@dataclass(frozen=True)
class ClassTask(Task):
    """A class of each face; `weighted` multiplies the loss by the training set's class weights."""

    dropout: float = 0.3
    weighted: bool = False

    has_classes = True
    metric = "accuracy"

    def strata(self, table: pd.DataFrame) -> np.ndarray:
        """The class of each row, int64 (N,); ValueError naming a row whose class is unknown."""
        return class_indices(table[self.columns[0]], self.names, self.name)

    def targets(self, table: pd.DataFrame, kind: str = "majority") -> Tensor:
        """Classes int64 (N,)."""
        return torch.from_numpy(self.strata(table))

    def label_type(self, targets: Tensor) -> type:
        """One class, or a distribution over them."""
        return TensorMultiCategory if targets.ndim == 2 else TensorCategory

    def decode(self, target: Tensor) -> Category:
        """Name of the (most probable) class."""
        return Category(self.names[int(target.argmax()) if target.ndim else int(target)])

    def head(self, num_features: int, outputs: int) -> nn.Module:
        """(B, num_features) -> logits (B, outputs)."""
        return nn.Sequential(nn.Dropout(self.dropout), nn.Linear(num_features, outputs))

    def loss(self, dls: DataLoaders | None) -> EmotionLoss:
        """The loss for these DataLoaders."""
        if dls is None or not self.weighted:
            return EmotionLoss()
        if not hasattr(dls.train_ds, "classes"):
            raise ValueError(
                f"{type(self).__name__}(weighted=True) needs DataLoaders made by face_dataloaders"
            )
        return EmotionLoss(class_weights(dls.train_ds.classes, dls.c))

    def metrics(self, dls: DataLoaders) -> list:
        """`accuracy` and `macro_f1` for these DataLoaders."""
        classes = dls.c

        def f1(prediction: Tensor, target: Tensor) -> float:
            predicted, true = (t.numpy(force=True) for t in (prediction.argmax(-1), hard(target)))
            return macro_f1(predicted, true, classes)

        return [AvgMetric(accuracy), AccumMetric(f1, name="macro_f1", flatten=False)]

    def predictions(self, table: pd.DataFrame, predicted: np.ndarray) -> pd.DataFrame:
        """key, target, predicted (names) and `p_<name>`, the probability (N, K) of each class."""
        told = {"key": table["key"].to_numpy(), "target": table[self.columns[0]].to_numpy()}
        told["predicted"] = np.array(self.names)[predicted.argmax(1)]
        shares = {f"p_{name}": predicted[:, i] for i, name in enumerate(self.names)}
        return pd.DataFrame(told | shares)

    def check_predictions(self, predictions: pd.DataFrame) -> None:
        """Raise ValueError naming the column and line of no class or no probability."""
        super().check_predictions(predictions)
        for column in ("target", "predicted"):
            if column not in predictions:
                raise ValueError(f"column {column} is missing")
            try:
                class_indices(predictions[column], self.names, f"{column} class")
            except ValueError as error:
                raise ValueError(f"column {column}, {error}") from None
        self.check_numbers(predictions, [f"p_{name}" for name in self.names], 0, 1)

    def scores(self, predictions: pd.DataFrame) -> dict[str, float]:
        """accuracy, macro_f1 and mean_recall, in [0, 1].

        Classes without a face are left out of the recall.
        """
        target, predicted = (
            class_indices(predictions[column], self.names) for column in ("target", "predicted")
        )
        present = np.unique(target)
        recall = recall_score(target, predicted, labels=present, average="macro", zero_division=0)
        return {
            "accuracy": float((target == predicted).mean()),
            "macro_f1": macro_f1(predicted, target, len(self.names)),
            "mean_recall": float(recall),
            "test_faces": len(target),
        }


@dataclass(frozen=True)
class Emotion(ClassTask):
    """The eight emotions of AffectNet, from majority labels or from shares of votes.

    Args:
        dropout: Before the head's one linear layer, in 0..1; 0.3 in the authors' scripts.
        weighted: Whether the loss weighs a class by the largest class's faces over its own.

    Example:
        >>> from hmtl import Emotion
        >>> Emotion().names[:3]
        ('neutral', 'happy', 'sad')
        >>> Emotion().head(num_features=64, outputs=8)[-1]
        Linear(in_features=64, out_features=8, bias=True)
    """

    name = "emotion"
    columns = ("emotion",)
    names = EMOTIONS
    kinds = ("majority", "probability")

    def targets(self, table: pd.DataFrame, kind: str = "majority") -> Tensor:
        """Classes int64 (N,), or with kind "probability" distributions float32 (N, 8).

        Raises ValueError if the table has no columns `p_*` of votes.
        """
        if kind == "majority":
            return super().targets(table)
        columns = [f"p_{name}" for name in self.names]
        if not set(columns) <= set(table):
            raise ValueError(
                "labels='probability' needs the columns p_neutral ... p_contempt, and these "
                "labels have none: use labels='majority'"
            )
        votes = table[columns].to_numpy(np.float32)
        return torch.from_numpy(votes / votes.sum(1, keepdims=True))


@dataclass(frozen=True)
class Gender(ClassTask):
    """Female or male, as the label table says it (claim C7).

    Args:
        dropout: Before the head's one linear layer, in 0..1.
        weighted: Whether the loss weighs a class by the larger class's faces over its own.
    """

    name = "gender"
    columns = ("gender",)
    names = GENDERS
