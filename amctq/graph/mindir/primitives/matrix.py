"""Matrix products. A product with a weight is written as Gemm, which integer kernels exist for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Batch, Size, Tensor, Type


def product_of(sizes: Sequence[Size]) -> Size:
    """The product of sizes of which at most one comes from the batch."""
    times = math.prod(size.times if isinstance(size, Batch) else size for size in sizes)
    return Batch(times) if any(isinstance(size, Batch) for size in sizes) else times


def linear(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None, *, transposed: bool) -> Tensor:
    """X (…, C_in) by a weight (C_out, C_in) if ``transposed``, else (C_in, C_out), and a bias (C_out,)."""
    channels = weight.shape[0 if transposed else 1]
    rows = product_of(x.shape[:-1])
    flat = call.reshape(x, (rows, x.shape[-1]))
    inputs = [flat, weight] if bias is None else [flat, weight, bias]
    y = call.emit("Gemm", inputs, Type(x.dtype, (rows, channels)), transB=int(transposed))
    return call.reshape(y, (*x.shape[:-1], channels))


@primitive("MatMul")
def mat_mul(call: Call) -> Tensor:
    """``mindspore.ops.MatMul`` on two matrices: transpose_a, transpose_b."""
    return _product(call, bool(call.value(2, False)), bool(call.value(3, False)))


@primitive("BatchMatMul")
def batch_mat_mul(call: Call) -> Tensor:
    """``mindspore.ops.BatchMatMul``: transpose_a, transpose_b of the last two axes."""
    return _product(call, bool(call.value(2, False)), bool(call.value(3, False)))


@primitive("MatMulExt", "BatchMatMulExt", "Bmm", "Mm")
def mat_mul_ext(call: Call) -> Tensor:
    """``mindspore.mint.matmul``, ``bmm``, ``mm``: as NumPy."""
    return _product(call, False, False)


@primitive("Dense", "LinearExt")
def dense(call: Call) -> Tensor:
    """``mindspore.ops.dense``: x (…, C_in), weight (C_out, C_in), bias (C_out,) or None."""
    x, weight = call.tensor(0), call.tensor(1)
    bias = call.value(2, None) if len(call.args) < 3 or call.args[2] is None else call.tensor(2)
    if weight.rank == 2:
        return linear(call, x, weight, bias, transposed=True)
    y = call.emit("MatMul", [x, call.reshape(weight, (*weight.shape, 1))], Type(x.dtype, (*x.shape[:-1], 1)))
    y = call.reshape(y, x.shape[:-1])
    return y if bias is None else call.emit("Add", [y, bias])


def _product(call: Call, transpose_a: bool, transpose_b: bool) -> Tensor:
    a, b = call.tensor(0), call.tensor(1)
    if a.rank >= 2 and b.rank == 2 and not transpose_a and call.graph.is_constant(b.name):
        if not call.graph.is_constant(a.name):
            return linear(call, a, b, None, transposed=transpose_b)
    return call.emit("MatMul", [_transposed(call, a, transpose_a), _transposed(call, b, transpose_b)])


def _transposed(call: Call, x: Tensor, wanted: bool) -> Tensor:
    if not wanted:
        return x
    axes = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    return call.emit("Transpose", [x], Type(x.dtype, tuple(x.shape[axis] for axis in axes)), perm=axes)
