"""Folders in the formats of the public data sets, to the letter, with made-up pixels.

Each `make_<name>(root)` writes a small data set and returns its root. No photograph is used: images
are a few grey levels, or empty files where a reader only looks names up. Tests break what is
written here and assert what the reader says. What one picture's labels look like is written by
`hmtl.data.examples`, whose folders have rendered faces in them.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from hmtl.data.examples import HEADER, affectnet_row, save_annotation, save_mat
from hmtl.data.examples import write_lines as write


def touch(root: Path, *names: str) -> None:
    """Make empty files, with their folders."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def change(file: Path, old: str, new: str) -> None:
    """Replace text in a file that must have it."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


# ---------------------------------------------------------------------------------------- AffectNet


def affectnet_name(number: int, ending: str = "jpg") -> str:
    """A path as in AffectNet: an int folder and 56 hexadecimal digits."""
    return f"{number % 3}/{number:056x}.{ending}"


def affectnet_rows(first: int, count: int) -> list[str]:
    """`count` rows, expressions 0..10 in turn; -2 where Uncertain and Non-Face have it."""
    rows = []
    for i in range(count):
        affect = ("-2", "-2") if i % 11 > 8 else ("0.5", "-0.25")
        rows.append(affectnet_row(affectnet_name(first + i), str(i % 11), *affect))
    return rows


def make_affectnet_csv(root, train=None, test=None, *, header=(True, False), images=None) -> Path:
    """The first release: 33 training and 22 validation rows unless `train`, `test` are given."""
    train = affectnet_rows(0, 33) if train is None else train
    test = affectnet_rows(100, 22) if test is None else test
    for name, rows, has in (("training", train, header[0]), ("validation", test, header[1])):
        write(root / f"Manually_Annotated_file_lists/{name}.csv", [HEADER] * has + rows)
    (root / "Manually_Annotated_Images").mkdir(exist_ok=True)
    named = [row.split(",")[0].strip() for row in train + test]
    touch(root / "Manually_Annotated_Images", *(named if images is None else images))
    return root


def make_affectnet_npy(root, train=range(24), test=range(16), kind="text") -> Path:
    """March 2021: ids start anew in each set, expressions 0..7 in turn."""
    for name, numbers in (("train_set", train), ("val_set", test)):
        (root / name / "annotations").mkdir(parents=True)
        (root / name / "images").mkdir()
        for i in numbers:
            touch(root / name / "images", f"{i}.jpg")
            save_annotation(root / name / "annotations", i, i % 8, kind=kind)
    return root


def make_class_folders(root, names, count=5, splits=("",)) -> Path:
    """`count` empty images in a folder for each name, under each split folder."""
    for split in splits:
        for name in names:
            touch(root / split / name, *(f"image{i:07d}.jpg" for i in range(count)))
    return root


# ---------------------------------------------------------------------------------------- head pose


POSE = [0.085767917, -0.095569924, 0.075868770]  # pitch, yaw, roll: 4.914, -5.476, 4.347 degrees


def make_w300lp(root) -> Path:
    """Two photos, three poses each, in AFW and HELEN, and their flips; Code and landmarks too."""
    for subset in ("AFW", "HELEN", "IBUG", "LFPW"):
        (root / "300W_LP" / subset).mkdir(parents=True)
        (root / "300W_LP" / f"{subset}_Flip").mkdir()
    for subset in ("AFW", "HELEN"):
        for photo in (11, 12):
            for turn in range(3):
                stem = f"{subset}_{photo}_1_{turn}"
                for folder, sign in ((subset, 1), (f"{subset}_Flip", -1)):
                    pose = [POSE[0], sign * (POSE[1] + 0.4 * turn), sign * POSE[2]]
                    save_mat(root / "300W_LP" / folder / f"{stem}.mat", pose)
                    touch(root / "300W_LP" / folder, f"{stem}.jpg")
        touch(root / "300W_LP" / "landmarks" / subset, f"{subset}_11_1_0_pts.mat")
    touch(root / "300W_LP" / "Code", "ModelGeneration.m", "sample.jpg")
    return root / "300W_LP"


def make_aflw2000(root) -> Path:
    """Six images with gaps in their numbers; one is beyond 99 degrees, one has pt2d of -1."""
    folder = root / "AFLW2000"
    for i, number in enumerate((2, 4, 6, 8, 10, 21)):
        stem = f"image{number:05d}"
        pose = [POSE[0], np.radians(99.5) if number == 8 else POSE[1], POSE[2]]
        pt3d = np.zeros((3, 68))
        pt3d[:2] = np.array([[110.0], [130.0]]) + np.linspace(0, 80, 68)
        points = None
        if number == 10:
            points = np.full((2, 21), -1.0)
            points[:, :2] = [[100.0, 200.0], [120.0, 240.0]]
        save_mat(folder / f"{stem}.mat", pose, points, pt3d_68=pt3d + i)
        touch(folder, f"{stem}.jpg")
    touch(folder, "Code/readme.txt")
    return folder


ROTATION = [
    [0.980639, 0.109899, 0.162077],
    [-0.11023, 0.993882, -0.00697376],
    [-0.161851, -0.011027, 0.986754],
]
CENTRE = (43.4019, -30.7038, 906.864)


def pose_text(rotation=ROTATION, centre=CENTRE) -> str:
    """A pose.txt of BIWI: three rows with blanks at their ends, an empty line, the centre."""
    rows = ["".join(f"{v:g} " for v in row) for row in np.asarray(rotation)]
    return "\n".join([*rows, "", "".join(f"{v:g} " for v in centre)]) + "\n"


CALIBRATION = """517.679 0 320
0 517.679 240.5
0 0 1

0 0 0 0

0.999947 0.00432361 0.00929419
-0.00446314 0.999877 0.0150443
-0.009228 -0.015085 0.999844

-24.0198 5.8896 -13.2308

640 480
"""


def make_biwi(root, frames=3) -> Path:
    """24 sequences of `frames` frames; numbers start at 3 and have gaps."""
    for sequence in range(1, 25):
        folder = root / "hpdb" / f"{sequence:02d}"
        folder.mkdir(parents=True)
        (folder / "rgb.cal").write_text(CALIBRATION)
        for i in range(frames):
            stem = f"frame_{3 + 2 * i:05d}"
            (folder / f"{stem}_pose.txt").write_text(pose_text())
            touch(folder, f"{stem}_rgb.png", f"{stem}_depth.bin")
        touch(root / "hpdb", f"{sequence:02d}.obj")
    return root / "hpdb"


# ------------------------------------------------------------------------------ emotion and gender


def make_rafdb(root, train=(5, 4, 4, 1, 7, 2, 3, 6), test=(4, 7, 7)) -> Path:
    """RAF-DB's basic part: train ids have five digits, test ids four; attributes by hand."""
    lines = []
    for split, labels in (("train", train), ("test", test)):
        for i, label in enumerate(labels, start=1):
            stem = f"{split}_{i:05d}" if split == "train" else f"{split}_{i:04d}"
            lines.append(f"{stem}.jpg {label}")
            touch(root / "Image/aligned", f"{stem}_aligned.jpg")
            touch(root / "Image/original", f"{stem}.jpg")
            between = "\t" if i % 2 else " "
            points = [f"{60.5 + p}{between}{70.25 + p}" for p in range(5)]
            file = root / f"Annotation/manual/{stem}_manu_attri.txt"
            write(file, [*points, str(i % 3), "0", "2"])
    write(root / "EmoLabel/list_patition_label.txt", lines)
    return root


USAGES = ["Training"] * 7 + ["PublicTest"] * 2 + ["PrivateTest"] * 3


def pixel_rows(count=12) -> np.ndarray:
    """Pixels of the FER2013 fixture, uint8 (count, 2304)."""
    return np.random.default_rng(0).integers(0, 256, (count, 2304), dtype=np.uint8)


def make_fer2013(root, kind="fer2013") -> Path:
    """`fer2013.csv`, `icml_face_data.csv` (blanks before names) or `train.csv` and `test.csv`."""
    pixels = [" ".join(map(str, row)) for row in pixel_rows()]
    rows = [
        (i % 7, usage, text) for i, (usage, text) in enumerate(zip(USAGES, pixels, strict=True))
    ]
    if kind == "fer2013":
        lines = [f"{label},{text},{usage}" for label, usage, text in rows]
        write(root / "fer2013.csv", ["emotion,pixels,Usage", *lines])
    elif kind == "icml":
        lines = [f"{label},{usage},{text}" for label, usage, text in rows]
        write(root / "icml_face_data.csv", ["emotion, Usage, pixels", *lines])
    else:
        write(root / "train.csv", ["emotion,pixels", *(f'{r[0]},"{r[2]}"' for r in rows[:7])])
        write(root / "test.csv", ["pixels", *(f'"{r[2]}"' for r in rows[7:])])
    return root


VOTES_HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)


def make_ferplus_csv(root, votes, names=None) -> Path:
    """`fer2013new.csv` beside `fer2013.csv`, twelve rows of `votes` (text of ten numbers)."""
    make_fer2013(root)
    names = [f"fer{i:07d}.png" for i in range(len(votes))] if names is None else names
    rows = [f"{usage},{n},{v}" for usage, n, v in zip(USAGES, names, votes, strict=True)]
    write(root / "fer2013new.csv", [VOTES_HEADER, *rows])
    return root


UTKFACE = [
    "1_0_0_20161219140623097.jpg.chip.jpg",
    "26_1_3_20170119171116264.jpg.chip.jpg",
    "116_1_2_20170112220255503.jpg.chip.jpg",
    "61_1_20170109142408075.jpg.chip.jpg",
    "61_1_20170109150557335.jpg.chip.jpg",
    "39_1_20170116174525125.jpg.chip.jpg",
    "55_0_0_20170116232725357jpg.chip.jpg",
    "24_0_1_20170116220224657.jpg.chip.jpg",
]


def make_utkface(root, more=(), count=40) -> Path:
    """Malformed names as published, and `count` well-formed ones, half of them female."""
    usual = [f"{20 + i}_{i % 2}_{i % 5}_2017011917{i:07d}.jpg.chip.jpg" for i in range(count)]
    touch(root / "UTKFace", *UTKFACE, *usual, *more)
    touch(root / "crop_part1", *UTKFACE[:3])  # the zip ships some images again
    return root


ATTRIBUTES = [
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows",
    "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup",
    "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns",
    "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
]  # fmt: skip


def make_celeba(root, males=(-1, 1, 1, -1, -1, 1), splits=(0, 0, 0, 1, 2, 2)) -> Path:
    """Attributes with -1 for no and double blanks; every other attribute says the opposite."""
    names = [f"{i:06d}.jpg" for i in range(1, len(males) + 1)]
    touch(root / "img_align_celeba", *names)
    lines = [str(len(names)), " ".join(ATTRIBUTES) + " "]
    for name, male in zip(names, males, strict=True):
        values = [male if a == "Male" else -male for a in ATTRIBUTES]
        lines.append(f"{name} " + " ".join(f"{v:2d}" for v in values))
    write(root / "list_attr_celeba.txt", lines)
    pairs = [f"{name} {split}" for name, split in zip(names, splits, strict=True)]
    write(root / "list_eval_partition.txt", pairs)
    return root


def make_fei(root, subjects=range(1, 21), shots=(1, 5, 10, 11, 14)) -> Path:
    """Original images in four parts of subjects, frontal ones beside, and a user's gender csv."""
    for subject in subjects:
        names = [f"{subject}-{shot:02d}.jpg" for shot in shots]
        touch(root / f"originalimages_part{1 + subject % 4}", *names)
        frontal = root / "frontalimages_manuallyaligned_part1"
        touch(frontal, f"{subject}a.jpg", f"{subject}b.jpg")
    lines = [f"{s},{'male' if s % 2 else 'female'}" for s in subjects]
    write(root / "fei_gender.csv", ["subject,gender", *lines])
    return root


def save_picture(file: Path, size=(8, 8), level=128) -> None:
    """A real, plain picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).save(file)


def draw_photo(seed, size=(40, 44)) -> Image.Image:
    """A smooth picture of random colours, `size` (width, height); no two are alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
