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


class OnnxBuilder:
    """Nodes and initializers in the order of the calls.

    Args:
        inputs: names and types of the graph's inputs; the batch is the first axis of the first.

    Attributes:
        producers: by tensor, the node that yields it.
        reshaped: by tensor, the tensor of which it is only another shape.
        products: by tensor, the Gemm without bias that it comes from, through reshaping at most; nothing else reads
            what is between.
        computes_with_batch: the number of images was asked for as a value, and not as a size.
    """

    def __init__(self, inputs: Sequence[tuple[str, Type]]) -> None:
        self._inputs = tuple(inputs)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, NDArray[Any]] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._names: Counter[str] = Counter(name for name, _ in inputs)
        self._batches: dict[int, str] = {}
        self._computed: set[str] = set()
        self._outputs: dict[str, str] = {}
        # Tensors that depend on the values of the inputs, and not only on their shapes.
        self._live: set[str] = {name for name, _ in inputs}
        self.producers: dict[str, onnx.NodeProto] = {}
        self.reshaped: dict[str, Tensor] = {}
        self.products: dict[str, onnx.NodeProto] = {}
        self.computes_with_batch = False

    def add(self, op: str, inputs: Sequence[str], label: str, *, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node, and name it after ``label``; returns the names of its outputs."""
        name = self._unique(label)
        names = [name, *(f"{name}.{index}" for index in range(1, outputs))]
        node = helper.make_node(op, list(inputs), names, name=name, **attributes)
        self._nodes.append(node)
        self.producers |= dict.fromkeys(names, node)
        if inputs and all(self.is_constant(item) for item in inputs if item):
            self._computed.update(names)
        if op != "Shape" and not self._live.isdisjoint(inputs):
            self._live.update(names)
        return names

    def is_constant(self, name: str) -> bool:
        """Whether a tensor depends on parameters and constants only."""
        return name in self._initializers or name in self._computed

    def depends_on_input(self, name: str) -> bool:
        """Whether the values of a tensor depend on those of the graph's inputs."""
        return name in self._live

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

    def number(self, name: str) -> float | None:
        """The value of a constant that is one floating-point number; None for any other tensor."""
        array = self._initializers.get(name)
        return float(array) if array is not None and array.dtype.kind == "f" and array.ndim == 0 else None

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

    def counted(self, first: NDArray[Any], step: NDArray[Any], axis: int, size: Size) -> str:
        """An array that grows by ``step`` along an axis, on which ``first`` has size 1; ``size`` may be the batch."""
        end = self.batch(size.times) if isinstance(size, Batch) else self.constant(np.asarray([size], np.int64))
        zero, one = (self.constant(np.asarray(value, np.int64)) for value in (0, 1))
        (last,) = self.add("Squeeze", [end, self.constant(np.asarray([0], np.int64))], "sizes")
        (numbers,) = self.add("Range", [zero, last, one], "numbers")
        shape = [-1 if index == axis else 1 for index in range(first.ndim)]
        (numbers,) = self.add("Reshape", [numbers, self.ints(shape)], "numbers")
        if first.dtype != np.int64:
            (numbers,) = self.add("Cast", [numbers], "numbers", to=helper.np_dtype_to_tensor_dtype(first.dtype))
        (numbers,) = self.add("Mul", [numbers, self.constant(step)], "numbers")
        return self.add("Add", [numbers, self.constant(first)], "numbers")[0]

    def output(self, name: str, output: str) -> None:
        """Give a tensor the name of an output of the graph."""
        node = self.producers.get(name)
        if node is None or name in self._outputs:  # an input of the graph, or a tensor that is an output already
            self._nodes.append(helper.make_node("Identity", [self._outputs.get(name, name)], [output], name=output))
            return
        self._outputs[name] = output
        for other in (node, *self._nodes):
            for names in (other.input, other.output):
                if name in names:
                    names[:] = [output if item == name else item for item in names]

    def model(self, outputs: Sequence[tuple[str, Type]], opset: int, ir_version: int) -> onnx.ModelProto:
        """The model without the nodes and constants that no output needs; what is constant is computed first."""
        wanted = {name for name, _ in outputs}
        nodes: list[onnx.NodeProto] = []
        # A layer may have got a bias that was computed after it was written.
        for node in sorted(self._nodes, key=lambda node: node.output[0] not in self._computed)[::-1]:
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
