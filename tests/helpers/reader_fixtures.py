"""Folders in the formats of the public data sets, to the letter, with made-up pixels.

Each `make_<name>(root)` writes a small data set and returns its root. No photograph is used: images
are a few grey levels, or empty files where a reader only looks names up. Tests break what is
written here and assert what the reader says. What one picture's labels look like is written by
`made_up_folders`, whose folders have rendered faces in them.
"""

import json
from pathlib import Path

import numpy as np
from made_up_folders import HEADER, affectnet_row, save_annotation, save_mat
from made_up_folders import write_lines as write
from PIL import Image

from hmtl.data.readers.fer2013 import read_pixels


def touch(root: Path, *names: str) -> None:
    """Make empty files, with their folders."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def change(file: Path, old: str, new: str) -> None:
    """Replace text in a file that must have it."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


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


def make_affectnet_plus(root, train=range(24), test=range(16)) -> Path:
    """AffectNet+: a JSON file an image, expressions 0..10 in turn in training, 0..7 in test."""
    place = root / "AffectNet+"
    for name, numbers, kinds in (("train_set", train, 11), ("validation_set", test, 8)):
        for i in numbers:
            folder = place / "human_annotated" / name
            touch(folder, f"images/{i}.jpg")
            affect = {"valence": -2, "arousal": -2} if i % kinds > 8 else {}
            meta = {"age": 30, "valence": -0.5, "arousal": 0.127, **affect, "landmark-29": [1] * 58}
            said = {"human-label": i % kinds, "soft-label": [0.125] * 8, "meta-data": meta}
            write(folder / f"annotations/{i}.json", [json.dumps(said)])
    touch(place / "no_human_annotated/images", "0.jpg")
    return place


ALPHABETICAL = ["Anger", "Contempt", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]


def make_affectnet_yolo(root, splits=("train", "valid", "test")) -> Path:
    """YOLO's form: numbers in alphabetical order; every third face fills half of the picture."""
    place = root / "YOLO_format"
    for split in splits:
        for i in range(16):
            save_picture(place / split / f"images/{i}.png", (40, 30))
            box = "0.5 0.5 1 1" if i % 3 else "0.25 0.5 0.5 0.5"
            write(place / split / f"labels/{i}.txt", [f"{i % 8} {box}"])
    write(place / "data.yaml", ["nc: 8", f"names: {ALPHABETICAL}"])
    return place


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


def make_biwi(root, frames=3, sequences=24) -> Path:
    """`sequences` of `frames` frames; numbers start at 3 and have gaps."""
    for sequence in range(1, sequences + 1):
        folder = root / "hpdb" / f"{sequence:02d}"
        folder.mkdir(parents=True)
        (folder / "rgb.cal").write_text(CALIBRATION, encoding="utf-8")
        for i in range(frames):
            stem = f"frame_{3 + 2 * i:05d}"
            (folder / f"{stem}_pose.txt").write_text(pose_text(), encoding="utf-8")
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


def fer2013_images(table) -> np.ndarray:
    """The pixels of rows of a csv, uint8 (N, 48, 48, 1), in their order."""
    images = [read_pixels(p, o) for p, o in zip(table["path"], table["offset"], strict=True)]
    return np.array(images, np.uint8).reshape(-1, 48, 48, 1)


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


def make_fairface(root, train=8, val=4) -> Path:
    """Two lists; pictures in a folder of the archive's name."""
    for name, count in (("train", train), ("val", val)):
        lines = ["file,age,gender,race,service_test"]
        for i in range(1, count + 1):
            sex = ("Male", "Female")[i % 2]
            lines.append(f"{name}/{i}.jpg,{10 * i}-{10 * i + 9},{sex},East Asian,{i % 3 == 0}")
            touch(root / "fairface-img-margin025-trainval", f"{name}/{i}.jpg")
        write(root / f"fairface_label_{name}.csv", lines)
    return root


def make_expw(root, count=21) -> Path:
    """`label.lst`: blanks, no header, box as top, left, right, bottom; two faces in picture 0."""
    lines = [f"{i}.jpg 0 {10 + i} 20 120 {110 + i} 60.3682 {i % 7}" for i in range(count)]
    write(root / "label/label.lst", [*lines, "0.jpg 1 5 150 190 45 12.5 3"])
    touch(root / "image/origin", *(f"{i}.jpg" for i in range(count)))
    return root


def make_ckplus(root, people=12) -> Path:
    """CK+48: two sequences a person, three frames each; one emotion a sequence."""
    emotions = ["anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"]
    for i in range(2 * people):
        name = f"S{10 + i // 2:03d}_{1 + i % 2:03d}"
        frames = (f"{name}_{f:08d}.png" for f in (15, 16, 17))
        touch(root / "CK+48" / emotions[i % 7], *frames)
    return root / "CK+48"


def make_ckplus_csv(root) -> Path:
    """`ckextended.csv`: as FER2013's, and 7 is contempt."""
    pixels = [" ".join(map(str, row)) for row in pixel_rows()]
    rows = [f"{i % 8},{p},{u}" for i, (p, u) in enumerate(zip(pixels, USAGES, strict=True))]
    write(root / "ckextended.csv", ["emotion,pixels,Usage", *rows])
    return root


def make_ckplus_archives(root, people=8) -> Path:
    """The authors' archives: whole sequences; the second of each person has no label."""
    for i in range(people):
        for sequence in ("001", "002"):
            place, stem = f"S{5 + i:03d}/{sequence}", f"S{5 + i:03d}_{sequence}"
            touch(
                root / "cohn-kanade-images" / place, *(f"{stem}_{f:08d}.png" for f in range(1, 7))
            )
            if sequence == "001":
                write(root / "Emotion" / place / f"{stem}_00000006_emotion.txt",
                      [f"   {i % 8}.0000000e+00"])  # fmt: skip
            (root / "Emotion" / place).mkdir(parents=True, exist_ok=True)
    return root


def make_kdef(root, people=10) -> Path:
    """KDEF as shipped: a folder a person and session; seven emotions, two sides."""
    for i in range(people):
        for session in "AB":
            folder = f"{session}{'FM'[i % 2]}{1 + i // 2:02d}"
            for emotion in ["AF", "AN", "DI", "HA", "NE", "SA", "SU"]:
                touch(root / "KDEF" / folder, *(f"{folder}{emotion}{s}.JPG" for s in ("S", "HL")))
    return root


def make_jaffe(root) -> Path:
    """JAFFE as shipped: flat; ten people, seven emotions."""
    people = ["KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM"]
    for i, person in enumerate(people):
        for k, emotion in enumerate(["AN", "DI", "FE", "HA", "NE", "SA", "SU"]):
            touch(root, f"{person}.{emotion}1.{7 * i + k}.tiff")
    touch(root, "README", "README_FIRST.jpg")
    return root


def make_adience(root, count=20) -> Path:
    """Five lists with tabs, an album never in two; gender m, f, u or empty."""
    names = ["user_id", "original_image", "face_id", "age", "gender", "x", "y", "dx", "dy",
             "tilt_ang", "fiducial_yaw_angle", "fiducial_score"]  # fmt: skip
    for fold in range(5):
        lines = ["\t".join(names)]
        for i in range(count // 5):
            user, image = f"{fold}{i // 2}@N04", f"1{fold}{i}_o.jpg"
            sex = ("m", "f", "u", "")[i % 4]
            lines.append("\t".join([user, image, f"{20 + i}", "(25, 32)", sex, *"1234", *"000"]))
            for folder, start in (("aligned", "landmark"), ("faces", "coarse_tilt")):
                name = f"{start}_aligned_face.{20 + i}.{image}"
                touch(root / folder / user, name)
        write(root / f"fold_{fold}_data.txt", lines)
    return root


def make_affwild2(root) -> Path:
    """Three videos for training and two for validation; frame 3 has no picture, 4 no label."""
    header = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
    for part, videos in (("Train_Set", ("1", "2_left", "3")), ("Validation_Set", ("8", "9"))):
        for v, video in enumerate(videos):
            numbers = [str((v + i) % 8) if i != 3 else "-1" for i in range(9)]
            place = root / "annotations/EXPR_Recognition_Challenge" / part
            write(place / f"{video}.txt", [header, *numbers])
            affect = [f"{i / 10},{-i / 10}" if i != 3 else "-5,-5" for i in range(9)]
            place = root / "annotations/VA_Estimation_Challenge" / part
            write(place / f"{video}.txt", ["valence,arousal", *affect])
            frames = (f"{i:05d}.jpg" for i in range(1, 10) if i != 3)
            touch(root / "cropped_aligned" / video, *frames)
    return root


def make_pose_npz(root, count=6, size=16) -> Path:
    """FSA-Net's files: pictures with blue first, yaw, pitch, roll in degrees; one beyond 99."""
    root.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(
        ("AFW", "AFW_Flip", "HELEN", "AFLW2000", "BIWI_train", "BIWI_test")
    ):
        rng = np.random.default_rng(seed)
        image = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        pose = rng.uniform(-60, 60, (count, 3))
        pose[1, 0] = 99.5
        np.savez(root / f"{name}.npz", image=image, pose=pose, img_size=size)
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
