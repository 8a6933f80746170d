"""The judgement of `make soak`, on memory that grows and memory that does not."""

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("psutil")
import soak


def samples(growth=0.0, noise=5.0, handles=0.0, count=120):
    """An hour of samples; memory grows by so many MB an hour, after a quarter of warming up."""
    rng, minutes = np.random.default_rng(0), np.linspace(0.5, 60, count)
    warming = 400 * np.minimum(minutes / 12, 1)
    memory = 800 + warming + growth * minutes / 60 + rng.normal(0, noise, count)
    open_files = 20 + np.floor(handles * minutes / 60)
    return pd.DataFrame({"minutes": minutes, "memory_mb": memory, "handles": open_files})


def test_warming_up_and_noise_are_flat():
    said = soak.judge(samples())
    assert said["flat"]
    assert abs(said["growth_mb_an_hour"][0]) < 10


@pytest.mark.parametrize("growth", [100, 1000])
def test_memory_that_grows_is_not_flat_and_the_slope_is_named(growth):
    said = soak.judge(samples(growth))
    assert not said["flat"]
    slope, low, high = said["growth_mb_an_hour"]
    assert low < growth < high
    assert slope == pytest.approx(growth, rel=0.1)


def test_handles_that_stay_open_are_not_flat():
    assert not soak.judge(samples(handles=4))["flat"]


def test_too_short_a_soak_decides_nothing():
    with pytest.raises(ValueError, match="soak for longer"):
        soak.judge(samples(count=6))
