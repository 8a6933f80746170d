"""Parameters of a face -> what the shader must know of its scene: camera, lights, colours.

The camera and the lights move instead of the head, so that the mesh stays in its own axes, in which
its paint lies. Metres, axes as in `hmtl.faces.head`. All of it is ours unless a line says
otherwise.
"""

__all__ = [
    "COLOURS", "NUMBERS", "SCALARS", "VECTORS", "WHOLE", "kelvin_colour", "linear", "scenes_of",
]  # fmt: skip

import numpy as np
import pandas as pd

from hmtl.angles import pose_matrix
from hmtl.faces.faceset import BACKGROUNDS
from hmtl.faces.scenes import HATS
from hmtl.faces.wear import WEAR

COLOURS = ("skin", "iris", "hair", "brow", "lips", "lipstick", "eyeshadow", "frame", "hat", "mask",
           "back1", "back2", "back3", "clothes")  # fmt: skip
"""Colours that reach the shader as they are drawn, in linear light."""

SCALARS = ("pupil", "blush", "texture", "wrinkles", "spots", "freckles", "bags", "brow_thickness",
           "brow_density", "brow_lift", "brow_arch", "hairline", "curls", "beard", "moustache",
           "lipstick", "eyeshadow", "ambient")  # fmt: skip
"""Columns that reach the shader as they are."""

VECTORS = ("origin", "middle", "right", "up", "forward", "light", "light_colour", "fill",
           "fill_colour", "sky", "room_colour", "hand_x", "hand_y", "hand_z",
           "hand_at")  # fmt: skip
NUMBERS = ("light_radius", "hair_volume", "knit", "lift", "sneer", "back_angle", "back_scale",
           "blur", "motion_x", "motion_y", "noise")  # fmt: skip
WHOLE = ("worn", "background", "seed")
"""What else `scenes_of` makes of a face for the shader, by its kind."""

HAND_SPAN = 0.16  # metres from the hand's root to the tip of its middle finger
_BENEATH_HAT = 0.25  # of the hair's volume is left


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB to linear light: shading is only right in linear light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def kelvin_colour(kelvin: np.ndarray) -> np.ndarray:
    """Linear sRGB (N, 3) of black bodies of N temperatures, 1667..25000 K, luminance 1.

    Chromaticity by the cubic of Kim et al. (2002, US patent 7024034) for the Planckian locus.
    """
    t = 1e3 / np.asarray(kelvin, float)
    x = np.where(
        t > 0.25,  # below 4000 K
        ((-0.2661239 * t - 0.2343589) * t + 0.8776956) * t + 0.179910,
        ((-3.0258469 * t + 2.1070379) * t + 0.2226347) * t + 0.240390,
    )
    y = np.where(
        t > 0.25,
        np.where(
            t > 1 / 2.222,
            ((-1.1063814 * x - 1.34811020) * x + 2.18555832) * x - 0.20219683,
            ((-0.9549476 * x - 1.37418593) * x + 2.09137015) * x - 0.16748867,
        ),
        ((3.0817580 * x - 5.87338670) * x + 3.75112997) * x - 0.37001483,
    )
    xyz = np.stack([x / y, np.ones_like(x), (1 - x - y) / y], -1)
    to_rgb = np.array(
        [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    )
    return np.clip(np.einsum("ij,nj->ni", to_rgb, xyz), 0, None)


def _towards(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """Directions (N, 3) in the camera's axes, degrees."""
    a, e = np.radians(azimuth), np.radians(elevation)
    return np.stack([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], -1)


def _white_balanced(column: dict, name: str) -> np.ndarray:
    """Colour of a light (N, 3) as the camera records it: corrected part of the way to daylight."""
    daylight = 1e6 / 6500
    key = 1e6 / column["light_kelvin"]
    balance = daylight + column["white_balance"] * (key - daylight)
    neutral = kelvin_colour(np.full(1, 6500.0))
    gain = neutral / kelvin_colour(1e6 / balance)
    return kelvin_colour(column[f"{name}_kelvin"]) / neutral * gain


def _worn(column: dict) -> np.ndarray:
    """Which pieces of `WEAR` are there, a bit each, int (N,)."""
    hat = column["hat"]
    present = {
        "hair": (column["long_hair"] > 0) & True,
        "frame": (column["glasses"] > 0) | (column["sunglasses"] > 0),
        "lens": column["sunglasses"] > 0,
        "crown": hat != HATS[0],
        "visor": hat == "cap",
        "brim": hat == "brimmed",
        "mask": column["mask"] > 0,
        "hand": column["hand"] > 0,
    }
    assert tuple(present) == WEAR
    return sum(on.astype(int) << bit for bit, on in enumerate(present.values()))


def _hand(column: dict, middle: np.ndarray, span: np.ndarray) -> dict[str, np.ndarray]:
    """Axes and origin of the hand: finger tips at a place of the face, held before it."""
    tilt, lean = np.radians(column["hand_tilt"]), np.radians(column["hand_lean"])
    zero = np.zeros_like(tilt)
    up = np.stack([np.sin(tilt), np.cos(tilt), zero], -1)
    # the tips lean towards the face
    up = up * np.cos(lean)[:, None] - np.array([0, 0, 1]) * np.sin(lean)[:, None]
    up = up / np.linalg.norm(up, axis=-1, keepdims=True)
    aside = np.stack([np.cos(tilt), -np.sin(tilt), zero], -1) * column["hand_side"][:, None]
    out = np.cross(aside, up) * column["hand_side"][:, None]
    scale = span / 0.07  # small people have small hands
    # the face is a dome: to the side the hand lies deeper
    x, y = column["hand_x"], column["hand_y"]
    depth = 0.034 + column["hand_near"] - 5.0 * x**2 - 1.5 * np.clip(-y - 0.03, 0, None)
    tips = middle + np.stack([x, y, depth], -1) * scale[:, None]
    return {
        "hand_x": aside * scale[:, None],
        "hand_y": up * scale[:, None],
        "hand_z": out * scale[:, None],
        "hand_at": tips - up * (HAND_SPAN * scale)[:, None],
    }


def scenes_of(params: pd.DataFrame, rest: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Everything the shader needs of N faces in pictures of `size` pixels: name -> (N, ...).

    `rest` (N, 3, 3): left eye, right eye and mouth without expression. The crop follows the face
    at rest, so that it does not give the opening of a mouth away.
    """
    column = {name: params[name].to_numpy() for name in params}
    eyes, mouth = (rest[:, 0] + rest[:, 1]) / 2, rest[:, 2]
    span = np.linalg.norm(eyes - mouth, axis=1)
    middle = (eyes + mouth) / 2 + np.array([0, 0.004, 0.01]) * (span / 0.07)[:, None]
    pivot = middle - np.array([0, 0, 0.035])
    # camera to head
    turn = pose_matrix(column["yaw"], column["pitch"], column["roll"]).transpose(0, 2, 1)
    half, distance = 1.22 * span * column["crop_scale"], column["distance"]
    shift = np.stack([column["crop_x"] * 2 * half, column["crop_y"] * 2 * half, distance], -1)

    def to_head(direction):
        return np.einsum("nij,nj->ni", turn, direction)

    gain = (2.0 ** column["exposure"])[:, None]
    key = _white_balanced(column, "light") * column["light_power"][:, None] * 1.05 * gain
    fill = _white_balanced(column, "fill") * column["fill_power"][:, None] * gain
    motion = np.radians(column["motion_angle"])
    length = column["motion"] * size / 100
    scene = {
        "origin": to_head(shift) + pivot,
        "middle": pivot - np.array([0, 0, 0.02]),
        "right": turn[:, :, 0] * (half / distance)[:, None],
        "up": turn[:, :, 1] * (half / distance)[:, None],
        "forward": -turn[:, :, 2],
        "light": to_head(_towards(column["light_azimuth"], column["light_elevation"])),
        "light_colour": key,
        "light_radius": np.tan(np.radians(column["light_size"])),
        "fill": to_head(_towards(column["fill_azimuth"], column["fill_elevation"])),
        "fill_colour": fill,
        "sky": turn[:, :, 1],
        # what lies around is lit by the same lights
        "room_colour": (0.5 * key / np.maximum(column["light_power"], 0.1)[:, None] + 0.5 * gain),
        "hair_volume": column["hair_volume"]
        * np.where(column["hat"] == HATS[0], 1.0, _BENEATH_HAT),
        "worn": _worn(column),
        "background": np.array([BACKGROUNDS.index(b) for b in column["background"]], int),
        "back_angle": np.radians(column["background_angle"]),
        "back_scale": column["background_scale"],
        "knit": np.maximum(column["AU4_left"], column["AU4_right"]),
        "lift": column["AU1"],
        "sneer": np.maximum(column["AU9_left"], column["AU9_right"]),
        "seed": column["noise_seed"],
        # pixels; a camera's JPEG and noise are made at full size, so small pictures have less
        "blur": column["blur"] * size / 100,
        "motion_x": length * np.cos(motion),
        "motion_y": length * np.sin(motion),
        "noise": column["noise"] * min(1.0, size / 112),
        **_hand(column, middle, span),
        **{name: column[name] for name in SCALARS},
    }
    for name in COLOURS:
        scene[f"{name}_colour"] = linear(np.stack([column[f"{name}_{c}"] for c in "rgb"], -1))
    return scene
