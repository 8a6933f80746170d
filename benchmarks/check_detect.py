"""What the face detector finds, and what its boxes cost in accuracy; `make check-detect`.

Faces of known squares are pasted into scikit-learn's two photographs without people, 64 to 220
pixels wide, and looked for: rendered faces by yaw, and the FER+ test faces where `HMTL_FERPLUS` is
their folder. A face is found if a box's centre lies within 0.3 of its side from its own, the box's
side being 0.35 to 1.6 of it. Found faces are then answered twice by the shipped network of their
kind: in their own square, and in the detector's. The difference is paired, its interval of 95 % is
the bootstrap's over faces. `eyes level` is the accuracy in the detector's squares once the picture
was turned until the eyes lie level. Writes `outputs/reference/tables/detect.csv`.
"""

import argparse
import os
from collections.abc import Iterator

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_sample_images
from tqdm import tqdm

import hmtl
from hmtl.data.photos import cut_square
from hmtl.data.sets import face_pack, load_pack
from hmtl.faces.faceset import FaceSet
from hmtl.labels import EMOTIONS, class_indices
from hmtl.paths import reference_dir, show_progress
from hmtl.study.verdicts import bootstrap_interval
from hmtl.use.detect import _detector, find_faces

FACES = FaceSet((0, 0, 50), size=160, seed=7, yaw=(45, 85))  # people nobody trains on
YAWS = (0, 15, 30, 45, 60, 90)  # degrees
SIDES = 64, 220  # pixels


def scenes(faces, seed: int = 0) -> Iterator[tuple[Image.Image, tuple[int, int, int, int]]]:
    """Yield each face in a photograph, and its square x0, y0, x1, y1 there."""
    behind = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    for number, pixels in enumerate(faces):
        rng = np.random.default_rng([seed, number])
        scene = behind[rng.integers(len(behind))].copy()
        side = int(rng.integers(SIDES[0], SIDES[1] + 1))
        x, y = (int(rng.integers(0, free - side + 1)) for free in scene.size)
        face = Image.fromarray(np.asarray(pixels).squeeze()).convert("RGB")
        scene.paste(face.resize((side, side), Image.Resampling.BICUBIC), (x, y))
        yield scene, (x, y, x + side, y + side)


def match(boxes: np.ndarray, square: tuple) -> np.ndarray:
    """Which boxes (n, 4) are the face in `square`, bool (n,)."""
    side = square[2] - square[0]
    gap = (boxes[:, :2] + boxes[:, 2:]) / 2 - (np.add(square[:2], square[2:]) / 2)
    sizes = (boxes[:, 2] - boxes[:, 0]) / side
    return (np.hypot(*gap.T) < 0.3 * side) & (sizes > 0.35) & (sizes < 1.6)


def level_eyes(scene: Image.Image, box: np.ndarray) -> Image.Image:
    """The scene, turned about the middle of a face's square until its eyes lie level."""
    seen = np.asarray(cut_square(scene, box, 160, False)[0])[..., ::-1].copy()  # BGR
    detector = _detector()
    detector.setInputSize((160, 160))
    _, found = detector.detect(seen)
    if found is None:
        return scene
    right, left = found[0, 4:6], found[0, 6:8]
    angle = np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0]))
    middle = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    return scene.rotate(float(angle), Image.Resampling.BICUBIC, center=middle)


def look_for(faces, labels, network: str) -> pd.DataFrame:
    """A row a face: found, boxes that are no face, right in its own square and in the found one."""
    net, rows = hmtl.load(network), []
    progress = tqdm(scenes(faces), total=len(faces), disable=not show_progress())
    for scene, square in progress:
        boxes = find_faces(scene, net.frame)
        same = match(boxes, square)
        found = [square, *boxes[same][:1]]
        squares = [cut_square(scene, box, net.size, net.grey)[0] for box in found]
        turned = level_eyes(scene, found[-1]) if len(found) == 2 else scene
        squares.append(cut_square(turned, found[-1], net.size, net.grey)[0])
        answers = net.answer(net.see(squares)).argmax(1)
        rows.append((len(found) == 2, int((~same).sum()), answers[0], answers[-2], answers[-1]))
    table = pd.DataFrame(rows, columns=["found", "false", "own", "box", "level"])
    wanted = class_indices(labels, EMOTIONS, "emotion")
    return table.assign(**{n: table[n] == wanted for n in ("own", "box", "level")})


def summary(table: pd.DataFrame, what: str, slice_: str) -> dict:
    """One row of the table that is written."""
    found = table[table["found"]]
    gap = 100 * (found["box"].astype(float) - found["own"].astype(float)).to_numpy()
    mean, low, high = bootstrap_interval(gap)
    return {
        "faces": what, "slice": slice_, "count": len(table),
        "found %": round(100 * table["found"].mean(), 1), "false boxes": table["false"].sum(),
        "accuracy in own squares %": round(100 * found["own"].mean(), 1),
        "accuracy in boxes %": round(100 * found["box"].mean(), 1),
        "difference": round(mean, 2), "low": round(low, 2), "high": round(high, 2),
        "eyes level %": round(100 * found["level"].mean(), 1),
    }  # fmt: skip


def main() -> None:
    """Write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, help="the first faces of each kind (default: all)")
    count = parser.parse_args().count
    pack = face_pack(FACES)
    labels = pack.labels[:count]
    table = look_for(pack.images[:count], labels["emotion"], "faces-emotion")
    yaw = labels["yaw"].abs()
    rows = [summary(table, "rendered", "all")]
    for low, high in zip(YAWS, YAWS[1:], strict=False):
        rows.append(summary(table[(yaw >= low) & (yaw < high)], "rendered", f"yaw {low} to {high}"))
    if root := os.environ.get("HMTL_FERPLUS"):
        pack = load_pack("ferplus", root)
        test = pack.rows("test")[:count]
        faces = look_for(pack.take(test), pack.labels.loc[test, "emotion"], "ferplus-best")
        rows.append(summary(faces, "ferplus", "all"))
    file = reference_dir() / "tables" / "detect.csv"
    found = pd.DataFrame(rows)
    if not root and file.is_file():  # the real faces' recorded row stays
        old = pd.read_csv(file)
        found = pd.concat([found, old[old["faces"] == "ferplus"]])
    found.to_csv(file, index=False)
    print(found.to_string(index=False))
    print(file)


if __name__ == "__main__":
    main()
