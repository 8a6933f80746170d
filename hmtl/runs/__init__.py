"""Runs: one training completely, from its spec to a folder that is whole or absent.

In: a `RunSpec` and a store. Out: a `Run`: weights, epochs, predictions, each file with a checksum.
Resume after a kill, many runs at once, several processes a run. Imports method and data.
"""

from hmtl.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "hmtl.runs.fit": ["run_all"],
        "hmtl.runs.specs": ["RunSpec", "grid"],
        "hmtl.runs.store": ["Run", "load_run"],
    },
)
