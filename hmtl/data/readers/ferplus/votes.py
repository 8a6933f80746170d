"""FER+: ten people's votes, and the rules that make labels of them (arXiv 1608.01041).

The modes are described in `hmtl.data.readers.ferplus.read_ferplus`; those of the authors' script
follow github.com/microsoft/FERPlus, src/ferplus.py.
"""

__all__ = [
    "COLUMNS", "MODES", "NAME", "REMEDY", "check_mode", "finish_votes", "parse_votes", "take_votes",
]  # fmt: skip

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hmtl.data.readers.source import Source
from hmtl.labels import EMOTIONS, SPLITS, check_known

COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
           "unknown", "NF")  # fmt: skip
"""What people could vote for; NF is not a face."""
NAME = r"fer[0-9]{7}\.png"
"""Names of FER+'s images."""
REMEDY = "restore the line from the FER+ repository"
MODES = ("majority", "probability", "crossentropy", "multi_target")

_RENAMED = {"happiness": "happy", "sadness": "sad"}
_SHARES = [f"p_{name}" for name in EMOTIONS]
# Positions in COLUMNS of the eight emotions, in AffectNet's order.
_ORDER = [[_RENAMED.get(name, name) for name in COLUMNS].index(name) for name in EMOTIONS]


def check_mode(mode: str) -> None:
    """Raise ValueError unless `mode` is one of `MODES`."""
    check_known(f"labels={mode!r}:", mode, MODES)


def parse_votes(table: pd.DataFrame, field: str, names: str = NAME) -> pd.DataFrame:
    """Return a list with its ten votes, columns `COLUMNS`, as whole numbers from 0 up.

    Raises ValueError for anything else, and for a `name`, in the file `field`, of another form.
    """
    for place, name in table["name"][~table["name"].str.fullmatch(names)].items():
        raise ValueError(
            f"{place}, field {field}: {name!r} is no FER+ image; expected a name like "
            f"fer0000000.png: {REMEDY}"
        )
    for column in COLUMNS:
        for place, text in table[column][~table[column].str.fullmatch("[0-9]{1,5}")].items():
            raise ValueError(
                f"{place}, field {column}: {text!r} is not a whole number of votes from 0 up; "
                f"{REMEDY}"
            )
    return table.astype(dict.fromkeys(COLUMNS, "int64"))


def finish_votes(
    source: Source, table: pd.DataFrame, labels: str, published: Mapping[str, int]
) -> pd.DataFrame:
    """Return the sample table of voted rows that a mode keeps, split by split.

    With `emotion`, the eight `p_` and `votes`; `published` are the counts of majority mode, by
    which valid and test are labelled in every mode.
    """
    parts = []
    for split in SPLITS:
        part, mode = table[table["split"] == split], labels if split == "train" else "majority"
        taken = take_votes(part[list(COLUMNS)].to_numpy(), mode)
        keep = taken.any(axis=1)
        part = source.filter(part, ~keep, f"no emotion by the rule of mode {mode}")
        emotions, total = taken[keep], taken[keep].sum(axis=1)
        first = emotions.argmax(axis=1)  # of equals
        part["emotion"] = np.array(EMOTIONS, object)[first]
        part[_SHARES] = emotions / total[:, None]
        parts.append(part.assign(votes=total))
    order = ("key", "path", "split", "emotion", *_SHARES, "votes", "offset")
    if labels != "majority":
        published = {s: n for s, n in published.items() if not s.startswith("train")}
    table = pd.concat(parts)
    return source.finish(table, [name for name in order if name in table], published=published)


def take_votes(votes: np.ndarray, mode: str) -> np.ndarray:
    """Return the votes (N, 8), in the order of `EMOTIONS`, that a mode takes of `votes` (N, 10).

    Single votes are zeroed first, as outliers. Rows of zeros are those to be left out.
    """
    votes = np.where(votes == 1, 0, votes)
    if mode in ("crossentropy", "multi_target"):
        taken = _most_voted(votes) if mode == "crossentropy" else _thirty_percent(votes)
        leads = taken.argmax(axis=1) < len(EMOTIONS)  # an emotion, in FER+'s order
        keep = leads & (2 * taken.sum(axis=1) > votes.sum(axis=1))
        emotions = taken[:, _ORDER]
    else:
        emotions = votes[:, _ORDER]
        best = emotions.max(axis=1)
        if mode == "majority":
            keep = 2 * best > votes.sum(axis=1)
        else:
            keep = (best > 0) & (best == votes.max(axis=1))
    return np.where(keep[:, None], emotions, 0)


def _thirty_percent(votes: np.ndarray) -> np.ndarray:
    """Return `votes` (N, 10) of the columns with 30 % of a row's votes or more, others zero."""
    return np.where(10 * votes >= 3 * votes.sum(axis=1, keepdims=True), votes, 0)


def _most_voted(votes: np.ndarray) -> np.ndarray:
    """Return `votes` (N, 10) of the columns that come in by the rule of crossentropy mode.

    Rows into which more than three columns came are all zero.
    """
    left, taken = votes.copy(), np.zeros_like(votes)
    total, held, count = votes.sum(axis=1), np.zeros(len(votes), int), np.zeros(len(votes), int)
    going = np.ones(len(votes), bool)
    emotion = np.arange(len(COLUMNS)) < len(EMOTIONS)
    for _ in range(3):  # each round takes one column or more
        going &= (4 * held < 3 * total) & (count < 3)
        best = left.max(axis=1, keepdims=True)
        equal = going[:, None] & (left == best) & (best > 0)
        came = equal & emotion
        ends = (equal & ~emotion).any(axis=1)
        taken = np.where(came, votes, taken)
        first = ends & ~taken.any(axis=1)  # no emotion is ahead of unknown or not-a-face
        taken[first, len(EMOTIONS)] = best[first, 0]
        count += came.sum(axis=1)
        held = taken.sum(axis=1)
        left = np.where(equal, 0, left)
        going &= ~ends
    return np.where((count > 3)[:, None], 0, taken)
