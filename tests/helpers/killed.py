"""Trainings in processes of their own, as tests that kill them need: no test of its own."""

import os


def train(values: list[dict], store: str, pack: str, started=None) -> None:
    """Make the runs of these RunSpec values on a pack, in this process, one after the other."""
    os.environ["HMTL_PROGRESS"] = "0"
    from hmtl.data.pack import open_pack
    from hmtl.runs import fit as runs

    if started is not None:
        started.set()
    opened = open_pack(pack)
    runs.RunSpec.load = lambda spec, root=None, progress=None: opened
    runs.run_all([runs.RunSpec.from_dict(v) for v in values], store=store, jobs=1)
