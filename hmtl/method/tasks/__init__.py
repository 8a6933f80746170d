"""The supervised tasks: emotion, gender, head pose, valence and arousal, and none of them
(pre-training). Each says everything that is its own:

    columns                         of the label table, what the label is made of
    targets(table) -> tensor        int64 (N,), or float32 (N, 3) of angles, (N, 2) of affect
    follow(targets, flip, turn)     what a horizontal flip and a turn of the picture do to it
    changed_by, check_pretexts      which of these change it, and which pretexts would break it
    head(num_features, outputs)     representation -> outputs
    loss(dls), metrics(dls)         what is minimised, what the progress table shows
    decode(target)                  as fastai writes it above a picture
    predictions(table, predicted)   the table a run stores
    scores(predictions)             what is computed from that file

and a `name`, by which `make_task` and a RunSpec know it.
"""

__all__ = [
    "TASKS", "Affect", "Emotion", "Gender", "HeadPose", "HeadPoseBins", "Pretraining", "Task",
    "make_task",
]  # fmt: skip

from hmtl.labels import check_known
from hmtl.method.tasks.affect import Affect
from hmtl.method.tasks.base import Task
from hmtl.method.tasks.classes import Emotion, Gender
from hmtl.method.tasks.pose import HeadPose, HeadPoseBins
from hmtl.method.tasks.pretraining import Pretraining

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Emotion, Gender, HeadPose, HeadPoseBins, Affect, Pretraining)
}


def make_task(name: str, **options) -> Task:
    """The task of that name, with its own `options`; ValueError listing the known names."""
    check_known(f"unknown task {name!r};", name, TASKS)
    return TASKS[name](**options)
