"""The streaming histogram."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from amctq.quant.histogram import Density, StreamingHistogram
from amctq.quant.numerics import Float32Array

values = arrays.arrays(
    np.float32, st.integers(1, 200), elements=st.floats(-(2.0**40), 2.0**40, width=32, allow_subnormal=False)
)


def _count(batches: list[Float32Array], bins: int = 64) -> Density:
    histogram = StreamingHistogram(bins)
    for batch in batches:
        histogram.update(batch, float(batch.min()), float(batch.max()))
    return histogram.density()


def _same(one: Density, two: Density) -> bool:
    return np.array_equal(one.edges, two.edges) and np.array_equal(one.counts, two.counts) and one.zeros == two.zeros


@given(st.lists(values, min_size=1, max_size=5), st.randoms())
def test_batches_and_order_do_not_matter(batches: list[Float32Array], random: object) -> None:
    whole = np.concatenate(batches)
    shuffled = np.random.default_rng(1).permutation(whole)
    assert _same(_count(batches), _count([whole]))
    assert _same(_count(np.array_split(shuffled, min(3, len(shuffled)))), _count([whole]))


def test_a_negative_value_far_below_the_width_stays_negative() -> None:
    tiny, large = np.asarray([-1.2e-38, 0.5], np.float32), np.asarray([2.0**40], np.float32)
    assert _same(_count([tiny, large]), _count([np.concatenate([tiny, large])]))


@given(values)
def test_counts_are_those_of_the_edges(batch: Float32Array) -> None:
    density = _count([batch])
    assert density.total == len(batch)
    assert density.zeros == int((batch == 0).sum())
    if density.counts.sum():
        other = batch[batch != 0].astype(float)
        assert density.edges[0] <= other.min()
        assert other.max() <= density.edges[-1]
        edges = np.unique(density.edges)
        expected = np.histogram(other, edges)[0].sum() if len(edges) > 1 else 0
        assert expected in (0, len(other))


def test_between_half_and_all_bins_are_in_use() -> None:
    for scale in np.geomspace(1e-20, 1e20, 37):
        batch = (np.linspace(0, 1, 100_000) * scale).astype(np.float32)
        used = len(_count([batch], bins=1024).counts)
        assert 512 <= used <= 1024


def test_merged_bins_are_the_bins_of_the_wider_width() -> None:
    small = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    large = small * 1000
    assert _same(_count([small, large]), _count([large, small]))


@pytest.mark.parametrize("batch", [[0.0, 0.0], [-0.0], [3.0], [-3.0], [5.0, 5.0]])
def test_degenerate_batches(batch: list[float]) -> None:
    density = _count([np.asarray(batch, np.float32)])
    assert density.total == len(batch)
