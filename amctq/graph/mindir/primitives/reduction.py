"""Sums, means and extremes along axes."""

from __future__ import annotations

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.arithmetic import cast
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor, Type

_REDUCE = {
    "ReduceMean": "ReduceMean",
    "MeanExt": "ReduceMean",
    "ReduceSum": "ReduceSum",
    "SumExt": "ReduceSum",
    "ReduceMax": "ReduceMax",
    "ReduceMin": "ReduceMin",
    "ReduceProd": "ReduceProd",
    "AMax": "ReduceMax",
    "AMin": "ReduceMin",
}


def _reduce(call: Call) -> Tensor:
    x = cast(call, call.tensor(0), call.type.dtype)
    axis = call.value(1, ())
    axes = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    numbers = sorted(int(item) % max(x.rank, 1) for item in axes) or list(range(x.rank))
    return reduced(call, _REDUCE[call.node.primitive], x, numbers, keep=bool(call.value(2, False)))


def reduced(call: Call, op: str, x: Tensor, axes: list[int], *, keep: bool) -> Tensor:
    """An ONNX reduction. A mean over height and width is GlobalAveragePool, for which integer kernels exist."""
    if not axes:
        return x
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    shape = kept if keep else tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
    if op == "ReduceMean" and x.rank == 4 and axes == [2, 3] and x.dtype == "float32":
        pooled = call.emit("GlobalAveragePool", [x], Type(x.dtype, kept))
        return pooled if keep else call.emit("Flatten", [pooled], Type(x.dtype, shape))
    if op == "ReduceSum":
        return call.emit(op, [x, call.graph.ints(axes)], Type(x.dtype, shape), keepdims=int(keep))
    return call.emit(op, [x], Type(x.dtype, shape), axes=axes, keepdims=int(keep))


for _name in _REDUCE:
    primitive(_name)(_reduce)


@primitive("ArgMaxWithValue", "ArgMinWithValue")
def arg_with_value(call: Call) -> tuple[Tensor, Tensor]:
    """``mindspore.ops.ArgMaxWithValue``: index and value of the extreme along an axis; axis, keep_dims."""
    x = call.tensor(0)
    axis, keep = call.axis(1, 0, rank=x.rank), bool(call.value(2, False))
    name = "Max" if "Max" in call.node.primitive else "Min"
    index = call.emit(f"Arg{name}", [x], Type("int64", call.shape), axis=axis, keepdims=int(keep))
    return cast(call, index, "int32"), reduced(call, f"Reduce{name}", x, [axis], keep=keep)


@primitive("Argmax", "Argmin", "ArgMaxExt", "ArgMinExt")
def arg(call: Call) -> Tensor:
    """``mindspore.ops.Argmax``: axis, type of the result."""
    name = "ArgMax" if "max" in call.node.primitive.lower() else "ArgMin"
    x = call.tensor(0)
    axis, keep = call.value(1, -1), "Ext" in call.node.primitive and bool(call.value(2, False))
    if axis is None:
        x, axis, keep = call.emit("Flatten", [x], x_flat(x), axis=0), 1, False
    index = call.emit(name, [x], Type("int64", call.shape), axis=int(axis), keepdims=int(keep))
    return cast(call, index, call.type.dtype)


def x_flat(x: Tensor) -> Type:
    """The type of ``x`` as one row."""
    from amctq.graph.mindir.primitives.matrix import product_of

    return Type(x.dtype, (1, product_of(x.shape)))
