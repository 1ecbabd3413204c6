"""A model of the dot products that onnxruntime computes on an x86 CPU without VNNI, and of a network made of them.

For signed weights VPMADDUBSW multiplies unsigned by signed bytes and adds the products up in pairs, which saturate at
16 bits; the pairs then add up in 32 bits (MLAS, x86_64/QgemmU8X8KernelAvx2.S: vpmaddubsw, vpmaddwd by ones, vpaddd).
For unsigned weights both operands are widened first (vpmovzxbw), and pairs add up in 32 bits (vpmaddwd).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from amctq.data.inputs import IMAGE
from amctq.graph.float_graph import FloatGraph
from amctq.quant.integer import IntegerLayer
from amctq.quant.numerics import Float32Array, quantize

INT16 = np.iinfo(np.int16)
Dot = Callable[[NDArray[np.uint8], NDArray[np.int8]], NDArray[np.int64]]


def exact(columns: NDArray[np.uint8], weight: NDArray[np.int8]) -> NDArray[np.int64]:
    """Sums of products of (M, K) unsigned and (N, K) signed bytes, (M, N). Floats of 64 bits hold them exactly."""
    return (columns.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.int64)


def saturating(columns: NDArray[np.uint8], weight: NDArray[np.int8]) -> NDArray[np.int64]:
    """The same, but neighbours in K add up in pairs that saturate at 16 bits."""
    sums = exact(columns, weight)
    left, right = np.moveaxis(in_pairs(columns).astype(np.int32), 2, 0)
    for channel, pairs in enumerate(in_pairs(weight).astype(np.int32)):
        # No other pair can leave 16 bits, whatever the activations are.
        for index in np.flatnonzero(np.abs(pairs).sum(axis=1) * 255 > INT16.max):
            pair = left[:, index] * pairs[index, 0] + right[:, index] * pairs[index, 1]
            sums[:, channel] += np.clip(pair, INT16.min, INT16.max) - pair
    return sums


def in_pairs(values: NDArray[Any]) -> NDArray[Any]:
    """(M, K) as (M, K / 2, 2), a byte of zeros added where K is odd."""
    return np.pad(values, ((0, 0), (0, values.shape[1] % 2))).reshape(len(values), -1, 2)


def forward(
    graph: FloatGraph, layers: tuple[IntegerLayer, ...], images: Float32Array, dot: Dot
) -> dict[str, NDArray[Any]]:
    """Every tensor of the quantized network, placement ``ascend``, its Conv and Dense computed by ``dot``."""
    quantized = {item.layer.node: item for item in layers}
    folded = {item.layer.batch_norm_node for item in layers}
    values: dict[str, NDArray[Any]] = {**graph.arrays, IMAGE: images}
    for node in graph.model.graph.node:
        if node.name in quantized:
            item = quantized[node.name]
            values[item.layer.output] = _layer(node, item, values[item.layer.input], dot)
        elif node.name not in folded:
            read = {name: values[name] for name in node.input}
            outputs = ReferenceEvaluator(_alone(node)).run(None, read)
            assert isinstance(outputs, list)
            values[node.output[0]] = outputs[0]
    return values


def operands(
    node: onnx.NodeProto, item: IntegerLayer, x: Float32Array
) -> tuple[NDArray[np.uint8], NDArray[np.int8], tuple[int, int]]:
    """What a layer multiplies: (M, K) unsigned and (N, K) signed bytes, and height and width of its output.

    K stands in MLAS's order: kernel rows, kernel columns, input channels.
    """
    said = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    stride, padding = said.get("strides", [1])[0], said.get("pads", [0])[0]
    weight, qparams = item.weight.values, item.activation
    if weight.ndim == 2:
        weight, x = weight[:, :, None, None], x[:, :, None, None]
    q = (quantize(x, qparams.scale, qparams.offset).astype(np.int16) + 128).astype(np.uint8)
    edges = (padding, padding)
    padded = np.pad(q, ((0, 0), (0, 0), edges, edges), constant_values=qparams.zero_point_uint8)
    kernel = weight.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))  # type: ignore[call-overload]  # the stubs know one axis
    windows = windows[:, :, ::stride, ::stride]
    columns = windows.transpose(0, 2, 3, 4, 5, 1).reshape(-1, weight[0].size)
    return columns, weight.transpose(0, 2, 3, 1).reshape(len(weight), -1), windows.shape[2:4]


def _layer(node: onnx.NodeProto, item: IntegerLayer, x: Float32Array, dot: Dot) -> Float32Array:
    columns, weight, (height, width) = operands(node, item, x)
    assert item.bias is not None
    sums = dot(columns, weight) - item.activation.zero_point_uint8 * weight.astype(np.int64).sum(axis=1) + item.bias
    y = (sums * item.bias_scale.astype(np.float64)).astype(np.float32)
    return y if x.ndim == 2 else y.reshape(len(x), height, width, -1).transpose(0, 3, 1, 2)


def _alone(node: onnx.NodeProto) -> onnx.ModelProto:
    """A model of one node."""
    inputs, outputs = (
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in names]
        for names in (node.input, node.output)
    )
    graph = onnx.helper.make_graph([node], "alone", inputs, outputs)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
