"""Head pose (claim C6): yaw, pitch and roll in degrees, with the signs of `hmtl.faces.table`.

`HeadPose` regresses the three angles. `HeadPoseBins` sorts each into bins of 3 degrees and takes
the expectation: Hopenet, Ruiz, Chong & Rehg, *Fine-grained head pose estimation without keypoints*
(CVPR workshops 2018, arXiv 1710.00925). As in the literature faces beyond 99 degrees are left out.

A flip negates yaw and roll. A turn of the picture by a degrees against the clock is a turn of the
head about the camera's axis, R' = Z(a) R, which is more than roll - a: once the head looks aside,
yaw and pitch change too. Crops, colours, blur and cut-outs change nothing.

A pretext that turns the picture or its tiles is refused where its view would be learned with the
upright picture's label. Puzzles on a shared view are allowed, as for every task, but they take the
whole apart whose pose is asked for; so by default the views of pretexts carry no labels
(`label_views`), and paired views are the better choice.
"""

__all__ = ["ANGLES", "BINS", "BIN_WIDTH", "LIMIT", "HeadPose", "HeadPoseBins", "bins_of",
           "expectation", "geodesic", "turn_pose"]  # fmt: skip

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from fastai.data.core import DataLoaders
from fastai.torch_core import TensorBase
from torch import Tensor, nn

from hmtl.angles import pose_matrix
from hmtl.method.tasks.base import NumbersTask, Task, TaskLoss

ANGLES = ("yaw", "pitch", "roll")
LIMIT = 99.0  # degrees
BIN_WIDTH, BINS = 3.0, 66
UNIT = 10.0  # degrees to one of the regression's outputs, whose spread is then of order one


class TensorPose(TensorBase):
    """Angles in degrees, (B, 3) or (3,); a type of its own, as fastai's labels have."""


# ------------------------------------------------------------------------------ what moves do to it


def _rotation(angles: Tensor) -> Tensor:
    """`hmtl.angles.pose_matrix` on the labels' own device: degrees (B, 3) -> (B, 3, 3)."""
    radians = torch.deg2rad(angles)
    (sy, sp, sr), (cy, cp, cr) = radians.sin().unbind(-1), radians.cos().unbind(-1)
    rows = (
        (cy * cr, cy * sr, -sy),
        (sp * sy * cr - cp * sr, sp * sy * sr + cp * cr, sp * cy),
        (cp * sy * cr + sp * sr, cp * sy * sr - sp * cr, cp * cy),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _wrapped(degrees: Tensor) -> Tensor:
    """The same angles in [-180, 180)."""
    return (degrees + 180) % 360 - 180


def turn_pose(angles: Tensor, turned: Tensor) -> Tensor:
    """Pose (B, 3), degrees, of heads whose pictures turn by `turned` (B,) against the clock.

    Of the two triples that name one rotation, the one nearer to the old angles, so that a yaw
    beyond 90 degrees stays there. Pictures that do not turn keep their angles to the bit.
    """
    turned = turned.to(angles.device)
    # Apple's GPUs know no double precision
    old = angles.float() if angles.device.type == "mps" else angles.double()
    # about the axis that points at the camera, from the right of the picture to its top
    about_z = _rotation(F.pad(-turned.to(old)[:, None], (2, 0)))
    r = about_z @ _rotation(old)
    yaw = torch.asin((-r[:, 0, 2]).clamp(-1, 1))
    pitch, roll = torch.atan2(r[:, 1, 2], r[:, 2, 2]), torch.atan2(r[:, 0, 1], r[:, 0, 0])
    new = torch.rad2deg(torch.stack([yaw, pitch, roll], -1))
    other = _wrapped(180 + new * new.new_tensor([-1.0, 1.0, 1.0]))
    far, near = ((_wrapped(a - old)).abs().sum(-1) for a in (new, other))
    new = torch.where((near < far)[:, None], other, new)
    return torch.where((turned == 0)[:, None], angles, new.to(angles.dtype))


# ------------------------------------------------------------------------------------------- errors


def geodesic(angles: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Angle of the rotation between two poses, degrees in [0, 180]; (N, 3) and (N, 3) -> (N,)."""
    one, two = (pose_matrix(*np.moveaxis(np.asarray(a, float), -1, 0)) for a in (angles, others))
    # |A - B| = 2 sqrt(2) sin(angle / 2), exact where the arc cosine of the trace is not: near zero
    chord = np.linalg.norm(one - two, axis=(-2, -1)) / np.sqrt(8)
    return np.degrees(2 * np.arcsin(np.clip(chord, 0, 1)))


def pose_scores(predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """`mae`, the mean of `mae_yaw`, `mae_pitch` and `mae_roll`, and `geodesic`; degrees (N, 3)."""
    by_angle = np.abs(predicted - target).mean(0)
    return {
        "mae": float(by_angle.mean()),
        **{f"mae_{name}": float(by_angle[i]) for i, name in enumerate(ANGLES)},
        "geodesic": float(geodesic(predicted, target).mean()),
    }


# -------------------------------------------------------------------------------------------- tasks


class PoseLoss(TaskLoss):
    """Mean absolute error of outputs (B, 3) in units of 10 degrees; targets (B, 3) in degrees.

    A degree of each angle weighs alike, as in the metric. FSA-Net (Yang et al., CVPR 2019), the
    usual regression to compare with, minimises the mean absolute error too.
    """

    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Loss of each face, (B,)."""
        return (outputs - target / UNIT).abs().mean(1)

    def activation(self, outputs: Tensor) -> Tensor:
        """Outputs -> degrees (B, 3)."""
        return outputs * UNIT


def bins_of(angles: Tensor) -> Tensor:
    """Number of each angle's bin, int64 in 0..65: bin i holds [3 i - 99, 3 i - 96) degrees.

    Hopenet's, but for the ends: what lies below -99 counts in the first bin and 99 and above in
    the last; there they become -1 and 66, which are no classes.
    """
    inner = torch.arange(1, BINS, device=angles.device) * BIN_WIDTH - LIMIT
    return torch.bucketize(angles.contiguous(), inner, right=True)


def expectation(logits: Tensor) -> Tensor:
    """Expected angle in degrees of logits (..., 66) over the bins; (...).

    A bin counts as its middle; Hopenet takes its lower edge, 1.5 degrees less, which a network
    trained by the squared error alone would learn to make up for.
    """
    middles = torch.arange(BINS, device=logits.device) * BIN_WIDTH + BIN_WIDTH / 2 - LIMIT
    return (logits.float().softmax(-1) * middles).sum(-1)


class BinLoss(PoseLoss):
    """Hopenet: cross-entropy over the bins + alpha x squared error (degrees) of the expectation.

    Outputs are logits (B, 3, 66). The mean over the three angles, where Hopenet adds them up: the
    weights of pretexts are made for losses of this size.
    """

    def __init__(self, alpha: float):
        super().__init__()
        self.alpha = alpha

    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Loss of each face, (B,)."""
        entropy = F.cross_entropy(outputs.transpose(1, 2), bins_of(target), reduction="none")
        return (entropy + self.alpha * (expectation(outputs) - target) ** 2).mean(1)

    def activation(self, outputs: Tensor) -> Tensor:
        """Logits -> degrees (B, 3)."""
        return expectation(Task.plain(outputs))


@dataclass(frozen=True)
class HeadPose(NumbersTask):
    """Yaw, pitch and roll in degrees by plain regression (claim C6).

    Args:
        dropout: Before the head's one linear layer, in 0..1.

    Example:
        >>> import torch
        >>> from hmtl import HeadPose
        >>> HeadPose().loss(None).activation(torch.tensor([[1.5, -0.5, 0.0]]))
        tensor([[15., -5.,  0.]])
    """

    name = "head_pose"
    columns = names = ANGLES
    unit = "degrees"
    changed_by = ("flip", "rotation")
    label_views = False  # a puzzle of a face has no pose to speak of
    metric, better = "mae", min
    measure = staticmethod(pose_scores)
    limit = LIMIT
    kind, words, by_batch = TensorPose, "{:.0f}°", True
    shown = ("mae", "mae_yaw", "mae_pitch", "mae_roll", "geodesic")

    def follow(self, targets: Tensor, flipped: Tensor, turned: Tensor) -> Tensor:
        """Turn, then negate yaw and roll where the picture is mirrored; (B, 3)."""
        angles = turn_pose(self.plain(targets), turned)
        mirrored = angles * angles.new_tensor([-1.0, 1.0, -1.0])
        moved = torch.where(flipped.to(angles.device)[:, None], mirrored, angles)
        return moved.as_subclass(type(targets))

    def loss(self, dls: DataLoaders | None) -> PoseLoss:
        """The same for all DataLoaders."""
        return PoseLoss()


@dataclass(frozen=True)
class HeadPoseBins(HeadPose):
    """Yaw, pitch and roll in degrees by Hopenet's bins and their expectation (arXiv 1710.00925).

    Args:
        dropout: Before the head's one linear layer, in 0..1.
        alpha: Weight of the squared error, at least 0. Hopenet's published models have 1 and 2,
            its script 0.001; 0.01 keeps both terms of one size, as the pretexts' weights need it.
    """

    alpha: float = 0.01

    name = "head_pose_bins"

    def head(self, num_features: int, outputs: int = len(ANGLES)) -> nn.Module:
        """(B, num_features) -> logits (B, 3, 66)."""
        return nn.Sequential(
            nn.Dropout(self.dropout),
            nn.Linear(num_features, len(ANGLES) * BINS),
            nn.Unflatten(1, (len(ANGLES), BINS)),
        )

    def loss(self, dls: DataLoaders | None) -> BinLoss:
        """The same for all DataLoaders."""
        return BinLoss(self.alpha)
