"""Claims -> verdicts, by a rule that stands here before the runs do.

`papers/hmtl/claims.csv` says for each claim of the paper which method is held against which. A
claim is judged twice: against its `base`, as the paper compares, and against its `control`, which
spends the same compute on something plainer. The effect is the difference of test accuracies, in
points. Its interval is a bootstrap over seeds and test faces at once, as wide as it takes for all
claims of the paper to hold together (Bonferroni). Then, with a margin of one point,

    supported    the whole interval is above 0 (for "not worse": above minus the margin)
    refuted      the whole interval is below 0 (for "not worse": below minus the margin)
    equivalent   the whole interval lies within the margin, so that no gap worth a point is left
    undecided    none of these, or fewer than `MIN_SEEDS` seeds

Faces of one person count as independent. Ours.
"""

__all__ = [
    "MARGIN", "MIN_SEEDS", "Effect", "bootstrap_interval", "judge", "readme_verdicts",
    "verdict_table",
]  # fmt: skip

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from hmtl.tables import claims, markdown

MARGIN = 1.0  # points
MIN_SEEDS = 5
LEVEL = 0.95  # for all claims together
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
    """Mean of `differences` (seeds, faces) and its interval, resampling seeds and faces alike.

    Rows and columns are drawn with replacement independently (Owen, *The pigeonhole bootstrap*,
    2007). A handful of seeds vary less among themselves than seeds at large: their part is widened
    by sqrt(S / (S - 1)) and by Student's quantile over the normal one (as Hesterberg, 2015, widens
    percentiles). With one seed the interval knows the faces only.
    """
    seeds, faces = differences.shape
    rng = np.random.default_rng(seed)
    mean = float(differences.mean())
    by_seed = differences.mean(1) - mean
    widened = differences - by_seed[:, None]
    if seeds > 1:
        tail = 0.5 + level / 2
        widening = stats.t.ppf(tail, seeds - 1) / stats.norm.ppf(tail)
        by_seed = by_seed * widening * np.sqrt(seeds / (seeds - 1))
    widened = widened + by_seed[:, None]
    means = np.empty(resamples)
    for start in range(0, resamples, 500):  # counts of a block of resamples at a time
        block = min(500, resamples - start)
        rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), block) / seeds
        columns = rng.multinomial(faces, np.full(faces, 1 / faces), block) / faces
        means[start : start + block] = ((rows @ widened) * columns).sum(1)
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

    `table` is `hmtl.tables.claims()`. A claim without runs keeps its row and an empty verdict.
    Raises ValueError naming the claim whose condition is no column of the runs.
    """
    table = claims() if table is None else table
    table = table.fillna("")
    level = 1 - (1 - LEVEL) / len(table)
    rows = []
    for claim in table.itertuples():
        own = runs[(runs["study"] == claim.notebook) & (claim.column != "")]
        for data, group in own.groupby("data", sort=False):
            row = {"claim": claim.id, "faces": data, "contrast": _words(claim)}
            for title, base in (("effect", claim.base), ("against control", claim.control)):
                effect = _effect(group, correct, claim, base, level) if base else None
                row[title] = _shown(effect)
                row["verdict" if title == "effect" else "verdict, control"] = (
                    judge(effect, claim.asks) if effect else ""
                )
            if row["effect"] or row["against control"]:
                rows.append(row | {"notebook": claim.notebook})
        if not any(row["claim"] == claim.id for row in rows):
            rows.append({"claim": claim.id, "contrast": claim.claim, "notebook": claim.notebook})
    return pd.DataFrame(rows, columns=COLUMNS).astype("string").fillna("")


def readme_verdicts(table: pd.DataFrame) -> str:
    """README's table in Markdown, from a `verdict_table`; notebooks are links."""
    shown = table.copy()
    shown["verdict"] = shown["verdict"].where(shown["effect"] != "", "not tested yet")
    shown.loc[shown["claim"] == "C8", "verdict"] = "checked to the bit"
    shown["notebook"] = [f"[{n[:2]}](notebooks/{n}.ipynb)" if n else "" for n in shown["notebook"]]
    return markdown(shown)


def _words(claim) -> str:
    words = f"{claim.treated} − {claim.base}"
    if claim.versus:
        return f"{words}, {claim.where} against {claim.versus}"
    return f"{words}, {claim.where}" if claim.where else words


def _shown(effect: Effect | None) -> str:
    if effect is None:
        return ""
    return f"{effect.points:+.1f} [{effect.low:+.1f}, {effect.high:+.1f}]"


def _effect(runs: pd.DataFrame, correct: dict, claim, base: str, level: float) -> Effect | None:
    """The claim's effect against `base`, None if either was not run."""
    parts = [_differences(_where(runs, claim, claim.where), correct, claim, base)]
    if claim.versus:
        parts.append(_differences(_where(runs, claim, claim.versus), correct, claim, base))
    if any(part is None for part in parts):
        return None
    seeds = sorted(set.intersection(*(set(part) for part in parts)))
    if not seeds:
        return None
    gains = [np.stack([part[seed] for seed in seeds]) for part in parts]
    differences = 100 * (gains[0] - gains[1] if claim.versus else gains[0])
    mean, low, high = bootstrap_interval(differences, level)
    most = 100.0 * len(parts)  # what an accuracy, or a gain of gains, can differ by
    return Effect(mean, max(low, -most), min(high, most), len(seeds))


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


def _differences(runs: pd.DataFrame, correct: dict, claim, base: str) -> dict | None:
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
