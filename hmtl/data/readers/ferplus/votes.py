"""FER+: ten people's votes, and the rules that make labels of them (arXiv 1608.01041).

The modes are described in `hmtl.data.readers.ferplus.read_ferplus`; those of the authors' script
follow github.com/microsoft/FERPlus, src/ferplus.py.
"""

__all__ = ["COLUMNS", "MODES", "NAME", "check_mode", "label_votes", "parse_votes", "take_votes"]

import re

import numpy as np
import pandas as pd

from hmtl.data.readers.report import Drops
from hmtl.labels import EMOTIONS, check_known

COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
           "unknown", "NF")  # fmt: skip
"""What people could vote for; NF is not a face."""
NAME = re.compile(r"fer\d{7}\.png", re.ASCII)
"""Names of FER+'s images."""
MODES = ("majority", "probability", "crossentropy", "multi_target")

_RENAMED = {"happiness": "happy", "sadness": "sad"}
# Positions in COLUMNS of the eight emotions, in AffectNet's order.
_ORDER = [[_RENAMED.get(name, name) for name in COLUMNS].index(name) for name in EMOTIONS]


def check_mode(mode: str) -> None:
    """Raise ValueError unless `mode` is one of `MODES`."""
    check_known(f"labels={mode!r}:", mode, MODES)


def label_votes(table: pd.DataFrame, votes: np.ndarray, mode: str, drops: Drops) -> pd.DataFrame:
    """Return the rows that a mode keeps of `table`, with `emotion`, the eight `p_` and `votes`.

    `votes` int (N, 10) has a row for each of the table, in the order of `COLUMNS`.
    """
    taken = take_votes(votes, mode)
    keep = taken.any(axis=1)
    table = drops.filter(table, ~keep, f"no emotion by the rule of mode {mode}")
    emotions, total = taken[keep], taken[keep].sum(axis=1)
    table = table.assign(emotion=[EMOTIONS[i] for i in emotions.argmax(axis=1)])  # first of equals
    table[[f"p_{name}" for name in EMOTIONS]] = emotions / total[:, None]
    table["votes"] = total
    return table


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


def parse_votes(fields: list[str], where: str) -> list[int]:
    """Return the ten votes of one line as whole numbers from 0 up; ValueError for anything else."""
    for column, text in zip(COLUMNS, fields, strict=True):
        if not (text.isascii() and text.isdigit() and len(text) < 6):
            raise ValueError(
                f"{where}, field {column}: {text!r} is not a whole number of votes from 0 up; "
                "restore the line from the FER+ repository"
            )
    return [int(text) for text in fields]
