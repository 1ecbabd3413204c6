"""SQuant: the sums of the errors, in each kernel and in each channel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.quant.numerics import Float32Array, per_channel, signed_range
from amctq.quant.rounding.squant import squant
from amctq.quant.weights import QuantizedWeight, arq_scale, quantize_weight


def errors(weight: Float32Array, found: QuantizedWeight) -> NDArray[np.float64]:
    """In steps, (C_out, C_in, weights of a kernel)."""
    exact = weight / per_channel(found.scale, weight.ndim)
    return (exact - found.values).reshape(*weight.shape[:2], -1).astype(np.float64)


@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (16, 1, 5, 5), (10, 64), (8, 4, 7)], ids=str)
@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("channel_wise", [True, False], ids=["per-channel", "per-tensor"])
def test_errors_cancel(shape: tuple[int, ...], bits: int, channel_wise: bool) -> None:
    weight = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    scale = arq_scale(weight, channel_wise=channel_wise, bits=bits) * np.float32(1.05)  # nothing is clipped
    plain, found = (rounded(weight, scale, bits=bits) for rounded in (quantize_weight, squant))
    left = errors(weight, found)
    assert np.abs(left.sum(axis=(1, 2))).max() <= 0.5 + 1e-3
    assert np.abs(left.sum(axis=2)).max() <= 1 + 1e-3  # half a step, and what the channel needed
    assert np.abs(left).max() <= 1 + 1e-3
    assert np.abs(errors(weight, plain).sum(axis=(1, 2))).max() > 0.5
    low, high = signed_range(bits)
    assert low <= found.values.min() <= found.values.max() <= high


def test_the_weights_that_change_are_those_nearest_to_the_next_integer() -> None:
    weight = np.array([[[0.4, 0.3, 0.45, -0.2, 0.1]]], np.float32)  # rounds to 0, and the sum is 1.05
    assert squant(weight, np.ones(1, np.float32), bits=4).values.tolist() == [[[0, 0, 1, 0, 0]]]


def test_a_channel_changes_the_kernels_with_the_largest_sums() -> None:
    weight = np.array([[[0.4], [0.45], [0.3], [0.1]]], np.float32)  # each kernel alone rounds to 0
    assert squant(weight, np.ones(1, np.float32), bits=4).values.ravel().tolist() == [0, 1, 0, 0]


def test_the_last_integer_is_not_passed() -> None:
    weight = np.full((1, 1, 9), 7.4, np.float32)
    assert squant(weight, np.ones(1, np.float32), bits=4).values.max() == 7
