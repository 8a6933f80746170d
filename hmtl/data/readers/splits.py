"""Seeded splits for data sets that have none.

Every draw hangs on the seed and the *name* of what is drawn (an image's key, a person), never on
the order of files, so the same folder gives the same split on every machine. Ours.
"""

__all__ = ["draw_uniform", "hold_out", "picture_of", "seeded_split"]

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from hmtl.labels import SPLITS


def draw_uniform(names: Sequence[str], seed: int, purpose: str = "split") -> np.ndarray:
    """Return a number in [0, 1) for each name, float64 (N,): a hash of seed, purpose and name."""
    raw = b"".join(
        hashlib.sha256(f"{seed}|{purpose}|{name}".encode(errors="surrogateescape")).digest()[:8]
        for name in names
    )
    return (np.frombuffer(raw, dtype=">u8") >> 11) * 2.0**-53


def picture_of(keys: pd.Series) -> pd.Series:
    """Return the key of the picture that each key is a face of: "a.jpg" of "a.jpg#2"."""
    return keys.astype(str).str.replace(r"#\d+$", "", regex=True)  # of an empty table no text


def seeded_split(
    table: pd.DataFrame,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    *,
    seed: int = 0,
    by: str | None = None,
    group: str = "key",
) -> pd.Series:
    """Return the split of each row: `shares` of train, valid and test, by the seed.

    Whole groups (rows with one value of column `group`: a person, a photo) go to one split, as do
    all faces of a picture. With `by`, a column, the shares hold within each of its values (that of
    a group's first row). Counts are of groups, rounded. Raises ValueError unless the shares are 0
    or more and add up to 1.
    """
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares={shares!r}: three numbers from 0 up that add up to 1")
    # a row without a group is a group of its own
    pictures = picture_of(table["key"])
    own = pictures if group == "key" else table[group]
    of_row = own.astype(object).where(own.notna(), pictures).astype(str)
    first = ~of_row.duplicated()
    groups, names = table[first], of_row[first].to_numpy()
    strata = np.zeros(len(names)) if by is None else groups[by].astype(object).fillna("")
    frame = pd.DataFrame({"draw": draw_uniform(names, seed), "stratum": np.asarray(strata)}, names)
    of_group: dict[str, str] = {}
    for _, rows in frame.groupby("stratum", sort=True):
        order = rows.sort_values("draw", kind="stable").index
        edges = np.round(np.cumsum(shares) * len(order)).astype(int)
        places = np.searchsorted(edges, np.arange(len(order)), side="right")
        of_group |= dict(zip(order, np.array(SPLITS)[places], strict=True))
    return of_row.map(of_group)


def hold_out(
    table: pd.DataFrame,
    share: float = 0.05,
    *,
    seed: int = 0,
    by: str | None = None,
    group: str = "key",
) -> pd.DataFrame:
    """Return `table` with `share` of its training groups made valid: to choose a model cleanly.

    The table has none, and 0 < share < 1. Test rows stay as they are. `seed`, `by` and `group` are
    those of `seeded_split`.
    """
    table = table.copy()
    train = table["split"] == "train"
    table.loc[train, "split"] = seeded_split(
        table[train], (1 - share, share, 0), seed=seed, by=by, group=group
    )
    return table
