"""Words for emotions and genders in other data sets -> this project's names. Ours."""

__all__ = ["ALL_NUMBERS", "EMOTION_WORDS", "GENDER_WORDS", "name_labels", "own_numbers", "plain"]

import unicodedata
from collections.abc import Iterator, Mapping

import pandas as pd

from hmtl.data.readers.report import map_labels

_WORDS = {
    "neutral": "neutral neutrality",
    "happy": "happy happiness hapy happyness",
    "sad": "sad sadness",
    "surprise": "surprise surprised surprize suprize suprized supprise",
    "fear": "fear fearful",
    "disgust": "disgust disgusted",
    "anger": "anger angry angery",
    "contempt": "contempt contemptuous",
}
_LONG = 6  # letters from which on a slip leaves no doubt which word is meant


def _slips(word: str) -> Iterator[str]:
    """Yield a word with one letter lost, doubled, or in the place of the next."""
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]
        yield word[: i + 1] + word[i:]
        yield word[:i] + word[i + 1 : i + 2] + word[i] + word[i + 2 :]


_SAID = {word: name for name, words in _WORDS.items() for word in words.split()}
EMOTION_WORDS: dict[str, str] = {
    slip: name for word, name in _SAID.items() if len(word) >= _LONG for slip in _slips(word)
} | _SAID
"""Word, lower case -> emotion; of long words ("suprise", "hapiness") also with one slip."""
GENDER_WORDS = {
    **dict.fromkeys(("female", "f", "females", "woman", "women"), "female"),
    **dict.fromkeys(("male", "m", "males", "man", "men"), "male"),
}

ALL_NUMBERS = "; if the copy counts otherwise, name all its numbers: --option names {}=..."
"""Ends an error on a number that a set does not have."""


def plain(text: str) -> str:
    """Return a text as it is compared: lower case, without blanks around it, in one normal form.

    File systems and lists write an accented letter as one sign or as two.
    """
    return unicodedata.normalize("NFC", text).strip().lower()


def name_labels(
    values: pd.Series, field: str, *,
    words: Mapping[str, str] = EMOTION_WORDS, names: Mapping | None = None, option: str = "",
) -> pd.Series:  # fmt: skip
    """Return this project's name of each label in `values`, by `names` or else by `words`.

    Words are looked up without regard to case and blanks around them. **Numbers mean another
    emotion in each copy of a data set** (alphabetical order makes 0 anger, AffectNet's own makes it
    neutral), so a number is known only if `names` (the user's own: label -> name) has it.

    Args:
        values: Labels as a data set has them; the index says in which file and row each stands.
        field: What the label is called.
        words: Word, lower case -> name.
        names: The user's own: label -> name.
        option: What the user writes before a label and "=" to name it, for the error.

    Raises:
        ValueError: A label that is in neither.
    """
    known = {**words, **{plain(str(k)): str(v) for k, v in (names or {}).items()}}
    in_name = option.replace(" ", "=")
    remedy = f"; say which by --option {option}{{}}=..., in a name of data by :{in_name}{{}}=..."
    return map_labels(
        values.astype(str).map(plain, na_action="ignore"), known, field,
        dict.fromkeys(words.values()), remedy if option else "",
    )  # fmt: skip


def own_numbers(numbers: Mapping[str, str], names: Mapping | None) -> dict[str, str]:
    """Return label -> emotion by a set's own `numbers` and the user's `names`.

    Who names a number that the set does not have says that the copy counts otherwise (from 0, say):
    the set's own are void then, so that none is shifted in silence.
    """
    given = {str(k): str(v) for k, v in (names or {}).items()}
    other = any(k.isdecimal() and k not in numbers and v for k, v in given.items())
    return given if other else {**numbers, **given}
