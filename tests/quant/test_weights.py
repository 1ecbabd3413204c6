"""ARQ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from amctq.choices import WEIGHT_BITS, ArqRule, WeightAlgo
from amctq.quant import numerics
from amctq.quant.config import WeightConfig
from amctq.quant.numerics import EPSILON, SMALLEST
from amctq.quant.replaced import replaced_channels
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
def test_error_is_at_most_half_a_step(weight: NDArray[Any]) -> None:
    scale = arq_scale(weight, channel_wise=True)
    error = np.abs(quantize_weight(weight, scale).dequantized() - weight).reshape(4, -1).max(axis=1)
    # AMCT's rule lets the largest weight saturate by up to one step where |min| is just the larger end.
    assert (error <= scale * 1.001).all()


@given(weights)
def test_finer_granularity_has_no_larger_range(weight: NDArray[Any]) -> None:
    channels, tensor = arq_scale(weight, channel_wise=True), arq_scale(weight, channel_wise=False)
    used = channels != 1.0  # a channel of zeros
    assert (channels[used] <= tensor[0] * 1.01).all() or tensor[0] == 1.0


@pytest.mark.parametrize("algo", WeightAlgo)
@pytest.mark.parametrize("bits", WEIGHT_BITS)
@pytest.mark.parametrize("channel_wise", [True, False])
def test_tiny_weights_have_the_integers_of_large_ones(algo: WeightAlgo, bits: int, channel_wise: bool) -> None:
    weight = np.random.default_rng(bits).normal(size=(5, 4, 3, 3)).astype(np.float32)
    weight[1] = 0
    unit = np.asarray([1, 1, 2.0**-20, 2.0**-70, 2.0**-90], np.float32)  # by channel
    if not channel_wise:
        unit = np.full(5, 2.0**-70, np.float32)
    config = WeightConfig(bits=bits, algo=algo, channel_wise=channel_wise)
    large, tiny = (weight * factor.reshape(-1, 1, 1, 1) for factor in (np.ones(5, np.float32), unit))
    scales = [config.scale(each, ArqRule.AMCT, smallest=SMALLEST) for each in (large, tiny)]
    integers = [quantize_weight(w, s, bits=bits).values for w, s in zip((large, tiny), scales, strict=True)]
    assert np.array_equal(integers[0], integers[1])
    assert integers[0].any(axis=(1, 2, 3)).tolist() == [True, False, True, True, True]
    amcts = config.scale(tiny, ArqRule.AMCT)
    assert (amcts >= EPSILON).all()
    few = replaced_channels(tiny, amcts, bits=bits)
    assert few == ((2 if bits <= 4 else 3) if channel_wise else 1)
    assert replaced_channels(large, scales[0], bits=bits) == 0


def test_a_row_of_equal_negative_weights_has_amcts_scale() -> None:
    weight = np.asarray([[-0.5] * 9, [0.5] * 9, [-0.5] * 8 + [-0.25]], np.float32)
    for bits in (8, 4):
        up, down = 2 ** (bits - 1) - 1, 2 ** (bits - 1)
        expected = np.asarray([0.5 / up, 0.5 / up, 0.5 / down], np.float32)
        assert np.array_equal(arq_scale(weight, channel_wise=True, bits=bits), expected)
        assert arq_scale(weight[:1], channel_wise=False, bits=bits) == expected[:1]
    assert arq_scale(weight, channel_wise=True, rule=ArqRule.ASCEND)[0] == np.float32(0.5 / 128)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        arq_scale(np.asarray([[1.0, np.nan]], np.float32), channel_wise=True)


@pytest.mark.parametrize("bits", WEIGHT_BITS)
def test_values_stay_in_their_range(bits: int) -> None:
    weight = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)
    quantized = quantize_weight(weight, arq_scale(weight, channel_wise=True, bits=bits), bits=bits)
    low, high = numerics.signed_range(bits)
    assert low <= quantized.values.min()
    assert quantized.values.max() <= high
    assert np.abs(quantized.values).max() >= high


def test_the_product_of_scales_is_a_number() -> None:
    """Both so small that float32 has no product of them."""
    scale, bias = np.full(2, 2.0**-90, np.float32), np.asarray([0.0, 2.0**-100], np.float32)
    product = np.float32(2.0**-90) * scale_that_fits_bias(scale, bias, 2.0**-90)
    assert (product >= np.finfo(np.float32).tiny).all()
    assert numerics.quantize_bias(bias, product)[1] > 0


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
