"""Tensors that are made and not computed, as amctq reads them from MindIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore
import pytest
from mindspore import Tensor, mint, ops

from tests.graph.mindir.compare import assert_same


def constants(x: Any) -> Any:
    n = x.shape[0]
    return (
        ops.zeros_like(x) + x,
        ops.ones_like(x.astype(mindspore.int32)) + x,
        ops.cat([ops.zeros((n, 1, 6)), x], 1),
        mint.cat([mint.ones((n, 1, 6), dtype=mindspore.float32), x], 1),
        ops.full((n, 1), 2.5) + x.sum(2),
        ops.full_like(x, 2.5) + x,
        ops.fill(mindspore.float32, (n, 4, 6), 3) + x,
        x.new_zeros((4, 6)) + x,
        x.new_ones((n, 4, 6)) + x,
    )


def ranges(x: Any) -> Any:
    rows, columns = ops.meshgrid(ops.arange(4), ops.arange(6), indexing="ij")
    first, second = ops.meshgrid(x[0, 0], x[0, :, 0], indexing="xy")
    return (
        x + ops.arange(6),
        x * ops.arange(0, 3, 0.5),
        x + ops.arange(x.shape[0]).reshape(-1, 1, 1),
        x + ops.arange(2, 2 + x.shape[0]).astype(mindspore.float32).reshape(-1, 1, 1),
        x + ops.eye(4, 6, mindspore.float32),
        x + ops.linspace(Tensor(0.0), Tensor(1.0), 6),
        x + ops.linspace(0, 1, 6),
        x + rows - columns,
        first + second,
    )


def one_hot(x: Any) -> Any:
    index = x.astype(mindspore.int32)
    return (
        ops.one_hot(index, 5, Tensor(1.0), Tensor(0.0)),
        ops.one_hot(ops.abs(x).astype(mindspore.int64), 5),
        ops.OneHot(axis=1)(index, 5, Tensor(2.0), Tensor(-1.0)),
    )


def triangles(x: Any) -> Any:
    later = ops.triu(ops.ones((4, 6)), 1).bool()
    return (
        ops.tril(x),
        ops.triu(x, 1),
        x.tril(1),
        ops.triu(x, -2),
        ops.tril(x.astype(mindspore.int32), -1),
        x.masked_fill(later, -1e9),
    )


@pytest.mark.parametrize(("function", "outputs"), [(constants, 9), (ranges, 9), (one_hot, 3), (triangles, 6)])
def test_tensors_are_made_as_in_mindspore(function: Callable[[Any], Any], outputs: int) -> None:
    assert_same(function, (4, 6), outputs=outputs)


def mint_tensors(x: Any) -> Any:
    whole = ops.abs(x).astype(mindspore.int64)
    return (
        mint.zeros_like(x) + x,
        mint.ones_like(x) + x,
        mint.full((x.shape[0], 1), 2.5) + x[:, :, 0],
        mint.full_like(x, 2.5) + x,
        x + mint.arange(0, 6, 1, dtype=mindspore.float32),
        x + mint.linspace(0, 1, 6),
        mint.tril(x, -1),
        mint.nn.functional.one_hot(whole, 9),
    )


def plain_tensors(x: Any) -> Any:
    whole = ops.abs(x).astype(mindspore.int64)
    return (
        x,
        x + 1,
        x[:, :, 0] + 2.5,
        x + 2.5,
        x + ops.arange(6),
        x + ops.linspace(0, 1, 6),
        ops.tril(x, -1),
        ops.one_hot(whole, 9),
    )


def test_tensors_that_mindspore_has_no_kernel_of_on_a_cpu() -> None:
    assert_same(mint_tensors, (4, 6), outputs=8, like=plain_tensors)
