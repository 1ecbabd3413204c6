"""Pooling to a size: window i of n covers the pixels from ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.pooling import Pool, max_pool, mean_pool
from amctq.graph.mindir.primitives.windows import largest_in_windows, weighted_windows
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Size, Tensor


@primitive(
    "AdaptiveAvgPool1D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "AdaptiveAvgPool2DExt", "AdaptiveAvgPool3DExt"
)
def adaptive_average_pool(call: Call) -> Tensor:
    """``mindspore.ops.AdaptiveAvgPool2D`` and its kin, to the size that the output has."""
    x = call.tensor(0)
    settings = _as_pool(x, call.shape)
    if settings is not None:
        return mean_pool(call, x, settings)
    for axis, (size, end) in enumerate(zip(x.shape[2:], call.shape[2:], strict=True), 2):
        if size != end:
            positions, inside = _windows(int(size), int(end))
            weights = inside / inside.sum(axis=1, keepdims=True)
            x = weighted_windows(call, x, axis, positions, weights.astype(np.float32))
    return x


@primitive("AdaptiveMaxPool1D", "AdaptiveMaxPool2D", "AdaptiveMaxPool3D")
def adaptive_max_pool(call: Call) -> tuple[Tensor]:
    """``mindspore.ops.AdaptiveMaxPool2D`` and its kin: the largest values; their positions are not written."""
    x = call.tensor(0)
    settings = _as_pool(x, call.shape)
    if settings is not None:
        return (max_pool(call, x, settings),)
    for axis, (size, end) in enumerate(zip(x.shape[2:], call.shape[2:], strict=True), 2):
        if size != end:
            x = largest_in_windows(call, x, axis, _windows(int(size), int(end))[0])
    return (x,)


def _bounds(size: int, windows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    index = np.arange(windows, dtype=np.int64)
    return index * size // windows, -(-(index + 1) * size // windows)


def _windows(size: int, windows: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The pixels of each window, all as wide as the widest; and which belong to it, the others repeat its last."""
    first, last = _bounds(size, windows)
    wanted = first[:, None] + np.arange(int((last - first).max()))
    return np.minimum(wanted, last[:, None] - 1), wanted < last[:, None]


def _as_pool(x: Tensor, shape: tuple[Size, ...]) -> Pool | None:
    """The plain pool with the same windows; None where they are not equally wide and distant."""
    kernel, strides = [], []
    for size, windows in zip(x.shape[2:], shape[2:], strict=True):
        first, last = _bounds(int(size), int(windows))
        widths, steps = set(last - first), set(np.diff(first)) or {1}
        if len(widths) != 1 or len(steps) != 1 or 0 in steps:
            return None
        kernel.append(int(widths.pop()))
        strides.append(int(steps.pop()))
    none = [0] * len(kernel)
    return Pool(kernel=kernel, strides=strides, begins=none, ends=none, dilations=[1] * len(kernel))
