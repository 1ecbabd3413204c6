"""QDQ ONNX: QuantizeLinear/DequantizeLinear pairs around the inputs of every quantized layer.

Placement ``ascend``: the inputs of Conv and Dense are quantized, as AMCT does it; everything between stays float.

    x ─ QuantizeLinear ─ DequantizeLinear ─┐
    int8 weight ────── DequantizeLinear ───┤ Conv/Gemm ─ y
    int32 bias ─────── DequantizeLinear ───┘
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from amctq.choices import ActType, WeightType
from amctq.export.opset import graph_for
from amctq.export.weights_onnx import write_bias, write_weight
from amctq.quant.integer import IntegerLayer
from amctq.quant.numerics import QParams
from amctq.quant.rewrite import GraphWriter
from amctq.quant.topology import FloatGraph


def build_qdq(
    graph: FloatGraph,
    layers: tuple[IntegerLayer, ...],
    *,
    act_type: ActType = ActType.UINT8,
    weight_type: WeightType = WeightType.INT8,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Write the quantized network, batch dynamic; opset 17, or 21 with INT4 weights.

    Args:
        graph: the float network; it is not changed.
        layers: the layers to quantize; all others keep their float weights.
        act_type: integer type of the activations.
        weight_type: integer type of the weights, where their width allows it.
        metadata: stands in the file as metadata_props.
    """
    writer = GraphWriter(graph_for(graph, weight_type))
    dequantized: dict[tuple[str, QParams], str] = {}
    for item in layers:
        name = item.layer.name
        # Layers that read one tensor in the same way share one pair.
        key = (item.layer.input, item.activation)
        if key not in dequantized:
            dequantized[key] = _activation(writer, item, act_type)
        inputs = [
            dequantized[key],
            write_weight(writer, f"{name}.weight", item.weight, weight_type),
        ]
        if item.bias is not None:
            inputs.append(write_bias(writer, f"{name}.bias", item.bias, item.bias_scale))
        writer.replace(item.layer, inputs)
    model = writer.finish(graph.model.graph.output)
    helper.set_model_props(model, dict(metadata or {}))
    return model


def _activation(writer: GraphWriter, item: IntegerLayer, act_type: ActType) -> str:
    name, qparams = f"{item.layer.name}.input", item.activation
    zero = np.uint8(qparams.zero_point_uint8) if act_type is ActType.UINT8 else np.int8(qparams.offset)
    scale_and_zero = [
        writer.initializer(f"{name}.scale", np.asarray(qparams.scale, np.float32)),
        writer.initializer(f"{name}.zero_point", np.asarray(zero)),
    ]
    integer = writer.node("QuantizeLinear", f"{name}.quant", [item.layer.input, *scale_and_zero], f"{name}.quantized")
    return writer.node("DequantizeLinear", f"{name}.dequant", [integer, *scale_and_zero], f"{name}.dequantized")
