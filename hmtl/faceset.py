"""What a face set is: how many people, what they show, and how widely everything may vary.

`FaceSet` is the one place where every nuisance has its range, and `NUISANCES` the one place where
each has its switch: `face_set.without("hands", "jpeg")` is the same set, person by person and face
by face, with those two off. Faces are not from the paper, which trains on photographs; this is
ours.
"""

__all__ = ["BACKGROUNDS", "NUISANCES", "FaceSet"]

import math
from dataclasses import dataclass, fields, replace

import numpy as np

from hmtl.labels import PROPORTIONS, SPLITS

BACKGROUNDS = ("plain", "gradient", "clouds", "stripes", "lights", "shelves")
MOST_PEOPLE = 1_000_000  # a split's people are numbered within their own million


@dataclass(frozen=True)
class FaceSet:
    """A set of rendered faces, completely.

    `(low, high)` is a uniform range. `(sd, limit)` is a normal spread around 0 that never passes
    the limit. A chance is a probability in 0..1, of a face unless it says of a person. Angles are
    degrees, ages years. ValueError naming the field where one makes no sense.
    """

    people: tuple[int, int, int]  # different people in train, valid and test
    per_person: int = 8  # faces of each person; a multiple of 8 shows every emotion equally often
    size: int = 48  # side of the square picture, pixels
    seed: int = 0

    # -- labels ---
    proportions: str = "equal"  # of the emotions in train, or "affectnet"; valid, test: equal
    label_noise: float = 0.0  # share of train's labels confused as annotators would
    compound: float = 0.0  # chance that a second emotion shows beside the label's

    # -- expression ---
    intensity: tuple[float, float] = (0.45, 1.0)  # of an expression; a neutral face has 0
    expressivity: tuple[float, float] = (0.8, 1.15)  # a person's factor on all units
    style: float = 0.12  # relative sd of a person's factor on each unit
    unit_noise: float = 0.12  # relative sd of each unit of the emotion, face by face
    asymmetry: float = 0.08  # relative sd between the left and the right side of a unit
    coactivation: tuple[float, float] = (0.1, 0.22)  # chance, ceiling of a unit of no emotion
    resting: float = 0.08  # ceiling of what a person's face shows at rest
    blink: float = 0.03  # chance of eyes caught half or fully closed
    gaze: float = 0.35  # ceiling of the eyes' turn away from the head's direction

    # -- people ---
    ages: tuple[float, float] = (18.0, 80.0)
    local_shape: tuple[float, float] = (0.3, 0.8)  # (sd, limit) of each local shape
    skin_texture: tuple[float, float] = (0.3, 1.0)  # mottling
    age_marks: float = 1.0  # factor on wrinkles, spots and freckles
    makeup: float = 0.35  # chance of a woman
    beards: float = 0.4  # chance of a man: stubble, moustache or beard
    long_hair: float = 0.7  # chance of a woman, a tenth of it of a man
    glasses: float = 0.25  # chance of a person, who wears them in most pictures

    # -- what hides the face ---
    sunglasses: float = 0.03  # chance
    hats: float = 0.1  # chance
    masks: float = 0.03  # chance
    hands: float = 0.08  # chance of a hand before the face

    # -- head pose ---
    yaw: tuple[float, float] = (18.0, 65.0)  # (sd, limit)
    pitch: tuple[float, float] = (9.0, 30.0)  # (sd, limit)
    roll: tuple[float, float] = (8.0, 30.0)  # (sd, limit)

    # -- light ---
    light_azimuth: tuple[float, float] = (-80.0, 80.0)  # positive: from the picture's right
    light_elevation: tuple[float, float] = (-10.0, 60.0)
    light_power: tuple[float, float] = (0.5, 1.1)
    light_size: tuple[float, float] = (1.0, 9.0)  # radius: how soft shadows are
    light_kelvin: tuple[float, float] = (2800.0, 9000.0)  # colour temperature
    fill_power: tuple[float, float] = (0.0, 0.5)  # a second light, from anywhere in front
    ambient: tuple[float, float] = (0.25, 0.55)
    white_balance: float = 0.75  # how far the camera corrects the light's colour, 1 fully

    # -- background ---
    backgrounds: tuple[str, ...] = BACKGROUNDS

    # -- camera ---
    focal: tuple[float, ...] = (24.0, 35.0, 50.0, 85.0)  # mm, on 35 mm film
    crop_shift: float = 0.03  # sd of the crop's place, in picture widths
    crop_scale: tuple[float, float] = (0.95, 1.25)  # of the crop's side
    exposure: float = 0.2  # sd, stops
    blur: tuple[float, float] = (0.2, 1.0)  # focus, sd in % of the picture's side
    motion: float = 0.15  # chance of a shake
    noise: tuple[float, float] = (0.0, 0.02)  # sd at mid-grey, share of white
    jpeg: tuple[float, float] = (35.0, 95.0)  # quality, on a picture of 112 pixels or more

    def __post_init__(self):
        people = tuple(self.people)
        if len(people) != len(SPLITS) or not all(
            isinstance(n, (int, np.integer)) and 0 <= n <= MOST_PEOPLE for n in people
        ):
            raise ValueError(
                f"people must be three counts (train, valid, test) of 0 to {MOST_PEOPLE}, "
                f"got {self.people!r}"
            )
        object.__setattr__(self, "people", tuple(int(n) for n in people))
        for name, low in (("per_person", 1), ("size", 8), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < low:
                raise ValueError(f"{name} must be an integer of at least {low}, got {value!r}")
        for field in fields(self):
            self._check(field.name, field.type)
        self._check_special()

    def _check(self, name: str, kind) -> None:
        """Numbers in 0..1, pairs in order, and (sd, limit) pairs that can be drawn."""
        value = getattr(self, name)
        if kind is float and not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in 0..1, got {value!r}")
        if kind != tuple[float, float]:
            return
        value = tuple(float(x) for x in value)
        if len(value) != 2 or not all(math.isfinite(x) for x in value):
            raise ValueError(f"{name} must be two numbers, got {value!r}")
        if name in ("yaw", "pitch", "roll", "local_shape"):
            if not 0 <= value[0] <= 2 * value[1]:
                raise ValueError(f"{name} must be (sd, limit), 0 <= sd <= 2 limit, got {value!r}")
        elif name != "coactivation" and value[0] > value[1]:
            raise ValueError(f"{name} must be (low, high) with low <= high, got {value!r}")
        if name[:6] != "light_" and min(value) < 0:
            raise ValueError(f"{name} must not be negative, got {value!r}")
        object.__setattr__(self, name, value)

    def _check_special(self) -> None:
        for name in ("coactivation", "intensity"):
            if max(getattr(self, name)) > 1:
                raise ValueError(f"{name} must be two numbers in 0..1, got {getattr(self, name)!r}")
        if self.crop_scale[0] <= 0:
            raise ValueError(f"crop_scale must be positive, got {self.crop_scale!r}")
        if not 18 <= self.ages[0] <= self.ages[1] <= 90:
            raise ValueError(f"ages must lie in 18..90, got {self.ages!r}")
        for name in ("yaw", "pitch", "roll"):
            if getattr(self, name)[1] >= 90:
                raise ValueError(f"{name}'s limit must stay below 90 degrees")
        if not 1500 <= self.light_kelvin[0] <= self.light_kelvin[1] <= 20000:
            raise ValueError(f"light_kelvin must lie in 1500..20000 K, got {self.light_kelvin!r}")
        if not 1 <= self.jpeg[0] <= self.jpeg[1] <= 100:
            raise ValueError(f"jpeg must be qualities in 1..100, got {self.jpeg!r}")
        if self.light_power[0] < 0 or not 0 <= self.light_size[0] <= self.light_size[1] <= 15:
            raise ValueError("light_power must not be negative, light_size lie in 0..15 degrees")
        focal = tuple(float(mm) for mm in self.focal)
        if not focal or not all(15 <= mm <= 400 for mm in focal):
            raise ValueError(f"focal must name lengths of 15 to 400 mm, got {self.focal!r}")
        object.__setattr__(self, "focal", focal)
        backgrounds = tuple(self.backgrounds)
        if not backgrounds or not set(backgrounds) <= set(BACKGROUNDS):
            raise ValueError(
                f"backgrounds must be some of {', '.join(BACKGROUNDS)}, got {self.backgrounds!r}"
            )
        object.__setattr__(self, "backgrounds", backgrounds)
        if self.proportions not in PROPORTIONS:
            raise ValueError(
                f"unknown proportions {self.proportions!r}; one of {', '.join(PROPORTIONS)}"
            )

    @property
    def n(self) -> int:
        """Number of faces, all splits together."""
        return sum(self.people) * self.per_person

    def without(self, *names: str) -> "FaceSet":
        """The same people and faces with some `NUISANCES` switched off, "all" for all of them.

        Every nuisance draws from a stream of its own, so nothing else changes. ValueError naming
        the nuisances if one is unknown.
        """
        chosen = tuple(NUISANCES) if "all" in names else names
        if unknown := set(chosen) - set(NUISANCES):
            raise ValueError(
                f"unknown nuisance {', '.join(sorted(unknown))}; one of {', '.join(NUISANCES)}"
            )
        off = {field: value for name in chosen for field, value in NUISANCES[name].items()}
        return replace(self, **off)


NUISANCES: dict[str, dict] = {
    "person's style": {"expressivity": (1.0, 1.0), "style": 0.0, "resting": 0.0},
    "face to face": {"unit_noise": 0.0, "asymmetry": 0.0},
    "other units": {"coactivation": (0.0, 0.0)},
    "blinks": {"blink": 0.0},
    "gaze": {"gaze": 0.0},
    "skin texture": {"skin_texture": (0.0, 0.0)},
    "age marks": {"age_marks": 0.0},
    "makeup": {"makeup": 0.0},
    "beards": {"beards": 0.0},
    "long hair": {"long_hair": 0.0},
    "glasses": {"glasses": 0.0},
    "sunglasses": {"sunglasses": 0.0},
    "hats": {"hats": 0.0},
    "masks": {"masks": 0.0},
    "hands": {"hands": 0.0},
    "pose": {"yaw": (0.0, 65.0), "pitch": (0.0, 30.0), "roll": (0.0, 30.0)},
    "light direction": {"light_azimuth": (-25.0, -25.0), "light_elevation": (35.0, 35.0)},
    "light power": {
        "light_power": (0.8, 0.8), "fill_power": (0.2, 0.2), "ambient": (0.35, 0.35),
        "exposure": 0.0,
    },
    "soft shadows": {"light_size": (0.0, 0.0)},
    "light colour": {"light_kelvin": (6500.0, 6500.0)},
    "background": {"backgrounds": ("plain",)},
    "perspective": {"focal": (50.0,)},
    "crop": {"crop_shift": 0.0, "crop_scale": (1.05, 1.05)},
    "blur": {"blur": (0.2, 0.2), "motion": 0.0},
    "noise": {"noise": (0.0, 0.0)},
    "jpeg": {"jpeg": (100.0, 100.0)},
}  # fmt: skip
"""Nuisance -> the fields of `FaceSet` that switch it off: what varies a picture but is no emotion.

Identity (shape, skin, age) has no switch; one person is `people=(1, 0, 0)`.
"""
