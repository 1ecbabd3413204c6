"""Paired differences, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.inference.paired import exact_mcnemar, paired_difference


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (0, 5, 2 / 32), (1, 9, 2 * 11 / 1024), (9, 1, 2 * 11 / 1024)],
)
def test_mcnemar(lost: int, gained: int, p: float) -> None:
    assert exact_mcnemar(lost, gained) == pytest.approx(p)


def test_mcnemar_of_many_images_does_not_overflow() -> None:
    assert exact_mcnemar(3000, 3000) == 1.0
    assert 0.0 <= exact_mcnemar(4000, 2000) < 1e-100


def test_difference_counts_images() -> None:
    before = np.asarray([True, True, True, False, False] * 20)
    after = np.asarray([True, True, False, True, False] * 20)
    result = paired_difference(before, after)
    assert (result.images, result.lost, result.gained, result.drop) == (100, 20, 20, 0.0)
    # Agresti-Min: n = 102, b = c = 20.5, half width 1.96 √41 / 102.
    assert result.interval == pytest.approx((-12.304, 12.304), abs=1e-3)


def test_no_change_still_has_an_interval() -> None:
    right = np.ones(50, bool)
    result = paired_difference(right, right)
    low, high = result.interval
    assert low < 0.0 < high
    assert result.p_value == 1.0


def test_drop_lies_in_its_interval() -> None:
    random = np.random.default_rng(3)
    before, after = random.random(1000) < 0.9, random.random(1000) < 0.85
    result = paired_difference(before, after)
    assert result.interval[0] < result.drop < result.interval[1]
    assert result.drop == pytest.approx(100 * (before.mean() - after.mean()))
