"""The answers of a run's network to the test faces of another pack."""

import dataclasses

import pandas as pd

from hmtl.data.pack import Pack
from hmtl.files import load_weights
from hmtl.runs.fit import _test, _threads, build_learner
from hmtl.runs.store import REMEDY, Run


def predict_test(run: Run, pack: Pack) -> pd.DataFrame:
    """The predictions of a finished run's network for the test faces of another pack.

    Args:
        run: A finished run with a network.
        pack: It may have no other faces than test faces.

    Returns:
        One row a test face, as `Run.predictions` has them.

    Raises:
        ValueError: The run failed, or the pack has no test faces or not the labels of the task.
    """
    weights = run.weights
    if not len(pack.rows("test")):
        raise ValueError("this pack has no test faces, so there is nothing to predict")
    spec = dataclasses.replace(
        run.spec, init="scratch", features="", fraction=1.0, fill=False, sampling="natural",
        labels="majority",
    )  # fmt: skip
    with _threads(1):
        learn = build_learner(spec, pack)
        load_weights(lambda: learn.model, weights, REMEDY)
        return _test(learn, pack)
