"""Draw the FER+ fixture: cartoon faces in the folder layout and label format of FER+.

    python tests/helpers/make_ferplus_fixture.py [folder]      # default: tests/fixtures/ferplus

No photograph is used. Brows, eyes and mouth differ with the emotion, so that a few training steps
on the fixture lower a loss. Votes are made up, ten to an image, single ones included.
"""

import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

# FER+'s own order of the vote columns, then unknown and NF (not a face).
EMOTIONS = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
FIRST = {"FER2013Train": 0, "FER2013Valid": 28_638, "FER2013Test": 32_220}  # numbers as in FER+
SCALE = 4  # drawn large and shrunk: soft edges, small files

# For each emotion: brow slant, brow height, eye opening, mouth curve (up > 0), mouth opening, skew.
LOOKS = {
    "neutral": (0, 0, 2.0, 0, 0, 0),
    "happiness": (0, -1, 1.5, 5, 2, 0),
    "surprise": (0, -4, 3.5, 0, 6, 0),
    "sadness": (-3, -1, 1.5, -4, 0, 0),
    "anger": (4, 2, 1.5, -2, 1, 0),
    "disgust": (3, 1, 1.0, -3, 3, 2),
    "fear": (-3, -3, 3.0, -1, 4, 0),
    "contempt": (1, 0, 1.5, 1, 0, 4),
}

# Majority shares of ten votes: for the emotion itself, its neighbour, and one stray single vote.
SHARES = ((10, 0, 0), (9, 0, 1), (7, 3, 0), (7, 2, 1), (6, 4, 0), (6, 3, 1), (8, 2, 0))

# Votes of images that majority mode leaves out; the numbers are positions in the ten columns.
UNUSABLE = (
    {8: 1, 9: 9},  # not a face
    {0: 3, 3: 1, 8: 6},  # unknown
    {0: 4, 1: 4, 2: 2},  # no majority; probability mode keeps it as neutral
    {2: 5, 6: 5},  # exactly half is no majority; probability mode keeps it as surprise
    {9: 10},
    {4: 2, 8: 8},
    {0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 2},  # only single votes for emotions
    {0: 2, 3: 3, 7: 1, 8: 3, 9: 1},  # ties with unknown; probability mode keeps it as sadness
)


def draw_face(emotion: str | None, rng: random.Random) -> Image.Image:
    """Return a 48x48 grey cartoon of an emotion; None draws a thing that is no face."""
    image = Image.new("L", (48 * SCALE, 48 * SCALE), rng.randint(60, 100))
    draw = ImageDraw.Draw(image)

    def box(x0: float, y0: float, x1: float, y1: float) -> list[float]:
        return [SCALE * v for v in (x0, y0, x1, y1)]

    if emotion is None:
        draw.rectangle(box(10, 14, 38, 36), fill=rng.randint(150, 200))
        draw.rectangle(box(18, 20, 30, 30), fill=40)
        return image.resize((48, 48), Image.Resampling.LANCZOS)
    slant, lift, eye, curve, gape, skew = LOOKS[emotion]
    dx, dy = rng.uniform(-2, 2), rng.uniform(-2, 2)
    draw.ellipse(box(8 + dx, 4 + dy, 40 + dx, 45 + dy), fill=rng.randint(170, 220))
    for side in (-1, 1):
        x, y = 24 + dx + 7 * side, 20 + dy
        draw.ellipse(box(x - 2.5, y - eye, x + 2.5, y + eye), fill=30)
        inner, outer = y - 5 + lift + slant / 2, y - 5 + lift - slant / 2
        draw.line(box(x - 4 * side, inner, x + 4 * side, outer), fill=50, width=SCALE)
    x, y = 24 + dx, 35 + dy
    if gape:
        draw.ellipse(box(x - 3 - gape / 2, y - gape / 2, x + 3 + gape / 2, y + gape / 2), fill=60)
    left, middle, right = (x - 7, y - curve / 2), (x, y + curve / 2), (x + 7, y - curve / 2 - skew)
    points = [SCALE * v for point in (left, middle, right) for v in point]
    draw.line(points, fill=40, width=SCALE, joint="curve")
    return image.resize((48, 48), Image.Resampling.LANCZOS)


def usable_votes(emotion: int, turn: int) -> dict[int, int]:
    """Return ten votes with a majority for one emotion; `turn` walks through `SHARES`."""
    own, second, stray = SHARES[turn % len(SHARES)]
    return {emotion: own, (emotion + 1) % 8: second, (emotion + 3) % 8: stray}


def make_rows(folder: str) -> list[tuple[str | None, dict[int, int]]]:
    """Return (what to draw, votes) for each image: 64 in training, 24 in the other two."""
    if folder == "FER2013Train":
        turns, extra, unusable = 7, [], UNUSABLE
    else:
        turns, extra, unusable = 2, [0, 0, 1, 1], UNUSABLE[:4]
    rows = [(EMOTIONS[e], usable_votes(e, t)) for t in range(turns) for e in range(8)]
    rows += [(EMOTIONS[e], usable_votes(e, 3)) for e in extra]
    return rows + [(None if votes.get(9, 0) > 5 else "neutral", votes) for votes in unusable]


def main(target: Path) -> None:
    """Write the three folders under `target`/data."""
    rng = random.Random(0)
    for name, first in FIRST.items():
        folder = target / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        rows = make_rows(name)
        rng.shuffle(rows)
        lines = []
        for number, (emotion, votes) in enumerate(rows, start=first):
            image = f"fer{number:07d}.png"
            draw_face(emotion, rng).save(folder / image, optimize=True)
            counts = ",".join(str(votes.get(column, 0)) for column in range(10))
            lines.append(f'{image},"(0, 0, 48, 48)",{counts}\n')
        (folder / "label.csv").write_text("".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    here = Path(__file__).parents[1] / "fixtures" / "ferplus"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else here)
