"""Matrix products. A product with a weight is written as Gemm, which integer kernels exist for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

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
    gemm = call.emit("Gemm", inputs, Type(x.dtype, (rows, channels)), transB=int(transposed))
    y = call.reshape(gemm, (*x.shape[:-1], channels))
    if bias is None:
        call.graph.products[y.name] = call.graph.producers[gemm.name]
    return y


def with_bias(call: Call, first: Tensor, second: Tensor) -> Tensor | None:
    """The sum of the two inputs as a product with bias; None where they are no product and vector of its width.

    Args:
        call: an addition.
        first: its input 0.
        second: its input 1.
    """
    for index, y, bias in ((0, first, second), (1, second, first)):
        gemm = call.graph.products.get(y.name)
        if (
            gemm is not None
            and call.uses[index] == 1
            and call.graph.is_constant(bias.name)
            and bias.shape == y.shape[-1:]
            and bias.dtype == y.dtype
            and len(gemm.input) == 2
        ):
            gemm.input.append(bias.name)
            return y
    return None


@primitive("MatMul", "BatchMatMul")
def mat_mul(call: Call) -> Tensor:
    """``mindspore.ops.MatMul``, ``BatchMatMul``: transpose_a, transpose_b of the last two axes."""
    return product(call, call.tensor(0), call.tensor(1), bool(call.value(2, False)), bool(call.value(3, False)))


@primitive("MatMulExt", "BatchMatMulExt", "Mm", "Mv", "Dot")
def mat_mul_ext(call: Call) -> Tensor:
    """``mindspore.mint.matmul``, ``bmm``, ``mm``, ``mv``, ``dot``: as NumPy."""
    return product(call, call.tensor(0), call.tensor(1))


@primitive("Outer")
def outer(call: Call) -> Tensor:
    """``mindspore.ops.outer`` of two vectors."""
    x, y = call.tensor(0), call.tensor(1)
    return call.emit("Mul", [call.reshape(x, (*x.shape, 1)), y])


@primitive("Dense", "LinearExt")
def dense(call: Call) -> Tensor:
    """``mindspore.ops.dense``: x (…, C_in), weight (C_out, C_in), bias (C_out,) or None."""
    x, weight = call.tensor(0), call.tensor(1)
    bias = None if len(call.args) < 3 or call.args[2] is None else call.tensor(2)
    if weight.rank == 2:
        return linear(call, x, weight, bias, transposed=True)
    y = call.emit("MatMul", [x, call.reshape(weight, (*weight.shape, 1))], Type(x.dtype, (*x.shape[:-1], 1)))
    y = call.reshape(y, x.shape[:-1])
    return y if bias is None else call.emit("Add", [y, bias])


@primitive("Addmm", "Baddbmm", "Addmv")
def add_product(call: Call) -> Tensor:
    """``mindspore.mint.addmm``, ``baddbmm``, ``addmv``: beta × input + alpha × (x · y)."""
    added, x, y = (call.tensor(index) for index in range(3))
    beta, alpha = call.value(3, 1), call.value(4, 1)
    found = _times(call, product(call, x, y), alpha)
    return call.emit("Add", [_times(call, added, beta), found])


@primitive("Einsum", "EinsumExt")
def einsum(call: Call) -> Tensor:
    """``mindspore.ops.einsum``: a tuple of tensors and an equation."""
    first, second = (call.args[0], None) if len(call.args) == 1 else call.args[:2]
    equation, tensors = (first, second) if isinstance(first, str) else (call.attribute("equation", second), first)
    return call.emit("Einsum", [call.as_tensor(item) for item in tensors], equation=equation)


def product(call: Call, a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """A matrix product; a Gemm where the second matrix is constant and the first is not."""
    weighted = call.graph.is_constant(b.name) and not call.graph.is_constant(a.name)
    if weighted and a.rank >= 2 and b.rank == 2 and not transpose_a:
        return linear(call, a, b, None, transposed=transpose_b)
    return call.emit("MatMul", [_transposed(call, a, transpose_a), _transposed(call, b, transpose_b)])


def _times(call: Call, x: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return x
    return call.emit("Mul", [x, call.as_tensor(np.asarray(factor, x.dtype))], Type(x.dtype, x.shape))


def _transposed(call: Call, x: Tensor, wanted: bool) -> Tensor:
    if not wanted:
        return x
    axes = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    return call.emit("Transpose", [x], Type(x.dtype, tuple(x.shape[axis] for axis in axes)), perm=axes)
