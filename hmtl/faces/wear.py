"""What a head may wear or hold: long hair, glasses, hats, a mask, a hand before the face.

Every piece is a small mesh built from formulas around the template head, so nothing is taken from
anywhere. Its vertices are bound to the skin near them and follow the shape of each person's head,
but not the expression (a mask follows the jaw a little). Metres, axes as in `hmtl.faces.head`; the
hand has axes of its own: x across, y to the finger tips, z out of its back. All of it is ours.
"""

__all__ = ["MATERIALS", "WEAR", "WEAR_SHAPES", "Wear", "build_wear"]

from dataclasses import dataclass

import numpy as np

MATERIALS = ("skin", "eye", "tongue", "teeth", "hair", "frame", "lens", "crown", "visor", "brim",
             "mask", "hand")  # fmt: skip
WEAR = MATERIALS[4:]
"""Pieces that may be there or not, by the name of their material."""

WEAR_SHAPES = ("hair-short", "hair-wide", "lens-square", "lens-wide", "lens-tall", "frame-thick",
               "crown-tall", "hand-spread")  # fmt: skip
"""Blendshapes of the pieces, each weighted 0..1 by the column `wear_<name>` of a face table."""

_AXIS = np.array([0.0, 0.0, 0.045])  # upright through the middle of the head


@dataclass
class Wear:
    """All pieces in one mesh: W vertices, T triangles seen from both sides."""

    points: np.ndarray  # (W, 3) metres
    faces: np.ndarray  # (T, 3)
    material: np.ndarray  # (W,) index into MATERIALS
    anchors: np.ndarray  # (W, V) weights over the head's vertices, rows add up to 1 or (hand) 0
    shapes: dict[str, np.ndarray]  # WEAR_SHAPES -> offsets (W, 3)


@dataclass
class _Piece:
    material: str
    points: np.ndarray
    faces: np.ndarray
    spread: float  # metres of skin around a vertex that carry it; 0: nothing carries it
    shapes: dict[str, np.ndarray]


def _grid(rows: int, columns: int, ring: bool = False) -> np.ndarray:
    """Triangles of a (rows, columns) lattice of vertices; `ring` joins the last column to the
    first."""
    r, c = np.mgrid[: rows - 1, : columns if ring else columns - 1]
    right = (c + 1) % columns
    a, b = r * columns + c, r * columns + right
    d, e = a + columns, b + columns
    return np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, d), (b, e, d))])


def _tube(path: np.ndarray, radius, ring: bool = False, sides: int = 6):
    """(points, triangles, outward normals) of a tube round a path (N, 3)."""
    if ring:
        along = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    else:
        along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    # any direction that no path here follows will do
    aside = np.cross(along, [0.31, 0.17, 0.93])
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    other = np.cross(along, aside)
    turn = np.arange(sides) * 2 * np.pi / sides
    normal = aside[:, None] * np.cos(turn)[:, None] + other[:, None] * np.sin(turn)[:, None]
    radius = np.broadcast_to(radius, len(path))[:, None, None]
    points = (path[:, None] + radius * normal).reshape(-1, 3)
    faces = _grid(len(path), sides, ring=True)
    if ring:
        seam = _grid(2, sides, ring=True)
        faces = np.concatenate([faces, np.where(seam < sides, seam + len(points) - sides,
                                                seam - sides)])  # fmt: skip
    return points, faces, normal.reshape(-1, 3)


def _join(parts) -> tuple[np.ndarray, ...]:
    """Meshes (points, triangles, more arrays a point...) in one."""
    parts = list(parts)
    shift = np.cumsum([0, *(len(part[0]) for part in parts)])
    faces = np.concatenate([part[1] + at for part, at in zip(parts, shift, strict=False)])
    others = [np.concatenate([part[i] for part in parts]) for i in range(2, len(parts[0]))]
    return np.concatenate([part[0] for part in parts]), faces, *others


def _around(angle: np.ndarray) -> np.ndarray:
    """Level unit vectors (..., 3); angle 0 looks out of the face, positive to the person's left."""
    return np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], -1)


def _girth(skin: np.ndarray, level: float, angle: np.ndarray, tolerance: float) -> np.ndarray:
    """How far the skin reaches from the upright axis at a level, in each direction (A,)."""
    near = skin[abs(skin[:, 1] - level) < 0.018] - _AXIS
    at = np.arctan2(near[:, 0], near[:, 2])
    apart = abs((at - angle[:, None] + np.pi) % (2 * np.pi) - np.pi)
    reach = np.hypot(near[:, 0], near[:, 2])
    return np.where(apart < tolerance, reach, 0.04).max(1)


def _soften(values: np.ndarray, ring: bool) -> np.ndarray:
    """Mean of neighbours along the last axis."""
    padded = np.pad(values, ((0, 0), (1, 1)), mode="wrap" if ring else "edge")
    return (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4


def _long_hair(skin: np.ndarray) -> _Piece:
    """A curtain from temple to temple round the back of the head, down to the shoulders."""
    angle = np.linspace(np.radians(64), np.radians(296), 31)
    down = np.linspace(0, 1, 12)
    level = 0.80 - 0.245 * down
    girth = np.array([_girth(skin, y, angle, np.radians(14)) for y in np.maximum(level, 0.69)])
    girth = np.maximum.accumulate(_soften(_soften(girth, False), False), axis=0) + 0.009
    girth *= 1 + 0.06 * down[:, None] ** 2
    points = _AXIS + _around(angle)[None] * girth[..., None]
    points[..., 1] = level[:, None]
    short = np.zeros_like(points)
    short[..., 1] = 0.13 * down[:, None]
    wide = (
        _around(angle)[None] * (0.022 * np.sin(np.pi * np.clip(down + 0.15, 0, 1)))[:, None, None]
    )
    shapes = {"hair-short": short, "hair-wide": wide}
    return _Piece("hair", points.reshape(-1, 3), _grid(*points.shape[:2]), 0.03,
                  {name: s.reshape(-1, 3) for name, s in shapes.items()})  # fmt: skip


def _glasses() -> list[_Piece]:
    """Two rims, a bridge and the temples; and two lenses, for sunglasses."""
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    cos, sin = np.cos(turn), np.sin(turn)
    square = 1 / (abs(cos) ** 4 + abs(sin) ** 4) ** 0.25 - 1  # from circle to rounded square
    rims, lenses = [], []
    for side in (1, -1):
        round_ = np.stack([0.026 * cos, 0.021 * sin], 1)
        x = side * 0.0325 + round_[:, 0]
        depth = 0.163 - 3.6 * x**2  # bent a little round the face
        path = np.stack([x, 0.7265 + round_[:, 1], depth], 1)
        own = {"lens-square": round_ * square[:, None],
               "lens-wide": np.stack([0.004 * cos, 0 * sin], 1),
               "lens-tall": np.stack([0 * cos, 0.005 * sin], 1)}  # fmt: skip
        own = {name: np.pad(s, ((0, 0), (0, 1))) for name, s in own.items()}
        points, faces, normal = _tube(path, 0.0011, ring=True)
        repeated = [np.repeat(s, len(points) // len(path), 0) for s in own.values()]
        rims.append((points, faces, normal, *repeated))
        fan = np.stack([np.arange(24), (np.arange(24) + 1) % 24, np.full(24, 24)], 1)
        centre = path.mean(0) + [0, 0, 0.002]
        lenses.append((np.vstack([path, centre]), fan,
                       *(np.vstack([s, np.zeros(3)]) for s in own.values())))  # fmt: skip
    bar = np.linspace(-1, 1, 7)
    bridge = np.stack([0.0075 * bar, 0.734 + 0.002 * (1 - bar**2), 0.1625 + 0 * bar], 1)
    bars = [_tube(bridge, 0.0011)]
    for side in (1, -1):
        far = np.linspace(0, 1, 9)
        temple = np.stack([side * np.interp(far, [0, 0.25, 1], [0.058, 0.074, 0.080]),
                           np.interp(far, [0, 0.8, 1], [0.734, 0.737, 0.725]),
                           np.interp(far, [0, 0.25, 1], [0.151, 0.125, 0.040])], 1)  # fmt: skip
        bars.append(_tube(temple, 0.0013))
    still = [
        (points, faces, normal, *[np.zeros_like(points)] * 3) for points, faces, normal in bars
    ]
    names = ("lens-square", "lens-wide", "lens-tall")
    points, faces, normal, *shapes = _join(rims + still)
    frame = dict(zip(names, shapes, strict=True)) | {"frame-thick": 0.0016 * normal}
    lens_points, lens_faces, *lens_shapes = _join(lenses)
    return [
        _Piece("frame", points, faces, 0.02, frame),
        _Piece("lens", lens_points, lens_faces, 0.02, dict(zip(names, lens_shapes, strict=True))),
    ]


def _hat(skin: np.ndarray) -> list[_Piece]:
    """A crown that fits the head, a visor before it, a brim around it."""
    centre = np.array([0, 0.765, 0.045])
    scalp = skin[skin[:, 1] > 0.70] - centre
    reach = np.linalg.norm(scalp, axis=1)
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    rise = np.linspace(0, 1, 9)
    up = np.radians(90 * rise)[:, None]
    ways = np.cos(up)[..., None] * _around(turn)[None] + np.sin(up)[..., None] * [0, 1, 0]
    cosine = np.einsum("rcx,vx->rcv", ways, scalp / reach[:, None])
    radius = np.where(cosine > np.cos(np.radians(15)), reach, 0.06).max(2)
    radius = _soften(radius, True) + 0.010
    points = centre + ways * radius[..., None]
    points[..., 1] += (1 - rise)[:, None] * 0.3 * (points[..., 2] - centre[2])
    tall = np.zeros_like(points)
    tall[..., 1] = 0.06 * rise[:, None] ** 0.5
    crown = _Piece("crown", points.reshape(-1, 3), _grid(9, 28, ring=True), 0.03,
                   {"crown-tall": tall.reshape(-1, 3)})  # fmt: skip
    out = np.linspace(-0.02, 1, 5)[:, None, None]
    edge = points[0]
    outward = edge - centre
    outward[:, 1] = 0
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    brim = edge + out * 0.07 * outward - [0, 0.012, 0] * out**2
    front = np.radians(np.linspace(-62, 62, 15))
    at = [np.interp(front % (2 * np.pi), np.append(turn, 2 * np.pi), np.append(c, c[0]))
          for c in edge.T]  # fmt: skip
    start = np.stack(at, 1)
    length = 0.072 * np.cos(front * 1.2)[None, :, None]
    visor = start + out * length * [0, -0.22, 1]
    return [
        crown,
        _Piece("visor", visor.reshape(-1, 3), _grid(5, 15), 0.03, {}),
        _Piece("brim", brim.reshape(-1, 3), _grid(5, 28, ring=True), 0.03, {}),
    ]


def _mask(skin: np.ndarray) -> _Piece:
    """Cloth over nose, mouth and chin."""
    angle = np.radians(np.linspace(-82, 82, 25))
    rows = 11
    top = 0.712 - 0.012 * (angle / angle[-1]) ** 2
    bottom = 0.606 + 0.050 * (angle / angle[-1]) ** 2
    level = np.linspace(top, bottom, rows)  # (rows, columns)
    girth = np.empty_like(level)
    for row in range(rows):
        for column in range(len(angle)):
            height = max(level[row, column], 0.625)
            girth[row, column] = _girth(skin, height, angle[[column]], np.radians(10))[0]
    girth = _soften(_soften(girth, False), False) + 0.007
    girth[-1] -= 0.012  # tucked in below the chin
    points = _AXIS + _around(angle)[None] * girth[..., None]
    points[..., 1] = level
    return _Piece("mask", points.reshape(-1, 3), _grid(rows, len(angle)), 0.012, {})


def _capsule(a, b, start: float, end: float):
    """(points, triangles) of a rounded stick from a to b, with its radii."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    bend = np.linspace(-1, 1, 9)
    along = np.clip(bend * 1.25, -1, 1) / 2 + 0.5
    radius = (start + (end - start) * along) * np.sqrt(
        1 - np.clip(abs(bend) - 0.6, 0, 0.4) ** 2 / 0.17
    )
    length = np.linalg.norm(b - a)
    path = (
        a
        + (b - a) * (along + (bend - np.clip(bend, -0.8, 0.8)) * 2 * radius.max() / length)[:, None]
    )
    points, faces, _ = _tube(path, radius, sides=8)
    return points, faces


def _hand() -> _Piece:
    """An open hand and its forearm; centimetres while it is built."""
    knuckles = [(-3.2, 8.3, 6.0), (-1.1, 9.0, 7.3), (1.1, 9.0, 7.6), (3.2, 8.4, 6.6)]
    parts = []
    for x, y, length in knuckles:
        joint = (x * 1.05, y + 0.5 * length, 0.1)
        parts.append(_capsule((x, y - 1, 0), joint, 0.95, 0.85))
        parts.append(_capsule(joint, (x * 1.08, y + length, -0.7), 0.85, 0.7))
        parts.append(_capsule((x * 0.6, 1.0, 0), (x, y, 0), 1.35, 1.1))
    parts.append(_capsule((2.0, 1.5, -0.2), (5.2, 5.0, -0.6), 1.5, 1.1))
    parts.append(_capsule((5.0, 4.6, -0.6), (6.3, 8.2, -1.0), 1.05, 0.8))
    parts.append(_capsule((0, 2.0, 0), (0, -22, 0.5), 2.5, 3.6))
    points, faces = _join(parts)
    spread = np.zeros_like(points)
    spread[:, 0] = points[:, 0] * 0.06 * np.clip(points[:, 1] - 8, 0, None)
    return _Piece("hand", points / 100, faces, 0.0, {"hand-spread": spread / 100})


def build_wear(template: np.ndarray, skin: np.ndarray, ears: np.ndarray) -> Wear:
    """The pieces around a template head.

    `template` (V, 3) metres; `skin` and `ears` bool (V,): which vertices are skin, and of the ears.
    """
    bare = template[skin & ~ears]
    pieces = [_long_hair(template[skin]), *_glasses(), *_hat(bare), _mask(bare), _hand()]
    points, faces = _join((p.points, p.faces) for p in pieces)
    material = np.concatenate([np.full(len(p.points), MATERIALS.index(p.material)) for p in pieces])
    anchors = []
    for piece in pieces:
        if not piece.spread:
            anchors.append(np.zeros((len(piece.points), len(template))))
            continue
        apart = np.linalg.norm(piece.points[:, None] - template[None], axis=2)
        apart = np.where(skin & ~ears, apart, np.inf)
        apart -= apart.min(1, keepdims=True)  # what stands off still follows the skin below it
        weight = np.exp(-((apart / piece.spread) ** 2))
        weight[weight < 0.1] = 0  # keeps the table of offsets short
        anchors.append(weight / weight.sum(1, keepdims=True))
    shapes = {
        name: np.concatenate([p.shapes.get(name, np.zeros_like(p.points)) for p in pieces])
        for name in WEAR_SHAPES
    }
    return Wear(points, faces, material, np.concatenate(anchors), shapes)
