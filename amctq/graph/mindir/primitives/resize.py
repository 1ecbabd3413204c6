"""Resizing images: nearest, linear and cubic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.windows import weighted_windows
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Size, Tensor, Type

Factors = Sequence[float] | None


@primitive("ResizeNearestNeighbor", "ResizeNearestNeighborV2")
def resize_nearest(call: Call) -> Tensor:
    """``mindspore.ops.ResizeNearestNeighbor``: x (N, C, H, W), size, align_corners, half_pixel_centers."""
    return _nearest(call, call.tensor(0), _way(call, 2), None)


@primitive("UpsampleNearest1D", "UpsampleNearest2D", "UpsampleNearest3D")
def upsample_nearest(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.interpolate``, mode "nearest": x (N, C, …), output_size, scales."""
    return _nearest(call, call.tensor(0), "asymmetric", call.value(2, None))


@primitive("ResizeBilinearV2")
def resize_bilinear(call: Call) -> Tensor:
    """``mindspore.ops.ResizeBilinearV2``: x (N, C, H, W), size, align_corners, half_pixel_centers."""
    return _resized(call, call.tensor(0), "linear", _way(call, 2))


@primitive("ResizeLinear1D")
def resize_linear(call: Call) -> Tensor:
    """``mindspore.ops.ResizeLinear1D``: x (N, C, W), size, how coordinates are counted."""
    ways = {0: "asymmetric", 1: "align_corners", 2: "half_pixel"}
    return _resized(call, call.tensor(0), "linear", ways[int(call.value(2, 1))])


@primitive("UpsampleLinear1D", "UpsampleBilinear2D", "UpsampleTrilinear3D")
def upsample_linear(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.interpolate``, linear modes: x (N, C, …), output_size, scales, align_corners."""
    way = "align_corners" if call.value(3, False) else "half_pixel"
    return _resized(call, call.tensor(0), "linear", way, call.value(2, None))


@primitive("ResizeBicubic")
def resize_bicubic(call: Call) -> Tensor:
    """``mindspore.ops.ResizeBicubic``: x (N, C, H, W), size, align_corners, half_pixel_centers.

    MindSpore rounds the distance between pixels to 1/1024, which shows in the third digit; so this is no Resize.
    """
    x, way = call.tensor(0), _way(call, 2)
    for axis, (size, end) in enumerate(zip(x.shape[2:], call.shape[2:], strict=True), 2):
        if size != end:
            x = weighted_windows(call, x, axis, *_cubic(int(size), int(end), way))
    return x


def _cubic(size: int, end: int, way: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The four pixels around each point, and their weights.

    With half pixels the weights are those of Keys (a = -0.5), and pixels outside of the image do not count. Otherwise a
    is -0.75, and the border is repeated.
    """
    index = np.arange(end, dtype=np.float32)
    if way == "align_corners":
        place = index * np.float32((size - 1) / (end - 1) if end > 1 else size / end)
    elif way == "half_pixel":
        place = (index + np.float32(0.5)) * np.float32(size / end) - np.float32(0.5)
    else:
        place = index * np.float32(size / end)
    first = np.floor(place)
    distance = np.rint((place - first) * 1024) / 1024
    a = -0.5 if way == "half_pixel" else -0.75
    away = np.stack([distance + 1, distance, 1 - distance, 2 - distance], axis=1)
    near = ((a + 2) * away - (a + 3)) * away * away + 1
    far = ((a * away - 5 * a) * away + 8 * a) * away - 4 * a
    weights = np.where([False, True, True, False], near, far)
    wanted = first[:, None].astype(np.int64) + np.arange(-1, 3)
    positions = np.clip(wanted, 0, size - 1)
    if way == "half_pixel":
        weights = np.where(wanted == positions, weights, 0)
        weights = weights / weights.sum(axis=1, keepdims=True)
    return positions, weights.astype(np.float32)


@primitive("UpsampleBicubic2D")
def upsample_bicubic(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.interpolate``, mode "bicubic": x, output_size, scales, align_corners."""
    way = "align_corners" if call.value(3, False) else "half_pixel"
    return _resized(call, call.tensor(0), "cubic", way, call.value(2, None), cubic_coeff_a=-0.75)


def _way(call: Call, index: int) -> str:
    """ONNX's name of how coordinates are counted, from align_corners and half_pixel_centers."""
    if call.value(index, False):
        return "align_corners"
    return "half_pixel" if call.value(index + 1, False) else "asymmetric"


def _resized(call: Call, x: Tensor, mode: str, way: str, factors: Factors = None, **attributes: Any) -> Tensor:
    """``x`` in the shape of the primitive's output; ``factors`` where the network gives them instead of the size."""
    if x.shape == call.shape and factors is None:
        return x
    scales = _scales(x.shape[2:], call.shape[2:], factors)
    inputs = ["", call.graph.constant(np.asarray([1, 1, *scales], np.float32))]
    found = [_scaled(size, scale) for size, scale in zip(x.shape[2:], scales, strict=True)]
    if found != list(call.shape[2:]):
        inputs = ["", "", call.graph.ints(call.shape)]
    return call.emit("Resize", [x, *inputs], mode=mode, coordinate_transformation_mode=way, **attributes)


def _scales(sizes: Sequence[Size], wanted: Sequence[Size], factors: Factors) -> list[np.float32]:
    if factors is not None:
        return [np.float32(factor) for factor in factors]
    return [np.float32(int(end) / int(size)) for size, end in zip(sizes, wanted, strict=True)]


def _scaled(size: Size, scale: np.float32) -> int | None:
    """The size that a runtime computes from a scale; None where rounding could make it another."""
    single, double = int(np.float32(int(size)) * scale), int(int(size) * float(scale))
    return single if single == double else None


def _nearest(call: Call, x: Tensor, way: str, factors: Factors) -> Tensor:
    """Resize, or Gather where the rounding of ONNX picks another pixel than MindSpore, as from 14 to 2."""
    scales = _scales(x.shape[2:], call.shape[2:], factors)
    picked = [
        _picked(int(size), int(end), way, scale, given=factors is not None)
        for size, end, scale in zip(x.shape[2:], call.shape[2:], scales, strict=True)
    ]
    if all(np.array_equal(own, other) for own, other in picked):
        rounding = "floor" if way == "asymmetric" else "round_prefer_ceil"
        return _resized(call, x, "nearest", way, factors, nearest_mode=rounding)
    for axis, (own, _) in enumerate(picked, 2):
        kind = Type(x.dtype, (*x.shape[:axis], len(own), *x.shape[axis + 1 :]))
        x = call.emit("Gather", [x, call.graph.constant(own)], kind, axis=axis)
    return x


def _picked(size: int, end: int, way: str, scale: np.float32, *, given: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """The pixels that MindSpore picks along one axis, and those that ONNX picks. Both compute in float32."""
    index, half = np.arange(end, dtype=np.float32), np.float32(0.5)
    if way == "align_corners":
        step = np.float32((size - 1) / (end - 1)) if end > 1 else np.float32(0)
        own = np.floor(index * step + half)
        other = np.floor(index * np.float32(size - 1) / np.float32(max(end - 1, 1)) + half)
    else:
        shift = half if way == "half_pixel" else np.float32(0)
        step = np.float32(1) / scale if given else np.float32(size) / np.float32(end)
        own = np.floor((index + shift) * step)
        other = np.floor((index + shift) / scale - shift + shift)
    own, other = (np.clip(item, 0, size - 1).astype(np.int64) for item in (own, other))
    return own, other
