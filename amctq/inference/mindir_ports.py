"""What a MindIR model takes and gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from amctq.graph.mindir.model import tensors_in
from amctq.graph.mindir.names import input_names, output_names
from amctq.inference.session import Port


def input_ports(graph: Any) -> tuple[Port, ...]:
    """The inputs of a model.

    Args:
        graph: ``mindspore.train.mind_ir_pb2.GraphProto``.
    """
    names = input_names([value.name for value in graph.input])
    return tuple(_port(name, value.tensor) for name, value in zip(names, graph.input, strict=True))


def output_ports(graph: Any) -> tuple[Port, ...]:
    """The tensors that a model gives, in the order of construct(); several are one tuple in the file.

    Args:
        graph: ``mindspore.train.mind_ir_pb2.GraphProto``.
    """
    tensors = [tensor for value in graph.output for tensor in _tensors(value)]
    names = output_names([tensor.dims for tensor in tensors])
    return tuple(_port(name, [tensor]) for name, tensor in zip(names, tensors, strict=True))


def _tensors(value: Any) -> Iterator[Any]:
    yield from value.tensor
    yield from tensors_in(value.attr_info)


def _port(name: str, tensors: Sequence[Any]) -> Port:
    if len(tensors) != 1:
        return Port(name=name, type="no tensor", shape=())
    (tensor,) = tensors
    shape = tuple(dim if dim > 0 else "N" for dim in tensor.dims)
    kinds = {number: kind.lower() for kind, number in type(tensor).DataType.items()}
    return Port(name=name, type=f"tensor({kinds.get(tensor.data_type)})", shape=shape)
