"""What surrounds a face: head pose, camera, light, background, and what hides the face.

Drawn anew for every picture from streams of its own: none of it knows the emotion, the person or
another part of it. Ranges and switches stand in `hmtl.faces.faceset`. All of it is ours.
"""

__all__ = ["HATS", "draw_scene"]

import numpy as np

from hmtl.faces.faceset import BACKGROUNDS, FaceSet
from hmtl.faces.people import colour, limited_normal

HATS = ("none", "beanie", "cap", "brimmed")
_STREAM = 1  # of all random streams, those of scenes


def _muted(rng: np.random.Generator) -> np.ndarray:
    """A colour as rooms and streets have them: any lightness, little saturation."""
    return rng.uniform(0.05, 0.95) + (rng.random(3) - 0.5) * rng.uniform(0.03, 0.35)


def _draw_pose(rng: np.random.Generator, face_set: FaceSet) -> dict:
    return {
        name: float(limited_normal(rng, getattr(face_set, name)))
        for name in ("yaw", "pitch", "roll")
    }


def _uniform(rng: np.random.Generator, face_set: FaceSet, *names: str) -> dict:
    """A number within the range of each field, in this order."""
    return {name: float(rng.uniform(*getattr(face_set, name))) for name in names}


def _draw_light(rng: np.random.Generator, face_set: FaceSet) -> dict:
    warm, cold = 1e6 / np.array(face_set.light_kelvin)
    return {
        **_uniform(rng, face_set, "light_azimuth", "light_elevation", "light_power", "light_size"),
        # even steps in mired look evenly spaced
        "light_kelvin": float(1e6 / rng.uniform(cold, warm)),
        **_uniform(rng, face_set, "fill_azimuth", "fill_elevation", "fill_power"),
        "fill_kelvin": float(1e6 / rng.uniform(cold, warm)),
        **_uniform(rng, face_set, "ambient"),
    }


def _draw_camera(rng: np.random.Generator, face_set: FaceSet) -> dict:
    """`distance` follows from the focal length: a head, 0.24 m, fills a share of a 24 mm frame."""
    focal = face_set.focal[int(rng.random() * len(face_set.focal))]
    filled = rng.uniform(*face_set.head_share)
    shake, angle, length = rng.random(3)
    shake = (shake < face_set.motion) * (0.5 + 3.5 * length)
    return {
        "focal": focal,
        "distance": float(0.24 * focal / (24 * filled)),
        **_uniform(rng, face_set, "crop_scale"),
        "crop_x": float(face_set.crop_shift * rng.normal()),
        "crop_y": float(face_set.crop_shift * rng.normal()),
        "exposure": float(face_set.exposure * rng.normal()),
        "white_balance": face_set.white_balance,
        **_uniform(rng, face_set, "blur"),
        "motion": float(shake),  # length, % of the picture's side
        "motion_angle": float(180 * angle),
        **_uniform(rng, face_set, "noise", "jpeg"),
    }


def _draw_background(rng: np.random.Generator, face_set: FaceSet) -> dict:
    place, angle, scale = rng.random(3)
    # with fewer kinds allowed a face keeps its own where it can; what is left of the draw within
    # its kind is even, and picks among the allowed ones
    number, rest = divmod(place * len(BACKGROUNDS), 1)
    kind = BACKGROUNDS[int(number)]
    if kind not in face_set.backgrounds:
        allowed = [b for b in BACKGROUNDS if b in face_set.backgrounds]
        kind = allowed[int(rest * len(allowed))]
    return {
        "background": kind,
        "background_angle": float(180 * angle),
        "background_scale": float(0.5 + 1.5 * scale),
        **{c: v for n in ("back1", "back2", "back3", "clothes")
           for c, v in colour(n, _muted(rng)).items()},
        "noise_seed": int(rng.integers(0, 2**31 - 1)),
    }  # fmt: skip


def _draw_wear(rng: np.random.Generator, face_set: FaceSet, has_glasses: int) -> dict:
    """Glasses, hat, mask and hand of one picture. All numbers are drawn whether used or not."""
    on, sun, hat, mask, hand = rng.random(5)
    hat_kind = HATS[1 + int(rng.random() * 3)]
    x, y, tilt, lean, near, side = rng.random(6)
    return {
        "glasses": int(has_glasses and on < 0.85),
        "sunglasses": int(sun < face_set.sunglasses),
        "hat": hat_kind if hat < face_set.hats else HATS[0],
        **colour("hat", _muted(rng)),
        "wear_crown-tall": float(rng.random()),
        "mask": int(mask < face_set.masks),
        **colour("mask", 0.35 + 0.65 * _muted(rng)),
        "hand": int(hand < face_set.hands),
        # where the finger tips are: metres from the middle of the face, from below
        "hand_x": float(0.11 * (x - 0.5)),
        "hand_y": float(-0.075 + 0.10 * y),
        "hand_tilt": float(100 * (tilt - 0.5)),
        "hand_lean": float(-10 + 30 * lean),
        "hand_near": float(0.012 * near),
        "hand_side": 1 if side < 0.5 else -1,  # whose hand: 1 the right one
        "wear_hand-spread": float(rng.random()),
    }


def draw_scene(face_set: FaceSet, split: int, index: int, person: dict) -> dict:
    """Columns of one picture, all but the person and the expression."""

    def stream(group: int) -> np.random.Generator:
        return np.random.default_rng([face_set.seed, _STREAM, split, index, group])

    return {
        **_draw_pose(stream(0), face_set),
        **_draw_light(stream(1), face_set),
        **_draw_camera(stream(2), face_set),
        **_draw_background(stream(3), face_set),
        **_draw_wear(stream(4), face_set, person["has_glasses"]),
    }
