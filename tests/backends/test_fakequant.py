"""The cells of retraining compute what NumPy computes, whatever they are computed with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.backends.compiled import Library, compile_library, kernels
from amctq.choices import Device
from amctq.quant.ulq import Clips, arq_retrain, ulq, ulq_gradients
from amctq.runtime import load_mindspore, resolve_device

RANGES = {
    "signed": (1.7, -0.6),
    "mostly-below": (0.3, -2.5),
    "from-zero": (1.2, 0.0),
    "wide": (9.0, -9.0),
    "upside-down": (-1.0, -0.5),
    "both-below": (-2.0, -3.0),
    "both-above": (2.0, 1.0),
    "empty": (0.0, 0.0),
}


@pytest.fixture(scope="module")
def mindspore(tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = load_mindspore(resolve_device(Device.CPU, None), tmp_path_factory.mktemp("scratch"))
    found.set_context(mode=found.GRAPH_MODE)
    yield found
    found.set_context(mode=found.PYNATIVE_MODE)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        found = compile_library()
    if found.path is None:
        pytest.skip(f"needs a C compiler: {found.description}")
    return found


def _activations(clips: Clips, shape: tuple[int, ...], *, nonnegative: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values in, on, beside and far outside the range, ties among them, and a gradient."""
    random = np.random.default_rng(6)
    x, gradient = (random.normal(0, 1.5, shape).astype(np.float32) for _ in range(2))
    step, first = clips.scale, clips.steps_below_zero
    low, high = step * first, step * (first + np.float32(255))
    ends = [low, high, *(np.nextafter(end, np.float32(to)) for end in (low, high) for to in (-100, 100))]
    special = np.asarray([*ends, *(step * np.arange(-20, 20) * 0.5), 0.0, 1e30, -1e30], np.float32)
    special[np.abs(special) < np.finfo(np.float32).tiny] = 0  # MindSpore's threads take subnormal numbers for zero
    x.reshape(-1)[: len(special)] = special
    return (np.abs(x) if nonnegative else x), gradient


def _backward(mindspore: Any, cell: Any) -> Callable[..., tuple[NDArray[Any], ...]]:
    from mindspore import nn, ops

    class Both(nn.Cell):
        """Result and gradients."""

        def __init__(self) -> None:
            super().__init__(auto_prefix=False)
            self.cell = cell
            self.gradient = ops.GradOperation(get_all=True, sens_param=True)

        def construct(self, *arguments: Any) -> Any:
            return self.cell(*arguments[:-1]), self.gradient(self.cell)(*arguments)

    both = Both()

    def run(*arguments: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        y, gradients = both(*(mindspore.Tensor(np.asarray(argument)) for argument in arguments))
        return y.asnumpy(), *(gradient.asnumpy() for gradient in gradients)

    return run


@pytest.mark.parametrize("shape", [(8, 5, 6, 7), (33, 70)], ids=["conv", "dense"])
@pytest.mark.parametrize("nonnegative", [False, True], ids=["any-sign", "after-relu"])
def test_activations_are_quantized_as_numpy_does(mindspore: Any, shape: tuple[int, ...], nonnegative: bool) -> None:
    from amctq.backends.fakequant import Ulq

    run = _backward(mindspore, Ulq(nonnegative=nonnegative, npu=False))
    for name, (high, low) in RANGES.items():
        clips = Clips(high=high, low=low, fixed_min=False)
        x, gradient = _activations(clips, shape, nonnegative=nonnegative)
        y, dx, to_max, to_min = run(x, np.float32(high), np.float32(low), gradient)
        expected = ulq_gradients(x, clips, gradient)
        assert np.array_equal(y, ulq(x, clips)), name
        assert np.array_equal(dx, expected.x), name
        # Sums of about a thousand float32 beside sums in float64.
        assert to_max == pytest.approx(expected.clip_max, rel=1e-4, abs=1e-3), name
        assert to_min == pytest.approx(expected.clip_min, rel=1e-4, abs=1e-3), name


def _weights() -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(7)
    zeros = random.normal(0, 0.1, (6, 4, 3, 3)).astype(np.float32)
    zeros[2] = 0
    zeros[3, 0, 0, 0], zeros[3, 1, 0, 0] = -1.0, 0.9999
    return {
        "conv": zeros,
        "depthwise": random.normal(0, 1, (9, 1, 3, 3)).astype(np.float32),
        "dense": random.normal(0, 1, (5, 131)).astype(np.float32),
        "one-sided": np.abs(random.normal(0, 1, (3, 7)).astype(np.float32)),
        "tiny": random.normal(0, 1e-9, (3, 7)).astype(np.float32),
    }


def _gamma(weight: NDArray[Any]) -> NDArray[Any]:
    """Channels of both signs, and one of none."""
    return (np.arange(len(weight)) % 3 - 1).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 4])
def test_weights_are_quantized_as_numpy_does(mindspore: Any, bits: int) -> None:
    from amctq.backends.fakequant import Arq

    for channel_wise in (True, False):
        run = _backward(mindspore, Arq(channel_wise=channel_wise, bits=bits, npu=False))
        for name, weight in _weights().items():
            gradient = np.random.default_rng(8).normal(size=weight.shape).astype(np.float32)
            gamma = _gamma(weight)
            fake, dw, dgamma = run(weight, gamma, gradient)
            expected = arq_retrain(weight, channel_wise=channel_wise, bits=bits, gamma=gamma)
            assert np.array_equal(fake, expected), name
            assert np.array_equal(dw, gradient), name
            assert not dgamma.any(), name


# Small ones, ones that several threads share, and rows that end within a vector.
@pytest.mark.parametrize("shape", [(8, 5, 6, 7), (33, 70), (9, 33, 41, 43), (3, 4, 1, 1), (1, 9)], ids=str)
@pytest.mark.parametrize("nonnegative", [False, True], ids=["any-sign", "after-relu"])
def test_compiled_activations_have_the_bits_of_plain_ones(
    mindspore: Any, library: Library, shape: tuple[int, ...], nonnegative: bool
) -> None:
    from amctq.backends.fakequant import CompiledUlq, Ulq

    compiled = kernels(library)
    assert compiled is not None
    one = _backward(mindspore, Ulq(nonnegative=nonnegative, npu=False))
    two = _backward(mindspore, CompiledUlq(compiled, nonnegative=nonnegative))
    for name, (high, low) in RANGES.items():
        x, gradient = _activations(Clips(high=high, low=low, fixed_min=False), (9, 1000), nonnegative=nonnegative)
        x, gradient = (np.resize(array, shape) for array in (x, gradient))
        arguments = (x, np.float32(high), np.float32(low), gradient)
        assert all(map(np.array_equal, one(*arguments), two(*arguments))), name


def test_compiled_weights_have_the_bits_of_plain_ones(mindspore: Any, library: Library) -> None:
    from amctq.backends.fakequant import Arq, CompiledArq

    compiled = kernels(library)
    assert compiled is not None
    large = np.random.default_rng(9).normal(size=(65, 130, 3, 3)).astype(np.float32)
    for channel_wise in (True, False):
        one = _backward(mindspore, Arq(channel_wise=channel_wise, bits=8, npu=False))
        two = _backward(mindspore, CompiledArq(compiled, channel_wise=channel_wise, bits=8))
        for weight in (*_weights().values(), large):
            arguments = (weight, _gamma(weight), weight)
            assert all(map(np.array_equal, one(*arguments), two(*arguments)))


def test_nan_stays_visible(mindspore: Any, library: Library) -> None:
    from amctq.backends.fakequant import CompiledUlq, Ulq

    compiled = kernels(library)
    assert compiled is not None
    x = np.full((4, 9), np.nan, np.float32)
    for cell in (Ulq(nonnegative=True, npu=False), CompiledUlq(compiled, nonnegative=True)):
        y = cell(*(mindspore.Tensor(np.asarray(value, np.float32)) for value in (x, 1.0, 0.0)))
        assert np.isnan(y.asnumpy()).all()


def test_both_rounding_operators_take_ties_to_even(mindspore: Any) -> None:
    from amctq.backends.ascend import rounding

    halves = np.arange(-600, 600, dtype=np.float32) * np.float32(0.5)
    for npu in (False, True):
        assert np.array_equal(rounding(npu)(mindspore.Tensor(halves)).asnumpy(), np.rint(halves))


@pytest.mark.ascend
def test_an_npu_computes_it_too(tmp_path: Path) -> None:
    found = load_mindspore(resolve_device(Device.ASCEND, None), tmp_path)
    from amctq.backends.fakequant import Ulq

    found.set_context(mode=found.GRAPH_MODE)
    clips = Clips(high=1.7, low=-0.6, fixed_min=False)
    x, gradient = _activations(clips, (8, 5, 6, 7), nonnegative=False)
    y, dx, to_max, to_min = _backward(found, Ulq(nonnegative=False, npu=True))(
        x, np.float32(1.7), np.float32(-0.6), gradient
    )
    expected = ulq_gradients(x, clips, gradient)
    assert np.abs(y - ulq(x, clips)).max() <= clips.scale * 1.001  # its quotient may fall on the other side of a tie
    assert (dx != expected.x).mean() < 1e-2
    assert to_max == pytest.approx(expected.clip_max, rel=1e-2, abs=0.1)
    assert to_min == pytest.approx(expected.clip_min, rel=1e-2, abs=0.1)
