"""Many runs on paper: the schedule by hand, the sizes against files, the report as committed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hmtl.__main__ import main
from hmtl.data.sets import MINI_PATH
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.study.scaling import (
    SCALING_MARKS,
    finish,
    pack_table,
    run_table,
    scaling_report,
    weight_bytes,
)
from hmtl.study.tables import recorded_runs

REPORT = Path(__file__).parents[2] / "papers" / "SCALING.md"


def test_each_run_goes_to_the_worker_that_is_free_first():
    # by hand: workers end at 3 and 1; 2 goes to the second, 4 to either
    assert finish([3, 1, 2, 4], workers=2) == 7
    assert finish([4, 3, 2, 1], workers=2) == 5
    costs = np.random.default_rng(0).exponential(size=200)
    assert finish(costs, 1) == pytest.approx(costs.sum())
    assert finish(costs, 500) == costs.max()
    for workers in (2, 7, 30):  # Graham's bounds of any such schedule
        end = finish(costs, workers)
        assert max(costs.max(), costs.sum() / workers) <= end
        assert end <= costs.sum() / workers + costs.max()


def test_costs_are_those_of_the_record():
    record = pd.DataFrame(
        {
            "run": ["a", "b", "b"], "arch": "tiny", "data": "mini", "task": "emotion",
            "cpu_seconds": [36.0, 36.0, 36.0], "epochs": [2, 4, 4],
        }
    )  # fmt: skip
    (row,) = run_table(record, count=100, workers=10).to_dict("records")
    assert (row["recorded"], row["core-hours"], row["hours"]) == (2, "1.0", "0.10")
    assert (row["an epoch, s"], row["idle"]) == ("13.5", "0%")


def test_sizes_are_those_of_files(tmp_path):
    run = fit(RunSpec(data="mini", epochs=1), store=tmp_path)
    written = (run.path / "model.safetensors").stat().st_size
    assert weight_bytes("tiny") == pytest.approx(written, rel=0.02)  # and its header
    table = pack_table(10).set_index("pack")
    mini = sum(file.stat().st_size for file in MINI_PATH.iterdir())
    assert table.loc["mini, as it is shipped", "GB"] == f"{mini / 1e9:.3f}"
    images = MINI_PATH / "images.npy"
    assert images.stat().st_size == pytest.approx(640 * 48 * 48 * 3, rel=0.001)


def test_the_report_is_the_records(capsys):
    wanted = scaling_report(recorded_runs()[0])
    text = REPORT.read_text()
    assert text.split(SCALING_MARKS[0])[1].split(SCALING_MARKS[1])[0].strip() == wanted
    assert main(["scaling"]) == 0
    assert capsys.readouterr().out.strip() == wanted
    assert main(["scaling", "--runs", "0"]) == 2
