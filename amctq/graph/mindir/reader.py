"""Reading MindIR as ONNX, opset 17, with a dynamic batch and the parameters under their own names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

import amctq.graph.mindir.primitives  # noqa: F401  registers the primitives
from amctq.errors import InputError
from amctq.graph.mindir.call import Call
from amctq.graph.mindir.model import MindirGraph, Node, read_model
from amctq.graph.mindir.names import output_names
from amctq.graph.mindir.onnx_builder import OnnxBuilder
from amctq.graph.mindir.refusals import refuse_change, refuse_random, refuse_type, unknown, unreadable
from amctq.graph.mindir.registry import PRIMITIVES
from amctq.graph.mindir.values import MONAD, Tensor, Type, known, known_array, steps_of_batch, without_batch
from amctq.graph.opset import IR_VERSIONS, OPSET


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadGraph:
    """A MindIR graph as ONNX.

    Attributes:
        model: opset 17, batch dynamic.
        half: cells that compute in float16; they are read as float32.
        computes_with_batch: the number of images is among its values, and not only in shapes.
    """

    model: onnx.ModelProto
    half: tuple[str, ...]
    computes_with_batch: bool


def read_mindir(
    model: Any,
    batch: int,
    *,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...] | None = None,
    parameters: Mapping[str, NDArray[Any]] = MappingProxyType({}),
) -> ReadGraph:
    """Read a MindIR model.

    Args:
        model: ``mindspore.train.mind_ir_pb2.ModelProto``.
        batch: the batch that the network was exported with: a prime that no size of the network is a multiple of.
        inputs: names for the inputs.
        outputs: names for the outputs; None for those of ``output_names``.
        parameters: values by name in the checkpoint, of those that the model has without their values.

    Raises:
        InputError: the network has another number of inputs or of named outputs, control flow, randomness, changes its
            own parameters, or has a primitive that amctq does not know, or one in a form that it does not know.
    """
    graph = read_model(model, batch, parameters)
    if len(graph.inputs) != len(inputs):
        message = (
            f"the exported graph has {len(graph.inputs)} inputs, and {len(inputs)} were given: {', '.join(inputs)}"
        )
        raise InputError(message, hint="let construct() use every input, and the dataset give no other")
    return _Reader(graph, batch, inputs).read(outputs)


class _Reader:
    def __init__(self, graph: MindirGraph, batch: int, inputs: tuple[str, ...]) -> None:
        self._graph = graph
        self._batch = batch
        named = [(name, kind) for name, (_, kind) in zip(inputs, graph.inputs, strict=True)]
        self._onnx = OnnxBuilder(named)
        self._values: dict[str, Any] = {
            own: self._input(name, kind) for (own, kind), name in zip(graph.inputs, inputs, strict=True)
        }
        # By name, the name that it is another name of: Load, Depend and in-place operators.
        self._alias: dict[str, str] = {}
        self._uses = self._count_uses()

    def read(self, outputs: tuple[str, ...] | None) -> ReadGraph:
        half: list[str] = []
        for node in self._graph.nodes:
            try:
                self._values[node.output] = self._written(node)
            except (InputError, MemoryError):
                raise
            except Exception as error:
                raise unreadable(node, error) from error
            if isinstance(node.type, Type) and node.type.dtype == "float16" and node.primitive != "Load":
                half.append(node.cell)
        found = [self._value(name) for name in self._graph.outputs]
        flat = tuple(value for value in _flat(found) if isinstance(value, (Tensor, np.ndarray)))
        if not flat:
            message = "the network gives no output"
            raise InputError(message, hint="let construct() return a tensor, or a tuple of them")
        names = output_names([value.shape for value in flat]) if outputs is None else outputs
        if len(flat) != len(names):
            message = f"the network has {len(flat)} outputs, expected {len(names)}"
            raise InputError(message, hint="let construct() return just these")
        named = []
        for value, name in zip(flat, names, strict=True):
            if not isinstance(value, Tensor) or not self._onnx.depends_on_input(value.name):
                message = f"the network's {name} does not depend on its input"
                raise InputError(message, hint="check construct(): every output must come from the tensors it takes")
            self._onnx.output(value.name, name)
            named.append((name, Type(value.dtype, value.shape)))
        model = self._onnx.model(named, OPSET, IR_VERSIONS[OPSET])
        return ReadGraph(
            model=model, half=tuple(dict.fromkeys(half)), computes_with_batch=self._onnx.computes_with_batch
        )

    def _input(self, name: str, kind: Type) -> Tensor:
        dtype = known(kind.dtype)
        if dtype != kind.dtype:
            (name,) = self._onnx.add("Cast", [name], name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
        return Tensor(name=name, dtype=dtype, shape=kind.shape)

    def _written(self, node: Node) -> Any:
        """The value of a node's output."""
        if node.primitive in {"UpdateState", "Return", "Print"}:
            return MONAD
        args = [self._value(name, node) for name in node.inputs]
        if node.primitive in {"Load", "Depend"}:
            self._alias[node.output] = self._root(node.inputs[0])
            return args[0]
        if node.primitive in {"MakeTuple", "MakeList", "make_tuple", "make_list"}:
            return tuple(args)
        if node.primitive in {"TupleGetItem", "ListGetItem"}:
            return self._item(node, args[0], args[1])
        refuse_random(node)
        refuse_type(node)
        refuse_change(node, self._parameter(node.inputs[0]) if node.inputs else None)
        writer = PRIMITIVES.get(node.primitive)
        if writer is None:
            raise unknown(node)
        kept = [index for index, arg in enumerate(args) if arg is not MONAD]
        uses = [self._uses[self._root(node.inputs[index])] for index in kept]
        call = Call(node, [args[index] for index in kept], self._onnx, uses)
        result = writer(call)
        if node.primitive.startswith("Inplace"):  # whatever reads its operand from now on reads the result
            self._values[self._root(node.inputs[0])] = result
        return result

    def _item(self, node: Node, outputs: Any, index: int) -> Any:
        """One of several outputs; a writer may leave out the last ones."""
        if not isinstance(outputs, tuple) or not -len(outputs) <= index < len(outputs):
            source = next((item for item in self._graph.nodes if item.output == self._root(node.inputs[0])), node)
            message = (
                f"amctq does not write output {index} of {source.primitive} ({source.place}), which the network uses"
            )
            raise InputError(message, hint="use only its first output")
        return outputs[index]

    def _value(self, name: str, reader: Node | None = None) -> Any:
        name = self._root(name)
        if name in self._values:
            return self._values[name]
        if name in self._graph.constants:
            return self._values.setdefault(name, self._constant(self._graph.constants[name], reader))
        if name not in self._graph.parameters:
            message = f"the network's MindIR reads {name}, which nothing computes"
            raise InputError(message, hint="please report this with the network")
        own, array = self._graph.parameters[name]
        array = known_array(array)
        self._values[name] = Tensor(name=self._onnx.parameter(own, array), dtype=array.dtype.name, shape=array.shape)
        return self._values[name]

    def _constant(self, value: Any, reader: Node | None) -> Any:
        """A constant of the graph; an array with the batch in its shape is made from one image's part."""
        if not isinstance(value, np.ndarray) or not any(size and size % self._batch == 0 for size in value.shape):
            return value
        value = known_array(value)
        found = without_batch(value, self._batch)
        if found is not None:
            array, shape = found
            (name,) = self._onnx.add("Expand", [self._onnx.constant(array), self._onnx.ints(shape)], "constant")
            return Tensor(name=name, dtype=array.dtype.name, shape=shape)
        steps = steps_of_batch(value, self._batch)
        if steps is None:
            place = "" if reader is None else f", for {reader.primitive} ({reader.place}),"
            message = f"a constant of shape {value.shape}{place} has other values for each image of the batch"
            raise InputError(message, hint="compute it from the input, not from the batch size")
        name = self._onnx.counted(steps.first, steps.step, steps.axis, steps.shape[steps.axis])
        return Tensor(name=name, dtype=value.dtype.name, shape=steps.shape)

    def _parameter(self, name: str) -> str | None:
        """The name in the checkpoint, None where ``name`` is no parameter."""
        return self._graph.parameters.get(self._root(name), (None, None))[0]

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


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """Outputs one by one: construct() may return tuples of tuples, and numbers among the tensors."""
    for value in values:
        if isinstance(value, tuple):
            yield from _flat(value)
        else:
            yield value
