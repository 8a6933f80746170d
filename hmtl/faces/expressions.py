"""What a face shows: facial action units, the emotions made of them, valence and arousal.

Expressions are written in the action units of the facial action coding system and turned into the
blendshapes of the parametric head by one dictionary. Emotion, intensity, valence and arousal are
all functions of the same activations. Nothing here makes pictures, and nothing heavier than pandas
is imported. Faces are not from the paper, which trains on photographs; this is ours.

"Left" in a name is always the person's left.
"""

__all__ = [
    "ACTION_UNITS", "ACTION_UNIT_COLUMNS", "CIRCUMPLEX", "COMPOUNDS", "EMOTION_UNITS", "GAZE",
    "blendshape_weights", "unit_weights", "valence_arousal",
]  # fmt: skip

import functools

import numpy as np
import pandas as pd

from hmtl.labels import EMOTIONS


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

GAZE = ("AU61", "AU62", "AU63", "AU64")  # both eyes move together: never one side alone


def _split_sides() -> dict[str, dict[str, float]]:
    """One entry a column: units made of sided blendshapes get a left and a right column."""
    columns = {}
    for unit, weights in ACTION_UNITS.items():
        if unit in GAZE or not all(name.endswith(("Left", "Right")) for name in weights):
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
    "fear": {"AU1": 1.0, "AU2": 0.4, "AU4": 0.35, "AU5": 1.0, "AU20": 1.0, "AU25": 0.5,
             "AU26": 0.45},
    "disgust": {"AU9": 1.0, "AU10": 0.8, "AU4": 0.4, "AU15": 0.5, "AU17": 0.4},
    "anger": {"AU4": 1.0, "AU5": 0.4, "AU7": 0.6, "AU23": 1.0, "AU17": 0.5, "AU24": 0.2},
    "contempt": {"AU12": 0.8, "AU14": 1.0},
}  # fmt: skip
"""Emotion -> activation (0..1) of its action units at full intensity.

The core units are those of EMFACS (Friesen & Ekman, *EMFACS-7: Emotional Facial Action Coding
System*, 1983; tables in the FACS Investigator's Guide, 2002): happy 6+12, sad 1+4+15, surprise
1+2+5+26, fear 1+2+4+5+20+26, disgust 9+15+17 with 10, anger 4+5+7+23 with 24, contempt 12+14 on
**one** side (here the side is drawn at random). Ours are the weights, and what goes beside the
core: open lips in happy and fear (25, 26), the raised chin in sad and anger (17), lowered brows in
disgust (4).
"""

COMPOUNDS: tuple[tuple[str, str], ...] = (
    ("happy", "surprise"), ("happy", "disgust"), ("sad", "fear"), ("sad", "anger"),
    ("sad", "surprise"), ("sad", "disgust"), ("fear", "anger"), ("fear", "surprise"),
    ("fear", "disgust"), ("anger", "surprise"), ("anger", "disgust"), ("disgust", "surprise"),
)  # fmt: skip
"""Pairs of emotions that one face can show at once, either of which may dominate.

The twelve two-emotion compounds of Du, Tao & Martinez, *Compound facial expressions of emotion*
(PNAS, 2014). Which one dominates, and how much of the other shows, is ours.
"""

CIRCUMPLEX: dict[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "happy": (0.81, 0.51),
    "sad": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
    "fear": (-0.64, 0.60),
    "disgust": (-0.60, 0.35),
    "anger": (-0.51, 0.59),
    "contempt": (-0.55, 0.30),
}
"""Emotion -> (valence, arousal) at full intensity, each in -1..1.

Mean pleasure and arousal of the words happy, sad, surprised, fearful, disgusted and angry in
Russell & Mehrabian, *Evidence for a three-factor theory of emotions* (1977); contempt is ours.
"""


def unit_weights(emotion: str, second: str = "", share: float = 0.0) -> dict[str, float]:
    """Action units of an emotion at full intensity, blended with a `share` (0..1) of a second one.

    A unit that both use is as active as the stronger of the two makes it; those of the first fade
    by half the share, so that it stays the dominant one. Ours.
    """
    first, other = EMOTION_UNITS[emotion], EMOTION_UNITS[second] if second else {}
    if not other or share <= 0:
        return dict(first)
    fade = 1 - 0.5 * share
    names = dict.fromkeys((*first, *other))
    return {u: max(fade * first.get(u, 0.0), share * other.get(u, 0.0)) for u in names}


@functools.cache
def _affect_weights() -> np.ndarray:
    """(columns, 2): what each action unit column adds to valence and arousal.

    The smallest linear map that puts every emotion at full intensity where `CIRCUMPLEX` says.
    """
    rows, targets = [], []
    for emotion in EMOTIONS:
        sides = ("left", "right") if emotion == "contempt" else ("",)
        for side in sides:
            rows.append(
                [EMOTION_UNITS[emotion].get(c.partition("_")[0], 0.0) * c.endswith(side)
                 for c in ACTION_UNIT_COLUMNS]
            )  # fmt: skip
            targets.append(CIRCUMPLEX[emotion])
    return np.linalg.pinv(np.array(rows)) @ np.array(targets)


def valence_arousal(params: pd.DataFrame) -> np.ndarray:
    """Valence and arousal (N, 2), each in -1..1, of the action units of each row.

    Linear in the activations: an emotion at half its intensity is half as far from neutral, a
    compound lies between its two. Units that no emotion uses, a blink say, change neither.
    Targets: Russell & Mehrabian (see `CIRCUMPLEX`); the linear map is ours.
    """
    units = params[list(ACTION_UNIT_COLUMNS)].to_numpy(np.float64)
    # row by row: a matrix product could round differently in another batch
    return np.clip(np.array([u @ _affect_weights() for u in units]).reshape(-1, 2), -1, 1)


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
