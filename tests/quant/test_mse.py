"""MSE over a histogram, against a dense grid of ranges and every value."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.quant.observers import MinMaxObserver, MseObserver
from tests.quant.distributions import DISTRIBUTIONS, SATURATED
from tests.quant.reference_squares import Squares, least_error

# Exact error at the range chosen over the least exact error on the grid.
TOLERANCE = 1.005


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("name", [*DISTRIBUTIONS, *SATURATED])
def test_error_is_within_tolerance_of_the_dense_grid(name: str, symmetric: bool) -> None:
    values = (DISTRIBUTIONS | SATURATED)[name].ravel()[:200_000]
    squares = Squares(values.astype(float))
    two_sided = values.min() < 0 < values.max() and not symmetric
    least = least_error(squares, symmetric=symmetric, grid=48 if two_sided else 800)
    observer = MseObserver(symmetric=symmetric)
    for batch in np.array_split(values, 7):
        observer.update(batch)
    qparams = observer.qparams()
    negligible = 1e-12 * float(np.sum(squares.values**2))
    assert squares.of_quantizer(qparams.scale, qparams.offset) <= TOLERANCE * least + negligible


def test_each_end_is_searched_for_itself() -> None:
    random = np.random.default_rng(2)
    values = random.normal(size=400_000).astype(np.float32)
    values[:2] = 60.0, -8.0  # outliers that the largest share of all would not tell apart
    mse, whole = MseObserver(), MinMaxObserver()
    for observer in (mse, whole):
        observer.update(values)
    qparams = mse.qparams()
    low, high = (-128 - qparams.offset) * qparams.scale, (127 - qparams.offset) * qparams.scale
    assert -8.0 < low < -3.0
    assert 3.0 < high < 60.0
    squares = Squares(values.astype(float))
    assert squares.of_quantizer(qparams.scale, qparams.offset) < squares.of_quantizer(
        whole.qparams().scale, whole.qparams().offset
    )
