"""GPTQ against what it must do: a smaller error of the output than rounding, and its definition for few weights."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.quant.numerics import SMALLEST, Float32Array, signed_range
from amctq.quant.rounding.gptq import damped, gptq
from amctq.quant.rounding.scale import power_scale, refitted_scale
from amctq.quant.weights import QuantizedWeight, arq_scale, quantize_weight


def inputs(groups: int, d: int, rows: int, *, seed: int = 1) -> NDArray[np.float64]:
    """Correlated inputs, (groups, rows, d)."""
    random = np.random.default_rng(seed)
    return random.normal(size=(groups, rows, d)) @ random.normal(size=(groups, d, d)) / np.sqrt(d)


def gram_of(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x.transpose(0, 2, 1) @ x / x.shape[1]


def weights(*shape: int, seed: int = 2) -> Float32Array:
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def error(weight: Float32Array, rounded: Float32Array, x: NDArray[np.float64]) -> float:
    """The mean squared error of the outputs."""
    difference = (weight - rounded).reshape(len(x), -1, x.shape[2]).astype(np.float64)
    return float(np.mean((difference @ x.transpose(0, 2, 1)) ** 2))


@pytest.mark.parametrize(("groups", "d"), [(1, 144), (1, 300), (8, 9), (2, 36)])
@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_the_output_is_nearer_than_with_rounding(groups: int, d: int, bits: int) -> None:
    x, weight = inputs(groups, d, 4 * d), weights(16, d)
    scale = arq_scale(weight, channel_wise=True, bits=bits)
    found = gptq(weight, [scale], gram_of(x), bits=bits)
    low, high = signed_range(bits)
    assert low <= found.values.min()
    assert found.values.max() <= high
    assert error(weight, found.dequantized(), x) < 0.8 * error(
        weight, quantize_weight(weight, scale, bits=bits).dequantized(), x
    )


def test_inputs_without_correlation_leave_plain_rounding() -> None:
    weight = weights(8, 20)
    scale = arq_scale(weight, channel_wise=True, bits=4)
    gram = np.diag(np.linspace(1, 3, 20))[None]
    np.testing.assert_array_equal(
        gptq(weight, [scale], gram, bits=4).values, quantize_weight(weight, scale, bits=4).values
    )


def test_each_weight_makes_up_for_those_before_it() -> None:
    """Algorithm 1 of the paper, weight by weight, with the inverse that it uses."""
    x, weight = inputs(1, 12, 50), weights(5, 12)
    scale = arq_scale(weight, channel_wise=True, bits=4)
    hessian = damped(gram_of(x))[0]
    order = np.argsort(-np.diagonal(hessian), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(hessian[np.ix_(order, order)])).T
    rest = weight.astype(np.float64)[:, order]
    expected = np.zeros_like(rest)
    for j in range(12):
        expected[:, j] = np.clip(np.rint(rest[:, j] / scale), -8, 7)
        lost = (rest[:, j] - expected[:, j] * scale) / upper[j, j]
        rest[:, j:] -= lost[:, None] * upper[j, j:]
    found = gptq(weight, [scale], gram_of(x), bits=4).values[:, order]
    np.testing.assert_array_equal(found, expected)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = inputs(1, 300, 900), weights(7, 300)
    scale = arq_scale(weight, channel_wise=True, bits=4)
    whole = gptq(weight, [scale], gram_of(x), bits=4).values
    monkeypatch.setattr("amctq.quant.rounding.gptq._BLOCK", 32)
    np.testing.assert_array_equal(gptq(weight, [scale], gram_of(x), bits=4).values, whole)


@pytest.mark.parametrize("kind", ["dead", "constant", "one image"])
def test_singular_inputs(kind: str) -> None:
    x, weight = inputs(1, 40, 100), weights(6, 40)
    if kind == "dead":
        x[:, :, 5:20] = 0
    elif kind == "constant":
        x[:] = 3.0
    else:
        x = x[:, :1]
    scale = arq_scale(weight, channel_wise=True, bits=4)
    found = gptq(weight, [scale], gram_of(x), bits=4)
    assert error(weight, found.dequantized(), x) <= error(
        weight, quantize_weight(weight, scale, bits=4).dequantized(), x
    )


def test_a_scale_counts_each_weight_by_the_power_of_its_input() -> None:
    """Against every candidate, one by one."""
    weight, power = weights(4, 30), np.random.default_rng(3).uniform(0.01, 5, (1, 30))
    widest = arq_scale(weight, channel_wise=True, bits=3)
    found = power_scale(weight, power, channel_wise=True, bits=3)

    def cost(channel: int, scale: float) -> float:
        steps = np.clip(np.rint(weight[channel] / scale), -4, 3)
        return float(np.sum(power[0] * (weight[channel] - steps * scale) ** 2))

    for channel, share in itertools.product(range(4), np.linspace(0.3, 1.05, 40)):
        assert cost(channel, float(found[channel])) <= cost(channel, float(widest[channel] * share)) * (1 + 1e-5)


def damped_error(weight: Float32Array, found: QuantizedWeight, x: NDArray[np.float64]) -> float:
    """What GPTQ minimises."""
    difference = (weight - found.dequantized()).reshape(len(x), -1, x.shape[2]).astype(np.float64)
    return float(np.sum(difference @ damped(gram_of(x)) * difference))


@pytest.mark.parametrize("channel_wise", [True, False], ids=["per-channel", "per-tensor"])
@pytest.mark.parametrize("groups", [1, 4])
def test_of_several_scales_the_best_is_kept(groups: int, channel_wise: bool) -> None:
    weight, x = weights(8, 12), inputs(groups, 12, 200)
    widest = arq_scale(weight, channel_wise=channel_wise, bits=3)
    scales = [(widest * share).astype(np.float32) for share in (1.0, 0.9, 0.8, 0.7)]
    alone = [gptq(weight, [scale], gram_of(x), bits=3) for scale in scales]
    found = gptq(weight, scales, gram_of(x), bits=3)
    parts = [slice(row, row + 1) for row in range(8)] if channel_wise else [slice(None)]
    for part in parts:
        chosen = [item for item in alone if np.array_equal(item.values[part], found.values[part])]
        assert chosen
        assert found.scale[part] == chosen[0].scale[part]
    assert damped_error(weight, found, x) <= min(damped_error(weight, item, x) for item in alone)


@pytest.mark.parametrize("channel_wise", [True, False], ids=["per-channel", "per-tensor"])
def test_a_scale_is_refitted_to_its_integers(channel_wise: bool) -> None:
    weight, x = weights(8, 12), inputs(2, 12, 200)
    rounded = gptq(weight, [arq_scale(weight, channel_wise=channel_wise, bits=4)], gram_of(x), bits=4)
    scale = refitted_scale(rounded, weight, gram_of(x))
    best = error(weight, replace(rounded, scale=scale).dequantized(), x)
    assert best < error(weight, rounded.dequantized(), x)
    for share in (0.999, 1.001):
        assert best <= error(weight, replace(rounded, scale=scale * np.float32(share)).dequantized(), x)


def test_a_scale_far_from_the_quotient_stays() -> None:
    rounded = QuantizedWeight(values=np.array([[1, 0]], np.int8), scale=np.ones(1, np.float32), bits=4)
    weight = np.array([[0.5, 0]], np.float32)
    assert refitted_scale(rounded, weight, np.eye(2)[None]) == 1


@pytest.mark.parametrize("unit", [2.0**-70, 2.0**70])
def test_no_choice_depends_on_the_size_of_weights_or_inputs(unit: float) -> None:
    weight, x = weights(6, 20), inputs(2, 20, 300)
    power = np.diagonal(gram_of(x), axis1=1, axis2=2)
    scale = power_scale(weight, power, channel_wise=True, bits=3)
    other = power_scale(weight * np.float32(unit), power * unit, channel_wise=True, bits=3, smallest=SMALLEST)
    assert np.array_equal(other, scale * np.float32(unit))
    found, again = (
        gptq(weight * np.float32(factor), [scale * np.float32(factor)], gram_of(x) * factor, bits=3)
        for factor in (1.0, unit)
    )
    assert np.array_equal(found.values, again.values)
    refitted = refitted_scale(found, weight, gram_of(x))
    assert np.allclose(
        refitted_scale(again, weight * np.float32(unit), gram_of(x) * unit), refitted * np.float32(unit), rtol=1e-6
    )
