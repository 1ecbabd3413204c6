"""Quantizing a small graph without calibrating it."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import onnx

from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations, placed_ascend
from amctq.graph.placement_ort import place_ort
from amctq.graph.qdq_rules import ONNXRUNTIME, QdqRules
from amctq.graph.topology import fuse, read_topology
from amctq.inference.onnx_session import OnnxSession
from amctq.quant.integer import IntegerLayer, integer_layers, make_record
from amctq.quant.layers import LayerKind
from amctq.quant.numerics import Float32Array, QParams, range_qparams
from amctq.quant.weights import arq_scale
from tests.arrays import image

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


def quantize_ort(
    graph: FloatGraph,
    images: Float32Array,
    *,
    only: set[str] | None = None,
    attention: bool = False,
    rules: QdqRules = ONNXRUNTIME,
    symmetric: bool = False,
    bits: int = 8,
) -> Quantized:
    """Any network with placement ``ort``, on the smallest and the largest values that these images give.

    Args:
        graph: the network.
        images: (N, C, H, W).
        only: names of the layers to quantize; None for all.
        attention: products of two activations are quantized too.
        rules: of the runtime.
        symmetric: every zero point is 0.
        bits: width of weights.
    """
    topology = read_topology(graph)
    if only is not None:
        topology = topology.only(only)
    plan = place_ort(graph, topology, rules=rules, attention=attention)
    tapped = list(dict.fromkeys(site.watched for site in plan.sites if site.watched not in graph.inputs))
    model = copy.deepcopy(graph.model)
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tapped)
    seen = dict(zip(tapped, OnnxSession(model).run(image(images), tapped) if tapped else (), strict=True))
    seen |= image(images)
    ranges = [(float(seen[site.watched].min()), float(seen[site.watched].max())) for site in plan.sites]
    qparams = tuple(
        range_qparams(low, high, symmetric=symmetric or site.symmetric).within(*site.bounds)
        for site, (low, high) in zip(plan.sites, ranges, strict=True)
    )
    placed = PlacedActivations(plan=plan, qparams=qparams)
    fused = fuse(graph, topology)
    widths = dict.fromkeys((layer.name for layer in topology.layers), bits)
    scales = {
        layer.name: arq_scale(fused[layer.name].weight, channel_wise=layer.channel_axis is not None, bits=bits)
        for layer in topology.layers
    }
    return integer_layers(topology, fused, make_record(topology, fused, scales, placed.by_layer, widths)), placed
