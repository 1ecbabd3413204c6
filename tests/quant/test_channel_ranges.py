"""The ranges of channels."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.quant.channel_ranges import ChannelRanges, ranges_of


def test_a_channel_beyond_the_others_is_an_outlier_and_one_without_a_signal_is_dead() -> None:
    weight = np.random.default_rng(3).uniform(-1, 1, (8, 4, 3, 3)).astype(np.float32)
    plain = ranges_of(weight)
    assert plain.outlier_ratio is not None
    assert plain.outlier_ratio < 1.2
    assert plain.dead == 0
    weight[3] *= 50
    weight[5] = 0
    found = ranges_of(weight)
    assert found.outlier_ratio == pytest.approx(50, rel=0.1)
    assert found.dead == 1
    assert found.range == (weight.min(), weight.max())


def test_batches_are_seen_together() -> None:
    low, high = np.array([[-1, 0], [-3, 2]], np.float32), np.array([[1, 0], [0, 5]], np.float32)
    found = ChannelRanges()
    for lowest, highest in zip(low, high, strict=True):
        found.lower(lowest)
        found.raise_to(highest)
    assert found.range == (-3, 5)


def test_without_any_signal_there_is_no_outlier() -> None:
    found = ranges_of(np.zeros((4, 9), np.float32))
    assert found.outlier_ratio is None
    assert found.dead == 4
