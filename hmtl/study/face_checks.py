"""Are the rendered faces a fair benchmark? Shortcuts that must not exist, trends that must.

*Shortcuts*: a network that sees everything but the face, and a classifier that sees every parameter
but the action units, must not know the emotion better than chance. *Trends*: a network must read
strong expressions better than weak ones, and frontal faces better than turned ones. All of it is
ours.
"""

__all__ = [
    "face_region",
    "hide_faces",
    "parameter_check",
    "picture_check",
    "shortcut_table",
    "slice_tables",
]

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from scipy.ndimage import binary_dilation
from scipy.spatial import ConvexHull

from hmtl.data.pack import Pack, open_pack, write_pack
from hmtl.faces.expressions import ACTION_UNIT_COLUMNS
from hmtl.faces.faceset import FaceSet
from hmtl.faces.render import photograph, render_faces, renderer
from hmtl.faces.table import draw_faces, tested_faces
from hmtl.labels import EMOTIONS, SPLITS, class_indices
from hmtl.paths import cache_dir
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.study.tables import supervised_runs

_FROM_UNITS = {*ACTION_UNIT_COLUMNS, "emotion", "shown", "second", "share", "intensity", "valence",
               "arousal"}  # fmt: skip
"""Columns that follow from what the face shows."""

_NAMES = {"key", "split", "person", "noise_seed"}  # of a row, not of what is in the picture

_HIDING_VERSION = 2  # raise it when faces are hidden otherwise: the cache goes by it
_PARAMETER_TEST_PEOPLE = 1500

SLICES: dict[str, tuple[float, ...]] = {
    "intensity": (0.45, 0.6, 0.75, 0.9, 1.0),
    "yaw": (0, 15, 30, 65),
}
"""Column -> edges of its slices; angles by their absolute value."""


# --------------------------------------------------------------------------------------- shortcuts


def face_region(params: pd.DataFrame, size: int) -> np.ndarray:
    """Where an expression could change the picture.

    The outline of all that any expression moves, of the face at rest and with its mouth wide open,
    and a margin for what blur carries outwards. It follows from identity, pose and camera
    alone: the region itself says nothing of the expression.

    Args:
        params: N rows of `hmtl.faces.table.draw_faces`.
        size: Side of the pictures, pixels.

    Returns:
        bool (N, size, size).
    """
    from PIL import Image, ImageDraw

    head = renderer("cpu")
    moved = np.flatnonzero(head.arrays["moved"][: len(head.arrays["base_index"])])
    rest = params.assign(**dict.fromkeys(ACTION_UNIT_COLUMNS, 0.0))
    places = [head.places_in_picture(rest.assign(AU27=jaw), size)[:, moved] for jaw in (0.0, 1.0)]
    margin = np.ones((3, 3), bool)
    regions = np.empty((len(params), size, size), bool)
    for i, points in enumerate(np.concatenate(places, 1)):
        outline = points[ConvexHull(points).vertices]
        picture = Image.new("1", (size, size))
        ImageDraw.Draw(picture).polygon([tuple(p) for p in outline.tolist()], fill=1)
        reach = 2 + round(0.03 * size)
        regions[i] = binary_dilation(np.asarray(picture), margin, iterations=reach)
    return regions


def hide_faces(params: pd.DataFrame, size: int) -> np.ndarray:
    """Pictures whose face is painted over before the camera's JPEG.

    Painted over afterwards, JPEG's blocks would have carried some of it outside already.

    Args:
        params: N rows of `hmtl.faces.table.draw_faces`.
        size: Side of the pictures, pixels.

    Returns:
        uint8 (N, size, size, 3).
    """
    pictures = render_faces(params.assign(jpeg=100.0), size, processes=1, progress=False)
    pictures[face_region(params, size)] = 127
    return np.stack(
        [photograph(p, quality) for p, quality in zip(pictures, params["jpeg"], strict=True)]
    )


def _hidden_pack(face_set: FaceSet, pack: Pack) -> Pack:
    """The faces of a pack without their faces, cached."""
    path = cache_dir() / "packs" / f"{pack.fingerprint}-without-faces-{_HIDING_VERSION}"
    if not path.exists():
        tables = (draw_faces(face_set, i, i + 256) for i in range(0, face_set.n, 256))
        images = np.concatenate([hide_faces(table, face_set.size) for table in tables])
        write_pack(path, images, pack.labels, source="rendered faces, the face hidden")
    return open_pack(path)


def _chance_row(check: str, right: int, faces: int) -> dict:
    """Accuracy of a check beside the interval in which chance stays 95 times in 100."""
    chance = 1 / len(EMOTIONS)
    low, high = stats.binom.interval(0.95, faces, chance)
    return {
        "check": check,
        "test faces": faces,
        "accuracy %": round(100 * right / faces, 2),
        "chance, 95 % from": round(100 * low / faces, 2),
        "to": round(100 * high / faces, 2),
        "p": float(f"{stats.binomtest(right, faces, chance).pvalue:.3g}"),
    }


def picture_check(spec: RunSpec) -> list[dict]:
    """A network trained and tested on pictures without the face, and the same with it.

    Args:
        spec: A supervised run on "faces".

    Returns:
        Two rows of `shortcut_table`.
    """
    face_set = FaceSet(spec.people, size=spec.size)
    pack = spec.load()
    rows = []
    for check, own in (
        ("picture without the face", _hidden_pack(face_set, pack)),
        ("control: the whole picture", pack),
    ):
        predictions = fit(spec, pack=own).predictions
        right = int((predictions["predicted"] == predictions["target"]).sum())
        rows.append(_chance_row(check, right, len(predictions)))
    return rows


def parameter_check(face_set: FaceSet) -> list[dict]:
    """Boosted trees that see every parameter but the action units, and trees that see only them."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    table = draw_faces(face_set)
    target = class_indices(table["emotion"], EMOTIONS, "emotion")
    train, test = ((table["split"] == split).to_numpy() for split in (SPLITS[0], SPLITS[2]))
    others = [c for c in table if c not in _FROM_UNITS | _NAMES]
    rows = []
    for check, columns in (
        ("parameters without the action units", others),
        ("control: the action units", list(ACTION_UNIT_COLUMNS)),
    ):
        values = table[columns].apply(
            lambda c: c if pd.api.types.is_numeric_dtype(c) else c.astype("category").cat.codes
        )
        model = HistGradientBoostingClassifier(max_iter=60, early_stopping=False)
        model.fit(values[train], target[train])
        right = int((model.predict(values[test]) == target[test]).sum())
        rows.append(_chance_row(check, right, int(test.sum())))
    return rows


def shortcut_table(spec: RunSpec) -> pd.DataFrame:
    """All checks for shortcuts on the faces of a run, and the controls that show they could fail.

    Args:
        spec: A supervised run on "faces".

    Returns:
        Columns: check, test faces, accuracy %, the interval that chance keeps to, and the two-sided
        binomial p.
    """
    rows = picture_check(spec)
    # parameters cost no rendering, so this check is asked of many more faces
    rows += parameter_check(FaceSet((spec.people[0], 0, _PARAMETER_TEST_PEOPLE), size=spec.size))
    return pd.DataFrame(rows)


# ------------------------------------------------------------------------------------------ trends


def slice_tables(runs: pd.DataFrame, outcomes: dict[str, np.ndarray]) -> dict[str, pd.DataFrame]:
    """Accuracy of supervised runs of emotion on "faces" by slices of the test faces.

    Args:
        runs, outcomes: As `hmtl.study.tables.recorded_runs` gives them.

    Returns:
        `faces-by-intensity` and `faces-by-yaw`: a row a network, at the most labels it was trained
        with, and slice, the mean over seeds with its 95 % interval over faces. `faces-trends`:
        Kendall's tau of being right with the column, and whether the means of the slices are in
        order. Neutral faces have no intensity.

    Raises:
        ValueError: Runs of one network were tested on different faces.
    """
    own = supervised_runs(runs)
    own = own[(own["data"] == "faces") & (own["augment"] == "weak")]
    most = own.groupby(["arch", "init"])["train_faces"].transform("max")
    own = own[own["train_faces"] == most]
    tables: dict[str, list] = {f"faces-by-{column}": [] for column in SLICES}
    trends = []
    for (arch, init), group in own.groupby(["arch", "init"], sort=False):
        if len(group[["people", "size", "pack"]].drop_duplicates()) > 1:
            raise ValueError(
                f"runs of {arch}, {init} were tested on different faces: {sorted(group['run'])}; "
                "record one study of them"
            )
        faces = tested_faces(FaceSet.recorded(group["people"].iloc[0], group["size"].iloc[0]))
        right = np.mean([outcomes[run] for run in group["run"].drop_duplicates()], axis=0)
        name, share = f"{arch}, {init}", group["fraction"].iloc[0]
        if share < 1:
            name += f", {share:.0%} of the labels"
        for column, edges in SLICES.items():
            rows, trend = _slice(faces, right, column, edges)
            tables[f"faces-by-{column}"] += [{"network": name, **row} for row in rows]
            trends.append({"network": name, "column": column, **trend})
    frames = {key: pd.DataFrame(rows) for key, rows in tables.items()}
    return frames | {"faces-trends": pd.DataFrame(trends)}


def _slice(
    faces: pd.DataFrame, right: np.ndarray, column: str, edges: Sequence[float]
) -> tuple[list[dict], dict]:
    value = faces[column].abs().to_numpy()
    used = (faces["shown"] != "neutral").to_numpy() if column == "intensity" else value >= 0
    rows = []
    for low, high in zip(edges, edges[1:], strict=False):
        inside = right[used & (value >= low) & (value < high + 1e-9 * (high == edges[-1]))]
        half = 1.96 * stats.sem(inside)
        rows.append(
            {
                column: f"{low:g} to {high:g}",
                "test faces": len(inside),
                "accuracy %": round(100 * inside.mean(), 1),
                "± %": round(100 * half, 1),
            }
        )
    tau = stats.kendalltau(value[used], right[used])
    steps = np.diff([row["accuracy %"] for row in rows])
    order = "rises" if (steps > 0).all() else "falls" if (steps < 0).all() else "neither"
    return rows, {"means": order, "tau": round(tau.statistic, 3), "p": float(f"{tau.pvalue:.2g}")}
