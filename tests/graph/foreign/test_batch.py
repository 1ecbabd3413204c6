"""A graph for one batch size becomes one for any, or the run ends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from amctq.data.inputs import InputSpec
from amctq.graph.foreign.reader import fit_samples, open_foreign, read_foreign
from tests.graph.foreign.networks import attention, initializer, model, recurrent, run, tokens_first


def _dynamic(proto: onnx.ModelProto, shape: tuple[int, ...]) -> onnx.ModelProto:
    read = read_foreign(open_foreign(proto))
    fit_samples(read, {"x": InputSpec(shape=shape)})
    return read


@pytest.mark.parametrize("network", [attention, tokens_first, recurrent])
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_another_batch_gives_the_same_results(network: Callable[[int], onnx.ModelProto], batch: int) -> None:
    read = _dynamic(network(batch), (5, 12))
    samples = np.random.default_rng(batch).normal(size=(7, 5, 12)).astype(np.float32)
    (found,) = run(read, samples)
    (each,) = zip(*(run(network(1), samples[index : index + 1]) for index in range(7)), strict=True)
    assert found == pytest.approx(np.concatenate(each), rel=1e-4, abs=1e-5)
    dims = [[axis.dim_param or axis.dim_value for axis in item.type.tensor_type.shape.dim] for item in read.graph.input]
    assert dims == [["N", 5, 12]]


def test_a_size_that_is_no_batch_stays() -> None:
    """A batch of 4 and 4 channels: only one of the two grows."""
    nodes = [
        onnx.helper.make_node("Reshape", ["x", "shape"], ["r"]),
        onnx.helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    constants = [initializer("shape", np.array([4, 4, 9])), initializer("w", np.ones((9, 2)))]
    read = _dynamic(model(nodes, constants, shape=[4, 4, 3, 3]), (4, 3, 3))
    assert run(read, np.ones((3, 4, 3, 3), np.float32))[0].shape == (3, 4, 2)


def test_a_dynamic_batch_is_left_as_it_is() -> None:
    nodes = [
        onnx.helper.make_node("Reshape", ["x", "shape"], ["r"]),
        onnx.helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    constants = [initializer("shape", np.array([0, 27])), initializer("w", np.ones((27, 2)))]
    read = _dynamic(model(nodes, constants, shape=["batch", 3, "h", "w"]), (3, 3, 3))
    assert [item.name for item in read.graph.initializer] == ["shape", "w"]
    assert run(read, np.ones((3, 3, 3, 3), np.float32))[0].shape == (3, 2)
