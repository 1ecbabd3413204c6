"""The quantized network in float arithmetic: what a QDQ file computes, without any integer kernel.

    x ─ Div(scale) ─ Round ─ Clip(-128 - o, 127 - o) ─ Mul(scale) ─┐
    weight × its scale, float32 ───────────────────────────────────┤ Conv/Gemm ─ y
    bias × its scale, float32 ─────────────────────────────────────┘

Run without graph optimisations, it has neither the fusions nor the saturation of a runtime's integer kernels. It is
made from the same scales as the QDQ file, by other code: this graph has no zero point, no integer type and no
rearranged first convolution.
"""

from __future__ import annotations

import numpy as np
import onnx

from amctq.choices import Placement
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations
from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer
from amctq.quant.numerics import QParams


def build_float_arithmetic(
    graph: FloatGraph, layers: tuple[IntegerLayer, ...], activations: PlacedActivations
) -> onnx.ModelProto:
    """Write the quantized network in float operators with a dynamic batch; opset 17.

    Args:
        graph: the float network; it is not changed.
        layers: the layers that are quantized.
        activations: the quantized tensors with their scales and offsets.
    """
    plan = activations.plan
    items = {item.layer.name: item for item in layers}
    writer = GraphWriter(graph, (item.layer for item in layers))
    sites: dict[str, list[int]] = {}
    for index, site in enumerate(plan.sites):
        sites.setdefault(site.tensor, []).append(index)
    site_of = {name: index for index, site in enumerate(plan.sites) for name in site.layers}
    shared: dict[str, str] = {}  # with placement ort, what all read in place of a quantized tensor
    rounded: dict[int, str] = {}

    def quantize(tensor: str) -> None:
        for index in sites.get(tensor, ()):
            rounded[index] = _fake_quantize(writer, f"site.{index}", tensor, activations.qparams[index])
            if plan.placement is Placement.ORT:
                shared[tensor] = rounded[index]

    def moved(tensor: str, site: int) -> str:
        """What a layer reads: its site's tensor, or what nodes that only move values have made of it."""
        return rounded[site] if tensor == plan.sites[site].tensor else tensor

    quantize(graph.input_name)
    for node, layer in writer.walk():
        if layer is None:
            writer.copy(node, [shared.get(name, name) for name in node.input])
            outputs = list(node.output)
        else:
            item = items[layer.name]
            weight = layer.as_stored(item.weight.dequantized())
            inputs = [moved(layer.input, site_of[layer.name]), writer.initializer(f"{layer.name}.weight.float", weight)]
            if item.bias is not None:
                bias = (item.bias * item.bias_scale.astype(np.float64)).astype(np.float32)
                inputs.append(writer.initializer(f"{layer.name}.bias.float", bias))
            outputs = [writer.layer(layer, node, inputs)]
        for output in outputs:
            quantize(output)
    return writer.finish()


def _fake_quantize(writer: GraphWriter, name: str, tensor: str, qparams: QParams) -> str:
    """Add the fake quantization of a tensor; returns the name of the result."""
    numbers = {"scale": qparams.scale, "low": -128 - qparams.offset, "high": 127 - qparams.offset}
    scale, low, high = (
        writer.initializer(f"{name}.{key}", np.asarray(value, np.float32)) for key, value in numbers.items()
    )
    for op, operands in (("Div", [scale]), ("Round", []), ("Clip", [low, high]), ("Mul", [scale])):
        tensor = writer.node(op, f"{name}.{op.lower()}", [tensor, *operands], f"{name}.{op.lower()}")
    return tensor
