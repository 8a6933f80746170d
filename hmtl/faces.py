"""Who is in the picture: the parameters of every rendered face, drawn before any picture exists.

A face set is a table. Each row holds everything the renderer needs, and the labels (emotion,
intensity, head pose, gender, age) are columns of the same row, so a label cannot be wrong: it *is*
the parameter that shaped the picture. Expressions are written in facial action units and turned
into the blendshapes of the parametric head by one dictionary. Nothing here makes pictures, and
nothing heavier than pandas is imported.

Faces are not from the paper, which trains on photographs; this set is ours.

Head pose follows 300W-LP and AFLW2000-3D: positive **yaw** turns the nose towards the left edge of
the picture (the person looks to their own right), positive **pitch** lifts the nose, positive
**roll** turns the picture clockwise (the person's left eye goes down). "Left" in a column or
blendshape name is always the person's left.
"""

__all__ = [
    "ACTION_UNITS",
    "ACTION_UNIT_COLUMNS",
    "DRAW_VERSION",
    "EMOTION_UNITS",
    "LABEL_COLUMNS",
    "LOCAL_SHAPES",
    "FaceSet",
    "blendshape_weights",
    "draw_faces",
    "fingerprint",
]

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd

from hmtl.labels import EMOTIONS, GENDERS, SPLITS

DRAW_VERSION = 1  # raise it whenever the same FaceSet would give another table


def _sides(**weights: float) -> dict[str, float]:
    """The same weights for the left and the right blendshape of each name."""
    return {name + side: w for name, w in weights.items() for side in ("Left", "Right")}


ACTION_UNITS: dict[str, dict[str, float]] = {
    "AU1": {"browInnerUp": 1.5},  # inner brow raiser
    "AU2": _sides(browOuterUp=1.5),  # outer brow raiser
    "AU4": _sides(browDown=1.3),  # brow lowerer
    "AU5": _sides(eyeWide=1.0),  # upper lid raiser
    "AU6": _sides(cheekSquint=1.0, eyeSquint=0.3),  # cheek raiser
    "AU7": _sides(eyeSquint=1.0),  # lid tightener
    "AU9": _sides(noseSneer=1.3),  # nose wrinkler
    "AU10": _sides(mouthUpperUp=1.0),  # upper lip raiser
    "AU12": _sides(mouthSmile=1.2),  # lip corner puller
    "AU14": _sides(mouthDimple=1.0),  # dimpler
    "AU15": _sides(mouthFrown=1.3),  # lip corner depressor
    "AU16": _sides(mouthLowerDown=1.0),  # lower lip depressor
    "AU17": {"mouthShrugLower": 1.0, "mouthShrugUpper": 0.4},  # chin raiser
    "AU18": {"mouthPucker": 1.0},  # lip pucker
    "AU20": _sides(mouthStretch=1.0),  # lip stretcher
    "AU23": {"mouthRollLower": 0.7, "mouthRollUpper": 0.7},  # lip tightener
    "AU24": _sides(mouthPress=1.0),  # lip pressor
    "AU25": _sides(mouthLowerDown=0.55, mouthUpperUp=0.5),  # lips part
    "AU26": {"jawOpen": 0.6},  # jaw drop
    "AU27": {"jawOpen": 1.0},  # mouth stretch
    "AU29": {"jawForward": 1.0},  # jaw thrust
    "AU34": {"cheekPuff": 1.0},  # cheek puff
    "AU45": _sides(eyeBlink=1.0),  # blink
    "AU61": {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0},  # eyes turn to the person's left
    "AU62": {"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0},  # eyes turn to the person's right
    "AU63": _sides(eyeLookUp=1.0),  # eyes up
    "AU64": _sides(eyeLookDown=1.0),  # eyes down
}
"""FACS action unit -> weights of the ARKit blendshapes that show it, under anny's names.

The meaning of each unit stands beside it. Names and meanings: Ekman & Friesen, *Facial Action
Coding System* (1978; Ekman, Friesen & Hager, 2002). The choice of blendshapes and weights is ours;
some weights exceed 1, because the head's own movements are slight and a face may be 48 pixels.
"""

_GAZE = ("AU61", "AU62", "AU63", "AU64")  # both eyes move together: never one side alone


def _split_sides() -> dict[str, dict[str, float]]:
    """One entry a column: units made of sided blendshapes get a left and a right column."""
    columns = {}
    for unit, weights in ACTION_UNITS.items():
        if unit in _GAZE or not all(name.endswith(("Left", "Right")) for name in weights):
            columns[unit] = dict(weights)
            continue
        for side in ("Left", "Right"):
            part = {name: w for name, w in weights.items() if name.endswith(side)}
            columns[f"{unit}_{side.lower()}"] = part
    return columns


ACTION_UNIT_COLUMNS: dict[str, dict[str, float]] = _split_sides()
"""Column of the face table -> blendshape weights at full activation; sided units have two."""

EMOTION_UNITS: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": {"AU6": 0.8, "AU12": 1.0, "AU25": 1.0, "AU26": 0.15},
    "sad": {"AU1": 1.0, "AU4": 0.35, "AU15": 1.0, "AU17": 0.6},
    "surprise": {"AU1": 1.0, "AU2": 1.0, "AU5": 0.8, "AU26": 1.0},
    "fear": {
        "AU1": 1.0,
        "AU2": 0.4,
        "AU4": 0.35,
        "AU5": 1.0,
        "AU20": 1.0,
        "AU25": 0.5,
        "AU26": 0.45,
    },
    "disgust": {"AU9": 1.0, "AU10": 0.8, "AU4": 0.4, "AU15": 0.5, "AU17": 0.4},
    "anger": {"AU4": 1.0, "AU5": 0.4, "AU7": 0.6, "AU23": 1.0, "AU17": 0.5, "AU24": 0.2},
    "contempt": {"AU12": 0.8, "AU14": 1.0},
}
"""Emotion -> activation (0..1) of its action units at full intensity.

The units are those of EMFACS (Friesen & Ekman, *EMFACS-7: Emotional Facial Action Coding System*,
1983; tables in the FACS Investigator's Guide, 2002): happy 6+12, sad 1+4+15, surprise 1+2+5+26,
fear 1+2+4+5+20+26, disgust 9+15+17 with 10, anger 4+5+7+23 with 24, contempt 12+14 on **one** side
(here the side is drawn at random). The weights are ours.
"""

_PAIRED = (
    "cheek-volume-incr",
    "cheek-bones-incr",
    "cheek-inner-incr",
    "cheek-trans-up",
    "ear-scale-incr",
    "ear-wing-incr",
    "eye-scale-incr",
    "eye-height2-incr",
    "eye-push1-out",
    "eye-corner1-up",
    "eye-corner2-up",
    "eye-eyefold-angle-up",
    "eye-bag-incr",
    "eye-trans-out",
    "eye-trans-up",
)
_SINGLE = (
    "chin-height-incr",
    "chin-prominent-incr",
    "chin-bones-incr",
    "chin-width-incr",
    "chin-cleft-incr",
    "chin-prognathism-incr",
    "eyebrows-angle-up",
    "eyebrows-trans-up",
    "eyebrows-trans-forward",
    "forehead-temple-incr",
    "forehead-trans-forward",
    "forehead-scale-vert-incr",
    "head-angle-out",
    "head-fat-incr",
    "head-scale-depth-incr",
    "head-scale-horiz-incr",
    "head-scale-vert-incr",
    "head-age-incr",
    "mouth-angles-up",
    "mouth-cupidsbow-incr",
    "mouth-laugh-lines-out",
    "mouth-lowerlip-height-incr",
    "mouth-lowerlip-volume-incr",
    "mouth-scale-horiz-incr",
    "mouth-trans-up",
    "mouth-trans-forward",
    "mouth-upperlip-height-incr",
    "mouth-upperlip-volume-incr",
    "mouth-philtrum-volume-incr",
    "neck-double-incr",
    "neck-scale-horiz-incr",
    "nose-base-up",
    "nose-curve-convex",
    "nose-flaring-incr",
    "nose-greek-incr",
    "nose-hump-incr",
    "nose-nostrils-width-incr",
    "nose-point-up",
    "nose-point-width-incr",
    "nose-scale-depth-incr",
    "nose-scale-horiz-incr",
    "nose-scale-vert-incr",
    "nose-trans-up",
    "nose-volume-incr",
    "nose-width1-incr",
    "nose-width2-incr",
)
# Shapes that look like an expression (mouth corners, brow angle, lid height) vary less, so that
# identity blurs the emotion without overruling it.
_EXPRESSIVE = ("mouth-angles-up", "eyebrows-angle-up", "eyebrows-trans-up", "eye-height2-incr")

# The head's eyes are small beside a photographed person's.
_MEANS = {"eye-scale-incr": 0.3, "eye-height2-incr": 0.3}

LOCAL_SHAPES: tuple[str, ...] = tuple(
    [side + name for name in _PAIRED for side in ("l-", "r-")] + list(_SINGLE)
)
"""anny's local changes that vary between people, each a column `shape_<name>` in -1..1."""

# Nine skin tones from very light to very dark, sRGB; a person mixes two neighbours.
_SKIN = np.array(
    [
        [0.92, 0.79, 0.71],
        [0.91, 0.75, 0.65],
        [0.89, 0.72, 0.59],
        [0.82, 0.64, 0.50],
        [0.73, 0.54, 0.40],
        [0.62, 0.44, 0.32],
        [0.50, 0.34, 0.25],
        [0.39, 0.26, 0.19],
        [0.29, 0.19, 0.14],
    ]
)
_IRIS = np.array(
    [
        [0.17, 0.10, 0.06],
        [0.30, 0.19, 0.10],
        [0.40, 0.31, 0.16],
        [0.32, 0.41, 0.30],
        [0.35, 0.46, 0.58],
        [0.45, 0.50, 0.54],
    ]
)
_HAIR = np.array([[0.07, 0.06, 0.06], [0.20, 0.13, 0.09], [0.38, 0.25, 0.15], [0.72, 0.56, 0.36]])
_GREY = np.array([0.66, 0.62, 0.58])

_PERSON, _FACE = 0, 1  # random streams
_MOST_PEOPLE = 1_000_000  # a split's people are numbered within their own million


@dataclass(frozen=True)
class FaceSet:
    """What is drawn: how many people and faces, and how widely everything may vary.

    Ranges are (low, high), uniform; `(sd, limit)` pairs are normal with mean 0, redrawn beyond the
    limit. Angles are degrees, ages years. ValueError where a field makes no sense.
    """

    people: tuple[int, int, int]  # different people in train, valid and test
    per_person: int = 8  # faces of each person; a multiple of 8 shows every emotion equally often
    size: int = 48  # side of the square picture, pixels
    seed: int = 0
    intensity: tuple[float, float] = (0.4, 1.0)  # of an expression; a neutral face has 0
    expressivity: tuple[float, float] = (0.8, 1.1)  # one factor a person, on every unit
    unit_noise: float = 0.15  # relative sd of each unit of the emotion
    asymmetry: float = 0.1  # relative sd between the left and the right side of a unit
    coactivation: tuple[float, float] = (0.15, 0.3)  # chance and ceiling of a unit of no emotion
    resting: float = 0.12  # ceiling of what a person's face shows at rest
    yaw: tuple[float, float] = (16.0, 45.0)  # (sd, limit)
    pitch: tuple[float, float] = (8.0, 25.0)  # (sd, limit)
    roll: tuple[float, float] = (7.0, 25.0)  # (sd, limit)
    gaze: float = 0.35  # ceiling of the eyes' turn away from the head's direction
    ages: tuple[float, float] = (18.0, 75.0)
    local_shape: tuple[float, float] = (0.3, 0.8)  # (sd, limit) of each local shape
    crop_shift: float = 0.03  # sd of the crop's place, in picture widths
    crop_scale: tuple[float, float] = (0.93, 1.1)  # of the crop's side
    distance: tuple[float, float] = (0.5, 2.5)  # of the camera, metres
    light_azimuth: tuple[float, float] = (-75.0, 75.0)  # positive: from the right of the picture
    light_elevation: tuple[float, float] = (-5.0, 60.0)
    light_power: tuple[float, float] = (0.55, 1.1)
    ambient: tuple[float, float] = (0.2, 0.5)

    def __post_init__(self):
        people = tuple(self.people)
        if len(people) != len(SPLITS) or not all(
            isinstance(n, (int, np.integer)) and 0 <= n <= _MOST_PEOPLE for n in people
        ):
            raise ValueError(
                f"people must be three counts (train, valid, test) of 0 to {_MOST_PEOPLE}, "
                f"got {self.people!r}"
            )
        object.__setattr__(self, "people", tuple(int(n) for n in people))
        for name, low in (("per_person", 1), ("size", 8), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < low:
                raise ValueError(f"{name} must be an integer of at least {low}, got {value!r}")
        for name in ("unit_noise", "asymmetry", "resting", "gaze", "crop_shift"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {value!r}")
        for name in ("yaw", "pitch", "roll", "local_shape"):
            self._check_pair(name, "(sd, limit)")
        for name in ("coactivation", "intensity"):
            low, high = self._check_pair(name, "two numbers in 0..1", ordered=name == "intensity")
            if not 0 <= low <= 1 or not 0 <= high <= 1:
                raise ValueError(f"{name} must be two numbers in 0..1, got {getattr(self, name)!r}")
        for name in ("expressivity", "ages", "crop_scale", "distance", "light_power", "ambient"):
            if self._check_pair(name, "(low, high)")[0] < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)!r}")
        for name in ("light_azimuth", "light_elevation"):
            self._check_pair(name, "(low, high)")
        if self.crop_scale[0] <= 0 or self.distance[0] < 0.3:
            raise ValueError("crop_scale must be positive and distance at least 0.3 m")
        if not 18 <= self.ages[0] <= self.ages[1] <= 90:
            raise ValueError(f"ages must lie in 18..90, got {self.ages!r}")
        if max(self.yaw[1], self.pitch[1], self.roll[1]) >= 90:
            raise ValueError("yaw, pitch and roll limits must stay below 90 degrees")

    def _check_pair(self, name: str, what: str, ordered: bool = True) -> tuple[float, float]:
        value = tuple(getattr(self, name))
        if len(value) != 2 or not all(math.isfinite(x) for x in value):
            raise ValueError(f"{name} must be {what}, got {value!r}")
        if what == "(sd, limit)" and not 0 <= value[0] <= 2 * value[1]:
            # a limit far inside the sd would make redrawing endless
            raise ValueError(f"{name} must be (sd, limit) with 0 <= sd <= 2 limit, got {value!r}")
        if ordered and what != "(sd, limit)" and value[0] > value[1]:
            raise ValueError(f"{name} must be {what} with low <= high, got {value!r}")
        object.__setattr__(self, name, tuple(float(x) for x in value))
        return value

    @property
    def n(self) -> int:
        """Number of faces, all splits together."""
        return sum(self.people) * self.per_person


def _normal(rng: np.random.Generator, sd_limit: tuple[float, float]) -> float:
    """A normal draw, redrawn beyond the limit: clipping would pile faces up at the limit."""
    sd, limit = sd_limit
    while abs(value := rng.normal(0.0, sd)) > limit:
        pass
    return float(value)


def _mix(palette: np.ndarray, place: float) -> np.ndarray:
    """Colour at `place` (0..1) of a palette (K, 3), linearly between neighbours."""
    at = place * (len(palette) - 1)
    low = min(int(at), len(palette) - 2)
    return palette[low] + (at - low) * (palette[low + 1] - palette[low])


def _colour(name: str, value: np.ndarray) -> dict[str, float]:
    """Three columns of an sRGB colour in 0..1."""
    return {f"{name}_{c}": float(v) for c, v in zip("rgb", np.clip(value, 0, 1), strict=True)}


def _draw_look(rng: np.random.Generator, gender: str, age: float) -> dict[str, float]:
    """Colours and hair of one person. Skin tone is drawn first; eyes and hair go with it."""
    tone = rng.random()  # 0 lightest, 1 darkest
    skin = _mix(_SKIN, tone) * (1 + rng.normal(0, 0.02, 3))
    dark = min(1.0, tone * 1.6)  # light eyes and fair hair belong to light skin
    iris = _mix(_IRIS, rng.random() * (1 - dark)) * rng.uniform(0.8, 1.2)
    hair = _mix(_HAIR, rng.random() ** 1.5 * (1 - dark))
    grey = np.clip((age - 35) / 40 + rng.normal(0, 0.2), 0, 0.95)
    lips = skin * np.array([0.92, 0.66, 0.66]) * rng.uniform(0.9, 1.05)
    if gender == "female" and rng.random() < 0.35:  # lipstick
        lips = lips * 0.4 + 0.6 * np.array([rng.uniform(0.5, 0.8), 0.12, rng.uniform(0.15, 0.3)])
    male = gender == "male"
    bald = male and rng.random() < 0.1 + 0.4 * np.clip((age - 30) / 45, 0, 1)
    return {
        "skin_tone": float(tone),
        **_colour("skin", skin),
        **_colour("iris", iris),
        **_colour("hair", hair + grey * (_GREY - hair)),
        **_colour("brow", hair * 0.75 + 0.3 * grey * (_GREY - hair)),
        **_colour("lips", lips),
        "blush": float(rng.uniform(0.0, 0.5)),
        "texture": float(rng.uniform(0.3, 1.0)),
        "wrinkles": float(np.clip((age - 25) / 50 + rng.normal(0, 0.1), 0, 1)),
        "brow_thickness": float(rng.uniform(0.9, 1.6) if male else rng.uniform(0.6, 1.2)),
        "brow_density": float(rng.uniform(0.55, 0.95)),
        "brow_lift": float(rng.normal(0, 0.001)),  # metres
        "hairline": float(0.06 if bald else rng.normal(-0.008, 0.007)),  # metres up the scalp
        "hair_volume": float(rng.uniform(0.0, 0.012) if male else rng.uniform(0.006, 0.022)),
        "beard": float(rng.uniform(0.3, 0.95) if male and rng.random() < 0.4 else 0.0),
    }


def _draw_person(face_set: FaceSet, split: int, index: int) -> dict[str, float | int | str]:
    """Everything that stays the same over one person's faces."""
    rng = np.random.default_rng([face_set.seed, _PERSON, split, index])
    gender_shape = float(rng.uniform(0.0, 0.35) if rng.random() < 0.5 else rng.uniform(0.65, 1.0))
    gender = GENDERS[0] if gender_shape > 0.5 else GENDERS[1]
    age = float(rng.uniform(*face_set.ages))
    race = rng.dirichlet([0.6, 0.6, 0.6])
    row = {
        "person": split * _MOST_PEOPLE + index,
        "gender": gender,
        "age": age,
        "gender_shape": gender_shape,
        "muscle": float(rng.uniform(0.2, 0.8)),
        "weight": float(rng.beta(2.5, 2.5)),
        **dict(zip(("african", "asian", "caucasian"), race.tolist(), strict=True)),
        "expressivity": float(rng.uniform(*face_set.expressivity)),
        **_draw_look(rng, gender, age),
    }
    sd, limit = face_set.local_shape
    for name in _PAIRED:  # the two sides differ a little, as in every face
        both = _normal(rng, (sd, limit)) + _MEANS.get(name, 0.0)
        for side in ("l-", "r-"):
            value = both + rng.normal(0, 0.15 * sd)
            row[f"shape_{side}{name}"] = float(np.clip(value, -limit, limit))
    for name in _SINGLE:
        factor = 0.5 if name in _EXPRESSIVE else 1.0
        row[f"shape_{name}"] = factor * _normal(rng, (sd, limit))
    # the face at rest: a few units a little on, in all this person's pictures
    rest = rng.uniform(0, face_set.resting, len(ACTION_UNIT_COLUMNS))
    on = rng.random(len(ACTION_UNIT_COLUMNS)) < 0.25
    row["_rest"] = rest * on
    return row


def _base(column: str) -> str:
    """The action unit of a column: AU12 of AU12_left."""
    return column.partition("_")[0]


def _draw_units(
    rng: np.random.Generator, face_set: FaceSet, emotion: str, intensity: float, person: dict
) -> dict[str, float]:
    """Activation of every action unit column of one face, each in 0..1."""
    weights = EMOTION_UNITS[emotion]
    side = ("left", "right")[int(rng.random() < 0.5)]  # always drawn: the stream must not shift
    chance, ceiling = face_set.coactivation
    gain = intensity * person["expressivity"]
    unit_noise = {unit: 1 + face_set.unit_noise * rng.normal() for unit in ACTION_UNITS}
    extra = {unit: ceiling * rng.random() * (rng.random() < chance) for unit in ACTION_UNITS}
    row = {}
    for i, column in enumerate(ACTION_UNIT_COLUMNS):
        unit = _base(column)
        skew = 1 + face_set.asymmetry * rng.normal()
        if unit in _GAZE:
            continue
        value = weights.get(unit, 0.0) * gain * unit_noise[unit] * skew
        if emotion == "contempt" and column.endswith(("_left", "_right")):
            value *= column.endswith(side)
        if unit not in weights:
            value += extra[unit] * (0.4 if unit in ("AU27", "AU45", "AU18", "AU34") else 1.0)
        row[column] = float(np.clip(value + person["_rest"][i], 0.0, 1.0))
    across, up = rng.uniform(-face_set.gaze, face_set.gaze, 2)
    row |= {"AU61": max(across, 0.0), "AU62": max(-across, 0.0)}
    row |= {"AU63": max(up, 0.0), "AU64": max(-up, 0.0)}
    return row


def _draw_scene(rng: np.random.Generator, face_set: FaceSet) -> dict[str, float]:
    """Head pose, camera, light and background of one face: none of it knows the emotion."""
    warm = rng.normal(0, 0.08)
    tint = rng.normal(0, 0.03)
    light = np.array([0.9 + warm, 0.9 + tint, 0.9 - warm])
    return {
        "yaw": _normal(rng, face_set.yaw),
        "pitch": _normal(rng, face_set.pitch),
        "roll": _normal(rng, face_set.roll),
        "light_azimuth": float(rng.uniform(*face_set.light_azimuth)),
        "light_elevation": float(rng.uniform(*face_set.light_elevation)),
        "light_power": float(rng.uniform(*face_set.light_power)),
        "ambient": float(rng.uniform(*face_set.ambient)),
        **_colour("light", light),
        "distance": float(rng.uniform(*face_set.distance)),
        "crop_scale": float(rng.uniform(*face_set.crop_scale)),
        "crop_x": float(face_set.crop_shift * rng.normal()),
        "crop_y": float(face_set.crop_shift * rng.normal()),
        **_colour("top", 0.5 * rng.random() + 0.5 * rng.random(3)),
        **_colour("bottom", 0.5 * rng.random() + 0.5 * rng.random(3)),
        "noise_seed": int(rng.integers(0, 2**31 - 1)),
    }


def _draw_face(face_set: FaceSet, split: int, index: int, person: dict) -> dict:
    rng = np.random.default_rng([face_set.seed, _FACE, split, index])
    emotion = EMOTIONS[index % len(EMOTIONS)]
    intensity = float(rng.uniform(*face_set.intensity))
    scene = _draw_scene(rng, face_set)  # before the units: its draws are the same for any emotion
    if emotion == "neutral":
        intensity = 0.0
    units = _draw_units(rng, face_set, emotion, intensity, person)
    look = {name: value for name, value in person.items() if name != "_rest"}
    head = {
        "key": f"face-{SPLITS[split]}-{index:06d}",
        "split": SPLITS[split],
        "person": look["person"],
        "emotion": emotion,
        "intensity": intensity,
    }
    return head | scene | units | look


def draw_faces(face_set: FaceSet, start: int = 0, stop: int | None = None) -> pd.DataFrame:
    """Draw the table of a face set: one row a face, `face_set.n` rows, train, valid, test in order.

    `start` and `stop` draw only those rows, as they are in the whole table: a set need never lie in
    memory at once.

    Every person and every face has a random generator of its own, seeded by (seed, stream, split,
    number within the split): more people, or other splits, change no face that was there before.
    Face `i` of a split belongs to its person `i // per_person` and shows emotion `i % 8`, so the
    counts of two emotions in a split never differ by more than one.

    Columns: the labels (`LABEL_COLUMNS`), `ACTION_UNIT_COLUMNS` (0..1), the phenotype
    (`gender_shape` 0 male .. 1 female, `muscle`, `weight`, `african`, `asian`, `caucasian`; 0..1),
    `shape_*` (-1..1), the look of the person, the camera and the background; colours are sRGB in
    0..1 as `<name>_r`, `_g`, `_b`. `person` is unique over splits. Ours.
    """
    stop = face_set.n if stop is None else min(stop, face_set.n)
    rows, person = [], None
    ends = np.cumsum([0, *(people * face_set.per_person for people in face_set.people)])
    for row in range(start, stop):
        split = int(np.searchsorted(ends, row, side="right")) - 1
        index = row - int(ends[split])
        who = (split, index // face_set.per_person)
        if person is None or person[0] != who:
            person = (who, _draw_person(face_set, *who))
        rows.append(_draw_face(face_set, split, index, person[1]))
    return pd.DataFrame(rows, columns=None if rows else list(LABEL_COLUMNS))


def blendshape_weights(params: pd.DataFrame) -> pd.DataFrame:
    """Weights (N, B) in 0..1.5 of the ARKit blendshapes of each row's action units.

    Units that drive the same blendshape add up, to at most 1.5. KeyError if a unit's column lacks.
    """
    names = sorted({name for weights in ACTION_UNITS.values() for name in weights})
    place = {name: i for i, name in enumerate(names)}
    units = params[list(ACTION_UNIT_COLUMNS)].to_numpy(np.float64)
    total = np.zeros((len(params), len(names)))
    for column, weights in enumerate(ACTION_UNIT_COLUMNS.values()):
        for name, weight in weights.items():
            total[:, place[name]] += weight * units[:, column]
    return pd.DataFrame(np.minimum(total, 1.5), columns=names, index=params.index)


LABEL_COLUMNS: tuple[str, ...] = (
    "key",
    "split",
    "person",
    "emotion",
    "intensity",
    "yaw",
    "pitch",
    "roll",
    "gender",
    "age",
    "skin_tone",
    "expressivity",
    "light_azimuth",
    "light_elevation",
    "light_power",
    "ambient",
    "distance",
    "crop_scale",
    "hairline",
    "beard",
)
"""Columns worth keeping beside the pictures: labels, and what results may be sliced by."""


def fingerprint(face_set: FaceSet) -> str:
    """Sixteen hexadecimal digits over every field and `DRAW_VERSION`: the table's identity."""
    content = {"draw": DRAW_VERSION} | asdict(face_set)
    assert set(content) == {"draw"} | {f.name for f in fields(face_set)}
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
