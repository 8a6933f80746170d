"""FER+: hand-worked votes in both modes, the cartoon fixture's counts, and every error."""

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from reader_fixtures import change, fer2013_images, make_ferplus_csv, pixel_rows

from hmtl.data.readers.ferplus import COLUMNS, FERPLUS_COUNTS, FERPLUS_TRAIN_EMOTIONS, read_ferplus
from hmtl.data.readers.ferplus.lists import read_ferplus_csv
from hmtl.labels import EMOTIONS

FIXTURE = Path(__file__).parents[1] / "fixtures" / "ferplus"
P = [f"p_{name}" for name in EMOTIONS]

# (votes in FER+'s order, emotion in majority mode, in probability mode, p_ by emotion, votes left)
# FER+'s order: neutral happiness surprise sadness anger disgust fear contempt | unknown NF
HAND = [
    ("4,0,0,1,3,2,0,0,0,0", None, "neutral", {"neutral": 4, "anger": 3, "disgust": 2}, 9),
    ("5,0,0,1,3,1,0,0,0,0", "neutral", "neutral", {"neutral": 5, "anger": 3}, 8),
    ("0,5,5,0,0,0,0,0,0,0", None, "happy", {"happy": 5, "surprise": 5}, 10),  # half is not enough
    ("0,6,4,0,0,0,0,0,0,0", "happy", "happy", {"happy": 6, "surprise": 4}, 10),
    ("0,0,0,6,0,0,0,0,4,0", "sad", "sad", {"sad": 6}, 6),  # unknown weighs in the majority only
    ("0,0,0,5,0,0,0,0,5,0", None, "sad", {"sad": 5}, 5),  # an emotion goes before unknown
    ("0,0,0,4,0,0,0,0,5,1", None, None, {}, 0),
    ("1,1,1,1,1,1,1,1,1,1", None, None, {}, 0),  # nothing but outliers
    ("0,0,0,0,0,0,0,0,0,10", None, None, {}, 0),
    # Of equals the first in AffectNet's order: sad goes before surprise, though not in FER+'s.
    ("0,0,4,4,2,0,0,0,0,0", None, "sad", {"sad": 4, "surprise": 4, "anger": 2}, 10),
    ("1,1,1,1,1,1,0,2,1,1", "contempt", "contempt", {"contempt": 2}, 2),
    ("0,0,0,0,0,3,7,0,0,0", "fear", "fear", {"fear": 7, "disgust": 3}, 10),
]


def line(number: int, votes: str = "10,0,0,0,0,0,0,0,0,0") -> str:
    return f'fer{number:07d}.png,"(0, 0, 48, 48)",{votes}\n'


def write_split(root: Path, folder: str, lines: list[str], images: list[int]) -> Path:
    target = root / "data" / f"FER2013{folder}"
    target.mkdir(parents=True)
    (target / "label.csv").write_text("".join(lines))
    for number in images:  # the reader only looks names up, so empty files will do
        (target / f"fer{number:07d}.png").touch()
    return target


def small_root(root: Path, train: list[str], images: int | None = None) -> Path:
    """Three splits; training holds the given lines, the others the hand-worked votes."""
    write_split(root, "Train", train, list(range(len(train) if images is None else images)))
    hand = [votes for votes, *_ in HAND]
    for folder, first in (("Valid", 28_638), ("Test", 32_220)):
        lines = [line(first + i, votes) for i, votes in enumerate(hand)]
        write_split(root, folder, lines, [first + i for i in range(len(hand))])
    return root


def test_hand_worked_rows_in_both_modes(tmp_path):
    small_root(tmp_path, [line(i, votes) for i, (votes, *_) in enumerate(HAND)])
    for mode, column in (("majority", 1), ("probability", 2)):
        table = read_ferplus(tmp_path, labels=mode)
        rows = table[table.split == "train"].set_index("key")
        kept = {f"Train/fer{i:07d}.png": row for i, row in enumerate(HAND) if row[column]}
        assert list(rows.index) == list(kept)
        for key, row in kept.items():
            expected = np.array([row[3].get(name, 0) for name in EMOTIONS]) / row[4]
            assert rows.emotion[key] == row[column]
            np.testing.assert_allclose(rows.loc[key, P].to_numpy(float), expected)
            assert rows.votes[key] == row[4]


def test_valid_and_test_rows_are_the_same_in_both_modes(tmp_path):
    small_root(tmp_path, [line(0)])
    majority, probability = (read_ferplus(tmp_path, labels=m) for m in ("majority", "probability"))
    assert majority[majority.split != "train"].equals(probability[probability.split != "train"])
    usable = [row[1] for row in HAND if row[1]]
    assert list(majority.emotion[majority.split == "valid"]) == usable


def test_fixture_counts_and_columns():
    table = read_ferplus(FIXTURE)
    assert list(table.columns) == ["key", "path", "split", "emotion", *P, "votes"]
    assert table.groupby("split").size().to_dict() == {"train": 56, "valid": 20, "test": 20}
    train = table[table.split == "train"].emotion.value_counts()
    assert train.to_dict() == dict.fromkeys(EMOTIONS, 7)
    report = table.attrs["report"]
    assert report["counts"]["train"] == {"found": 56, "published": FERPLUS_COUNTS["train"]}
    assert report["dropped"] == {"no emotion by the rule of mode majority": 8 + 4 + 4}
    np.testing.assert_allclose(table[P].sum(axis=1), 1)
    assert table.key.is_unique
    assert all(os.path.isabs(path) and os.path.isfile(path) for path in table.path)


def test_fixture_in_probability_mode_has_the_three_undecided_training_rows_more():
    table = read_ferplus(FIXTURE, labels="probability")
    assert table.groupby("split").size().to_dict() == {"train": 59, "valid": 20, "test": 20}
    extra = table[(table.split == "train") & (table[P].max(axis=1) * table.votes <= 5)]
    assert sorted(extra.emotion) == ["neutral", "sad", "surprise"]
    assert table.attrs["report"]["counts"]["train"] == {"found": 59, "published": None}


def test_fixture_is_small_and_of_the_real_format():
    files = [file for file in FIXTURE.rglob("*") if file.is_file()]
    assert len(files) == 64 + 24 + 24 + 3
    assert sum(file.stat().st_size for file in files) < 200_000
    for file in files:
        if file.suffix == ".png":
            with Image.open(file) as image:
                assert (image.size, image.mode) == ((48, 48), "L")
    first = (FIXTURE / "data/FER2013Train/label.csv").read_text().splitlines()[0]
    assert first.startswith('fer0000000.png,"(0, 0, 48, 48)",')


def test_fixture_is_what_its_script_draws(tmp_path):
    spec = importlib.util.spec_from_file_location(
        "make_ferplus_fixture", Path(__file__).parents[1] / "helpers" / "make_ferplus_fixture.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(tmp_path)
    for file in FIXTURE.rglob("label.csv"):
        assert (tmp_path / file.relative_to(FIXTURE)).read_bytes() == file.read_bytes()
    for file in FIXTURE.rglob("*.png"):
        with Image.open(file) as kept, Image.open(tmp_path / file.relative_to(FIXTURE)) as drawn:
            gap = np.abs(np.asarray(kept, float) - np.asarray(drawn, float)).mean()
        assert gap < 2, file.name  # grey levels: antialiasing may differ between Pillow releases


def take_by_the_script(votes: list[int], mode: str) -> list[float] | None:
    """The shares of one image by the authors' rule, told step by step; None: dropped."""
    votes = [v if v > 1 else 0 for v in votes]
    total, taken, left = sum(votes), [0] * 10, list(votes)
    if mode == "multi_target":
        taken = [v if v >= 0.3 * total else 0 for v in votes]
        came = 0
    else:
        held = came = 0
        while held < 0.75 * total and came < 3:
            most = max(left)
            places = [i for i in range(10) if left[i] == most]
            for i in places:
                left[i] = 0
                if i < 8:
                    taken[i] = most
                    held, came = held + most, came + 1
            if places[-1] >= 8:  # unknown or not a face ends it, and counts if it is the first
                if not any(taken):
                    taken[8] = most
                break
    if sum(taken) <= 0.5 * total or came > 3 or taken.index(max(taken)) >= 8:
        return None
    return [v / sum(taken[:8]) for v in taken[:8]]


@pytest.mark.parametrize("mode", ["crossentropy", "multi_target"])
def test_the_authors_modes_against_their_rule_told_row_by_row(tmp_path, mode):
    rng = np.random.default_rng(0)
    sharp = rng.dirichlet(np.full(10, 0.25), 600)
    rows = [*rng.multinomial(10, sharp), *([int(v) for v in h[0].split(",")] for h in HAND)]
    small_root(tmp_path, [line(i, ",".join(map(str, row))) for i, row in enumerate(rows)])
    table = read_ferplus(tmp_path, labels=mode)
    train = table[table.split == "train"].set_index("key")
    expected = {
        f"Train/fer{i:07d}.png": shares
        for i, row in enumerate(rows)
        if (shares := take_by_the_script(list(row), mode)) is not None
    }
    assert 200 < len(expected) < 600
    assert list(train.index) == list(expected)
    in_their_order = [
        f"p_{ {'happiness': 'happy', 'sadness': 'sad'}.get(name, name) }" for name in COLUMNS[:8]
    ]
    np.testing.assert_allclose(train[in_their_order], list(expected.values()))
    majority = read_ferplus(tmp_path)
    assert (
        table[table.split != "train"]
        .reset_index(drop=True)
        .equals(majority[majority.split != "train"].reset_index(drop=True))
    )


def test_votes_beside_fer2013_csv_give_the_same_labels(tmp_path):
    """The twelve hand-worked rows: 7 train, 2 valid, 3 test; the ninth is not a face, unnamed."""
    votes = [row[0] for row in HAND]
    names = [f"fer{i:07d}.png" if i != 8 else "" for i in range(12)]
    make_ferplus_csv(tmp_path, votes, names)
    for mode, column in (("majority", 1), ("probability", 2)):
        table = read_ferplus_csv(tmp_path, labels=mode)
        expected = {
            f"{'Train' if i < 7 else 'Valid' if i < 9 else 'Test'}/fer{i:07d}.png": row
            for i, row in enumerate(HAND)
            if row[column if i < 7 else 1]
        }
        assert list(table.key) == list(expected)
        emotions = [row[column if "Train" in key else 1] for key, row in expected.items()]
        assert list(table.emotion) == emotions
        places = [int(key[-11:-4]) for key in table.key]
        np.testing.assert_array_equal(
            fer2013_images(table).reshape(len(table), -1), pixel_rows()[places]
        )
        np.testing.assert_allclose(table[P].sum(axis=1), 1)
        assert table.attrs["report"]["dropped"]["without an image name"] == 1
    counts = read_ferplus_csv(tmp_path).attrs["report"]["counts"]
    assert counts["train"]["published"] == 25_057
    assert sorted(read_ferplus_csv(tmp_path)) == sorted([*read_ferplus(FIXTURE), "offset"])


def test_a_malformed_row_of_pixels_does_not_shift_the_votes(tmp_path):
    make_ferplus_csv(tmp_path, ["10,0,0,0,0,0,0,0,0,0"] * 6 + ["0,10,0,0,0,0,0,0,0,0"] * 6)
    lines = (tmp_path / "fer2013.csv").read_text().splitlines()
    lines[3] = "broken"
    (tmp_path / "fer2013.csv").write_text("\n".join(lines))
    table = read_ferplus_csv(tmp_path)
    assert list(table.emotion) == ["neutral"] * 5 + ["happy"] * 6
    assert table.key[2] == "Train/fer0000003.png"


def test_a_blank_line_among_the_pixels_does_not_shift_the_votes(tmp_path):
    make_ferplus_csv(tmp_path, ["10,0,0,0,0,0,0,0,0,0"] * 6 + ["0,10,0,0,0,0,0,0,0,0"] * 6)
    lines = (tmp_path / "fer2013.csv").read_text().splitlines()
    lines[6:6] = ["", "  "]
    (tmp_path / "fer2013.csv").write_text("\n".join([*lines[:-1], "broken"]))
    table = read_ferplus_csv(tmp_path)
    assert list(table.emotion) == ["neutral"] * 6 + ["happy"] * 5
    assert [int(key[-11:-4]) for key in table.key] == list(range(11))
    np.testing.assert_array_equal(fer2013_images(table).reshape(11, -1), pixel_rows()[:11])
    assert table.attrs["report"]["examples"]["malformed row"] == ["fer2013.csv line 15"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("neutral,happ", "happ", r"fer2013new.csv line 1: no column neutral; it has Usage"),
        ("\nTraining,fer0000000.png,10", "\nTraining", r"line 2: 10 fields instead of 12; restore"),
        (
            "\nTraining,",
            "\nTrain,",
            r"fer2013new.csv line 2, field Usage: 'Train' is not known; one of Training",
        ),
        (
            "png,10,",
            "png,ten,",
            r"fer2013new.csv line 2, field neutral: 'ten' is not a whole number",
        ),
        ("\nPublicTest,", "\nTraining,", r"fer2013.csv line 9: its Usage is not that of .* line 9"),
        ("PublicTest,fer0000007.png,10,0,0,0,0,0,0,0,0,0\n", "", r"new.csv has 11 rows, .* 12; "),
    ],
)
def test_votes_that_do_not_fit_are_named(tmp_path, old, new, message):
    root = make_ferplus_csv(tmp_path, ["10,0,0,0,0,0,0,0,0,0"] * 12)
    change(root / "fer2013new.csv", old, new)
    with pytest.raises(ValueError, match=message):
        read_ferplus_csv(tmp_path)


def test_the_report_is_that_of_all_readers():
    report = read_ferplus(FIXTURE).attrs["report"]
    assert report["dropped"] == {"no emotion by the rule of mode majority": 16}
    assert report["counts"]["valid"] == {"found": 20, "published": 3_191}
    assert report["counts"]["train/fear"] == {"found": 7, "published": 536}


def test_parent_folder_holding_ferplus_reads_the_same():
    assert read_ferplus(FIXTURE.parent).equals(read_ferplus(FIXTURE))


def test_relative_root_gives_absolute_paths(monkeypatch):
    monkeypatch.chdir(FIXTURE)
    assert read_ferplus(".").path[0] == read_ferplus(FIXTURE).path[0]


def test_images_that_no_line_names_are_counted(tmp_path):
    small_root(tmp_path, [line(0)], images=3)
    report = read_ferplus(tmp_path).attrs["report"]
    assert report["dropped"]["image that label.csv does not name"] == 2
    places = report["examples"]["image that label.csv does not name"]
    assert places == ["FER2013Train/fer0000001.png", "FER2013Train/fer0000002.png"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (line(1).replace(",0\n", "\n"), r"label.csv line 2: 11 fields instead of 12"),
        (line(1).replace('"', ""), r"line 2: 15 fields instead of 12"),
        (line(1).replace('48)"', "48)"), r"line 2: 2 fields instead of 12"),
        ("\n", r"line 2: 0 fields"),
        (line(1, "10,0,0,0,0,0,0,x,0,0"), r"line 2, field contempt: 'x' is not a whole number"),
        (line(1, "10,0,-1,0,0,0,0,0,0,0"), r"line 2, field surprise: '-1' .*from 0 up"),
        (line(1, "9.5,0,0,0,0,0,0,0,0,0"), r"line 2, field neutral: '9.5'"),
        (line(1, "10,0,0,0,0,0,0,0,0,"), r"line 2, field NF: ''"),
        (line(1).replace("fer", "img"), r"line 2, field image: 'img0000001.png' is no FER\+"),
        (line(1).replace("fer0000001.png", ""), r"line 2, field image: '' is no FER\+ image"),
        (line(1).replace("(0, 0", "(4, 0"), r"line 2, field box: '\(4, 0, 48, 48\)'.*restore"),
    ],
)
def test_malformed_lines_name_file_line_field_and_remedy(tmp_path, bad, message):
    small_root(tmp_path, [line(0), bad, line(2)])
    with pytest.raises(ValueError, match=message):
        read_ferplus(tmp_path)


def test_an_image_named_in_two_splits_is_no_training_image(tmp_path):
    small_root(tmp_path, [line(0), line(28_639)])
    (tmp_path / "data/FER2013Train/fer0028639.png").touch()
    table = read_ferplus(tmp_path)
    assert "Train/fer0028639.png" not in set(table["key"])
    assert "Valid/fer0028639.png" in set(table["key"])
    assert table.attrs["report"]["dropped"]["image that a later split has too"] == 1


def test_an_image_named_twice_counts_once_and_two_opinions_not_at_all(tmp_path):
    other = line(1, "0,10,0,0,0,0,0,0,0,0")
    small_root(tmp_path, [line(0), line(0), line(1), other, line(2)])
    table = read_ferplus(tmp_path)
    train = table.loc[table["split"] == "train", "key"].tolist()
    assert train == ["Train/fer0000000.png", "Train/fer0000002.png"]
    told = table.attrs["report"]
    assert told["dropped"]["repeated row"] == 1
    assert told["dropped"]["one face with two labels"] == 2
    assert told["examples"]["repeated row"] == ["FER2013Train/label.csv line 2"]


def test_images_missing_on_disk_are_counted_and_the_first_five_listed(tmp_path):
    small_root(tmp_path, [line(i) for i in range(9)], images=2)
    with pytest.raises(ValueError, match=r"7 of 9 images .* fer0000006.png, \.\.\.") as error:
        read_ferplus(tmp_path)
    assert "fer0000007.png" not in str(error.value)


def test_wrong_root_says_what_was_expected_and_found(tmp_path):
    (tmp_path / "FER2013Train").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected data/FER2013Train.*holds FER2013Train;"):
        read_ferplus(tmp_path)
    with pytest.raises(FileNotFoundError, match="it is no folder"):
        read_ferplus(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="it holds nothing"):
        read_ferplus(tmp_path / "empty")


def test_absent_split_is_named(tmp_path):
    shutil.copytree(FIXTURE, tmp_path / "ferplus")
    (tmp_path / "ferplus/data/FER2013Test/label.csv").unlink()
    with pytest.raises(FileNotFoundError, match="no label.csv in FER2013Test"):
        read_ferplus(tmp_path)


def test_unknown_mode_is_refused():
    message = "labels='soft': one of majority, probability, crossentropy, multi_target"
    with pytest.raises(ValueError, match=message):
        read_ferplus(FIXTURE, labels="soft")


def test_columns_hold_the_eight_emotions_then_unknown_and_not_a_face():
    assert len(COLUMNS) == 10
    assert set(FERPLUS_TRAIN_EMOTIONS) == set(EMOTIONS)
    assert sum(FERPLUS_TRAIN_EMOTIONS.values()) == FERPLUS_COUNTS["train"]


@pytest.mark.skipif(
    "HMTL_FERPLUS" not in os.environ,
    reason="needs the real FER+: set HMTL_FERPLUS to the folder that holds data/FER2013Train",
)
def test_real_data_has_the_known_counts():
    table = read_ferplus(os.environ["HMTL_FERPLUS"])
    assert table.groupby("split").size().to_dict() == FERPLUS_COUNTS
    train = table.emotion[table.split == "train"].value_counts()
    assert train.to_dict() == FERPLUS_TRAIN_EMOTIONS
    assert "image that label.csv does not name" not in table.attrs["report"]["dropped"]


@pytest.mark.parametrize("case", ["upper", "lower", "swapcase"])
@pytest.mark.parametrize("of", ["folders", "files", "all"])
def test_names_may_be_of_any_letter_case(tmp_path, case, of):
    whole = read_ferplus(FIXTURE)
    shutil.copytree(FIXTURE, tmp_path / "copy")
    for file in sorted((tmp_path / "copy").rglob("*"), reverse=True):  # what lies in a folder first
        if of == "all" or file.is_dir() == (of == "folders"):
            file.rename(file.with_name(getattr(file.name, case)()))
    table = read_ferplus(tmp_path / "copy")
    pd.testing.assert_frame_equal(table.drop(columns="path"), whole.drop(columns="path"))
    for own, published in zip(table["path"], whole["path"], strict=True):
        assert Path(own).read_bytes() == Path(published).read_bytes()
