"""Valence and arousal: how pleasant and how active a face looks, each from -1 to 1.

The two axes of Russell's circumplex (*A circumplex model of affect*, Journal of Personality and
Social Psychology, 1980), as AffectNet's annotators rated them and as the rendered faces have them
(`hmtl.faces.expressions`). Scored as AffectNet is (Mollahosseini, Hasani & Mahoor, IEEE TAFFC 2017,
arXiv 1708.03985): the concordance correlation coefficient (Lin, Biometrics 1989), the root mean
squared error, and the sign agreement.

A flip or a turn of the picture changes neither number, and a puzzle of a smiling face is a puzzle
of a smiling face, so the views of pretexts carry the label, as of the emotions.
"""

__all__ = ["AXES", "Affect", "AffectLoss", "affect_scores", "concordance"]

from dataclasses import dataclass

import numpy as np
from fastai.data.core import DataLoaders
from fastai.torch_core import TensorBase
from torch import Tensor

from hmtl.method.tasks.base import NumbersTask, TaskLoss

AXES = ("valence", "arousal")
UNIT = 0.5  # of an axis to one of the network's outputs, whose spread is then of order one


class TensorAffect(TensorBase):
    """Valence and arousal in -1..1, (B, 2) or (2,); a type of its own, as fastai's labels have."""


def concordance(predicted: np.ndarray, target: np.ndarray) -> float:
    """Lin's concordance correlation coefficient.

    Args:
        predicted: Answers, float (N,).
        target: Labels, float (N,).

    Returns:
        From -1 to 1; 1 where all are equal, 0 where an answer tells nothing, and for constants that
        differ.
    """
    predicted, target = np.asarray(predicted, float), np.asarray(target, float)
    apart = predicted.var() + target.var() + (predicted.mean() - target.mean()) ** 2
    if apart == 0:
        return 1.0
    common = ((predicted - predicted.mean()) * (target - target.mean())).mean()
    return float(2 * common / apart)


def affect_scores(predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Score the two axes.

    Args:
        predicted: Answers, float (N, 2), valence and arousal.
        target: Labels, float (N, 2).

    Returns:
        `ccc`, the mean of `ccc_valence` and `ccc_arousal`; `rmse_<axis>`; and `sign_<axis>`, the
        share of faces whose sign is answered, in 0..1.
    """
    predicted, target = np.asarray(predicted, float), np.asarray(target, float)
    ccc = {f"ccc_{name}": concordance(predicted[:, i], target[:, i]) for i, name in enumerate(AXES)}
    rmse = np.sqrt(((predicted - target) ** 2).mean(0))
    same = (np.sign(predicted) == np.sign(target)).mean(0)
    return {
        "ccc": float(np.mean(list(ccc.values()))),
        **ccc,
        **{f"rmse_{name}": float(rmse[i]) for i, name in enumerate(AXES)},
        **{f"sign_{name}": float(same[i]) for i, name in enumerate(AXES)},
    }


class AffectLoss(TaskLoss):
    """Mean squared error of outputs (B, 2) in units of 0.5; targets (B, 2) in -1..1."""

    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Loss of each face, (B,)."""
        return ((outputs - target / UNIT) ** 2).mean(1)

    def activation(self, outputs: Tensor) -> Tensor:
        """Outputs -> valence and arousal (B, 2), cut off at -1 and 1."""
        return (outputs * UNIT).clamp(-1, 1)


@dataclass(frozen=True)
class Affect(NumbersTask):
    """Valence and arousal by regression.

    Args:
        dropout: Of the head, in 0..1.
    """

    name = "affect"
    columns = names = AXES
    unit = "in -1..1"
    metric = "ccc"
    measure = staticmethod(affect_scores)
    limit = reach = 1.0  # AffectNet's -2 says that there are none
    kind, words, shown = TensorAffect, "{:+.2f}", ("ccc", "ccc_valence", "ccc_arousal")

    def loss(self, dls: DataLoaders | None) -> AffectLoss:
        """The same for all DataLoaders."""
        return AffectLoss()
