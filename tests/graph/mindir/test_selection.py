"""Slices as amctq reads them from MindIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mindspore import mint, ops

from amctq.errors import InputError
from amctq.inference.onnx_session import OnnxSession
from tests.graph.mindir.compare import Function, assert_same, read


def ranges(x: Any) -> Any:
    return (
        x[:, 1:3],
        x[..., ::2],
        x[:, :, -3:-1],
        x[:, ::-1],
        x[:, 3:0:-1],
        x[:, 0:1, ...],
        x[:, 1:100],
        x[:, 0::2, 1::2],
        x[:, -2:],
        x[-1:],
        ops.strided_slice(x, (0, 1, 0), (x.shape[0], 4, 6), (1, 2, 3)),
        ops.Slice()(x, (0, 1, 2), (x.shape[0], 2, 3)),
    )


def single(x: Any) -> Any:
    return x[:, -1], x[..., 0], x[:, :, 5], x[:, 1][:, 2], x[:, 1, None, 2:], x[None], x[0], mint.select(x, 1, 2)


def masks(x: Any) -> Any:
    begin, end, strides = (0, 1, 2), (1, 3, 5), (1, 1, 2)
    return (
        ops.strided_slice(x, begin, end, strides, begin_mask=2, end_mask=1),
        ops.strided_slice(x, begin, end, strides, begin_mask=4, end_mask=7),
        ops.strided_slice(x, begin, end, strides, end_mask=1, shrink_axis_mask=2),
        ops.strided_slice(x, begin, end, strides, end_mask=1, ellipsis_mask=2),
    )


def parts(x: Any) -> Any:
    return (
        mint.narrow(x, 1, 1, 2),
        ops.narrow(x, 2, 3, 2),
        ops.flip(x, (1,)),
        ops.ReverseV2(axis=[1, 2])(x),
        x.fliplr(),
        ops.rot90(x, 1, (1, 2)),
        ops.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1),
    )


@pytest.mark.parametrize(("function", "outputs"), [(ranges, 12), (single, 8), (masks, 4), (parts, 7)])
def test_slices_are_those_of_mindspore(function: Callable[[Any], Any], outputs: int) -> None:
    assert_same(function, (4, 6), outputs=outputs)


def rolled(x: Any) -> Any:
    return ops.roll(x, 2, 1), ops.roll(x, (-1, 2), (1, 2)), ops.roll(x, 4, 1)


def joined(x: Any) -> Any:
    y = ops.cat([x[:, 1:], x[:, :1]], 1)
    return ops.cat([x[:, 2:], x[:, :2]], 1), ops.cat([y[..., 4:], y[..., :4]], 2), x


def test_a_roll_that_mindspore_has_no_kernel_of_on_a_cpu() -> None:
    assert_same(rolled, (4, 6), outputs=3, like=joined)


def over_rank_four(x: Any) -> Any:
    return (
        ops.strided_slice(x, (0, 1, 0), (0, 3, 0), (1, 1, 1), begin_mask=1, end_mask=1, ellipsis_mask=4),
        ops.strided_slice(x, (0, 0, 1, 1), (0, 0, 4, 4), (1, 1, 2, 1), begin_mask=1, end_mask=1, ellipsis_mask=2),
        ops.strided_slice(
            x, (0, 0, 0, 1), (0, 1, 1, 5), (1, 1, 1, 2), begin_mask=1, end_mask=1, ellipsis_mask=2, new_axis_mask=4
        ),
        ops.strided_slice(x, (0, 1, 0), (0, 3, 1), (1, 1, 1), begin_mask=1, end_mask=1, new_axis_mask=4),
        x[..., 1:3],
        x[:, None, 1:3],
        x[..., None, 1:3],
        x[:, ..., ::2, 1:],
        x[:, 1:, None, ..., 1:3],
        x[:, -1, ..., 1:4],
        x[:, None, ..., 0],
    )


def as_numpy_takes_it(x: Any) -> Any:
    return (
        x[:, 1:3],
        x[:, :, 1:4:2, 1:4],
        x[:, :, :, None, 1:5:2],
        x[:, 1:3, None],
        x[..., 1:3],
        x[:, None, 1:3],
        x[..., None, 1:3],
        x[:, ..., ::2, 1:],
        x[:, 1:, None, ..., 1:3],
        x[:, -1, ..., 1:4],
        x[:, None, ..., 0],
    )


def test_several_axes_under_an_ellipsis_and_new_ones() -> None:
    model = assert_same(over_rank_four, (4, 6, 5), outputs=11)
    x = np.random.default_rng(1).normal(size=(2, 4, 6, 5)).astype(np.float32)
    for own, expected in zip(OnnxSession(model).run({"x": x}), as_numpy_takes_it(x), strict=True):
        np.testing.assert_array_equal(own, expected)


def ellipsis_of_two(x: Any) -> Any:
    return ops.strided_slice(x, (0, 0, 1), (0, 0, 4), (1, 1, 2), begin_mask=1, end_mask=1, ellipsis_mask=2)


def ellipsis_of_two_shrunk(x: Any) -> Any:
    return ops.strided_slice(
        x, (0, 0, 1), (0, 0, 2), (1, 1, 1), begin_mask=1, end_mask=1, ellipsis_mask=2, shrink_axis_mask=4
    )


def new_axis_before(x: Any) -> Any:
    return ops.strided_slice(x, (0, 0, 1), (0, 1, 3), (1, 1, 2), begin_mask=1, end_mask=1, new_axis_mask=2)


@pytest.mark.parametrize("function", [ellipsis_of_two, ellipsis_of_two_shrunk, new_axis_before])
def test_where_mindspore_takes_another_axis(function: Callable[[Any], Any]) -> None:
    with pytest.raises(InputError, match=r"StridedSlice .*: behind .*, MindSpore itself takes part of") as caught:
        read(Function(function), (4, 6, 5))
    assert "x[..., 1:3]" in str(caught.value.hint)


def of_the_batch(x: Any) -> Any:
    n = x.shape[0]
    both = ops.cat([x, x * 2], 0)
    return both[:n], both[n:], both[::2], both[1::2], both[1], both[-1:], both[::-1], ops.chunk(both, 2, 0)[1], x[::-1]


def test_parts_of_the_batch_that_every_batch_has() -> None:
    assert_same(of_the_batch, (4, 6), outputs=9)


def without_first(x: Any) -> Any:
    return x[1:]


def every_second(x: Any) -> Any:
    return x[::2]


def second(x: Any) -> Any:
    return x[1]


def first_half(x: Any) -> Any:
    return x[: x.shape[0] // 2]


def without_last(x: Any) -> Any:
    return ops.Slice()(x, (0, 0, 0), (x.shape[0] - 1, 4, 6))


def narrowed(x: Any) -> Any:
    return mint.narrow(x, 0, 1, 2)


@pytest.mark.parametrize("function", [without_first, every_second, second, first_half, without_last, narrowed])
def test_other_parts_of_the_batch_are_refused(function: Callable[[Any], Any]) -> None:
    with pytest.raises(InputError, match="a slice over the batch") as caught:
        read(Function(function), (4, 6))
    assert "other axes" in str(caught.value.hint)


def halves(x: Any) -> Any:
    return mint.chunk(x, 2, 0)[0]


def test_a_division_of_the_batch_is_refused() -> None:
    with pytest.raises(InputError, match="a division of the batch"):
        read(Function(halves), (4, 6))
