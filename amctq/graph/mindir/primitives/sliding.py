"""Sliding windows of an image as columns, and back."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.convolution import each
from amctq.graph.mindir.primitives.padding import padded
from amctq.graph.mindir.primitives.windows import weighted_windows
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor, Type


@primitive("Im2Col", "Im2ColExt")
def unfold(call: Call) -> Tensor:
    """``mindspore.ops.unfold``, ``mindspore.mint.nn.functional.unfold``: kernel, dilation, pads, stride.

    X is (N, C, H, W), the result (N, C, kernel, windows), or (N, C · kernel, windows).
    """
    x = call.tensor(0)
    if call.node.primitive == "Im2Col":
        names = ("ksizes", "dilations", "pads", "strides")
        kernel, dilations, pads, strides = (each(call.attribute(name), 2) for name in names)
    else:
        kernel, dilations, pads, strides = (each(call.value(index), 2) for index in range(1, 5))
    if any(pads):
        x = padded(call, x, [(0, 0), (0, 0), *((pad, pad) for pad in pads)], "constant")
    for axis, place in ((2, 0), (4, 1)):
        positions = _positions(int(x.shape[axis]), kernel[place], dilations[place], strides[place])
        kind = Type(x.dtype, (*x.shape[:axis], *positions.shape, *x.shape[axis + 1 :]))
        x = call.emit("Gather", [x, call.graph.constant(positions)], kind, axis=axis)
    order = [0, 1, 2, 4, 3, 5]
    kind = Type(x.dtype, tuple(x.shape[axis] for axis in order))
    return call.reshape(call.emit("Transpose", [x], kind, perm=order), call.shape)


@primitive("Col2Im", "Col2ImExt")
def fold(call: Call) -> Tensor:
    """``mindspore.ops.fold``, ``mindspore.mint.nn.functional.fold``: what ``unfold`` takes apart, overlaps added up."""
    x, (height, width) = call.tensor(0), call.shape[-2:]
    if call.node.primitive == "Col2Im":
        names = ("kernel_size", "dilation", "padding", "stride")
        kernel, dilations, pads, strides = (each(call.attribute(name), 2) for name in names)
    else:
        kernel, dilations, pads, strides = (each(call.value(index), 2) for index in range(2, 6))
    sizes = [int(height), int(width)]
    windows = [
        _windows(size + 2 * pad, end, step, stride)
        for size, pad, end, step, stride in zip(sizes, pads, kernel, dilations, strides, strict=True)
    ]
    channels = call.shape[1]
    x = call.reshape(x, (x.shape[0], channels, *kernel, *windows))
    order = [0, 1, 2, 4, 3, 5]
    x = call.emit("Transpose", [x], Type(x.dtype, tuple(x.shape[axis] for axis in order)), perm=order)
    x = call.reshape(x, (x.shape[0], channels, *map(math.prod, zip(kernel, windows, strict=True))))
    for place, size in enumerate(sizes):
        found = _positions(size + 2 * pads[place], kernel[place], dilations[place], strides[place])
        positions, weights = _inverse(found, pads[place], size)
        x = weighted_windows(call, x, place + 2, positions, weights)
    return call.reshape(x, call.shape)


def _windows(size: int, width: int, dilation: int, stride: int) -> int:
    return (size - (width - 1) * dilation - 1) // stride + 1


def _positions(size: int, width: int, dilation: int, stride: int) -> NDArray[np.int64]:
    """(width, windows): where each window has each of its pixels."""
    places, starts = np.arange(width) * dilation, np.arange(_windows(size, width, dilation, stride)) * stride
    return (places[:, None] + starts).astype(np.int64)


def _inverse(positions: NDArray[np.int64], pad: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each pixel, the numbers of the windows' pixels that lie there, as many as the most have; and 1 or 0."""
    there = [np.flatnonzero(positions.ravel() - pad == place) for place in range(size)]
    most = max(1, *map(len, there))
    numbers, weights = np.zeros((size, most), np.int64), np.zeros((size, most), np.float32)
    for place, found in enumerate(there):
        numbers[place, : len(found)], weights[place, : len(found)] = found, 1
    return numbers, weights
