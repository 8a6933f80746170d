"""Where hybrid training helps and where it costs: gains by slices of the rendered test faces.

The parameters that shaped each picture are known, so test faces can be sliced by all of them. Every
interval covers other seeds and other people, and all of a table hold together (Bonferroni). Ours.
"""

__all__ = ["SLICES", "slice_gains", "sliced_faces"]

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from hmtl.data.sets import RENDERED, recorded_set
from hmtl.faces.table import tested_faces
from hmtl.labels import EMOTIONS
from hmtl.study.verdicts import LEVEL, estimate, pooled_variance, unit_scores

PEOPLE = 10
"""Of fewer test people a slice has no interval."""


def _bins(edges: Sequence[float], names: Sequence[str], of: Callable) -> Callable:
    return lambda faces: pd.cut(of(faces), edges, labels=list(names), include_lowest=True)


def _covered(faces: pd.DataFrame) -> pd.Series:
    names = ["mask", "hand", "sunglasses"]
    found = np.select([faces[name] > 0 for name in names], names, "nothing")
    return pd.Series(pd.Categorical(found, ["nothing", *reversed(names)]), faces.index)


SLICES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "intensity": _bins((0.4, 0.65, 0.85, 1), ("weak", "medium", "strong"),
                       lambda faces: faces["intensity"].where(faces["shown"] != "neutral")),
    "yaw": _bins((0, 15, 30, 90), ("0–15°", "15–30°", "> 30°"), lambda faces: faces["yaw"].abs()),
    "light": _bins((0, 30, 60, 90), ("front", "oblique", "side"),
                   lambda faces: faces["light_azimuth"].abs()),
    "covered by": _covered,
    "age": _bins((0, 35, 55, 120), ("< 35", "35–55", "> 55"), lambda faces: faces["age"]),
    "skin tone": _bins((0, 1 / 3, 2 / 3, 1), ("light", "medium", "dark"),
                       lambda faces: faces["skin_tone"]),
    "gender": lambda faces: faces["gender"].astype("category"),
    "emotion": lambda faces: pd.Series(pd.Categorical(faces["emotion"], EMOTIONS), faces.index),
}  # fmt: skip
"""Column -> the slice of each face, ordered categories; empty where it has no meaning."""


def sliced_faces(runs: pd.DataFrame) -> pd.DataFrame:
    """Every slice of the rendered test faces of some runs.

    Args:
        runs: Rows of a `runs_table`, all tested on one set, "mini" or "faces".

    Returns:
        A row a face in their own order: key, person, and the columns of `SLICES`.

    Raises:
        ValueError: The runs were tested on several sets, or on other faces.
    """
    tested = runs[["data", "people", "size"]].drop_duplicates()
    if len(tested) != 1 or tested["data"].iloc[0] not in RENDERED:
        raise ValueError(f"slices need runs on one set of rendered faces, got {tested.to_dict()}")
    faces = tested_faces(recorded_set(*tested.iloc[0])).reset_index(drop=True)
    told = {"key": faces["key"], "person": faces["person"]}
    return pd.DataFrame(told | {name: of(faces) for name, of in SLICES.items()})


def slice_gains(
    faces: pd.DataFrame,
    treated: Mapping[int, np.ndarray],
    base: Mapping[int, np.ndarray],
    columns: Sequence[str] = tuple(SLICES),
) -> pd.DataFrame:
    """The gain of one training on another by slice of the test faces.

    Args:
        faces: `sliced_faces`.
        treated, base: Seed -> outcomes of its run, (faces,) (`hmtl.study.tables.outcome_by_face`).
        columns: Of `SLICES`.

    Returns:
        Columns: column, slice, faces, base (accuracy in %, or the mean error in degrees), gain
        (points, or degrees less) with low and high of its interval, and `says`: "gains" or "costs"
        where that interval leaves zero out. A slice of fewer than ten people has no interval, nor
        has one whose answers never differ.

    Raises:
        ValueError: No seed is common to both, or runs and faces differ in number.
    """
    seeds = sorted(set(treated) & set(base))
    if not seeds:
        raise ValueError("the two trainings have no seed in common")
    both = [np.stack([outcomes[seed] for seed in seeds]) for outcomes in (treated, base)]
    if both[1].shape[1] != len(faces):
        raise ValueError(
            f"runs were tested on {both[1].shape[1]} faces, the slices have {len(faces)}"
        )
    level = 1 - (1 - LEVEL) / sum(faces[column].nunique() for column in columns)
    rows, people = [], faces["person"].to_numpy()
    for column in columns:
        for name in faces[column].cat.remove_unused_categories().cat.categories:
            inside = (faces[column] == name).to_numpy()
            cells = [unit_scores(found[:, inside], people[inside]) for found in both]
            low = high = np.nan
            if cells[0].shape[1] >= PEOPLE:
                known = estimate(cells, (1, -1), pooled_variance(cells))
                low, high = known.interval(level) if known.error else (np.nan, np.nan)
            says = "gains" if low > 0 else "costs" if high < 0 else ""
            before = abs(cells[1].mean())  # of degrees the score is minus the error
            gain = cells[0].mean() - cells[1].mean()
            rows.append((column, name, int(inside.sum()), before, gain, low, high, says))
    names = ["column", "slice", "faces", "base", "gain", "low", "high", "says"]
    return pd.DataFrame(rows, columns=names).round(2)
