"""Pairs of layers between which each channel may have a factor: divided by the first, multiplied by the second."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx

from amctq.graph.float_graph import FloatGraph, attributes_of
from amctq.graph.integer_operators import is_clip
from amctq.graph.value_bounds import clip_limits
from amctq.quant.equalization import Pair
from amctq.quant.layers import QuantizableLayer, Topology

# f(x / s) = f(x) / s for s > 0, element by element,
_ELEMENTWISE = frozenset({"Clip", "Identity", "LeakyRelu", "Relu"})
# and for each channel of (N, C, …).
_OF_A_CHANNEL = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Pad", "ReduceMean"})
_FLATTENING = frozenset({"Flatten", "Reshape", "Squeeze"})


def scalable_pairs(graph: FloatGraph, topology: Topology) -> tuple[Pair, ...]:
    """The pairs, in the order of execution: the second layer is the only one to read what the first yields.

    Args:
        graph: the float network.
        topology: the layers that are quantized.
    """
    layers = {layer.node: layer for layer in topology.layers}
    found = (_pair(layer, layers, graph) for layer in topology.layers)
    return tuple(pair for pair in found if pair is not None)


def _pair(first: QuantizableLayer, layers: Mapping[str, QuantizableLayer], graph: FloatGraph) -> Pair | None:
    if first.channel_axis is None:
        return None
    channels = first.by_channel(graph.arrays[first.weight]).shape[0]
    tensor = between = first.output
    cap, in_rows = math.inf, first.kind.is_dense  # in_rows: the channels are the last axis
    while (node := _only_reader(tensor, graph)) is not None:
        second = layers.get(node.name)
        if second is not None:
            fits = second.kind.is_dense == in_rows and _channels_read(second, node, graph) == channels
            return Pair(first=first.name, second=second.name, between=between, cap=cap) if fits else None
        output = node.output[0]
        if node.op_type in _FLATTENING and not in_rows:
            in_rows = _keeps_one_value(tensor, output, channels, graph)
            if not in_rows:
                return None
        elif not _divides(node, graph, channels, in_rows=in_rows):
            return None
        if node.op_type == "ReduceMean" and len(graph.shapes.get(output, ())) == 2:
            in_rows = True
        if is_clip(node, graph):
            between, cap = output, min(cap, clip_limits(node, graph)[1])
        tensor = output
    return None


def _only_reader(tensor: str, graph: FloatGraph) -> onnx.NodeProto | None:
    readers = graph.consumers.get(tensor, ())
    return readers[0] if len(readers) == 1 and tensor not in graph.outputs else None


def _channels_read(layer: QuantizableLayer, node: onnx.NodeProto, graph: FloatGraph) -> int | None:
    if layer.channel_axis is None:
        return None
    width = int(layer.by_channel(graph.arrays[layer.weight]).shape[1])
    return width * int(attributes_of(node).get("group", 1))


def _divides(node: onnx.NodeProto, graph: FloatGraph, channels: int, *, in_rows: bool) -> bool:
    """Whether dividing a channel that a node reads divides what it yields, except for values above a cap."""
    if node.op_type in _ELEMENTWISE:
        low, high = clip_limits(node, graph) if node.op_type in {"Clip", "Relu"} else (0.0, math.inf)
        return node.op_type != "Clip" or (is_clip(node, graph) and low == 0 and high > 0)
    if node.op_type not in _OF_A_CHANNEL or in_rows or len([name for name in node.output if name]) != 1:
        return False
    shape = graph.shapes.get(node.output[0], ())
    if len(shape) < 2 or shape[1] != channels:
        return False
    if node.op_type == "Pad" and len(node.input) > 2 and node.input[2]:
        value = graph.arrays.get(node.input[2])
        return value is not None and not value.any()
    if node.op_type == "ReduceMean":
        rank = len(graph.shapes.get(node.input[0], ()))
        axes = _axes(node, graph, rank)
        return rank > 2 and sorted(axis % rank for axis in axes) == list(range(2, rank))
    return True


def _axes(node: onnx.NodeProto, graph: FloatGraph, rank: int) -> list[int]:
    """The axes of a ReduceMean: an attribute until opset 17, an input from 18 on."""
    if len(node.input) > 1:
        return [int(axis) for axis in graph.arrays.get(node.input[1], ())]
    return list(attributes_of(node).get("axes", range(rank)))


def _keeps_one_value(tensor: str, output: str, channels: int, graph: FloatGraph) -> bool:
    """Whether (N, C, 1, …) becomes (N, C)."""
    before, after = graph.shapes.get(tensor, ()), graph.shapes.get(output, ())
    return len(before) > 2 and set(before[2:]) == {1} and len(after) == 2 and after[1] == before[1] == channels
