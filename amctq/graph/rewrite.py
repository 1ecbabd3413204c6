"""Writing a new graph from the float graph: nodes are copied, replaced or left out."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from amctq.graph.float_graph import FloatGraph
from amctq.quant.layers import QuantizableLayer


class GraphWriter:
    """Collects nodes and initializers, in the order of the calls.

    Args:
        graph: the float network.
        layers: the layers that are replaced, their BatchNorm folded in.
    """

    def __init__(self, graph: FloatGraph, layers: Iterable[QuantizableLayer]) -> None:
        self._graph = graph
        self._layers = {layer.node: layer for layer in layers}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._shared_constants: dict[tuple[Hashable, ...], str] = {}
        self._copied: set[str] = set()

    def walk(self) -> Iterator[tuple[onnx.NodeProto, QuantizableLayer | None]]:
        """The nodes of the float graph in order, each with its layer or None; folded BatchNorms are left out."""
        folded = {layer.batch_norm_node for layer in self._layers.values()}
        for node in self._graph.model.graph.node:
            if node.name not in folded:
                yield node, self._layers.get(node.name)

    def initializer(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant; returns its name."""
        return self.tensor(name, numpy_helper.from_array(array))

    def shared(self, label: str, array: NDArray[np.generic]) -> str:
        """Add a constant once for all of the same label and content, such as a zero point; returns its name.

        Only uint8 is shared: onnxruntime converts the int8 zero point of every layer on its own, and fails where two
        layers have one in common.
        """
        if array.dtype != np.uint8:
            return self.own(label, array)
        key = (label, array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared_constants:
            number = sum(known[0] == label for known in self._shared_constants)
            self._shared_constants[key] = self.initializer(f"{label}.{number}", array)
        return self._shared_constants[key]

    def own(self, label: str, array: NDArray[np.generic]) -> str:
        """Add a constant for one reader alone; returns its name."""
        return self.initializer(f"{label}.own.{len(self._initializers)}", array)

    def tensor(self, name: str, tensor: onnx.TensorProto) -> str:
        """Add a constant of a type that NumPy does not have; returns its name."""
        tensor.name = name
        self._initializers.append(tensor)
        return name

    def node(self, op: str, name: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        self._nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def copy(self, node: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str] | None = None) -> None:
        """Add a copy of a node with other inputs, and with other outputs where they are given."""
        self._add_copy(node, inputs, node.output if outputs is None else outputs)

    def append(self, node: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Add a node of another graph, with these inputs and outputs."""
        added = copy.deepcopy(node)
        added.input[:], added.output[:] = inputs, outputs
        self._nodes.append(added)

    def layer(
        self,
        layer: QuantizableLayer,
        node: onnx.NodeProto,
        inputs: Sequence[str],
        output: str | None = None,
        **attributes: Any,
    ) -> str:
        """Add a layer with other inputs and changed attributes; returns the name of its output.

        The output is that of its BatchNorm, unless ``output`` is given.
        """
        written = self._add_copy(node, inputs, [output or layer.output])
        written.name = layer.name
        if attributes:
            kept = [item for item in written.attribute if item.name not in {*attributes, "auto_pad"}]
            del written.attribute[:]
            written.attribute.extend([*kept, *(helper.make_attribute(key, value) for key, value in attributes.items())])
        return str(written.output[0])

    def finish(
        self, *, outputs: Iterable[onnx.ValueInfoProto] | None = None, metadata: Mapping[str, str] | None = None
    ) -> onnx.ModelProto:
        """The new model, with the float graph's input and opset.

        What nothing reads is left out: constants, and nodes such as those that have made a weight of a parameter, which
        would keep that parameter in the file. A new constant replaces the one of the same name.

        Args:
            outputs: of the new graph; those of the float graph without it.
            metadata: for the file's metadata_props.
        """
        source = self._graph.model
        last = list(source.graph.output if outputs is None else outputs)
        nodes, read = self._read_by({item.name for item in last})
        read -= {item.name for item in self._initializers}
        kept = [item for item in source.graph.initializer if item.name in read]
        model = helper.make_model(
            helper.make_graph(
                nodes,
                "amctq",
                list(source.graph.input),
                last,
                initializer=[*kept, *self._initializers],
            ),
            opset_imports=list(source.opset_import),
            ir_version=source.ir_version,
            producer_name="amctq",
        )
        helper.set_model_props(model, dict(metadata or {}))
        return model

    def _read_by(self, outputs: set[str]) -> tuple[list[onnx.NodeProto], set[str]]:
        """The nodes that ``outputs`` depend on, in order, and the names of all tensors that are read."""
        read, nodes = set(outputs), []
        for node in reversed(self._nodes):
            if not read.isdisjoint(node.output):
                read.update(node.input)
                nodes.append(node)
        return nodes[::-1], read

    def _add_copy(self, node: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.NodeProto:
        added = copy.deepcopy(node)
        added.input[:], added.output[:] = inputs, outputs
        if node.name in self._copied:  # written twice, for integers and for floats; names of nodes are unique
            added.name = outputs[0]
        self._copied.add(node.name)
        self._nodes.append(added)
        return added
