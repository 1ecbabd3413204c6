"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.convolution import spatial
from amctq.graph.mindir.primitives.reduction import reduced
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Size, Tensor


def same_pads(sizes: Sequence[Size], kernel: Sequence[int], strides: Sequence[int]) -> list[int]:
    """The pads of pad_mode "same" in ONNX's order; where the sum is odd, the end gets one more."""
    begins, ends = [], []
    for size, width, step in zip(sizes, kernel, strides, strict=True):
        total = max((-(-int(size) // step) - 1) * step + width - int(size), 0)
        begins.append(total // 2)
        ends.append(total - total // 2)
    return [*begins, *ends]


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
    same = str(mode).upper() in {"SAME", "1"}
    pads = same_pads(x.shape[2:], kernel, strides) if same else [0] * 2 * rank
    op = "MaxPool" if call.node.primitive == "MaxPool" else "AveragePool"
    if op == "AveragePool" and kernel == list(x.shape[2:]) and not any(pads):
        return reduced(call, "ReduceMean", x, list(range(2, x.rank)), keep=True)
    return call.emit(op, [x], kernel_shape=kernel, strides=strides, pads=pads)
