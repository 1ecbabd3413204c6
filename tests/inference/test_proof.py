"""The proof refuses networks whose outputs are no tensors, or others in MindSpore than in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import mint, nn, ops

from amctq.errors import CheckError, InputError
from amctq.inference.cell_session import CellSession
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.proof import prove_forward
from amctq.networks.float_onnx import export_float
from tests.arrays import image, image_spec


class Function(nn.Cell):
    """A function of images as a network."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def construct(self, x: Any) -> Any:
        return self.function(x)


@pytest.fixture(autouse=True)
def _pynative() -> None:
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


IMAGES = image(np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: {"logits": x.mean((2, 3))}, r"the network's construct\(\) returns dict, expected tensors"),
        (lambda x: (x.mean((2, 3)), {1}), r"the network's construct\(\) returns set, expected tensors"),
        # MindSpore finds out only when the result is read.
        (lambda x: mint.roll(x, 1, 2).mean((2, 3)), "MindSpore cannot run this network .* unregistered"),
    ],
)
def test_what_gives_no_tensors_is_refused(function: Callable[[Any], Any], message: str) -> None:
    session: Any = None  # is not reached
    with pytest.raises(InputError, match=message):
        prove_forward(CellSession(Function(function)), session, IMAGES)


def _session(function: Callable[[Any], Any], folder: Path) -> OnnxSession:
    return OnnxSession(export_float(Function(function), image_spec(3, 8, 8), folder / "float.mindir").model)


def mean(x: Any) -> Any:
    return x.mean((2, 3))


def squeezed(x: Any) -> Any:
    return x.mean((2, 3)).squeeze()


def undefined(x: Any) -> Any:
    return x.mean((2, 3)), mint.sqrt(x - 100)


def large_and_small(x: Any) -> Any:
    return 1e6 * x, x.mean((2, 3))


def wrong_by_one_percent(x: Any) -> Any:
    return 1e6 * x, 1.01 * x.mean((2, 3))


def test_outputs_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the float network gives NaN or infinity"):
        prove_forward(CellSession(Function(undefined)), _session(undefined, tmp_path), IMAGES)


def test_every_output_is_compared_by_its_own_size(tmp_path: Path) -> None:
    """What is wrong in the second output is nothing beside the values of the first."""
    session = _session(large_and_small, tmp_path)
    proof = prove_forward(CellSession(Function(large_and_small)), session, IMAGES)
    assert proof.images == 3
    assert proof.max_difference < 1e-5
    with pytest.raises(CheckError, match=r"differs from MindSpore by 0\.0099 of the largest value on 3 samples"):
        prove_forward(CellSession(Function(wrong_by_one_percent)), session, IMAGES)


def test_a_shape_that_is_another_for_one_sample_is_refused(tmp_path: Path) -> None:
    session = _session(mean, tmp_path)
    with pytest.raises(CheckError, match=r"gives \[\(1, 3\)\] for a batch of \(1, 3, 8, 8\), MindSpore \[\(3,\)\]"):
        prove_forward(CellSession(Function(squeezed)), session, IMAGES)


def with_a_number(x: Any) -> Any:
    return x.mean((2, 3)), 1


def test_a_number_beside_the_tensors_is_no_output(tmp_path: Path) -> None:
    """As YOLOX of MindYOLO returns it."""
    assert (
        prove_forward(CellSession(Function(with_a_number)), _session(with_a_number, tmp_path), IMAGES).max_difference
        < 1e-5
    )


class Best(nn.Cell):
    """The numbers of the 100 largest of 192 values.

    Args:
        noise: is added to the values.
        last_bits: the values depend on the last bits of the input.
    """

    def __init__(self, noise: float, *, last_bits: bool = False) -> None:
        super().__init__()
        self.noise = mindspore.Tensor(np.random.default_rng(2).normal(0, noise, 192).astype(np.float32))
        self.last_bits = last_bits

    def construct(self, x: Any) -> Any:
        values = x.reshape(x.shape[0], -1)
        if self.last_bits:
            values = ops.sin(1e4 * values)
        return ops.topk(values + self.noise, 100)[1].astype(mindspore.float32)


@pytest.mark.parametrize(("noise", "last_bits"), [(1e-4, False), (5e-3, True)])
def test_nearly_equal_values_may_be_exchanged(noise: float, *, last_bits: bool, tmp_path: Path) -> None:
    session = _session(Best(noise, last_bits=last_bits), tmp_path)
    with pytest.raises(CheckError, match="differs from MindSpore"):
        prove_forward(CellSession(Best(0, last_bits=last_bits)), session, IMAGES)
    proof = prove_forward(CellSession(Best(0, last_bits=last_bits)), session, IMAGES, chosen=frozenset({"logits"}))
    assert (proof.exchanged > 0.1) == last_bits
    assert 0 < proof.exchanged < 1
    assert proof.max_difference <= 1e-3


def test_an_order_that_is_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="differs from MindSpore"):
        prove_forward(CellSession(Best(0)), _session(Best(0.1), tmp_path), IMAGES, chosen=frozenset({"logits"}))


class Scaled(nn.Cell):
    """Means by a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def construct(self, x: Any) -> Any:
        return self.factor * x.mean((2, 3))


@pytest.mark.parametrize("size", [1e-10, 1e-20])
def test_a_wrong_graph_of_tiny_values_is_refused(size: float, tmp_path: Path) -> None:
    graph = export_float(Scaled(size), image_spec(3, 8, 8), tmp_path / "float.mindir")
    session = OnnxSession(graph.model)
    assert prove_forward(CellSession(Scaled(size)), session, IMAGES).max_difference < 1e-4
    with pytest.raises(CheckError, match=r"differs from MindSpore by 0\.0099 of the largest value"):
        prove_forward(CellSession(Scaled(1.01 * size)), session, IMAGES)


def nearly_none(x: Any) -> Any:
    return ops.sigmoid(x.mean((2, 3)) - 12.5)


def with_last_digits(x: Any) -> Any:
    return nearly_none(x) + 2e-7


def test_the_last_digits_of_one_are_no_difference(tmp_path: Path) -> None:
    """As a text detector gives them where there is no text."""
    session, original = _session(nearly_none, tmp_path), CellSession(Function(with_last_digits))
    assert prove_forward(original, session, IMAGES, coarse={"logits": 1.0}).max_difference == 0


def rest(x: Any) -> Any:
    return x.mean((2, 3)) - x[:, :, 0, 0]


def rest_in_another_order(x: Any) -> Any:
    return x.mean(2).mean(2) - x[:, :, 0, 0]


def test_the_rest_of_large_values_is_no_difference(tmp_path: Path) -> None:
    flat = image((1 + 1e-6 * IMAGES["image"]).astype(np.float32))
    assert prove_forward(CellSession(Function(rest_in_another_order)), _session(rest, tmp_path), flat).images == 3
