"""ARQ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from amctq.quant import numerics
from amctq.quant.weights import arq_scale, quantize_weight, scale_that_fits_bias

# AMCT's own vector (test_arq.py), tolerance 1e-4.
VECTOR = np.asarray([[-1] * 12, [0] * 12, [1] * 12, [-1, 0, 1] * 4], np.float32)
TOLERANCE = 1e-4

weights = arrays.arrays(np.float32, (4, 3, 3, 3), elements=st.floats(-8, 8, width=32))


def test_amct_vector_per_channel() -> None:
    assert arq_scale(VECTOR, channel_wise=True) == pytest.approx([0.00784, 1, 0.00784, 0.00784], abs=TOLERANCE)


def test_amct_vector_per_tensor() -> None:
    assert arq_scale(VECTOR, channel_wise=False) == pytest.approx([0.00784], abs=TOLERANCE)


def test_amct_vector_with_offset() -> None:
    qparams = [numerics.range_qparams(row.min(), row.max()) for row in VECTOR]
    assert [item.scale for item in qparams] == pytest.approx([0.003923, 1, 0.003923, 0.007844], abs=TOLERANCE)
    assert [item.offset for item in qparams] == [127, -128, -128, -1]
    rows = [numerics.quantize(row, item.scale, item.offset) for row, item in zip(VECTOR, qparams, strict=True)]
    assert rows[0].tolist() == [-128] * 12
    assert rows[1].tolist() == [-128] * 12
    assert rows[2].tolist() == [127] * 12
    assert rows[3].tolist() == [-128, -1, 126] * 4


@given(weights)
def test_error_is_at_most_half_a_step(weight: np.ndarray) -> None:
    scale = arq_scale(weight, channel_wise=True)
    error = np.abs(quantize_weight(weight, scale).dequantized() - weight).reshape(4, -1).max(axis=1)
    # AMCT's rule lets the largest weight saturate by up to one step where |min| is just the larger end.
    assert (error <= scale * 1.001).all()


@given(weights)
def test_finer_granularity_has_no_larger_range(weight: np.ndarray) -> None:
    channels, tensor = arq_scale(weight, channel_wise=True), arq_scale(weight, channel_wise=False)
    used = channels != 1.0  # a channel of zeros
    assert (channels[used] <= tensor[0] * 1.01).all() or tensor[0] == 1.0


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        arq_scale(np.asarray([[1.0, np.nan]], np.float32), channel_wise=True)


@pytest.mark.parametrize("bits", [8, 7, 6, 4])
def test_values_stay_in_their_range(bits: int) -> None:
    weight = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)
    quantized = quantize_weight(weight, arq_scale(weight, channel_wise=True, bits=bits), bits=bits)
    low, high = numerics.signed_range(bits)
    assert low <= quantized.values.min()
    assert quantized.values.max() <= high
    assert np.abs(quantized.values).max() >= high


def test_scales_grow_until_the_bias_fits() -> None:
    scale = np.asarray([1e-6, 0.01], np.float32)
    bias = np.asarray([50.0, 50.0], np.float32)
    grown = scale_that_fits_bias(scale, bias, 1e-3)
    assert grown[0] > scale[0]
    assert grown[1] == scale[1]
    assert np.abs(numerics.quantize_bias(bias, np.float32(1e-3) * grown)).max() <= numerics.INT32_MAX
    shared = scale_that_fits_bias(scale[:1], bias, 1e-3)
    assert shared.shape == (1,)
    assert shared == grown[0]
