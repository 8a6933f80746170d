"""The face table: a row a picture, drawn before any picture exists.

Each row holds everything the renderer needs, and the labels (emotion, intensity, valence and
arousal, head pose, gender, age) are columns of the same row, so a label cannot be wrong: it *is*
the parameter that shaped the picture. Nothing here makes pictures, and nothing heavier than pandas
and scipy is imported. Faces are not from the paper, which trains on photographs; this set is ours.

Head pose follows 300W-LP and AFLW2000-3D: positive **yaw** turns the nose towards the left edge of
the picture (the person looks to their own right), positive **pitch** lifts the nose, positive
**roll** turns the picture clockwise (the person's left eye goes down). "Left" in a column or
blendshape name is always the person's left.
"""

__all__ = [
    "DRAW_VERSION", "LABEL_COLUMNS", "confusion", "draw_faces", "fingerprint", "tested_faces",
]  # fmt: skip

import functools
from dataclasses import asdict

import numpy as np
import pandas as pd

from hmtl.faces.expressions import (
    ACTION_UNIT_COLUMNS,
    ACTION_UNITS,
    COMPOUNDS,
    EMOTION_UNITS,
    GAZE,
    unit_weights,
    valence_arousal,
)
from hmtl.faces.faceset import FaceSet
from hmtl.faces.people import draw_person
from hmtl.faces.scenes import draw_scene
from hmtl.files import digest_of
from hmtl.labels import EMOTIONS, PROPORTIONS, SPLITS

DRAW_VERSION = 2  # raise it whenever the same FaceSet would give another table

_STREAM = 2  # of all random streams, those of expressions
_UNITS = list(ACTION_UNITS)
_COLUMNS = list(ACTION_UNIT_COLUMNS)
_UNIT_OF = np.array([_UNITS.index(column.partition("_")[0]) for column in _COLUMNS])
_SIDE_OF = np.array([column.partition("_")[2] for column in _COLUMNS])
# units that would shout an emotion of their own, or open a mouth wide, stay slight by themselves
_QUIET = np.array([0.4 if u in ("AU18", "AU27", "AU34", "AU45") else 1.0 for u in _UNITS])
_IS_GAZE = np.array([u in GAZE for u in _UNITS])


# ---------------------------------------------------------------------------------- the expressions


@functools.cache
def confusion() -> np.ndarray:
    """Which label an annotator gives who errs, (8, 8): rows what is shown, columns what is said.

    Rows add up to 1, the diagonal is 0. Emotions whose action units differ less are confused more:
    p ~ exp(-d^2 / 2), d the distance of their activations at full intensity. Ours; AffectNet's
    annotators agreed on 60.7 % of the images that two of them saw (Mollahosseini et al., 2017).
    """
    weights = np.array([[EMOTION_UNITS[e].get(u, 0.0) for u in _UNITS] for e in EMOTIONS])
    weights[EMOTIONS.index("contempt")] /= 2  # one side only
    apart = ((weights[:, None] - weights[None]) ** 2).sum(2)
    likely = np.exp(-apart / 2)
    np.fill_diagonal(likely, 0.0)
    return likely / likely.sum(1, keepdims=True)


def _draw_units(
    rng: np.random.Generator, face_set: FaceSet, row: dict, person: dict
) -> dict[str, float]:
    """Activation of every action unit column of one face, each in 0..1."""
    weights = unit_weights(row["shown"], row["second"], row["share"])
    base = np.array([weights.get(unit, 0.0) for unit in _UNITS])
    side = ("left", "right")[int(rng.random() < 0.5)]  # always drawn: the stream must not shift
    chance, ceiling = face_set.coactivation
    units, columns = len(_UNITS), len(_COLUMNS)
    base = base * row["intensity"] * person["expressivity"] * person["_style"]
    base = base * (1 + face_set.unit_noise * rng.normal(size=units))
    extra = ceiling * rng.random(units) * (rng.random(units) < chance) * _QUIET
    skew = 1 + face_set.asymmetry * rng.normal(size=columns)
    blinks, closed = rng.random(2)
    across, up = face_set.gaze * rng.uniform(-1, 1, 2)
    value = base[_UNIT_OF] * skew
    if row["shown"] == "contempt":
        own = np.array([EMOTION_UNITS["contempt"].get(u, 0.0) > 0 for u in _UNITS])[_UNIT_OF]
        value = np.where(own & (side != _SIDE_OF), 0.0, value)
    idle = np.array([unit not in weights for unit in _UNITS])[_UNIT_OF]
    value = value + idle * extra[_UNIT_OF] + person["_rest"]
    if blinks < face_set.blink:
        value = np.where(_UNITS.index("AU45") == _UNIT_OF, 0.4 + 0.6 * closed, value)
    value = np.where(_IS_GAZE[_UNIT_OF], 0.0, np.clip(value, 0.0, 1.0))
    row = dict(zip(_COLUMNS, value.tolist(), strict=True))
    row |= {"AU61": max(across, 0.0), "AU62": max(-across, 0.0)}
    return row | {"AU63": max(up, 0.0), "AU64": max(-up, 0.0)}


def _draw_labels(rng: np.random.Generator, face_set: FaceSet, split: int, index: int) -> dict:
    """What a face shows and what it is called."""
    place, strength, mixed, pick, share, errs, said = rng.random(7)
    number = index % len(EMOTIONS)  # they take turns
    if SPLITS[split] == "train" and face_set.proportions != "equal":
        counts = np.array(PROPORTIONS[face_set.proportions], float)
        number = int(np.searchsorted(np.cumsum(counts) / counts.sum(), place))
    shown = label = EMOTIONS[number]
    if SPLITS[split] == "train" and errs < face_set.label_noise:
        label = EMOTIONS[int(np.searchsorted(np.cumsum(confusion()[number]), said))]
    others = [b if a == shown else a for a, b in COMPOUNDS if shown in (a, b)]
    second = others[int(pick * len(others))] if others and mixed < face_set.compound else ""
    low, high = face_set.intensity
    return {
        "emotion": label,
        "shown": shown,
        "second": second,
        "share": float(0.3 + 0.4 * share) if second else 0.0,
        "intensity": 0.0 if shown == "neutral" else float(low + strength * (high - low)),
    }


def _draw_face(face_set: FaceSet, split: int, index: int, person: dict) -> dict:
    labels = np.random.default_rng([face_set.seed, _STREAM, split, index, 0])
    units = np.random.default_rng([face_set.seed, _STREAM, split, index, 1])
    row = {
        "key": f"face-{SPLITS[split]}-{index:06d}",
        "split": SPLITS[split],
        "person": person["person"],
        **_draw_labels(labels, face_set, split, index),
    }
    row |= _draw_units(units, face_set, row, person)
    row |= draw_scene(face_set, split, index, person)
    return row | {name: value for name, value in person.items() if name[0] != "_"}


def draw_faces(face_set: FaceSet, start: int = 0, stop: int | None = None) -> pd.DataFrame:
    """Draw the table of a face set: one row a face, `face_set.n` rows, train, valid, test in order.

    `start` and `stop` draw only those rows, as they are in the whole table: a set need never lie in
    memory at once.

    Every person and every face has random generators of its own, seeded by (seed, stream, split,
    number within the split, group): more people, other splits or another range change nothing
    that was there before. Face `i` of a split belongs to its person `i // per_person` and, where
    proportions are equal, shows emotion `i % 8`, so the counts of two emotions in a split never
    differ by more than one.

    Columns: the labels (`LABEL_COLUMNS`), `ACTION_UNIT_COLUMNS` (0..1), the phenotype
    (`gender_shape` 0 male .. 1 female, `muscle`, `weight`, `african`, `asian`, `caucasian`; 0..1),
    `shape_*` (-1..1), `wear_*` (0..1), the look of the person, camera, light and background;
    colours are sRGB in 0..1 as `<name>_r`, `_g`, `_b`. `person` is unique over splits. Ours.
    """
    stop = face_set.n if stop is None else min(stop, face_set.n)
    rows, person = [], None
    ends = np.cumsum([0, *(people * face_set.per_person for people in face_set.people)])
    for row in range(start, stop):
        split = int(np.searchsorted(ends, row, side="right")) - 1
        index = row - int(ends[split])
        who = (split, index // face_set.per_person)
        if person is None or person[0] != who:
            person = (who, draw_person(face_set, *who))
        rows.append(_draw_face(face_set, split, index, person[1]))
    table = pd.DataFrame(rows, columns=None if rows else [*LABEL_COLUMNS, *_COLUMNS])
    table[["valence", "arousal"]] = valence_arousal(table)
    return table


LABEL_COLUMNS: tuple[str, ...] = (
    "key", "split", "person", "emotion", "shown", "second", "share", "intensity", "valence",
    "arousal", "yaw", "pitch", "roll", "gender", "age", "skin_tone", "expressivity",
    "light_azimuth", "light_elevation", "light_power", "light_kelvin", "ambient", "background",
    "focal", "distance", "crop_scale", "exposure", "blur", "motion", "noise", "jpeg", "hairline",
    "long_hair", "beard", "moustache", "wrinkles", "lipstick", "glasses", "sunglasses", "hat",
    "mask", "hand",
)  # fmt: skip
"""Columns worth keeping beside the pictures: labels, and what results may be sliced by.

`emotion` is the label, `shown` what the face shows; they differ only where `label_noise` is asked
for. The renderer adds `occlusion`, the share of the face that something hides.
"""


def tested_faces(face_set: FaceSet) -> pd.DataFrame:
    """Parameters of the test faces, in the order in which runs store their answers: by key."""
    first = sum(face_set.people[:2]) * face_set.per_person
    return draw_faces(face_set, first).sort_values("key")


def fingerprint(face_set: FaceSet) -> str:
    """Sixteen hexadecimal digits over every field and `DRAW_VERSION`: the table's identity."""
    return digest_of({"draw": DRAW_VERSION} | asdict(face_set))[:16]
