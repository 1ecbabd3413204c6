"""Convolutions, and the bias after them."""

from __future__ import annotations

from typing import Any

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor

# These take a bias as a third input.
_BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})


def spatial(values: Any, rank: int) -> list[int]:
    """The last ``rank`` values of a setting that MindSpore gives for all axes or for the spatial ones only."""
    if isinstance(values, int):
        return [values] * rank
    return [int(value) for value in tuple(values)[-rank:]]


def onnx_pads(pad_list: Any, rank: int) -> list[int]:
    """MindSpore's pads (begin, end, begin, end …) in ONNX's order: all begins, then all ends."""
    pads = [int(value) for value in pad_list][-2 * rank :]
    return [*pads[0::2], *pads[1::2]]


@primitive("Conv2D", "Conv3D")
def convolution(call: Call) -> Tensor:
    """``mindspore.ops.Conv2D``, ``Conv3D``: MindIR holds the resolved padding in ``pad_list``, for ``same`` too."""
    x, weight = call.tensor(0), call.tensor(1)
    rank = weight.rank - 2
    if call.attribute("format", "NCHW") not in {"NCHW", "NCDHW"}:
        call.refuse(f"format {call.attribute('format')}", "use channels first")
    return call.emit(
        "Conv",
        [x, weight],
        kernel_shape=list(weight.shape[2:]),
        strides=spatial(call.attribute("stride", call.attribute("strides", 1)), rank),
        dilations=spatial(call.attribute("dilation", call.attribute("dilations", 1)), rank),
        group=int(call.attribute("group", call.attribute("groups", 1))),
        pads=onnx_pads(call.attribute("pad_list"), rank),
    )


@primitive("BiasAdd")
def bias_add(call: Call) -> Tensor:
    """``mindspore.ops.BiasAdd``: one value for each channel, which is axis 1 (the last where the format says NHWC)."""
    x, bias = call.tensor(0), call.tensor(1)
    return add_bias(call, x, bias, last=call.value(2, "NCHW") == "NHWC" or x.rank == 2)


def add_bias(call: Call, x: Tensor, bias: Tensor, *, last: bool) -> Tensor:
    """Add a bias of shape (C,) to the channels of ``x``: into the layer before, if nothing else reads its output."""
    layer = call.producer(x, 0)
    if layer is not None and layer.op_type in _BIASED and len(layer.input) == 2 and call.graph.is_constant(bias.name):
        layer.input.append(bias.name)
        return call.made(x.name)
    if not last:
        bias = call.reshape(bias, (bias.shape[0], *(1,) * (x.rank - 2)))
    return call.emit("Add", [x, bias])
