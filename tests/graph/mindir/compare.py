"""Comparing what amctq reads from MindIR with MindSpore itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import onnx
from mindspore import nn
from numpy.typing import NDArray

from amctq.graph.mindir.reader import read_mindir
from amctq.inference.onnx_session import OnnxSession
from amctq.networks.float_onnx import mindir_of

BATCH = 1009


class Function(nn.Cell):
    """A function of one tensor as a network; other arguments of the function may follow."""

    def __init__(self, function: Callable[..., Any], *args: Any, **keywords: Any) -> None:
        super().__init__()
        self.function = function
        self.args = args
        self.keywords = keywords

    def construct(self, x: Any) -> Any:
        return self.function(x, *self.args, **self.keywords)


def exported(network: nn.Cell, *shapes: Sequence[int]) -> tuple[Any, dict[str, NDArray[Any]]]:
    """The MindIR of a network whose inputs are (N, *shape) each, float32, and its parameters."""
    network.set_train(False)
    examples = [mindspore.Tensor(shape=[BATCH, *shape], dtype=mindspore.float32) for shape in shapes]
    with tempfile.TemporaryDirectory() as folder:
        mindir = mindir_of(network, tuple(examples), Path(folder) / "network.mindir")
    return mindir, {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}


def read(network: nn.Cell, shape: Sequence[int], *, outputs: int = 1) -> onnx.ModelProto:
    """The ONNX graph of a network that takes (N, *shape), float32."""
    names = tuple(f"y{index}" for index in range(outputs))
    mindir, parameters = exported(network, shape)
    model = read_mindir(mindir, BATCH, inputs=("x",), outputs=names, parameters=parameters).model
    onnx.checker.check_model(model, full_check=True)
    return model


def assert_same(
    network: nn.Cell | Callable[..., Any],
    shape: Sequence[int],
    *,
    outputs: int = 1,
    tolerance: float = 1e-5,
    like: nn.Cell | Callable[..., Any] | None = None,
    values: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> onnx.ModelProto:
    """Read a network, and compare it with MindSpore on random values at two batch sizes; returns the graph.

    Args:
        network: a cell, or a function of one tensor.
        shape: of the input, without the batch.
        outputs: how many it has.
        tolerance: allowed difference, as a fraction of the largest value.
        like: what computes the same in MindSpore, for a network whose primitives have no kernel on the CPU.
        values: changes the random values, for operators that take only some.
    """
    cell = network if isinstance(network, nn.Cell) else Function(network)
    model = read(cell, shape, outputs=outputs)
    session = OnnxSession(model)
    reference = cell if like is None else like
    random = np.random.default_rng(1)
    for batch in (1, 3):
        x = random.normal(0, 2, (batch, *shape)).astype(np.float32)
        x = x if values is None else values(x)
        found = reference(mindspore.Tensor(x))
        expected = [item.asnumpy() for item in (found if isinstance(found, (tuple, list)) else (found,))]
        for index, (own, other) in enumerate(zip(expected, session.run({"x": x}), strict=True)):
            assert own.shape == other.shape
            largest = max(float(np.abs(own.astype(np.float64)).max(initial=0)), 1e-6)
            difference = np.abs(own.astype(np.float64) - other.astype(np.float64)).max(initial=0)
            assert difference <= tolerance * largest, (
                f"{difference / largest:.2g} of the largest value of output {index} at batch {batch}"
            )
    return model
