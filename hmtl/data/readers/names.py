"""Words for emotions and genders in other data sets -> this project's names. Ours."""

__all__ = ["EMOTION_WORDS", "GENDER_WORDS", "name_labels"]

from collections.abc import Callable, Mapping

import pandas as pd

from hmtl.data.readers.report import map_labels

EMOTION_WORDS: dict[str, str] = {
    word: name
    for name, words in {
        "neutral": "neutral neutrality",
        "happy": "happy happiness",
        "sad": "sad sadness",
        "surprise": "surprise surprised",
        "fear": "fear fearful",
        "disgust": "disgust disgusted",
        "anger": "anger angry",
        "contempt": "contempt contemptuous",
    }.items()
    for word in words.split()
}
GENDER_WORDS = {"female": "female", "f": "female", "male": "male", "m": "male"}


def name_labels(
    values: pd.Series,
    where: Callable[[int], str],
    field: str,
    *,
    words: Mapping[str, str] = EMOTION_WORDS,
    names: Mapping | None = None,
) -> pd.Series:
    """Return this project's name of each label in `values`, by `names` or else by `words`.

    Words are looked up without regard to case and blanks around them. **Numbers mean another
    emotion in each copy of a data set** (alphabetical order makes 0 anger, AffectNet's own makes it
    neutral), so a number is known only if `names` (the user's own: label -> name) has it. Raises
    ValueError, as `map_labels`, for a label that is in neither.
    """
    known = {**words, **{str(k).strip().lower(): str(v) for k, v in (names or {}).items()}}
    return map_labels(values.astype(str).str.strip().str.lower(), known, where, field)
