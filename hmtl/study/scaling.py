"""What many runs on many machines need, reckoned from the record: core-hours, hours, bytes.

`python -m hmtl scaling` prints the tables of papers/SCALING.md, and `write_reference` renews them.
Costs are the recorded `cpu_seconds` of runs on one thread each. Ours.
"""

__all__ = ["SCALING_MARKS", "finish", "pack_table", "run_table", "scaling_report"]

import heapq
from collections.abc import Iterable

import numpy as np
import pandas as pd

from hmtl.data.sets import MINI_PATH
from hmtl.runs.specs import get_preset
from hmtl.study.tables import markdown

SCALING_MARKS = ("<!-- scaling -->", "<!-- end of scaling -->")
GIGABIT = 1e9 / 8  # bytes a second
SIZES = (("tiny's own", 48), ("the later scripts'", 112), ("the first scripts'", 224))


def finish(costs: Iterable[float], workers: int) -> float:
    """When the last of the runs ends: each, in order, goes to the worker that is free first."""
    free = [0.0] * workers
    for cost in costs:
        heapq.heapreplace(free, free[0] + cost)
    return max(free)


def run_table(runs: pd.DataFrame, count: int, workers: int, seed: int = 0) -> pd.DataFrame:
    """A row a network, faces and task: what `count` such runs cost, and when `workers` end.

    `runs` are `recorded_runs`; the costs of the many are drawn from those of the recorded.
    Times in hours but for a run and its epoch, in seconds; `idle` is the share of the workers' time
    until the last run ends in which they have nothing to do.
    """
    rows = []
    for (arch, data, task), own in runs.drop_duplicates("run").groupby(["arch", "data", "task"]):
        cost = own["cpu_seconds"].to_numpy()
        drawn = np.random.default_rng(seed).choice(cost, count)
        first, sorted_ = finish(drawn, workers), finish(-np.sort(-drawn), workers)
        rows.append(
            {
                "network": arch,
                "faces": data,
                "task": task,
                "recorded": len(own),
                "a run, s": f"{cost.mean():.0f}",
                "longest, s": f"{cost.max():.0f}",
                "an epoch, s": f"{(cost / own['epochs']).mean():.1f}",
                "core-hours": f"{drawn.sum() / 3600:.1f}",
                "hours": f"{first / 3600:.2f}",
                "longest first": f"{sorted_ / 3600:.2f}",
                "idle": f"{1 - drawn.sum() / (workers * first):.0%}",
                "weights, GB": f"{count * weight_bytes(arch) / 1e9:.2f}",
            }
        )
    return pd.DataFrame(rows)


def weight_bytes(arch: str) -> int:
    """Bytes of the network's weights, by far the largest file of a run."""
    from hmtl.method.learner import build_model
    from hmtl.method.tasks import Emotion

    task = Emotion()
    return sum(t.nbytes for t in build_model(arch, len(task.names), task).state_dict().values())


def pack_table(machines: int) -> pd.DataFrame:
    """Bytes of packs, and how long one disk at a gigabit a second takes to hand out that many."""
    mini = sum(file.stat().st_size for file in MINI_PATH.iterdir())
    faces = get_preset("study").spec("faces")
    count = 8 * sum(faces.people)  # a person shows every emotion
    packs = [("mini, as it is shipped", mini), (f"preset study, {count:,} faces", _bytes(count))]
    packs += [(f"100,000 at {name} {size} px", _bytes(100_000, size)) for name, size in SIZES]
    return pd.DataFrame(
        {
            "pack": name,
            "GB": f"{size / 1e9:.3f}",
            "one copy, s": f"{size / GIGABIT:.1f}",
            f"{machines} copies, min": f"{machines * size / GIGABIT / 60:.1f}",
        }
        for name, size in packs
    )


def _bytes(faces: int, size: int = 48) -> int:
    return faces * size * size * 3


def scaling_report(runs: pd.DataFrame, count: int = 1000, machines: int = 100) -> str:
    """Both tables, in Markdown, with what they assume."""
    cores = int(runs["cores"].mode()[0])
    workers = machines * cores
    return "\n\n".join(
        [
            f"{count:,} runs on {machines} machines of {cores} cores, {workers} workers. "
            f"`python -m hmtl scaling --runs {count} --machines {machines}`",
            markdown(run_table(runs, count, workers)),
            markdown(pack_table(machines)),
        ]
    )
