"""Distributions: no value is lost or counted twice, whichever way they were counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from amctq.quant.distribution import distribution_in, distribution_of
from amctq.quant.numerics import Float32Array
from amctq.quant.observers import HfmgObserver, MinMaxObserver, PercentileObserver

values = arrays(np.float32, st.integers(1, 300), elements=st.floats(-1e6, 1e6, width=32))


@given(values)
def test_every_value_is_counted_once(array: Float32Array) -> None:
    found = distribution_of(array)
    assert (found.low, found.high) == (array.min(), array.max())
    assert found.zeros == (array == 0).sum()
    assert (found.counts >= 0).all()
    assert found.counts.sum() + found.zeros == array.size


@given(values)
def test_an_observer_has_seen_every_value(array: Float32Array) -> None:
    observer = HfmgObserver()
    observer.update(array.reshape(1, -1))
    density = observer.density()
    assert density is not None
    found = distribution_in(density)
    assert (found.counts >= 0).all()
    assert found.counts.sum() + found.zeros == array.size


def test_it_is_a_histogram() -> None:
    array = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    counts, _ = np.histogram(array.astype(np.float64), 64, (array.min(), array.max()))
    assert np.array_equal(distribution_of(array).counts, counts)
    observer = PercentileObserver()
    observer.update(array.reshape(100, -1))
    density = observer.density()
    assert density is not None
    # Bins of the observer are shared out, and each of them is 1/32 of a bin here.
    assert distribution_in(density).counts == pytest.approx(counts, abs=0.002 * array.size)


def test_zeros_do_not_hide_the_others() -> None:
    array = np.concatenate([np.zeros(1000, np.float32), np.linspace(0.01, 4, 500, dtype=np.float32)])
    found = distribution_of(array)
    assert found.zeros == 1000
    assert found.counts.max() < 20


def test_extremes_alone_are_no_distribution() -> None:
    observer = MinMaxObserver()
    observer.update(np.ones((1, 3), np.float32))
    assert observer.density() is None
