"""Deploy ONNX: what ATC makes a model for an Ascend NPU of (docs/en/reference.md, "Deploy ONNX").

    x ─ AscendQuant ─ int8 ─┐
    int8 weight ────────────┤ Conv/Gemm ─ int32 ─ AscendDequant ─ y
    int32 bias ─────────────┘                          │
    uint64: scale_d × scale_w as float32 in bits 0…31 ─┘

No zero point stands in the bias: sums are those of ``q - offset``, for which CANN corrects the bias when it compiles,
and padding is real zero. Layers that read one tensor on one scale share an AscendQuant. Nobody but ATC takes such a
file; what it means stands in ascend_lowering.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from amctq.export.shared_inputs import layers_on_shared_inputs
from amctq.graph.float_graph import FloatGraph
from amctq.graph.opset import deploy_graph
from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer
from amctq.quant.layers import LayerKind
from amctq.quant.numerics import Float32Array, QParams


def build_ascend(
    graph: FloatGraph, layers: tuple[IntegerLayer, ...], *, metadata: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """Write the quantized network, batch dynamic; opset 11, or 17 where an operator has changed since.

    Args:
        graph: the float network; it is not changed.
        layers: the layers to quantize; all others keep their float weights.
        metadata: stands in the file as metadata_props.
    """
    graph = deploy_graph(graph)
    writer = GraphWriter(graph, (item.layer for item in layers))
    for node, item, integers in layers_on_shared_inputs(writer, layers, _quantize):
        layer, inputs, attributes = item.layer, [integers], {}
        values = item.weight.values
        if layer.kind is LayerKind.DENSE:  # ATC takes weights of shape (C_in, C_out)
            values, attributes = np.ascontiguousarray(values.T), {"transB": 0}
        inputs.append(writer.initializer(layer.weight, values))
        if item.bias is not None:
            inputs.append(writer.initializer(layer.bias or f"{layer.name}.bias", item.bias))
        sums = writer.layer(layer, node, inputs, f"{layer.name}.int32", **attributes)
        parameter = writer.initializer(f"{layer.name}.dequant.param", dequant_parameter(item.bias_scale))
        writer.node("AscendDequant", f"{layer.name}.dequant", [sums, parameter], layer.output, dtype=0)
    model = writer.finish(graph.model.graph.output)
    helper.set_model_props(model, dict(metadata or {}))
    return model


def dequant_parameter(scale: Float32Array) -> NDArray[np.uint64]:
    """AscendDequant's second input: float32 scales of shape (C_out,) or (1,) in the low half of uint64.

    Bits 32 and up hold an offset of weights and a shift of sums, which are 0.
    """
    return np.ascontiguousarray(scale, np.float32).view(np.uint32).astype(np.uint64)


def _quantize(writer: GraphWriter, layer: str, tensor: str, qparams: QParams) -> str:
    """Quantize a tensor for ``layer`` and whoever else reads it; returns the integers' name."""
    return writer.node(
        "AscendQuant",
        f"{layer}.quant",
        [tensor],
        f"{layer}.quant.int8",
        scale=float(reciprocal(qparams.scale)),
        offset=float(qparams.offset),
        dst_type="INT8",
    )


def reciprocal(scale: float) -> np.float32:
    """What a deploy file multiplies with, where everything else divides by the scale."""
    return np.float32(1.0 / np.float64(np.float32(scale)))
