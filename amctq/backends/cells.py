"""Quantized layers as MindSpore cells: int8 weights dequantized at the layer, inputs put onto their grid.

    x ──────────── clip(rint(x / s), -128 - o, 127 - o) × s ──┐
    int8 weight ── cast × scale of the channel ───────────────┤ Conv2D/MatMul ── + bias on the int32 grid ── y

Parameters keep the float layer's names, and their values are NumPy's: a cell computes what the QDQ file computes.
"""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from amctq.quant.integer import IntegerLayer
from amctq.quant.numerics import QParams


class FakeQuantize(nn.Cell):
    """A tensor of any shape on the grid of ``qparams``; ties go to even, as in ActsULQ and QuantizeLinear."""

    def __init__(self, qparams: QParams) -> None:
        super().__init__(auto_prefix=False)
        self.scale = float(np.float32(qparams.scale))
        self.low = float(-128 - qparams.offset)
        self.high = float(127 - qparams.offset)

    def construct(self, x: Tensor) -> Tensor:
        """(q - o) × s for every element."""
        return ops.clamp(ops.round(x / self.scale), self.low, self.high) * self.scale


class _QuantizedLayer(nn.Cell):
    """What both kinds have in common: the parameters.

    Args:
        item: the numbers.
    """

    def __init__(self, item: IntegerLayer) -> None:
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

    def dequantized_weight(self) -> Tensor:
        """The weight as float32, (C_out, …)."""
        return ops.cast(self.weight, mindspore.float32) * self.scale


class QuantizedConv2d(_QuantizedLayer):
    """In the place of an nn.Conv2d; (N, C, H, W) to (N, C_out, H', W').

    Args:
        layer: the nn.Conv2d, whose stride, padding and groups it takes over.
        item: its numbers, BatchNorm folded in.
    """

    def __init__(self, layer: Any, item: IntegerLayer) -> None:
        super().__init__(item)
        self.conv2d = layer.conv2d
        self.bias_add = layer.bias_add

    def construct(self, x: Tensor) -> Tensor:
        """The convolution."""
        y = self.conv2d(self.quantize(x), self.dequantized_weight())
        if self.has_bias:
            y = self.bias_add(y, self.bias)
        return y


class QuantizedDense(_QuantizedLayer):
    """In the place of an nn.Dense; (N, C) to (N, C_out).

    Args:
        layer: the nn.Dense, whose activation it takes over.
        item: its numbers.
    """

    def __init__(self, layer: Any, item: IntegerLayer) -> None:
        super().__init__(item)
        self.matmul = layer.matmul
        self.bias_add = ops.BiasAdd()
        self.activates = layer.activation is not None
        self.activation = layer.activation

    def construct(self, x: Tensor) -> Tensor:
        """The product, and the activation that stands inside the layer."""
        y = self.matmul(self.quantize(x), self.dequantized_weight())
        if self.has_bias:
            y = self.bias_add(y, self.bias)
        if self.activates:
            y = self.activation(y)
        return y
