"""The percentile observer, against sorted values."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.quant import numerics
from amctq.quant.observers import PercentileObserver, PercentileSettings
from tests.quant.distributions import DISTRIBUTIONS


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("percentile", [1.0, 0.99999, 0.999, 0.9])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_ends_are_order_statistics(name: str, percentile: float, symmetric: bool) -> None:
    values = DISTRIBUTIONS[name].ravel()
    observer = PercentileObserver(PercentileSettings(percentile=percentile, symmetric=symmetric))
    for batch in np.array_split(values, 9):
        observer.update(batch)
    ordered = np.sort(values)
    beyond = round((1 - percentile) / 2 * len(values))  # values that each end leaves out
    low, high = min(float(ordered[max(beyond - 1, 0)]), 0.0), max(float(ordered[-max(beyond, 1)]), 0.0)
    expected = numerics.range_qparams(low, high, symmetric=symmetric)
    # Up to 2,048 values of an end are kept. Farther in, the histogram answers, half a bin at most away.
    tolerance = 1e-6 if beyond < 2048 else 0.01
    assert observer.qparams().scale == pytest.approx(expected.scale, rel=tolerance)
    assert abs(observer.qparams().offset - expected.offset) <= (0 if beyond < 2048 else 1)


def test_outliers_are_left_out() -> None:
    values = np.random.default_rng(3).uniform(0, 1, 1_000_000).astype(np.float32)
    values[:4] = 1000.0
    observer = PercentileObserver()
    observer.update(values)
    assert observer.qparams().scale * 255 == pytest.approx(1.0, rel=1e-4)
