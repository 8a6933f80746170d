"""What a trained network looks at and what it knows: maps, neighbours, calibration.

    grad_cam         where the picture speaks for a class: Selvaraju et al., *Grad-CAM* (ICCV 2017,
                     arXiv 1610.02391), captum's
    representation   the pooled features that every head hangs on
    neighbours       the faces that are nearest there
    plane            two dimensions to draw them in: principal components, then t-SNE (van der
                     Maaten and Hinton, JMLR 2008), scikit-learn's
    calibration      how often it is right when it is so sure: reliability diagram and expected
                     calibration error (Guo et al., ICML 2017, arXiv 1706.04599)

A map says what a decision hung on, not that it was made for good reasons; compare networks by it,
not people. Networks are those of `hmtl.method.learner.build_model`: `encoder`, then `head`.
"""

__all__ = [
    "calibration", "calibration_error", "grad_cam", "neighbours", "plane", "representation",
]  # fmt: skip

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

_BATCH = 256


def grad_cam(model: nn.Module, images: Tensor, classes: Tensor | None = None) -> np.ndarray:
    """Where each picture speaks for a class.

    Args:
        model: Of `build_model`; it is left in evaluation mode.
        images: Float (B, 3, H, W) in [0, 1].
        classes: int64 (B,); None: those that the network names.

    Returns:
        Float32 (B, H, W); the strongest place of a picture is 1. One in which nothing speaks for
        the class is all 0.

    Raises:
        ImportError: captum is not installed.
    """
    try:
        from captum.attr import LayerAttribution, LayerGradCam
    except ImportError as error:
        raise ImportError('Grad-CAM is captum\'s: pip install "hmtl[notebooks]"') from error
    model.eval()
    if classes is None:
        with torch.no_grad():
            classes = model(images).argmax(1)
    cam = LayerGradCam(model, model.get_submodule("encoder.map"))
    found = cam.attribute(images, target=classes, relu_attributions=True)
    found = LayerAttribution.interpolate(found, images.shape[-2:], "bilinear")[:, 0].detach()
    strongest = found.amax((1, 2), keepdim=True)
    return torch.where(strongest > 0, found / strongest, 0).float().numpy(force=True)


@torch.no_grad()
def representation(model: nn.Module, images: Tensor) -> np.ndarray:
    """The pooled features that every head hangs on.

    Args:
        model: Of `build_model`; its encoder is left in evaluation mode.
        images: Float (N, 3, H, W) in [0, 1].

    Returns:
        Float32 (N, F).
    """
    encoder = model.get_submodule("encoder").eval()
    parts = [encoder(part).float().numpy(force=True) for part in images.split(_BATCH)]
    return np.concatenate(parts)


def neighbours(queries: np.ndarray, features: np.ndarray, count: int = 5) -> np.ndarray:
    """The faces that are nearest to others in the representation, by the angle.

    Args:
        queries: Float (Q, F).
        features: Float (N, F).
        count: Neighbours of each, at most N.

    Returns:
        Rows of `features`, int64 (Q, count), the nearest first.

    Example:
        >>> neighbours(np.array([[1.0, 0.1]]), np.eye(2), count=1)
        array([[0]])
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=count, metric="cosine").fit(features)
    return nearest.kneighbors(queries, return_distance=False)


def plane(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features in two dimensions, near ones near each other; distances far apart mean nothing.

    Args:
        features: Float (N, F), at least ten rows.
        seed: Of the principal components and t-SNE.

    Returns:
        Float32 (N, 2).

    Raises:
        ValueError: There are fewer than ten rows.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(features) < 10:
        raise ValueError(f"a map needs ten faces or more, got {len(features)}")
    few = PCA(min(30, *features.shape), random_state=seed).fit_transform(features)
    perplexity = min(30, (len(few) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(few)


def calibration(predictions: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """How sure a network was and how often right, by bins of its surety.

    Args:
        predictions: A run's, of classes.
        bins: Of equal width.

    Returns:
        Columns: from, to, faces, confidence (mean probability of the class named), accuracy; both
        in [0, 1]. Bins without a face are left out.

    Raises:
        ValueError: The predictions are of head pose, or a probability is not finite.
    """
    shares = predictions.filter(regex="^p_")
    if not len(shares.columns):
        raise ValueError("only classes have probabilities; head pose has none to calibrate")
    if wrong := int((~np.isfinite(shares)).any(axis=1).sum()):
        raise ValueError(f"{wrong} of {len(shares)} faces have a p_ that is not finite; drop them")
    sure = shares.max(axis=1).clip(0, 1)
    right = predictions["predicted"] == predictions["target"]
    edges = np.linspace(0, 1, bins + 1)
    place = pd.cut(sure, edges, labels=False, include_lowest=True)
    each = pd.DataFrame(
        {"from": edges[place], "to": edges[place + 1], "sure": sure, "right": right}
    )
    return each.groupby(["from", "to"], as_index=False).agg(
        faces=("sure", "size"), confidence=("sure", "mean"), accuracy=("right", "mean")
    )


def calibration_error(predictions: pd.DataFrame, bins: int = 10) -> float:
    """Expected calibration error: the mean gap of surety and accuracy over faces.

    Args:
        predictions, bins: As `calibration` takes them.

    Returns:
        In [0, 1]; 0 is calibrated.

    Raises:
        ValueError: As `calibration`.
    """
    table = calibration(predictions, bins)
    gaps = (table["confidence"] - table["accuracy"]).abs()
    return float((gaps * table["faces"]).sum() / table["faces"].sum())
