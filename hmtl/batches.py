"""Pack -> fastai DataLoaders: whole batches are gathered at once, no Python per image.

`face_dataloaders(pack, ...)` returns an ordinary `DataLoaders` of three: `dls.train`, `dls.valid`
and `dls[2]`, the test images. Images are `TensorImage`, labels `TensorCategory`, so fastai's own
`show_batch`, `show_results` and `vision_learner` work on them. Ours.
"""

__all__ = ["FaceDataset", "FaceDL", "face_dataloaders", "nested_fraction"]

import random
from pathlib import Path

import numpy as np
import torch
from fastai.data.core import DataLoaders, TfmdDL
from fastai.data.transforms import Category, IntToFloatTensor
from fastai.torch_core import TensorCategory, TensorMultiCategory, default_device
from fastai.vision.core import TensorImage
from fastcore.basics import chunked

from hmtl.augment import Augment
from hmtl.labels import EMOTIONS, SPLITS, emotion_indices
from hmtl.pack import Pack

LABELS = ("majority", "probability")
SAMPLING = ("natural", "balanced")


def nested_fraction(classes: np.ndarray, fraction: float, seed: int = 0) -> np.ndarray:
    """Choose `fraction` of the rows, stratified by class; sorted positions, int64 (n,).

    Each class keeps its share (rounded, at least one). With one seed the choices are nested: those
    of 10 % lie inside those of 20 %. Raises ValueError unless 0 < fraction <= 1.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
    rng = np.random.default_rng(seed)
    chosen = []
    for value in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == value))
        chosen.append(rows[: max(1, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen))


class FaceDataset:
    """Some rows of a pack with their emotion: items are (TensorImage (3, H, W) uint8, label).

    `labels="majority"` gives one class an image, `"probability"` the eight columns `p_*` of a pack
    whose faces were voted on. `sampling_weights` (n,) or None is read by `FaceDL` when it shuffles.
    """

    n_inp = 1

    def __init__(self, pack: Pack, rows: np.ndarray, labels: str = "majority", split_idx: int = 0):
        self.pack, self.rows, self.labels, self.split_idx = pack, rows, labels, split_idx
        self.vocab = list(EMOTIONS)
        self.classes = emotion_indices(pack.labels["emotion"].iloc[rows])
        self.targets = torch.from_numpy(self.classes)
        self.sampling_weights = None
        if labels == "probability":
            columns = [f"p_{name}" for name in EMOTIONS]
            if not set(columns) <= set(pack.labels):
                raise ValueError(
                    "labels='probability' needs the columns p_neutral ... p_contempt, and the "
                    f"pack at {pack.path} has none: use labels='majority'"
                )
            table = pack.labels[columns].iloc[rows].to_numpy(np.float32)
            self.targets = torch.from_numpy(table / table.sum(1, keepdims=True))

    @property
    def c(self) -> int:
        """Number of classes, where fastai looks for it."""
        return len(self.vocab)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int):
        images, targets = self.gather([i])
        return TensorImage(images[0]), self._as_label(targets[0])

    def gather(self, positions) -> tuple[torch.Tensor, torch.Tensor]:
        """Images uint8 (B, 3, H, W) and their targets, for positions within this data set."""
        positions = np.asarray(positions)
        pixels = torch.from_numpy(self.pack.images[self.rows[positions]])  # (B, H, W, C), a copy
        images = pixels.permute(0, 3, 1, 2)
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)  # grey: three views of one plane
        return images, self.targets[positions]

    def _as_label(self, target: torch.Tensor):
        return (TensorMultiCategory if target.ndim else TensorCategory)(target)

    def decode(self, item: tuple, full: bool = True) -> tuple:
        """(image, target) -> (image, name of the most probable class), as fastai shows them."""
        image, target = item
        index = int(target.argmax()) if target.ndim else int(target)
        return image, Category(self.vocab[index])

    def new_empty(self) -> "FaceDataset":
        """The same without rows: `learn.export()` pickles it, and no picture may go with it."""
        none = Pack(
            Path(),
            np.empty((0, *self.pack.images.shape[1:]), np.uint8),
            self.pack.labels.iloc[:0],
            self.pack.meta,
        )
        return FaceDataset(none, self.rows[:0], self.labels, self.split_idx)


class FaceDL(TfmdDL):
    """A fastai DataLoader that gathers each batch from the pack in one step."""

    def create_batches(self, samps):
        for positions in chunked(samps, self.bs, self.drop_last):
            self.positions = positions  # whose pictures this batch holds, for who needs to know
            images, targets = self.dataset.gather(positions)
            label = TensorMultiCategory if targets.ndim == 2 else TensorCategory
            yield TensorImage(images), label(targets)

    def shuffle_fn(self, idxs):
        weights = self.dataset.sampling_weights
        if weights is None:
            return super().shuffle_fn(idxs)
        return self.rng.choices(idxs, weights=weights, k=len(idxs))


def face_dataloaders(
    pack: Pack,
    *,
    size: int | None = None,
    bs: int = 64,
    augment: str = "weak",
    fraction: float = 1.0,
    fraction_seed: int = 0,
    labels: str = "majority",
    sampling: str = "natural",
    seed: int = 0,
    device: str | torch.device | None = None,
) -> DataLoaders:
    """DataLoaders over the train, valid and test rows of `pack`, at `size` pixels (the pack's own).

    `fraction` of the training rows is kept (stratified, nested, by `fraction_seed`); `sampling` is
    "natural" or "balanced" (each class equally often, with replacement). Order and augmentation
    follow `seed` alone, so two methods trained with one seed see the same images in the same order.
    Raises ValueError naming the valid choices.
    """
    for name, value, valid in (("labels", labels, LABELS), ("sampling", sampling, SAMPLING)):
        if value not in valid:
            raise ValueError(f"unknown {name} {value!r}; one of {', '.join(valid)}")
    tfms = [IntToFloatTensor(), Augment(augment, size or pack.size, seed)]
    loaders = []
    for i, split in enumerate(SPLITS):
        rows = pack.rows(split)
        if i == 0 and fraction != 1:
            classes = emotion_indices(pack.labels["emotion"].iloc[rows])
            rows = rows[nested_fraction(classes, fraction, fraction_seed)]
        data = FaceDataset(pack, rows, labels, split_idx=i)
        if i == 0 and sampling == "balanced":
            counts = np.bincount(data.classes, minlength=data.c)
            data.sampling_weights = (1 / counts[data.classes]).tolist()
        training = i == 0
        loader = FaceDL(
            data,
            bs=min(bs, len(data)) if training else 2 * bs,
            shuffle=training,
            drop_last=training,  # a last batch of one image would upset batch norm
            num_workers=0,
            after_batch=tfms,
        )
        loader.rng = random.Random(seed)  # not the global one: see the docstring
        loaders.append(loader)
    return DataLoaders(*loaders, device=default_device() if device is None else device)
