"""The first convolution (the stem), rewritten for onnxruntime's integer kernels; its outputs do not change.

The direct kernel needs a multiple of four input channels, and images have three. Either a fourth channel of zeros is
added, or a convolution of stride 2 becomes one of stride 1 whose channels are blocks of 2 x 2 pixels, where this needs
fewer multiplications. onnxruntime's convolutions have the channels last: there a block is two pieces of memory with two
pixels each. Joining them takes half the time of a SpaceToDepth with channels first and a Transpose of its 12 channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from amctq.graph.float_graph import attributes_of
from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer
from amctq.quant.layers import LayerKind
from amctq.quant.weights import QuantizedWeight

_CHANNELS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Stem:
    """The rewritten first convolution.

    Attributes:
        item: the layer with rearranged weights.
        integers: name of the uint8 tensor that it reads.
        attributes: the changed attributes of its Conv node.
    """

    item: IntegerLayer
    integers: str
    attributes: Mapping[str, Any]


def write_stem(
    writer: GraphWriter, item: IntegerLayer, node: onnx.NodeProto, integers: str, shape: tuple[int, ...]
) -> Stem | None:
    """Rearrange the image and the weights of a convolution; None where this brings nothing.

    Args:
        writer: receives the nodes that rearrange the image.
        item: the layer.
        node: its Conv node in the float graph.
        integers: name of the uint8 image (N, C, H, W).
        shape: (C, H, W).
    """
    if len(shape) != 3:
        return None
    attributes = attributes_of(node)
    channels = shape[0]
    if item.layer.kind is not LayerKind.CONV or attributes.get("group", 1) != 1 or channels >= _CHANNELS:
        return None
    zero = np.uint8(item.activation.zero_point_uint8)
    geometry = _blocks(item.weight, attributes, shape)
    if geometry is not None:
        (top, left, bottom, right), weight = geometry
        pads = [top // 2, left // 2, bottom // 2, right // 2]
        below, beside = bottom % 2, right % 2  # one more row or column of pixels completes the last blocks
        name = f"{item.layer.name}.blocks"
        if below or beside:
            integers = _pad(writer, name, integers, [0, 0, 0, 0, 0, 0, below, beside], zero)
        blocks = _take_blocks(writer, name, integers, (channels, shape[1] + below, shape[2] + beside))
        changed = {"strides": [1, 1], "pads": pads, "kernel_shape": list(weight.values.shape[2:])}
        return Stem(item=replace(item, weight=weight), integers=blocks, attributes=changed)
    missing = _CHANNELS - channels
    padded = _pad(writer, f"{item.layer.name}.channels", integers, [0, 0, 0, 0, 0, missing, 0, 0], zero)
    weight = replace(item.weight, values=np.pad(item.weight.values, ((0, 0), (0, missing), (0, 0), (0, 0))))
    return Stem(item=replace(item, weight=weight), integers=padded, attributes={})


def _pad(writer: GraphWriter, name: str, integers: str, pads: list[int], zero: np.uint8) -> str:
    amounts = writer.initializer(f"{name}.pads", np.asarray(pads, np.int64))
    inputs = [integers, amounts, writer.initializer(f"{name}.zero", np.asarray(zero))]
    return writer.node("Pad", f"{name}.pad", inputs, f"{name}.padded")


def _take_blocks(writer: GraphWriter, name: str, integers: str, shape: tuple[int, int, int]) -> str:
    """Add the nodes from (N, C, H, W), H and W even, to (N, 4 C, H/2, W/2); returns the output's name.

    Channel (dy × 2 + dx) × C + c is channel c at (dy, dx) of the block.
    """
    channels, rows, columns = shape[0], shape[1] // 2, shape[2] // 2
    last = writer.node("Transpose", f"{name}.last", [integers], f"{name}.last", perm=[0, 2, 3, 1])
    split = writer.initializer(f"{name}.split.shape", np.asarray([0, rows, 2, columns, 2 * channels], np.int64))
    pairs = writer.node("Reshape", f"{name}.split", [last, split], f"{name}.split")
    beside = writer.node("Transpose", f"{name}.beside", [pairs], f"{name}.beside", perm=[0, 1, 3, 2, 4])
    whole = writer.initializer(f"{name}.whole.shape", np.asarray([0, rows, columns, 4 * channels], np.int64))
    joined = writer.node("Reshape", f"{name}.whole", [beside, whole], f"{name}.whole")
    return writer.node("Transpose", name, [joined], name, perm=[0, 3, 1, 2])


def _blocks(
    weight: QuantizedWeight, attributes: Mapping[str, Any], shape: tuple[int, ...]
) -> tuple[list[int], QuantizedWeight] | None:
    """Pads (top, left, bottom, right) in pixels and weights (C_out, 4 C, k/2, k/2) for 2 x 2 blocks.

    None where this does not need fewer multiplications, or would crop the image.
    """
    out, channels, *kernel = weight.values.shape
    if list(attributes.get("strides", [1, 1])) != [2, 2] or list(attributes.get("dilations", [1, 1])) != [1, 1]:
        return None
    before, after, taps = [0, 0], [0, 0], [(0, 0), (0, 0)]
    for axis, (size, length) in enumerate(zip(kernel, shape[1:], strict=True)):
        first, last = _padding(attributes, axis, size, length)
        outputs = (length + first + last - size) // 2 + 1
        # Blocks start at even positions: odd padding gets one more pixel, and the kernel one more tap of zero there.
        lead = first % 2
        width = (size + lead + 1) // 2 * 2
        taps[axis] = (lead, width - size - lead)
        before[axis] = first + lead
        after[axis] = 2 * (outputs - 1) + width - length - before[axis]
        if after[axis] < 0:
            return None
    values = np.pad(weight.values, ((0, 0), (0, 0), *taps))
    rows, columns = values.shape[2] // 2, values.shape[3] // 2
    if 4 * channels * rows * columns > _CHANNELS * kernel[0] * kernel[1]:
        return None
    # The same order as in _take_blocks.
    split = values.reshape(out, channels, rows, 2, columns, 2).transpose(0, 3, 5, 1, 2, 4)
    arranged = np.ascontiguousarray(split.reshape(out, 4 * channels, rows, columns))
    return [*before, *after], replace(weight, values=arranged)


def _padding(attributes: Mapping[str, Any], axis: int, size: int, length: int) -> tuple[int, int]:
    """The zeros before and after an axis, from ``pads`` or ``auto_pad``."""
    auto = attributes.get("auto_pad", b"NOTSET")
    if auto in {b"SAME_UPPER", b"SAME_LOWER"}:
        total = max((-(-length // 2) - 1) * 2 + size - length, 0)
        small = total // 2
        return (small, total - small) if auto == b"SAME_UPPER" else (total - small, small)
    pads = attributes.get("pads", [0, 0, 0, 0]) if auto == b"NOTSET" else [0, 0, 0, 0]
    return pads[axis], pads[axis + 2]
