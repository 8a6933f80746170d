"""ExpW: 91,793 faces in pictures of the web, seven emotions (Zhang et al., arXiv 1609.06426).

On disk:

    label.lst       image_name face_id top left right bottom confidence label, blanks between
    origin/*.jpg    or image/origin

A picture may hold several faces, a row each. Emotions are 0 angry, 1 disgust, 2 fear, 3 happy,
4 sad, 5 surprise, 6 neutral.
"""

__all__ = ["read_expw"]

from pathlib import Path

import pandas as pd

from hmtl.data.readers.crops import BOX, are_boxes
from hmtl.data.readers.fer2013 import LABELS
from hmtl.data.readers.listing import find_lists
from hmtl.data.readers.report import map_labels
from hmtl.data.readers.source import Source

_ORDER = ("image_name", "face_id_in_image", "face_box_top", "face_box_left", "face_box_right",
          "face_box_bottom", "face_box_confidence", "expression_label")  # fmt: skip
_COLUMNS = {"key": "image_name", "emotion": "expression_label"} | {
    side: f"face_box_{side}" for side in BOX
}
_COUNTS = (3_671, 3_995, 1_088, 30_537, 10_559, 7_060, 34_883)


def read_expw(
    root: str | Path, *, shares: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int = 0
) -> pd.DataFrame:
    """Return ExpW: `key` ("origin/afraid_1.jpg"; "...#2" for a second face in one picture), `path`,
    `split`, `emotion`, `source` (the picture) and the box `left, top, right, bottom` in pixels.

    There is no official split: `shares` of whole pictures are drawn by `seed`. Dropped and counted:
    malformed rows, boxes that are none, repeated rows, faces with two labels, images not on disk.

    Args:
        root: The folder of label.lst, or one around it.
        shares: Of train, valid and test.
        seed: Of the draw.

    Returns:
        The sample table, a row a face.

    Raises:
        FileNotFoundError: A wrong root, or one without the folder origin.
        ValueError: Naming file and line: a label that is not 0..6.
    """
    layouts = [["label.lst"], ["label/label.lst"]]
    source = Source(root, *layouts, expected="label.lst and origin/")
    folder = source.folder("origin")
    table = source.read_list(find_lists(source.root, "label.lst")[0], _COLUMNS, _ORDER)
    numbers = {str(i): name for i, name in enumerate(LABELS)}
    table["emotion"] = map_labels(table["emotion"], numbers, "expression_label")
    table[BOX] = table[BOX].apply(pd.to_numeric, errors="coerce")
    table["key"] = source.key(folder) + table["key"]
    table = source.filter(table, ~are_boxes(table), "no face box")
    table = source.present(table, folder).astype(dict.fromkeys(BOX, int))
    table = source.drop_repeats(table, ["emotion"], ["key", *BOX])
    table = source.draw(table.assign(source=table["key"]), shares, seed, group="source")
    return source.finish(
        table,
        ["key", "split", "emotion", *BOX, "source"],
        several=True,
        published={"all": sum(_COUNTS)},
        faces=dict(zip(LABELS, _COUNTS, strict=True)),
    )
