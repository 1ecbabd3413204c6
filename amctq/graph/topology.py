"""Finding the layers to quantize in the ONNX graph that MindSpore exports.

The exported graph describes the network completely, however its Python code is written: the initializers have the
parameters' names, and the edges show which BatchNorm follows which convolution and which layers share an input.
"""

from __future__ import annotations

from collections import Counter

import onnx

from amctq.errors import InputError
from amctq.graph.float_graph import FloatGraph, attributes_of
from amctq.quant.folding import FusedParameters, fold
from amctq.quant.layers import BatchNorm, FloatLayer, LayerKind, QuantizableLayer, Topology


def read_topology(graph: FloatGraph) -> Topology:
    """Find the layers to quantize: every Conv2d and Dense, the first and the last included, as in AMCT.

    Raises:
        InputError: the network has no layer that can be quantized.
    """
    layers: list[QuantizableLayer] = []
    in_float: list[FloatLayer] = []
    uses = Counter(name for node in graph.model.graph.node for name in node.input if name in graph.arrays)
    for node in graph.model.graph.node:
        if node.op_type not in {"Conv", "Gemm", "MatMul"}:
            continue
        name = str(node.input[1] if len(node.input) > 1 else node.name).removesuffix(".weight")
        reason = _reason_for_float(node, graph, uses)
        if reason is None:
            layers.append(_layer(name, node, graph))
        elif reason:
            in_float.append(FloatLayer(name=name, reason=reason))
    if not layers:
        found = "; ".join(f"{layer.name}: {layer.reason}" for layer in in_float) or "no Conv2d and no Dense"
        message = f"the network has no layer to quantize ({found})"
        raise InputError(message, hint="amctq quantizes nn.Conv2d (dilation 1, ungrouped or depthwise) and nn.Dense")
    return Topology(layers=tuple(layers), left_in_float=tuple(dict.fromkeys(in_float)))


def fuse(graph: FloatGraph, topology: Topology) -> dict[str, FusedParameters]:
    """Fold each layer's BatchNorm into its weight and bias; by layer, in the order of execution.

    w' = w·γ/√(σ²+ε), b' = (b-μ)·γ/√(σ²+ε) + β in float64 (docs/en/reference.md, "BatchNorm fusion").

    Raises:
        InputError: a result is not finite.
    """
    return {layer.name: fold(layer, graph.arrays) for layer in topology.layers}


def _reason_for_float(node: onnx.NodeProto, graph: FloatGraph, uses: Counter[str]) -> str | None:
    """Why a node stays in float; None where it is quantized, "" where it is no layer (two activations)."""
    weight = graph.arrays.get(node.input[1])
    if weight is None:
        return ""
    if uses[node.input[1]] > 1:
        return "its weights are used more than once"
    if len(node.input) > 2 and node.input[2] and node.input[2] not in graph.arrays:
        return "its bias is not constant"
    attributes = attributes_of(node)
    if node.op_type == "Conv":
        if weight.ndim != 4:
            return f"its weights have {weight.ndim} axes, only 2-D convolutions are quantized"
        if any(step != 1 for step in attributes.get("dilations", [1, 1])):
            return f"dilation {attributes['dilations']}"
        group = attributes.get("group", 1)
        depthwise = weight.shape[:2] == (group, 1)
        if group != 1 and not depthwise:
            return f"grouped convolution (group {group}), neither ungrouped nor depthwise"
        return None
    if node.op_type == "Gemm":
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
        if any(attributes.get(key, 0 if key.startswith("trans") else 1.0) != value for key, value in plain.items()):
            return "a Gemm that is no Dense (alpha, beta or a transposed operand)"
        if len(node.input) > 2 and (bias := graph.arrays.get(node.input[2])) is not None and bias.ndim != 1:
            return "its bias is no vector"
        return None
    return "a MatMul; amctq quantizes what MindSpore exports as Gemm, which nn.Dense on (N, C) is"


def _layer(name: str, node: onnx.NodeProto, graph: FloatGraph) -> QuantizableLayer:
    norm_node = _batch_norm_after(node, graph) if node.op_type == "Conv" else None
    norm = None
    if norm_node is not None:
        _, gamma, beta, mean, variance = norm_node.input
        norm = BatchNorm(
            gamma=gamma,
            beta=beta,
            mean=mean,
            variance=variance,
            epsilon=float(attributes_of(norm_node).get("epsilon", 1e-5)),
        )
    return QuantizableLayer(
        name=name,
        kind=LayerKind.CONV if node.op_type == "Conv" else LayerKind.DENSE,
        node=node.name,
        input=node.input[0],
        raw_output=node.output[0],
        output=(norm_node or node).output[0],
        weight=node.input[1],
        bias=(node.input[2] or None) if len(node.input) > 2 else None,
        batch_norm=norm,
        batch_norm_node=None if norm_node is None else norm_node.name,
    )


def _batch_norm_after(node: onnx.NodeProto, graph: FloatGraph) -> onnx.NodeProto | None:
    """The BatchNormalization with constant parameters that is the only reader of a convolution's output."""
    if node.output[0] == graph.output_name:
        return None
    consumers = graph.consumers.get(node.output[0], ())
    if len(consumers) != 1 or consumers[0].op_type != "BatchNormalization":
        return None
    norm = consumers[0]
    return norm if all(name in graph.arrays for name in norm.input[1:]) else None
