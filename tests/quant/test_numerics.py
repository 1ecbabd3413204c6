"""Scales, offsets and rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amctq.quant import numerics
from amctq.quant.numerics import EPSILON, SMALLEST, QParams

reals = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
scales = st.floats(2.0**-16, 2.0**10, width=32)
offsets = st.integers(-128, 127)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        pytest.param(0.0, 255.0, QParams(1.0, -128), id="relu"),
        pytest.param(-128.0, 127.0, QParams(1.0, 0), id="centred"),
        pytest.param(-255.0, 0.0, QParams(1.0, 127), id="negative"),
        pytest.param(3.0, 255.0, QParams(1.0, -128), id="widened-to-zero"),
        pytest.param(-255.0, -3.0, QParams(1.0, 127), id="widened-up-to-zero"),
        pytest.param(0.0, 0.0, QParams(1.0, -128), id="all-zero"),
        pytest.param(-1e-9, 1e-9, QParams(1.0, -128), id="below-epsilon"),
    ],
)
def test_asymmetric_rule(low: float, high: float, expected: QParams) -> None:
    assert numerics.range_qparams(low, high) == expected


@pytest.mark.parametrize(
    ("low", "high", "scale"),
    [
        pytest.param(-1.0, 127.0, 1.0, id="max-farther"),
        pytest.param(-128.0, 1.0, 1.0, id="min-farther"),
        pytest.param(-127.5, 127.0, 127.5 / 128, id="min-just-farther"),
        pytest.param(0.0, 0.0, 1.0, id="all-zero"),
        pytest.param(-127.0, -127.0, 1.0, id="equal-and-negative"),
        pytest.param(-128.0, -127.0, 1.0, id="all-negative"),
        pytest.param(3.0, 127.0, 1.0, id="all-positive"),
    ],
)
def test_symmetric_rule(low: float, high: float, scale: float) -> None:
    assert numerics.range_qparams(low, high, symmetric=True) == QParams(pytest.approx(scale), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.25, 1.0), (-1.0, 0.5), (-1.0, -1.0)])
def test_a_tiny_range_keeps_its_scale_unless_amcts_rule_is_asked_for(low: float, high: float, symmetric: bool) -> None:
    tiny = 2.0**-80
    own = numerics.range_qparams(low * tiny, high * tiny, symmetric=symmetric, smallest=SMALLEST)
    wide = numerics.range_qparams(low, high, symmetric=symmetric)
    assert own == QParams(wide.scale * tiny, wide.offset)
    amcts = numerics.range_qparams(low * tiny, high * tiny, symmetric=symmetric)
    assert amcts == QParams(1.0, 0 if symmetric else -128)
    assert numerics.range_qparams(0.0, 0.0, symmetric=symmetric, smallest=SMALLEST) == amcts


@given(low=reals, high=reals)
def test_zero_is_exactly_representable(low: float, high: float) -> None:
    qparams = numerics.range_qparams(min(low, high), max(low, high))
    zero = numerics.quantize(np.zeros(1, np.float32), qparams.scale, qparams.offset)
    assert numerics.dequantize(zero, qparams.scale, qparams.offset) == 0.0


@given(low=reals, high=reals, x=st.floats(0, 1))
def test_error_inside_the_range_is_at_most_one_step(low: float, high: float, x: float) -> None:
    low, high = min(low, high, 0.0), max(low, high, 0.0)
    qparams = numerics.range_qparams(low, high)
    value = np.asarray([low + x * (high - low)], np.float32)
    back = numerics.dequantize(numerics.quantize(value, qparams.scale, qparams.offset), qparams.scale, qparams.offset)
    # Half a step of rounding, and another half where the offset was rounded at the end of the range.
    assert abs(float(back[0] - value[0])) <= qparams.scale * 1.001 if qparams.scale != 1.0 else True


@given(scale=scales, offset=offsets)
def test_grid_points_are_fixed_points(scale: float, offset: int) -> None:
    q = np.arange(-128, 128, dtype=np.int16).astype(np.int8)
    real = numerics.dequantize(q, scale, offset)
    assert np.array_equal(numerics.quantize(real, scale, offset), q)


@given(x=reals, scale=scales, offset=offsets)
def test_quantize_is_onnx_quantize_linear(x: float, scale: float, offset: int) -> None:
    expected = np.clip(np.rint(np.float32(x) / np.float32(scale)) + offset, -128, 127)
    assert numerics.quantize(np.asarray([x], np.float32), scale, offset)[0] == expected


@pytest.mark.parametrize(
    ("x", "q"), [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (200.0, 127), (-200.0, -128)]
)
def test_ties_go_to_even_and_ends_saturate(x: float, q: int) -> None:
    assert numerics.quantize(np.asarray([x], np.float32), 1.0)[0] == q


@pytest.mark.parametrize(("bits", "low", "high"), [(8, -128, 127), (7, -64, 63), (6, -32, 31), (4, -8, 7)])
def test_signed_ranges(bits: int, low: int, high: int) -> None:
    assert numerics.signed_range(bits) == (low, high)


def test_uint8_zero_point_is_shifted_by_128() -> None:
    assert QParams(1.0, -128).zero_point_uint8 == 0
    assert QParams(1.0, 127).zero_point_uint8 == 255


def test_bias_rounds_to_even_in_units_of_the_scale() -> None:
    bias = np.asarray([1.25, -0.375, 0.0], np.float32)
    scale = np.asarray([0.5, 0.25, 0.5], np.float32)
    assert numerics.quantize_bias(bias, scale).tolist() == [2, -2, 0]


def test_the_quotient_of_a_bias_is_float32_as_in_amct() -> None:
    """In float64 these are 61224.5003, 192672.5055 and 95673.4968."""
    bias = np.asarray([12.2449, 38.5345, 19.134699], np.float32)
    found = numerics.quantize_bias(bias, np.full(1, 2e-4, np.float32))
    assert found.tolist() == [61224, 192672, 95674]


def test_bias_beyond_int32_is_refused() -> None:
    with pytest.raises(OverflowError, match="exceeds int32"):
        numerics.quantize_bias(np.asarray([1.0, 300.0], np.float32), np.full(2, EPSILON, np.float32))


@pytest.mark.parametrize(
    ("qparams", "low", "high"),
    [
        (QParams(6.06 / 255, -128), 0.0, 6.0),
        (QParams(1.0, -128), 0.0, 6.0),
        (QParams(0.03, -8), 0.0, np.inf),
        (QParams(0.02, -3), -1.0, 1.0),
        (QParams(2.2 / 255, 0), -1.0, 1.0),
        (QParams(0.05, 30), -np.inf, 1.0),
        (QParams(2.0**-60, -30), -(2.0**-58), 1.0),
    ],
)
def test_a_range_is_cut_to_bounds(qparams: QParams, low: float, high: float) -> None:
    lowest, highest = qparams.within(low, high).range
    assert low <= lowest <= 0 <= highest <= high
    # No more than the rounding of the zero point is lost.
    before = qparams.range
    assert highest - lowest >= 0.98 * (min(high, before[1]) - max(low, before[0]))


def test_a_range_inside_the_bounds_is_kept() -> None:
    assert QParams(0.02, -128).within(0.0, 6.0) == QParams(0.02, -128)


def test_a_symmetric_range_is_cut_at_its_upper_end() -> None:
    cut = QParams(0.06, 0).within(0.0, 6.0)
    assert cut.offset == 0
    assert 5.99 < cut.range[1] <= 6.0
