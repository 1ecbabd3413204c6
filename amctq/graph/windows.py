"""Where the convolutions of a graph look, from the attributes of their nodes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from amctq.graph.float_graph import attributes_of
from amctq.quant.rounding.columns import Windows


def windows_of(node: onnx.NodeProto, kernel: Sequence[int]) -> Windows | None:
    """The windows of a convolution; None for a product with a matrix.

    A transposed convolution is one with a turned kernel, on inputs with zeros between them.

    Args:
        node: a Conv, a ConvTranspose, or another node.
        kernel: the spatial shape of its weight.
    """
    if node.op_type not in {"Conv", "ConvTranspose"}:
        return None
    attributes, axes = attributes_of(node), len(kernel)
    one = (1,) * axes
    strides, dilations = (tuple(attributes.get(key, one)) for key in ("strides", "dilations"))
    pads = tuple(attributes.get("pads", (0,) * 2 * axes))
    begins, ends, spread = pads[:axes], pads[axes:], one
    if node.op_type == "ConvTranspose":
        reach = [(size - 1) * step for size, step in zip(kernel, dilations, strict=True)]
        more = tuple(attributes.get("output_padding", (0,) * axes))
        begins = tuple(r - b for r, b in zip(reach, begins, strict=True))
        ends = tuple(r - e + m for r, e, m in zip(reach, ends, more, strict=True))
        strides, spread = one, strides
    return Windows(
        kernel=tuple(kernel),
        strides=strides,
        begins=begins,
        ends=ends,
        dilations=dilations,
        spread=spread,
        turned=node.op_type == "ConvTranspose",
        groups=int(attributes.get("group", 1)),
    )
