"""Quantizing a small graph without calibrating it."""

from __future__ import annotations

from collections.abc import Mapping

from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations, placed_ascend
from amctq.graph.topology import fuse, read_topology
from amctq.quant.integer import IntegerLayer, integer_layers, make_record
from amctq.quant.layers import LayerKind
from amctq.quant.numerics import QParams
from amctq.quant.weights import arq_scale

Quantized = tuple[tuple[IntegerLayer, ...], PlacedActivations]

# Of the tensors that the layers of graphs.residual_graph read.
ACTIVATIONS = {"image": QParams(0.03, 3), "c": QParams(0.01, -128), "j": QParams(0.004, -128)}


def quantize(
    graph: FloatGraph,
    *,
    only: set[str] | None = None,
    bits: int = 8,
    others: Mapping[str, int] | None = None,
    tensors: Mapping[str, QParams] = ACTIVATIONS,
) -> Quantized:
    """graphs.residual_graph, or another network, with placement ``ascend``.

    Args:
        graph: the network.
        only: names of the layers to quantize; None for all.
        bits: width of weights.
        others: by layer, where it is another.
        tensors: how each tensor that a layer reads is quantized.
    """
    topology = read_topology(graph)
    if only is not None:
        topology = topology.only(only)
    fused = fuse(graph, topology)
    widths = {layer.name: bits for layer in topology.layers} | dict(others or {})
    scales = {
        layer.name: arq_scale(
            fused[layer.name].weight, channel_wise=layer.kind is LayerKind.CONV, bits=widths[layer.name]
        )
        for layer in topology.layers
    }
    activations = {layer.name: tensors[layer.input] for layer in topology.layers}
    record = make_record(topology, fused, scales, activations, widths)
    return integer_layers(topology, fused, record), placed_ascend(topology, activations)
