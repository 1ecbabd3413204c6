"""Quantized layers in MindSpore: int8 weights that are dequantized in the layer, inputs on their grid.

    x ──────────── clip(rint(x / s), -128 - o, 127 - o) × s ──┐
    int8 weight ── cast × scale of the channel ───────────────┤ the layer's operator ── + bias on the int32 grid ── y

A cell takes the place of the layer's operator, and the int8 weight that of the float weight, under its name. Where
something else reads the float weight too, this stays, and the cell has the int8 weight. NumPy computes their values. So
the layer computes what the QDQ file computes.
"""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from amctq.backends.exchange import LayerPlace
from amctq.backends.replacement import Slot
from amctq.quant.integer import IntegerLayer
from amctq.quant.numerics import QParams, dequantize_bias


class FakeQuantize(nn.Cell):
    """Fake quantization of a tensor of any shape; ties go to even, as in ActsULQ and QuantizeLinear."""

    def __init__(self, qparams: QParams) -> None:
        super().__init__(auto_prefix=False)
        self.divide = ops.RealDiv()  # on a CPU three times as fast as the operator /, with the same bits
        self.scale = float(np.float32(qparams.scale))
        self.low = float(-128 - qparams.offset)
        self.high = float(127 - qparams.offset)

    def construct(self, x: Tensor) -> Tensor:
        """(q - o) × s for every element."""
        return ops.clamp(ops.round(self.divide(x, self.scale)), self.low, self.high) * self.scale


class QuantizedProduct(nn.Cell):
    """Takes the place of a layer's operator, whatever convolution or matrix product it is.

    Args:
        item: the integers of the layer.
        operator: the operator.
        weight: the int8 weight, where the layer does not hand it over; None where it does.
        adds_bias: add the layer's bias here, because the layer itself does not.
        output: quantizes the result; None where it stays as it is.
    """

    def __init__(
        self,
        item: IntegerLayer,
        operator: Any,
        *,
        weight: Parameter | None,
        adds_bias: bool,
        output: QParams | None = None,
    ) -> None:
        super().__init__(auto_prefix=False)
        name, layer = item.layer.name, item.layer
        shape = [1] * item.weight.values.ndim
        if layer.channel_axis is not None:
            shape[layer.channel_axis] = -1
        self.quantize = FakeQuantize(item.activation)
        self.scale = Parameter(Tensor(item.weight.scale.reshape(shape)), name=f"{name}.scale", requires_grad=False)
        self.operator = operator  # MindIR contains the name of this attribute
        self.has_weight = weight is not None
        if weight is not None:
            self.weight = weight
        self.adds_bias = adds_bias and item.bias is not None
        if adds_bias and item.bias is not None:
            bias = dequantize_bias(item.bias, item.bias_scale)
            columns = bias if layer.kind.is_dense else bias.reshape(-1, *shape[2:])
            self.bias = Parameter(Tensor(columns), name=f"{name}.bias", requires_grad=False)
        self.quantizes_output = output is not None
        if output is not None:
            self.quantize_output = FakeQuantize(output)

    def construct(self, x: Tensor, weight: Tensor, *others: Any) -> Tensor:
        """The operator's result with the quantized input and the quantized weight.

        ``others`` are further operands, such as the shape of a transposed convolution.
        """
        if self.has_weight:
            weight = self.weight
        x = self.quantize(ops.cast(x, mindspore.float32))
        y = self.operator(x, ops.cast(weight, mindspore.float32) * self.scale, *others)
        if self.adds_bias:
            y = y + self.bias
        if self.quantizes_output:
            y = self.quantize_output(y)
        return y


class FoldedNorm(nn.Cell):
    """Takes the place of the operator of a folded BatchNorm; its result is its input, quantized if asked for."""

    def __init__(self, output: QParams | None) -> None:
        super().__init__(auto_prefix=False)
        self.quantizes_output = output is not None
        if output is not None:
            self.quantize_output = FakeQuantize(output)

    def construct(self, x: Tensor, *_: Any) -> tuple[Tensor]:
        """The first result of BatchNorm; nobody reads the others."""
        if self.quantizes_output:
            x = self.quantize_output(x)
        return (x,)


def quantized_layer(item: IntegerLayer, place: LayerPlace, output: QParams | None) -> dict[Slot, Any]:
    """What takes the places of a layer's operator and parameters, and of the operator of its BatchNorm.

    Args:
        item: the integers of the layer.
        place: where the network computes it.
        output: how its result is quantized; None where it is not.
    """
    layer, substitutes = item.layer, {}
    replaced = None if place.shares_weight else place.weight
    weight = Parameter(
        Tensor(layer.as_stored(item.weight.values)),
        name=f"{layer.name}.int8" if replaced is None else layer.weight,
        requires_grad=False,
    )
    if replaced is not None:
        substitutes[replaced] = weight
    # The result of the operator is that of the layer if the bias is added before it is quantized.
    adds_bias = place.bias is None or (output is not None and place.norm is None)
    if place.bias is not None and item.bias is not None:
        bias = dequantize_bias(item.bias, item.bias_scale)
        values = np.zeros_like(bias) if adds_bias else bias
        substitutes[place.bias] = Parameter(Tensor(values), name=layer.bias, requires_grad=False)
    substitutes[place.operator] = QuantizedProduct(
        item,
        place.operator.value,
        weight=weight if replaced is None else None,
        adds_bias=adds_bias,
        output=output if place.norm is None else None,
    )
    if place.norm is not None:
        substitutes[place.norm] = FoldedNorm(output)
    return substitutes
