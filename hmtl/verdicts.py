"""Claims -> verdicts, by one rule for all of them.

`papers/hmtl/claims.csv` says for each claim of the paper which method is held against which. A
claim is judged twice: against its `base`, as the paper compares, and against its `control`, a
second plain view, which costs what a paired tile task costs (in-painting costs more). The effect is
the difference of test accuracies, in points. Its interval covers other seeds and other test faces
at once, and is so wide that all intervals of the table hold together (Bonferroni). Then, with a
margin of one point,

    supported    the whole interval is above 0 (for "not worse": above minus the margin)
    refuted      the whole interval is below 0 (for "not worse": below minus the margin)
    equivalent   the whole interval lies within the margin, so that no gap worth a point is left
    undecided    none of these, or fewer than `MIN_SEEDS` seeds

The rule was written down when the first three seeds were known. Faces of one person count as
independent. Ours.
"""

__all__ = [
    "MARGIN", "MIN_SEEDS", "Effect", "bootstrap_interval", "judge", "readme_verdicts",
    "verdict_table",
]  # fmt: skip

from typing import NamedTuple

import numpy as np
import pandas as pd

from hmtl.tables import claims, markdown

MARGIN = 1.0  # points
MIN_SEEDS = 5
LEVEL = 0.95  # for all intervals of a table together
ASSERTED = "asserted in its notebook"  # of a claim that asks "identical": no matter of seeds
RESAMPLES = 4000
COLUMNS = [
    "claim", "faces", "contrast", "effect", "verdict", "against control", "verdict, control",
    "notebook",
]  # fmt: skip


class Effect(NamedTuple):
    """A difference in points, its simultaneous interval, and the seeds it rests on."""

    points: float
    low: float
    high: float
    seeds: int


def bootstrap_interval(
    differences: np.ndarray, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of `differences` (seeds, faces) and its interval for other seeds and other faces.

    Faces are resampled (Efron's bootstrap, percentiles). Seeds are too few to resample: beside each
    resample of faces their part is drawn from Student's t with as many degrees of freedom as they
    leave, so with faces that all agree this is the t interval. With one seed the interval knows the
    faces only.
    """
    seeds, faces = differences.shape
    rng = np.random.default_rng(seed)
    mean, by_face = float(differences.mean()), differences.mean(0)
    means = np.empty(resamples)
    for start in range(0, resamples, 500):  # counts of a block of resamples at a time
        block = min(500, resamples - start)
        counts = rng.multinomial(faces, np.full(faces, 1 / faces), block)
        means[start : start + block] = counts @ by_face / faces
    if seeds > 1:
        error = differences.mean(1).std(ddof=1) / np.sqrt(seeds)
        shift = error * rng.standard_t(seeds - 1, resamples)
        means = np.concatenate([means + shift, means - shift])  # both ways: tails are rare
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return mean, float(low), float(high)


def judge(effect: Effect, asks: str = "better") -> str:
    """The verdict on an effect by the rule above; `asks` is "better" or "not worse"."""
    if asks not in ("better", "not worse"):
        raise ValueError(f"a claim asks better or not worse, not {asks!r}")
    if effect.seeds < MIN_SEEDS:
        return f"undecided ({effect.seeds} of {MIN_SEEDS} seeds)"
    bar = 0.0 if asks == "better" else -MARGIN
    if effect.low > bar:
        return "supported"
    if effect.high < bar:
        return "refuted"
    if effect.low > -MARGIN and effect.high < MARGIN:
        return "equivalent"
    return "undecided"


def verdict_table(
    runs: pd.DataFrame, correct: dict[str, np.ndarray], table: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row a claim and kind of faces: both contrasts with interval and verdict, and where from.

    `table` is `hmtl.tables.claims()`. A claim without runs keeps its row and an empty verdict; one
    that asks "identical" is asserted in its notebook.
    Raises ValueError naming the claim whose condition is no column of the runs.
    """
    table = (claims() if table is None else table).fillna("")
    rows = []
    for claim in table.itertuples():
        own = runs[(runs["study"] == claim.notebook) & (claim.column != "")]
        for data, group in own.groupby("data", sort=False):
            gaps = {
                title: _differences(group, correct, claim, base)
                for title, base in (("effect", claim.base), ("against control", claim.control))
                if base
            }
            if any(gap is not None for gap in gaps.values()):
                rows.append((claim, data, gaps))
    intervals = sum(gap is not None for *_, gaps in rows for gap in gaps.values())
    level = 1 - (1 - LEVEL) / max(1, intervals)
    shown = [_row(claim, data, gaps, level) for claim, data, gaps in rows]
    for claim in table.itertuples():
        if not any(row["claim"] == claim.id for row in shown):
            row = {"claim": claim.id, "contrast": claim.claim, "notebook": claim.notebook}
            shown.append(row | ({"verdict": ASSERTED} if claim.asks == "identical" else {}))
    order = {name: i for i, name in enumerate(table["id"])}
    shown.sort(key=lambda row: order[row["claim"]])  # stable: data sets stay in their order
    return pd.DataFrame(shown, columns=COLUMNS).astype("string").fillna("")


def _row(claim, data: str, gaps: dict, level: float) -> dict:
    """A row of the table: `gaps` are differences (seeds, faces) by column, None if not run."""
    row = {
        "claim": claim.id, "faces": data, "contrast": _words(claim), "notebook": claim.notebook
    }  # fmt: skip
    for title, verdict in (("effect", "verdict"), ("against control", "verdict, control")):
        gap = gaps.get(title)
        if gap is not None:
            most = 200.0 if claim.versus else 100.0  # what accuracies can differ by
            mean, low, high = bootstrap_interval(gap, level)
            effect = Effect(mean, max(low, -most), min(high, most), len(gap))
            row[title] = f"{mean:+.1f} [{effect.low:+.1f}, {effect.high:+.1f}]"
            row[verdict] = judge(effect, claim.asks)
    return row


def readme_verdicts(table: pd.DataFrame) -> str:
    """README's table in Markdown, from a `verdict_table`; notebooks are links."""
    shown = table.copy()
    shown["verdict"] = shown["verdict"].replace("", "not tested yet")
    shown["notebook"] = [f"[{n[:2]}](notebooks/{n}.ipynb)" if n else "" for n in shown["notebook"]]
    return markdown(shown)


def _words(claim) -> str:
    words = f"{claim.treated} − {claim.base}"
    if claim.versus:
        return f"{words}, {claim.where} against {claim.versus}"
    return f"{words}, {claim.where}" if claim.where else words


def _differences(runs: pd.DataFrame, correct: dict, claim, base: str) -> np.ndarray | None:
    """The claim's method minus `base` in points, (seeds, faces); None if either was not run."""
    parts = [_by_seed(_where(runs, claim, claim.where), correct, claim, base)]
    if claim.versus:
        parts.append(_by_seed(_where(runs, claim, claim.versus), correct, claim, base))
    if any(part is None for part in parts):
        return None
    seeds = sorted(set.intersection(*(set(part) for part in parts)))
    if not seeds:
        return None
    gains = [np.stack([part[seed] for seed in seeds]) for part in parts]
    return 100 * (gains[0] - gains[1] if claim.versus else gains[0])


def _where(runs: pd.DataFrame, claim, condition: str) -> pd.DataFrame:
    """The runs that meet "column=value"."""
    if not condition:
        return runs
    column, _, value = condition.partition("=")
    if column not in runs:
        raise ValueError(f"claim {claim.id}: {condition!r} names no column of the runs")
    if pd.api.types.is_numeric_dtype(runs[column]):
        return runs[np.isclose(runs[column], float(value))]
    return runs[runs[column].astype(str) == value]


def _by_seed(runs: pd.DataFrame, correct: dict, claim, base: str) -> dict | None:
    """Seed -> right (1) or not (0) of the treated run minus that of the base, float (faces,)."""
    sides = []
    for name in (claim.treated, base):
        own = runs[runs[claim.column] == name]
        if own.empty:
            return None
        if own["seed"].duplicated().any():
            raise ValueError(
                f"claim {claim.id}: several runs of one seed of {name}; narrow `where`"
            )
        sides.append({row.seed: correct[row.run].astype(float) for row in own.itertuples()})
    treated, plain = sides
    return {seed: treated[seed] - plain[seed] for seed in treated if seed in plain}
