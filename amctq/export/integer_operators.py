"""Operators other than layers, written so that onnxruntime computes them in integers.

Most of them need only quantized constants beside their quantized operands. HardSwish and HardSigmoid have no integer
kernels, and become additions and products; the quantizer behind an addition cuts off:

    HardSigmoid(x) = clip(x + β/α, 0, 1/α) · α: integers of the sum, whose scale is α times as large when they are read
    HardSwish(x) = x · HardSigmoid(x)

A BatchNormalization becomes a depthwise convolution, and so does an AveragePool whose windows all have the same size,
because that is faster. Their weights have an exact integer: 127 for each of the equal weights, ±127 for the only weight
of a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from amctq.choices import ActType
from amctq.export.weights_onnx import write_bias, write_dequantized
from amctq.graph.float_graph import FloatGraph, attributes_of
from amctq.graph.integer_operators import channels_of, is_convolution
from amctq.graph.rewrite import GraphWriter
from amctq.quant.batch_norm import IntegerBatchNorm, integer_batch_norm
from amctq.quant.numerics import SMALLEST, Float32Array, QParams, range_qparams

# Label of the constants that hold zero points; many tensors share one.
ZERO_POINT = "zero_point"

# onnxruntime's WeightBiasQuantization.
_QUANTIZED_AT_LOADING = frozenset({"Conv", "ConvTranspose", "Gemm"})


def channels_to_stay_in_float(node: onnx.NodeProto, graph: FloatGraph) -> int | None:
    """Channels of the input of a node that onnxruntime would quantize by itself; else None.

    It quantizes float weights between DequantizeLinear and QuantizeLinear, per tensor, when it loads the file. It does
    not touch a node that reads a DequantizeLinear with a scale for each channel.
    """
    weight = graph.arrays.get(node.input[1]) if node.op_type in _QUANTIZED_AT_LOADING else None
    if weight is None:
        return None
    attributes = attributes_of(node)
    if node.op_type == "Conv":
        return int(weight.shape[1]) * int(attributes.get("group", 1))
    return int(weight.shape[1 if node.op_type == "Gemm" and attributes.get("transB", 0) else 0])


def batch_norm_integers(node: onnx.NodeProto, graph: FloatGraph, input_scale: float) -> IntegerBatchNorm:
    """The integers of a BatchNormalization of the float graph that reads integers of this scale."""
    epsilon = attributes_of(node).get("epsilon", 1e-5)
    return integer_batch_norm(
        *(graph.arrays[name] for name in node.input[1:5]), epsilon=epsilon, input_scale=input_scale
    )


def zero_point(qparams: QParams, act_type: ActType) -> NDArray[Any]:
    """The zero point as ONNX stores it, a scalar of the type of the activations."""
    return np.asarray(
        np.uint8(qparams.zero_point_uint8) if act_type is ActType.UINT8 else np.int8(qparams.offset),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerOperators:
    """Writes operators with integer kernels into ``writer``.

    Attributes:
        writer: receives the nodes.
        graph: the float network.
        act_type: integer type of the activations.
    """

    writer: GraphWriter
    graph: FloatGraph
    act_type: ActType

    def write(self, node: onnx.NodeProto, inputs: Sequence[str], qparams: QParams) -> tuple[str, float]:
        """Write a node of the float graph.

        Args:
            node: the node.
            inputs: its inputs, dequantized where they are activations.
            qparams: of its first activation.

        Returns:
            The tensor that is to be quantized, and by how much its scale exceeds that of the node's output.
        """
        write = {
            "HardSigmoid": self._hard_sigmoid,
            "HardSwish": self._hard_swish,
            "AveragePool": self._average_pool if self._is_convolution(node) else None,
            "BatchNormalization": self._batch_norm,
        }.get(node.op_type)
        if write is not None:
            return write(node, inputs[0], qparams)
        op, constants = (
            node.op_type,
            {name: self.graph.arrays[name] for name in node.input if name in self.graph.arrays},
        )
        if op == "Sub":
            op, constants = "Add", {name: -array for name, array in constants.items()}
        elif op == "Div":
            op, constants = "Mul", {name: 1 / array for name, array in constants.items()}
        if not constants:
            self.writer.copy(node, inputs)
            return str(node.output[0]), 1.0
        read = [
            self._constant(f"{node.output[0]}.constant", constants[name]) if name in constants else tensor
            for name, tensor in zip(node.input, inputs, strict=True)
        ]
        return self.writer.node(op, node.name, read, node.output[0]), 1.0

    def _is_convolution(self, node: onnx.NodeProto) -> bool:
        return is_convolution(node) and channels_of(node.input[0], self.graph) is not None

    def _constant(self, name: str, values: Float32Array) -> str:
        """Add a quantized constant with its DequantizeLinear; returns the float tensor's name."""
        values = values.astype(np.float32)
        qparams = range_qparams(float(values.min()), float(values.max()), smallest=SMALLEST)
        steps = np.rint(values / np.float32(qparams.scale))
        zero = zero_point(qparams, self.act_type)
        info = np.iinfo(zero.dtype)
        integers = np.clip(steps + np.float32(zero), info.min, info.max).astype(zero.dtype)
        stored = self.writer.initializer(f"{name}.q", integers)
        return self._dequantized(name, stored, qparams)

    def _dequantized(self, name: str, integers: str, qparams: QParams) -> str:
        return self.writer.node("DequantizeLinear", f"{name}.dq", [integers, *self._scale(name, qparams)], f"{name}.dq")

    def _scale(self, name: str, qparams: QParams) -> list[str]:
        return [
            self.writer.initializer(f"{name}.scale", np.asarray(qparams.scale, np.float32)),
            self.writer.shared(ZERO_POINT, zero_point(qparams, self.act_type)),
        ]

    def _hard_sigmoid(self, node: onnx.NodeProto, tensor: str, _qparams: QParams) -> tuple[str, float]:
        attributes = attributes_of(node)
        alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
        return self._shifted(node, tensor, beta / alpha), 1.0 / alpha

    def _shifted(self, node: onnx.NodeProto, tensor: str, shift: float) -> str:
        name = f"{node.output[0]}.shifted"
        constant = self._constant(f"{name}.constant", np.asarray(shift, np.float32))
        return self.writer.node("Add", name, [tensor, constant], name)

    def _hard_swish(self, node: onnx.NodeProto, tensor: str, _qparams: QParams) -> tuple[str, float]:
        shifted, gate = self._shifted(node, tensor, 3.0), f"{node.output[0]}.gate"
        scale = self._scale(f"{gate}.sum", range_qparams(0.0, 6.0))
        integers = self.writer.node("QuantizeLinear", f"{gate}.q", [shifted, *scale], f"{gate}.q")
        factor = self._dequantized(gate, integers, range_qparams(0.0, 1.0))
        return self.writer.node("Mul", node.name, [tensor, factor], node.output[0]), 1.0

    def _average_pool(self, node: onnx.NodeProto, tensor: str, _qparams: QParams) -> tuple[str, float]:
        attributes = attributes_of(node)
        kernel, channels = list(attributes["kernel_shape"]), channels_of(node.input[0], self.graph)
        assert channels is not None
        values = self.writer.initializer(f"{node.output[0]}.weight.q", np.full((channels, 1, *kernel), 127, np.int8))
        scale = np.asarray([1.0 / (127 * np.prod(kernel))], np.float32)
        weight = write_dequantized(self.writer, f"{node.output[0]}.weight", values, scale, np.int8(0))
        kept = {key: attributes[key] for key in ("kernel_shape", "pads", "strides", "dilations") if key in attributes}
        return self.writer.node("Conv", node.name, [tensor, weight], node.output[0], group=channels, **kept), 1.0

    def _batch_norm(self, node: onnx.NodeProto, tensor: str, qparams: QParams) -> tuple[str, float]:
        norm, name = batch_norm_integers(node, self.graph, qparams.scale), node.output[0]
        channels, kernel = len(norm.bias), [1] * (len(self.graph.shapes[node.input[0]]) - 2)
        stored = self.writer.initializer(f"{name}.weight.q", norm.weight.values.reshape(channels, 1, *kernel))
        weight = write_dequantized(self.writer, f"{name}.weight", stored, norm.weight.scale, np.int8(0))
        shift = write_bias(self.writer, f"{name}.bias", norm.bias, norm.bias_scale)
        return self.writer.node("Conv", node.name, [tensor, weight, shift], name, group=channels), 1.0
