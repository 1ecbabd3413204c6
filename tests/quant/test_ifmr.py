"""IFMR over a histogram, against the search over every value."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.choices import IfmrVariant
from amctq.quant.observers.ifmr import IfmrObserver, IfmrSettings
from tests.quant import reference_ifmr as reference
from tests.quant.distributions import DISTRIBUTIONS, SATURATED

# The figure that the histogram is held to: exact error at the scale it chooses over the least exact error.
TOLERANCE = 1.002
# 256 evenly spaced levels with symmetric quantization: no density at all, and a step that nearly matches theirs.
TOLERANCE_OF_LEVELS = 1.01


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_error_is_within_tolerance_of_the_exact_minimum(name: str, symmetric: bool) -> None:
    values = DISTRIBUTIONS[name]
    observer = IfmrObserver(IfmrSettings(symmetric=symmetric))
    for batch in values:
        observer.update(batch)
    scales, losses = reference.exact_losses(values.ravel().astype(float), symmetric=symmetric)
    chosen = int(np.argmin(np.abs(scales - observer.qparams().scale)))
    assert scales[chosen] == pytest.approx(observer.qparams().scale, rel=1e-5)
    assert losses[chosen] <= losses.min() * (TOLERANCE_OF_LEVELS if name == "levels" else TOLERANCE)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_offset_puts_the_lowest_value_at_the_bottom(name: str) -> None:
    values = DISTRIBUTIONS[name]
    observer = IfmrObserver()
    observer.update(values)
    qparams = observer.qparams()
    low, _ = reference.starting_range(values.ravel().astype(float), 0.999999)
    assert qparams.offset == int(np.clip(-np.rint(low / qparams.scale) - 128, -128, 127))


@pytest.mark.parametrize("name", SATURATED)
def test_many_equal_values_at_an_end_are_not_forgotten(name: str) -> None:
    values = SATURATED[name].astype(np.float32)
    observer = IfmrObserver()
    observer.update(values)
    scales, losses = reference.exact_losses(values.astype(float))
    chosen = int(np.argmin(np.abs(scales - observer.qparams().scale)))
    assert losses[chosen] <= losses.min() * TOLERANCE + 1e-12


@pytest.mark.parametrize("times", [1, 7], ids=["few-values", "few-different-values"])
def test_levels_that_a_scale_fits_have_no_error(times: int) -> None:
    """Whole numbers 0…6: the ratio 1.25 gives the scale 1/34, on which all of them lie. A histogram cannot see it."""
    values = np.random.default_rng(1).integers(0, 7, (times, 100_000)).astype(np.float32)
    observer = IfmrObserver()
    for batch in values:
        observer.update(batch)
    assert observer.qparams().scale == np.float32(7.5 / 255)


def test_a_few_different_values_beside_many_zeros_are_searched_exactly() -> None:
    random = np.random.default_rng(2)
    values = np.where(random.random((8, 400_000)) < 0.5, 0, random.integers(-300, 300, (8, 400_000)) / 7)
    values = values.astype(np.float32)
    observer = IfmrObserver()
    for batch in values:
        observer.update(batch)
    scales, losses = reference.exact_losses(values.ravel().astype(float))
    assert observer.qparams().scale == pytest.approx(scales[np.argmin(losses)], rel=1e-7)


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_up_to_half_a_million_values_have_the_exact_minimum(name: str, symmetric: bool) -> None:
    values = DISTRIBUTIONS[name][:10]
    observer = IfmrObserver(IfmrSettings(symmetric=symmetric))
    for batch in values:
        observer.update(batch)
    scales, losses = reference.exact_losses(values.ravel().astype(float), symmetric=symmetric)
    assert observer.qparams().scale == pytest.approx(scales[np.argmin(losses)], rel=1e-7)


def test_there_are_61_candidates() -> None:
    observer = IfmrObserver()
    observer.update(DISTRIBUTIONS["relu"])
    assert len(observer.candidates().scale) == 61


@pytest.mark.parametrize("percentile", [0.999999, 0.9999, 0.99, 1.0])
def test_the_search_starts_from_exact_order_statistics(percentile: float) -> None:
    values = DISTRIBUTIONS["normal"]
    observer = IfmrObserver(IfmrSettings(max_percentile=percentile, min_percentile=percentile))
    for batch in values:
        observer.update(batch)
    low, high = reference.starting_range(values.ravel().astype(float), percentile)
    candidates = observer.candidates()
    # Of a million values the 10,000th is not kept: it comes from the histogram, half a bin at most away.
    tolerance = 1e-6 if percentile > 0.99 else 0.01
    assert candidates.low[0] == pytest.approx(low, rel=tolerance)
    assert candidates.high[30] == pytest.approx(high, rel=tolerance)


def test_a_narrower_search_range_is_respected() -> None:
    observer = IfmrObserver(IfmrSettings(search_range=(0.5, 0.6), search_step=0.05))
    observer.update(DISTRIBUTIONS["relu"])
    assert len(observer.candidates().scale) == 2
    assert observer.qparams().scale < float(DISTRIBUTIONS["relu"].max()) * 0.6 / 255


@pytest.mark.parametrize("name", ["relu", "normal", "exponential", "sparse"])
def test_ascend_variant_is_the_operators(name: str) -> None:
    values = DISTRIBUTIONS[name]
    observer = IfmrObserver(IfmrSettings(variant=IfmrVariant.ASCEND))
    observer.update(values)
    scale, offset = reference.ascend(values.ravel().astype(float))
    # A neighbour of nearly equal error may win; 0.01 of the ratio is one candidate.
    assert observer.qparams().scale == pytest.approx(scale, rel=0.025)
    assert abs(observer.qparams().offset - offset) <= 3


def test_the_variants_differ_where_the_last_bin_matters() -> None:
    values = DISTRIBUTIONS["relu"][:1]
    starts = []
    for variant in IfmrVariant:
        observer = IfmrObserver(IfmrSettings(variant=variant))
        observer.update(values)
        starts.append(observer.candidates().scale[0])
    exact, ascend = starts
    assert ascend == pytest.approx(exact * 127 / 128, rel=1e-4)  # the last of 128 bins is not counted
