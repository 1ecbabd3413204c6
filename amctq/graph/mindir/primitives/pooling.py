"""Pooling over windows of one size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.convolution import each, onnx_pads, spatial
from amctq.graph.mindir.primitives.padding import padded
from amctq.graph.mindir.primitives.reduction import reduced
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Size, Tensor, Type


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The settings of a pool, one number for each spatial axis.

    Attributes:
        kernel: size of the window.
        strides: from window to window.
        begins: padding before the first pixel.
        ends: padding behind the last; with ceil_mode the last windows may reach further.
        dilations: from pixel to pixel in a window.
        count_pads: a mean counts the padding, but never what lies behind it.
        divisor: of a mean instead of the number of pixels.
    """

    kernel: list[int]
    strides: list[int]
    begins: list[int]
    ends: list[int]
    dilations: list[int]
    count_pads: bool = False
    divisor: int | None = None


@primitive("MaxPool", "AvgPool")
def pool(call: Call) -> Tensor:
    """``mindspore.ops.MaxPool``, ``AvgPool`` with pad_mode "same" or "valid"; padding is not counted in a mean."""
    x = call.tensor(0)
    rank = x.rank - 2
    inputs = ("kernel_size", "strides", "pad_mode", "data_format")
    kernel, strides, mode, form = (
        call.attribute(name) if name in call.node.attributes else call.value(index, None)
        for index, name in enumerate(inputs, 1)
    )
    if form not in {None, "NCHW", 0}:
        call.refuse(f"format {form}", "use channels first")
    kernel, strides = spatial(kernel, rank), spatial(strides, rank)
    pads = _pads_of_mode(mode, x, kernel, strides)
    settings = Pool(kernel=kernel, strides=strides, begins=pads[:rank], ends=pads[rank:], dilations=[1] * rank)
    if call.node.primitive == "MaxPool":
        return max_pool(call, x, settings)
    return mean_pool(call, x, settings)


@primitive("AvgPool3D")
def average_pool_3d(call: Call) -> Tensor:
    """``mindspore.ops.AvgPool3D``; ``nn.AvgPool2d`` with padding becomes one of depth 1."""
    settings = replace(
        _settings_3d(call),
        count_pads=bool(call.attribute("count_include_pad", True)),
        divisor=int(call.attribute("divisor_override", 0)) or None,
    )
    return mean_pool(call, call.tensor(0), settings)


@primitive("AvgPool1D", "AvgPool2D", "AvgPool3DExt")
def mint_average_pool(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.avg_pool2d``: x, kernel, stride, padding, ceil, count_include_pad, divisor."""
    x = call.tensor(0)
    rank = x.rank - 2
    kernel = each(call.value(1), rank)
    padding = each(call.value(3, 0), rank)
    settings = Pool(
        kernel=kernel,
        strides=each(call.value(2, None) or kernel, rank),
        begins=padding,
        ends=padding,
        dilations=[1] * rank,
        count_pads=bool(call.value(5, True)),
        divisor=call.value(6, None) or None,
    )
    return mean_pool(call, x, settings)


@primitive("MaxPool3D")
def max_pool_3d(call: Call) -> Tensor:
    """``mindspore.ops.MaxPool3D``."""
    return max_pool(call, call.tensor(0), _settings_3d(call))


def _settings_3d(call: Call) -> Pool:
    """What the attributes of ``MaxPool3D`` and ``AvgPool3D`` say alike."""
    pads = onnx_pads(call.attribute("pad_list"), 3)
    return Pool(
        kernel=spatial(call.attribute("kernel_size"), 3),
        strides=spatial(call.attribute("strides"), 3),
        begins=pads[:3],
        ends=pads[3:],
        dilations=[1] * 3,
    )


@primitive("MaxPoolWithArgmaxV2", "MaxPool3DWithArgmax", "MaxPoolWithArgmax")
def max_pool_with_argmax(call: Call) -> tuple[Tensor]:
    """``mindspore.ops.MaxPoolWithArgmaxV2``, ``max_pool3d``: the largest values; their positions are not written."""
    x = call.tensor(0)
    rank = x.rank - 2
    kernel = spatial(call.attribute("kernel_size", call.attribute("ksize", 1)), rank)
    strides = spatial(call.attribute("strides"), rank)
    if "pad_mode" in call.node.attributes:
        pads = _pads_of_mode(call.attribute("pad_mode"), x, kernel, strides)
    else:
        pads = spatial(call.attribute("pads", 0), rank) * 2
    settings = Pool(
        kernel=kernel,
        strides=strides,
        begins=pads[:rank],
        ends=pads[rank:],
        dilations=spatial(call.attribute("dilation", 1), rank),
    )
    return (max_pool(call, x, settings),)


@primitive("MaxPoolWithMask", "MaxPoolWithIndices")
def mint_max_pool(call: Call) -> tuple[Tensor]:
    """``mindspore.mint.nn.functional.max_pool2d``: x, kernel, stride, padding, dilation; the values only."""
    x = call.tensor(0)
    kernel = each(call.value(1), 2)
    padding = each(call.value(3, 0), 2)
    settings = Pool(
        kernel=kernel,
        strides=each(call.value(2, None) or kernel, 2),
        begins=padding,
        ends=padding,
        dilations=each(call.value(4, 1), 2),
    )
    return (max_pool(call, x, settings),)


def _pads_of_mode(mode: Any, x: Tensor, kernel: Sequence[int], strides: Sequence[int]) -> list[int]:
    """The pads of pad_mode "same" or "valid" in ONNX's order."""
    same = str(mode).upper() in {"SAME", "1"}
    return same_pads(x.shape[2:], kernel, strides) if same else [0] * 2 * len(kernel)


def same_pads(sizes: Sequence[Size], kernel: Sequence[int], strides: Sequence[int]) -> list[int]:
    """The pads of pad_mode "same" in ONNX's order; where the sum is odd, the end gets one more."""
    begins, ends = [], []
    for size, width, step in zip(sizes, kernel, strides, strict=True):
        total = max((-(-int(size) // step) - 1) * step + width - int(size), 0)
        begins.append(total // 2)
        ends.append(total - total // 2)
    return [*begins, *ends]


def max_pool(call: Call, x: Tensor, settings: Pool) -> Tensor:
    """The largest value of each window."""
    flat, settings, shape = _without_depth(call, x, settings)
    reached = _reached(flat, shape, settings)
    begins = settings.begins
    # Runtimes refuse padding as wide as the window, which dilation can need.
    if any(pad >= width for pad, width in zip([*begins, *reached], settings.kernel * 2, strict=True)):
        pairs = [(0, 0), (0, 0), *zip(begins, reached, strict=True)]
        flat = padded(call, flat, pairs, "constant", float(np.finfo(np.float32).min))
        begins = reached = [0] * len(begins)
    attributes = {"dilations": settings.dilations} if any(step != 1 for step in settings.dilations) else {}
    found = _emitted(call, "MaxPool", flat, settings, [*begins, *reached], shape, **attributes)
    return call.reshape(found, call.shape)


def mean_pool(call: Call, x: Tensor, settings: Pool) -> Tensor:
    """The mean of each window."""
    flat, settings, shape = _without_depth(call, x, settings)
    begins, reached = settings.begins, _reached(flat, shape, settings)
    kernel = settings.kernel
    if settings.divisor is None and kernel == list(flat.shape[2:]) and not any([*begins, *reached]):
        return call.reshape(reduced(call, "ReduceMean", flat, list(range(2, flat.rank)), keep=True), call.shape)
    counted = settings.count_pads or settings.divisor is not None
    beyond = [own > end for own, end in zip(reached, settings.ends, strict=True)]
    if counted and settings.divisor is None and any(beyond):  # the padding counts, but not what lies behind it
        flat = padded(call, flat, [(0, 0), (0, 0), *zip(begins, settings.ends, strict=True)], "constant")
        begins, counted = [0] * len(begins), False
        reached = [max(own - end, 0) for own, end in zip(reached, settings.ends, strict=True)]
    attributes = {"count_include_pad": 1} if counted and any([*begins, *reached]) else {}
    found = _emitted(call, "AveragePool", flat, settings, [*begins, *reached], shape, **attributes)
    if settings.divisor is not None:
        factor = call.as_tensor(math.prod(kernel) / settings.divisor)
        found = call.emit("Mul", [found, factor], Type(found.dtype, found.shape))
    return call.reshape(found, call.shape)


def _emitted(
    call: Call, op: str, x: Tensor, settings: Pool, pads: list[int], shape: tuple[Size, ...], **attributes: Any
) -> Tensor:
    kind = Type(x.dtype, shape)
    return call.emit(op, [x], kind, kernel_shape=settings.kernel, strides=settings.strides, pads=pads, **attributes)


def _reached(x: Tensor, shape: tuple[Size, ...], settings: Pool) -> list[int]:
    """How far the last window reaches behind the last pixel: the padding at the end that makes ceil_mode needless."""
    return [
        max((int(end) - 1) * step + (width - 1) * dilation + 1 - begin - int(size), 0)
        for size, end, step, width, dilation, begin in zip(
            x.shape[2:],
            shape[2:],
            settings.strides,
            settings.kernel,
            settings.dilations,
            settings.begins,
            strict=True,
        )
    ]


def _without_depth(call: Call, x: Tensor, settings: Pool) -> tuple[Tensor, Pool, tuple[Size, ...]]:
    """A pool of depth 1 as one over height and width: MindSpore writes 2D pools so. Also the shape of its result."""
    if x.rank != 5 or x.shape[2] != 1 or call.shape[2] != 1 or settings.kernel[0] != 1:
        return x, settings, call.shape
    flat = call.reshape(x, (*x.shape[:2], *x.shape[3:]))
    plain = replace(
        settings,
        kernel=settings.kernel[1:],
        strides=settings.strides[1:],
        begins=settings.begins[1:],
        ends=settings.ends[1:],
        dilations=settings.dilations[1:],
    )
    return flat, plain, (*call.shape[:2], *call.shape[3:])
