"""The integers of a MindIR model: those that may come from the batch, and which of them may be the network's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def integers(model: Any) -> set[int]:
    """All integers of a model that the reader may take for multiples of the batch.

    Args:
        model: ``mindspore.train.mind_ir_pb2.ModelProto``.
    """
    return {size for tensor in model.graph.parameter for size in tensor.dims}.union(
        (size for value in (*model.graph.input, *model.graph.output) for item in value.tensor for size in item.dims),
        *(_integers(item) for item in _attributes(model)),
    )


def has_doubtful(model: Any, batch: int) -> bool:
    """Whether a multiple of the batch in a model may be a number of the network itself.

    The first size of a tensor is nearly always the batch, and a mistake there has no consequence for the tensor itself.
    """
    return any(
        number and number % batch == 0
        for item in _attributes(model)
        for number in (_further_sizes(item) if item.name == "shape" else _integers(item))
    )


def _attributes(model: Any) -> Iterator[Any]:
    for owner in (*model.graph.node, *model.primitives):
        yield from owner.attribute


def _integers(item: Any) -> Iterator[int]:
    yield item.i
    yield from item.ints
    for tensor in (*item.tensors, item.t):
        yield from tensor.dims
    for value in item.values:
        yield from _integers(value)


def _further_sizes(item: Any) -> Iterator[int]:
    """The sizes of the tensors in a type, but for the first of each."""
    for tensor in item.tensors:
        yield from tensor.dims[1:]
    for value in item.values:
        yield from _further_sizes(value)
