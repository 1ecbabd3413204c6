"""HFMG over a growing histogram, against AMCT's own over all values at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.choices import HfmgVariant
from amctq.quant import numerics
from amctq.quant.observers import HfmgObserver, HfmgSettings
from tests.quant.distributions import DISTRIBUTIONS, SATURATED
from tests.quant.reference_squares import Squares

# Exact loss at the range chosen over the least one on AMCT's way, whose bins end elsewhere.
TOLERANCE = 1.01
# The same where values are few, or come in a few hundred levels: no density at all.
TOLERANCE_WITHOUT_DENSITY = 1.03


def _way(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """AMCT's search, bin by bin: first and last bin of all ranges that AMCT compares, and of the whole one."""
    left, right = 0, len(counts) - 1
    step = max(math.ceil(counts.sum() / 100_000), 1)
    ranges = [(left, right)]
    while right - left > math.ceil(len(counts) / 4):
        from_left, taken = left, 0
        while from_left < right and taken < step:
            taken += counts[from_left]
            from_left += 1
        from_right, taken = right, 0
        while from_left < from_right and taken < step:
            taken += counts[from_right]
            from_right -= 1
        if right - from_right >= from_left - left:
            right = from_right
        else:
            left = from_left
        ranges.append((left, right))
    return ranges


def _loss(squares: Squares, low: float, high: float) -> float:
    """Squared distances to the centres of 256 bins, over every value but exact zeros."""
    width = (high - low) / 256
    return squares.to_levels(low + (np.arange(256) + 0.5) * width)


def _least_loss(values: NDArray[np.float32], bins: int) -> float:
    exact = values.astype(float)
    squares = Squares(exact[exact != 0])
    counts, edges = np.histogram(exact, bins)
    ranges = {(min(edges[left], 0.0), max(edges[right + 1], 0.0)) for left, right in _way(counts)}
    return min(_loss(squares, low, high) for low, high in ranges)


@pytest.mark.parametrize("bins", [1024, 4096])
@pytest.mark.parametrize("name", [*DISTRIBUTIONS, "mask", "relu6", "sigmoid"])
def test_the_loss_is_that_of_amcts_search(name: str, bins: int) -> None:
    values = (DISTRIBUTIONS | SATURATED)[name].ravel()[:200_000]
    observer = HfmgObserver(HfmgSettings(num_of_bins=bins))
    for batch in np.array_split(values, 7):
        observer.update(batch)
    qparams = observer.qparams()
    low, high = (-128 - qparams.offset) * qparams.scale, (127 - qparams.offset) * qparams.scale
    squares = Squares(values[values != 0].astype(float))
    negligible = 1e-12 * float(np.sum(squares.values**2))
    tolerance = TOLERANCE_WITHOUT_DENSITY if name in {"levels", "small-sample"} else TOLERANCE
    assert _loss(squares, low, high) <= tolerance * _least_loss(values, bins) + negligible


def _amcts_range(values: NDArray[np.float32], bins: int) -> tuple[float, float]:
    """AMCT's own search: histogram, compared ranges and their losses, source bin by source bin."""
    counts, edges = np.histogram(values.astype(float), bins)
    width = edges[1] - edges[0]
    losses = []
    ranges = _way(counts)[1:]
    for left, right in ranges:
        target = width * (right - left + 1) / 256
        begin = (np.arange(bins) - left) * width
        loss = np.zeros(bins)
        # 64 points of each source bin stand for the values in it.
        for part in (np.arange(64) + 0.5) / 64:
            x = begin + part * width
            index = np.clip(np.floor(x / target), 0, 255)
            loss += counts / 64 * (x - (index + 0.5) * target) ** 2
        losses.append(loss.sum())
    left, right = ranges[int(np.argmin(losses))]
    return float(edges[0] + left * width), float(edges[0] + (right + 1) * width)


@pytest.mark.parametrize("name", ["relu", "normal", "negative", "heavy-tail", "small-sample", "relu6"])
def test_amcts_own_search_is_found_again(name: str) -> None:
    values = (DISTRIBUTIONS | SATURATED)[name].ravel()[:400_000].astype(np.float32)
    observer = HfmgObserver(HfmgSettings(num_of_bins=1024, variant=HfmgVariant.AMCT))
    for batch in np.array_split(values, 3):
        observer.update(batch)
    expected = numerics.range_qparams(*_amcts_range(values, 1024))
    assert observer.qparams().scale == pytest.approx(expected.scale, rel=1e-6)
    assert observer.qparams().offset == expected.offset


def test_amcts_own_search_over_more_values_than_are_kept() -> None:
    values = np.maximum(np.random.default_rng(6).normal(size=2_000_000), 0).astype(np.float32)
    observer = HfmgObserver(HfmgSettings(num_of_bins=1024, variant=HfmgVariant.AMCT))
    for batch in np.array_split(values, 3):
        observer.update(batch)
    # Counts that are shared out may move the range by a bin or two of 1024.
    assert observer.qparams().scale * 255 == pytest.approx(_amcts_range(values, 1024)[1], rel=0.01)


def test_amct_charges_zeros_and_so_cuts_off_more() -> None:
    """Behind a ReLU. What the README says of HFMG."""
    values = np.maximum(np.random.default_rng(7).normal(size=300_000), 0).astype(np.float32)
    found = []
    for variant in (HfmgVariant.FREE_ZEROS, HfmgVariant.AMCT):
        observer = HfmgObserver(HfmgSettings(variant=variant))
        observer.update(values)
        found.append(observer.qparams())
    squares = Squares(values.astype(float))
    ours, amcts = (squares.of_quantizer(item.scale, item.offset) for item in found)
    assert found[1].scale < found[0].scale
    assert ours < amcts


def test_outliers_are_cut_where_that_costs_less() -> None:
    values = np.random.default_rng(4).exponential(size=300_000).astype(np.float32)
    values[0] = 20.0
    observer = HfmgObserver()
    observer.update(values)
    assert observer.qparams().scale * 255 < 16.0


def test_zeros_change_nothing() -> None:
    values = np.random.default_rng(5).exponential(size=100_000).astype(np.float32)
    sparse, dense = HfmgObserver(), HfmgObserver()
    dense.update(values)
    sparse.update(np.concatenate([values, np.zeros(100_000, np.float32)]))
    squares = Squares(values.astype(float))
    losses = [_loss(squares, 0.0, observer.qparams().scale * 255) for observer in (sparse, dense)]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
