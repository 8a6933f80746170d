"""What a face set is: how many people, what they show, and how widely everything may vary.

`FaceSet` is the one place where every nuisance has its range, and `NUISANCES` the one place where
each has its switch: `face_set.without("hands", "jpeg")` is the same set, person by person and face
by face, with those two off. Faces are not from the paper, which trains on photographs; this is
ours.
"""

__all__ = ["BACKGROUNDS", "NUISANCES", "FaceSet"]

import math
from dataclasses import dataclass, fields, replace
from typing import get_args

import numpy as np

from hmtl.files import as_kind
from hmtl.labels import PROPORTIONS, check_known, hint

BACKGROUNDS = ("plain", "gradient", "clouds", "stripes", "lights", "shelves")
MOST_PEOPLE = 1_000_000  # a split's people are numbered within their own million


_SPREADS = ("yaw", "pitch", "roll", "local_shape")  # pairs (sd, limit)
_UNORDERED = (*_SPREADS, "coactivation")
_CHANCE, _ANGLE = (0.0, 1.0), (-180.0, 180.0)
_BOUNDS = {
    "people": (0, MOST_PEOPLE), "per_person": (1, math.inf), "size": (8, math.inf),
    "seed": (0, math.inf), "label_noise": _CHANCE, "compound": _CHANCE, "intensity": _CHANCE,
    "expressivity": (0, 3), "style": _CHANCE, "unit_noise": _CHANCE, "asymmetry": _CHANCE,
    "coactivation": _CHANCE, "resting": _CHANCE, "blink": _CHANCE, "gaze": _CHANCE,
    "ages": (18, 90), "local_shape": _CHANCE, "skin_texture": (0, 2), "age_marks": _CHANCE,
    "makeup": _CHANCE, "beards": _CHANCE, "long_hair": _CHANCE, "glasses": _CHANCE,
    "sunglasses": _CHANCE, "hats": _CHANCE, "masks": _CHANCE, "hands": _CHANCE, "yaw": (0, 89),
    "pitch": (0, 89), "roll": (0, 89), "light_azimuth": _ANGLE, "light_elevation": (-90, 90),
    "light_power": (0, 5), "light_size": (0, 15), "light_kelvin": (2000, 20000),
    "fill_power": (0, 5), "fill_azimuth": _ANGLE, "fill_elevation": (-90, 90), "ambient": (0, 2),
    "white_balance": _CHANCE, "focal": (15, 400), "head_share": (0.1, 1), "crop_shift": _CHANCE,
    "crop_scale": (0.2, 4), "exposure": (0, 3), "blur": (0, 10), "motion": _CHANCE,
    "noise": (0, 0.5), "jpeg": (1, 100),
}  # fmt: skip
"""What every field's numbers must lie in."""


@dataclass(frozen=True)
class FaceSet:
    """A set of rendered faces, completely.

    A range `(low, high)` is uniform. `(sd, limit)` is a normal spread around 0 that never passes
    the limit. A chance is a probability in 0..1, of a face unless it says of a person; what has no
    range below lies in 0..1. `NUISANCES` has the switches.

    Args:
        people: Different people in train, valid and test, up to 1,000,000 each.
        per_person: Faces of each person, 1 or more; a multiple of 8 shows every emotion equally
            often.
        size: Side of the square picture in pixels, 8 or more.
        seed: Of all draws, 0 or more.
        proportions: Of the emotions in train: "equal", or "affectnet". They are equal in valid and
            test.
        label_noise: Share of train's labels confused as annotators would.
        compound: Chance that a second emotion shows beside the label's.
        intensity: Range of an expression's strength, 0..1; a neutral face has 0.
        expressivity: Range of a person's factor on all action units, 0..3.
        style: Relative sd of a person's factor on each unit.
        unit_noise: Relative sd of each unit of the emotion, face by face.
        asymmetry: Relative sd between the left and the right side of a unit.
        coactivation: (chance, ceiling) of a unit that is of no emotion.
        resting: Ceiling of what a person's face shows at rest.
        blink: Chance of eyes caught half or fully closed.
        gaze: Ceiling of the eyes' turn away from the head's direction.
        ages: Range in years, 18..90.
        local_shape: (sd, limit) of each local shape.
        skin_texture: Range of the mottling, 0..2.
        age_marks: Factor on wrinkles, spots and freckles, 0..1.
        makeup: Chance of a woman.
        beards: Chance of a man: stubble, moustache or beard.
        long_hair: Chance of a woman; of a man a tenth of it.
        glasses: Chance of a person, who wears them in most pictures.
        sunglasses: Chance.
        hats: Chance.
        masks: Chance.
        hands: Chance of a hand before the face.
        yaw: (sd, limit) in degrees, up to 89; positive turns the nose towards the left edge.
        pitch: (sd, limit) in degrees, up to 89; positive lifts the nose.
        roll: (sd, limit) in degrees, up to 89; positive turns the picture clockwise.
        light_azimuth: Range in degrees, -180..180; positive: from the picture's right.
        light_elevation: Range in degrees, -90..90.
        light_power: Range, 0..5.
        light_size: Range of the radius in degrees, 0..15: how soft shadows are.
        light_kelvin: Range of the colour temperature, 2,000..20,000 K.
        fill_power: Range of a second light, 0..5.
        fill_azimuth: As that of the light.
        fill_elevation: As that of the light.
        ambient: Range of the light from all around, 0..2.
        white_balance: How far the camera corrects the light's colour; 1 is fully.
        backgrounds: Some of `BACKGROUNDS`.
        focal: Focal lengths in mm on 35 mm film, 15..400.
        head_share: Range of the head's share of the frame before the crop, 0.1..1: how near one is.
        crop_shift: Sd of the crop's place, in picture widths.
        crop_scale: Range of the crop's side, 0.2..4.
        exposure: Sd in stops, 0..3.
        blur: Range of the focus: sd in % of the picture's side, 0..10.
        motion: Chance of a shake.
        noise: Range of the sd at mid-grey, as a share of white, 0..0.5.
        jpeg: Range of the quality, 1..100, on a picture of 112 pixels or more.

    Raises:
        ValueError: A field of another type or out of its range; it names the field.

    Example:
        >>> FaceSet((300, 50, 125)).n
        3800
    """

    people: tuple[int, int, int]
    per_person: int = 8
    size: int = 48
    seed: int = 0

    # -- labels ---
    proportions: str = "equal"
    label_noise: float = 0.0
    compound: float = 0.0

    # -- expression ---
    intensity: tuple[float, float] = (0.45, 1.0)
    expressivity: tuple[float, float] = (0.8, 1.15)
    style: float = 0.12
    unit_noise: float = 0.12
    asymmetry: float = 0.08
    coactivation: tuple[float, float] = (0.1, 0.22)
    resting: float = 0.08
    blink: float = 0.03
    gaze: float = 0.35

    # -- people ---
    ages: tuple[float, float] = (18.0, 80.0)
    local_shape: tuple[float, float] = (0.3, 0.8)
    skin_texture: tuple[float, float] = (0.3, 1.0)
    age_marks: float = 1.0
    makeup: float = 0.35
    beards: float = 0.4
    long_hair: float = 0.7
    glasses: float = 0.25

    # -- what hides the face ---
    sunglasses: float = 0.03
    hats: float = 0.1
    masks: float = 0.03
    hands: float = 0.08

    # -- head pose ---
    yaw: tuple[float, float] = (18.0, 65.0)
    pitch: tuple[float, float] = (9.0, 30.0)
    roll: tuple[float, float] = (8.0, 30.0)

    # -- light ---
    light_azimuth: tuple[float, float] = (-80.0, 80.0)
    light_elevation: tuple[float, float] = (-10.0, 60.0)
    light_power: tuple[float, float] = (0.5, 1.1)
    light_size: tuple[float, float] = (1.0, 9.0)
    light_kelvin: tuple[float, float] = (2800.0, 9000.0)
    fill_power: tuple[float, float] = (0.0, 0.5)
    fill_azimuth: tuple[float, float] = (-90.0, 90.0)
    fill_elevation: tuple[float, float] = (-20.0, 60.0)
    ambient: tuple[float, float] = (0.25, 0.55)
    white_balance: float = 0.75

    # -- background ---
    backgrounds: tuple[str, ...] = BACKGROUNDS

    # -- camera ---
    focal: tuple[float, ...] = (24.0, 35.0, 50.0, 85.0)
    head_share: tuple[float, float] = (0.3, 0.6)
    crop_shift: float = 0.03
    crop_scale: tuple[float, float] = (0.95, 1.25)
    exposure: float = 0.2
    blur: tuple[float, float] = (0.2, 1.0)
    motion: float = 0.15
    noise: tuple[float, float] = (0.0, 0.02)
    jpeg: tuple[float, float] = (35.0, 95.0)

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if get_args(field.type) and not isinstance(value, tuple | list):
                value = (value,)
            value = as_kind(value, field.type, field.name)
            if value == ():
                raise ValueError(f"{field.name} must be one or more values, got none")
            object.__setattr__(self, field.name, value)
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if not all(low <= x <= high for x in np.atleast_1d(value)):
                within = f"be at least {low}" if high == math.inf else f"lie in {low:g}..{high:.7g}"
                raise ValueError(f"{name} must {within}, got {value!r}")
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in _SPREADS and value[0] > 2 * value[1]:
                raise ValueError(f"{name} must be (sd, limit), sd <= 2 limit, got {value!r}")
            ordered = field.type == tuple[float, float] and name not in _UNORDERED
            if ordered and value[0] > value[1]:
                raise ValueError(f"{name} must be (low, high), low <= high, got {value!r}")
        if not set(self.backgrounds) <= set(BACKGROUNDS):
            other = next(name for name in self.backgrounds if name not in BACKGROUNDS)
            raise ValueError(
                f"backgrounds must be some of {', '.join(BACKGROUNDS)}, got {self.backgrounds!r}; "
                f"{hint(other, BACKGROUNDS)}".rstrip("; ")
            )
        said = f"unknown proportions {self.proportions!r};"
        check_known(said, self.proportions, PROPORTIONS)

    @property
    def n(self) -> int:
        """Number of faces, all splits together."""
        return sum(self.people) * self.per_person

    @classmethod
    def recorded(cls, people: str, size: int) -> "FaceSet":
        """The set of a run on "faces", from its row in a table: people as "1200/100/250"."""
        train, valid, test = map(int, people.split("/"))
        return cls((train, valid, test), size=int(size))

    def without(self, *names: str) -> "FaceSet":
        """The same people and faces with some `NUISANCES` switched off, "all" for all of them.

        Every nuisance draws from a stream of its own, so nothing else changes. ValueError naming
        the nuisances if one is unknown.
        """
        names = tuple(name.replace("-", " ") for name in names)  # as a command line has them
        if unknown := set(names) - {*NUISANCES, "all"}:
            known = [name.replace(" ", "-") for name in NUISANCES]
            near = hint(min(unknown).replace(" ", "-"), known)
            raise ValueError(
                f"unknown nuisance {', '.join(sorted(unknown))}; {near}all, or of "
                f"{', '.join(known)}"
            )
        chosen = tuple(NUISANCES) if "all" in names else names
        off = {field: value for name in chosen for field, value in NUISANCES[name].items()}
        return replace(self, **off)


NUISANCES: dict[str, dict] = {
    "person's style": {"expressivity": (1.0, 1.0), "style": 0.0, "resting": 0.0},
    "face to face": {"unit_noise": 0.0, "asymmetry": 0.0},
    "other units": {"coactivation": (0.0, 0.0)},
    "blinks": {"blink": 0.0},
    "gaze": {"gaze": 0.0},
    "skin texture": {"skin_texture": (0.0, 0.0)},
    **{name: {name.replace(" ", "_"): 0.0}
       for name in ("age marks", "makeup", "beards", "long hair", "glasses", "sunglasses", "hats",
                    "masks", "hands")},
    "pose": {"yaw": (0.0, 65.0), "pitch": (0.0, 30.0), "roll": (0.0, 30.0)},
    "light direction": {
        "light_azimuth": (-25.0, -25.0), "light_elevation": (35.0, 35.0),
        "fill_azimuth": (45.0, 45.0), "fill_elevation": (10.0, 10.0),
    },
    "light power": {
        "light_power": (0.8, 0.8), "fill_power": (0.2, 0.2), "ambient": (0.35, 0.35),
        "exposure": 0.0,
    },
    "soft shadows": {"light_size": (0.0, 0.0)},
    "light colour": {"light_kelvin": (6500.0, 6500.0)},
    "background": {"backgrounds": ("plain",)},
    "perspective": {"focal": (50.0,), "head_share": (0.45, 0.45)},
    "crop": {"crop_shift": 0.0, "crop_scale": (1.05, 1.05)},
    "blur": {"blur": (0.2, 0.2), "motion": 0.0},
    "noise": {"noise": (0.0, 0.0)},
    "jpeg": {"jpeg": (100.0, 100.0)},
}  # fmt: skip
"""Nuisance -> the fields of `FaceSet` that switch it off: what varies a picture but is no emotion.

Identity (shape, skin, age) has no switch; one person is `people=(1, 0, 0)`. Colours of walls and
clothes stay as they are. What a hand, a hat or a hairline looks like is drawn in
`hmtl.faces.scenes` and `hmtl.faces.people`; its switch is whether it is there.
"""
