"""The error of a layer's output that rounding its weight makes, against the outputs themselves."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.quant.rounding.error import relative_error
from amctq.quant.weights import arq_scale, quantize_weight
from tests.quant.rounding.test_gptq import gram_of, inputs, weights


@pytest.mark.parametrize(("groups", "d"), [(1, 36), (4, 9)])
def test_it_is_noise_to_signal_of_the_outputs(groups: int, d: int) -> None:
    x, weight = inputs(groups, d, 500), weights(8, d)
    rounded = quantize_weight(weight, arq_scale(weight, channel_wise=True, bits=3), bits=3).dequantized()
    signal, noise = (
        np.square(values.reshape(groups, -1, d).astype(np.float64) @ x.transpose(0, 2, 1)).sum()
        for values in (weight, weight - rounded)
    )
    assert relative_error(weight, rounded, gram_of(x)) == pytest.approx(noise / signal, rel=1e-5)


def test_inputs_that_are_all_alike() -> None:
    weight = weights(8, 36)
    rounded = weight + np.float32(0.01)
    assert relative_error(weight, rounded) == pytest.approx(relative_error(weight, rounded, np.eye(36)[None]), rel=1e-6)


def test_a_weight_of_zeros_has_no_error() -> None:
    nothing = np.zeros((4, 9), np.float32)
    assert relative_error(nothing, nothing) == 0
