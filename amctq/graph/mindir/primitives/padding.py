"""Padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor, Type

# ONNX's modes by MindSpore's names; what opset 17 lacks is gathered, with NumPy's names.
_ONNX_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge"}
_GATHERED_MODES = {"symmetric": "symmetric", "circular": "wrap"}


@primitive("Pad")
def pad(call: Call) -> Tensor:
    """``mindspore.ops.Pad`` with zeros: (begin, end) for each axis."""
    pairs = call.attribute("paddings", None) or call.value(1)
    return padded(call, call.tensor(0), [(int(begin), int(end)) for begin, end in pairs], "constant")


@primitive("PadV3")
def pad_v3(call: Call) -> Tensor:
    """``mindspore.ops.PadV3``: pads from the last axis on, a value, and the mode."""
    pads = [int(value) for value in call.value(1)]
    if not call.attribute("paddings_contiguous", True):
        half = len(pads) // 2
        pads = [value for pair in zip(pads[:half], pads[half:], strict=True) for value in pair]
    x = call.tensor(0)
    return padded(call, x, _pairs(pads, x.rank), str(call.attribute("mode", "constant")), call.value(2, None))


@primitive("ConstantPadND")
def constant_pad(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.pad``, mode "constant": pads from the last axis on, and a value."""
    x = call.tensor(0)
    return padded(call, x, _pairs(call.value(1), x.rank), "constant", call.value(2, 0.0))


@primitive("ReflectionPad1D", "ReflectionPad2D", "ReflectionPad3D")
def reflection_pad(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.pad``, mode "reflect": pads from the last axis on."""
    x = call.tensor(0)
    return padded(call, x, _pairs(call.value(1), x.rank), "reflect")


@primitive("ReplicationPad1D", "ReplicationPad2D", "ReplicationPad3D")
def replication_pad(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.pad``, mode "replicate": pads from the last axis on."""
    x = call.tensor(0)
    return padded(call, x, _pairs(call.value(1), x.rank), "edge")


@primitive("MirrorPad")
def mirror_pad(call: Call) -> Tensor:
    """``mindspore.ops.MirrorPad``: (begin, end) for each axis; "REFLECT" or "SYMMETRIC", which repeats the border."""
    pairs = [(int(begin), int(end)) for begin, end in call.value(1)]
    return padded(call, call.tensor(0), pairs, str(call.attribute("mode", "REFLECT")).lower())


def padded(call: Call, x: Tensor, pairs: Sequence[tuple[int, int]], mode: str, value: Any = None) -> Tensor:
    """``x`` with (begin, end) more on each axis, less where negative.

    Raises:
        InputError: the mode is unknown to amctq, or pads are longer than what they repeat.
    """
    shape = tuple(size if pair == (0, 0) else int(size) + sum(pair) for size, pair in zip(x.shape, pairs, strict=True))
    if mode not in {*_ONNX_MODES, *_GATHERED_MODES}:
        call.refuse(f"mode {mode}", f"use {', '.join([*_ONNX_MODES, *_GATHERED_MODES])}")
    if mode in _GATHERED_MODES or (mode != "constant" and any(number < 0 for pair in pairs for number in pair)):
        for axis, (size, pair) in enumerate(zip(x.shape, pairs, strict=True)):
            if pair != (0, 0):
                picked = _picked(call, int(size), pair, mode)
                kind = Type(x.dtype, (*x.shape[:axis], len(picked), *x.shape[axis + 1 :]))
                x = call.emit("Gather", [x, call.graph.constant(picked)], kind, axis=axis)
        return x
    begins, ends = ([pair[index] for pair in pairs] for index in (0, 1))
    inputs: list[Tensor | str] = [x, call.graph.ints([*begins, *ends])]
    if mode == "constant" and value is not None:
        inputs.append(call.as_tensor(np.asarray(value, x.dtype).reshape(())))
    return call.emit("Pad", inputs, Type(x.dtype, shape), mode=_ONNX_MODES[mode])


def _picked(call: Call, size: int, pair: tuple[int, int], mode: str) -> NDArray[np.int64]:
    """Which values of an axis the padded one has. What a negative pad cuts off is still reflected, but not repeated."""
    more, cut = ([max(sign * number, 0) for number in pair] for sign in (1, -1))
    name: Any = (_ONNX_MODES | _GATHERED_MODES)[mode]
    picked: NDArray[np.int64] = np.arange(size, dtype=np.int64)
    if mode == "reflect":
        picked = np.pad(picked, more, name)
        return picked[cut[0] : len(picked) - cut[1]]
    picked = picked[cut[0] : size - cut[1]]
    if mode == "circular" and max(more) > len(picked):
        found = f"pads {pair} repeat more than the {len(picked)} values of the axis"
        call.refuse(found, "use pads of that size at most")
    return np.pad(picked, more, name)


def _pairs(pads: Any, rank: int) -> list[tuple[int, int]]:
    """(begin, end) for each axis, from pads that begin with the last axis."""
    numbers = [int(value) for value in pads]
    pairs = list(zip(numbers[0::2], numbers[1::2], strict=True))[::-1]
    return [(0, 0)] * (rank - len(pairs)) + pairs
