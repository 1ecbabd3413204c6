"""Reading MindIR as ONNX, opset 17, with a dynamic batch and the parameters under their own names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import amctq.graph.mindir.primitives  # noqa: F401  registers the primitives
from amctq.errors import InputError
from amctq.graph.mindir.call import Call
from amctq.graph.mindir.model import MindirGraph, Node, read_model
from amctq.graph.mindir.onnx_builder import OnnxBuilder
from amctq.graph.mindir.registry import PRIMITIVES
from amctq.graph.mindir.values import MONAD, Tensor, Type, without_batch
from amctq.graph.opset import IR_VERSIONS, OPSET


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadGraph:
    """A MindIR graph as ONNX.

    Attributes:
        model: opset 17, batch dynamic.
        half: cells that compute in float16; they are read as float32.
    """

    model: onnx.ModelProto
    half: tuple[str, ...]


def read_mindir(
    model: Any,
    batch: int,
    *,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    parameters: Mapping[str, NDArray[Any]] = MappingProxyType({}),
) -> ReadGraph:
    """Read a MindIR model.

    Args:
        model: ``mindspore.train.mind_ir_pb2.ModelProto``.
        batch: the batch that the network was exported with: a prime that no size of the network is a multiple of.
        inputs: names for the inputs.
        outputs: names for the outputs.
        parameters: values by name in the checkpoint, of those that the model has without their values.

    Raises:
        InputError: the network has another number of inputs or outputs, control flow, a primitive that amctq does not
            know, or one in a form that it does not know.
    """
    graph = read_model(model, batch, parameters)
    if len(graph.inputs) != len(inputs):
        message = f"the network has {len(graph.inputs)} inputs, expected {len(inputs)}"
        raise InputError(message, hint="give amctq a network that takes one tensor of images")
    return _Reader(graph, batch, inputs).read(outputs)


class _Reader:
    def __init__(self, graph: MindirGraph, batch: int, inputs: tuple[str, ...]) -> None:
        self._graph = graph
        self._batch = batch
        named = [(name, kind) for name, (_, kind) in zip(inputs, graph.inputs, strict=True)]
        self._onnx = OnnxBuilder(named)
        self._values: dict[str, Any] = {
            own: Tensor(name=name, dtype=kind.dtype, shape=kind.shape)
            for (own, kind), name in zip(graph.inputs, inputs, strict=True)
        }
        # By name, the name that it is another name of: Load, Depend and in-place operators.
        self._alias: dict[str, str] = {}
        self._uses = self._count_uses()

    def read(self, outputs: tuple[str, ...]) -> ReadGraph:
        half: list[str] = []
        for node in self._graph.nodes:
            self._values[node.output] = self._written(node)
            if isinstance(node.type, Type) and node.type.dtype == "float16" and node.primitive != "Load":
                half.append(node.cell)
        found = [self._value(name) for name in self._graph.outputs]
        flat = [item for value in found for item in (value if isinstance(value, tuple) else (value,))]
        if len(flat) != len(outputs):
            message = f"the network has {len(flat)} outputs, expected {len(outputs)}"
            raise InputError(message, hint="give amctq only the classifier, without loss or extra heads")
        named = []
        for value, name in zip(flat, outputs, strict=True):
            if not isinstance(value, Tensor) or value.name not in self._onnx.producers:
                message = "the network's output does not depend on its input"
                raise InputError(message, hint="check construct()")
            self._onnx.rename(value.name, name)
            named.append((name, Type(value.dtype, value.shape)))
        model = self._onnx.model(named, OPSET, IR_VERSIONS[OPSET])
        return ReadGraph(model=model, half=tuple(dict.fromkeys(half)))

    def _written(self, node: Node) -> Any:
        """The value of a node's output."""
        if node.primitive in {"UpdateState", "Return"}:
            return MONAD
        args = [self._value(name) for name in node.inputs]
        if node.primitive in {"Load", "Depend"}:
            self._alias[node.output] = self._root(node.inputs[0])
            return args[0]
        if node.primitive == "MakeTuple" or node.primitive == "MakeList":
            return tuple(args)
        if node.primitive in {"TupleGetItem", "ListGetItem"}:
            return args[0][args[1]]
        writer = PRIMITIVES.get(node.primitive)
        if writer is None:
            raise _unknown(node)
        kept = [index for index, arg in enumerate(args) if arg is not MONAD]
        uses = [self._uses[self._root(node.inputs[index])] for index in kept]
        call = Call(node, [args[index] for index in kept], self._onnx, uses)
        result = writer(call)
        if node.primitive.startswith("Inplace"):  # whatever reads its operand from now on reads the result
            self._values[self._root(node.inputs[0])] = result
        return result

    def _value(self, name: str) -> Any:
        name = self._root(name)
        if name in self._values:
            return self._values[name]
        if name in self._graph.constants:
            return self._values.setdefault(name, self._constant(self._graph.constants[name]))
        if name not in self._graph.parameters:
            message = f"the network's MindIR reads {name}, which nothing computes"
            raise InputError(message, hint="please report this with the network")
        own, array = self._graph.parameters[name]
        array = array.astype(np.float32) if array.dtype == np.float16 else array
        self._values[name] = Tensor(name=self._onnx.parameter(own, array), dtype=array.dtype.name, shape=array.shape)
        return self._values[name]

    def _constant(self, value: Any) -> Any:
        """A constant of the graph; an array with the batch in its shape is made from one image's part."""
        if not isinstance(value, np.ndarray) or not any(size and size % self._batch == 0 for size in value.shape):
            return value
        found = without_batch(value, self._batch)
        if found is None:
            message = f"a constant of shape {value.shape} has other values for each image of the batch"
            raise InputError(message, hint="compute it from the input, not from the batch size")
        array, shape = found
        sizes = self._onnx.ints(shape)
        (name,) = self._onnx.add("Expand", [self._onnx.constant(array), sizes], "constant")
        return Tensor(name=name, dtype=array.dtype.name, shape=shape)

    def _root(self, name: str) -> str:
        return self._alias.get(name, name)

    def _count_uses(self) -> Counter[str]:
        """By name, how many nodes read it; plumbing is looked through."""
        alias: dict[str, str] = {}
        uses: Counter[str] = Counter(self._graph.outputs)
        for node in self._graph.nodes:
            if node.primitive in {"Load", "Depend"}:
                alias[node.output] = alias.get(node.inputs[0], node.inputs[0])
            elif node.primitive != "UpdateState":
                uses.update(alias.get(name, name) for name in node.inputs)
        return uses


def _unknown(node: Node) -> InputError:
    where = f" (in {node.cell})" if node.cell else ""
    message = f"amctq does not know the primitive {node.primitive}{where}"
    return InputError(
        message, hint="write that operation with others that amctq knows: docs/en/own-networks.md lists them"
    )
