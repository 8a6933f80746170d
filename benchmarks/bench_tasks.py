"""What each pretext task costs, as a ratio to supervised training; a part of `make bench`.

Whole training epochs over the shipped faces, interleaved, medians of five rounds after a first one.
"""

import pandas as pd
from timing import DEVICE, fit_one, medians, timed

from hmtl import face_dataloaders, hmtl_learner, load_pack
from hmtl.method.pretext import make

TASKS = [
    ((), "paired"),
    (("second_view",), "paired"),
    (("puzzling_2x2",), "shared"),
    (("puzzling_3x3",), "shared"),
    (("tile_rotation_2x2",), "shared"),
    (("image_rotation",), "shared"),
    (("puzzling_2x2", "tile_rotation_2x2"), "shared"),
    (("puzzling_2x2_map",), "shared"),
    (("inpainting_grid",), "shared"),
    (("inpainting_grid_pl",), "shared"),
    (("puzzling_2x2",), "paired"),
    (("puzzling_rotation_2x2",), "paired"),
    (("jigsaw_3x3",), "paired"),
    (("inpainting_grid",), "paired"),
    (("inpainting_grid_pl",), "paired"),
    (("barlow_twins",), "paired"),
    (("random_target",), "paired"),
    (("only_puzzling_2x2",), "paired"),
]


# of a full-size network, whose epochs take long on a CPU
FEW_TASKS = [
    ((), "paired"),
    (("puzzling_2x2",), "shared"),
    (("tile_rotation_2x2",), "shared"),
    (("inpainting_grid_pl",), "shared"),
    (("puzzling_2x2",), "paired"),
]


def task_costs(
    arch: str, size: int, bs: int, tasks: list = TASKS, fraction: float = 1.0
) -> pd.DataFrame:
    """A row a task: an epoch's seconds over those of supervised training, and ms a picture.

    `fraction` of the shipped training faces make an epoch.
    """
    actions, pack = {}, load_pack("mini")
    for names, views in tasks:
        dls = face_dataloaders(pack, bs=bs, size=size, fraction=fraction, device=DEVICE, seed=0)
        pretexts = [make(name) for name in names]
        learn = hmtl_learner(dls, arch, pretexts=pretexts, views=views, seed=0)
        actions["+".join(names) or "SL", views if names else ""] = timed(fit_one(learn))
    seconds = medians(actions)
    base, pictures = seconds["SL", ""], len(dls.train) * bs
    rows = [
        (f"{arch}, {size} px", task, views, own / base, 1000 * own / pictures)
        for (task, views), own in seconds.items()
    ]
    return pd.DataFrame(rows, columns=["network", "task", "views", "ratio", "ms a picture"]).round(
        3
    )
