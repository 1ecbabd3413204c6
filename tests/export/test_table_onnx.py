"""Embedding tables in the file: rows of int8, and what the file keeps of the float network."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from amctq.export.float_arithmetic import build_float_arithmetic
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.graph.topology import read_topology
from amctq.inference.onnx_session import OnnxSession
from amctq.quant.integer import IntegerTable
from amctq.quant.weights import arq_scale, quantize_weight
from tests.arrays import image
from tests.export.quantized import Quantized, quantize_ort
from tests.graph.graphs import float_graph, quoted

_NUMBERS = np.array([[0, 7, 49], [3, 3, 1]], np.float32)
_BODY = """
    i = Cast <to = 7> (image)
    a = Gather (words.weight, i)
    n = Neg (i)
    b = Gather (words.weight, n)
    c = Add (a, b)
    t = Transpose <perm = [1, 0]> (head.weight)
    logits = MatMul (c, t)
"""


@pytest.fixture(params=[True, False], ids=["per row", "per tensor"])
def table(request: pytest.FixtureRequest, graph: FloatGraph) -> IntegerTable:
    (found,) = read_topology(graph).tables
    rows = graph.arrays[found.weight]
    return IntegerTable(table=found, weight=quantize_weight(rows, arq_scale(rows, channel_wise=request.param)))


@pytest.fixture
def graph() -> FloatGraph:
    """Two look-ups in one table, the second with negative numbers, and a layer whose matrix is computed."""
    random = np.random.default_rng(0)
    words = random.normal(0, 1, (50, 32)).astype(np.float32) * np.linspace(0.1, 10, 50, dtype=np.float32)[:, None]
    words[0] = 0  # of the padding
    arrays = {"words.weight": words, "head.weight": random.normal(0, 0.3, (48, 32)).astype(np.float32)}
    return float_graph(quoted(_BODY, arrays), arrays, image="N, 3")


@pytest.fixture
def quantized(graph: FloatGraph) -> Quantized:
    return quantize_ort(graph, _NUMBERS)


def _constants(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def test_rows_are_exactly_integers_times_scale(graph: FloatGraph, quantized: Quantized, table: IntegerTable) -> None:
    model = build_qdq(graph, *quantized, tables=(table,))
    onnx.checker.check_model(model)
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "ab")
    _, a, b = OnnxSession(model).run(image(_NUMBERS))
    rows = table.weight.dequantized()
    numbers = _NUMBERS.astype(int)
    assert np.array_equal(a, rows[numbers])
    assert np.array_equal(b, rows[-numbers])
    error = np.abs(rows - graph.arrays["words.weight"])
    inside = np.abs(table.weight.values) < 127  # AMCT's rule may clip the largest
    assert inside.mean() > 0.9
    assert (error <= table.weight.scale[:, None] * 0.5001)[inside].all()


def test_a_table_stands_in_the_file_once_and_in_int8(
    graph: FloatGraph, quantized: Quantized, table: IntegerTable
) -> None:
    constants = _constants(build_qdq(graph, *quantized, tables=(table,)))
    assert constants["words.table.q"].dtype == np.int8
    kinds = [array.dtype for array in constants.values() if array.size >= 50 * 32]
    assert kinds == [np.int8]


def test_nothing_is_left_of_what_a_weight_was_computed_from(graph: FloatGraph, quantized: Quantized) -> None:
    """Neither the Transpose, nor the float parameter that it read."""
    model = build_qdq(graph, *quantized)
    assert "head.weight" not in _constants(model)
    assert "Transpose" not in {node.op_type for node in model.graph.node}


def test_float_arithmetic_has_the_same_rows(graph: FloatGraph, quantized: Quantized, table: IntegerTable) -> None:
    own = OnnxSession(build_float_arithmetic(graph, *quantized, (table,)), optimized=False).run(image(_NUMBERS))[0]
    file = OnnxSession(build_qdq(graph, *quantized, tables=(table,))).run(image(_NUMBERS))[0]
    np.testing.assert_allclose(own, file, rtol=1e-4, atol=1e-4)
    other = OnnxSession(build_float_arithmetic(graph, *quantized), optimized=False).run(image(_NUMBERS))[0]
    assert np.abs(other - file).max() > 1e-3
