"""Fake-quant ONNX: the deploy file in float, by standard operators (docs/en/reference.md, "Fake-quant ONNX").

    x ─ Mul(1 / scale_d) ─ Round ─ Add(offset) ─ Clip(-128, 127) ─ Sub(offset) ─┐
    weight, whole numbers in float32 ───────────────────────────────────────────┤ Conv/Gemm ─ Mul(scale_d × scale_w) ─ y
    bias, whole numbers in float32 ─────────────────────────────────────────────┘

It runs wherever ONNX runs, and is as large as the float file. Sums beyond 2^24 are rounded, as float32 does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from amctq.export.ascend_onnx import reciprocal
from amctq.export.shared_inputs import layers_on_shared_inputs
from amctq.graph.float_graph import FloatGraph
from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer
from amctq.quant.layers import LayerKind
from amctq.quant.numerics import QParams


def build_fakequant(
    graph: FloatGraph, layers: tuple[IntegerLayer, ...], *, metadata: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """Write the quantized network, batch dynamic; opset 17.

    Args:
        graph: the float network; it is not changed.
        layers: the layers to quantize; all others keep their float weights.
        metadata: stands in the file as metadata_props.
    """
    writer = GraphWriter(graph, (item.layer for item in layers))
    for node, item, numbers in layers_on_shared_inputs(writer, layers, _fake_quantize):
        layer = item.layer
        inputs = [numbers, writer.initializer(layer.weight, item.weight.values.astype(np.float32))]
        if item.bias is not None:
            inputs.append(writer.initializer(layer.bias or f"{layer.name}.bias", item.bias.astype(np.float32)))
        sums = writer.layer(layer, node, inputs, f"{layer.name}.sums")
        shape = (1, -1, 1, 1) if layer.kind is LayerKind.CONV else (1, -1)
        scale = writer.initializer(f"{layer.name}.deq_scale", item.bias_scale.reshape(shape))
        writer.node("Mul", f"{layer.name}.dequant", [sums, scale], layer.output)
    model = writer.finish(graph.model.graph.output)
    helper.set_model_props(model, dict(metadata or {}))
    return model


def _fake_quantize(writer: GraphWriter, layer: str, tensor: str, qparams: QParams) -> str:
    """Quantize a tensor for ``layer`` and whoever else reads it; returns the whole numbers ``q - offset``."""
    name = f"{layer}.fakequant"
    numbers = {
        "scale": reciprocal(qparams.scale),
        "offset": np.float32(qparams.offset),
        "low": np.float32(-128),
        "high": np.float32(127),
    }
    scale, offset, low, high = (
        writer.initializer(f"{name}.{key}", np.asarray(value)) for key, value in numbers.items()
    )
    for op, operands in (("Mul", [scale]), ("Round", []), ("Add", [offset]), ("Clip", [low, high]), ("Sub", [offset])):
        tensor = writer.node(op, f"{name}.{op.lower()}", [tensor, *operands], f"{name}.{op.lower()}")
    return tensor
