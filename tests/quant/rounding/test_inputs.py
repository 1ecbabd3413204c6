"""What is gathered of a layer's inputs, against NumPy on all of them at once."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.quant.numerics import Float32Array
from amctq.quant.rounding.columns import Windows
from amctq.quant.rounding.gptq import OF_THE_MEAN, gptq
from amctq.quant.rounding.inputs import InputStatistics, InputWatcher, SecondMoments
from amctq.quant.weights import arq_scale

POINTWISE = Windows(
    kernel=(1, 1),
    strides=(1, 1),
    begins=(0, 0),
    ends=(0, 0),
    dilations=(1, 1),
    spread=(1, 1),
    turned=False,
    groups=1,
)


def _seen(*batches: Float32Array, windows: Windows | None = None) -> InputStatistics:
    watcher = InputWatcher(windows, second=True)
    watcher.expect(sum(map(len, batches)))
    for batch in batches:
        watcher.update(batch)
    return watcher.finish()


def _moments(*batches: Float32Array, windows: Windows | None = None) -> SecondMoments:
    second = _seen(*batches, windows=windows).second
    assert second is not None
    return second


def _correlated(count: int, d: int, *, mean: float = 0.0, seed: int = 1) -> Float32Array:
    random = np.random.default_rng(seed)
    return (mean + random.normal(size=(count, d)) @ random.normal(size=(d, d))).astype(np.float32)


@pytest.mark.parametrize("size", [1.0, 1e-18, 1e15])
def test_moments_are_those_of_all_inputs(size: float) -> None:
    x = _correlated(700, 12, mean=3.0) * np.float32(size)
    found = _moments(x[:200], x[200:])
    unit = np.sqrt(np.mean(np.square(x / size)) / found.power.mean()) * size
    scaled = x.astype(np.float64) / unit
    np.testing.assert_allclose(found.covariance[0], np.cov(scaled.T, bias=True), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.around(1)[0], scaled.T @ scaled / len(x), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.power[0], np.diagonal(found.around(1)[0]), rtol=1e-6)


def test_no_digits_are_lost_far_from_zero() -> None:
    """The covariance is a millionth of the square of the mean: float32 could not take one from the other."""
    x = _correlated(4096, 6)
    far, near = _moments(x + np.float32(4096)), _moments(x)
    ratio = far.covariance / near.covariance  # of the units alone
    np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=2e-3)


def test_constant_inputs_do_not_vary() -> None:
    found = _moments(np.full((3, 5, 4, 4), 0.1, np.float32), np.full((2, 5, 4, 4), 0.1, np.float32), windows=POINTWISE)
    np.testing.assert_allclose(found.covariance, 0.0, atol=1e-12)
    weight = np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32)
    scale = arq_scale(weight, channel_wise=True, bits=4)
    rounded = gptq(weight, [scale], found.around(OF_THE_MEAN), bits=4).dequantized()
    assert np.abs(rounded - weight).max() < 2 * scale.max()  # nothing tells the weights apart, and none runs away


def test_what_the_bias_makes_up_for_is_left_to_it() -> None:
    """Inputs behind a ReLU have a mean. An error of it costs nothing once the bias is corrected."""
    x = np.maximum(_correlated(4000, 16, mean=4.0), 0)
    weight = np.random.default_rng(2).normal(size=(32, 16)).astype(np.float32)
    scale, moments = arq_scale(weight, channel_wise=True, bits=3), _moments(x)
    left = {}
    for name, hessian in {"mean": moments.around(1), "around": moments.around(OF_THE_MEAN)}.items():
        error = x @ (gptq(weight, [scale], hessian, bits=3).dequantized() - weight).T
        left[name] = float(np.mean(np.square(error - error.mean(axis=0))))
    assert left["around"] < left["mean"]


def test_a_first_batch_of_zeros_says_nothing_of_the_unit() -> None:
    x = _correlated(256, 5) * np.float32(1e30)
    late = _moments(np.zeros((256, 5), np.float32), x)
    assert np.isfinite(late.covariance).all()
    assert late.power.mean() > 0
