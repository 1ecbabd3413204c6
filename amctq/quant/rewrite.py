"""Replacing the layers of the float graph: the one place where nodes are taken out and put in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from amctq.quant.topology import FloatGraph, QuantizableLayer


@dataclass
class GraphWriter:
    """Collects the nodes and initializers of a new graph made from a float one.

    ``replace`` writes a layer on new operands; ``finish`` copies what was not replaced and drops what nobody reads.
    """

    graph: FloatGraph
    _replaced: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)
    _dropped: set[str] = field(default_factory=set)
    _pending: list[onnx.NodeProto] = field(default_factory=list)
    _initializers: list[onnx.TensorProto] = field(default_factory=list)

    def initializer(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant; returns its name."""
        return self.tensor(name, numpy_helper.from_array(array))

    def tensor(self, name: str, tensor: onnx.TensorProto) -> str:
        """Add a constant of a type that NumPy lacks; ``tensor`` gets ``name``, which is returned."""
        tensor.name = name
        self._initializers.append(tensor)
        return name

    def node(self, op: str, name: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node in front of the layer that is replaced next; returns its output."""
        self._pending.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def replace(self, layer: QuantizableLayer, inputs: Sequence[str]) -> None:
        """Write ``layer`` on ``inputs``; it yields what its BatchNorm yielded, and that node goes."""
        original = next(node for node in self.graph.model.graph.node if node.name == layer.node)
        written = onnx.NodeProto()
        written.CopyFrom(original)
        written.name = layer.name
        written.input[:] = inputs
        written.output[:] = [layer.output]
        self._replaced[layer.node] = [*self._pending, written]
        self._pending = []
        if layer.batch_norm_node is not None:
            self._dropped.add(layer.batch_norm_node)

    def finish(self, outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The new model, with the float graph's input, opset and node order."""
        source = self.graph.model
        nodes: list[onnx.NodeProto] = []
        for node in source.graph.node:
            if node.name not in self._dropped:
                nodes.extend(self._replaced.get(node.name, [node]))
        read = {name for node in nodes for name in node.input}
        kept = [item for item in source.graph.initializer if item.name in read]
        return helper.make_model(
            helper.make_graph(
                nodes,
                "amctq",
                list(source.graph.input),
                list(outputs),
                initializer=[*kept, *self._initializers],
            ),
            opset_imports=list(source.opset_import),
            ir_version=source.ir_version,
            producer_name="amctq",
        )
