"""What OpenVINO computes in float, in the words of the network."""

from __future__ import annotations

import pytest

from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.graph.qdq_rules import OPENVINO
from amctq.graph.topology import read_topology
from amctq.inference.openvino_operators import float_operators
from amctq.inference.openvino_session import OpenVinoSession
from tests.export.quantized import quantize_ort
from tests.graph.patterns import FLOAT_PATTERNS, IMAGES, PATTERNS, network


def _operators(graph: FloatGraph) -> dict[str, str]:
    found = {name: node.op_type for node in graph.model.graph.node for name in (node.name, *node.output)}
    return found | {layer.name: found[layer.node] for layer in read_topology(graph).layers}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("hard squeeze and excite", {"HardSigmoid", "Mul"}), ("squeeze and excite", {"Sigmoid", "Mul"})],
)
def test_operators_have_the_names_and_types_of_the_network(pattern: str, expected: set[str]) -> None:
    graph = network((PATTERNS | {name: body for name, (body, _) in FLOAT_PATTERNS.items()})[pattern])
    model = build_qdq(graph, *quantize_ort(graph, IMAGES, rules=OPENVINO, bits=7), rules=OPENVINO)
    operators = _operators(graph)
    found = float_operators(OpenVinoSession(model.SerializeToString()), {}, operators)
    assert found
    assert {operators[item.node] for item in found} == {item.op for item in found} <= expected


def test_a_quantized_layer_that_is_computed_in_float_is_told_wherever_it_is() -> None:
    """OpenVINO 2026.4 has no integer kernel for these transposed convolutions on CPUs without VNNI."""
    graph = network("y = ConvTranspose (x, transposed.weight)")
    layers, activations = quantize_ort(graph, IMAGES, rules=OPENVINO, bits=7)
    model = build_qdq(graph, layers, activations, rules=OPENVINO)
    session = OpenVinoSession(model.SerializeToString())
    names = {item.layer.name for item in layers}
    kernels = {
        info["layerType"].astype(str): info["primitiveType"].astype(str)
        for info in (node.get_rt_info() for node in session.compiled.get_runtime_model().get_ordered_ops())
    }
    in_float = not kernels["Deconvolution"].lower().endswith("_i8")
    found = {item.op for item in float_operators(session, {}, _operators(graph), names)}
    assert found == ({"ConvTranspose"} if in_float else set())
