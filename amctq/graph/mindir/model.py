"""A MindIR file as plain Python objects.

The format is MindSpore's ``mind_ir.proto``. A node refers to a primitive (``REF::<name>``), whose attributes hold some
of its settings; other settings are inputs, which are constants then. Every node says the shape and type of its output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.errors import InputError
from amctq.graph.mindir.values import MONAD, Constant, Type, with_batches

# TensorProto.DataType of mind_ir.proto.
_DTYPES: dict[int, str] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    17: "float64",
}
UNREAD = {14: "complex64", 15: "complex128", 16: "bfloat16"}
_REFERENCE = "REF::"


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation.

    Attributes:
        primitive: MindSpore's name of it, such as ``Conv2D``.
        inputs: names of its inputs: parameters, inputs of the graph, constants, outputs of other nodes.
        output: name of its output.
        attributes: settings that are no inputs.
        type: of its output; a tuple where there are several, None where it is no tensor.
        scope: where it is in the network, as MindSpore says it: ``Default/layer1-SequentialCell/…/Conv2D-op0``.
    """

    primitive: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    type: Any = None
    scope: str = ""

    @property
    def cell(self) -> str:
        """The path of the cell in the network, such as ``layer1.0.conv1``; empty for the network itself."""
        steps = self.scope.split("/")[1:-1]
        return ".".join(step.partition("-")[0] for step in steps)

    @property
    def place(self) -> str:
        """Where it is, for messages. MindIR holds no lines of source code."""
        return f"in {self.cell or 'the network itself'}"


@dataclass(frozen=True, kw_only=True, eq=False)
class MindirGraph:
    """The graph of a MindIR file.

    Attributes:
        parameters: by name in the graph, name in the checkpoint and value.
        constants: by name in the graph.
        inputs: names and types.
        nodes: in the order of execution, constants left out.
        outputs: names.
    """

    parameters: Mapping[str, tuple[str, NDArray[Any]]]
    constants: Mapping[str, Constant]
    inputs: tuple[tuple[str, Type], ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]


def read_model(model: Any, batch: int, parameters: Mapping[str, NDArray[Any]]) -> MindirGraph:
    """The graph of a MindIR model.

    Args:
        model: ``mindspore.train.mind_ir_pb2.ModelProto``.
        batch: the batch that it was exported with; every integer that is a multiple of it becomes a ``Batch``.
        parameters: values by name in the checkpoint, of those that the model has without their values.

    Raises:
        InputError: it has several graphs, which means control flow, or values of a type that amctq does not know.
    """
    if model.functions:
        message = "the network has control flow that depends on its data: its graph has several parts"
        hint = "write construct() without if, while or for on tensors, and index with numbers in place of boolean masks"
        raise InputError(message, hint=hint)
    graph = model.graph
    primitives = {item.name: item for item in model.primitives}
    constants: dict[str, Constant] = {}
    nodes = []
    for item in graph.node:
        if item.op_type == "Constant":
            constants[item.output[0]] = _constant(item, batch)
            continue
        primitive = primitives.get(item.op_type.removeprefix(_REFERENCE))
        attributes = {} if primitive is None else _attributes(primitive.attribute, batch)
        shape = next((attribute for attribute in item.attribute if attribute.name == "shape"), None)
        nodes.append(
            Node(
                primitive=item.op_type if primitive is None else primitive.op_type,
                inputs=tuple(item.input),
                output=item.output[0],
                attributes=attributes,
                type=None if shape is None else _type(shape, batch),
                scope=item.domain,
            )
        )
    return MindirGraph(
        parameters={item.name: _parameter(item, parameters) for item in graph.parameter},
        constants=constants,
        inputs=tuple((value.name, _tensor_type(value.tensor[0], batch)) for value in graph.input),
        nodes=tuple(nodes),
        outputs=tuple(value.name for value in graph.output),
    )


def _parameter(item: Any, parameters: Mapping[str, NDArray[Any]]) -> tuple[str, NDArray[Any]]:
    name = str(item.name.partition(":")[2] or item.name)
    if name in parameters:
        return name, parameters[name]
    if not item.raw_data and math.prod(item.dims):
        message = f"the network reads the parameter {name}, which none of its cells owns"
        raise InputError(message, hint="make it an attribute of a cell, so that a checkpoint holds it")
    return name, tensor_value(item)


def tensor_value(tensor: Any) -> NDArray[Any]:
    """The content of a tensor of the file.

    Raises:
        InputError: its type is unknown to amctq.
    """
    dtype = _DTYPES.get(tensor.data_type)
    if dtype is None:
        message = f"{tensor.name or 'a constant'} has the data type {tensor.data_type} of MindIR, which NumPy lacks"
        raise InputError(message, hint="use float32, float16, integers or bool")
    return np.frombuffer(tensor.raw_data, dtype).reshape(tuple(tensor.dims))


def tensors_in(attribute: Any) -> Iterator[Any]:
    """The tensors that an attribute describes, also within tuples; MindIR writes a number as a tensor, too."""
    if attribute.type != type(attribute).AttributeType.Value("SCALAR"):
        yield from attribute.tensors
    for value in attribute.values:
        yield from tensors_in(value)


def _constant(item: Any, batch: int) -> Constant:
    return _value(next(attribute for attribute in item.attribute if attribute.name == "value"), batch)


def _attributes(items: Any, batch: int) -> dict[str, Any]:
    return {item.name: _value(item, batch) for item in items if not item.name.startswith(("input_n", "output_n"))}


def _value(item: Any, batch: int) -> Constant:
    """The value of an attribute. A scalar is in another field on its own than within a tuple."""
    kind = type(item).AttributeType.Name(item.type)
    if kind in {"TUPLE", "LIST"}:
        return tuple(_value(value, batch) for value in item.values)
    if kind in {"TENSORS", "TENSOR"}:
        return with_batches(tensor_value(item.tensors[0] if item.tensors else item.t), batch)
    if kind in {"UMONAD", "IOMONAD"}:
        return MONAD
    if kind == "BOOL":
        return bool(item.i or any(item.ints))
    if kind.startswith(("INT", "UINT")):
        return with_batches(item.ints[0] if item.ints else item.i, batch)
    if kind in {"FLOAT", "FLOAT16", "BFLOAT16"}:
        return float(item.floats[0] if item.floats else item.f)
    if kind == "DOUBLE":
        return float(item.doubles[0] if item.doubles else item.d)
    if kind == "STRING":
        text = item.strings[0] if item.strings else item.s
        return text.decode() if isinstance(text, bytes) else str(text)
    return None


def _type(item: Any, batch: int) -> Any:
    kind = type(item).AttributeType.Name(item.type)
    if kind == "TUPLE":
        return tuple(_type(value, batch) for value in item.values)
    return _tensor_type(item.tensors[0], batch) if item.tensors else None


def _tensor_type(tensor: Any, batch: int) -> Type:
    shape = tuple(with_batches(int(size), batch) for size in tensor.dims)
    return Type(dtype=(_DTYPES | UNREAD).get(tensor.data_type, "unknown"), shape=shape)
