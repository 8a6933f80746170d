"""The drawing of the method at the head of README: `python book/drawing.py` writes both versions.

The drawing itself is the SVG below, by hand. Four rendered people are put into it as JPEGs, and
their puzzles are the same JPEGs, shown a tile at a time in another order.
"""

import base64
import io

import numpy as np
import pandas as pd
from PIL import Image

from hmtl.data.sets import MINI
from hmtl.faces.render import render_faces
from hmtl.faces.table import draw_faces
from hmtl.paths import reference_dir
from hmtl.use.playground import posed

SIDE = 160  # pixels of a face, and its units in the drawing
CAST = [(12, "happy", 0), (19, "surprise", 8), (20, "sad", 0), (10, "fear", -15)]
ORDERS = [(2, 0, 3, 1), (3, 2, 1, 0), (1, 3, 0, 2), (2, 3, 0, 1)]  # the tile at each place
COLOURS = {
    "light": {"ink": "#1f2328", "grey": "#6e7781", "box": "#eef4fb", "line": "#0173b2",
              "kept": "#027a5c", "dropped": "#b04a00", "pale": "#f6f8fa",
              "page": "#ffffff"},
    "dark": {"ink": "#e6edf3", "grey": "#9198a1", "box": "#12263a", "line": "#58a6d6",
             "kept": "#3fb993", "dropped": "#f0935a", "pale": "#161b22",
             "page": "#0d1117"},
}  # fmt: skip

DRAWING = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 760" font-family="system-ui, sans-serif"
     font-size="21" fill="{ink}" role="img" aria-labelledby="t d">
<title id="t">Hybrid multi-task learning</title>
<desc id="d">Pictures and the puzzles made of them pass through one encoder. An emotion head answers
for both and is kept. A puzzle head says which tile lies where and is dropped after training. The
control, in grey, shows a second plain view in place of the puzzle.</desc>
<rect width="1200" height="760" fill="{page}"/>
<defs>
<marker id="arrow" markerWidth="10" markerHeight="8" refX="8" refY="4" orient="auto">
<path d="M0 0 L10 4 L0 8 z" fill="{line}"/></marker>
<marker id="faint" markerWidth="10" markerHeight="8" refX="8" refY="4" orient="auto">
<path d="M0 0 L10 4 L0 8 z" fill="{grey}"/></marker>
{images}
</defs>
<text x="20" y="32" font-weight="600">pictures with a label</text>
<text x="20" y="407" font-weight="600">puzzles of the same pictures</text>
{faces}
{puzzles}
<g fill="none" stroke="{line}" stroke-width="3" marker-end="url(#arrow)">
<path d="M352 205 C430 205 440 300 508 318"/>
<path d="M352 580 C430 580 440 430 508 412"/>
<path d="M722 318 C770 300 780 175 838 175"/>
<path d="M722 412 C770 430 780 545 838 545"/>
<path d="M722 365 C790 350 770 215 838 207" stroke-dasharray="2 7"/>
</g>
<rect x="510" y="270" width="210" height="190" rx="14" fill="{box}"
      stroke="{line}" stroke-width="3"/>
<text x="615" y="345" text-anchor="middle" font-size="27" font-weight="600">encoder</text>
<text x="615" y="378" text-anchor="middle">one network,</text>
<text x="615" y="405" text-anchor="middle">the same weights</text>
<rect x="840" y="120" width="340" height="130" rx="14" fill="{box}"
      stroke="{kept}" stroke-width="4"/>
<text x="862" y="160" font-size="25" font-weight="600">emotion head</text>
<text x="862" y="192">happy, sad, surprise, fear, ...</text>
<text x="862" y="226" fill="{kept}" font-weight="600">kept: the plain network</text>
<rect x="840" y="480" width="340" height="130" rx="14" fill="none" stroke="{dropped}"
      stroke-width="4" stroke-dasharray="14 9"/>
<text x="862" y="520" font-size="25" font-weight="600">puzzle head</text>
<text x="862" y="552">which tile lies where?</text>
<text x="862" y="586" fill="{dropped}" font-weight="600">dropped after training</text>
<text x="840" y="330" fill="{grey}">one loss in training:</text>
<text x="840" y="362">emotion (picture, puzzle)</text>
<text x="840" y="394">+ 0.3 × tiles of the puzzle</text>
<g fill="none" stroke="{grey}" stroke-width="2.5" stroke-dasharray="9 7">
<rect x="400" y="625" width="425" height="118" rx="12" fill="{pale}"/>
<path d="M560 623 C575 570 590 520 600 470" marker-end="url(#faint)"/>
</g>
<g transform="translate(412 636)">{control}</g>
<g fill="{grey}">
<text x="524" y="664" font-weight="600">the control</text>
<text x="524" y="694">a second plain view instead</text>
<text x="524" y="722">same compute, no puzzle</text>
</g>
</svg>
"""


def faces() -> list[str]:
    """Four people, each with an expression, as JPEGs in data URIs."""
    people = draw_faces(MINI.without("hands", "masks", "hats", "glasses"))
    people = people.drop_duplicates("person")
    rows = [posed(people.iloc[[i]], mood, 1.0, yaw, 0) for i, mood, yaw in CAST]
    uris = []
    for picture in render_faces(pd.concat(rows), 2 * SIDE, progress=False):
        file = io.BytesIO()
        Image.fromarray(np.asarray(picture)).resize((SIDE, SIDE)).save(file, "JPEG", quality=80)
        uris.append("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode())
    return uris


def puzzle(face: int, x: int, y: int) -> str:
    """Nested views of one face, a tile each, at (x, y)."""
    half, parts = SIDE // 2, []
    for place, tile in enumerate(ORDERS[face]):
        left, top = x + half * (place % 2), y + half * (place // 2)
        view = f"{half * (tile % 2)} {half * (tile // 2)} {half} {half}"
        parts.append(
            f'<svg x="{left}" y="{top}" width="{half - 1}" height="{half - 1}" viewBox="{view}" '
            f'preserveAspectRatio="none"><use href="#face{face}"/></svg>'
        )
    return "\n".join(parts)


def draw() -> None:
    """Write method-light.svg and method-dark.svg into the record's figures."""
    images = "\n".join(
        f'<image id="face{i}" width="{SIDE}" height="{SIDE}" href="{uri}"/>'
        for i, uri in enumerate(faces())
    )
    places = [(20 + 166 * (i % 2), 166 * (i // 2)) for i in range(len(CAST))]
    shown = "\n".join(
        f'<use href="#face{i}" x="{x}" y="{y + 46}"/>' for i, (x, y) in enumerate(places)
    )
    cut = "\n".join(puzzle(i, x, y + 421) for i, (x, y) in enumerate(places))
    control = (
        '<svg width="96" height="96" viewBox="14 10 140 140"><g opacity="0.75" '
        f'transform="translate({SIDE} 0) scale(-1 1)"><use href="#face0"/></g></svg>'
    )
    parts = {"images": images, "faces": shown, "puzzles": cut, "control": control}
    for name, colours in COLOURS.items():
        file = reference_dir() / "figures" / f"method-{name}.svg"
        file.write_text(DRAWING.format(**parts, **colours))


if __name__ == "__main__":
    draw()
