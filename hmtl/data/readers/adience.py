"""Adience: 26,580 faces of albums, with gender and age range (Eidinger, Enbar, Hassner, 2014).

On disk, tabs between fields:

    fold_0_data.txt ... fold_4_data.txt   user_id, original_image, face_id, age, gender, x, y, dx,
                                          dy, tilt_ang, fiducial_yaw_angle, fiducial_score
    aligned/USER/landmark_aligned_face.FACE.IMAGE    816x816, turned upright
    faces/USER/coarse_tilt_aligned_face.FACE.IMAGE   as found

The five folds, 19,370 rows, share no album (`user_id`); one is tested on, the others train.
"""

__all__ = ["read_adience"]

from pathlib import Path

import pandas as pd

from hmtl.data.readers.report import map_labels
from hmtl.data.readers.source import Source
from hmtl.labels import check_known

_FOLDS = [f"fold_{i}_data.txt" for i in range(5)]
_ORDER = ("user_id", "original_image", "face_id", "age", "gender", "x", "y", "dx", "dy",
          "tilt_ang", "fiducial_yaw_angle", "fiducial_score")  # fmt: skip
_COLUMNS = {"person": "user_id", "image": "original_image", "face": "face_id", "age_range": "age",
            "gender": "gender"}  # fmt: skip
_IMAGES = {"aligned": "landmark_aligned_face", "faces": "coarse_tilt_aligned_face"}
_GENDERS = {"f": "female", "m": "male", "u": "", "": ""}


def read_adience(root: str | Path, *, images: str = "aligned", fold: int = 4) -> pd.DataFrame:
    """Return Adience: `key` ("aligned/7153718@N04/landmark_aligned_face.2282.11597935265_29b.jpg"),
    `path`, `split`, `gender` (missing where the list has u or nothing; counted), `age_range`,
    `person` (the album).

    Dropped and counted: malformed rows, repeated ones, faces with two labels, images not on disk.

    Args:
        root: The folder of the five lists, or one around it.
        images: "aligned" or "faces".
        fold: The fold that is test, 0 to 4; the others are train.

    Returns:
        The sample table.

    Raises:
        FileNotFoundError: A wrong root, or one without the images' folder.
        ValueError: An unknown option; naming file and line, a gender that is not f, m or u.
    """
    check_known(f"images={images!r}:", images, _IMAGES)
    if fold not in range(5):
        raise ValueError(f"fold={fold!r}: from 0 to 4")
    expected = f"{_FOLDS[0]} ... {_FOLDS[4]} and {images}/"
    source = Source(root, _FOLDS, expected=expected)
    folder = source.folder(images)
    table = pd.concat(
        source.read_list(source.at(name), _COLUMNS, _ORDER).assign(
            split="test" if i == fold else "train"
        )
        for i, name in enumerate(_FOLDS)
    )
    table["gender"] = map_labels(table["gender"], _GENDERS, "gender")
    names = _IMAGES[images] + "." + table["face"] + "." + table["image"]
    table["key"] = source.key(folder) + table["person"] + "/" + names
    table = source.drop_repeats(table, ["gender", "age_range", "split"])
    table = source.present(table, folder)
    table["gender"] = table["gender"].where(table["gender"] != "")
    return source.finish(
        table,
        ["key", "split", "gender", "age_range", "person"],
        published={"all": 19_370},
        unlabelled={"gender: u or empty": int(table["gender"].isna().sum())},
        notes=[f"fold {fold} is the test split"],
    )
