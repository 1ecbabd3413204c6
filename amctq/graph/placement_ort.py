"""Placement ``ort``: every tensor between operators that a runtime computes in integers; what follows is onnxruntime's.

A convolution has integer kernels only where its output is quantized too. So the outputs of convolutions are integers in
any case, and what follows them computes in integers where another integer operator reads the result. A product with a
matrix can yield floats; an operator in float behind it then reads these.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx

from amctq.choices import Placement
from amctq.graph.float_graph import FloatGraph
from amctq.graph.integer_operators import (
    AMONG_CONVOLUTIONS,
    REARRANGEMENTS,
    is_clip,
    is_move,
    operands,
    why_convolution_in_float,
)
from amctq.graph.placement import PlacementPlan, Site
from amctq.graph.qdq_rules import ONNXRUNTIME, QdqRules
from amctq.graph.value_bounds import UNBOUNDED, value_bounds
from amctq.quant.layers import FloatLayer, QuantizableLayer, Topology

_AT_THE_END = "float at run time: its output is the network's output, which stays in float; its weights are integers"


def place_ort(
    graph: FloatGraph,
    topology: Topology,
    *,
    rules: QdqRules = ONNXRUNTIME,
    attention: bool = False,
    in_float: Collection[str] = (),
) -> PlacementPlan:
    """Placement ``ort``.

    Args:
        graph: the float network.
        topology: the layers of ``graph`` that are quantized.
        rules: of the runtime.
        attention: products of two activations in front of layers are quantized too, both operands symmetrically; those
            behind the last one are post-processing.
        in_float: names of nodes that are no layers and compute in float, though they could in integers.
    """
    return _Placer(graph, topology, rules, attention=attention, in_float=in_float).plan()


class _Placer:
    """Decides node by node: forward what can be integers, backward what an integer operator wants."""

    def __init__(
        self, graph: FloatGraph, topology: Topology, rules: QdqRules, *, attention: bool, in_float: Collection[str]
    ) -> None:
        self._rules, self._kept_in_float = rules, frozenset(in_float)
        self._graph, self._layers = graph, {layer.node: layer for layer in topology.layers}
        folded = {layer.batch_norm_node for layer in topology.layers}
        self._nodes = [
            node
            for node in graph.model.graph.node
            if node.output and node.output[0] not in graph.arrays and node.name not in folded
        ]
        self._producers = {name: node for node in self._nodes for name in node.output}
        self._producers |= {layer.output: self._producers[layer.raw_output] for layer in topology.layers}
        reasons = {layer.name: self._why_in_float(layer) for layer in topology.layers}
        self._in_float = {name: reason for name, reason in reasons.items() if reason is not None}
        products = [node for node in self._in_front_of_layers() if attention and self._is_product_of_activations(node)]
        self._symmetric = {name for node in products for name in node.input}
        # Filled forward: tensors that are integers in any case, and that are if something in integers reads them; nodes
        # that can compute in integers, and that can move integers; by tensor that they move, the one it comes from.
        self._integers: set[str] = set()
        self._possible = {layer.input for layer in self._layers.values()}
        self._able: set[str] = set()
        self._able_to_move: set[str] = set()
        self._origin: dict[str, str] = {}
        self._go_forward()
        # Filled backward: tensors that are quantized, and what becomes of the nodes before them.
        self._moves: set[str] = set()
        self._joined: set[str] = set()  # tensors of which a Concat in integers joins parts
        self._computes = {node.name for node in products}
        self._wanted = {layer.input for layer in self._integer_layers()} | self._symmetric
        yielding = [layer for layer in self._integer_layers() if self._quantizes_output(layer)]
        self._wanted |= {self._clipped(layer.output) for layer in yielding}
        self._go_backward()
        while self._complete_a_sum():
            self._go_backward()
        self._move_further()

    def plan(self) -> PlacementPlan:
        """The plan of the decisions."""
        return PlacementPlan(
            placement=Placement.ORT,
            sites=self._sites(),
            moves=frozenset(self._moves),
            integers=frozenset(self._computes),
            before_quantizers=self._before_quantizers(),
            float_layers=tuple(FloatLayer(name=name, reason=reason) for name, reason in self._in_float.items()),
        )

    def _consumers(self, tensor: str) -> tuple[onnx.NodeProto, ...]:
        return self._graph.consumers.get(tensor, ())

    def _integer_layers(self) -> list[QuantizableLayer]:
        return [layer for layer in self._layers.values() if layer.name not in self._in_float]

    def _in_front_of_layers(self) -> list[onnx.NodeProto]:
        """The nodes that a layer needs the outputs of."""
        needed = {layer.input for layer in self._layers.values()}
        found = []
        for node in reversed(self._nodes):
            if not needed.isdisjoint(node.output):
                needed.update(node.input)
                found.append(node)
        return found[::-1]

    def _is_product_of_activations(self, node: onnx.NodeProto) -> bool:
        return node.op_type == "MatMul" and not any(name in self._graph.arrays for name in node.input)

    def _why_in_float(self, layer: QuantizableLayer) -> str | None:
        if not self._rules.integer_outputs or layer.kind.is_dense:
            return None
        tensor = layer.output
        while tensor not in self._graph.outputs:
            readers = self._consumers(tensor)
            if len(readers) != 1 or not (readers[0].op_type in REARRANGEMENTS or is_clip(readers[0], self._graph)):
                return why_convolution_in_float(self._producers[layer.output], self._graph.arrays[layer.weight])
            tensor = readers[0].output[0]
        return _AT_THE_END

    def _quantizes_output(self, layer: QuantizableLayer) -> bool:
        """Whether the runtime computes a layer in integers only if its output is quantized too."""
        return self._rules.integer_outputs and not layer.kind.is_dense

    def _clipped(self, tensor: str) -> str:
        """What a quantizer behind ``tensor`` quantizes: the output of the clip that is its only reader, else itself."""
        readers = self._consumers(tensor)
        alone = len(readers) == 1 and tensor not in self._graph.outputs
        return readers[0].output[0] if alone and is_clip(readers[0], self._graph) else tensor

    def _go_forward(self) -> None:
        possible, certain = self._possible, self._rules.integer_outputs
        for node in self._nodes:
            layer, outputs = self._layers.get(node.name), set(node.output)
            if layer is not None:
                possible.add(layer.output)
                if self._quantizes_output(layer) and layer.name not in self._in_float:
                    self._integers.add(layer.output)
            elif is_clip(node, self._graph) or is_move(node, self._graph) or self._joins_parts(node):
                if node.input[0] in self._integers:
                    self._integers |= outputs
                elif node.input[0] in possible:
                    possible |= outputs
                if not is_clip(node, self._graph) and self._is_worth_moving(node):
                    self._able_to_move.add(node.name)
                    self._origin |= dict.fromkeys(node.output, self._origin.get(node.input[0], node.input[0]))
            elif node.name not in self._kept_in_float:
                read = self._operands(node)
                # A Mul may have a small operand in float: the gate of a squeeze-and-excitation block.
                reads_all = node.op_type == "Mul" or all(name in self._integers or name in possible for name in read)
                if reads_all and not (self._integers if certain else possible).isdisjoint(read):
                    self._able.add(node.name)
                    (self._integers if certain else possible).update(outputs)

    def _operands(self, node: onnx.NodeProto) -> tuple[str, ...]:
        """The activations that a node reads, where the runtime can compute it in integers; empty where not."""
        computes = self._rules.computes
        return (operands(node, self._graph) or ()) if computes is None or node.op_type in computes else ()

    def _joins_parts(self, node: onnx.NodeProto) -> bool:
        """Whether a Concat joins parts of one tensor, so that all its inputs have the same scale."""
        origins = {self._origin.get(name, name) for name in node.input}
        return node.op_type == "Concat" and len(origins) == 1 and not origins.issuperset(node.input)

    def _is_worth_moving(self, node: onnx.NodeProto) -> bool:
        """Whether a node that moves values does so on integers, where an integer operator wants its output."""
        tensor = node.input[0]
        if tensor in self._integers or node.op_type in {*REARRANGEMENTS, "Concat"}:
            return True
        if not self._rules.integer_outputs and tensor in self._possible:
            return True
        # Of a tensor in float, no more is quantized than is read. Parts that make up the whole are no less.
        readers = self._consumers(tensor)
        return len(readers) > 1 and all(reader.op_type == "Slice" for reader in readers)

    def _go_backward(self) -> None:
        for node in reversed(self._nodes):
            output = node.output[0]
            wanted = not self._wanted.isdisjoint(node.output) or self._clipped(output) in self._wanted
            if not wanted or node.name in self._layers:
                continue
            if node.name in self._able_to_move:
                if self._is_read_in_float(node):
                    continue
                self._moves.add(node.name)
                if node.op_type == "Concat":
                    self._joined.add(self._origin[output])
                self._wanted.update(node.input if node.op_type == "Concat" else node.input[:1])
            elif node.name in self._able:
                self._computes.add(node.name)
                self._wanted.update(self._operands(node))
            elif is_clip(node, self._graph) and self._clipped(node.input[0]) != output:
                # Others read the integers as they are without the clip.
                self._wanted |= {node.input[0]} & self._integers

    def _complete_a_sum(self) -> bool:
        """Let a sum that would read integers on one side read them on both, where the runtime wants all or none."""
        sums = [node for node in self._nodes if node.op_type == "Add" and node.name in self._able - self._computes]
        for node in sums if "Add" in self._rules.all_or_none else ():
            if not self._wanted.isdisjoint(self._operands(node)):
                self._computes.add(node.name)
                self._wanted.update(self._operands(node))
                return True
        return False

    def _before_quantizers(self) -> frozenset[str]:
        """The nodes in float that must not read integers, because they do not for all of their operands."""
        found = {node.name for node in self._nodes if node.op_type in self._rules.all_or_none}
        return frozenset(found - self._computes - self._layers.keys())

    def _is_read_in_float(self, node: onnx.NodeProto) -> bool:
        """Whether a node has to move floats in any case, so that moving integers too would be more work."""
        if node.input[0] in self._integers or self._origin[node.output[0]] in self._joined:
            return False
        in_integers = {layer.node for layer in self._integer_layers()} | self._moves | self._computes
        return any(reader.name not in in_integers for name in node.output for reader in self._consumers(name))

    def _move_further(self) -> None:
        """Let nodes that only rearrange integers do so before these become floats: that is less to move."""
        quantized = self._wanted & self._integers
        for node in self._nodes:
            if (
                node.name in self._able_to_move
                and node.input[0] in quantized
                and (node.op_type not in AMONG_CONVOLUTIONS or node.name in self._moves)
            ):
                self._moves.add(node.name)
                quantized.update(node.output)

    def _sites(self) -> tuple[Site, ...]:
        moved = {name: node.input[0] for node in self._nodes if node.name in self._moves for name in node.output}
        roots: dict[str, str] = {}
        readers: dict[str, list[QuantizableLayer]] = {}
        for layer in self._layers.values():
            readers.setdefault(layer.input, []).append(layer)
        members: dict[str, list[str]] = {}
        before: dict[str, QuantizableLayer] = {}
        latest = next(iter(self._layers.values()))
        outputs = {layer.raw_output: layer.output for layer in self._layers.values()}
        yielded = [outputs.get(name, name) for node in self._nodes for name in node.output]
        for tensor in (*self._graph.float_inputs, *yielded):
            node = self._producers.get(tensor)
            latest = latest if node is None else self._layers.get(node.name, latest)
            before[tensor] = latest
            roots[tensor] = roots[moved[tensor]] if tensor in moved else tensor
            if tensor in moved or tensor in self._wanted or tensor in readers:
                members.setdefault(roots[tensor], []).append(tensor)
        bounds = value_bounds(self._graph)
        sites = []
        for root, tensors in members.items():
            layers = [layer for tensor in tensors for layer in readers.get(tensor, ())]
            sites.append(
                Site(
                    tensor=root,
                    watched=self._watched(root, layers),
                    layers=tuple(layer.name for layer in layers),
                    like=(layers[0] if layers else before[root]).name,
                    bounds=bounds.get(root, UNBOUNDED),
                    only_integers=not self._yields_integers(root),
                    symmetric=not self._symmetric.isdisjoint(tensors),
                    written=not self._wanted.isdisjoint(tensors),
                )
            )
        return tuple(sites)

    def _watched(self, root: str, layers: list[QuantizableLayer]) -> str:
        """The tensor to observe: the input of the layers where nothing else reads the integers, else the root."""
        if len({layer.input for layer in layers}) != 1:
            return root
        tensor = root
        while tensor != layers[0].input:
            readers = self._consumers(tensor)
            if len(readers) != 1 or readers[0].name not in self._moves or len(readers[0].output) != 1:
                return root
            tensor = readers[0].output[0]
        return tensor

    def _yields_integers(self, tensor: str) -> bool:
        """Whether an integer kernel yields a tensor. All its readers then read the integers."""
        node = self._producers.get(tensor)
        if node is not None and is_clip(node, self._graph) and self._clipped(node.input[0]) == tensor:
            node = self._producers.get(node.input[0])
        if node is None:
            return False
        layer = self._layers.get(node.name)
        return node.name in self._computes if layer is None else layer.name not in self._in_float
