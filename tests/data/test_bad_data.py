"""Data sets whose files were changed: labels as the files now say, or an error that names the file.

What the files say is read a second time here, by the plainest means there are.
"""

import contextlib
import csv
import difflib
import functools
import io
import json
import re
import warnings

import numpy as np
import pytest
import reader_fixtures as fixtures
import scipy.io
import yaml
from mutations import assert_clear, drawn, mutate
from PIL import Image

from hmtl.data.photos import PhotoTask, read_photos
from hmtl.data.readers import READERS
from hmtl.data.readers.ferplus.votes import COLUMNS
from hmtl.data.readers.names import EMOTION_WORDS, GENDER_WORDS
from hmtl.labels import EMOTIONS, GENDERS, SPLITS

VOTES = ["8,0,0,1,1,0,0,0,0,0", "0,7,3,0,0,0,0,0,0,0", "1,0,0,6,0,0,0,3,0,0"]
FERPLUS = {"happiness": "happy", "sadness": "sad"}
FER2013 = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
RAFDB = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")


# ------------------------------------------------------------- what a file says, read plainly again


def lines_of(file):
    # not str.splitlines, which ends lines at signs that end none in a csv
    return re.split("\r\n|\r|\n", file.read_bytes().decode("utf-8-sig"))


def fields_of(file):
    return [next(csv.reader([line]), []) for line in lines_of(file) if line.strip()]


def same(told, name):
    """Whether a list tells of this file; letter case and ending may be other ones."""
    bare = [re.sub(r"\.(jpe?g|png)$", "", n.strip().lower()) for n in (told, name)]
    return bare[0] == bare[1]


def number(field):
    try:
        return np.isfinite(float(field))
    except ValueError:
        return False


def of_affectnet(root, row):
    name = row["key"].partition("#")[0].removeprefix("Manually_Annotated_Images/")
    list_name = {"train": "training", "test": "validation"}[row["split"]]
    rows = fields_of(root / f"Manually_Annotated_file_lists/{list_name}.csv")
    return {"emotion": {EMOTIONS[int(float(r[-3]))] for r in rows
                        if same(r[0], name) and float(r[-3]) in range(8)}}  # fmt: skip


def of_affectnet_npy(root, row):
    stem = row["key"].replace("/images/", "/annotations/").removesuffix(".jpg")
    value = np.load(f"{root / stem}_exp.npy", allow_pickle=False)
    return {"emotion": {EMOTIONS[int(float(value.item()))]}}


def of_folder(root, row):
    folder = row["key"].split("/")[-2].lower()
    labels = {EMOTION_WORDS[folder]}
    file = root / "labels.csv"
    if file.is_file():
        header, *rows = fields_of(file)
        path, label = header.index("pth"), header.index("label")
        for fields in rows:
            if same(fields[path], row["key"]):
                labels &= {EMOTION_WORDS[fields[label].strip().lower()]}
    return {"emotion": labels}


def of_rafdb(root, row):
    stem = row["key"].split("/")[-1].removesuffix("_aligned.jpg")
    pairs = [line.split() for line in lines_of(root / "EmoLabel/list_patition_label.txt")]
    words = (root / f"Annotation/manual/{stem}_manu_attri.txt").read_text().split()
    gender = {"0": "male", "1": "female"}.get(words[10]) if len(words) == 13 else None
    return {
        "emotion": {
            RAFDB[int(p[1]) - 1] for p in pairs if p and same(p[0].removesuffix(".jpg"), stem)
        },
        "gender": {gender},
    }


def of_fer2013(root, row):
    raw = (root / "fer2013.csv").read_bytes()
    line = raw[row["offset"] :].split(b"\n")[0].decode("latin-1")  # pixels are not read here
    header = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")[0].decode().split(",")
    header = [name.strip().lower() for name in header]
    said = dict(zip(header, (field.strip(' "\r') for field in line.split(",")), strict=True))
    split = dict(zip(("Training", "PublicTest", "PrivateTest"), SPLITS, strict=True))
    return {"emotion": {FER2013[int(said["emotion"])]}, "split": {split[said["usage"]]}}


def of_votes(votes):
    """The label by the rule in the FER+ paper: single votes are outliers, more than half decide."""
    votes = [0 if v == 1 else v for v in map(int, votes)]
    name = COLUMNS[votes.index(max(votes))]
    assert 2 * max(votes) > sum(votes)
    return FERPLUS.get(name, name)


def of_ferplus(root, row):
    part, name = row["key"].split("/")
    rows = fields_of(root / f"data/FER2013{part}/label.csv")
    return {"emotion": {of_votes(r[2:]) for r in rows if same(r[0], name)}}


def of_ferplus_csv(root, row):
    rows = fields_of(root / "fer2013new.csv")
    name = row["key"].split("/")[1]
    votes = [r[2:] for r in rows if same(r[1], name)]
    return {"emotion": {of_votes(votes[0])}}  # of several the first, as the label.csv files have


def of_mat(root, row):
    file = root / f"{row['key'][:-4]}.mat"  # whose later variables may be torn
    pose = scipy.io.loadmat(file, variable_names="Pose_Para")["Pose_Para"].ravel()[:3]
    pitch, yaw, roll = np.degrees(np.asarray(pose, float))
    return {"yaw": {yaw}, "pitch": {pitch}, "roll": {roll}}


def of_biwi(root, row):
    numbers = (root / row["key"].replace("_rgb.png", "_pose.txt")).read_text().split()
    r = np.array(numbers[:9], float).reshape(3, 3).T
    return {"yaw": {float(np.degrees(np.arctan2(r[2, 0], np.hypot(r[2, 1], r[2, 2]))))}}


def of_fei(root, row):
    rows = fields_of(root / "fei_gender.csv")
    said = {int(r[0]): GENDER_WORDS[r[1].strip().lower()] for r in rows if number(r[0])}
    return {"gender": {said[int(row["person"])]}}


def of_celeba(root, row):
    names, *rows = [line.split() for line in lines_of(root / "list_attr_celeba.txt")[1:]]
    name = row["key"].split("/")[-1]
    parts = [line.split() for line in lines_of(root / "list_eval_partition.txt")]
    male = {"1": "male", "-1": "female", "+1": "male"}
    return {
        "gender": {male[r[1 + names.index("Male")]] for r in rows if r and r[0] == name},
        "split": {SPLITS[int(p[1])] for p in parts if p and p[0] == name},
    }


def of_csv(root, row):
    header, *rows = fields_of(root / "labels.csv")
    header = [name.strip() for name in header]
    own = [dict(zip(header, map(str.strip, r), strict=True)) for r in rows if len(r) == len(header)]
    own = [r for r in own if r["image"].replace("\\", "/").removeprefix("./") == row["key"]]
    return {
        "emotion": {EMOTION_WORDS.get(r["label"].lower()) for r in own},
        "yaw": {float(r["yaw"]) for r in own},
        "split": {{"val": "valid"}.get(r["part"].lower(), r["part"].lower()) for r in own},
    }


# -------------------------------------------------------------------------------- the formats


def make_ferplus(root):
    for i, part in enumerate(("Train", "Valid", "Test")):
        names = [f"fer{100 * i + n:07d}.png" for n in range(4)]
        fixtures.touch(root / f"data/FER2013{part}", *names)
        rows = [f'{n},"(0, 0, 48, 48)",{VOTES[j % 3]}' for j, n in enumerate(names)]
        fixtures.write(root / f"data/FER2013{part}/label.csv", rows)
    return root


def make_folders_with_csv(root):
    fixtures.make_class_folders(root, ("anger", "happy", "sad"), count=3)
    names = [f"{c}/image{i:07d}.jpg" for c in ("anger", "happy", "sad") for i in range(3)]
    fixtures.write(
        root / "labels.csv", [",pth,label,relFCs", *(f"0,{n},{n.split('/')[0]},0.8" for n in names)]
    )
    return root


def make_any_csv(root):
    rows = [
        f"p/{i}.png,{EMOTIONS[i % 8]},{i - 4},{('train', 'val', 'test')[i % 3]}" for i in range(9)
    ]
    fixtures.touch(root, *(row.split(",")[0] for row in rows))
    fixtures.write(root / "labels.csv", ["image,label,yaw,part", *rows])
    return root


def make_ferplus_csv(root):
    return fixtures.make_ferplus_csv(root, VOTES * 4)


def of_affectnet_plus(root, row):
    file = root / "human_annotated" / row["key"].replace("/images/", "/annotations/")
    said = json.loads(file.with_suffix(".json").read_bytes())
    affect = {name: said["meta-data"][name] for name in ("valence", "arousal")}
    known = {name: {None if value == -2 else float(value)} for name, value in affect.items()}
    return known | {"emotion": {EMOTIONS[int(said["human-label"])]}}


@functools.cache
def names_of_yaml(text):
    return yaml.safe_load(text)["names"]


def of_yolo(root, row):
    key = row["key"].partition("#")[0]
    lines = lines_of((root / key.replace("/images/", "/labels/")).with_suffix(".txt"))
    names = names_of_yaml((root / "data.yaml").read_text())
    names = dict(names) if isinstance(names, dict) else dict(enumerate(names))
    names = {str(number): EMOTION_WORDS.get(str(n).strip().lower()) for number, n in names.items()}
    apart = [re.split(r"[,\s;]+", line.strip()) for line in lines if line.strip()]
    said = {names.get(fields[0]) for fields in apart if len(fields) == 5}
    return {"emotion": said if len(said) == 1 else {row["emotion"]} & said}


def of_fairface(root, row):
    name = {"train": "train", "test": "val"}[row["split"]]
    own = [r for r in fields_of(root / f"fairface_label_{name}.csv") if same(r[0], row["key"])]
    return {"gender": {GENDER_WORDS.get(r[2].strip().lower()) for r in own}}


def of_expw(root, row):
    name = row["key"].partition("#")[0].removeprefix("image/origin/")
    box = [row[side] for side in ("top", "left", "right", "bottom")]
    lines = [line.split() for line in lines_of(root / "label/label.lst")]
    own = [f for f in lines if len(f) == 8 and same(f[0], name)]
    own = [f for f in own if all(map(number, f[2:6])) and [int(float(v)) for v in f[2:6]] == box]
    return {"emotion": {FER2013[int(float(f[7]))] for f in own}}


def of_ckplus(root, row):
    line = (root / "ckextended.csv").read_bytes()[row["offset"] :].split(b"\n")[0].decode("latin-1")
    raw = (root / "ckextended.csv").read_bytes().removeprefix(b"\xef\xbb\xbf")
    header = [name.strip().lower() for name in raw.split(b"\n")[0].decode().split(",")]
    said = dict(zip(header, (field.strip(' "\r') for field in line.split(",")), strict=True))
    return {"emotion": {(*FER2013, "contempt")[int(said["emotion"])]}}


def of_adience(root, row):
    said = set()
    for i in range(5):
        header, *rows = [line.split("\t") for line in lines_of(root / f"fold_{i}_data.txt")]
        width = len(header) if "user_id" in header else 12
        for r in [header, *rows]:
            if (
                len(r) == width
                and f"{r[0].strip()}/landmark_aligned_face.{r[2].strip()}.{r[1].strip()}".lower()
                in row["key"].lower()
            ):
                said.add({"f": "female", "m": "male"}.get(r[4].strip()))
    return {"gender": said}


def of_affwild2(root, row):
    _, video, frame = row["key"].split("/")
    part = {"train": "Train_Set", "test": "Validation_Set"}[row["split"]]
    lines = lines_of(root / f"annotations/EXPR_Recognition_Challenge/{part}/{video}.txt")
    names = [EMOTION_WORDS.get(name.strip().lower()) for name in lines[0].split(",")]
    return {"emotion": {names[int(lines[int(frame[:5])].strip(' "'))]}}


def of_pose_npz(root, row):
    with np.load(root / f"{row['key'].split('/')[0]}.npz", allow_pickle=False) as content:
        yaw, pitch, roll = content["pose"][row["offset"]].tolist()
    return {"yaw": {yaw}, "pitch": {pitch}, "roll": {roll}}


COLUMNS_OF_CSV = {"path": "image", "emotion": "label", "yaw": "yaw", "split": "part"}
LISTS = "Manually_Annotated_file_lists/*.csv"
FORMATS = {
    # reader: builder, files to break, what they say of a row
    "affectnet-csv": (fixtures.make_affectnet_csv, LISTS, of_affectnet),
    "affectnet-npy": (fixtures.make_affectnet_npy, "*_set/annotations/*.npy", of_affectnet_npy),
    "affectnet-folders": (make_folders_with_csv, "labels.csv", of_folder),
    "rafdb": (fixtures.make_rafdb, "*/**/*.txt", of_rafdb),
    "fer2013": (fixtures.make_fer2013, "fer2013.csv", of_fer2013),
    "ferplus": (make_ferplus, "data/*/label.csv", of_ferplus),
    "ferplus-csv": (make_ferplus_csv, "*.csv", of_ferplus_csv),
    "300w-lp": (fixtures.make_w300lp, "*/*_1_0.mat", of_mat),
    "aflw2000": (fixtures.make_aflw2000, "*.mat", of_mat),
    "biwi": (lambda root: fixtures.make_biwi(root, 1, sequences=9), "0*/*[ac]*[tl]", of_biwi),
    "fei": (fixtures.make_fei, "fei_gender.csv", of_fei),
    "celeba": (fixtures.make_celeba, "list_*.txt", of_celeba),
    "csv": (make_any_csv, "labels.csv", of_csv),
    "affectnet-plus": (
        fixtures.make_affectnet_plus,
        "human_annotated/*/annotations/*.json",
        of_affectnet_plus,
    ),
    "affectnet-yolo": (fixtures.make_affectnet_yolo, "**/*.[ty][xa]*", of_yolo),
    "fairface": (fixtures.make_fairface, "*.csv", of_fairface),
    "expw": (fixtures.make_expw, "label/label.lst", of_expw),
    "ckplus": (fixtures.make_ckplus_csv, "ckextended.csv", of_ckplus),
    "adience": (fixtures.make_adience, "fold_*_data.txt", of_adience),
    "affwild2": (fixtures.make_affwild2, "annotations/EXPR*/*/*.txt", of_affwild2),
    "pose-npz": (fixtures.make_pose_npz, "*.npz", of_pose_npz),
}
OPTIONS = {"csv": {"columns": COLUMNS_OF_CSV}}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A function from a reader to (root, its files that say something)."""
    made = {}
    for name, (make, pattern, _) in FORMATS.items():
        root = make(tmp_path_factory.mktemp(name))
        files = sorted(f for f in root.glob(pattern) if f.suffix not in (".png", ".jpg"))
        assert files, name
        made[name] = root, files
    return lambda name: made[name]


def agrees(value, said):
    if isinstance(value, float) and not said <= {None}:
        return any(s is not None and abs(value - s) <= 1e-6 * max(1, abs(s)) for s in said)
    return value in said or (value != value and None in said)


@drawn(list(FORMATS))
@pytest.mark.slow
def test_label_files(sets, name, seed):
    _, _, say = FORMATS[name]
    root, files = sets(name)
    rng = np.random.default_rng(seed)
    file = files[rng.integers(len(files))]
    whole = file.read_bytes()
    try:
        file.write_bytes(mutate(rng, whole))
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # numbers out of range
            try:
                table = READERS[name](root, **OPTIONS.get(name, {}))
            except (ValueError, OSError) as error:
                assert_clear(error, root)
                return
        assert set(table["split"]) <= set(SPLITS)
        assert table["key"].is_unique
        notes = table.attrs["report"]["notes"]
        moved = any("the validation images are the test" in note for note in notes)
        for row in table.to_dict("records"):
            assert row["path"].startswith(str(root))
            for column, said in say(root, row).items():
                assert len(said) == 1, (row["key"], said)
                if moved and column == "split" and said == {"valid"}:
                    said = {"test"}
                assert agrees(row[column], said), (row["key"], column, row[column], said)
    finally:
        file.write_bytes(whole)


EMPTIED = (b"", b"\n", b"\xef\xbb\xbf", b" \r\n \r\n", bytes(8))


@pytest.mark.parametrize("name", FORMATS)
def test_an_emptied_list_is_one_line_or_costs_its_rows(sets, name):
    root, files = sets(name)
    for file in files[:2]:
        whole = file.read_bytes()
        for rest in (*EMPTIED, whole.partition(b"\n")[0]):
            try:
                file.write_bytes(rest)
                assert len(READERS[name](root, **OPTIONS.get(name, {})))
            except (ValueError, OSError) as error:
                assert_clear(error, root)
            finally:
                file.write_bytes(whole)


NAMED = {
    # reader: how a good file is called, how the emotion or gender stands in its name
    "utkface": (fixtures.UTKFACE, None),
    "folders": (["happy/1.jpg", "Sad/2.jpg", "anger/3.jpg"], r"(.*)/[^/]*"),
    "ckplus": (
        [
            f"CK+48/{e}/S01{i}_00{i}_0000000{i}.png"
            for i, e in enumerate(["happy", "fear", "sadness"])
        ],
        r"(?:CK\+48/)?(.*)/[^/]*",
    ),
    "kdef": (
        ["KDEF/AF01/AF01ANS.JPG", "KDEF/BM02/BM02SAHL.JPG", "KDEF/AF03/AF03AFFR.JPG"],
        r"(?:.*/)?[AB][FM]\d\d(..).*",
    ),
    "jaffe": (["KA.AN1.39.tiff", "KL.SA2.40.tiff", "NM.FE3.9.tiff"], r"(?:.*/)?..\.(..)\d.*"),
}
CODES = {"AF": "fear", "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happy",
         "NE": "neutral", "SA": "sad", "SU": "surprise"}  # fmt: skip


@drawn(list(NAMED))
@pytest.mark.slow
def test_names_that_are_labels(tmp_path_factory, name, seed):
    rng = np.random.default_rng(seed)
    root = tmp_path_factory.mktemp("named")
    names, form = NAMED[name]
    told = [mutate(rng, n.encode()).decode("utf-8", "replace") for n in names[:2]] + names[2:]
    told = ["/".join(re.sub("\0", "", part)[:200] or "x" for part in n.split("/")) for n in told]
    told = [n for n in told if not {".", ".."} & set(n.split("/"))]
    for n in told:
        with contextlib.suppress(OSError):  # a file where a folder should be
            fixtures.touch(root / "UTKFace" if name == "utkface" else root, n)
    try:
        table = READERS[name](root)
    except (ValueError, OSError) as error:
        assert_clear(error, root)
        return
    for row in table.to_dict("records"):
        if name == "utkface":
            numbers = re.match(r"(\d+)_(\d)_(\d)_\d{14}", row["key"])
            said = int(numbers[2]) if numbers else None  # of two numbers neither is known
            assert (
                row["gender"] == GENDERS[::-1][said] if said in (0, 1) else row["gender"] is np.nan
            )
            continue
        found = re.fullmatch(form, row["key"], re.DOTALL | re.IGNORECASE)[1]
        if found.upper() in CODES:
            assert row["emotion"] == CODES[found.upper()]
            continue
        words = [part.strip().lower() for part in found.split("/")]  # a folder may have a slip
        near = [difflib.get_close_matches(word, EMOTION_WORDS, 1, 0.7) for word in words]
        assert row["emotion"] in {EMOTION_WORDS[match[0]] for match in near if match}


@pytest.fixture(scope="module")
def pictures():
    """Files of pictures in the kinds that data sets come in, as bytes."""
    photo, made = fixtures.draw_photo(1), {}
    for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP"):
        buffer = io.BytesIO()
        photo.save(buffer, kind)
        made[kind] = buffer.getvalue()
    return made


@drawn(["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # about broken EXIF
def test_pictures(pictures, tmp_path_factory, kind, seed):
    """The pixels Pillow reads, or a black square and a note; never half a face without one."""
    file = tmp_path_factory.getbasetemp() / "picture"
    file.write_bytes(mutate(np.random.default_rng(seed), pictures[kind]))
    (square,), (note,) = read_photos(
        PhotoTask([str(file)], None, None, 16, False, "cover", "never")
    )
    if note.problem:
        assert not square.any()
        assert "\n" not in note.problem
        return
    with Image.open(file) as picture:
        picture.load()  # raises where the file is torn
        assert min(picture.size) >= 1
        assert note.side == min(picture.size)
