"""Sorting, the largest values, running sums and products, as amctq reads them from MindIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore
import pytest
from mindspore import mint, ops

from tests.graph.mindir.compare import assert_same


def largest(x: Any) -> Any:
    return (*ops.topk(x, 3), *ops.topk(x, 2, 1), *ops.topk(x, 2, 1, False, True), *ops.TopK(sorted=True)(x, 3))


def sorted_values(x: Any) -> Any:
    return (*ops.sort(x), *ops.sort(x, 1, True), ops.argsort(x, -1, True), ops.argsort(x, 1))


def running(x: Any) -> Any:
    return (
        ops.cumsum(x, 1),
        x.cumsum(-1),
        ops.CumSum(exclusive=True, reverse=True)(x, 2),
        (x > 0).astype(mindspore.int32).cumsum(1),
        (x > 0).cumsum(1, dtype=mindspore.float32),
        ops.cumprod(x, 1),
        ops.CumProd(exclusive=True)(x, 2),
        ops.CumProd(reverse=True)(x, 1),
        ops.CumProd(exclusive=True, reverse=True)(x, 1),
    )


@pytest.mark.parametrize(("function", "outputs"), [(largest, 8), (sorted_values, 6), (running, 9)])
def test_searches_are_those_of_mindspore(function: Callable[[Any], Any], outputs: int) -> None:
    assert_same(function, (4, 6), outputs=outputs)


def mint_searches(x: Any) -> Any:
    return (*mint.topk(x, 3, 1), *mint.topk(x, 2, -1, False), mint.argsort(x, 1, True), mint.cumsum(x, -1))


def plain_searches(x: Any) -> Any:
    return (*ops.topk(x, 3, 1), *ops.topk(x, 2, -1, False), ops.argsort(x, 1, True), ops.cumsum(x, -1))


def test_searches_that_mindspore_has_no_kernel_of_on_a_cpu() -> None:
    assert_same(mint_searches, (4, 6), outputs=6, like=plain_searches)
