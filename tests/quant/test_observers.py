"""Every observer keeps the contract, whatever it computes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from amctq.choices import ActAlgo, HfmgVariant, IfmrVariant
from amctq.quant import numerics
from amctq.quant.config import ActivationConfig
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
def test_all_zeros_take_the_rule_of_an_empty_range(kind: type[Observer]) -> None:
    assert _watch(kind, [np.zeros((4, 3), np.float32)] * 3) == numerics.QParams(1.0, -128)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_a_constant_channel_leaves_the_others_precise(
    kind: type[Observer], value: float, activations: Float32Array
) -> None:
    activations[:, 3] = value
    qparams = _watch(kind, np.array_split(activations, 3))
    assert 0.5 < qparams.scale / _watch(MinMaxObserver, [activations]).scale <= 1.35
    back = numerics.dequantize(
        numerics.quantize(activations, qparams.scale, qparams.offset), qparams.scale, qparams.offset
    )
    assert np.mean((back - activations) ** 2) < 1e-4 * np.mean(activations**2)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("lift", [0.0, 0.5], ids=["with-zeros", "without-zeros"])
def test_one_image_is_enough(kind: type[Observer], lift: float, activations: Float32Array) -> None:
    image = np.maximum(activations[:1], 0) + np.float32(lift)
    assert 0.7 < _watch(kind, [image]).scale / _watch(MinMaxObserver, [image]).scale < 1.31


@pytest.mark.parametrize("kind", ALL)
def test_non_negative_activations_waste_no_level(kind: type[Observer], activations: Float32Array) -> None:
    qparams = _watch(kind, [np.abs(activations)])
    assert qparams.offset == -128
    assert qparams.zero_point_uint8 == 0


@pytest.mark.parametrize("algo", ActAlgo)
@pytest.mark.parametrize("sign", [1, -1])
def test_symmetric_is_offset_0(algo: ActAlgo, sign: int, activations: Float32Array) -> None:
    observers = [
        ActivationConfig(algo=algo, asymmetric=asymmetric).observer(IfmrVariant.EXACT) for asymmetric in (False, True)
    ]
    for observer in observers:
        observer.update(np.float32(sign) * np.abs(activations))
    symmetric, asymmetric = (observer.qparams() for observer in observers)
    assert symmetric.offset == 0
    assert symmetric.scale > asymmetric.scale


@pytest.mark.parametrize("algo", ActAlgo)
@pytest.mark.parametrize("variant", HfmgVariant)
@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize("unit", [2.0**-22, 2.0**-80], ids=["a-few-millionths", "hardly-anything"])
def test_tiny_activations_have_the_scale_of_large_ones(
    algo: ActAlgo, variant: HfmgVariant, asymmetric: bool, unit: float, activations: Float32Array
) -> None:
    config = ActivationConfig(algo=algo, asymmetric=asymmetric)
    found = []
    for factor in (1.0, unit):
        observer = config.observer(IfmrVariant.EXACT, variant)
        for batch in np.array_split(activations * np.float32(factor), 3):
            observer.update(batch)
        found.append(observer)
    large, tiny = found[0].qparams(), found[1].qparams(smallest=numerics.SMALLEST)
    assert tiny == numerics.QParams(large.scale * unit, large.offset)
    assert found[1].qparams() == numerics.QParams(1.0, -128 if asymmetric else 0)  # AMCT's rule


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("few", [True, False], ids=["few-values", "many-values"])
def test_memory_is_flat(kind: type[Observer], few: bool) -> None:
    """What an observer holds after 100 batches is what it held after 10 of them, once it has stopped to keep values."""
    random = np.random.default_rng(1)
    size = 500 if few else 20_000
    observer = kind()
    held = []
    for count in range(1, 101):
        observer.update(random.normal(size=(1, size)).astype(np.float32))
        if count in (10, 100):
            held.append(len(pickle.dumps(observer)))
    assert held[1] <= max(held[0] * 1.1, 400_000 if few else 0)


@pytest.mark.parametrize("kind", ALL)
def test_nothing_seen_is_a_fault(kind: type[Observer]) -> None:
    with pytest.raises(ValueError, match="no activations"):
        kind().qparams()


def test_minmax_is_the_whole_range(activations: Float32Array) -> None:
    expected = numerics.range_qparams(activations.min(), activations.max())
    assert _watch(MinMaxObserver, [activations]) == expected


def test_minmax_symmetric(activations: Float32Array) -> None:
    observer = MinMaxObserver(symmetric=True)
    observer.update(activations)
    assert observer.qparams().offset == 0
    assert observer.qparams().scale == pytest.approx(float(activations.max()) / 127)
