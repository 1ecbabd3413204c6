"""Fake-quant ONNX: the deploy file in standard float operators (docs/en/reference.md, "Fake-quant ONNX").

    x ─ Mul(1 / scale_d) ─ Round ─ Add(offset) ─ Clip(-128, 127) ─ Sub(offset) ─┐
    weight, whole numbers in float32 ───────────────────────────────────────────┤ Conv/Gemm ─ Mul(scale_d × scale_w) ─ y
    bias, whole numbers in float32 ─────────────────────────────────────────────┘

Every ONNX runtime runs it. It is as large as the float file. Sums above 2^24 are rounded to float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from amctq.export.ascend_onnx import reciprocal
from amctq.export.shared_inputs import layers_on_shared_inputs
from amctq.graph.float_graph import FloatGraph
from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer, IntegerPool
from amctq.quant.numerics import QParams


def build_fakequant(
    graph: FloatGraph,
    layers: tuple[IntegerLayer, ...],
    pools: tuple[IntegerPool, ...] = (),
    *,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Write the quantized network with a dynamic batch; opset 17.

    Args:
        graph: the float network; it is not changed.
        layers: the layers to quantize; all others stay in float.
        pools: the means over windows to quantize.
        metadata: for the file's metadata_props.
    """
    writer = GraphWriter(graph, (item.layer for item in layers))
    for node, item, numbers in layers_on_shared_inputs(writer, layers, pools, _fake_quantize):
        if isinstance(item, IntegerPool):
            name = item.layer.name
            writer.copy(node, [numbers], [f"{name}.means"])
            scale = writer.initializer(f"{name}.deq_scale", np.asarray(item.activation.scale, np.float32))
            writer.node("Mul", f"{name}.dequant", [f"{name}.means", scale], item.layer.output)
            continue
        layer = item.layer
        inputs = [numbers, writer.initializer(layer.weight, item.weight.values.astype(np.float32))]
        if item.bias is not None:
            inputs.append(writer.initializer(layer.bias or f"{layer.name}.bias", item.bias.astype(np.float32)))
        sums = writer.layer(layer, node, inputs, f"{layer.name}.sums")
        shape = (1, -1) if layer.kind.is_dense else (1, -1, 1, 1)
        scale = writer.initializer(f"{layer.name}.deq_scale", item.bias_scale.reshape(shape))
        writer.node("Mul", f"{layer.name}.dequant", [sums, scale], layer.output)
    return writer.finish(metadata=metadata)


def _fake_quantize(writer: GraphWriter, layer: str, tensor: str, qparams: QParams) -> str:
    """Add the fake quantization of a tensor, named after ``layer``; returns the name of ``q - offset``."""
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
