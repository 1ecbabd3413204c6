"""Which products of a deploy file have two weights of 4 bits in a byte: those whose input has twice as many channels.

Nothing else in the file says so. The channels are those of the tensors' shapes, for which every operator of an NPU
counts as one that keeps the shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from amctq.errors import InputError
from amctq.graph.float_graph import attributes_of
from amctq.quant.packing import unpack_int4

_PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
# Shape inference reads the values of small constants, such as the sizes of a Reshape.
_SMALL = 1 << 10
# From this opset on, onnx follows the values of sizes that a graph computes, as PyTorch's export of view() does. Of the
# operators of AMCT's files, opset 11, these have an input there that was an attribute.
_FOLLOWED = 17
_BECOMES_INPUT = {"Unsqueeze": "axes", "Squeeze": "axes", "ReduceSum": "axes", "Split": "split"}


def unpacked_weights(model: onnx.ModelProto) -> Mapping[str, NDArray[np.int8]]:
    """By the output of a product with packed weights, its weight with an integer in each int8.

    Args:
        model: a deploy file. Where the shape of a tensor cannot be inferred, weights are taken as they stand.

    Raises:
        InputError: a product has weights for another number of channels than its input has.
    """
    stored = {
        item.name: item
        for item in model.graph.initializer
        if item.data_type == TensorProto.INT8 and len(item.dims) >= 2
    }
    products = [node for node in model.graph.node if node.op_type in _PRODUCTS and node.input[1] in stored]
    sizes = {name: list(item.dims) for name, item in stored.items()}
    found: dict[str, NDArray[np.int8]] = {}
    decided: set[str] = set()
    # A MatMul with packed weights has no shape until they are known to be packed, nor has what follows it.
    while decided != (decided := decided | set(_decide(model, products, stored, sizes, found, decided))):
        pass
    return found


def _decide(
    model: onnx.ModelProto,
    products: list[onnx.NodeProto],
    stored: Mapping[str, TensorProto],
    sizes: dict[str, list[int]],
    found: dict[str, NDArray[np.int8]],
    decided: set[str],
) -> Iterator[str]:
    """Look at the products whose input has a known shape; yields their outputs."""
    shapes = _shapes(model, sizes)
    for node in products:
        shape, output = shapes.get(node.input[0], ()), node.output[0]
        if output in decided or not shape:
            continue
        axis, channels = _input_axis(node), shape[1 if node.op_type == "Conv" else -1]
        if not channels:
            continue
        yield output
        held = stored[node.input[1]].dims[axis] * attributes_of(node).get("group", 1)
        if channels == 2 * held:
            weight = numpy_helper.to_array(stored[node.input[1]])
            found[output] = unpack_int4(weight, axis=axis)
            sizes[node.input[1]] = list(found[output].shape)
        elif channels != held:
            message = f"{node.name}: weights for {held} channels, and its input has {channels}"
            raise InputError(message, hint="the file is damaged, or no deploy model of AMCT or amctq")


def _input_axis(node: onnx.NodeProto) -> int:
    if node.op_type == "Conv":
        return 1
    return -1 if attributes_of(node).get("transB", 0) else -2


def _shapes(model: onnx.ModelProto, sizes: Mapping[str, list[int]]) -> Mapping[str, tuple[int, ...]]:
    """The shapes for a batch of one; 0 for a size that is not known."""
    graph = model.graph
    constants = [item for item in graph.initializer if item.name not in sizes]
    small = [item for item in constants if math.prod(item.dims) <= _SMALL]
    known: dict[str, tuple[int, Any]] = {name: (TensorProto.FLOAT, dims) for name, dims in sizes.items()}
    known |= {item.name: (item.data_type, list(item.dims)) for item in constants if math.prod(item.dims) > _SMALL}
    inputs = [_of_one(item) for item in graph.input if item.name not in known]
    inputs += [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in known.items()]
    opset = max((item.version for item in model.opset_import if not item.domain), default=_FOLLOWED)
    nodes = [followed for node in graph.node for followed in _followed(node, opset)]
    outputs = [onnx.ValueInfoProto(name=item.name) for item in graph.output]  # a symbolic batch would hide their shapes
    light = helper.make_model(
        helper.make_graph(nodes, "shapes", inputs, outputs, initializer=small),
        opset_imports=[helper.make_opsetid("", max(opset, _FOLLOWED))],
        ir_version=model.ir_version,
    )
    inferred = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    return {
        item.name: tuple(size.dim_value for size in item.type.tensor_type.shape.dim)
        for item in [*inferred.value_info, *inferred.input]
    }


def _followed(node: onnx.NodeProto, opset: int) -> list[onnx.NodeProto]:
    """A node as shape inference gets it, with the constants that it reads."""
    if node.op_type.startswith("Ascend"):
        return [helper.make_node("Identity", node.input[:1], node.output[:1])]
    key = _BECOMES_INPUT.get(node.op_type)
    attributes = attributes_of(node)
    if opset >= _FOLLOWED or key is None or key not in attributes:
        return [node]
    name = f"{node.output[0]}.{key}"
    value = numpy_helper.from_array(np.asarray(attributes.pop(key), np.int64), name)
    return [
        helper.make_node("Constant", [], [name], value=value),
        helper.make_node(node.op_type, [*node.input, name], list(node.output), **attributes),
    ]


def _of_one(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """An input of the graph with a batch of one where the batch is dynamic."""
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    batch = copy.type.tensor_type.shape.dim[:1]
    if batch and not batch[0].dim_value:
        batch[0].dim_value = 1
    return copy
