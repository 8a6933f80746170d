"""What the tile tasks share: cutting a picture into n x n tiles, and one softmax a place.

Tiles and places count from left to right, then down. Where n does not divide the size, the picture
is resized to the nearest multiple of n first (224 px at 3 x 3 gives the authors' 225; 112 gives
111).
"""

__all__ = [
    "PlaceHead", "TileTask", "cut_tiles", "grid_of_tiles", "join_tiles", "show_asked", "show_views",
]  # fmt: skip

from collections.abc import Sequence

import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from hmtl.method.pretext.base import Pretext, show_rows


def grid_of_tiles(images: Tensor, n: int) -> Tensor:
    """(B, C, H, W) -> (B, C, n, h, n, w), mostly a view; ValueError if n does not divide H, W."""
    count, channels, height, width = images.shape
    if width % n or height % n:
        raise ValueError(f"{(height, width)} pixels do not divide into {n} x {n} tiles")
    return images.reshape(count, channels, n, height // n, n, width // n)


def cut_tiles(images: Tensor, n: int) -> Tensor:
    """(B, C, H, W) -> (B, n^2, C, h, w); ValueError if n does not divide H and W."""
    return grid_of_tiles(images, n).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def join_tiles(tiles: Tensor, n: int) -> Tensor:
    """(B, n^2, C, h, w) -> (B, C, n h, n w): the inverse of `cut_tiles`."""
    count, _, channels, height, width = tiles.shape
    grid = tiles.reshape(count, n, n, channels, height, width)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(count, channels, n * height, n * width)


class PlaceHead(nn.Module):
    """Dropout and one linear layer: (B, F) -> logits (B, classes, places), a softmax a place.

    The same as `places` separate layers of `classes` outputs, in one matrix product.
    """

    def __init__(self, num_features: int, classes: int, places: int, dropout: float):
        super().__init__()
        self.shape = (places, classes)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(num_features, places * classes)

    def forward(self, features: Tensor) -> Tensor:
        logits = self.linear(self.dropout(features))
        return logits.view(-1, *self.shape).transpose(1, 2)


class MapPlaceHead(nn.Module):
    """The head of the authors' second repository: (B, C, h, w) -> logits (B, classes, places).

    1 x 1 convolution to 128, two 3 x 3 to 256, each with batch norm and ReLU; pooled, dropout 0.2;
    a layer of 16 a place and its softmax. The places' layers are grouped convolutions.
    """

    def __init__(self, num_features: int, classes: int, places: int, dropout: float = 0.2):
        super().__init__()
        self.shape = (places, classes)

        self.trunk = nn.Sequential(
            *Conv2dNormActivation(num_features, 128, 1),
            *Conv2dNormActivation(128, 256, 3),
            *Conv2dNormActivation(256, 256, 3),
        )
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(256, places * 16)
        self.out = nn.Conv1d(places * 16, places * classes, 1, groups=places)

    def forward(self, features: Tensor) -> Tensor:
        pooled = self.dropout(self.trunk(features).mean((2, 3)))
        hidden = F.relu(self.hidden(pooled))
        return self.out(hidden[..., None]).view(-1, *self.shape).transpose(1, 2)


class TileTask(Pretext):
    """Base of the tasks on n x n tiles: `classes` answers at each of n^2 places.

    `on="map"` hangs the head on the feature map, as in the authors' second repository; "pooled" on
    the representation, as in the paper's figure. `dropout` 0.2 is the authors'. `cut` says in the
    name how else the tiles are cut.
    """

    least = 1  # the smallest n that makes sense
    kind = "tiles"
    classes = 0

    def __init__(self, n: int, dropout: float = 0.2, on: str = "pooled", cut: str = ""):
        if not isinstance(n, int) or n < self.least:
            raise ValueError(f"{self.kind} needs n >= {self.least} tiles a side, got {n!r}")
        if on not in ("pooled", "map"):
            raise ValueError(f"on must be 'pooled' or 'map', got {on!r}")
        self.n, self.dropout, self.reads = n, dropout, on
        self.name = f"{self.kind}_{n}x{n}{cut}" + ("_map" if on == "map" else "")

    @property
    def places(self) -> int:
        """Number of tiles, n^2."""
        return self.n**2

    def fit_size(self, images: Tensor) -> Tensor:
        """Resize to the nearest multiple of n, if the size is none."""
        size = [max(self.n, self.n * round(side / self.n)) for side in images.shape[-2:]]
        if size == list(images.shape[-2:]):
            return images
        return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)

    def head(self, num_features: int) -> nn.Module:
        """The n^2 softmaxes."""
        kind = MapPlaceHead if self.reads == "map" else PlaceHead
        return kind(num_features, self.classes, self.places, self.dropout)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Sum over the places of the mean cross-entropy (the authors add one loss a tile)."""
        return F.cross_entropy(prediction, target) * self.places

    def score(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Share of places answered rightly; chance is one over the number of classes."""
        return (prediction.argmax(1) == target).float().mean()

    def shares_view_with(self, other: Pretext) -> bool:
        """Tile tasks of one grid can be asked of one picture: a tile may be moved and turned."""
        return isinstance(other, TileTask) and other.n == self.n and other.kind != self.kind

    def show(self, images: Tensor, seed: int = 0) -> Figure:
        """Pictures above what is made of them, each with its target."""
        views, target = self.transform(images, self.seeded(seed))
        return show_asked(images, views, [target])


def show_asked(images: Tensor, views: Tensor, targets: Sequence[Tensor]) -> Figure:
    """Pictures (B, 3, H, W) above views of them, with each task's targets in a line of its own."""
    titles = [
        "\n".join(" ".join(map(str, target[i].reshape(-1).tolist())) for target in targets)
        for i in range(len(images))
    ]
    return show_views(images, views, titles)


def show_views(images: Tensor, views: Tensor, titles: Sequence[str]) -> Figure:
    """Pictures (B, 3, H, W) above views of them, titles above the views."""
    return show_rows([images, views], titles)
