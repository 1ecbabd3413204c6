"""Which QDQ files keep the documented limits of Huawei's own converter."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from amctq.export.qat_model import unfit_nodes
from amctq.export.qdq_onnx import build_qdq
from tests.export.quantized import quantize, quantize_ort
from tests.graph.graphs import residual_graph
from tests.graph.patterns import IMAGES, PATTERNS, network


@pytest.fixture
def model() -> onnx.ModelProto:
    graph = residual_graph()
    return build_qdq(graph, *quantize(graph))


def test_placement_ascend_keeps_the_limits(model: onnx.ModelProto) -> None:
    assert list(unfit_nodes(model)) == []


def test_a_pair_with_two_scales_is_found(model: onnx.ModelProto) -> None:
    node = next(
        node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0].endswith(".q")
    )
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(0.5, np.float32), "other"))
    node.input[1] = "other"
    assert any(text.startswith(f"{node.name}:") for text in unfit_nodes(model))


def test_what_reads_a_pair_and_is_no_layer_is_found(model: onnx.ModelProto) -> None:
    made = {name for node in model.graph.node if node.op_type == "QuantizeLinear" for name in node.output}
    pair = next(node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in made)
    model.graph.node.append(helper.make_node("Sigmoid", [pair.output[0]], ["more"], "gate"))
    assert list(unfit_nodes(model)) == ["gate: Sigmoid matches no pair"]


def test_placement_ort_breaks_them() -> None:
    graph = network(next(iter(PATTERNS.values())))
    assert list(unfit_nodes(build_qdq(graph, *quantize_ort(graph, IMAGES))))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("factors", "the weight of a Gemm has a factor for each channel"),
        ("MatMul", "the weight of a MatMul has no two axes"),
    ],
)
def test_what_a_product_may_not_have_is_found(model: onnx.ModelProto, change: str, found: str) -> None:
    product = next(node for node in model.graph.node if node.op_type == "Gemm")
    pair = next(node for node in model.graph.node if node.output[0] == product.input[1])
    arrays = {item.name: item for item in model.graph.initializer}
    if change == "MatMul":
        product.op_type = "MatMul"
        del product.input[2:], product.attribute[:]
        weight = arrays[pair.input[0]]
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight)[None], weight.name))
    else:
        scale = arrays[pair.input[1]]
        scale.CopyFrom(numpy_helper.from_array(np.full(10, numpy_helper.to_array(scale)), scale.name))
    (text,) = unfit_nodes(model)
    assert found in text
