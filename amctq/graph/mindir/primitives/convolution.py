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


@primitive("Conv2DTranspose", "Conv2DBackpropInput", "Conv3DTranspose")
def transposed_convolution(call: Call) -> Tensor:
    """``mindspore.ops.Conv2DTranspose``, ``Conv3DTranspose``: x, weight, and the size of the output."""
    weight = call.tensor(1)
    rank = weight.rank - 2
    return _transposed(
        call,
        [call.tensor(0), weight],
        strides=spatial(call.attribute("strides", call.attribute("stride", 1)), rank),
        dilations=spatial(call.attribute("dilations", call.attribute("dilation", 1)), rank),
        begins=onnx_pads(call.attribute("pad_list"), rank)[:rank],
        group=int(call.attribute("group", call.attribute("groups", 1))),
    )


def _transposed(
    call: Call, inputs: list[Tensor], *, strides: list[int], dilations: list[int], begins: list[int], group: int
) -> Tensor:
    """A transposed convolution to the known size of the output, which the end is cut or filled up to."""
    x, weight = inputs[:2]
    kernel = [int(size) for size in weight.shape[2:]]
    ends = [
        (int(size) - 1) * step + (width - 1) * dilation + 1 - begin - int(end)
        for size, step, width, dilation, begin, end in zip(
            x.shape[2:], strides, kernel, dilations, begins, call.shape[2:], strict=True
        )
    ]
    attributes: dict[str, Any] = {"output_padding": [max(-end, 0) for end in ends]} if min(ends) < 0 else {}
    return call.emit(
        "ConvTranspose",
        inputs,
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        group=group,
        pads=[*begins, *(max(end, 0) for end in ends)],
        **attributes,
    )


# By primitive, the positions of padding, dilation and groups among the inputs, which begin with x, weight, bias and
# stride; and whether it is transposed, which None leaves to input 6.
_MINT: dict[str, tuple[int, int, int, bool | None]] = {
    "Conv1DExt": (4, 5, 6, False),
    "Conv2DExt": (4, 5, 6, False),
    "Conv3DExt": (4, 5, 6, False),
    "Conv1DPadding": (4, 5, 6, False),
    "Conv2DPadding": (4, 5, 6, False),
    "Conv3DPadding": (4, 5, 6, False),
    "ConvTranspose2D": (4, 7, 6, True),
    "Convolution": (4, 5, 8, None),
    "ConvolutionStr": (4, 5, 8, None),
}


@primitive(*_MINT)
def mint_convolution(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.conv2d``, ``conv_transpose2d`` and their kin: all settings are inputs."""
    padding_at, dilation_at, groups_at, transposed = _MINT[call.node.primitive]
    inputs = [call.tensor(0), call.tensor(1)]
    if call.args[2] is not None:
        inputs.append(call.tensor(2))
    x, weight = inputs[:2]
    rank = weight.rank - 2
    if x.rank != weight.rank:
        call.refuse(f"an input of {x.rank} axes for a weight of {weight.rank}", "give it a batch of images")
    strides, dilations = (each(call.value(index), rank) for index in (3, dilation_at))
    padding, groups = call.value(padding_at), int(call.value(groups_at))
    if bool(call.value(6)) if transposed is None else transposed:
        begins = each(padding, rank)
        return _transposed(call, inputs, strides=strides, dilations=dilations, begins=begins, group=groups)
    kernel = [int(size) for size in weight.shape[2:]]
    if call.node.primitive.endswith(("Str", "Padding")):
        # "same" (1 in MindIR) has stride 1; where the sum is odd, the end gets one more.
        same = str(padding).lower() in {"same", "1"}
        totals = [(width - 1) * step if same else 0 for width, step in zip(kernel, dilations, strict=True)]
        pads = [*(total // 2 for total in totals), *(total - total // 2 for total in totals)]
    else:
        pads = each(padding, rank) * 2
    return call.emit("Conv", inputs, kernel_shape=kernel, strides=strides, dilations=dilations, group=groups, pads=pads)


def each(value: Any, rank: int) -> list[int]:
    """A setting of mint: one number for all axes, or one for each."""
    values = [int(item) for item in (value if isinstance(value, tuple) else (value,))]
    return values * rank if len(values) == 1 else values


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
