"""Pack -> fastai DataLoaders: whole batches are gathered at once, no Python per image.

`face_dataloaders(pack, ...)` returns an ordinary `DataLoaders` of three: `dls.train`, `dls.valid`
and `dls[2]`, the test images. Images are `TensorImage`, classes `TensorCategory`, so fastai's own
`show_batch`, `show_results`, `predict`, `tta` and `vision_learner` work on them. What the labels
are, and how they follow the flips and turns of augmentation, the task says (`hmtl.method.tasks`).
Ours.
"""

__all__ = ["FaceDataset", "FaceDL", "face_dataloaders", "nested_fraction"]

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from fastai.data.core import DataLoaders, TfmdDL
from fastai.data.transforms import IntToFloatTensor
from fastai.torch_core import TensorCategory, default_device, to_detach
from fastai.vision.core import PILImage, TensorImage
from fastai.vision.data import get_grid
from fastai.vision.learner import vision_learner  # noqa: F401  registers what draws pictures
from fastcore.basics import chunked

from hmtl.data.pack import Pack
from hmtl.data.photos import cut_square, open_photo
from hmtl.labels import SPLITS, check_known
from hmtl.method.augment import Augment
from hmtl.method.tasks import Emotion, Task, make_task

LABELS = ("majority", "probability")
SAMPLING = ("natural", "balanced")


def nested_fraction(classes: np.ndarray, fraction: float, seed: int = 0) -> np.ndarray:
    """Choose a share of the rows, stratified by class. Ours.

    With one seed the choices are nested: those of 10 % lie inside those of 20 %.

    Args:
        classes: Class of each row, (N,).
        fraction: The share, in (0, 1]; each class keeps its own, rounded, at least one row.
        seed: Of the choice.

    Returns:
        Sorted positions, int64 (n,).

    Raises:
        ValueError: The share is not in (0, 1].

    Example:
        >>> nested_fraction(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.5).shape
        (4,)
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
    rng = np.random.default_rng(seed)
    chosen = []
    for value in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == value))
        chosen.append(rows[: max(1, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen))


def _repeated(positions: np.ndarray, length: int, seed: int) -> np.ndarray:
    """The positions over and over until there are `length`, none more than once more than another.

    Which of them come once more is drawn by `seed`.
    """
    whole, rest = divmod(length, len(positions))
    extra = np.random.default_rng(seed).choice(positions, rest, replace=False)
    return np.sort(np.concatenate([np.tile(positions, whole), extra]))


class FaceDataset:
    """Some rows of a pack with a task's labels: items are (TensorImage (3, H, W) uint8, label).

    Rows without the label are left out, `left_out` counts them. Of emotions `labels="majority"`
    gives one class an image, `"probability"` the eight columns `p_*` of a pack whose faces were
    voted on. `classes` int64 (n,) are the groups that a share of the labels keeps even;
    `sampling_weights` (n,) or None is read by `FaceDL` when it shuffles. Raises ValueError if none
    of the rows has the label.
    """

    n_inp = 1

    def __init__(
        self, pack: Pack, rows: np.ndarray, labels: str = "majority", split_idx: int = 0,
        task: Task | None = None,
    ):  # fmt: skip
        self.pack, self.labels, self.split_idx = pack, labels, split_idx
        self.task = task or Emotion()
        known = self.task.has_label(pack.labels.iloc[rows])
        self.rows, self.left_out = rows[known], int((~known).sum())
        if len(rows) and not len(self.rows):
            raise ValueError(
                f"none of {len(rows)} faces has a label for the task {self.task.name!r}; it is "
                f"made of {', '.join(self.task.columns)}"
            )
        table = pack.labels.iloc[self.rows]
        self.vocab, self.c = list(self.task.names), len(self.task.names)  # where fastai looks
        self.classes = self.task.strata(table)
        self.targets = self.task.targets(table, labels)
        self.label_type = self.task.label_type(self.targets)
        self.sampling_weights = None
        self.held: torch.Tensor | None = None  # the pack's pictures on the GPU (N, S, S, C)

    def only(self, positions: np.ndarray) -> "FaceDataset":
        """The same of some of its faces."""
        some = FaceDataset(self.pack, self.rows[positions], self.labels, self.split_idx, self.task)
        some.left_out, some.held = self.left_out, self.held
        return some

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int):
        images, targets = self.gather([i])
        return TensorImage(images[0]), self.label_type(targets[0])

    def gather(self, positions) -> tuple[torch.Tensor, torch.Tensor]:
        """Images uint8 (B, 3, H, W) and their targets, for positions within this data set."""
        positions = np.asarray(positions)
        rows = self.rows[positions]
        if self.held is None:
            pixels = torch.from_numpy(self.pack.take(rows))  # (B, H, W, C)
        else:
            pixels = self.held[torch.from_numpy(rows).to(self.held.device)]
        return _three_planes(pixels), self.targets[positions]

    def decode(self, item: tuple, full: bool = True) -> tuple:
        """(image, target) -> (image, its class or numbers in words), as fastai shows them."""
        image, target = item
        return image, self.task.decode(target)

    def new_empty(self) -> "FaceDataset":
        """The same without rows: `learn.export()` pickles it, and no picture may go with it."""
        images = np.empty((0, *self.pack.images.shape[1:]), np.uint8)
        none = Pack(Path(), images, self.pack.labels.iloc[:0], self.pack.meta)
        return FaceDataset(none, self.rows[:0], self.labels, self.split_idx, self.task)

    @property
    def items(self) -> "list[_Face]":
        """What stands for each face where fastai takes some out (`Interpretation`)."""
        return [_Face(self, i) for i in range(len(self))]

    def of(self, items: Sequence) -> "FaceDataset | _Pictures":
        """What holds some faces of `items`, with labels, or any pictures, without."""
        if items and all(isinstance(item, _Face) for item in items):
            some = items[0].data.only(np.array([item.position for item in items]))
            some.split_idx = 1
            return some
        return _Pictures(items, self.pack)

    @contextmanager
    def set_split_idx(self, i: int) -> Iterator["FaceDataset"]:
        """As of fastai's data sets: within it the faces are augmented (0) or not (1)."""
        before, self.split_idx = self.split_idx, i
        try:
            yield self
        finally:
            self.split_idx = before


class _Face(NamedTuple):
    data: FaceDataset
    position: int


class _Pictures:
    """Pictures without labels, cut as those of a pack: files, arrays, tensors or images."""

    n_inp = split_idx = 1

    def __init__(self, items: Sequence, pack: Pack):
        self.items, self.pack = list(items), pack

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int):
        return (TensorImage(self.gather([i])[0][0]),)

    def gather(self, positions) -> tuple[torch.Tensor]:
        """Images uint8 (B, 3, S, S)."""
        faces = torch.from_numpy(np.stack([self._cut(self.items[i]) for i in positions]))
        return (_three_planes(faces[..., None] if faces.ndim == 3 else faces),)

    def _cut(self, item) -> np.ndarray:
        file = isinstance(item, str | Path)
        picture = open_photo(str(item))[0] if file else PILImage.create(item)
        return cut_square(picture, None, self.pack.size, self.pack.channels == 1, self.pack.fit)[0]


def _three_planes(pixels: torch.Tensor) -> torch.Tensor:
    """Images (B, 3, H, W) of pixels (B, H, W, C); of grey ones three views of one plane."""
    images = pixels.permute(0, 3, 1, 2)
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


class FaceDL(TfmdDL):
    """A fastai DataLoader that gathers each batch from the pack in one step.

    `share` (rank, world) leaves it every `world`-th run of `bs` pictures, from the `rank`-th on: in
    training as many as every process has, elsewhere all there are (`hmtl.runs.distributed`).
    """

    share = (0, 1)

    def new(self, dataset=None, cls=None, **options):
        """A loader like this one, of other data or of pictures: files, arrays, tensors, images."""
        if dataset is not None and not hasattr(dataset, "gather"):
            dataset = self.dataset.of(dataset)
        return super().new(dataset, cls, **options)

    def get_idxs(self):
        rank, world = self.share
        idxs = super().get_idxs()
        if world == 1:
            return idxs
        step = world * self.bs
        stop = len(idxs) // step * step if self.drop_last else len(idxs)
        starts = range(rank * self.bs, stop, step)
        return [i for start in starts for i in idxs[start : start + self.bs]]

    def __len__(self) -> int:
        rank, world = self.share
        whole = super().__len__()
        return whole // world if self.drop_last else len(range(rank, whole, world))

    def to_detach(self, b, cpu: bool = True, gather: bool = True):
        """This process's own: fastai would gather batches of unequal number and size."""
        return to_detach(b, cpu, gather=False)

    def show_results(self, b, out, max_n=9, ctxs=None, show=True, **options):
        """As fastai's, which fails for labels that are no classes once it can show pictures."""
        results = super().show_results(b, out, max_n=max_n, show=False)
        if not show or isinstance(results[1], TensorCategory):
            return super().show_results(b, out, max_n=max_n, ctxs=ctxs, show=show, **options)
        _, _, samples, answers = results
        grid = {name: options.pop(name, None) for name in ("nrows", "ncols", "figsize")}
        if ctxs is None:
            ctxs = get_grid(min(len(samples), max_n), **grid)
        for sample, answer, ctx in zip(samples, answers, ctxs, strict=False):
            for part in (*sample, *answer):
                part.show(ctx=ctx, **options)

    def create_batches(self, samps):
        for positions in chunked(samps, self.bs, self.drop_last):
            self.positions = positions  # whose pictures this batch holds, for who needs to know
            images, *targets = self.dataset.gather(positions)
            yield TensorImage(images), *(self.dataset.label_type(each) for each in targets)

    def shuffle_fn(self, idxs):
        weights = self.dataset.sampling_weights
        if weights is None:
            return super().shuffle_fn(idxs)
        return self.rng.choices(idxs, weights=weights, k=len(idxs))


def _held(pack: Pack, device: torch.device) -> torch.Tensor | None:
    """The pack's pictures on a GPU, if they take at most a quarter of its free memory; else None.

    Batches are then gathered there, and no picture travels at each step.
    """
    if device.type != "cuda" or pack.images.nbytes > torch.cuda.mem_get_info(device)[0] / 4:
        return None
    return torch.from_numpy(np.array(pack.images)).to(device)


def face_dataloaders(
    pack: Pack, *, task: str | Task = "emotion", size: int | None = None, bs: int = 64,
    augment: str = "weak", fraction: float = 1.0, fraction_seed: int = 0, fill: bool = False,
    labels: str = "majority", sampling: str = "natural", seed: int = 0,
    device: str | torch.device | None = None,
) -> DataLoaders:  # fmt: skip
    """fastai DataLoaders over the train, valid and test rows of a pack. Ours.

    Order and augmentation follow `seed` alone, so two methods trained with one seed see the same
    images in the same order.

    Args:
        pack: Faces and labels, as `load_pack` gives them.
        task: A task of `hmtl.method.tasks`, or its name; faces without its label are left out.
        size: Side of the pictures, pixels; None: the pack's own.
        bs: Pictures a batch of training; others have twice as many.
        augment: "none", "weak" or "strong" (`hmtl.method.augment.LEVELS`).
        fraction: Share of the training rows that are kept, in (0, 1], stratified by class.
        fraction_seed: Draws them; of one seed smaller shares lie inside larger ones.
        fill: Whether they are shown again until an epoch is as long as one of all rows.
        labels: "majority", or "probability" for the votes of a pack that has them.
        sampling: "natural", or "balanced": each class equally often, with replacement.
        seed: Of order and augmentation.
        device: Where batches are made; None: fastai's default.

    Returns:
        `dls.train`, `dls.valid` and `dls[2]`, the test rows. A batch is images float
        (B, 3, size, size) in [0, 1] and labels as the task has them.

    Raises:
        ValueError: Naming the valid choices, or the columns that the task misses.

    Example:
        >>> from hmtl import face_dataloaders, load_pack
        >>> dls = face_dataloaders(load_pack("mini"), size=32, bs=16, device="cpu")
        >>> images, emotions = dls.train.one_batch()
        >>> images.shape, emotions.shape, dls.c
        (torch.Size([16, 3, 32, 32]), torch.Size([16]), 8)
    """
    check_known(f"unknown sampling {sampling!r};", sampling, SAMPLING)
    task = make_task(task) if isinstance(task, str) else task
    task.check(labels, sampling, weighted=False)
    follow = task.follow if task.changed_by else None
    tfms = [IntToFloatTensor(), Augment(augment, size or pack.size, seed, follow)]
    device = torch.device(default_device() if device is None else device)
    loaders, held = [], _held(pack, device)
    for i, split in enumerate(SPLITS):
        data = FaceDataset(pack, pack.rows(split), labels, i, task)
        data.held = held
        if i == 0 and fraction != 1:
            chosen = nested_fraction(data.classes, fraction, fraction_seed)
            data = data.only(_repeated(chosen, len(data), fraction_seed) if fill else chosen)
        if i == 0 and sampling == "balanced":
            counts = np.bincount(data.classes, minlength=data.c)
            data.sampling_weights = (1 / counts[data.classes]).tolist()
        training = i == 0
        count = min(bs, len(data)) if training else 2 * bs
        loader = FaceDL(  # a last batch of one image would upset batch norm: it is dropped
            data, bs=count, shuffle=training, drop_last=training, num_workers=0, after_batch=tfms
        )
        loader.rng = random.Random(seed)  # not the global one: see the docstring
        loaders.append(loader)
    return DataLoaders(*loaders, device=device)
