"""Parts of a network that stay in float as a whole: what is behind a tensor, and the layers in front of the outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from amctq.errors import UsageError, nearest
from amctq.graph.float_graph import FloatGraph
from amctq.graph.topology import has_weight
from amctq.quant.layers import QuantizableLayer, Topology


@dataclass(frozen=True, kw_only=True)
class LastLayers:
    """The layers from which an output is reached without passing another one.

    Attributes:
        predictions: their names. A table is passed as if it were no layer.
        tables: names of layers that learn nothing, but decode what others predict: the expected value of a distribution
            over 0, 1, 2, …, as in detectors with a distribution focal loss.
    """

    predictions: tuple[str, ...]
    tables: tuple[str, ...]


def last_layers(graph: FloatGraph, topology: Topology) -> LastLayers:
    """The last layers of a network.

    Args:
        graph: the float network.
        topology: its layers. One that is not there, because it is in float in any case, is not passed either.
    """
    layers = {layer.node: layer for layer in topology.layers}
    wanted = set(graph.outputs)
    predictions: list[str] = []
    tables: list[str] = []
    for node in reversed(graph.model.graph.node):
        if wanted.isdisjoint(node.output):
            continue
        layer = layers.get(node.name)
        if layer is not None and _is_table(layer, graph):
            tables.append(layer.name)
        elif layer is not None:
            predictions.append(layer.name)
            continue
        elif has_weight(node, graph):
            continue
        wanted.update(node.input)
    return LastLayers(predictions=tuple(reversed(predictions)), tables=tuple(reversed(tables)))


def layers_after(graph: FloatGraph, topology: Topology, name: str, option: str = "--skip-after") -> tuple[str, ...]:
    """The layers that need a tensor, directly or through others.

    Args:
        graph: the float network.
        topology: its layers.
        name: of a layer, a cell or a tensor of ``graph``; of a cell, what is outside and needs what the cell yields.
        option: that gave the name.

    Raises:
        UsageError: there is no such layer, cell or tensor, or no layer is behind it.
    """
    inside = _nodes_inside(name, graph, topology)
    reached = {name} if name in graph.producers or name in graph.inputs else set()
    reached |= {tensor for node in graph.model.graph.node if node.name in inside for tensor in node.output}
    if not reached:
        message = f"{option} {name}: the network has no layer, cell or tensor of that name"
        raise UsageError(message, hint=nearest(name, _names(graph, topology)))
    found = []
    layers = {layer.node: layer for layer in topology.layers}
    for node in graph.model.graph.node:
        if node.name not in inside and not reached.isdisjoint(node.input):
            reached.update(node.output)
            if node.name in layers:
                found.append(layers[node.name].name)
    if not found:
        message = f"{option} {name}: no layer is behind it"
        raise UsageError(message, hint="what has no weights is in float there in any case; leave the option out")
    return tuple(found)


def _is_table(layer: QuantizableLayer, graph: FloatGraph) -> bool:
    """Whether a layer has one output channel, and the weights 0, 1, 2, …."""
    weight = layer.by_channel(graph.arrays[layer.weight])
    return layer.channel_axis is not None and len(weight) == 1 and _counts(weight.ravel())


def _counts(values: np.ndarray[tuple[int], np.dtype[np.generic]]) -> bool:
    return values.size > 1 and np.array_equal(values, np.arange(values.size))


def _nodes_inside(name: str, graph: FloatGraph, topology: Topology) -> Collection[str]:
    """The nodes of a layer or a cell; none where ``name`` is neither."""
    for layer in topology.layers:
        if layer.name == name:
            return (layer.node, layer.batch_norm_node or layer.node)
    return {str(node.name) for node in graph.model.graph.node if str(node.name).startswith(f"{name}.")}


def _names(graph: FloatGraph, topology: Topology) -> dict[str, None]:
    """What has a name: the inputs, layers, cells and tensors."""
    cells = (cell for node in graph.model.graph.node for cell in _cells_of(str(node.name)))
    return dict.fromkeys((*graph.inputs, *(layer.name for layer in topology.layers), *cells, *graph.producers))


def _cells_of(node: str) -> Iterator[str]:
    """``layer1``, ``layer1.0`` and ``layer1.0.conv1`` of ``layer1.0.conv1.Conv2D``."""
    parts = node.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))
