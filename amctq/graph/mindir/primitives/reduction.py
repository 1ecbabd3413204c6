"""Sums, means, deviations, norms and extremes along axes."""

from __future__ import annotations

import math
from typing import Any

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.arithmetic import cast, number
from amctq.graph.mindir.primitives.matrix import product_of
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Batch, Size, Tensor, Type

_REDUCE = {
    "ReduceMean": "ReduceMean",
    "MeanExt": "ReduceMean",
    "ReduceSum": "ReduceSum",
    "SumExt": "ReduceSum",
    "ReduceMax": "ReduceMax",
    "ReduceMin": "ReduceMin",
    "ReduceProd": "ReduceProd",
    "ProdExt": "ReduceProd",
    "AMax": "ReduceMax",
    "AMin": "ReduceMin",
    "Max": "ReduceMax",
    "Min": "ReduceMin",
}


def axes_of(axis: Any, rank: int) -> list[int]:
    """An axis, a tuple of them, or all where it is None or empty; counted from the front."""
    axes = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return sorted(int(item) % max(rank, 1) for item in axes) or list(range(rank))


def _reduce(call: Call) -> Tensor:
    x = cast(call, call.tensor(0), call.type.dtype)
    axes = axes_of(call.value(1, ()), x.rank)
    return reduced(call, _REDUCE[call.node.primitive], x, axes, keep=bool(call.value(2, False)))


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


@primitive("ReduceAll", "ReduceAny", "Any", "AnyExt")
def all_or_any(call: Call) -> Tensor:
    """``mindspore.ops.all``, ``any``: the least or largest of 0 and 1."""
    x = cast(call, cast(call, call.tensor(0), "bool"), "int32")
    op = "ReduceMin" if "All" in call.node.primitive else "ReduceMax"
    axes = axes_of(call.value(1, None), x.rank)
    return cast(call, reduced(call, op, x, axes, keep=bool(call.value(2, False))), "bool")


@primitive("CountNonZero")
def count_nonzero(call: Call) -> Tensor:
    """``mindspore.ops.count_nonzero``."""
    x = cast(call, cast(call, call.tensor(0), "bool"), "int64")
    found = reduced(call, "ReduceSum", x, axes_of(call.value(1, None), x.rank), keep=False)
    return cast(call, found, call.type.dtype)


@primitive("ReduceStd", "StdMean")
def std_and_mean(call: Call) -> tuple[Tensor, Tensor]:
    """``mindspore.ops.ReduceStd``: axes, unbiased, keep_dims; the standard deviation and the mean."""
    variance, mean = _variance(call)
    return call.emit("Sqrt", [variance], Type(variance.dtype, variance.shape)), mean


@primitive("VarMean")
def var_and_mean(call: Call) -> tuple[Tensor, Tensor]:
    """``mindspore.mint.var_mean``: axes, correction, keepdim."""
    return _variance(call)


@primitive("Std", "Var")
def std_or_var(call: Call) -> Tensor:
    """``mindspore.mint.std``, ``var``: axes, correction, keepdim."""
    variance, _ = _variance(call)
    return call.emit("Sqrt", [variance]) if call.node.primitive == "Std" else variance


def _variance(call: Call) -> tuple[Tensor, Tensor]:
    x = call.tensor(0)
    axes = axes_of(call.value(1, None), x.rank)
    correction, keep = call.value(2, 1), bool(call.value(3, False))
    mean = reduced(call, "ReduceMean", x, axes, keep=True)
    centred = call.emit("Sub", [x, mean], Type(x.dtype, x.shape))
    square = call.emit("Mul", [centred, centred], Type(x.dtype, x.shape))
    variance = reduced(call, "ReduceMean", square, axes, keep=keep)
    correction = 0 if correction is None else int(correction)
    if correction:
        count: Size = product_of([x.shape[axis] for axis in axes])
        if isinstance(count, Batch):
            call.refuse("an unbiased deviation over the batch", "use the other axes")
        factor = count / (count - correction) if count > correction else math.nan
        variance = call.emit("Mul", [variance, number(call, factor, x)], Type(x.dtype, variance.shape))
    return variance, call.reshape(mean, variance.shape)


@primitive("LogSumExp")
def log_sum_exp(call: Call) -> Tensor:
    """``mindspore.mint.logsumexp``: axes, keepdim."""
    x = call.tensor(0)
    return reduced(call, "ReduceLogSumExp", x, axes_of(call.value(1), x.rank), keep=bool(call.value(2, False)))


@primitive("LpNorm")
def lp_norm(call: Call) -> Tensor:
    """``mindspore.ops.LpNorm``: (Σ |x|^p)^(1/p); axis, p, keep_dims."""
    x = call.tensor(0)
    axes = axes_of(call.attribute("axis"), x.rank)
    return _norm(call, x, call.attribute("p"), axes, keep=bool(call.attribute("keep_dims", False)))


@primitive("LpNormV2", "LinalgVectorNorm", "Norm")
def vector_norm(call: Call) -> Tensor:
    """``mindspore.mint.norm``, ``mindspore.mint.linalg.vector_norm``: p, axes, keepdim."""
    x = cast(call, call.tensor(0), call.type.dtype)
    return _norm(call, x, call.value(1, 2), axes_of(call.value(2, None), x.rank), keep=bool(call.value(3, False)))


@primitive("Cdist")
def distances(call: Call) -> Tensor:
    """``mindspore.ops.cdist``: the p-norms of the differences of all rows of x (…, P, M) and all of y (…, R, M)."""
    x, y = call.tensor(0), call.tensor(1)
    rows = call.reshape(x, (*x.shape[:-1], 1, x.shape[-1]))
    columns = call.reshape(y, (*y.shape[:-2], 1, *y.shape[-2:]))
    difference = call.emit("Sub", [rows, columns], Type(x.dtype, (*call.shape, x.shape[-1])))
    return _norm(call, difference, float(call.value(2, 2.0)), [len(call.shape)], keep=False)


def _norm(call: Call, x: Tensor, p: float, axes: list[int], *, keep: bool) -> Tensor:
    if p in {1, 2}:
        return reduced(call, f"ReduceL{int(p)}", x, axes, keep=keep)
    same = Type(x.dtype, x.shape)
    size = call.emit("Abs", [x], same)
    if p in {math.inf, -math.inf}:
        return reduced(call, "ReduceMax" if p > 0 else "ReduceMin", size, axes, keep=keep)
    if p == 0:
        return reduced(call, "ReduceSum", call.emit("Sign", [size], same), axes, keep=keep)
    total = reduced(call, "ReduceSum", call.emit("Pow", [size, number(call, p, x)], same), axes, keep=keep)
    return call.emit("Pow", [total, number(call, 1 / p, x)], Type(x.dtype, total.shape))


@primitive("ArgMaxWithValue", "ArgMinWithValue")
def arg_with_value(call: Call) -> tuple[Tensor, Tensor]:
    """``mindspore.ops.ArgMaxWithValue``: index and value of the extreme along an axis; axis, keep_dims."""
    index, value = _extreme(call)
    return cast(call, index, "int32"), value


@primitive("MaxDim", "MinDim")
def value_with_arg(call: Call) -> tuple[Tensor, Tensor]:
    """``mindspore.mint.max``, ``min`` along an axis: value and index; axis, keepdim."""
    index, value = _extreme(call)
    return value, index


def _extreme(call: Call) -> tuple[Tensor, Tensor]:
    x = call.tensor(0)
    axis, keep = call.axis(1, 0, rank=x.rank), bool(call.value(2, False))
    name = "Max" if "Max" in call.node.primitive else "Min"
    index = call.emit(f"Arg{name}", [x], Type("int64", call.shape), axis=axis, keepdims=int(keep))
    return index, reduced(call, f"Reduce{name}", x, [axis], keep=keep)


@primitive("Argmax", "Argmin", "ArgMaxExt", "ArgMinExt")
def arg(call: Call) -> Tensor:
    """``mindspore.ops.Argmax``: axis, type of the result; ``mindspore.mint.argmax``: axis or None, keepdim."""
    name = "ArgMax" if "max" in call.node.primitive.lower() else "ArgMin"
    x = call.tensor(0)
    axis, keep = call.value(1, -1), "Ext" in call.node.primitive and bool(call.value(2, False))
    if axis is None:
        x, axis, keep = call.reshape(x, (product_of(x.shape),)), 0, False
    index = call.emit(name, [x], Type("int64", call.shape), axis=int(axis), keepdims=int(keep))
    return cast(call, index, call.type.dtype)
