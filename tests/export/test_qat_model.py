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
