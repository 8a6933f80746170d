"""Claims -> verdicts, by one rule for all of them.

`papers/hmtl/claims.csv` says for each claim of the paper which training is held against which. A
claim is judged against its `base`, as the paper compares, and against two ways to spend the compute
of a puzzle: its `control`, a second plain view in place of the pretext's, and `longer`, twice the
epochs of the base. (In-painting costs more than either: the tables' CPU seconds say how much.) The
effect is the difference of test accuracies in points; of head pose it is the error saved, in
degrees. Its interval covers other seeds and other test faces at once, rendered ones by whole
people, and is so wide that all intervals of the table hold together (Bonferroni). A seed draws
weights, order and augmentation, not the pictures: which ones a share of the labels holds is the
same for all. Then, with a margin of one point, or a tenth of a degree,

    supported    the whole interval is above 0 (for "not worse": above minus the margin)
    refuted      the whole interval is below 0 (for "not worse": below minus the margin)
    equivalent   the whole interval lies within the margin, so that no gap worth a point is left
    undecided    none of these, or fewer than `MIN_SEEDS` seeds

The rule was written down when three seeds of short trainings were known, and before any of the long
ones it judges but two of C1's seeds. What changed since, people resampled for one, and which claims
were asked later, is told in README and papers/LOG.md. Ours.
"""

__all__ = [
    "MARGIN", "MIN_SEEDS", "Effect", "bootstrap_interval", "effect_table", "judge",
    "people_tested", "readme_verdicts", "verdict_table",
]  # fmt: skip

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import t as student

from hmtl.data.sets import RENDERED, recorded_set
from hmtl.faces.table import tested_faces
from hmtl.study.tables import claims, gain_by_face, markdown, name_trainings

MARGIN = 1.0  # points of accuracy
POSE_MARGIN = 0.1  # degrees
MIN_SEEDS = 5
LEVEL = 0.95  # for all intervals of a table together
DECIDED = ("supported", "refuted", "equivalent")
ASSERTED = "asserted in its notebook"  # of a claim that asks "identical": no matter of seeds
RESAMPLES = 20_000
CONTRASTS = {
    "base": ("effect", "verdict"),
    "control": ("− second view", "verdict, second view"),
    "longer": ("− twice the epochs", "verdict, twice the epochs"),
}
EFFECT_COLUMNS = [
    "claim", "short", "faces", "kind", "base", "unit", "gain", "low", "high", "seeds",
    "test_faces", "verdict",
]  # fmt: skip
COLUMNS = [
    "claim", "short", "faces", "contrast", *(c for both in CONTRASTS.values() for c in both), "n",
    "notebook",
]  # fmt: skip


class Effect(NamedTuple):
    """A gain (points, degrees), its simultaneous interval, and the seeds it rests on."""

    points: float
    low: float
    high: float
    seeds: int


def people_tested(runs: pd.DataFrame) -> np.ndarray | None:
    """The number of the person on each rendered test face of some runs, int64 (faces,); None where
    people are unknown.

    `runs` are rows of a `runs_table`, all tested on one data set.
    """
    data = runs["data"].iloc[0]
    if data not in RENDERED or "people" not in runs:
        return None
    return _people(data, *runs[["people", "size"]].iloc[0])


@lru_cache(maxsize=8)
def _people(data: str, people: str, size: int) -> np.ndarray:
    return pd.factorize(tested_faces(recorded_set(data, people, size))["person"])[0]


def bootstrap_interval(
    differences: np.ndarray,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    people: np.ndarray | None = None,
) -> tuple[float, float, float]:
    """Mean of `differences` (seeds, faces) and its interval for other seeds and other faces.

    Faces are resampled (Efron's bootstrap, percentiles), whole people with all of theirs where
    `people` (faces,) tells them apart: faces of one person are alike. Seeds are too few to
    resample: to each resample of faces Student's t is added, with as many degrees of freedom as
    they leave, so with faces that all agree this is the t interval. Its tails, where intervals of a
    table with many claims end, are computed, not drawn. With one seed the interval knows the faces
    only. Raises ValueError if `people` are of another number of faces.
    """
    seeds, faces = differences.shape
    rng = np.random.default_rng(seed)
    mean, sums, counts = float(differences.mean()), differences.mean(0), np.ones(faces)
    if people is not None:
        if len(people) != faces:
            raise ValueError(f"{len(people)} faces have a person, {faces} were tested")
        _, number = np.unique(people, return_inverse=True)
        sums, counts = np.bincount(number, sums), np.bincount(number)
    means = np.empty(resamples)
    for start in range(0, resamples, 500):  # a block of resamples at a time
        drawn = rng.integers(0, len(sums), (min(500, resamples - start), len(sums)))
        means[start : start + 500] = sums[drawn].sum(1) / counts[drawn].sum(1)
    tails = 0.5 - level / 2, 0.5 + level / 2
    error = differences.mean(1).std(ddof=1) / np.sqrt(seeds) if seeds > 1 else 0.0
    if error == 0:
        return mean, *map(float, np.quantile(means, tails))
    added = student(seeds - 1, scale=error)

    def end(tail: float) -> float:
        reach = added.ppf(tail)  # the end lies this far from some resample, to either side of it
        bounds = means.min() + reach - error, means.max() + reach + error
        return brentq(lambda x: added.cdf(x - means).mean() - tail, *bounds)

    return mean, end(tails[0]), end(tails[1])


def judge(effect: Effect, asks: str = "better", margin: float = MARGIN) -> str:
    """The verdict on an effect by the rule above; `asks` is "better" or "not worse"."""
    if asks not in ("better", "not worse"):
        raise ValueError(f"a claim asks better or not worse, not {asks!r}")
    if effect.seeds < MIN_SEEDS:
        return f"undecided ({effect.seeds} of {MIN_SEEDS} seeds)"
    bar = 0.0 if asks == "better" else -margin
    if effect.low > bar:
        return "supported"
    if effect.high < bar:
        return "refuted"
    if effect.low > -margin and effect.high < margin:
        return "equivalent"
    return "undecided"


def effect_table(
    runs: pd.DataFrame, outcomes: dict[str, np.ndarray], table: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row a contrast of a claim that was run: `EFFECT_COLUMNS`, numbers as numbers.

    `table` is `hmtl.study.tables.claims()`. `kind` is "base", "control" or "longer" and `base` the
    training held against; `gain` with `low` and `high` is in `unit`. Intervals hold together. Each
    rests on `seeds` pairs of trainings and their answers to `test_faces` faces. Raises ValueError
    naming the claim whose condition is no column of the runs.
    """
    table = (claims() if table is None else table).fillna("")
    runs = runs[runs["run"].isin(set(outcomes))]  # a pre-training answers nothing
    found = []
    for claim in table.itertuples():
        own = runs[(runs["study"] == claim.notebook) & (claim.column != "")]
        own = own if own.empty else name_trainings(own)
        for data, group in own.groupby("data", sort=False):
            for kind in CONTRASTS:
                base = getattr(claim, kind)
                gap = _differences(group, outcomes, claim, base) if base else None
                if gap is not None:
                    found.append((claim, data, kind, base, gap, people_tested(group)))
    level = 1 - (1 - LEVEL) / max(1, len(found))
    rows = []
    for claim, data, kind, base, gap, people in found:
        pose = claim.unit == "degrees"
        most = (180.0 if pose else 100.0) * (2 if claim.versus else 1)  # what gains can reach
        mean, low, high = bootstrap_interval(gap, level, people=people)
        effect = Effect(mean, max(low, -most), min(high, most), len(gap))
        verdict = judge(effect, claim.asks, POSE_MARGIN if pose else MARGIN)
        told = (claim.id, claim.short, data, kind, base, claim.unit)
        rows.append((*told, *effect, gap.shape[1], verdict))
    return pd.DataFrame(rows, columns=EFFECT_COLUMNS)


def verdict_table(
    runs: pd.DataFrame,
    outcomes: dict[str, np.ndarray],
    table: pd.DataFrame | None = None,
    effects: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """`effect_table`, `effects` if it is there already, in words: `COLUMNS`, a row a claim and
    kind of faces. `n` is seeds × test faces.

    A claim without runs keeps its row and an empty verdict; one that asks "identical" is asserted
    in its notebook. Raises ValueError naming the claim whose condition is no column of the runs.
    """
    table = (claims() if table is None else table).fillna("")
    effects = effect_table(runs, outcomes, table) if effects is None else effects
    shown = []
    for claim in table.itertuples():
        own = effects[effects["claim"] == claim.id]
        for data, group in own.groupby("faces", sort=False):
            row = {"claim": claim.id, "short": claim.short, "faces": data}
            row |= {"contrast": _words(claim), "n": _n(group)}
            for effect in group.itertuples():
                title, verdict = CONTRASTS[effect.kind]
                row |= {title: _interval(effect), verdict: effect.verdict}
            shown.append(row | {"notebook": claim.notebook})
        if own.empty:
            row = {"claim": claim.id, "short": claim.short, "notebook": claim.notebook}
            row |= {"contrast": _words(claim) if claim.column else ""}
            shown.append(row | ({"verdict": ASSERTED} if claim.asks == "identical" else {}))
    return pd.DataFrame(shown, columns=COLUMNS).astype("string").fillna("")


def _interval(effect) -> str:
    """ "+1.2 [-0.3, +2.7]", or in hundredths of a degree."""
    digits, sign = (2, "°") if effect.unit == "degrees" else (1, "")
    gain, low, high = (f"{v:+.{digits}f}" for v in (effect.gain, effect.low, effect.high))
    return f"{gain}{sign} [{low}, {high}]"


def readme_verdicts(table: pd.DataFrame) -> str:
    """README's table in Markdown, from a `verdict_table`: a verdict behind each effect, in bold
    where the claim is decided; notebooks are links. What the row above says already is left out.
    """
    shown = table.copy()
    shown["claim"] = table["claim"] + ": " + table["short"]
    shown["verdict"] = table["verdict"].replace("", "not tested yet")
    for effect, verdict in CONTRASTS.values():
        told = [f"**{word}**" if word in DECIDED else word for word in shown[verdict]]
        whole = table[effect].str.replace(", ", ",\N{NO-BREAK SPACE}")  # no interval on two lines
        shown[effect] = [f"{e} {v}".strip() for e, v in zip(whole, told, strict=True)]
    shown["n"] = table["n"].str.replace(" ", "\N{NO-BREAK SPACE}")
    shown["notebook"] = [f"[{n[:2]}](notebooks/{n}.ipynb)" if n else "" for n in table["notebook"]]
    again = shown["claim"].eq(shown["claim"].shift(fill_value=""))
    for name in ("claim", "contrast", "notebook"):  # a claim's other kind of faces
        shown[name] = shown[name].mask(again, "")
    return markdown(shown.drop(columns=["short", *(verdict for _, verdict in CONTRASTS.values())]))


def _n(effects: pd.DataFrame) -> str:
    """ "5 × 2,000": the seeds and test faces of a claim, the fewest of its contrasts."""
    return f"{effects['seeds'].min()} × {effects['test_faces'].min():,}"


def _words(claim) -> str:
    words = f"{claim.treated} − {claim.base}"
    if claim.versus:
        return f"{words}, {claim.where} against {claim.versus}"
    return f"{words}, {claim.where}" if claim.where else words


def _differences(runs: pd.DataFrame, outcomes: dict, claim, base: str) -> np.ndarray | None:
    """The gain of the claim's training on `base`, (seeds, faces); None if either was not run."""
    parts = [_by_seed(_where(runs, claim, claim.where), outcomes, claim, base)]
    if claim.versus:
        parts.append(_by_seed(_where(runs, claim, claim.versus), outcomes, claim, base))
    if any(part is None for part in parts):
        return None
    seeds = sorted(set.intersection(*(set(part) for part in parts)))
    if not seeds:
        return None
    gains = [np.stack([part[seed] for seed in seeds]) for part in parts]
    return gains[0] - gains[1] if claim.versus else gains[0]


def _where(runs: pd.DataFrame, claim, conditions: str) -> pd.DataFrame:
    """The runs that meet "column=value & column=value"."""
    for condition in filter(None, conditions.split(" & ")):
        column, _, value = condition.partition("=")
        if column not in runs:
            raise ValueError(f"claim {claim.id}: {condition!r} names no column of the runs")
        if pd.api.types.is_numeric_dtype(runs[column]):
            runs = runs[np.isclose(runs[column], float(value))]
        else:
            runs = runs[runs[column].astype(str) == value]
    return runs


def _by_seed(runs: pd.DataFrame, outcomes: dict, claim, base: str) -> dict | None:
    """Seed -> gain of the treated run on that of the base, float (faces,)."""
    sides = []
    for name in (claim.treated, base):
        own = runs[runs[claim.column] == name]
        if own.empty:
            return None
        if own["seed"].duplicated().any():
            raise ValueError(
                f"claim {claim.id}: several runs of one seed of {name}; narrow `where`"
            )
        sides.append(dict(zip(own["seed"], own["run"], strict=True)))
    treated, plain = sides
    return {
        seed: gain_by_face(outcomes[treated[seed]], outcomes[plain[seed]])
        for seed in treated
        if seed in plain
    }
