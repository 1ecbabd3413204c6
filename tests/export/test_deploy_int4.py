"""Weights of 4 bits in deploy files: two to a byte along the input channels, as AMCT packs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from amctq.errors import InputError
from amctq.export.ascend_onnx import build_ascend
from amctq.export.fakequant_onnx import build_fakequant
from amctq.graph.float_graph import FloatGraph
from amctq.graph.topology import read_topology
from amctq.inference.ascend_lowering import lower
from amctq.inference.onnx_session import OnnxSession
from amctq.quant.numerics import QParams
from tests.arrays import image, logits_of
from tests.export.quantized import quantize
from tests.graph.graphs import float_graph, quoted, residual_graph

# Of the tensors that the layers of _graph read.
TENSORS = {name: QParams(0.03, -128) for name in ("b", "d", "f", "h")} | {"image": QParams(0.02, 3)}


def _graph() -> FloatGraph:
    """A stem of three channels, a whole and a depthwise convolution, and two products with matrices."""
    random = np.random.default_rng(4)

    def array(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 0.3, shape).astype(np.float32)

    arrays = {
        "stem.weight": array(6, 3, 3, 3),
        "whole.weight": array(4, 6, 3, 3),
        "depthwise.weight": array(4, 1, 3, 3),
        "hidden.weight": array(8, 4),
        "fc.weight": array(5, 8),
        "fc.bias": array(5),
    }
    body = """
        a = Conv <pads = [1, 1, 1, 1]> (image, stem.weight)
        b = Relu (a)
        c = Conv <pads = [1, 1, 1, 1]> (b, whole.weight)
        d = Relu (c)
        e = Conv <group = 4, pads = [1, 1, 1, 1]> (d, depthwise.weight)
        p = GlobalAveragePool (e)
        f = Flatten (p)
        g = Gemm <transB = 1> (f, hidden.weight)
        h = Relu (g)
        logits = Gemm <transB = 1> (h, fc.weight, fc.bias)
    """
    return float_graph(quoted(body, arrays), arrays)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    return {item.name: tuple(item.dims) for item in model.graph.initializer if item.data_type == onnx.TensorProto.INT8}


def _images() -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=(6, 3, 8, 8)).astype(np.float32)


def test_pairs_are_stored_along_the_input_channels() -> None:
    """An odd number of channels and groups stay one to a byte."""
    graph = _graph()
    assert {layer.name for layer in read_topology(graph).layers if layer.packs_int4} == {"whole", "hidden", "fc"}
    layers, _ = quantize(graph, bits=4, tensors=TENSORS)
    deploy = build_ascend(graph, layers)
    assert _shapes(deploy) == {
        "stem.weight": (6, 3, 3, 3),
        "whole.weight": (4, 3, 3, 3),
        "depthwise.weight": (4, 1, 3, 3),
        "hidden.weight": (2, 8),
        "fc.weight": (4, 5),
    }
    stored = {item.name: numpy_helper.to_array(item) for item in deploy.graph.initializer}
    values = {item.layer.name: item.weight.values for item in layers}
    whole = stored["whole.weight"].view(np.uint8)
    for channel in range(6):
        half = whole[:, channel // 2] >> (4 * (channel % 2)) & 15
        assert np.array_equal(half, values["whole"][:, channel] & 15)


def test_onnxruntime_computes_what_they_mean() -> None:
    graph, images = _graph(), _images()
    layers, _ = quantize(graph, bits=4, tensors=TENSORS)
    actual = logits_of(OnnxSession(lower(build_ascend(graph, layers))), images)
    assert actual == pytest.approx(logits_of(OnnxSession(build_fakequant(graph, layers)), images), abs=1e-5)


def test_widths_may_differ_by_layer() -> None:
    graph, images = _graph(), _images()
    layers, _ = quantize(graph, bits=8, others={"hidden": 4, "stem": 6}, tensors=TENSORS)
    deploy = build_ascend(graph, layers)
    assert _shapes(deploy)["hidden.weight"] == (2, 8)
    assert _shapes(deploy)["whole.weight"] == (4, 6, 3, 3)
    actual = logits_of(OnnxSession(lower(deploy)), images)
    assert actual == pytest.approx(logits_of(OnnxSession(build_fakequant(graph, layers)), images), abs=1e-5)


def _as_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """PyTorch's form of a Linear on more than two axes: a MatMul, and an Add of its integer bias."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = []
    for node in copy.graph.node:
        if node.op_type == "Gemm":
            del node.attribute[:]
            node.op_type = "MatMul"
            if len(node.input) > 2:
                add = onnx.helper.make_node("Add", [f"{node.name}.sums", node.input.pop()], [node.output[0]])
                node.output[0] = f"{node.name}.sums"
                nodes += [node, add]
                continue
        nodes.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def test_products_one_after_another_are_told_apart() -> None:
    """The shape behind a packed MatMul is known only when it is unpacked."""
    graph, images = _graph(), _images()
    layers, _ = quantize(graph, bits=4, tensors=TENSORS)
    deploy = build_ascend(graph, layers)
    actual = logits_of(OnnxSession(lower(_as_products(deploy))), images)
    assert np.array_equal(actual, logits_of(OnnxSession(lower(deploy)), images))


def test_a_flattening_that_pytorch_writes_hides_no_channels() -> None:
    """x.view(x.size(0), -1): Shape, Gather, Unsqueeze and Concat make the size."""
    graph, images = _graph(), _images()
    layers, _ = quantize(graph, bits=4, tensors=TENSORS)
    deploy = build_ascend(graph, layers)
    expected = logits_of(OnnxSession(lower(deploy)), images)
    at, flatten = next((at, node) for at, node in enumerate(deploy.graph.node) if node.op_type == "Flatten")
    source, target = flatten.input[0], flatten.output[0]
    make, tensor = onnx.helper.make_node, numpy_helper.from_array
    deploy.graph.initializer.extend(
        [tensor(np.asarray(0, np.int64), "first"), tensor(np.asarray([-1], np.int64), "rest")]
    )
    written = [
        make("Shape", [source], ["size"]),
        make("Gather", ["size", "first"], ["batch"], axis=0),
        make("Unsqueeze", ["batch"], ["batch.1"], axes=[0]),
        make("Concat", ["batch.1", "rest"], ["shape"], axis=0),
        make("Reshape", [source, "shape"], [target]),
    ]
    nodes = [*deploy.graph.node[:at], *written, *deploy.graph.node[at + 1 :]]
    del deploy.graph.node[:]
    deploy.graph.node.extend(nodes)
    assert np.array_equal(logits_of(OnnxSession(lower(deploy)), images), expected)


def test_weights_that_fit_in_neither_way_are_refused() -> None:
    graph = _graph()
    layers, _ = quantize(graph, bits=4, tensors=TENSORS)
    deploy = build_ascend(graph, layers)
    for item in deploy.graph.initializer:
        if item.name == "whole.weight":
            item.CopyFrom(numpy_helper.from_array(np.zeros((4, 5, 3, 3), np.int8), item.name))
    with pytest.raises(InputError, match="whole: weights for 5 channels, and its input has 6"):
        lower(deploy)


def test_a_pool_of_integers_is_padded_with_real_zeros() -> None:
    """AMCT writes the padding of an average pool as a Pad between its AscendQuant and itself."""
    graph = residual_graph()
    layers, _ = quantize(graph)
    deploy = build_ascend(graph, layers)
    node: Any = next(item for item in deploy.graph.node if item.op_type == "GlobalAveragePool")
    scale = numpy_helper.from_array(np.asarray([0.05], np.float32).view(np.uint32).astype(np.uint64), "pool.param")
    deploy.graph.initializer.extend([scale, numpy_helper.from_array(np.asarray([0, 0, 1, 1, 0, 0, 1, 1]), "pool.pads")])
    make = onnx.helper.make_node
    at = list(deploy.graph.node).index(node)
    written = [
        make("AscendQuant", [node.input[0]], ["pool.q"], scale=20.0, offset=-100.0, dst_type="INT8"),
        make("Pad", ["pool.q", "pool.pads"], ["pool.padded"], mode="constant"),
        make("AveragePool", ["pool.padded"], ["pool.int"], kernel_shape=[10, 10]),
        make("AscendDequant", ["pool.int", "pool.param"], [node.output[0]], dtype=0),
    ]
    nodes = [*deploy.graph.node[:at], *written, *deploy.graph.node[at + 1 :]]
    del deploy.graph.node[:]
    deploy.graph.node.extend(nodes)
    value = onnx.helper.make_tensor_value_info
    deploy.graph.output.extend(value(name, onnx.TensorProto.FLOAT, None) for name in (node.input[0], node.output[0]))
    _, before, after = OnnxSession(lower(deploy)).run(image(_images()))
    steps = np.clip(np.rint(before * np.float32(20)), -28, 227)
    assert after == pytest.approx(steps.sum((2, 3), keepdims=True) / 100 * 0.05, rel=1e-5)
