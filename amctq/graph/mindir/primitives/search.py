"""Sorting, the largest values, running sums and products."""

from __future__ import annotations

import numpy as np

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.arithmetic import cast
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Batch, Size, Tensor, Type


@primitive("TopK", "TopkExt")
def top_k(call: Call) -> tuple[Tensor, Tensor]:
    """``mindspore.ops.TopK``: k along the last axis; ``mindspore.mint.topk``: k, axis, largest, sorted."""
    x = call.tensor(0)
    return _largest(call, x, call.value(1), call.axis(2, -1, rank=x.rank), largest=bool(call.value(3, True)))


@primitive("Sort", "SortExt")
def sort(call: Call) -> tuple[Tensor, Tensor]:
    """``mindspore.ops.sort``: axis, descending."""
    x = call.tensor(0)
    axis = int(call.value(1, call.attribute("axis", -1))) % x.rank
    descending = bool(call.value(2, call.attribute("descending", False)))
    return _largest(call, x, x.shape[axis], axis, largest=descending)


@primitive("ArgSort")
def arg_sort(call: Call) -> Tensor:
    """``mindspore.mint.argsort``: axis, descending."""
    x = call.tensor(0)
    axis = call.axis(1, -1, rank=x.rank)
    index = _largest(call, x, x.shape[axis], axis, largest=bool(call.value(2, False)))[1]
    return cast(call, index, call.type.dtype)


def _largest(call: Call, x: Tensor, k: Size, axis: int, *, largest: bool) -> tuple[Tensor, Tensor]:
    shape = tuple(k if index == axis else size for index, size in enumerate(x.shape))
    values, index = call.emit_several(
        "TopK",
        [x, call.graph.ints([k])],
        [Type(x.dtype, shape), Type("int64", shape)],
        axis=axis,
        largest=int(largest),
        sorted=1,
    )
    kinds = call.node.type
    return values, cast(call, index, kinds[1].dtype if isinstance(kinds[1], Type) else "int64")


@primitive("CumSum", "CumsumExt")
def cum_sum(call: Call) -> Tensor:
    """``mindspore.ops.CumSum``: axis, exclusive, reverse; ``mindspore.mint.cumsum``: axis, type."""
    x = cast(call, call.tensor(0), call.type.dtype)
    axis = call.as_tensor(np.asarray(call.axis(1, rank=x.rank)))
    if call.node.primitive == "CumsumExt":
        return call.emit("CumSum", [x, axis])
    exclusive, reverse = (int(bool(call.value(index, False))) for index in (2, 3))
    return call.emit("CumSum", [x, axis], exclusive=exclusive, reverse=reverse)


@primitive("CumProd")
def cum_prod(call: Call) -> Tensor:
    """``mindspore.ops.CumProd``: axis, exclusive, reverse."""
    x = call.tensor(0)
    axis, exclusive, reverse = call.axis(1, rank=x.rank), bool(call.value(2, False)), bool(call.value(3, False))
    size = x.shape[axis]
    if isinstance(size, Batch):
        call.refuse("a running product over the batch", "use another axis")
    row = Type(x.dtype, tuple(1 if index == axis else item for index, item in enumerate(x.shape)))
    rows = list(call.emit_several("Split", [x], [row] * size, axis=axis))
    rows = rows[::-1] if reverse else rows
    found = rows[:1]
    for item in rows[1:]:
        found.append(call.emit("Mul", [found[-1], item], row))
    if exclusive:
        one = call.as_tensor(np.ones((), x.dtype))
        found = [call.expanded(one, row.shape), *found[:-1]]
    return call.emit("Concat", found[::-1] if reverse else found, axis=axis)
