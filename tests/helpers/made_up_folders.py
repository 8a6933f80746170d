"""Made-up folders in published formats, and as copies of them lie on disks.

Their pictures are rendered faces of the shipped mini set, so they may be shown, and their labels
are exact. `write_<name>(root)` writes a folder and returns it; files have one fixed time, so that a
folder written anew is the same data. `affectnet_row`, `save_annotation` and `save_mat` write one
picture's labels to the letter of a format. Notebook 02 and the tests of the readers use them. Ours.
"""

__all__ = [
    "COPIES", "EXAMPLES", "HEADER", "LANDMARKS", "affectnet_row", "save_annotation", "save_mat",
    "write_affectnet_csv", "write_affectnet_folders", "write_affectnet_npy", "write_aflw2000",
    "write_lines", "write_w300lp",
]  # fmt: skip

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.io
from PIL import Image, ImageOps

from hmtl.data.sets import load_pack
from hmtl.files import new_file
from hmtl.labels import EMOTIONS, GENDERS

HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,"
    "expression,valence,arousal"
)
LANDMARKS = ";".join(f"{v / 2}" for v in range(136))
_PEOPLE = {"neutral": 24, "happy": 24, "sad": 16, "surprise": 12, "fear": 8, "disgust": 6,
           "anger": 16, "contempt": 5}  # fmt: skip
"""Training faces of each emotion: unequal, as in AffectNet."""
_TESTED = 4  # people of the examples' test images, each with all eight emotions
_TIME = 1_614_556_800  # 1 March 2021


# -------------------------------------------------------------------------------------- the formats


def write_lines(file: Path, lines: list[str]) -> Path:
    """Write lines as UTF-8, with their folder."""
    return _write(file, "".join(f"{line}\n" for line in lines).encode())


def affectnet_row(
    name: str, expression="0", valence="0.1", arousal="-0.2", box=(134.0, 130.0, 899, 890)
) -> str:
    """Return a line of AffectNet's training.csv or validation.csv; `box` is x, y, width, height."""
    return f"{name},{','.join(map(str, box))},{LANDMARKS},{expression},{valence},{arousal}"


def save_annotation(folder: Path, number, expression, valence=0.5, arousal=-0.25, kind="text"):
    """Save the four .npy files of AffectNet's second release; `kind`: text, number or array."""
    forms: dict[str, Callable] = {"text": str, "number": float, "array": lambda value: [value]}
    form = forms[kind]
    values = {"exp": form(expression), "val": form(valence), "aro": form(arousal)}
    for field, value in {**values, "lnd": np.zeros(136)}.items():
        with new_file(folder / f"{number}_{field}.npy", lasting=False) as part:
            np.save(part, np.array(value))


def save_mat(file: Path, pose, points=None, **more) -> None:
    """Save a .mat of 300W-LP: Pose_Para (1, 7) = pitch, yaw, roll (rad), translation, scale."""
    pose = [*pose, 220.44441, 167.35301, -100.53674, 0.0012647437][:7]
    box = np.array([[100.0, 200.0], [120.0, 240.0]])  # x from 100 to 200, y from 120 to 240
    content = {
        "pt2d": np.pad(box, ((0, 0), (0, 66)), mode="edge") if points is None else points,
        "Pose_Para": np.array([pose]),
        "roi": np.array([[1, 450, 1, 450]]),
        "Illum_Para": np.zeros((1, 10)),
        "Color_Para": np.zeros((1, 7)),
        "Tex_Para": np.zeros((199, 1)),
        "Shape_Para": np.zeros((199, 1)),
        "Exp_Para": np.zeros((29, 1)),
    }
    with new_file(file, lasting=False) as part:
        scipy.io.savemat(part, content | more)


# ---------------------------------------------------------------------------- folders with pictures


def write_affectnet_csv(root: str | Path) -> Path:
    """Write AffectNet's first release, with what is found in copies of it.

    Pictures of 200x150 with a face box. Of every kind some: Uncertain and Non-Face with valence and
    arousal of -2, a torn row, an image that is not there, a .tif, a test picture in training under
    another name, a truncated file and an empty one, a face of a few pixels.
    """
    root, lists = Path(root), {}
    images = root / "Manually_Annotated_Images"
    for split, file in (("train", "training"), ("test", "validation")):
        lists[file] = [
            _write_boxed(images, f"{split}{i:05d}", face, EMOTIONS.index(row.emotion), row)
            for i, (face, row) in enumerate(_faces(split))
        ]
    _spoil(images, lists)
    for file, rows in lists.items():
        has_header = [HEADER] if file == "training" else []  # as in many copies
        write_lines(root / f"Manually_Annotated_file_lists/{file}.csv", has_header + rows)
    return _settle(root)


def _write_boxed(images: Path, stem: str, face, expression, row=None, side: int = 96) -> str:
    """Save a picture with a face somewhere in it; return its line of the csv."""
    rng = np.random.default_rng(list(stem.encode()))
    picture = _background(rng, (200, 150))
    x, y = rng.integers(4, 100), rng.integers(4, 50)
    picture.paste(_enlarge(face, side), (int(x), int(y)))
    name = f"{rng.integers(1000)}/{rng.bytes(28).hex()}.jpg"
    _save(picture, images / name)
    valence, arousal = (-2, -2) if row is None else (row.valence, row.arousal)
    return affectnet_row(name, expression, valence, arousal, (x, y, side, side))


def _spoil(images: Path, lists: dict[str, list[str]]) -> None:
    """Break what copies have broken."""
    train, name = lists["training"], [row.split(",")[0] for row in lists["training"]]
    face, row = next(_faces("valid"))
    train += [_write_boxed(images, f"other{i}", face, 9 + i % 2) for i in range(5)]
    train.append(_write_boxed(images, "tiny", face, 0, row, side=10))
    train.append(train[3][:40])
    (images / name[5]).unlink()
    _write(images / name[6], (images / name[6]).read_bytes()[:900])
    _write(images / name[7], b"")
    train.append(train[8].replace(name[8], "12/scan.tif"))
    first = lists["validation"][0]
    again = f"7/{'c0' * 28}.jpg"
    _write(images / again, (images / first.split(",")[0]).read_bytes())
    train.append(first.replace(first.split(",")[0], again))


def write_affectnet_npy(root: str | Path, people: int | None = None) -> Path:
    """Write AffectNet's release of March 2021: crops of 224x224, numbers start anew in each set.

    `people` train, with all eight emotions each; by default emotions are as unequal as elsewhere.
    """
    root = Path(root)
    for split, folder in (("train", "train_set"), ("test", "val_set")):
        notes = root / folder / "annotations"
        for i, (face, row) in enumerate(_faces(split, people)):
            _save(_enlarge(face, 224), root / folder / f"images/{i}.jpg")
            save_annotation(notes, i, EMOTIONS.index(row.emotion), row.valence, row.arousal)
    return _settle(root)


def write_affectnet_folders(root: str | Path) -> Path:
    """Write a folder copy of AffectNet: class folders, and a labels.csv that disagrees on four."""
    root, lines = Path(root), [",pth,label,relFCs"]
    for i, (face, row) in enumerate(_faces("train")):
        name = f"{row.emotion}/image{i:07d}.jpg"
        _save(_enlarge(face, 96), root / name)
        own = EMOTIONS.index(row.emotion)
        said = EMOTIONS[(own + (i in (10, 30, 50, 70))) % 8]
        lines.append(f"{i},{name},{said},0.85")
    write_lines(root / "labels.csv", lines)
    return _settle(root)


def write_w300lp(root: str | Path, people: int = 12) -> Path:
    """Write 300W-LP: eight poses and their mirror images of each of `people`, 450x450, with .mat.

    A person takes the place of a photograph, which the set turns to several poses.
    """
    root = Path(root) / "300W_LP"
    subsets = ("AFW", "HELEN", "IBUG", "LFPW")
    for subset in subsets:
        (root / subset).mkdir(parents=True, exist_ok=True)
    for i, (face, row) in enumerate(_faces("train", people)):
        subset = subsets[row.person % 4]
        name, pose = f"{subset}_{1000 + row.person}_1_{i % 8}", _pose(row)
        picture, points = _place(face, i, top=0.6, width=172, height=127)
        _save(picture, root / subset / f"{name}.jpg")
        save_mat(root / subset / f"{name}.mat", pose, points)
        mirrored = [pose[0], -pose[1], -pose[2]]
        _save(ImageOps.mirror(picture), root / f"{subset}_Flip" / f"{name}.jpg")
        save_mat(root / f"{subset}_Flip/{name}.mat", mirrored, [[450], [0]] + [[-1], [1]] * points)
    return _settle(root)


def write_aflw2000(root: str | Path, people: int = 6) -> Path:
    """Write AFLW2000-3D: the test faces of `people`, with gaps in the numbers, 450x450, with .mat.

    One is turned beyond 99 degrees by its label, as 31 of the real ones are.
    """
    root = Path(root) / "AFLW2000"
    for i, (face, row) in enumerate(_faces("test", people)):
        pose = [0.0, np.radians(-103.0), 0.0] if i == 5 else _pose(row)
        picture, points = _place(face, i, top=0.4, width=122, height=153)
        stem = f"image{2 + 3 * i:05d}"
        _save(picture, root / f"{stem}.jpg")
        save_mat(root / f"{stem}.mat", pose, points, pt3d_68=np.vstack([points, np.zeros(68)]))
    return _settle(root)


EXAMPLES = {
    "AffectNet, first release": ("affectnet", write_affectnet_csv),
    "AffectNet, March 2021": ("affectnet", write_affectnet_npy),
    "AffectNet, folder copy": ("affectnet-folders", write_affectnet_folders),
    "300W-LP": ("300w-lp", write_w300lp),
    "AFLW2000-3D": ("aflw2000", write_aflw2000),
}
"""What a folder imitates -> (name of its data set, function that writes it)."""


def _copy_affectnet_plus(root: Path) -> Path:
    for split, name in (("train", "train_set"), ("test", "validation_set")):
        folder = root / "AffectNet+/human_annotated" / name
        for i, (face, row) in enumerate(_faces(split)):
            _save(_enlarge(face, 224), folder / f"images/{i}.jpg")
            affect = {"valence": float(row.valence), "arousal": float(row.arousal)}
            said = {"human-label": EMOTIONS.index(row.emotion), "meta-data": affect}
            write_lines(folder / f"annotations/{i}.json", [json.dumps(said)])
    return _settle(root)


def _copy_fer2013(root: Path) -> Path:
    usages = {"train": "Training", "valid": "PublicTest", "test": "PrivateTest"}
    for split, usage in usages.items():
        for i, (face, row) in enumerate(_faces(split)):
            if row.emotion != "contempt":
                part = "train" if split == "train" else "test"
                _save(_enlarge(face, 48), root / f"archive/{part}/{row.emotion}/{usage}_{i}.jpg")
    return _settle(root)


def _copy_ckplus(root: Path) -> Path:
    for i, (face, row) in enumerate(_faces("train", 20)):
        name = f"S{10 + row.person:03d}_{1 + i % 8:03d}_{12 + i % 3:08d}.png"
        _save(_enlarge(face, 48), root / "CK+48" / row.emotion / name)
    return _settle(root)


def _copy_celeba(root: Path) -> Path:
    genders, splits = ["image_id,Eyeglasses,Male"], ["image_id,partition"]
    for number, split in enumerate(("train", "valid", "test")):
        for face, row in _faces(split, 8):
            name = f"{len(genders):06d}.jpg"
            _save(_enlarge(face, 178), root / "img_align_celeba/img_align_celeba" / name)
            genders.append(f"{name},-1,{1 if row.gender == 'male' else -1}")
            splits.append(f"{name},{number}")
    write_lines(root / "list_attr_celeba.csv", genders)
    write_lines(root / "list_eval_partition.csv", splits)
    return _settle(root)


def _copy_fairface(root: Path) -> Path:
    for split, name in (("train", "train"), ("test", "val")):
        lines = ["file,age,gender,race,service_test"]
        for i, (face, row) in enumerate(_faces(split, 12)):
            _save(_enlarge(face, 224), root / f"fairface-img-margin025-trainval/{name}/{i}.jpg")
            lines.append(f"{name}/{i}.jpg,20-29,{row.gender.capitalize()},White,True")
        write_lines(root / f"fairface_label_{name}.csv", lines)
    return _settle(root)


def _copy_utkface(root: Path) -> Path:
    for i, (face, row) in enumerate(_faces("train", 20)):
        sex = GENDERS[::-1].index(row.gender)
        name = f"{20 + i % 50}_{sex}_{i % 5}_20170116174525{i:03d}.jpg.chip.jpg"
        _save(_enlarge(face, 200), root / "crop_part1" / name)
    return _settle(root)


COPIES: dict[str, tuple[str, str, Callable[[Path], Path]]] = {
    "AffectNet+, as handed out now": ("affectnet", "emotion", _copy_affectnet_plus),
    "FER2013 in folders, from Kaggle": ("fer2013", "emotion", _copy_fer2013),
    "CK+48, from Kaggle": ("ckplus", "emotion", _copy_ckplus),
    "CelebA, from Kaggle": ("celeba", "gender", _copy_celeba),
    "FairFace, as unpacked": ("fairface", "gender", _copy_fairface),
    "UTKFace, crop_part1": ("utkface", "gender", _copy_utkface),
}
"""What lies on a disk -> (name of its data set, a task for its labels, what writes it)."""


def _faces(split: str, people: int | None = None) -> Iterator[tuple[np.ndarray, pd.Series]]:
    """Yield (pixels, labels) of mini faces: all of some people's, or `_PEOPLE` of each emotion."""
    pack = load_pack("mini")
    rows = pack.labels[pack.labels["split"] == split]
    place = rows["person"].map({person: i for i, person in enumerate(rows["person"].unique())})
    if people is None:
        people = rows["emotion"].map(_PEOPLE) if split == "train" else _TESTED
    for row in rows[place < people].itertuples():
        yield pack.images[row.Index], row


def _pose(row) -> list[float]:
    """Return pitch, yaw, roll in radians, as Pose_Para has them."""
    return list(np.radians([row.pitch, row.yaw, row.roll]))


def _place(face, seed: int, top: float, width: int, height: int) -> tuple[Image.Image, np.ndarray]:
    """Return a picture of 450x450 with the face in its middle, and 68 landmarks, (2, 68).

    Their box is such that Hopenet's crop, which moves the upper side by `top` heights and the left
    one by 0.18 or 0.4 widths, cuts out about the square in which the face lies.
    """
    picture = _background(np.random.default_rng(seed), (450, 450))
    picture.paste(_enlarge(face, 240), (105, 105))
    left = 105 + (0.18 if top == 0.6 else 0.4) * width
    upper = 105 + top * height
    turn = np.linspace(0, 2 * np.pi, 69)[:68]  # an ellipse that touches all four sides
    x = left + width * (0.5 + 0.5 * np.cos(turn))
    y = upper + height * (0.5 + 0.5 * np.sin(turn))
    return picture, np.stack([x, y])


def _enlarge(face: np.ndarray, side: int) -> Image.Image:
    return Image.fromarray(np.asarray(face)).resize((side, side), Image.Resampling.BICUBIC)


def _background(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Return a smooth picture of dull random colours, `size` (width, height)."""
    coarse = rng.integers(80, 150, (3, 4, 1)) + rng.integers(-12, 12, 3)  # one hue a picture
    coarse = coarse.astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _save(picture: Image.Image, file: Path) -> None:
    with new_file(file, lasting=False) as part:
        picture.save(part, quality=92)


def _write(file: Path, content: bytes) -> Path:
    with new_file(file, lasting=False) as part:
        part.write_bytes(content)
    return file


def _settle(root: Path) -> Path:
    """Give every file the same time, which is part of what a cached pack is known by."""
    for file in root.rglob("*"):
        os.utime(file, (_TIME, _TIME))
    return root
