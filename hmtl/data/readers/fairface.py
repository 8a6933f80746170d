"""FairFace: 97,698 faces with gender, race and age range (Karkkainen, Joo, arXiv 1908.04913).

On disk:

    fairface_label_train.csv, fairface_label_val.csv   file,age,gender,race,service_test
    train/1.jpg, val/1.jpg                             or in a folder of the archive's name, as
                                                       fairface-img-margin025-trainval/
"""

__all__ = ["read_fairface"]

from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import find_root, list_at, locate, subfolder
from hmtl.data.readers.names import GENDER_WORDS, name_labels
from hmtl.data.readers.source import Source

_FILES = {"train": "fairface_label_train.csv", "test": "fairface_label_val.csv"}
_ORDER = ("file", "age", "gender", "race", "service_test")


def read_fairface(root: str | Path, *, images: str = "") -> pd.DataFrame:
    """Return FairFace: `key` ("train/1.jpg"), `path`, `split`, `gender`, `race`, `age_range`.

    Its validation list is the test split: there is no other. Dropped and counted: malformed rows,
    repeated ones, images not on disk.

    Args:
        root: The folder of both lists, or one around it.
        images: The folder of train/ and val/ beside the lists, where both paddings are there.

    Returns:
        The sample table.

    Raises:
        FileNotFoundError: A wrong root, or one without train/ and val/.
        ValueError: Both paddings, and no `images`; naming file and line, a gender that is not
            known.
    """
    lists = find_root(root, list(_FILES.values()), expected=" and ".join(_FILES.values()))
    parts = ["train", "val"]
    copies = [] if images else locate(lists, lambda f: all(subfolder(f, part) for part in parts))
    if len(copies) > 1:
        options = " or ".join(f"--option images={copy.relative_to(lists)}" for copy in copies)
        raise ValueError(f"{lists}: several folders hold train/ and val/; say which by {options}")
    source = Source(lists / images, parts, expected="train/ and val/ with the images")
    columns = {"key": "file", "gender": "gender", "race": "race", "age_range": "age"}
    table = pd.concat(
        source.read_list(list_at(lists, name), columns, _ORDER).assign(split=split)
        for split, name in _FILES.items()
    )
    table["gender"] = name_labels(table["gender"], "gender", words=GENDER_WORDS)
    table = source.drop_repeats(table, ["gender", "race", "age_range"])
    return source.finish(
        source.present(table, source.at("train"), source.at("val")),
        ["key", "split", "gender", "race", "age_range"],
        published={"train": 86_744, "test": 10_954},
        notes=["no test list: the validation images are the test split"],
    )
