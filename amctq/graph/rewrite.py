"""Writing a new graph from the float one: the one place where nodes are taken over, replaced and dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from amctq.graph.float_graph import FloatGraph
from amctq.quant.layers import QuantizableLayer


class GraphWriter:
    """Collects nodes and initializers, in the order in which they are given.

    Args:
        graph: the float network.
        layers: those of its layers that are written anew, their BatchNorm folded in.
    """

    def __init__(self, graph: FloatGraph, layers: Iterable[QuantizableLayer]) -> None:
        self._graph = graph
        self._layers = {layer.node: layer for layer in layers}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def walk(self) -> Iterator[tuple[onnx.NodeProto, QuantizableLayer | None]]:
        """The float graph's nodes in order, each with the layer that it is; BatchNorms folded in are left out."""
        folded = {layer.batch_norm_node for layer in self._layers.values()}
        for node in self._graph.model.graph.node:
            if node.name not in folded:
                yield node, self._layers.get(node.name)

    def initializer(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant; returns its name."""
        return self.tensor(name, numpy_helper.from_array(array))

    def tensor(self, name: str, tensor: onnx.TensorProto) -> str:
        """Add a constant of a type that NumPy lacks; ``tensor`` gets ``name``, which is returned."""
        tensor.name = name
        self._initializers.append(tensor)
        return name

    def node(self, op: str, name: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node; returns its output."""
        self._nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def copy(self, node: onnx.NodeProto, inputs: Sequence[str], output: str | None = None) -> None:
        """Take a node over, reading other tensors, and yielding another one where ``output`` is given."""
        taken = self._taken(node, inputs)
        if output is not None:
            taken.output[:] = [output]
        self._nodes.append(taken)

    def layer(
        self,
        layer: QuantizableLayer,
        node: onnx.NodeProto,
        inputs: Sequence[str],
        output: str | None = None,
        **attributes: Any,
    ) -> str:
        """Write a layer on other operands, some attributes changed; returns its output.

        That is what its BatchNorm yielded, unless ``output`` names another tensor.
        """
        written = self._taken(node, inputs)
        written.name = layer.name
        written.output[:] = [output or layer.output]
        if attributes:
            kept = [item for item in written.attribute if item.name not in {*attributes, "auto_pad"}]
            del written.attribute[:]
            written.attribute.extend([*kept, *(helper.make_attribute(key, value) for key, value in attributes.items())])
        self._nodes.append(written)
        return written.output[0]

    def finish(self, outputs: Iterable[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The new model, with the float graph's input and opset.

        Constants that nobody reads are left out; one that is written anew takes the place of the float one.
        """
        source = self._graph.model
        read = {name for node in self._nodes for name in node.input} - {item.name for item in self._initializers}
        kept = [item for item in source.graph.initializer if item.name in read]
        return helper.make_model(
            helper.make_graph(
                self._nodes,
                "amctq",
                list(source.graph.input),
                list(outputs),
                initializer=[*kept, *self._initializers],
            ),
            opset_imports=list(source.opset_import),
            ir_version=source.ir_version,
            producer_name="amctq",
        )

    @staticmethod
    def _taken(node: onnx.NodeProto, inputs: Sequence[str]) -> onnx.NodeProto:
        taken = onnx.NodeProto()
        taken.CopyFrom(node)
        taken.input[:] = inputs
        return taken
