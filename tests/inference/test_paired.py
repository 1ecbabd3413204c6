"""Paired differences, against values worked out by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.inference.metrics.top1 import LabelRanks
from amctq.inference.paired import PairedDifference, exact_mcnemar, paired_difference


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (0, 5, 2 / 32), (1, 9, 2 * 11 / 1024), (9, 1, 2 * 11 / 1024)],
)
def test_mcnemar(lost: int, gained: int, p: float) -> None:
    assert exact_mcnemar(lost, gained) == pytest.approx(p)


@pytest.mark.parametrize(
    ("lost", "gained"),
    [(2, 1), (41, 57), (100, 80), (0, 500), (1200, 1000), (3000, 2900), (3000, 3000), (2000, 1000), (4000, 2000)],
)
def test_mcnemar_against_whole_numbers(lost: int, gained: int) -> None:
    tail = sum(math.comb(lost + gained, count) for count in range(min(lost, gained) + 1))
    exact = Fraction(2 * tail, 2 ** (lost + gained))
    assert exact_mcnemar(lost, gained) == pytest.approx(min(1.0, float(exact)), rel=1e-11)


def test_mcnemar_beyond_the_smallest_float() -> None:
    assert exact_mcnemar(6000, 0) == 0.0


def _difference(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> PairedDifference:
    """Of two networks that name the right class where it says so."""
    return paired_difference(*(LabelRanks(np.where(hits, 0, 1), 2) for hits in (before, after)))


def test_difference_counts_images() -> None:
    before = np.asarray([True, True, True, False, False] * 20)
    after = np.asarray([True, True, False, True, False] * 20)
    result = _difference(before, after)
    assert result.hits is not None
    assert (result.images, result.hits.lost, result.hits.gained, result.drop) == (100, 20, 20, 0.0)
    # Agresti-Min: n = 102, b = c = 20.5, half width 1.96 √41 / 102.
    assert result.interval == pytest.approx((-12.304, 12.304), abs=1e-3)


def test_no_change_still_has_an_interval() -> None:
    right = np.ones(50, bool)
    result = _difference(right, right)
    assert result.interval is not None
    assert result.hits is not None
    low, high = result.interval
    assert low < 0.0 < high
    assert result.hits.p_value == 1.0


def test_drop_lies_in_its_interval() -> None:
    random = np.random.default_rng(3)
    before, after = random.random(1000) < 0.9, random.random(1000) < 0.85
    result = _difference(before, after)
    assert result.interval is not None
    assert result.interval[0] < result.drop < result.interval[1]
    assert result.drop == pytest.approx(100 * (before.mean() - after.mean()))
