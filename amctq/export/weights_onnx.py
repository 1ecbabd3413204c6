"""Writing integer weights and biases into an ONNX file, each with its DequantizeLinear.

    INT8    int8 initializer ─ DequantizeLinear ─
    UINT8   uint8 initializer, zero point 128 ─ DequantizeLinear ─
    INT4    int4 initializer, two to a byte ─ Cast to int8 ─ DequantizeLinear ─
    AMX     int8 initializer, zero point -1 ─ DequantizeLinear ─

All four have the same values. onnxruntime folds the Cast when it loads the file, and runs the layer with its int8
kernels; without the Cast, a layer with INT4 weights would run in float.

UINT8 is for x86 CPUs without VNNI. There, onnxruntime's kernels (MLAS) for uint8 times int8 add pairs of products with
VPMADDUBSW, which saturates at 16 bits (mlas/lib/x86_64/QgemmU8X8KernelAvx2.S, macro MultiplyAccumulateRowU8S8Avx2; the
same in QgemmU8X8KernelAvx512Core.S and, for convolutions, ConvSymKernelAvx2.S). The kernels for uint8 times uint8 widen
both to 16 bits (VPMOVZXBW) and add pairs in 32 bits (VPMADDWD, macro MultiplyAccumulateRowU8U8Avx2). Nothing saturates
there, at about half the speed. So a layer has uint8 weights only where two of its neighbours can saturate
(quant/pair_sums.py). Those of depthwise convolutions cannot, whose kernel adds in 32 bits, and takes 1.2 to 1.5 times
as long with uint8.

AMX is for CPUs with these instructions: onnxruntime's convolutions use them for weights with a zero point only, and a
layer gains from 512 products to an output on; with fewer it loses. What is -128 has no place there, and stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray

from amctq.choices import WeightType
from amctq.errors import listed
from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer
from amctq.quant.layers import QuantizableLayer
from amctq.quant.numerics import Float32Array, dequantize_bias
from amctq.quant.pair_sums import are_exact, none_is_wide

_PRODUCTS_FOR_AMX = 512


def weight_type_of(item: IntegerLayer, wanted: WeightType) -> WeightType:
    """The type that stores a weight: ``wanted`` where it fits (UINT8: where int8 would saturate), else INT8."""
    weight = item.weight
    fits = {
        WeightType.INT4: weight.bits <= 4,
        WeightType.UINT8: weight.bits == 8 and not _adds_exactly(item.layer, weight.values),
        WeightType.AMX: _gains_by_amx(item) and int(weight.values.min()) > -128,
    }
    return wanted if fits.get(wanted) else WeightType.INT8


def missed_amx(layers: Iterable[IntegerLayer], wanted: WeightType) -> str | None:
    """The warning of layers that AMX would make faster and whose integers leave no room for it; None without such."""
    if wanted is not WeightType.AMX:
        return None
    names = [item.layer.name for item in layers if _gains_by_amx(item) and weight_type_of(item, wanted) is not wanted]
    if not names:
        return None
    found = f"the weights of {listed(names, 3)} hold -128, and then AMX is not used"
    return f"--isa amx: {found}; --arq-rule narrow leaves it out"


def _gains_by_amx(item: IntegerLayer) -> bool:
    return bool(item.weight.values[0].size >= _PRODUCTS_FOR_AMX)


def _adds_exactly(layer: QuantizableLayer, values: NDArray[np.int8]) -> bool:
    return are_exact(values) if layer.channel_axis is not None else none_is_wide(values)


def write_weight(writer: GraphWriter, item: IntegerLayer, wanted: WeightType) -> str:
    """Add a layer's weight and its DequantizeLinear, per channel or per tensor; returns the float tensor's name."""
    name, weight, layer = f"{item.layer.name}.weight", item.weight, item.layer
    kind = weight_type_of(item, wanted)
    stored = layer.as_stored(weight.values)
    if kind is WeightType.INT4:
        packed = writer.tensor(f"{name}.q", _int4(stored))
        values = writer.node("Cast", f"{name}.cast", [packed], f"{name}.int8", to=onnx.TensorProto.INT8)
    elif kind is WeightType.UINT8:
        values = writer.initializer(f"{name}.q", stored.view(np.uint8) ^ np.uint8(0x80))
    elif kind is WeightType.AMX:
        values = writer.initializer(f"{name}.q", stored - np.int8(1))
    else:
        values = writer.initializer(f"{name}.q", stored)
    zero = {WeightType.UINT8: np.uint8(128), WeightType.AMX: np.int8(-1)}.get(kind, np.int8(0))
    return write_dequantized(writer, name, values, weight.scale, zero, axis=layer.channel_axis or 0)


def write_folded_weight(writer: GraphWriter, item: IntegerLayer, wanted: WeightType) -> tuple[str, ...]:
    """Add a layer's weight, stored in integers, and its bias, for a layer that is computed in float.

    onnxruntime folds the Cast and the Mul when it loads the file, but no DequantizeLinear. Its fast float convolutions
    need constant weights.

    Returns:
        The names of the float weight, and of the bias where the layer has one.
    """
    name, layer = f"{item.layer.name}.weight", item.layer
    integers = layer.as_stored(item.weight.values)
    if weight_type_of(item, wanted) is WeightType.INT4:
        stored = writer.tensor(f"{name}.q", _int4(integers))
    else:
        stored = writer.initializer(f"{name}.q", integers)
    values = writer.node("Cast", f"{name}.cast", [stored], f"{name}.float", to=onnx.TensorProto.FLOAT)
    scale = item.weight.scale
    if scale.size > 1:
        sizes = [1] * item.weight.values.ndim
        sizes[layer.channel_axis or 0] = scale.size
        scale = scale.reshape(sizes)
    factor = writer.initializer(f"{name}.scale", scale)
    written = (writer.node("Mul", f"{name}.mul", [values, factor], f"{name}.dq"),)
    if item.bias is None:
        return written
    return (*written, write_float_bias(writer, f"{layer.name}.bias", item.bias, item.bias_scale))


def write_bias(writer: GraphWriter, name: str, bias: NDArray[np.int32], scale: Float32Array) -> str:
    """Add an int32 bias in units of ``scale``; returns the float tensor's name."""
    # Without a zero point it is 0; an int32 zero point would take four bytes for each channel.
    return write_dequantized(writer, name, writer.initializer(f"{name}.q", bias), scale, None)


def write_float_bias(writer: GraphWriter, name: str, bias: NDArray[np.int32], scale: Float32Array) -> str:
    """Add the same bias as float32; returns the tensor's name."""
    return writer.initializer(name, dequantize_bias(bias, scale))


def write_dequantized(
    writer: GraphWriter, name: str, values: str, scale: Float32Array, zero: np.generic | None, *, axis: int = 0
) -> str:
    """Add a DequantizeLinear on integers with ``scale`` of shape (C,) or (1,); returns the float tensor's name."""
    if scale.shape[0] == 1:
        scale = scale.reshape(())
    inputs = [values, writer.initializer(f"{name}.scale", scale)]
    if zero is not None:
        inputs.append(writer.shared("weight_zero_point", np.full(scale.shape, zero)))
    attributes = {"axis": axis} if scale.ndim else {}
    return writer.node("DequantizeLinear", f"{name}.dq", inputs, f"{name}.dq", **attributes)


def _int4(values: NDArray[np.int8]) -> onnx.TensorProto:
    """Integers -8…7 as ONNX stores INT4: two in a byte, the first in the low half."""
    halves = values.ravel().view(np.uint8) & np.uint8(15)
    if halves.size % 2:
        halves = np.append(halves, np.uint8(0))
    packed = halves[0::2] | halves[1::2] << np.uint8(4)
    return onnx.TensorProto(data_type=onnx.TensorProto.INT4, dims=values.shape, raw_data=packed.tobytes())
