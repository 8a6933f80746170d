"""A face moved by hand: what the picture, its puzzle and a network's answer become.

`posed` is one face table row with another expression, pose or light; `FaceSliders` is that with
sliders, in a running notebook. Nothing of it is from the paper.
"""

__all__ = ["RANGES", "FaceSliders", "posed"]

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from hmtl.faces.expressions import ACTION_UNIT_COLUMNS, EMOTION_UNITS, unit_weights, valence_arousal
from hmtl.faces.render import render_faces
from hmtl.labels import EMOTIONS, hint

try:
    from ipywidgets import VBox
except ImportError:  # `posed` needs no widgets
    VBox = object

RANGES: dict[str, tuple[float, float]] = {
    "intensity": (0.0, 1.0),
    "yaw": (-89.0, 89.0),
    "pitch": (-89.0, 89.0),
    "light": (-180.0, 180.0),
}
"""What `posed` takes; angles in degrees. Every row that a `FaceSet` can draw lies within."""

_COLUMNS = {"yaw": "yaw", "pitch": "pitch", "light": "light_azimuth"}
_STEPS = {"intensity": 0.05, "yaw": 1.0, "pitch": 1.0, "light": 5.0}
_EXPRESSIVE = {unit for weights in EMOTION_UNITS.values() for unit in weights}
_SIDE = 240  # of an enlarged picture, screen pixels


def _checked(name: str, value) -> float:
    low, high = RANGES[name]
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not (number and low <= value <= high):
        raise ValueError(f"{name} must lie in {low:g}..{high:g}, got {value!r}")
    return float(value)


def _units(row: pd.Series, emotion: str, second: str, share: float, strength: float) -> dict:
    """Activations 0..1 of the columns of all units that some emotion uses."""
    weights = unit_weights(emotion, second, share)
    lean = "left" if row["AU14_left"] >= row["AU14_right"] else "right"
    units = {}
    for column in ACTION_UNIT_COLUMNS:
        unit, _, side = column.partition("_")
        if unit in _EXPRESSIVE:
            idle = emotion == "contempt" and side not in ("", lean)
            value = 0.0 if idle else weights.get(unit, 0.0) * strength
            units[column] = float(np.clip(value, 0.0, 1.0))
    return units


def posed(
    face: pd.DataFrame, emotion: str | None = None, intensity: float | None = None,
    yaw: float | None = None, pitch: float | None = None, light: float | None = None,
) -> pd.DataFrame:  # fmt: skip
    """The same person in another picture: one row of `hmtl.faces.table.draw_faces`, changed.

    What is None stays as it is, all other columns too. With an emotion or an intensity, the action
    units that emotions are made of become those of `unit_weights` times intensity and the person's
    expressivity, without the unevenness of a drawn face; blink and gaze stay. `emotion`, `shown`,
    `second`, `share`, `intensity`, `valence` and `arousal` follow. An emotion alone is shown as
    strongly as the row's own, fully on a neutral face; an intensity alone is one of what the row
    shows. A neutral face has intensity 0. Contempt is on the side that dimples more (AU14), the
    left if neither does. Ours.

    Args:
        face: One row, with action units.
        emotion: One of `hmtl.labels.EMOTIONS`.
        intensity: Its strength, 0..1.
        yaw, pitch: Of the head, degrees in -89..89.
        light: Azimuth of the main light, degrees in -180..180, positive from the picture's right.

    Returns:
        One row.

    Raises:
        ValueError: Naming the field and its range; or `face` is not one row with action units.
    """
    if len(face) != 1:
        raise ValueError(f"face must be one row of a face table, got {len(face)} rows")
    if lacking := [column for column in ACTION_UNIT_COLUMNS if column not in face]:
        raise ValueError(
            f"face has no column {lacking[0]}: labels alone make no picture, pass a row of "
            "hmtl.faces.table.draw_faces"
        )
    asked = {"intensity": intensity, "yaw": yaw, "pitch": pitch, "light": light}
    given = {name: _checked(name, value) for name, value in asked.items() if value is not None}
    if emotion is not None and emotion not in EMOTIONS:
        near = hint(emotion, EMOTIONS)
        raise ValueError(f"{near}emotion must be one of {', '.join(EMOTIONS)}, got {emotion!r}")
    changed: dict[str, Any] = {
        _COLUMNS[name]: value for name, value in given.items() if name in _COLUMNS
    }
    if emotion is None and intensity is None:
        return face.assign(**changed)
    row = face.iloc[0]
    second, share = (row["second"], row["share"]) if emotion is None else ("", 0.0)
    strength = given.get("intensity", row["intensity"] or 1.0)
    emotion = row["shown"] if emotion is None else emotion
    changed |= _units(row, emotion, second, share, strength * row["expressivity"])
    changed |= {"emotion": emotion, "shown": emotion, "second": second, "share": share}
    out = face.assign(**changed, intensity=0.0 if emotion == "neutral" else strength)
    out[["valence", "arousal"]] = valence_arousal(out)
    return out


def _enlarged(pictures: list[np.ndarray]) -> bytes:
    """Pictures uint8 (S, S, 3) side by side as PNG, each pixel a square of whole screen pixels."""
    from PIL import Image

    scale = max(1, round(_SIDE / pictures[0].shape[0]))
    large = [picture.repeat(scale, 0).repeat(scale, 1) for picture in pictures]
    height, gap = max(len(picture) for picture in large), 12
    sheet = Image.new("RGBA", (sum(len(p) + gap for p in large) - gap, height))
    at = 0
    for picture in large:
        sheet.paste(Image.fromarray(picture), (at, 0))
        at += len(picture) + gap
    with io.BytesIO() as file:
        sheet.save(file, "png")
        return file.getvalue()


def _bars(probabilities: np.ndarray, shown: str) -> str:
    """HTML: a bar an emotion, the one that is shown in bold."""
    rows = []
    for name, share in zip(EMOTIONS, probabilities, strict=True):
        name = f"<b>{name}</b>" if name == shown else name
        bar = f"<div style='background:#0173b2;height:.8em;width:{share:.1%}'></div>"
        rows.append(
            f"<tr><td>{name}</td><td style='width:12em'>{bar}</td><td>{share:.0%}</td></tr>"
        )
    return f"<table style='line-height:1.5'>{''.join(rows)}</table>"


class FaceSliders(VBox):
    """Sliders that move a rendered face, beside it its puzzle and what a network says of it. Ours.

    An ipywidgets VBox. Its parts are ipywidgets too and can be set from Python: `person`,
    `emotion`, `intensity`, `yaw`, `pitch`, `light` (as in `posed`), and what they show, `picture`
    and `bars`; `face` is the row that is shown. A person starts as the row is, to the bit, with
    sliders at the nearest step; those that stand where they started change nothing.

    Args:
        faces: A table of `hmtl.faces.table.draw_faces`; each person's first row is taken.
        answer: Pictures float (B, 3, H, W) in [0, 1] -> probabilities (B, 8) in the order of
            `hmtl.labels.EMOTIONS`; None: no bars.
        size: Side of the rendered pictures, pixels.
        puzzle: Tiles a side.
        seed: Of the shuffle, which is always the same.

    Raises:
        ImportError: ipywidgets is not installed.
        ValueError: An empty table, a size or a puzzle that the renderer or `Puzzling` refuse, or an
            answer that is not probabilities (1, 8).
    """

    def __init__(
        self, faces: pd.DataFrame, answer: Callable | None = None, size: int = 48, puzzle: int = 2,
        seed: int = 0,
    ):  # fmt: skip
        if VBox is object:
            raise ImportError('FaceSliders needs ipywidgets: pip install "hmtl[notebooks]"')
        from ipywidgets import HTML, Dropdown, FloatSlider, HBox, Image

        from hmtl.method.pretext import Puzzling

        if not len(faces):
            raise ValueError("faces has no rows: pass some of hmtl.faces.table.draw_faces")
        self._faces = faces.drop_duplicates("person").reset_index(drop=True)
        self._answer, self._size, self._seed = answer, size, seed
        self._puzzle = Puzzling(puzzle)
        people = [
            (f"{i + 1}: {face.gender}, {face.age:.0f}", i)
            for i, face in enumerate(self._faces.itertuples())
        ]
        self.person = Dropdown(options=people, description="person")
        self.emotion = Dropdown(options=EMOTIONS, description="emotion")
        for name, (low, high) in RANGES.items():
            slider = FloatSlider(
                min=low, max=high, step=_STEPS[name], description=name,
                readout_format=".2f" if name == "intensity" else ".0f",
            )  # fmt: skip
            setattr(self, name, slider)
        self.picture = Image(format="png")
        self.bars = HTML()
        self._choose()
        self.person.observe(self._choose, "value")
        for control in self._moving:
            control.observe(self._draw, "value")
        controls = VBox([self.person, self.emotion, *self._moving[1:]])
        super().__init__([HBox([self.picture, self.bars]), controls])

    def __repr__(self) -> str:
        """What a page shows where widgets do not run."""
        return f"FaceSliders of {len(self._faces)} people: run this cell in JupyterLab to move them"

    @property
    def _moving(self) -> list:
        return [self.emotion, *(getattr(self, name) for name in RANGES)]

    @property
    def face(self) -> pd.DataFrame:
        """The row that is shown."""
        now = self._positions()
        moved = {name: value for name, value in now.items() if value != self._start[name]}
        return posed(self._faces.iloc[[self.person.value]], **moved)

    def _positions(self) -> dict:
        # a browser sends a slider back when it is first drawn, 6 as 6.000000000000014
        values = {name: round(getattr(self, name).value, 6) for name in RANGES}
        return {"emotion": self.emotion.value, **values}

    def _choose(self, _=None) -> None:
        """Put the sliders where the chosen person's own picture has them."""
        row = self._faces.iloc[self.person.value]
        own = {name: row[column] for name, column in _COLUMNS.items()}
        # a neutral face stands ready to show an emotion fully, as `posed` has it
        own = {"intensity": row["intensity"] or 1.0} | own
        self._start = {}  # nothing is drawn while the sliders move one by one
        start = {"emotion": row["shown"]}
        for name, value in own.items():
            step = _STEPS[name]
            start[name] = round(round(value / step) * step, 2)
        for name, value in start.items():
            getattr(self, name).value = value
        self._start = self._positions()
        self._draw()

    def _draw(self, _=None) -> None:
        if not self._start:
            return
        import torch

        face = self.face
        picture = render_faces(face, self._size, processes=1, progress=False)
        images = torch.from_numpy(picture).permute(0, 3, 1, 2) / 255
        generator = torch.Generator().manual_seed(self._seed)
        views, _ = self._puzzle.transform(images, generator)
        puzzle = (255 * views[0]).round().byte().permute(1, 2, 0).numpy()
        self.picture.value = _enlarged([picture[0], puzzle])
        if self._answer is not None:
            said = self._checked_answer(self._answer(images))
            self.bars.value = _bars(said, face["shown"].iloc[0])

    @staticmethod
    def _checked_answer(answer) -> np.ndarray:
        """Probabilities (8,) of an answer about one picture."""
        import torch

        said = torch.as_tensor(answer).detach().cpu().double().numpy()
        wanted = (1, len(EMOTIONS))
        if said.shape != wanted:
            raise ValueError(f"answer must return probabilities {wanted}, got shape {said.shape}")
        if not (said >= 0).all() or abs(said.sum() - 1) > 1e-3:
            raise ValueError(
                "answer must return probabilities that add up to 1: is softmax missing?"
            )
        return said[0]
