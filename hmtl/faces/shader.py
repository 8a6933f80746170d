"""The kernels that draw faces: vertices, depth, colours, and what a camera does to them.

Written in warp, for CPU and GPU. No result depends on the order of work: each vertex adds its
blendshapes, each sample keeps the nearest triangle, each pixel shades its own samples. Brows, hair,
beard, iris, wrinkles and marks are painted in the template's coordinates, so they move with the
skin. Metres, axes as in `hmtl.faces.head`. All of it is ours.
"""

__all__ = ["kernels", "started_warp"]

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

from hmtl.faces.camera import COLOURS, NUMBERS, SCALARS, VECTORS, WHOLE


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
def started_warp():
    """The warp module, started quietly."""
    import warp as wp

    wp.config.quiet = True  # older warp
    if hasattr(wp, "LOG_ERROR"):
        wp.config.log_level = wp.LOG_ERROR
    # its native part tells every process that there is no GPU, past Python's streams
    with _silenced(2):
        wp.init()
    return wp


@functools.cache
def kernels() -> SimpleNamespace:
    """The structs and kernels by name; made on first use, as warp is heavy."""
    wp = started_warp()
    NOTHING = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
    LOWER = wp.constant(wp.uint64(0xFFFFFFFF))
    LIT = wp.constant(0.19)  # metres around the head that may cast or receive a shadow

    fields = dict.fromkeys((*VECTORS, *(f"{name}_colour" for name in COLOURS)), wp.vec3)
    fields |= dict.fromkeys((*SCALARS, *NUMBERS), float) | dict.fromkeys(WHOLE, int)
    Scene = wp.struct(type("Scene", (), {"__annotations__": fields}))
    Scenes, Ints = wp.array(dtype=Scene), wp.array(dtype=int)
    Places, Points = wp.array(dtype=wp.vec3), wp.array2d(dtype=wp.vec3)
    Depths = wp.array4d(dtype=wp.uint64)  # face, head or worn, y, x: depth and triangle

    @wp.struct
    class Head:
        # everything of the head that is the same for every face
        faces: Ints
        material: Ints
        neutral: Places
        masks: wp.array(dtype=wp.vec4)
        hair: Places
        sight: Places
        moved: wp.array(dtype=float)
        bare: int  # triangles before this one are the head's, the others are worn

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

    # ------------------------------------------------------------------------------- geometry

    @wp.kernel(enable_backward=False)
    def deform(
        neutral: Places,
        normals: Places,
        hair: Places,
        piece: Ints,
        start: Ints,
        index: Ints,
        offset: Places,
        weights: wp.array2d(dtype=float),
        scenes: Scenes,
        out: Points,
    ):
        face, v = wp.tid()
        kind = piece[v]
        if kind >= 0 and (scenes[face].worn >> kind) & 1 == 0:
            # what is not worn lies folded up in the neck
            out[face, v] = scenes[face].hand_at * 0.0 + wp.vec3(0.0, 0.6, 0.04)
        else:
            p = neutral[v]
            for j in range(start[v], start[v + 1]):
                w = weights[face, index[j]]
                if w != 0.0:
                    p += offset[j] * w
            if kind == 7:
                s = scenes[face]
                p = s.hand_at + s.hand_x * p[0] + s.hand_y * p[1] + s.hand_z * p[2]
            if kind < 0:
                level = hair[v][0] - scenes[face].hairline
                p += normals[v] * (scenes[face].hair_volume * smooth(0.0, 0.03, level))
            out[face, v] = p

    @wp.kernel(enable_backward=False)
    def shade_normals(start: Ints, corner: Ints, faces: Ints, points: Points, out: Points):
        face, v = wp.tid()
        n = wp.vec3(0.0, 0.0, 0.0)
        for j in range(start[v], start[v + 1]):
            f = corner[j] * 3
            a = points[face, faces[f]]
            n += wp.cross(points[face, faces[f + 1]] - a, points[face, faces[f + 2]] - a)
        out[face, v] = wp.normalize(n)

    @wp.func
    def light_place(s: Scene, p: wp.vec3, side: int):
        # place in a parallel view from the light and depth along it; far away, so that depth is
        # all but linear there too
        aside = wp.normalize(wp.cross(s.light, wp.vec3(0.31, 0.17, 0.93)))
        up = wp.cross(s.light, aside)
        d = p - s.middle
        scale = 0.5 * float(side) / LIT
        x = 0.5 * float(side) + wp.dot(d, aside) * scale
        y = 0.5 * float(side) - wp.dot(d, up) * scale
        return wp.vec3(x, y, 10.0 - wp.dot(d, s.light))

    @wp.kernel(enable_backward=False)
    def project(scenes: Scenes, points: Points, side: int, out: Points):
        # place in a picture of `side` samples (x to the right, y down) and depth
        face, v = wp.tid()
        s = scenes[face]
        d = points[face, v] - s.origin
        depth = wp.dot(d, s.forward)
        x = wp.dot(d, s.right) / (wp.dot(s.right, s.right) * depth)
        y = wp.dot(d, s.up) / (wp.dot(s.up, s.up) * depth)
        half = 0.5 * float(side)
        out[face, v] = wp.vec3((1.0 + x) * half - 0.5, (1.0 - y) * half - 0.5, depth)

    @wp.kernel(enable_backward=False)
    def project_to_light(scenes: Scenes, points: Points, side: int, out: Points):
        face, v = wp.tid()
        out[face, v] = light_place(scenes[face], points[face, v], side)

    @wp.func
    def edge(a: wp.vec3, b: wp.vec3, x: float, y: float):
        return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])

    @wp.kernel(enable_backward=False)
    def find_nearest(head: Head, places: Points, side: int, nearest: Depths):
        # depth in the upper bits, triangle in the lower: the minimum is the same in any order;
        # the head and what it wears have a buffer each, so that we know what is hidden
        face, f = wp.tid()
        a = places[face, head.faces[f * 3]]
        b = places[face, head.faces[f * 3 + 1]]
        c = places[face, head.faces[f * 3 + 2]]
        area = edge(a, b, c[0], c[1])
        layer = wp.int32(0)
        if f >= head.bare:
            layer = 1
        # seen from outside (y points down), or from either side; not behind the camera
        near = wp.min(a[2], wp.min(b[2], c[2]))
        if (area < 0.0 or (layer == 1 and area > 0.0)) and near > 0.05:
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
                        wp.atomic_min(nearest, face, layer, y, x, key | wp.uint64(f))

    # ------------------------------------------------------------------------------- colours

    @wp.func
    def strand_colour(s: Scene, state: wp.uint32, c: wp.vec3):
        # straight or curly strands, lighter and darker
        across = 500.0 - 300.0 * s.curls
        grain = wp.cw_mul(c, wp.vec3(across, 120.0 + 150.0 * s.curls, across * 0.5))
        locks = wp.noise(state + wp.uint32(7), c * 60.0)
        return s.hair_colour * (0.82 + 0.45 * wp.noise(state, grain) + 0.25 * locks)

    @wp.func
    def skin(s: Scene, state: wp.uint32, c: wp.vec3, masks: wp.vec4, hair: wp.vec3):
        # c: place on the template in metres, so that paint moves with the skin
        x = wp.abs(c[0])
        front = smooth(0.04, 0.08, c[2])
        colour = s.skin_colour
        if c[1] < 0.575:
            # a collar
            folds = 0.85 + 0.3 * wp.noise(state, c * 40.0)
            return s.clothes_colour * folds
        if s.texture > 0.0:
            colour = colour * (1.0 + 0.11 * s.texture * wp.noise(state, c * 110.0))
        if s.freckles > 0.0 and front > 0.1:
            dots = smooth(0.25, 0.5, wp.noise(state + wp.uint32(1), c * 420.0))
            where = bump(c[1] - 0.71, 0.03) * bump(x, 0.06)
            tan = wp.cw_mul(colour, wp.vec3(0.62, 0.48, 0.38))
            colour = mix(colour, tan, 0.7 * s.freckles * dots * where)
        if s.spots > 0.0:
            patch = smooth(0.35, 0.5, wp.noise(state + wp.uint32(2), c * 110.0))
            brown = wp.cw_mul(colour, wp.vec3(0.65, 0.52, 0.42))
            colour = mix(colour, brown, 0.8 * s.spots * patch)
        cheek = bump(x - 0.045, 0.02) * bump(c[1] - 0.695, 0.018) * front
        nose = bump(x, 0.014) * bump(c[1] - 0.70, 0.014) * front
        colour = mix(
            colour, wp.cw_mul(colour, wp.vec3(1.0, 0.66, 0.62)), s.blush * wp.min(cheek + nose, 1.0)
        )
        # wrinkles: across the forehead with the raised brow, upright between knitted brows,
        # beside the nose with the sneer; with age all of them, and those at mouth and eyes
        wave = wp.sin((c[1] - 0.04 * x) * 900.0)
        forehead = smooth(0.757, 0.767, c[1]) * (1.0 - smooth(0.785, 0.797, c[1])) * front
        forehead = forehead * (1.0 - smooth(0.02, 0.045, x)) * smooth(0.2, 0.9, wave)
        glabella = bump(x - 0.006, 0.0022) * bump(c[1] - 0.752, 0.009) * front
        bridge = bump(c[1] - 0.738, 0.007) * (1.0 - smooth(0.008, 0.013, x)) * front
        bridge = bridge * smooth(0.0, 0.8, wp.sin(c[1] * 1500.0))
        dark = forehead * wp.min(0.30 * s.lift + 0.22 * s.wrinkles, 0.5)
        dark += glabella * wp.min(0.55 * s.knit + 0.18 * s.wrinkles, 0.6)
        dark += bridge * 0.45 * s.sneer
        fold = bump(x - (0.017 + 0.35 * (0.705 - c[1])), 0.0025) * bump(c[1] - 0.688, 0.016) * front
        crow = bump(x - 0.062, 0.010) * bump(c[1] - 0.727, 0.010)
        crow = crow * smooth(0.3, 0.9, wp.sin((c[1] - 0.727) * 1400.0 / (0.4 + 25.0 * (x - 0.045))))
        bag = bump(x - 0.032, 0.014) * bump(c[1] - 0.7125, 0.0035) * front
        dark += 0.30 * s.wrinkles * (fold + crow) + 0.28 * s.bags * bag
        colour = colour * (1.0 - wp.min(dark, 0.7))
        lips = mix(s.lips_colour, s.lipstick_colour, s.lipstick)
        colour = mix(colour, lips, masks[0])
        lids = mix(colour * 0.78, s.eyeshadow_colour, s.eyeshadow)
        colour = mix(colour, lids, masks[1])
        # brows: an arched band that thins outwards
        t = (x - 0.011) / 0.045
        arch = 0.7502 + s.brow_lift - 0.003 * t
        arch = arch + 0.004 * s.brow_arch * wp.sin(wp.clamp(t, 0.0, 1.1) * 2.6)
        width = 0.0038 * s.brow_thickness * (1.0 - 0.6 * smooth(0.45, 1.05, t))
        brow = bump((c[1] - arch) / width, 1.0) * smooth(-0.1, 0.08, t)
        brow = brow * (1.0 - smooth(0.9, 1.1, t)) * front
        # the noise is worth its time only where it shows
        if brow > 0.02:
            hairs = 1.35 + 0.5 * wp.noise(state, c * 700.0)
            colour = mix(colour, s.brow_colour, wp.clamp(brow * s.brow_density * hairs, 0.0, 0.95))
        beard = wp.max(hair[1] * s.beard, hair[2] * s.moustache)
        if beard > 0.02:
            stubble = beard * (0.7 + 0.45 * wp.noise(state, c * 500.0))
            colour = mix(colour, s.hair_colour * 0.9, wp.clamp(stubble, 0.0, 0.92))
        if hair[0] > s.hairline - 0.01:
            scalp = wp.float32(1.0)
            if hair[0] < s.hairline + 0.012:
                ragged = 0.007 * wp.noise(state, c * 200.0)
                scalp = smooth(-0.004, 0.006, hair[0] - s.hairline + ragged)
            colour = mix(colour, strand_colour(s, state, c), scalp * 0.96)
        return colour * (1.0 - 0.8 * masks[2])

    @wp.func
    def eye(s: Scene, sight: wp.vec3):
        d = wp.normalize(sight)
        c = d[2]
        white = wp.vec3(0.70, 0.66, 0.64)
        iris = s.iris_colour * (0.8 + 0.7 * smooth(0.90, 0.96, c))
        colour = mix(white, iris * 0.45, smooth(0.865, 0.885, c))
        colour = mix(colour, iris, smooth(0.885, 0.905, c))
        wide = 0.966 + 0.02 * s.pupil
        colour = mix(colour, wp.vec3(0.006, 0.006, 0.006), smooth(wide, wide + 0.008, c))
        # the upper lid and its lashes shade the ball
        return colour * (1.0 - 0.35 * smooth(0.05, 0.45, d[1]))

    @wp.func
    def cloth(colour: wp.vec3, state: wp.uint32, c: wp.vec3, ribs: float):
        weave = 0.9 + 0.12 * wp.noise(state, c * 600.0) + 0.12 * wp.noise(state, c * 35.0)
        return colour * (weave + ribs * wp.sin(c[1] * 1100.0))

    @wp.func
    def background(s: Scene, state: wp.uint32, px: float, py: float):
        co = wp.cos(s.back_angle)
        si = wp.sin(s.back_angle)
        along = px * co + py * si
        across = py * co - px * si
        result = s.back1_colour
        q = wp.vec3(along, across, 0.0)
        if s.background == 1:
            result = mix(s.back1_colour, s.back2_colour, wp.clamp(0.5 + 0.45 * along, 0.0, 1.0))
        if s.background == 2:
            one = wp.noise(state, q * s.back_scale * 1.2)
            two = wp.noise(state + wp.uint32(3), q * s.back_scale * 2.7)
            result = mix(s.back1_colour, s.back2_colour, smooth(-0.4, 0.4, one))
            result = mix(result, s.back3_colour, smooth(0.0, 0.5, two))
        if s.background == 3:
            wave = wp.sin(along * 4.0 * s.back_scale)
            result = mix(s.back1_colour, s.back2_colour, smooth(-0.25, 0.25, wave))
        if s.background == 4:
            # lights out of focus before a dark room
            result = s.back1_colour * 0.3
            cell = 0.55 / s.back_scale
            for k in range(9):
                i = wp.floor(along / cell) + float(k % 3 - 1)
                j = wp.floor(across / cell) + float(k / 3 - 1)
                own = wp.rand_init(s.seed, int(i) * 131 + int(j) * 977 + 50000)
                cx = (i + wp.randf(own)) * cell
                cy = (j + wp.randf(own)) * cell
                radius = cell * (0.2 + 0.35 * wp.randf(own))
                away = wp.sqrt((along - cx) * (along - cx) + (across - cy) * (across - cy))
                bright = 1.0 - smooth(radius * 0.8, radius, away)
                tint = mix(s.back2_colour, s.back3_colour, wp.randf(own))
                result += tint * (bright * 0.6)
        if s.background == 5:
            # shelves and what stands on them, blurred a little
            row = wp.floor((py + 4.0) * 1.3 * s.back_scale)
            in_row = (py + 4.0) * 1.3 * s.back_scale - row
            col = wp.floor((px + 4.0) * 4.0 * s.back_scale + row * 0.37)
            own = wp.rand_init(s.seed, int(row) * 173 + int(col) * 29)
            lightness = 0.4 + 0.9 * wp.randf(own)
            pick = wp.randf(own)
            tall = 0.5 + 0.45 * wp.randf(own)
            thing = mix(s.back2_colour, s.back3_colour, pick) * lightness
            result = mix(thing, s.back1_colour * 0.35, smooth(tall - 0.05, tall + 0.05, in_row))
            result = mix(s.back1_colour, result, smooth(0.02, 0.1, in_row))
        return wp.cw_mul(result, s.room_colour)

    @wp.func
    def albedo_of(
        s: Scene,
        head: Head,
        state: wp.uint32,
        kind: int,
        place: wp.vec3,
        i: int,
        j: int,
        k: int,
        u: float,
        v: float,
        w: float,
    ):
        # the colour itself, the strength of the gloss
        colour = wp.vec3(0.32, 0.09, 0.08)  # tongue
        gloss = wp.float32(0.04)
        if kind == 0:
            mask = head.masks[i] * u + head.masks[j] * v + head.masks[k] * w
            hair = head.hair[i] * u + head.hair[j] * v + head.hair[k] * w
            colour = skin(s, state, place, mask, hair)
            gloss = 0.035 + 0.05 * mask[0] * (1.0 + s.lipstick)
        elif kind == 1:
            colour = eye(s, head.sight[i] * u + head.sight[j] * v + head.sight[k] * w)
            gloss = 0.5
        elif kind == 3:
            # molars stand in the dark of the mouth, which the lights cannot know
            colour = wp.vec3(0.66, 0.60, 0.50) * (0.06 + 0.94 * smooth(0.126, 0.142, place[2]))
        elif kind == 4:
            colour = strand_colour(s, state, place)
        elif kind == 5:
            colour = s.frame_colour
            gloss = 0.3
        elif kind == 6:
            colour = s.frame_colour * 0.1 + wp.vec3(0.01, 0.01, 0.012)
            gloss = 0.6
        elif kind == 7:
            colour = cloth(s.hat_colour, state, place, 0.12)
        elif kind == 8 or kind == 9:
            colour = cloth(s.hat_colour * 0.85, state, place, 0.0)
        elif kind == 10:
            colour = cloth(s.mask_colour, state, place, 0.06)
        elif kind == 11:
            # fingers' creases and the redder knuckles
            crease = 0.06 * wp.noise(state, place * 120.0)
            colour = wp.cw_mul(s.skin_colour, wp.vec3(1.0, 0.93, 0.9)) * (1.0 + crease)
        return wp.vec4(colour[0], colour[1], colour[2], gloss)

    @wp.func
    def arriving(s: Scene, face: int, p: wp.vec3, n: wp.vec3, turn: float, shadows: Depths):
        # share of the light that reaches p: places around it, wider for a larger light, each
        # held against what the light sees there
        side = shadows.shape[2]
        at = light_place(s, p, side)
        # a shadow is cast from some 35 mm away
        reach = 0.5 + s.light_radius * 0.035 * 0.5 * float(side) / LIT
        # the surface itself rises and falls around p and must not shade itself
        aside = wp.normalize(wp.cross(s.light, wp.vec3(0.31, 0.17, 0.93)))
        facing = wp.max(wp.dot(n, s.light), 0.25)
        metres = 2.0 * LIT / float(side)
        rise_x = wp.dot(n, aside) / facing * metres
        rise_y = -wp.dot(n, wp.cross(s.light, aside)) / facing * metres
        lit = wp.float32(0.0)
        for tap in range(4):
            angle = turn + 1.5707963 * float(tap)
            far = reach * (0.45 + 0.55 * float(tap % 2))
            dx = far * wp.cos(angle)
            dy = far * wp.sin(angle)
            x = int(wp.floor(at[0] + dx + 0.5))
            y = int(wp.floor(at[1] + dy + 0.5))
            depth = at[2] + dx * rise_x + dy * rise_y - 0.003
            limit = wp.uint64(int(depth * 1.0e6)) << wp.uint64(32)
            free = wp.float32(1.0)
            if x >= 0 and y >= 0 and x < side and y < side:  # noqa: SIM102, kernels do not skip
                if wp.min(shadows[face, 0, y, x], shadows[face, 1, y, x]) < limit:
                    free = 0.0
            lit += free
        return 0.12 + 0.22 * lit

    @wp.func
    def ray_colour(
        s: Scene,
        head: Head,
        triangle: int,
        face: int,
        state: wp.uint32,
        px: float,
        py: float,
        turn: float,
        points: Points,
        normals: Points,
        shadows: Depths,
    ):
        if triangle < 0:
            return background(s, state, px, py)
        ray = wp.normalize(s.forward + s.right * px + s.up * py)
        i = head.faces[triangle * 3]
        j = head.faces[triangle * 3 + 1]
        k = head.faces[triangle * 3 + 2]
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
        if triangle >= head.bare and wp.dot(n, ray) > 0.0:
            n = -n
        kind = head.material[triangle]
        place = head.neutral[i] * u + head.neutral[j] * v + head.neutral[k] * w
        found = albedo_of(s, head, state, kind, place, i, j, k, u, v, w)
        albedo = wp.vec3(found[0], found[1], found[2])
        facing = wp.dot(n, s.light)
        seen = wp.float32(0.0)
        if facing > -0.2:
            seen = arriving(s, face, p + n * 0.002, n, turn, shadows)
        # light wraps a little round the skin and comes out redder there
        wrap = wp.max((facing + 0.2) / 1.2, 0.0)
        lit = wp.max(facing, 0.0)
        diffuse = wp.vec3(0.6 * lit + 0.4 * wrap, 0.75 * lit + 0.25 * wrap, 0.8 * lit + 0.2 * wrap)
        # sky above, room in front: hollows facing neither stay darker
        around = 0.55 + 0.25 * wp.dot(n, s.sky) + 0.2 * wp.max(-wp.dot(n, ray), 0.0)
        other = wp.max((wp.dot(n, s.fill) + 0.3) / 1.3, 0.0)
        light = wp.cw_mul(s.light_colour, diffuse) * seen + s.fill_colour * other
        light += s.room_colour * (s.ambient * around * 1.3)
        power = wp.float32(14.0)
        if kind == 1 or kind == 5 or kind == 6:
            power = 60.0
        shine = wp.pow(wp.max(wp.dot(n, wp.normalize(s.light - ray)), 0.0), power) * seen
        result = wp.cw_mul(albedo, light) + s.light_colour * (shine * found[3])
        # a light that is too bright whitens a sample, not the whole pixel
        return wp.vec3(wp.min(result[0], 1.0), wp.min(result[1], 1.0), wp.min(result[2], 1.0))

    @wp.func
    def front_triangle(nearest: Depths, face: int, y: int, x: int):
        key = wp.min(nearest[face, 0, y, x], nearest[face, 1, y, x])
        if key == NOTHING:
            return -1
        return int(key & LOWER)

    @wp.kernel(enable_backward=False)
    def shade(
        head: Head,
        scenes: Scenes,
        size: int,
        points: Points,
        normals: Points,
        nearest: Depths,
        shadows: Depths,
        out: wp.array3d(dtype=wp.vec3),
    ):
        # four samples a pixel; two of them are shaded where all four lie on one thing
        face, y, x = wp.tid()
        s = scenes[face]
        state = wp.rand_init(s.seed)
        step = 1.0 / float(size)
        first = front_triangle(nearest, face, y * 2, x * 2)
        stride = wp.int32(3)
        kind = wp.int32(-1)
        if first >= 0:
            kind = head.material[first]
        for sample in range(1, 4):
            t = front_triangle(nearest, face, y * 2 + sample / 2, x * 2 + sample % 2)
            own = wp.int32(-1)
            if t >= 0:
                own = head.material[t]
            if own != kind:
                stride = 1
        if kind == 1:
            stride = 1
        turn = 6.2831853 * wp.randf(wp.rand_init(s.seed, 1000 + y * size + x))
        total = wp.vec3(0.0, 0.0, 0.0)
        count = wp.float32(0.0)
        for sample in range(0, 4, stride):
            b = y * 2 + sample / 2
            a = x * 2 + sample % 2
            px = (float(a) + 0.5) * step - 1.0
            py = 1.0 - (float(b) + 0.5) * step
            triangle = front_triangle(nearest, face, b, a)
            if triangle < 0 and kind < 0 and stride == 3:
                # nothing but wall: one look suffices
                if sample == 0:
                    total += background(s, state, px, py)
                    count += 1.0
            else:
                around = turn + 0.785 * float(sample) / 3.0
                total += ray_colour(
                    s, head, triangle, face, state, px, py, around, points, normals, shadows
                )
                count += 1.0
        out[face, y, x] = total / count

    @wp.kernel(enable_backward=False)
    def count_hidden(head: Head, side: int, nearest: Depths, out: wp.array2d(dtype=int)):
        # samples on what an expression moves: all of them, and those that something hides
        face, y = wp.tid()
        whole = wp.int32(0)
        hidden = wp.int32(0)
        for x in range(side):
            key = nearest[face, 0, y, x]
            if key != NOTHING:
                t = int(key & LOWER)
                inside = head.material[t] > 0
                if head.material[t] == 0:
                    inside = head.moved[head.faces[t * 3]] > 0.5
                if inside:
                    whole += 1
                    if nearest[face, 1, y, x] < key:
                        hidden += 1
        wp.atomic_add(out, face, 0, whole)
        wp.atomic_add(out, face, 1, hidden)

    # ------------------------------------------------------------------------------- the camera

    @wp.func
    def encode(x: float):
        y = 12.92 * x
        if x > 0.0031308:
            y = 1.055 * wp.pow(x, 1.0 / 2.4) - 0.055
        return y

    @wp.kernel(enable_backward=False)
    def develop(
        scenes: Scenes,
        size: int,
        picture: wp.array3d(dtype=wp.vec3),
        out: wp.array4d(dtype=wp.uint8),
    ):
        # focus and shake as one Gaussian, then sRGB, then the sensor's noise
        face, y, x = wp.tid()
        s = scenes[face]
        # covariance: focus in every direction, a shake of length m as a spread of m / sqrt(12)
        # (a shake without any blur would be a line without width, which misses most pixels)
        focus = wp.max(s.blur * s.blur, 0.002)
        xx = focus + s.motion_x * s.motion_x / 12.0
        yy = focus + s.motion_y * s.motion_y / 12.0
        xy = s.motion_x * s.motion_y / 12.0
        total = picture[face, y, x]
        reach_x = int(wp.ceil(2.0 * wp.sqrt(xx) - 0.5))
        reach_y = int(wp.ceil(2.0 * wp.sqrt(yy) - 0.5))
        det = xx * yy - xy * xy
        if reach_x > 0 or reach_y > 0:
            total = wp.vec3(0.0, 0.0, 0.0)
            weight = wp.float32(0.0)
            for b in range(-reach_y, reach_y + 1):
                for a in range(-reach_x, reach_x + 1):
                    fa = float(a)
                    fb = float(b)
                    form = (fa * fa * yy - 2.0 * fa * fb * xy + fb * fb * xx) / det
                    if form < 9.0:
                        g = wp.exp(-0.5 * form)
                        u = wp.clamp(x + a, 0, size - 1)
                        v = wp.clamp(y + b, 0, size - 1)
                        total += picture[face, v, u] * g
                        weight += g
            total = total / weight
        state = wp.rand_init(s.seed, 500000 + y * size + x)
        shared = wp.float32(0.0)
        if s.noise > 0.0:
            shared = 0.85 * wp.randn(state)
        for channel in range(3):
            value = encode(total[channel])
            if s.noise > 0.0:
                grain = shared + 2.0 * (wp.randf(state) - 0.5)
                value += s.noise * (0.6 + 0.8 * wp.max(value, 0.0)) * grain
            out[face, y, x, channel] = wp.uint8(int(wp.clamp(value, 0.0, 1.0) * 255.0 + 0.5))

    return SimpleNamespace(
        Scene=Scene, Head=Head, deform=deform, shade_normals=shade_normals, project=project,
        project_to_light=project_to_light, find_nearest=find_nearest, shade=shade,
        count_hidden=count_hidden, develop=develop,
    )  # fmt: skip
