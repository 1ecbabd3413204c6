"""Tensors that are made and not computed: constants of a shape, ranges, grids, one-hot codes, triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.arithmetic import cast
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor, Type, known


@primitive("Zeros", "ZerosLike", "ZerosLikeExt", "NewZeros", "InplaceZero")
def zeros(call: Call) -> Tensor:
    """``mindspore.ops.zeros``, ``zeros_like``."""
    return _full(call, 0)


@primitive("Ones", "OnesLike", "OnesLikeExt", "NewOnes")
def ones(call: Call) -> Tensor:
    """``mindspore.ops.ones``, ``ones_like``."""
    return _full(call, 1)


@primitive("FillV2", "FillScalar", "FillTensor", "FullLike", "InplaceFillScalar", "InplaceFillTensor")
def full(call: Call) -> Tensor:
    """``mindspore.ops.full``, ``full_like``, ``fill``: of a value."""
    return _full(call, call.args[1])


@primitive("NewFull")
def new_full(call: Call) -> Tensor:
    """``mindspore.Tensor.new_full``: of a shape and a value."""
    return _full(call, call.args[2])


def _full(call: Call, value: Any) -> Tensor:
    dtype = known(call.type.dtype)
    return call.expanded(cast(call, call.as_tensor(value, dtype), dtype), call.shape)


@primitive("InplaceCopy")
def copied(call: Call) -> Tensor:
    """``mindspore.Tensor.copy_``: the values of another tensor."""
    return call.expanded(cast(call, call.tensor(1), call.type.dtype), call.shape)


@primitive("Eye")
def eye(call: Call) -> Tensor:
    """``mindspore.ops.eye``: rows and columns."""
    return call.as_tensor(np.eye(int(call.value(0)), int(call.value(1)), dtype=known(call.type.dtype)))


@primitive("LinSpace", "LinSpaceExt")
def lin_space(call: Call) -> Tensor:
    """``mindspore.ops.linspace``: start, end, how many."""
    start, end = (float(np.asarray(call.value(index))) for index in (0, 1))
    return call.as_tensor(np.linspace(start, end, int(call.value(2)), dtype=known(call.type.dtype)))


@primitive("Range", "Arange")
def arange(call: Call) -> Tensor:
    """``mindspore.ops.arange``: start, end, step."""
    dtype = known(call.type.dtype)
    ends = [cast(call, call.as_tensor(call.args[index], dtype), dtype) for index in range(3)]
    return call.emit("Range", [call.reshape(end, ()) for end in ends])


@primitive("Meshgrid")
def meshgrid(call: Call) -> tuple[Tensor, ...]:
    """``mindspore.ops.meshgrid`` of vectors: indexing "xy" (1 in MindIR) or "ij" (0)."""
    vectors = [call.as_tensor(item) for item in call.args[0]]
    order = list(range(len(vectors)))
    if call.value(1, call.attribute("indexing", "xy")) in {1, "xy"} and len(vectors) > 1:
        order[:2] = [1, 0]
    shape = tuple(vectors[index].shape[0] for index in order)
    made = []
    for number, vector in enumerate(vectors):
        place = order.index(number)
        sizes = [vector.shape[0] if axis == place else 1 for axis in range(len(shape))]
        made.append(call.expanded(call.reshape(vector, sizes), shape))
    return tuple(made)


@primitive("OneHot", "OneHotExt")
def one_hot(call: Call) -> Tensor:
    """``mindspore.ops.one_hot``: indices, depth, values on and off, axis; an index outside is off everywhere."""
    index, depth = cast(call, call.tensor(0), "int64"), int(call.value(1))
    dtype = known(call.type.dtype)
    on, off = (cast(call, call.as_tensor(call.args[place], dtype), dtype) for place in (2, 3))
    axis = int(call.value(4, call.attribute("axis", -1))) % (index.rank + 1)
    shape = (*index.shape[:axis], 1, *index.shape[axis:])
    classes = np.arange(depth).reshape(depth, *(1,) * (index.rank - axis))
    hit = call.emit(
        "Equal",
        [call.reshape(index, shape), call.as_tensor(classes)],
        Type("bool", (*shape[:axis], depth, *shape[axis + 1 :])),
    )
    return call.emit("Where", [hit, on, off])


@primitive("Tril", "TrilExt", "Triu")
def triangle(call: Call) -> Tensor:
    """``mindspore.ops.tril``, ``triu``: zero above or below a diagonal of the last two axes."""
    x = call.tensor(0)
    diagonal = int(call.value(1, call.attribute("diagonal", 0)))
    upper = call.node.primitive == "Triu"
    rows, columns = x.shape[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        call.refuse("a triangle over the batch", "use other axes")
    ones = np.ones((rows, columns), bool)
    mask = np.triu(ones, diagonal) if upper else np.tril(ones, diagonal)
    return call.emit("Where", [call.as_tensor(mask), x, call.as_tensor(np.zeros((), x.dtype))])
