"""The rearranged first convolution gives the same sums, bit for bit."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from amctq.choices import ActType
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations
from amctq.graph.placement_ort import place_ort
from amctq.graph.topology import fuse, read_topology
from amctq.inference.onnx_session import OnnxSession
from amctq.quant.integer import IntegerLayer, integer_layers, make_record
from amctq.quant.numerics import QParams
from amctq.quant.weights import arq_scale
from tests.arrays import image
from tests.graph.graphs import float_graph, quoted


def _stem_graph(kernel: int, attributes: str, image: tuple[int, int, int]) -> FloatGraph:
    random = np.random.default_rng(kernel)
    arrays: dict[str, NDArray[np.float32]] = {
        "conv1.weight": random.normal(0, 0.3, (8, image[0], kernel, kernel)).astype(np.float32),
        "conv1.bias": random.normal(0, 0.3, 8).astype(np.float32),
        "fc.weight": random.normal(0, 0.3, (5, 8)).astype(np.float32),
    }
    body = f"""
        a = Conv <{attributes}> (image, conv1.weight, conv1.bias)
        b = Relu (a)
        c = GlobalAveragePool (b)
        d = Flatten (c)
        logits = Gemm <transB = 1> (d, fc.weight)
    """
    return float_graph(quoted(body, arrays), arrays, image=f"N, {image[0]}, {image[1]}, {image[2]}")


def _quantized(graph: FloatGraph) -> tuple[tuple[IntegerLayer, ...], PlacedActivations]:
    topology = read_topology(graph)
    fused = fuse(graph, topology)
    plan = place_ort(graph, topology)
    qparams = (QParams(0.03, 5), *(QParams(0.02, -128) for _ in plan.sites[1:]))
    placed = PlacedActivations(plan=plan, qparams=qparams)
    scales = {name: arq_scale(parameters.weight, channel_wise=name == "conv1") for name, parameters in fused.items()}
    return integer_layers(topology, fused, make_record(topology, fused, scales, placed.by_layer)), placed


def _conv_output(model: onnx.ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    zero = next(node.input[2] for node in model.graph.node if node.name == "b.q")
    type_ = next(item.data_type for item in model.graph.initializer if item.name == zero)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.append(onnx.helper.make_tensor_value_info("b.q", type_, None))
    result: NDArray[np.float32] = OnnxSession(watched).run(image(images))[1]
    return result


CASES = [
    (3, "pads = [1, 1, 1, 1]", (3, 8, 8), "channels"),
    (3, "pads = [1, 1, 1, 1], strides = [2, 2]", (3, 8, 8), "channels"),
    (7, 'auto_pad = "SAME_UPPER", strides = [2, 2]', (3, 16, 16), "blocks"),
    (7, 'auto_pad = "SAME_LOWER", strides = [2, 2]', (3, 16, 16), "blocks"),
    (7, 'auto_pad = "SAME_UPPER", strides = [2, 2]', (3, 15, 17), "blocks"),
    (7, "pads = [3, 3, 3, 3], strides = [2, 2]", (3, 16, 12), "blocks"),
    (7, "pads = [2, 3, 3, 2], strides = [2, 2]", (3, 17, 16), "blocks"),
    (7, 'auto_pad = "VALID", strides = [2, 2]', (3, 16, 16), "blocks"),
    (1, "strides = [1, 1]", (1, 8, 8), "channels"),
    (2, "strides = [2, 2]", (3, 8, 8), "blocks"),
    (3, "pads = [1, 1, 1, 1]", (4, 8, 8), "as it is"),
]


@pytest.mark.parametrize(("kernel", "attributes", "image", "expected"), CASES)
def test_the_same_integers(kernel: int, attributes: str, image: tuple[int, int, int], expected: str) -> None:
    graph = _stem_graph(kernel, attributes, image)
    layers, placed = _quantized(graph)
    images = np.random.default_rng(1).normal(0, 2, (4, *image)).astype(np.float32)
    rearranged = build_qdq(graph, layers, placed)
    onnx.checker.check_model(rearranged, full_check=True)
    found = {node.op_type for node in rearranged.graph.node}
    assert ("blocks" if "Transpose" in found else "channels" if "Pad" in found else "as it is") == expected
    signed = build_qdq(graph, layers, placed, act_type=ActType.INT8)  # not rearranged either: x86 has no kernels for it
    assert not {"Transpose", "Pad"} & {node.op_type for node in signed.graph.node}
    unsigned = _conv_output(rearranged, images).astype(np.int16)
    assert np.array_equal(unsigned, _conv_output(signed, images).astype(np.int16) + 128)
    assert len(np.unique(unsigned)) > 20
