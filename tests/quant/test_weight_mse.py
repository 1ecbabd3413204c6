"""The search for the scale of least squared error, against every scale of a dense grid."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from amctq.choices import WEIGHT_BITS, ArqRule
from amctq.quant.numerics import Float32Array, signed_range
from amctq.quant.weight_mse import mse_scale
from amctq.quant.weights import arq_scale, quantize_weight

weights = arrays.arrays(np.float32, (4, 3, 3, 3), elements=st.floats(-8, 8, width=32))


def _errors(weight: Float32Array, scale: Float32Array, bits: int) -> Float32Array:
    """Squared error for each scale, in float64, from the integers that are written."""
    lost = quantize_weight(weight, scale, bits=bits).dequantized().astype(np.float64) - weight
    return (lost**2).reshape(len(scale), -1).sum(axis=1)


def _least(weight: Float32Array, bits: int, *, channel_wise: bool) -> Float32Array:
    """Brute force: 3,000 scales up to half a step beyond the smallest that clips nothing."""
    widest = arq_scale(weight, channel_wise=channel_wise, bits=bits, rule=ArqRule.ASCEND)
    top = 1 + 0.5 / signed_range(bits)[1]
    grid = np.linspace(0.02, top, 3000)
    return np.min([_errors(weight, (widest * share).astype(np.float32), bits) for share in grid], axis=0)


@pytest.mark.parametrize("channel_wise", [True, False], ids=["per-channel", "per-tensor"])
@pytest.mark.parametrize("draw", ["normal", "laplace", "uniform"])
@pytest.mark.parametrize("bits", WEIGHT_BITS)
def test_it_finds_the_least_error_of_all(bits: int, draw: str, channel_wise: bool) -> None:
    weight = getattr(np.random.default_rng(bits), draw)(size=(8, 16, 3, 3)).astype(np.float32)
    found = _errors(weight, mse_scale(weight, channel_wise=channel_wise, bits=bits), bits)
    assert (found <= _least(weight, bits, channel_wise=channel_wise) * 1.02).all()


@given(weights, st.sampled_from(WEIGHT_BITS))
def test_it_is_never_worse_than_arq(weight: Float32Array, bits: int) -> None:
    for channel_wise in (True, False):
        arq = arq_scale(weight, channel_wise=channel_wise, bits=bits, rule=ArqRule.ASCEND)
        mse = mse_scale(weight, channel_wise=channel_wise, bits=bits)
        assert mse.shape == arq.shape
        assert (_errors(weight, mse, bits) <= _errors(weight, arq, bits) * (1 + 1e-5) + 1e-30).all()


def test_fewer_bits_lose_more() -> None:
    weight = np.random.default_rng(3).normal(size=(6, 40)).astype(np.float32)
    lost = [_errors(weight, mse_scale(weight, channel_wise=True, bits=bits), bits).sum() for bits in WEIGHT_BITS]
    assert all(one < other for one, other in pairwise(lost))


def test_weights_on_a_grid_are_found_again() -> None:
    weight = np.random.default_rng(4).integers(-8, 8, (5, 60)).astype(np.float32) * np.float32(0.03)
    scale = mse_scale(weight, channel_wise=True, bits=4)
    assert scale == pytest.approx([0.03] * 5, rel=1e-5)
    assert _errors(weight, scale, 4) == pytest.approx([0] * 5, abs=1e-9)


def test_a_far_outlier_is_clipped() -> None:
    weight = np.random.default_rng(5).normal(size=(1, 4000)).astype(np.float32)
    weight[0, 7] = 12
    arq, mse = (rule(weight, channel_wise=True, bits=4) for rule in (arq_scale, mse_scale))
    assert mse < arq / 2


def test_a_channel_of_zeros_has_scale_1() -> None:
    weight = np.zeros((2, 3, 3, 3), np.float32)
    weight[1] = 0.5
    assert mse_scale(weight, channel_wise=True)[0] == 1
    assert np.isfinite(mse_scale(weight, channel_wise=True)).all()


def test_how_channels_are_taken_together_does_not_matter() -> None:
    weight = np.random.default_rng(6).normal(size=(40, 64, 7, 7)).astype(np.float32)
    alone = [mse_scale(weight[channel : channel + 1], channel_wise=True, bits=4)[0] for channel in range(40)]
    assert mse_scale(weight, channel_wise=True, bits=4).tolist() == alone


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        mse_scale(np.asarray([[1.0, np.nan]], np.float32), channel_wise=True)
