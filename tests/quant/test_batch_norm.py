"""A BatchNorm as integers: what they stand for, beside the float values."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.quant.batch_norm import integer_batch_norm

EPSILON = 1e-5
SCALE = 0.02


@pytest.mark.parametrize("gain", [1.0, 1e-3, -0.5])
def test_the_factor_is_exact_and_the_bias_within_half_a_step(gain: float) -> None:
    random = np.random.default_rng(1)
    gamma, beta, mean = (random.normal(0, 1, 16).astype(np.float32) for _ in range(3))
    gamma *= np.float32(gain)
    variance = random.uniform(0.1, 2, 16).astype(np.float32)
    found = integer_batch_norm(gamma, beta, mean, variance, epsilon=EPSILON, input_scale=SCALE)
    factor, bias = found.dequantized
    exact = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + EPSILON)
    np.testing.assert_allclose(factor, exact, rtol=1e-6)
    assert set(np.abs(found.weight.values)) == {127}
    assert np.all(np.abs(bias - (beta - mean * exact)) <= 0.51 * found.bias_scale + 1e-6 * np.abs(bias))


def test_a_bias_far_larger_than_the_weight_still_fits() -> None:
    gamma, beta = np.full(4, 1e-9, np.float32), np.full(4, 1e3, np.float32)
    zero, one = np.zeros(4, np.float32), np.ones(4, np.float32)
    found = integer_batch_norm(gamma, beta, zero, one, epsilon=EPSILON, input_scale=SCALE)
    assert np.abs(found.bias).max() <= 1 << 30
    np.testing.assert_allclose(found.dequantized[1], beta, rtol=1e-6)
