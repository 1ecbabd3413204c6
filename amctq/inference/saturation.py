"""Whether onnxruntime computes a file exactly on an x86 CPU without VNNI, where sums of two products saturate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from amctq.graph.float_graph import attributes_of
from amctq.quant.pair_sums import are_exact, is_depthwise, none_is_wide

_LAYERS = {"Conv", "MatMul", "Gemm"}
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}


def may_saturate(model: onnx.ModelProto) -> bool:
    """Whether a sum of two products may be cut off at 16 bits: whatever is not known to be exact.

    Exact are int8 weights that no two neighbours make too large, uint8 weights, and products of uint8 activations.
    """
    graph = model.graph
    constants = {item.name: item for item in graph.initializer} | {
        node.output[0]: node.attribute[0].t
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].HasField("t")
    }
    producers = {output: node for node in graph.node for output in node.output}
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    layers: dict[str, list[onnx.NodeProto]] = {}
    for name, layer in _weights(graph, producers):
        layers.setdefault(name, []).append(layer)
    return (
        len(model.functions) > 0
        or any(attribute.HasField("g") for node in graph.node for attribute in node.attribute)
        or any(
            _may_be_cut_off(numpy_helper.to_array(item), layer)
            for name, item in constants.items()
            if item.data_type == TensorProto.INT8 and not _become_floats(name, consumers)
            for layer in layers.get(name, [None])
        )
        or any(_yields_int8(node, constants) for node in graph.node)
    )


def _weights(graph: onnx.GraphProto, producers: Mapping[str, onnx.NodeProto]) -> Iterator[tuple[str, onnx.NodeProto]]:
    """By what a layer's second input dequantizes, the layer."""
    for node in graph.node:
        source = producers.get(node.input[1]) if node.op_type in _LAYERS else None
        if source is not None and source.op_type == "DequantizeLinear":
            yield source.input[0], node


def _become_floats(name: str, consumers: Mapping[str, Sequence[onnx.NodeProto]]) -> bool:
    """Whether integers are only stored: the weights of a layer that is computed in float, or the rows of a table."""
    return name in consumers and all(
        (node.op_type == "Cast" and attributes_of(node)["to"] in _FLOATS)
        or (node.op_type == "Gather" and _become_floats(node.output[0], consumers))
        for node in consumers[name]
    )


def _may_be_cut_off(values: NDArray[np.int8], layer: onnx.NodeProto | None) -> bool:
    if layer is None or (layer.op_type != "Conv" and values.ndim != 2):  # its neighbours are not known
        return not none_is_wide(values)
    attributes = attributes_of(layer)
    if layer.op_type == "Conv":
        return not is_depthwise(attributes.get("group", 1), values.shape) and not are_exact(values)
    channels_first = layer.op_type == "Gemm" and attributes.get("transB", 0)
    return not are_exact(values if channels_first else values.T)


def _yields_int8(node: onnx.NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    """Whether a node makes integers that may be the weights of another one: float constants, or a second activation."""
    if node.op_type != "QuantizeLinear":
        return False
    zero = constants.get(node.input[2]) if len(node.input) > 2 else None
    return (zero is not None and zero.data_type == TensorProto.INT8) or bool(attributes_of(node).get("output_dtype"))
