"""Claims -> verdicts, by one rule for all of them (papers/hmtl/protocol.md).

`papers/hmtl/claims.csv` says for each claim of the paper which training is held against which. The
effect is the difference of test scores in points: of mean recall where classes are uneven and the
record knows them, else of accuracy; of head pose it is the error saved, in degrees. Each interval
stands alone, at 95 %, for other seeds and other faces: faces are paired and counted once, people
stay whole, seeds are not paired, and the variance over seeds of a training is shrunk towards that
of all trainings of its study, data set and task, as limma does (Smyth 2004) with `PRIOR` degrees of
freedom. With a margin of one point, or a tenth of a degree,

    supported    zero is rejected, and the effect is above it (for "not worse": the interval lies
                 above minus the margin)
    refuted      zero is rejected, and the effect is below it
    equivalent   the interval lies within the margin
    undecided    none of these, or a training has fewer seeds than its plan, `MIN_SEEDS` at least
    not tested   supervised training gains the margin or more from twice the epochs, or was not
                 looked at so

A claim's `family` says how it is rejected: those that are primary for a data set by Holm at 5 %,
run or not; one that stands apart, at 5 %; one "after" another only where that is decided, and so
the controls of every claim. What else is asked is exploratory and gets no verdict. Ours.
"""

__all__ = [
    "BESIDE", "MARGIN", "MIN_SEEDS", "Effect", "Estimate", "bootstrap_interval", "effect_table",
    "estimate", "holm", "judge", "people_tested", "plateau_table", "pooled_variance",
    "readme_claims", "readme_verdicts", "unit_scores", "verdict_table",
]  # fmt: skip

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from hmtl.data.sets import RENDERED, recorded_set
from hmtl.study.plan import APART, seeds_planned, share
from hmtl.study.tables import FEWEST, PLAN, claims, markdown, name_trainings, reported_effect

MARGIN = 1.0  # points
POSE_MARGIN = 0.1  # degrees
MIN_SEEDS = 6
PRIOR = 8  # degrees of freedom of the variance that is shrunk to
LEVEL = 0.95
DECIDED = ("supported", "refuted", "equivalent")
_ABSENT = {"faces": "not planned", "ferplus": "no such labels"}  # of claims on other faces alone
ASSERTED = "asserted in its notebook"  # of a claim that asks "identical": no matter of seeds
EXPLORATORY = "exploratory"
NOT_TESTED = "not tested"
CONTRASTS = {
    "base": ("effect", "verdict"),
    "control": ("− second view", "verdict, second view"),
    "longer": ("− twice the epochs", "verdict, twice the epochs"),
}
EFFECT_COLUMNS = [
    "claim", "short", "faces", "kind", "base", "unit", "gain", "low", "high", "seeds",
    "test_faces", "verdict",
]  # fmt: skip
BESIDE = ["metric", "p", "paper", "P > 0", "P within"]
"""What `effect_table` has beside: the metric, the p of zero, whether the paper's own effect lies in
the interval (empty: it reports none), the probabilities of a gain and of a gap within the margin
(flat prior)."""
COLUMNS = [
    "claim", "short", "faces", "contrast", *(c for both in CONTRASTS.values() for c in both),
    "paper", "P > 0", "P within", "holds", "n", "notebook",
]  # fmt: skip


class Effect(NamedTuple):
    """A gain (points, degrees), its interval, and the seeds of the training that has fewest."""

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
    faces = recorded_set(data, people, size)  # a person's faces stand together (draw_faces)
    return np.repeat(np.arange(faces.people[2]), faces.per_person)


def bootstrap_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of one run's `values`, (faces,), and its interval for other faces: scipy's bootstrap."""
    # a single face has no interval
    low, high = (np.nan, np.nan) if len(values) < 2 else stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, batch=500, confidence_level=LEVEL,
        method="percentile", rng=0,
    ).confidence_interval  # fmt: skip
    return float(values.mean()), float(low), float(high)


class Estimate(NamedTuple):
    """A contrast of cells: its mean, standard error and degrees of freedom."""

    mean: float
    error: float
    df: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Student's, two-sided."""
        half = stats.t.ppf(0.5 + level / 2, self.df) * self.error
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """Of zero, two-sided."""
        if self.error == 0:
            return float(self.mean == 0)
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.df))

    def between(self, low: float, high: float) -> float:
        """Probability that the effect lies there, under a flat prior."""
        if self.error == 0:
            return float(low < self.mean < high)
        ends = (np.array([low, high]) - self.mean) / self.error
        return float(np.diff(stats.t.cdf(ends, self.df))[0])


def unit_scores(
    outcomes: np.ndarray, people: np.ndarray | None = None, truth: np.ndarray | None = None
) -> np.ndarray:
    """What each person, or face, adds to each seed's score.

    Args:
        outcomes: (seeds, faces): bool, named rightly or not, or degrees of error.
        people: Number of the person on each face, (faces,); None: each face is another's.
        truth: True class of each face, (faces,), for mean recall; None for accuracy.

    Returns:
        float (seeds, people): a row's mean is the score, in % or minus degrees. Of mean recall the
        rest is linear: deviations from the class's own mean (Taylor).

    Raises:
        ValueError: `people` or `truth` are of another number of faces.
    """
    seeds, faces = outcomes.shape
    for values, name in ((people, "person"), (truth, "class")):
        if values is not None and len(values) != faces:
            raise ValueError(f"{len(values)} faces have a {name}, {faces} were tested")
    scores = 100.0 * outcomes if outcomes.dtype == bool else -outcomes.astype(float)
    weights, centre = np.ones(faces), np.full(faces, scores.mean())
    if truth is not None:
        _, number, counts = np.unique(truth, return_inverse=True, return_counts=True)
        weights = faces / (len(counts) * counts[number])
        centre = (np.bincount(number, scores.mean(0)) / counts)[number]
    parts = weights * (scores - centre)
    if people is not None:
        _, number = np.unique(people, return_inverse=True)
        parts = np.stack([np.bincount(number, row) for row in parts])
    return parts * (parts.shape[1] / faces) + (weights * centre).mean()


def pooled_variance(cells: Iterable[np.ndarray]) -> tuple[float, int]:
    """The variance of scores over seeds, pooled over cells (seeds, people), and its df."""
    pairs = [(float(v.mean(1).var(ddof=1)), len(v) - 1) for v in cells if len(v) > 1]
    total = sum(df for _, df in pairs)
    return (sum(v * df for v, df in pairs) / total if total else 0.0), total


def estimate(
    cells: Sequence[np.ndarray], signs: Sequence[float], pool: tuple[float, int]
) -> Estimate:
    """The signed sum of cells' mean scores, for other seeds and other people.

    The variance of a cell's mean over seeds holds what seed and face do together; that part is
    taken out of the variance over people, so that it counts once.

    Args:
        cells: `unit_scores` of each training, of the same people.
        signs: 1 or -1 of each.
        pool: `pooled_variance` of the trainings beside them.

    Returns:
        Degrees of freedom are Satterthwaite's; one seed of a cell leaves its own out.
    """
    mean = sum(sign * v.mean() for sign, v in zip(signs, cells, strict=True))
    prior, total = pool
    strength = min(PRIOR, total)
    parts, mixed = [], 0.0
    people = cells[0].shape[1]
    for v in cells:
        seeds = len(v)
        own = v.mean(1).var(ddof=1) if seeds > 1 else 0.0
        df = min(strength + seeds - 1, total)
        if df:
            shrunk = (strength * prior + (seeds - 1) * own) / (strength + seeds - 1)
            parts.append((shrunk / seeds, df))
        if seeds > 1:
            rest = v - v.mean(0) - v.mean(1, keepdims=True) + v.mean()
            mixed += (rest**2).sum() / ((seeds - 1) * (people - 1)) / seeds
    gaps = sum(sign * v.mean(0) for sign, v in zip(signs, cells, strict=True))
    parts.append((max(0.0, gaps.var(ddof=1) - mixed) / people, people - 1))
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / df for part, df in parts) if variance else np.inf
    return Estimate(float(mean), float(np.sqrt(variance)), float(freedom))


def holm(p_values: Sequence[float], size: int, alpha: float = 1 - LEVEL) -> list[bool]:
    """Which of some hypotheses of a family of `size` Holm's procedure rejects."""
    rejected, order = [False] * len(p_values), np.argsort(p_values, kind="stable")
    for rank, place in enumerate(order):
        if p_values[place] > alpha / (max(size, len(p_values)) - rank):
            break
        rejected[place] = True
    return rejected


def judge(
    effect: Effect,
    asks: str = "better",
    margin: float = MARGIN,
    rejected: bool | None = None,
    wanted: int = MIN_SEEDS,
) -> str:
    """The verdict on an effect by the rule above.

    Args:
        effect: The gain, its interval and its seeds.
        asks: "better" or "not worse".
        margin: In the effect's unit.
        rejected: Whether its family rejects zero; None: the interval says.
        wanted: Seeds of either training without which nothing is decided.

    Raises:
        ValueError: A claim that asks neither.
    """
    if asks not in ("better", "not worse"):
        raise ValueError(f"a claim asks better or not worse, not {asks!r}")
    if effect.seeds < wanted:
        return f"undecided ({effect.seeds} of {wanted} seeds)"
    bar = 0.0 if asks == "better" else -margin
    leaves = effect.low > bar or effect.high < bar if rejected is None else rejected
    if leaves:
        return "supported" if effect.points > bar else "refuted"
    if effect.low > -margin and effect.high < margin:
        return "equivalent"
    return "undecided"


class _Asked(NamedTuple):
    """A contrast that was run."""

    claim: Any
    data: str
    kind: str
    base: str
    cells: list[np.ndarray]
    signs: tuple[int, ...]
    pool: tuple[float, int]
    metric: str
    faces: int
    ready: bool
    wanted: list[int]

    @property
    def short(self) -> tuple[int, int]:
        """Seeds that the training nearest to too few has, and those that its plan wants."""
        pairs = zip(map(len, self.cells), self.wanted, strict=True)
        return min(pairs, key=lambda pair: pair[0] - pair[1])


def effect_table(
    runs: pd.DataFrame, outcomes: dict[str, np.ndarray], table: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row a contrast of a claim that was run: `EFFECT_COLUMNS` and `BESIDE`.

    `table` is `hmtl.study.tables.claims()`. Runs of the plan (study "decide") go before those of
    the claim's notebook. `kind` is "base", "control" or "longer" and `base` the training held
    against; `gain` with `low` and `high` is in `unit`. Raises ValueError naming the claim whose
    condition is no column of the runs.
    """
    table = (claims() if table is None else table).fillna("")
    runs = runs[runs["run"].isin(set(outcomes))]  # a pre-training answers nothing
    runs = runs.assign(share=[_share(row) for row in runs.itertuples()])
    studies = {name: _Study(own, outcomes) for name, own in runs.groupby("study", sort=False)}
    asked: list[_Asked] = []
    for claim in table.itertuples():
        if not claim.column:
            continue
        for data in dict.fromkeys(runs["data"]):
            for study in (PLAN, claim.notebook):
                more = studies[study].asked(claim, data) if study in studies else []
                asked += more
                if more:
                    break
    found = [estimate(one.cells, one.signs, one.pool) for one in asked]
    verdicts = _verdicts(asked, found, table)
    rows = []
    for one, known, verdict in zip(asked, found, verdicts, strict=True):
        claim, margin = one.claim, _margin(one.claim)
        effect = _effect(one, known)
        told = (claim.id, claim.short, one.data, one.kind, one.base, claim.unit)
        paper = reported_effect(claim.treated, one.base, claim.where) if not claim.versus else None
        within = paper is not None and effect.low < paper < effect.high
        inside = "" if paper is None else "inside" if within else "outside"
        shares = (known.between(0, np.inf), known.between(-margin, margin))
        beside = (one.metric, known.p, inside, *shares)
        rows.append((*told, *effect, one.faces, verdict, *beside))
    return pd.DataFrame(rows, columns=[*EFFECT_COLUMNS, *BESIDE])


def _verdicts(asked: list[_Asked], found: list[Estimate], table: pd.DataFrame) -> list[str]:
    """The verdict on each contrast, families and gates kept."""
    verdicts = [EXPLORATORY] * len(asked)
    family = {claim.id: getattr(claim, "family", "primary") for claim in table.itertuples()}
    only = {claim.id: getattr(claim, "faces", "") for claim in table.itertuples()}
    decided: dict[tuple[str, str], str] = {}

    def told(one: _Asked, known: Estimate, rejected: bool | None = None) -> str:
        if not one.ready:
            return NOT_TESTED
        asks, margin, (seeds, wanted) = one.claim.asks, _margin(one.claim), one.short
        return judge(_effect(one, known)._replace(seeds=seeds), asks, margin, rejected, wanted)

    for data in dict.fromkeys(one.data for one in asked):
        size = sum(kind == "primary" and only[name] in ("", data) for name, kind in family.items())
        own = [
            place
            for place, one in enumerate(asked)
            if one.data == data and one.kind == "base" and family[one.claim.id] == "primary"
        ]
        able = [asked[i].ready and asked[i].short[0] >= asked[i].short[1] for i in own]
        p_values = [found[i].p if can else 1.0 for i, can in zip(own, able, strict=True)]
        for place, rejected in zip(own, holm(p_values, size), strict=True):
            verdicts[place] = told(asked[place], found[place], rejected)
            decided[asked[place].claim.id, data] = verdicts[place]
    for place, one in enumerate(asked):
        kind = family[one.claim.id]
        gate = kind.removeprefix("after ") if kind.startswith("after ") else ""
        opened = decided.get((gate, one.data)) in ("supported", "refuted")
        if one.kind == "base" and (kind == "apart" or (gate and opened)):
            verdicts[place] = told(one, found[place])
            decided[one.claim.id, one.data] = verdicts[place]
    for place, one in enumerate(asked):  # a claim's controls, where it is decided
        before = decided.get((one.claim.id, one.data))
        if one.kind != "base" and before in ("supported", "refuted"):
            verdicts[place] = told(one, found[place])
    return verdicts


def _margin(claim) -> float:
    return POSE_MARGIN if claim.unit == "degrees" else MARGIN


def _effect(one: _Asked, known: Estimate) -> Effect:
    most = (180.0 if one.claim.unit == "degrees" else 100.0) * len(one.cells) / 2
    low, high = known.interval()
    return Effect(known.mean, max(low, -most), min(high, most), min(map(len, one.cells)))


def _share(run) -> str:
    """ "all", "few" (of the plan) or the number."""
    if run.fraction == 1:
        return "all"
    return "few" if np.isclose(run.fraction, share(run.data)) else f"{run.fraction:g}"


class _Study:
    """The runs of one study, their trainings by full name, and what its faces are."""

    def __init__(self, runs: pd.DataFrame, outcomes: dict):
        self.runs, self.outcomes = name_trainings(runs), outcomes
        self._known: dict = {}

    def cell(self, own: pd.DataFrame) -> np.ndarray:
        """`unit_scores` of some runs, in the order of their seeds."""
        key = tuple(own["run"])
        if key not in self._known:
            found = np.stack([self.outcomes[run] for run in own.sort_values("seed")["run"]])
            self._known[key] = unit_scores(found, people_tested(own), self.truth(own))
        return self._known[key]

    def truth(self, own: pd.DataFrame) -> np.ndarray | None:
        """The true classes where mean recall is the metric and they are known."""
        first = own.iloc[0]
        if first["data"] in RENDERED or "pack" not in own:
            return None
        known = getattr(self.outcomes, "truth", {})
        return known.get((first["pack"], first.get("task", "emotion")))

    def pool(self, data: str, task: str) -> tuple[float, int]:
        """The pooled variance of all trainings of a data set and task."""
        if (data, task) in self._known:
            return self._known[data, task]
        own = self.runs[self.runs["data"] == data]
        own = own[own["task"] == task] if "task" in own else own
        by = [name for name in ("method", "fraction", "start", "augment", "arch") if name in own]
        cells = [self.cell(group) for _, group in own.groupby(by) if len(group) > 1]
        self._known[data, task] = pooled_variance(cells)
        return self._known[data, task]

    def ready(self, own: pd.DataFrame, margin: float) -> bool:
        """Whether supervised training beside these runs is at its plateau."""
        tables = [_plateau(self, cell) for _, cell in own.groupby(["data", "fraction"])]
        return bool(tables) and all(1 in rows and rows[1]["gain"] < margin for rows in tables)

    def wanted(self, own: pd.DataFrame, task: str) -> int:
        """The seeds without which a contrast of a training is not decided: those of its plan."""
        if self.runs["study"].iloc[0] != PLAN:
            return MIN_SEEDS
        return max(MIN_SEEDS, seeds_planned(own["data"].iloc[0], task, own["share"].iloc[0]))

    def asked(self, claim, data: str) -> list[_Asked]:
        """The contrasts of a claim that were run on a data set."""
        own = self.runs[self.runs["data"] == data]
        if "task" in own and "task=" not in claim.where:
            own = own[own["task"] == "emotion"]
        parts = [_where(own, claim, where) for where in (claim.where, claim.versus) if where]
        parts, found = parts or [own], []
        for kind in CONTRASTS:
            base = getattr(claim, kind)
            sides = [p[p[claim.column] == name] for p in parts for name in (claim.treated, base)]
            if claim.column != "method":  # of a start, its usual length alone
                sides = [side[~side["method"].str.contains("× epochs")] for side in sides]
            plans = self.runs["study"].iloc[0] in {PLAN, *APART.values()}  # presets have fewer
            fewest = FEWEST if plans else 1
            if not base or any(side["seed"].nunique() < fewest for side in sides):
                continue
            for side in sides:
                if side["seed"].duplicated().any():
                    raise ValueError(
                        f"claim {claim.id}: several runs of one seed of "
                        f"{side[claim.column].iloc[0]}; narrow `where`"
                    )
            cells = [self.cell(side) for side in sides]
            task = sides[0]["task"].iloc[0] if "task" in own else "emotion"
            metric = "degrees" if claim.unit == "degrees" else "accuracy"
            metric = metric if self.truth(sides[0]) is None else "mean recall"
            beside = pd.concat(parts)
            beside = beside[beside["task"] == task] if "task" in beside else beside
            found.append(
                _Asked(
                    claim, data, kind, base, cells, (1, -1, -1, 1)[: len(cells)],
                    self.pool(data, task), metric, len(self.outcomes[sides[0]["run"].iloc[0]]),
                    self.ready(beside, _margin(claim)),
                    [self.wanted(side, task) for side in sides],
                )
            )  # fmt: skip
        return found


def _plateau(study: _Study, own: pd.DataFrame) -> dict[float, dict]:
    """What twice the epochs add to supervised training beside some runs, by the length that is
    doubled: 1 is the usual one. Lengths of which it is not known are left out.
    """
    task = own["task"].iloc[0] if "task" in own else "emotion"
    if "init" in own:
        own = own[own["init"] == "scratch"]
    times = own["method"].str.extract(r"^SL(?:, ([\d.]+)× epochs)?$", expand=False)
    lengths = times.where(own["method"] != "SL", 1).dropna().astype(float)
    rows = {}
    for length in sorted(lengths.unique()):
        sides = [own.loc[lengths[lengths == wanted].index] for wanted in (2 * length, length)]
        twice = any(side["seed"].duplicated().any() for side in sides)
        if twice or min(side["seed"].nunique() for side in sides) < FEWEST:
            continue
        first = sides[1].iloc[0]
        cells = [study.cell(side) for side in sides]
        known = estimate(cells, (1, -1), study.pool(first["data"], task))
        low, high = known.interval()
        told = {name: first.get(name, "") for name in ("study", "data", "task", "fraction")}
        told |= {"epochs": first.get("epochs", ""), "gain": known.mean, "low": low, "high": high}
        rows[length] = told | {"seeds": min(map(len, cells))}
    return rows


def plateau_table(runs: pd.DataFrame, outcomes: dict[str, np.ndarray]) -> pd.DataFrame:
    """What twice the epochs add to supervised training, a row a study, data set, task, share and
    length.

    Columns: study, data, task, fraction, epochs, gain with low and high (points, or degrees of head
    pose), seeds, and `reached`: the gain is below the margin.
    """
    runs, rows = runs[runs["run"].isin(set(outcomes))], []
    for _, own in runs.groupby("study", sort=False):
        study = _Study(own, outcomes)
        for (_, task, _), cell in study.runs.groupby(["data", "task", "fraction"], sort=False):
            margin = POSE_MARGIN if task.startswith("head_pose") else MARGIN
            found = _plateau(study, cell).values()
            rows += [row | {"reached": row["gain"] < margin} for row in found]
    columns = [
        "study", "data", "task", "fraction", "epochs", "gain", "low", "high", "seeds", "reached",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def verdict_table(
    runs: pd.DataFrame,
    outcomes: dict[str, np.ndarray],
    table: pd.DataFrame | None = None,
    effects: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """`effect_table`, `effects` if it is there already, in words: `COLUMNS`, a row a claim and
    kind of faces. `n` is seeds × test faces; `holds` says on how many data sets a claim does.

    A claim without runs keeps its row and an empty verdict; one that asks "identical" is asserted
    in its notebook. Raises ValueError naming the claim whose condition is no column of the runs.
    """
    table = (claims() if table is None else table).fillna("")
    effects = effect_table(runs, outcomes, table) if effects is None else effects
    shown = []
    for claim in table.itertuples():
        own = effects[effects["claim"] == claim.id]
        base = own.loc[own["kind"] == "base", "verdict"]
        held = f"{(base == 'supported').sum()} of {len(base)}"
        for data, group in own.groupby("faces", sort=False):
            row = {"claim": claim.id, "short": claim.short, "faces": data}
            row["contrast"] = _words(claim)
            row["n"] = f"{group['seeds'].min()} × {group['test_faces'].min():,}"  # the fewest
            row["holds"] = "" if (base == EXPLORATORY).any() or base.empty else held
            for effect in group.itertuples():
                title, verdict = CONTRASTS[effect.kind]
                row |= {title: _interval(effect), verdict: effect.verdict}
            first = group.iloc[0]
            row["paper"] = first["paper"]
            row |= {name: f"{100 * first[name]:.0f} %" for name in ("P > 0", "P within")}
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


def readme_claims(table: pd.DataFrame) -> str:
    """README's table in Markdown: a row a claim of the abstract, its verdict on each kind of faces.

    Args:
        table: `verdict_table`'s.

    Returns:
        Columns claim, rendered faces and FER+; a cell has the verdict on the claim's own contrast
        and, where it was run, the effect with its interval.
    """
    listed = claims().set_index("id").fillna("")
    abstract = listed["source"].str.match("abstract(?! of the companion)")
    own, only = table[table["claim"].isin(listed.index[abstract])], listed["faces"]
    rows = []
    for _, group in own.groupby("claim", sort=False):
        told = {"claim": f"{group['short'].iloc[0]} ({group['claim'].iloc[0]})"}
        for data, title in (("faces", "rendered faces"), ("ferplus", "FER+")):
            found = group[group["faces"] == data]
            words = found["verdict"].iloc[0] if len(found) else ""
            asked = only.get(group["claim"].iloc[0], "") in ("", data)
            told[title] = "not tested yet" if asked else _ABSENT[data]
            if len(found):
                told[title] = f"{words}: {found['effect'].iloc[0]}"
        if (group["verdict"] == ASSERTED).any():
            told |= {"rendered faces": "holds to the bit", "FER+": "the same network"}
        rows.append(told)
    return markdown(pd.DataFrame(rows))


def _words(claim) -> str:
    words = f"{claim.treated} − {claim.base}"
    if claim.versus:
        return f"{words}, {claim.where} against {claim.versus}"
    return f"{words}, {claim.where}" if claim.where else words


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
