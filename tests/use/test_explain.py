"""What a network looks at, against Grad-CAM by hand; neighbours and calibration by brute force."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from hmtl.method.learner import build_model
from hmtl.method.tasks import Emotion
from hmtl.use.explain import (
    calibration,
    calibration_error,
    grad_cam,
    neighbours,
    plane,
    representation,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model("tiny", 8, Emotion()).eval()


@pytest.mark.parametrize("classes", [None, torch.tensor([3, 0, 7])])
def test_grad_cam_by_hand(model, classes):
    images = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    found = grad_cam(model, images, classes)
    assert found.shape == (3, 96, 96)
    # the definition: channels weighted by the mean gradient of the class's logit, then ReLU
    features = model.encoder.forward_map(images).detach().requires_grad_()
    logits = model.head(model.encoder.pool(features))
    chosen = logits.argmax(1) if classes is None else classes
    (gradient,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), features)
    weighted = (gradient.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu()
    expected = F.interpolate(weighted, (96, 96), mode="bilinear")[:, 0].detach()
    strongest = expected.amax((1, 2), keepdim=True)
    expected = torch.where(strongest > 0, expected / strongest, 0)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert found.min() >= 0
    assert set(found.max((1, 2)).round(5)) <= {0.0, 1.0}
    assert not any(p.grad is not None for p in model.parameters())  # nothing is left behind


def test_the_representation_is_what_the_head_reads(model):
    images = torch.rand(300, 3, 48, 48)
    features = representation(model, images)
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(
            model.head(torch.from_numpy(features)), expected, atol=1e-4, rtol=0
        )


def test_neighbours_by_brute_force():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 7)).astype(np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = np.argsort(-(unit[:5] @ unit.T), axis=1)[:, :4]
    found = neighbours(features[:5] * 3, features, 4)  # the length does not matter
    assert found.tolist() == expected.tolist()
    assert found[:, 0].tolist() == list(range(5))  # itself first


def test_a_plane_keeps_groups_together():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], 30)
    features = rng.normal(size=(60, 12)) + 8 * group[:, None]
    flat = plane(features.astype(np.float32))
    assert flat.shape == (60, 2)
    nearest = neighbours_in_the_plane(flat)
    assert (group[nearest] == group).mean() > 0.95
    with pytest.raises(ValueError, match="ten faces"):
        plane(features[:9])


def neighbours_in_the_plane(points):
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return apart.argmin(1)


def answers(sure, right):
    """Predictions of two classes with these probabilities, right or not."""
    return pd.DataFrame(
        {
            "target": np.where(right, "a", "b"), "predicted": "a",
            "p_a": sure, "p_b": 1 - np.asarray(sure),
        }
    )  # fmt: skip


def test_calibration_by_hand():
    table = calibration(answers([0.95, 0.95, 0.95, 0.95, 0.6], [1, 1, 1, 0, 0]))
    assert table["faces"].tolist() == [1, 4]
    assert table["confidence"].tolist() == pytest.approx([0.6, 0.95])
    assert table["accuracy"].tolist() == [0, 0.75]
    error = calibration_error(answers([0.95] * 4 + [0.6], [1, 1, 1, 0, 0]))
    assert error == pytest.approx((4 * 0.2 + 0.6) / 5)
    # who is right as often as it says is calibrated
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 20_000)
    assert calibration_error(answers(sure, rng.random(20_000) < sure)) < 0.015
    assert calibration_error(answers(sure, rng.random(20_000) < sure - 0.2)) > 0.15
    with pytest.raises(ValueError, match="head pose"):
        calibration(pd.DataFrame({"target_yaw": [1.0]}))
    with pytest.raises(ValueError, match="1 of 2 faces have a p_ that is not finite"):
        calibration(answers([0.9, float("nan")], [1, 1]))
