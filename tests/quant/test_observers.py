"""Every observer keeps the contract, whatever it computes."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.choices import ActAlgo
from amctq.quant import numerics
from amctq.quant.numerics import Float32Array
from amctq.quant.observers import OBSERVERS, MinMaxObserver, NonFiniteError, Observer

ALL = [pytest.param(OBSERVERS[algo], id=algo.value) for algo in ActAlgo]


@pytest.fixture
def activations() -> Float32Array:
    random = np.random.default_rng(7)
    return np.maximum(random.normal(size=(40, 8, 6, 6)), -0.3).astype(np.float32)


def _watch(kind: type[Observer], batches: list[Float32Array]) -> numerics.QParams:
    observer = kind()
    for batch in batches:
        observer.update(batch)
    return observer.qparams()


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("cut", [[1] * 40, [13, 13, 13, 1], [39, 1]], ids=["one-by-one", "ragged", "last-of-one"])
def test_batches_do_not_matter(kind: type[Observer], cut: list[int], activations: Float32Array) -> None:
    batches = np.split(activations, np.cumsum(cut)[:-1])
    assert _watch(kind, batches) == _watch(kind, [activations])


@pytest.mark.parametrize("kind", ALL)
def test_order_does_not_matter(kind: type[Observer], activations: Float32Array) -> None:
    shuffled = activations[np.random.default_rng(0).permutation(len(activations))]
    assert _watch(kind, np.array_split(shuffled, 7)) == _watch(kind, np.array_split(activations, 5))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_activations_are_refused(kind: type[Observer], value: float, activations: Float32Array) -> None:
    activations[3, 2, 1, 0] = value
    with pytest.raises(NonFiniteError):
        _watch(kind, [activations])


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_constant_activations_are_kept(kind: type[Observer], value: float) -> None:
    batch = np.full((2, 3), value, np.float32)
    qparams = _watch(kind, [batch])
    back = numerics.dequantize(numerics.quantize(batch, qparams.scale, qparams.offset), qparams.scale, qparams.offset)
    assert back == pytest.approx(batch, rel=0.01)


@pytest.mark.parametrize("kind", ALL)
def test_nothing_seen_is_a_fault(kind: type[Observer]) -> None:
    with pytest.raises(ValueError, match="no activations"):
        kind().qparams()


def test_minmax_is_the_whole_range(activations: Float32Array) -> None:
    expected = numerics.asymmetric_qparams(activations.min(), activations.max())
    assert _watch(MinMaxObserver, [activations]) == expected


def test_minmax_symmetric(activations: Float32Array) -> None:
    observer = MinMaxObserver(symmetric=True)
    observer.update(activations)
    assert observer.qparams().offset == 0
    assert observer.qparams().scale == pytest.approx(float(activations.max()) / 127)
