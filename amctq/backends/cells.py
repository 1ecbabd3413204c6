"""Quantized layers as MindSpore cells: int8 weights that are dequantized in the layer, inputs on their grid.

    x ──────────── clip(rint(x / s), -128 - o, 127 - o) × s ──┐
    int8 weight ── cast × scale of the channel ───────────────┤ Conv2D/MatMul ── + bias on the int32 grid ── y

Parameters keep the names of the float layer, and NumPy computes their values. So a cell computes what the QDQ file
computes.
"""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from amctq.quant.integer import IntegerLayer
from amctq.quant.numerics import QParams


class FakeQuantize(nn.Cell):
    """Fake quantization of a tensor of any shape; ties go to even, as in ActsULQ and QuantizeLinear."""

    def __init__(self, qparams: QParams) -> None:
        super().__init__(auto_prefix=False)
        self.scale = float(np.float32(qparams.scale))
        self.low = float(-128 - qparams.offset)
        self.high = float(127 - qparams.offset)

    def construct(self, x: Tensor) -> Tensor:
        """(q - o) × s for every element."""
        return ops.clamp(ops.round(x / self.scale), self.low, self.high) * self.scale


class _QuantizedLayer(nn.Cell):
    """What both kinds of layer share. A subclass has the product of input and weight.

    Args:
        item: the integers of the layer.
        bias_add: the operator that adds the bias.
        activation: the activation inside the layer, or None.
    """

    def __init__(self, item: IntegerLayer, *, bias_add: Any, activation: Any = None) -> None:
        super().__init__(auto_prefix=False)
        name, values = item.layer.name, item.weight.values
        columns = (-1, *(1,) * (values.ndim - 1))
        self.quantize = FakeQuantize(item.activation)
        self.weight = Parameter(Tensor(values), name=f"{name}.weight", requires_grad=False)
        self.scale = Parameter(Tensor(item.weight.scale.reshape(columns)), name=f"{name}.scale", requires_grad=False)
        self.has_bias = item.bias is not None
        if item.bias is not None:
            bias = (item.bias * item.bias_scale.astype(np.float64)).astype(np.float32)
            self.bias = Parameter(Tensor(bias), name=f"{name}.bias", requires_grad=False)
        self.bias_add = bias_add
        self.activates = activation is not None
        self.activation = activation

    def construct(self, x: Tensor) -> Tensor:
        """The product, the bias and the activation inside the layer."""
        y = self.product(self.quantize(x), ops.cast(self.weight, mindspore.float32) * self.scale)
        if self.has_bias:
            y = self.bias_add(y, self.bias)
        if self.activates:
            y = self.activation(y)
        return y


class QuantizedConv2d(_QuantizedLayer):
    """Replaces an nn.Conv2d, with its stride, padding and groups; (N, C, H, W) to (N, C_out, H', W')."""

    def __init__(self, layer: Any, item: IntegerLayer) -> None:
        super().__init__(item, bias_add=layer.bias_add)
        self.conv2d = layer.conv2d  # MindIR contains the name of this attribute

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution."""
        return self.conv2d(x, weight)


class QuantizedDense(_QuantizedLayer):
    """Replaces an nn.Dense, with its activation; (N, C) to (N, C_out)."""

    def __init__(self, layer: Any, item: IntegerLayer) -> None:
        super().__init__(item, bias_add=ops.BiasAdd(), activation=layer.activation)
        self.matmul = layer.matmul  # MindIR contains the name of this attribute

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """The matrix product."""
        return self.matmul(x, weight)
