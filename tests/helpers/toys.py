"""Small packs that learn in seconds, and run folders changed as a stranger could change them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from hmtl.data.pack import write_pack
from hmtl.files import hash_folder, sealed
from hmtl.labels import EMOTIONS


def make_toy_pack(path, count=160, size=32, channels=3, votes=False):
    """A pack whose emotion is the place of a bright bar: learnable in seconds, no rendering."""
    rng = np.random.default_rng(0)
    classes = np.arange(count) % len(EMOTIONS)
    images = rng.integers(0, 60, (count, size, size, channels)).astype(np.uint8)
    for image, value in zip(images, classes, strict=True):
        image[8:24, 3 + 3 * value : 6 + 3 * value] += 150
    split = np.where(np.arange(count) < count // 2, "train", "valid")
    split[3 * count // 4 :] = "test"
    labels = pd.DataFrame(
        {
            "key": [f"toy-{i:04d}" for i in range(count)],
            "split": split,
            "emotion": np.array(EMOTIONS)[classes],
        }
    )
    if votes:
        for i, name in enumerate(EMOTIONS):
            labels[f"p_{name}"] = np.where(classes == i, 0.75, 0.25 / 7)
    return write_pack(path, images, labels, source="toy")


def reseal(folder, **changes):
    """Let a run's folder vouch for the files now in it, as a stranger could; change its record."""
    file = Path(folder) / "spec.json"
    record = {**json.loads(file.read_text(encoding="utf-8")), **changes}
    file.write_text(json.dumps(sealed(record, hash_folder(folder))), encoding="utf-8")
