"""GPTAQ's target against what it must do: the least error towards what the float network gives."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.quant.numerics import Float32Array
from amctq.quant.rounding.bias import bias_error
from amctq.quant.rounding.columns import Windows
from amctq.quant.rounding.gptaq import target
from amctq.quant.rounding.gptq import damped, gptq
from amctq.quant.rounding.inputs import InputWatcher
from amctq.quant.rounding.pairs import PairWatcher
from amctq.quant.rounding.scale import power_scale

WINDOWS = Windows(
    kernel=(3, 3), strides=(1, 1), begins=(1, 1), ends=(1, 1), dilations=(1, 1), spread=(1, 1), turned=False, groups=2
)


def images(seed: int, count: int = 40) -> Float32Array:
    return np.random.default_rng(seed).normal(0.3, 1, (count, 4, 6, 6)).astype(np.float32)


def disturbed(wanted: Float32Array, seed: int = 3) -> Float32Array:
    """What a network that is rounded in part gives in the place of ``wanted``."""
    mixed = np.einsum("nchw,cd->ndhw", wanted, np.eye(4) + 0.15 * np.random.default_rng(seed).normal(size=(4, 4)))
    return (mixed + 0.1).astype(np.float32)


@pytest.mark.parametrize("groups", [1, 2])
def test_no_weight_is_nearer_to_what_is_wanted(groups: int) -> None:
    random = np.random.default_rng(1)
    y = random.normal(size=(groups, 12, 500))
    x = y + 0.3 * random.normal(size=y.shape)
    weight = random.normal(size=(8, 12)).astype(np.float32)
    gram, cross = x @ x.transpose(0, 2, 1) / 500, y @ x.transpose(0, 2, 1) / 500
    found = target(weight, gram, cross)

    def penalised(rows: Float32Array) -> float:
        """The error of the outputs, and what the damping adds for leaving the weight."""
        new, old = (each.reshape(groups, -1, 12).astype(np.float64) for each in (rows, weight))
        left = np.mean((new @ x - old @ y) ** 2, axis=2).sum()
        damping = damped(gram) - gram
        return float(left + np.einsum("gni,gij,gnj->", new - old, damping, new - old))

    least = penalised(found)
    assert least < penalised(weight)
    for _ in range(20):
        moved = found + 0.01 * random.normal(size=found.shape).astype(np.float32)
        assert least < penalised(moved)


def test_equal_inputs_leave_the_weight() -> None:
    x = np.random.default_rng(1).normal(size=(1, 300, 10))
    gram = x.transpose(0, 2, 1) @ x / 300
    weight = np.random.default_rng(2).normal(size=(4, 10)).astype(np.float32)
    np.testing.assert_allclose(target(weight, gram, gram), weight, rtol=1e-5)


@pytest.mark.parametrize("broken", ["gram", "cross"])
def test_what_is_not_finite_is_told(broken: str) -> None:
    matrices = {"gram": np.eye(3)[None], "cross": np.eye(3)[None]}
    matrices[broken] = matrices[broken] * np.nan
    with pytest.raises(np.linalg.LinAlgError):
        target(np.ones((2, 3), np.float32), matrices["gram"], matrices["cross"])


def test_pairs_know_what_each_watcher_knows_alone() -> None:
    wanted = images(1)
    read = disturbed(wanted)
    pair, alone, float_alone = PairWatcher(WINDOWS), *(InputWatcher(WINDOWS, second=True) for _ in "12")
    for watcher in (pair, alone, float_alone):
        watcher.expect(len(read))
    for part in (slice(0, 16), slice(16, 40)):
        pair.update(read[part], wanted[part])
        alone.update(read[part])
        float_alone.update(wanted[part])
    found, own, other = pair.finish(), alone.finish(), float_alone.finish()
    assert found.wanted is not None
    np.testing.assert_allclose(found.mean, own.mean, rtol=1e-6)
    np.testing.assert_allclose(found.wanted.mean, other.mean, rtol=1e-6)
    assert found.second is not None
    assert own.second is not None
    # 40 images have fewer positions than are drawn at most, so that both take all.
    unit = own.second.mean / found.second.mean
    np.testing.assert_allclose(unit, unit.flat[0], rtol=1e-4)
    np.testing.assert_allclose(found.second.covariance * unit.flat[0] ** 2, own.second.covariance, rtol=1e-3, atol=1e-5)


def test_a_layer_is_nearer_to_the_float_network_than_with_gptq() -> None:
    wanted = images(1, 200)
    read = disturbed(wanted)
    weight = np.random.default_rng(5).normal(0, 0.2, (6, 2, 3, 3)).astype(np.float32)
    pair = PairWatcher(WINDOWS)
    pair.expect(len(read))
    pair.update(read, wanted)
    known = pair.finish()
    assert known.second is not None
    assert known.wanted is not None
    gram = known.second.around(0.1)
    aims = {"gptq": weight, "gptaq": target(weight, gram, known.wanted.around(0.1, known.second))}
    errors = {}
    x, y = (WINDOWS.columns(WINDOWS.windows(values)).astype(np.float64) for values in (read, wanted))
    for name, aim in aims.items():
        scale = power_scale(aim, np.diagonal(gram, axis1=1, axis2=2), channel_wise=True, bits=4)
        rounded = gptq(aim, [scale], gram, bits=4).dequantized()
        rows, old = (each.reshape(2, -1, 18).astype(np.float64) for each in (rounded, weight))
        bias = bias_error(weight, rounded, known.mean, known.wanted.mean)
        errors[name] = np.mean((rows @ x - bias.reshape(2, -1, 1) - old @ y) ** 2)
    assert errors["gptaq"] < 0.6 * errors["gptq"]
