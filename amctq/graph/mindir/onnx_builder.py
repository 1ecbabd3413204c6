"""Collects the nodes and constants of the ONNX graph that a MindIR graph becomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from amctq.graph.mindir.values import Batch, Size, Tensor, Type

BATCH_NAME = "N"


class OnnxBuilder:
    """Nodes and initializers in the order of the calls.

    Args:
        inputs: names and types of the graph's inputs; the batch is the first axis of the first.

    Attributes:
        producers: by tensor, the node that yields it.
        reshaped: by tensor, the tensor of which it is only another shape.
    """

    def __init__(self, inputs: Sequence[tuple[str, Type]]) -> None:
        self._inputs = tuple(inputs)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, NDArray[Any]] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._names: Counter[str] = Counter(name for name, _ in inputs)
        self._batches: dict[int, str] = {}
        self._computed: set[str] = set()
        self.producers: dict[str, onnx.NodeProto] = {}
        self.reshaped: dict[str, Tensor] = {}

    def add(self, op: str, inputs: Sequence[str], label: str, *, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node, and name it after ``label``; returns the names of its outputs."""
        name = self._unique(label)
        names = [name, *(f"{name}.{index}" for index in range(1, outputs))]
        node = helper.make_node(op, list(inputs), names, name=name, **attributes)
        self._nodes.append(node)
        self.producers |= dict.fromkeys(names, node)
        if inputs and all(self.is_constant(item) for item in inputs if item):
            self._computed.update(names)
        return names

    def is_constant(self, name: str) -> bool:
        """Whether a tensor depends on parameters and constants only."""
        return name in self._initializers or name in self._computed

    def parameter(self, name: str, array: NDArray[Any]) -> str:
        """Add a parameter under its own name, once; returns the name."""
        if name not in self._initializers:
            self._names[name] += 1
            self._initializers[name] = array
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """Add a constant, once for all of the same content; returns its name."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = name = self._unique("constant")
            self._initializers[name] = array
        return self._constants[key]

    def ints(self, sizes: Iterable[Size]) -> str:
        """An int64 vector; sizes that come from the batch are computed from the input's."""
        sizes = list(sizes)
        parts: list[str] = []
        plain: list[int] = []
        for size in sizes:
            if isinstance(size, Batch):
                parts += [self.constant(np.asarray(plain, np.int64))] if plain else []
                parts.append(self.batch(size.times))
                plain = []
            else:
                plain.append(size)
        if plain or not parts:
            parts.append(self.constant(np.asarray(plain, np.int64)))
        return parts[0] if len(parts) == 1 else self.add("Concat", parts, "sizes", axis=0)[0]

    def batch(self, times: int) -> str:
        """``times`` × the batch, an int64 vector of one element."""
        if 1 not in self._batches:
            self._batches[1] = self.add("Shape", [self._inputs[0][0]], "batch", start=0, end=1)[0]
        if times not in self._batches:
            factor = self.constant(np.asarray([times], np.int64))
            self._batches[times] = self.add("Mul", [self._batches[1], factor], "batch")[0]
        return self._batches[times]

    def rename(self, old: str, new: str) -> None:
        """Give a tensor that a node yields another name."""
        node = self.producers.pop(old)
        node.output[:] = [new if name == old else name for name in node.output]
        self.producers[new] = node
        for other in self._nodes:
            if old in other.input:
                other.input[:] = [new if name == old else name for name in other.input]

    def model(self, outputs: Sequence[tuple[str, Type]], opset: int, ir_version: int) -> onnx.ModelProto:
        """The model without the nodes and constants that no output needs."""
        wanted = {name for name, _ in outputs}
        nodes: list[onnx.NodeProto] = []
        for node in reversed(self._nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                nodes.append(node)
        graph = helper.make_graph(
            nodes[::-1],
            "network",
            [_value(name, kind) for name, kind in self._inputs],
            [_value(name, kind) for name, kind in outputs],
            initializer=[
                numpy_helper.from_array(array, name) for name, array in self._initializers.items() if name in wanted
            ],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version, producer_name="amctq"
        )

    def _unique(self, label: str) -> str:
        self._names[label] += 1
        return label if self._names[label] == 1 else self._unique(f"{label}:{self._names[label]}")


def _value(name: str, kind: Type) -> onnx.ValueInfoProto:
    sizes = [str(size) if isinstance(size, Batch) else size for size in kind.shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind.dtype)), sizes)
