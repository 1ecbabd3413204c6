"""Where quantizers stand: which tensors of activations become integers.

``ascend``: the inputs of Conv2d and Dense, as AMCT does it; what lies between them stays float. ``ort``: every tensor
between integer layers, so that onnxruntime runs additions, pooling and the head in integers as well and no tensor
becomes float on the way.
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

# They move integers about, or choose among them: scale and zero point stay those of their input.
_MOVES = frozenset({"MaxPool", "Slice", "Pad", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze"})
# onnxruntime has integer kernels for them that take and give scales of their own.
_COMPUTES = frozenset({"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool"})
# They clip what a layer or an addition gives, which the quantizer behind them does as well.
_CLIPS = frozenset({"Relu", "Clip"})


@dataclass(frozen=True, kw_only=True)
class Site:
    """A tensor that is quantized.

    Attributes:
        tensor: its name in the float graph.
        watched: the tensor whose values decide on the scale. It is ``tensor``, or what moves have made of it where a
            layer reads that: behind a MaxPool fewer and larger values are left.
        layers: names of the layers that read it, or what moves have made of it.
        like: the layer whose configuration says how it is observed.
    """

    tensor: str
    watched: str
    layers: tuple[str, ...]
    like: str


@dataclass(frozen=True, kw_only=True)
class PlacementPlan:
    """All tensors of a network that are quantized.

    Attributes:
        placement: by which rule.
        sites: the tensors, in the order of execution.
        moves: names of nodes that work on the integers themselves.
    """

    placement: Placement
    sites: tuple[Site, ...]
    moves: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class PlacedActivations:
    """A plan with its scales and zero points: ``qparams[i]`` belongs to ``plan.sites[i]``."""

    plan: PlacementPlan
    qparams: tuple[QParams, ...]

    @property
    def by_layer(self) -> dict[str, QParams]:
        """How each layer's input is quantized."""
        pairs = zip(self.plan.sites, self.qparams, strict=True)
        return {name: qparams for site, qparams in pairs for name in site.layers}

    @property
    def further(self) -> tuple[tuple[Site, QParams], ...]:
        """The sites that no layer reads, which AMCT's record therefore cannot hold."""
        return tuple(pair for pair in zip(self.plan.sites, self.qparams, strict=True) if not pair[0].layers)


def place_ascend(topology: Topology, alike: Mapping[str, Hashable]) -> PlacementPlan:
    """One site for each layer's input; layers that read one tensor share it.

    Args:
        topology: the layers that are quantized.
        alike: by layer, what must be equal for layers to share a site: how they are configured, or quantized.
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
    """Placement ``ascend`` where it is known, by layer, how inputs are quantized: what a record says."""
    plan = place_ascend(topology, activations)
    return PlacedActivations(plan=plan, qparams=tuple(activations[site.like] for site in plan.sites))


def place_ort(graph: FloatGraph, topology: Topology) -> PlacementPlan:
    """Every tensor between integer operators.

    An addition or a pooling is an integer operator when integers come in from all sides, and are wanted behind it.

    Args:
        graph: the float network.
        topology: the layers of ``graph`` that are quantized.
    """
    nodes = _nodes(graph, topology)
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
    return PlacementPlan(
        placement=Placement.ORT,
        sites=_sites(wanted, moves, nodes, graph, topology),
        moves=frozenset(moves),
    )


def _nodes(graph: FloatGraph, topology: Topology) -> list[onnx.NodeProto]:
    """The nodes between the layers."""
    layers = {name for layer in topology.layers for name in (layer.node, layer.batch_norm_node)}
    return [node for node in graph.model.graph.node if node.name not in layers and node.output]


def _able_to_compute(nodes: list[onnx.NodeProto], graph: FloatGraph, topology: Topology) -> set[str]:
    """Names of the nodes that could work in integers, because all that they read comes as integers."""
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
    """Whether a node only moves values: it may bring in zeros, which are integers on any scale, and nothing else."""
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
    for tensor in _in_order(wanted, graph):
        root = tensor
        while root in origin:
            root = origin[root]
        members.setdefault(root, []).append(tensor)
    order = [node.name for node in graph.model.graph.node]
    sites = []
    for root, tensors in members.items():
        readers = [layer for layer in topology.layers if layer.input in tensors]
        # The root itself where anything but moves reads it.
        direct = any(node.name not in moves for node in graph.consumers.get(root, ()))
        watched = root if direct or not readers else readers[0].input
        like = readers[0] if readers else _layer_before(root, order, graph, topology)
        sites.append(Site(tensor=root, watched=watched, layers=tuple(layer.name for layer in readers), like=like.name))
    return tuple(sites)


def _in_order(tensors: set[str], graph: FloatGraph) -> list[str]:
    made = [graph.input_name, *(name for node in graph.model.graph.node for name in node.output)]
    return [name for name in made if name in tensors]


def _layer_before(tensor: str, order: list[str], graph: FloatGraph, topology: Topology) -> QuantizableLayer:
    """The last layer that is computed before a tensor is: the one that made it, more or less."""
    position = next(index for index, node in enumerate(graph.model.graph.node) if tensor in node.output)
    return [layer for layer in topology.layers if order.index(layer.node) <= position][-1]
