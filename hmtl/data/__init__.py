"""Data sets: anybody's folder, or rendered faces -> a checked sample table -> a pack.

In: a folder in a published format, or a data set's name. Out: a `Pack`, memory-mapped uint8
pictures and their label table. A file of somebody else's is opened only here (or by `hmtl.files`).
Imports faces.
"""

from hmtl.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "hmtl.data.pack": ["Pack", "open_pack"],
        "hmtl.data.readers": ["READERS"],
        "hmtl.data.sets": ["load_pack"],
    },
)
