"""Placement: which tensors of activations are quantized.

``ascend``: the inputs of Conv2d and Dense, as in AMCT; everything between layers stays in float. ``ort``: every tensor
between integer operators; onnxruntime then computes additions, pooling and the head in integers too, and no tensor
between them becomes float.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from amctq.choices import Placement
from amctq.graph.float_graph import FloatGraph
from amctq.quant.layers import QuantizableLayer, Topology
from amctq.quant.numerics import QParams

# They move integers or choose among them: the output has the scale and zero point of the input.
_MOVES = frozenset({"MaxPool", "Slice", "Pad", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze"})
# onnxruntime has integer kernels for them; their output has a scale of its own.
_COMPUTES = frozenset({"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool"})
# They clip the output of a layer or an addition. The quantizer after them can do this.
_CLIPS = frozenset({"Relu", "Clip"})


@dataclass(frozen=True, kw_only=True)
class Site:
    """A quantized tensor.

    Attributes:
        tensor: its name in the float graph.
        watched: the tensor that is observed. It is ``tensor``, or its copy after nodes such as MaxPool where a layer
            reads that copy: fewer and larger values remain after a MaxPool.
        layers: names of the layers that read it, directly or after such nodes.
        like: the layer whose configuration chooses the observer.
    """

    tensor: str
    watched: str
    layers: tuple[str, ...]
    like: str


@dataclass(frozen=True, kw_only=True)
class PlacementPlan:
    """All quantized tensors of a network.

    Attributes:
        placement: the rule that chose them.
        sites: the tensors, in the order of execution.
        moves: names of the nodes that move integers without computing.
    """

    placement: Placement
    sites: tuple[Site, ...]
    moves: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class PlacedActivations:
    """A plan with scales and zero points: ``qparams[i]`` belongs to ``plan.sites[i]``."""

    plan: PlacementPlan
    qparams: tuple[QParams, ...]

    @property
    def by_layer(self) -> dict[str, QParams]:
        """By layer, scale and offset of its input."""
        pairs = zip(self.plan.sites, self.qparams, strict=True)
        return {name: qparams for site, qparams in pairs for name in site.layers}

    @property
    def further(self) -> tuple[tuple[Site, QParams], ...]:
        """The sites that no layer reads, so that AMCT's record cannot hold them."""
        return tuple(pair for pair in zip(self.plan.sites, self.qparams, strict=True) if not pair[0].layers)


def place_ascend(topology: Topology, alike: Mapping[str, Hashable]) -> PlacementPlan:
    """Placement ``ascend``: one site for each layer's input; layers that read the same tensor share it.

    Args:
        topology: the layers that are quantized.
        alike: by layer, a value that must be equal for layers to share a site: its configuration, or scale and offset.
    """
    readers: dict[tuple[str, Hashable], list[str]] = {}
    for layer in topology.layers:
        readers.setdefault((layer.input, alike[layer.name]), []).append(layer.name)
    return PlacementPlan(
        placement=Placement.ASCEND,
        sites=tuple(
            Site(tensor=tensor, watched=tensor, layers=tuple(names), like=names[0])
            for (tensor, _), names in readers.items()
        ),
    )


def placed_ascend(topology: Topology, activations: Mapping[str, QParams]) -> PlacedActivations:
    """Placement ``ascend`` with scale and offset of every layer's input, by layer, as a record has them."""
    plan = place_ascend(topology, activations)
    return PlacedActivations(plan=plan, qparams=tuple(activations[site.like] for site in plan.sites))


def place_ort(graph: FloatGraph, topology: Topology) -> PlacementPlan:
    """Placement ``ort``: every tensor between integer operators.

    An addition or a pooling is an integer operator when all its inputs are integers and an integer operator reads it.

    Args:
        graph: the float network.
        topology: the layers of ``graph`` that are quantized.
    """
    layer_nodes = {name for layer in topology.layers for name in (layer.node, layer.batch_norm_node)}
    nodes = [node for node in graph.model.graph.node if node.name not in layer_nodes and node.output]
    able = _able_to_compute(nodes, graph, topology)
    wanted = {layer.input for layer in topology.layers}
    moves: set[str] = set()
    clipped = {node.input[0]: node.output[0] for node in nodes if node.op_type in _CLIPS}
    for node in reversed(nodes):
        output = node.output[0]
        if output in wanted and _moves(node, graph):
            moves.add(node.name)
            wanted.add(node.input[0])
        elif node.name in able and (output in wanted or clipped.get(output) in wanted):
            wanted.update(node.input)
    sites = _sites(wanted, moves, nodes, graph, topology)
    return PlacementPlan(placement=Placement.ORT, sites=sites, moves=frozenset(moves))


def _able_to_compute(nodes: list[onnx.NodeProto], graph: FloatGraph, topology: Topology) -> set[str]:
    """Names of the nodes that can compute in integers, because all their inputs are integers."""
    integers = {tensor for layer in topology.layers for tensor in (layer.input, layer.output)}
    able: set[str] = set()
    for node in nodes:
        if node.op_type in _COMPUTES and integers.issuperset(node.input):
            able.add(node.name)
        elif not (node.op_type in _CLIPS or _moves(node, graph)) or node.input[0] not in integers:
            continue
        integers.add(node.output[0])
    return able


def _moves(node: onnx.NodeProto, graph: FloatGraph) -> bool:
    """Whether a node only moves values. A Pad may add zeros, which any scale represents exactly, but no other value."""
    if node.op_type == "Pad" and len(node.input) > 2 and node.input[2]:
        value = graph.arrays.get(node.input[2])
        if value is None or np.any(value):
            return False
    return node.op_type in _MOVES and len(node.output) == 1 and node.output[0] != graph.output_name


def _sites(
    wanted: set[str], moves: set[str], nodes: list[onnx.NodeProto], graph: FloatGraph, topology: Topology
) -> tuple[Site, ...]:
    origin = {node.output[0]: node.input[0] for node in nodes if node.name in moves}
    members: dict[str, list[str]] = {}
    execution = [graph.input_name, *(name for node in graph.model.graph.node for name in node.output)]
    for tensor in filter(wanted.__contains__, execution):
        root = tensor
        while root in origin:
            root = origin[root]
        members.setdefault(root, []).append(tensor)
    sites = []
    for root, tensors in members.items():
        readers = [layer for layer in topology.layers if layer.input in tensors]
        # The root itself where another node reads it too.
        direct = any(node.name not in moves for node in graph.consumers.get(root, ()))
        watched = root if direct or not readers else readers[0].input
        like = readers[0] if readers else _layer_before(root, graph, topology)
        sites.append(Site(tensor=root, watched=watched, layers=tuple(layer.name for layer in readers), like=like.name))
    return tuple(sites)


def _layer_before(tensor: str, graph: FloatGraph, topology: Topology) -> QuantizableLayer:
    """The last layer that is computed before a tensor; usually the tensor is made from its output."""
    order = [node.name for node in graph.model.graph.node]
    position = next(index for index, node in enumerate(graph.model.graph.node) if tensor in node.output)
    return [layer for layer in topology.layers if order.index(layer.node) <= position][-1]
