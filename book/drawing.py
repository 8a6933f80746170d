"""README's drawing of the method, in both versions, and its badges: `python book/drawing.py`.

The drawing itself is the SVG below, by hand. Four rendered people are put into it as JPEGs, and
their puzzles are the same JPEGs, shown a tile at a time in another order. Shown on a phone, it has
fewer words in larger type.
"""

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from hmtl.data.sets import MINI
from hmtl.faces.render import render_faces
from hmtl.faces.table import draw_faces
from hmtl.paths import reference_dir
from hmtl.use.playground import posed

SIDE = 230  # pixels of a face, and its units in the drawing: 160 pixels where it is 835 wide
SMALL = 112  # units of a puzzle
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

BADGES = {
    "arxiv": ("arXiv", "2105.06421", "#a12b2b"),
    "python": ("Python", "≥ 3.11", "#2f6a9e"),
    "licence": ("licence", "Apache-2.0", "#3a7d34"),
}
BADGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" font-size="11"
     font-family="Verdana, DejaVu Sans, sans-serif" fill="#fff" role="img"
     aria-label="{left} {right}">
<rect width="{whole}" height="20" rx="4" fill="{colour}"/>
<path d="M4 0 H{half} V20 H4 a4 4 0 0 1 -4 -4 V4 a4 4 0 0 1 4 -4" fill="#4b5157"/>
<text x="7" y="14">{left}</text>
<text x="{text}" y="14">{right}</text>
</svg>
"""

DRAWING = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 760" font-family="system-ui, sans-serif"
     font-size="21" fill="{ink}" role="img" aria-labelledby="t d">
<title id="t">Hybrid multi-task learning</title>
<desc id="d">Pictures and the puzzles made of them pass through one encoder. An emotion head answers
for both, for the puzzles by the dotted arrow, and is kept. A puzzle head says which tile lies where
and is dropped after training. The control, in grey, shows a second plain view in place of the
puzzle.</desc>
<style>.small {{ display: none }}
@media (max-width: 640px) {{ .large {{ display: none }} .small {{ display: inline }} }}</style>
<rect width="1200" height="760" fill="{page}"/>
<defs>
<marker id="arrow" markerWidth="10" markerHeight="8" refX="8" refY="4" orient="auto">
<path d="M0 0 L10 4 L0 8 z" fill="{line}"/></marker>
<marker id="faint" markerWidth="10" markerHeight="8" refX="8" refY="4" orient="auto">
<path d="M0 0 L10 4 L0 8 z" fill="{grey}"/></marker>
{images}
</defs>
<g class="large" font-weight="600">
<text x="20" y="32">pictures with a label</text>
<text x="20" y="552">puzzles of the same pictures</text>
</g>
<g class="small" font-weight="600" font-size="38">
<text x="20" y="34">faces, labels</text>
<text x="20" y="553">their puzzles</text>
</g>
{faces}
{puzzles}
<g fill="none" stroke="{line}" stroke-width="3" marker-end="url(#arrow)">
<path d="M494 270 C530 270 530 318 564 318"/>
<path d="M494 622 C545 622 515 412 564 412"/>
<path d="M768 318 C805 300 795 158 838 158"/>
<path d="M768 412 C805 430 800 545 838 545"/>
<path d="M768 365 C805 355 800 218 838 218" stroke-dasharray="2 7"/>
</g>
<path d="M842 282 H892" fill="none" stroke="{line}" stroke-width="3" stroke-dasharray="2 7"/>
<rect x="566" y="270" width="200" height="190" rx="14" fill="{box}"
      stroke="{line}" stroke-width="3"/>
<g class="large">
<text x="666" y="345" text-anchor="middle" font-size="27" font-weight="600">encoder</text>
<text x="666" y="378" text-anchor="middle">one network</text>
<text x="666" y="405" text-anchor="middle">for both</text>
</g>
<g class="small" text-anchor="middle" font-size="38" font-weight="600">
<text x="666" y="379">encoder</text>
</g>
<rect x="840" y="120" width="340" height="130" rx="14" fill="{box}"
      stroke="{kept}" stroke-width="4"/>
<g class="large">
<text x="862" y="160" font-size="25" font-weight="600">emotion head</text>
<text x="862" y="192">happy, sad, surprise, ...</text>
<text x="862" y="226" fill="{kept}" font-weight="600">kept: the plain network</text>
</g>
<g class="small" font-weight="600" font-size="38">
<text x="862" y="172">emotion head</text>
<text x="862" y="226" fill="{kept}">kept</text>
</g>
<rect x="840" y="480" width="340" height="130" rx="14" fill="none" stroke="{dropped}"
      stroke-width="4" stroke-dasharray="14 9"/>
<g class="large">
<text x="862" y="520" font-size="25" font-weight="600">puzzle head</text>
<text x="862" y="552">which tile lies where?</text>
<text x="862" y="586" fill="{dropped}" font-weight="600">dropped after training</text>
<text x="906" y="289">emotion of the puzzles</text>
<text x="840" y="346" fill="{grey}">one loss in training:</text>
<text x="840" y="378">emotion (picture, puzzle)</text>
<text x="840" y="410">+ w × tiles of the puzzle</text>
<text x="840" y="442" fill="{grey}">w = 0.3 by default</text>
</g>
<text class="small" x="906" y="294" font-size="38">puzzles, too</text>
<g class="small" font-weight="600" font-size="38">
<text x="862" y="532">puzzle head</text>
<text x="862" y="586" fill="{dropped}">dropped</text>
</g>
<g fill="none" stroke="{grey}" stroke-width="2.5" stroke-dasharray="9 7">
<rect x="530" y="630" width="460" height="118" rx="12" fill="{pale}"/>
<path d="M700 628 C695 580 680 530 672 470" marker-end="url(#faint)"/>
</g>
<g transform="translate(542 641)">{control}</g>
<g class="large" fill="{grey}">
<text x="654" y="669" font-weight="600">the control</text>
<text x="654" y="699">a second plain view instead</text>
<text x="654" y="727">same compute, no puzzle</text>
</g>
<g class="small" fill="{grey}" font-size="38">
<text x="652" y="677" font-weight="600">the control:</text>
<text x="652" y="725">a plain view</text>
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
    half, shown, parts = SIDE // 2, SMALL // 2, []
    for place, tile in enumerate(ORDERS[face]):
        left, top = x + shown * (place % 2), y + shown * (place // 2)
        view = f"{half * (tile % 2)} {half * (tile // 2)} {half} {half}"
        parts.append(
            f'<svg x="{left}" y="{top}" width="{shown - 1}" height="{shown - 1}" viewBox="{view}" '
            f'preserveAspectRatio="none"><use href="#face{face}"/></svg>'
        )
    return "\n".join(parts)


def draw() -> None:
    """Write method-light.svg and method-dark.svg into the record's figures, and the badges."""
    images = "\n".join(
        f'<image id="face{i}" width="{SIDE}" height="{SIDE}" href="{uri}"/>'
        for i, uri in enumerate(faces())
    )
    places = [(20 + 236 * (i % 2), 46 + 236 * (i // 2)) for i in range(len(CAST))]
    shown = "\n".join(f'<use href="#face{i}" x="{x}" y="{y}"/>' for i, (x, y) in enumerate(places))
    cut = "\n".join(puzzle(i, 20 + 118 * i, 566) for i in range(len(CAST)))
    control = (
        '<svg width="96" height="96" viewBox="20 14 201 201"><g opacity="0.75" '
        f'transform="translate({SIDE} 0) scale(-1 1)"><use href="#face0"/></g></svg>'
    )
    parts = {"images": images, "faces": shown, "puzzles": cut, "control": control}
    for name, colours in COLOURS.items():
        file = reference_dir() / "figures" / f"method-{name}.svg"
        file.write_text(DRAWING.format(**parts, **colours), encoding="utf-8")
    for name, (left, right, colour) in BADGES.items():
        half, rest = (round(14 + 7.2 * len(words)) for words in (left, right))
        places = {"half": half, "text": half + 7, "whole": half + rest}
        badge = BADGE.format(left=left, right=right, colour=colour, **places)
        (Path(__file__).parent / "badges" / f"{name}.svg").write_text(badge, encoding="utf-8")


if __name__ == "__main__":
    draw()
