"""The study: what notebooks need; runs -> record, tables, verdicts, figures.

In: finished runs, or the committed record (`outputs/reference`). Out: DataFrames, figures, words.
A number in a table is computed only here. Imports runs and the rooms before it.
"""

from hmtl.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"hmtl.study.notebook": ["open_notebook"]})
