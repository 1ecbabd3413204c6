"""Slices of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Batch, Size, Tensor, Type

_END = np.iinfo(np.int64).max
_WHOLE = (0, _END, 1)
# The kernels of MindSpore 2.10 count the axes as if every ellipsis were one axis, and every new axis one of the input.
_BY_INDEX = "write it as x[..., 1:3] or x[:, None, 1:3], which MindSpore computes in another way"


@primitive("StridedSlice")
def strided_slice(call: Call) -> Tensor:
    """``mindspore.ops.StridedSlice``: begin, end, strides, and masks of begin, end, ellipsis, new axis, shrinking."""
    x = call.tensor(0)
    begin, end, strides = (list(call.value(index)) for index in (1, 2, 3))
    masks = [call.value(index, call.attribute(name, 0)) for index, name in enumerate(_MASKS, 4)]
    begin_mask, end_mask, ellipsis, new_axis, shrink = ({bit for bit in range(32) if mask >> bit & 1} for mask in masks)
    axis, slices = 0, []
    for index in range(len(begin)):
        if index in ellipsis:
            rest = sum(later not in new_axis for later in range(index + 1, len(begin)))
            axis = x.rank - rest
        elif index not in new_axis:
            size = x.shape[axis]
            first = None if index in begin_mask else begin[index]
            last = None if index in end_mask else end[index]
            step = strides[index]
            if index in shrink:
                first, step = begin[index], 1
                last = None if first == -1 else first + 1
            slices.append((axis, *_ends(first, last, size, step), step))
            if axis != index and slices[-1][1:] != _WHOLE:
                call.refuse("behind this ellipsis or new axis, MindSpore itself takes part of another axis", _BY_INDEX)
            axis += 1
    return call.reshape(_slice(call, x, slices), call.shape)


_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def _ends(first: Any, last: Any, size: Size, step: int) -> tuple[Size, Size]:
    """Begin and end of a slice for ONNX; an end at the size of the axis becomes "to the end"."""
    if step > 0:
        first = 0 if first is None else first
        last = _END if last is None or last == size else last
    else:
        first = _END if first is None else first
        last = -_END if last is None else last
    return first, last


def _slice(call: Call, x: Tensor, slices: Sequence[tuple[int, Size, Size, int]]) -> Tensor:
    slices = [item for item in slices if item[1:] != _WHOLE]
    if not slices:
        return x
    axes, first, last, steps = ([item[index] for item in slices] for index in range(4))
    shape = list(x.shape)
    for axis, begin, end, step in slices:
        size = shape[axis]
        if isinstance(size, Batch):
            shape[axis] = _part_of_batch(call, size.times, begin, end, step)
        elif not any(isinstance(item, Batch) for item in (begin, end)):
            shape[axis] = len(range(int(size))[slice(int(begin), None if end in {_END, -_END} else int(end), step)])
    return call.emit("Slice", [x, *map(call.graph.ints, (first, last, axes, steps))], Type(x.dtype, tuple(shape)))


def _part_of_batch(call: Call, times: int, begin: Size, end: Size, step: int) -> Size:
    """The size of a slice of an axis of ``times`` × N values.

    Raises:
        InputError: it is neither fixed nor a multiple of N, or the slice may reach beyond the axis.
    """
    found: Size | None = None
    first, last = _place(begin, times), _place(end, times)
    images, others = last[0] - first[0], last[1] - first[1]
    if step < 0:
        if end == -_END and begin in {_END, -1} and times % step == 0:
            found = Batch(times // -step)
    elif images == 0 and max(abs(first[1]), abs(last[1])) <= times:
        found = len(range(0, others, step))
    elif images > 0 and images % step == 0 and -step < others <= 0:
        found = Batch(images // step)
    if found is None:
        call.refuse("a slice over the batch", "slice along other axes; the batch may have any size, such as 1")
    return found


def _place(place: Size, times: int) -> tuple[int, int]:
    """A begin or end as k × N + n."""
    if isinstance(place, Batch):
        return min(place.times, times), 0
    return (times, 0) if place == _END else (times, place) if place < 0 else (0, place)


@primitive("Slice")
def slice_(call: Call) -> Tensor:
    """``mindspore.ops.Slice``: begin and size."""
    x = call.tensor(0)
    slices = []
    for axis, (first, size) in enumerate(zip(call.value(1), call.value(2), strict=True)):
        whole = first == 0 and size in (-1, x.shape[axis])
        slices.append((axis, 0, _END, 1) if whole else (axis, first, _END if size == -1 else _sum(first, size), 1))
    return call.reshape(_slice(call, x, slices), call.shape)


def _sum(first: Size, size: Size) -> Size:
    if isinstance(first, Batch) and isinstance(size, Batch):
        return Batch(first.times + size.times)
    return size if first == 0 else int(first) + int(size)


@primitive("SliceExt", "Narrow", "NarrowView", "SliceExtView")
def slice_ext(call: Call) -> Tensor:
    """``mindspore.mint.narrow``, ``mindspore.ops.slice_ext``: axis, start, end or length, step."""
    x = call.tensor(0)
    axis, first, last, step = call.axis(1, rank=x.rank), call.value(2), call.value(3), call.value(4, 1)
    if call.node.primitive.startswith("Narrow"):
        last = _sum(first, last)
    return _slice(call, x, [(axis, *_ends(first, last, x.shape[axis], step), step)])


@primitive("ReverseV2")
def reverse(call: Call) -> Tensor:
    """``mindspore.ops.flip``: the other way round along some axes."""
    x = call.tensor(0)
    axes = call.value(1, call.attribute("axis", ()))
    axes = axes if isinstance(axes, tuple) else (axes,)
    return _slice(call, x, [(int(axis) % x.rank, _END, -_END, -1) for axis in axes])


@primitive("Roll")
def roll(call: Call) -> Tensor:
    """``mindspore.ops.roll``: shifts and axes; the whole tensor as one row where there are no axes."""
    x = call.tensor(0)
    found = (call.value(index, call.attribute(name, None)) for index, name in ((1, "shift"), (2, "axis")))
    shifts, axes = ((() if item is None else item if isinstance(item, tuple) else (item,)) for item in found)
    if not axes:
        call.refuse("no axes", "give the axes")
    for shift, axis in zip(shifts, (int(item) % x.rank for item in axes), strict=True):
        size = x.shape[axis]
        if isinstance(size, Batch):
            call.refuse("a roll over the batch", "roll along other axes")
        if shift % size:
            cut = size - shift % size
            parts = [_slice(call, x, [(axis, cut, _END, 1)]), _slice(call, x, [(axis, 0, cut, 1)])]
            x = call.emit("Concat", parts, axis=axis)
    return x


@primitive("SelectExt", "SelectExtView")
def select_index(call: Call) -> Tensor:
    """``mindspore.mint.select``: one index along an axis."""
    x = call.tensor(0)
    axis, index = call.axis(1, rank=x.rank), int(call.value(2))
    return call.reshape(_slice(call, x, [(axis, index, index + 1 if index != -1 else _END, 1)]), call.shape)
