"""Comparisons, logic and what chooses between values, as amctq reads them from MindIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, mint, ops
from numpy.typing import NDArray

from tests.graph.mindir.compare import assert_same

_OTHER = Tensor(np.random.default_rng(7).normal(0, 1, (4, 6)).astype(np.float32))


def comparisons(x: Any) -> Any:
    whole = x.astype(mindspore.int32)
    return whole == 0, x != _OTHER, x < 0, x > _OTHER, x <= 0.5, x >= _OTHER, whole > 0.5, (x > 0) == (_OTHER > 0)


def named_comparisons(x: Any) -> Any:
    whole = x.astype(mindspore.int32)
    return mint.lt(x, 0), mint.gt(x, 0.1), mint.eq(whole, 1), mint.ne(whole, 0), mint.ge(x, 0), mint.le(x, _OTHER)


def logic(x: Any) -> Any:
    first, second = x > 0, _OTHER > 0
    return (
        ops.logical_and(first, second),
        ops.logical_or(first, ops.logical_not(second)),
        ops.logical_xor(first, second),
        first & second,
        first | second,
        first ^ second,
        ~first,
    )


def choices(x: Any) -> Any:
    mask = x > 0
    return (
        ops.where(mask, x, _OTHER),
        ops.where(mask, x, 0.0),
        ops.where(mask, 1, 0),
        x.where(mask, 0.5),
        ops.select(mask, x, _OTHER + x),
        ops.masked_fill(x, mask, -1e9),
        x.masked_fill(_OTHER > 0, -1e9),
        ops.masked_fill(x, mask, Tensor(2.0, mindspore.float32)),
    )


def limits(x: Any) -> Any:
    return (
        ops.clamp(x, -1, 1),
        ops.clamp(x, min=0.5),
        x.clamp(max=0.5),
        ops.clamp(x, 1.0, -1.0),
        ops.clamp(x, -ops.abs(_OTHER), ops.abs(_OTHER)),
        ops.clamp(x, None, _OTHER),
        ops.clip_by_value(x, -1.0, 1.0),
        ops.clip_by_value(x, Tensor(-1.0, mindspore.float32), Tensor(1.0, mindspore.float32)),
        x.astype(mindspore.int32).clip(-1, 1),
    )


@pytest.mark.parametrize(
    ("function", "outputs"), [(comparisons, 8), (named_comparisons, 6), (logic, 7), (choices, 8), (limits, 9)]
)
def test_logic_is_that_of_mindspore(function: Callable[[Any], Any], outputs: int) -> None:
    assert_same(function, (4, 6), outputs=outputs)


def not_numbers(x: Any) -> Any:
    cleaned = ops.nan_to_num(x, 0.5, 2.0, -3.0)
    return ops.isnan(x), ops.isinf(x), ops.isfinite(x), cleaned


def with_infinities(x: NDArray[np.float32]) -> NDArray[np.float32]:
    x.reshape(-1)[:3] = (np.nan, np.inf, -np.inf)
    return x


def test_what_is_no_number_is_found() -> None:
    assert_same(not_numbers, (4, 6), outputs=4, values=with_infinities)
