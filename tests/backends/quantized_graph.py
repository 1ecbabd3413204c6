"""A small graph as a quantized network of the native engine."""

from __future__ import annotations

from pathlib import Path

from amctq.backends.native_network import NativeQuantizedNetwork
from amctq.choices import ActType, WeightType
from amctq.graph.float_graph import FloatGraph
from amctq.graph.topology import read_topology
from amctq.networks.float_network import FloatNetwork
from amctq.quant.numerics import Float32Array
from amctq.quant.record import LayerRecord, QuantRecord
from tests.export.quantized import quantize_ort


def quantized_network(graph: FloatGraph, images: Float32Array) -> NativeQuantizedNetwork:
    """With placement ``ort``, every layer quantized, on the ranges that these images give."""
    layers, activations = quantize_ort(graph, images)
    topology = read_topology(graph)
    record = QuantRecord(
        layers=tuple(
            LayerRecord(name=item.layer.name, activation=item.activation, weight_scale=item.weight.scale)
            for item in layers
        )
    )
    return NativeQuantizedNetwork(
        record=record,
        topology=topology,
        layers=layers,
        activations=activations,
        network=FloatNetwork(cell=None, graph=graph, topology=topology, scratch=Path()),
        act_type=ActType.UINT8,
        weight_type=WeightType.INT8,
    )
