"""Normalizations. ONNX has some of them; the others are written with means and products."""

from __future__ import annotations

import math

import numpy as np

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Size, Tensor, Type


@primitive("BatchNorm", "BatchNormExt")
def batch_norm(call: Call) -> tuple[Tensor]:
    """``mindspore.ops.BatchNorm`` in inference: x, gamma, beta, mean, variance, is_training, epsilon."""
    if call.value(5, False):
        hint = "build it without use_batch_statistics=True, and give amctq the network in inference mode"
        call.refuse("it normalizes with the statistics of the batch", hint)
    epsilon = float(call.value(6 if call.node.primitive == "BatchNorm" else 7, 1e-5))
    x = call.tensor(0)
    plain = (1, 0, 0, 1)  # for what the layer does not have
    parameters = [
        call.as_tensor(np.full((int(x.shape[1]),), value, np.float32) if arg is None else arg)
        for arg, value in zip(call.args[1:5], plain, strict=True)
    ]
    return (call.emit("BatchNormalization", [x, *parameters], Type(x.dtype, x.shape), epsilon=epsilon),)


@primitive("LayerNorm", "LayerNormV3")
def layer_norm(call: Call) -> tuple[Tensor]:
    """``mindspore.ops.LayerNorm``: x, gamma, beta, begin_norm_axis, begin_params_axis, epsilon."""
    x, gamma, beta = (call.tensor(index) for index in range(3))
    axis = call.axis(3, 1, rank=x.rank)
    kind = Type(x.dtype, x.shape)
    if gamma.rank == x.rank - axis:
        return (call.emit("LayerNormalization", [x, gamma, beta], kind, axis=axis, epsilon=float(call.value(5, 1e-7))),)
    normal = _normalized(call, x, list(range(axis, x.rank)), float(call.value(5, 1e-7)))
    return (call.emit("Add", [call.emit("Mul", [normal, gamma], kind), beta], kind),)


@primitive("LayerNormExt")
def layer_norm_ext(call: Call) -> tuple[Tensor]:
    """``mindspore.mint.nn.functional.layer_norm``: x, normalized_shape, weight, bias, eps."""
    x, axis = call.tensor(0), -len(call.value(1))
    kind = Type(x.dtype, x.shape)
    ones, zeros = (np.full(tuple(map(int, x.shape[axis:])), value, np.float32) for value in (1, 0))
    gamma, beta = (
        call.as_tensor(plain if value is None else value)
        for value, plain in zip(call.args[2:4], (ones, zeros), strict=True)
    )
    epsilon = float(call.value(4, 1e-5))
    return (call.emit("LayerNormalization", [x, gamma, beta], kind, axis=axis, epsilon=epsilon),)


@primitive("GroupNorm")
def group_norm(call: Call) -> tuple[Tensor]:
    """``mindspore.ops.group_norm``: x (N, C, …), num_groups, weight, bias, eps."""
    x, groups = call.tensor(0), int(call.value(1))
    channels = x.shape[1]
    kind = Type(x.dtype, x.shape)
    sizes: tuple[Size, ...] = (x.shape[0], groups, math.prod(map(int, x.shape[1:])) // groups)
    normal = call.reshape(_normalized(call, call.reshape(x, sizes), [2], float(call.value(4, 1e-5))), x.shape)
    column = (channels, *(1,) * (x.rank - 2))
    for op, index in (("Mul", 2), ("Add", 3)):
        if index < len(call.args) and call.args[index] is not None:
            normal = call.emit(op, [normal, call.reshape(call.tensor(index), column)], kind)
    return (normal,)


def _normalized(call: Call, x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    """(x - mean) / √(variance + ε) along some axes."""
    kind = Type(x.dtype, x.shape)
    reduced = Type(x.dtype, tuple(1 if axis in axes else size for axis, size in enumerate(x.shape)))
    centred = call.emit("Sub", [x, call.emit("ReduceMean", [x], reduced, axes=axes)], kind)
    square = call.emit("Mul", [centred, centred], kind)
    variance = call.emit("ReduceMean", [square], reduced, axes=axes)
    root = call.emit("Sqrt", [call.emit("Add", [variance, call.as_tensor(epsilon)], reduced)], reduced)
    return call.emit("Div", [centred, root], kind)


@primitive("RmsNorm")
def rms_norm(call: Call) -> tuple[Tensor]:
    """``mindspore.ops.rms_norm``: x / √(mean(x²) + ε) × gamma over the last axes, those of gamma; x, gamma, ε."""
    x, gamma = call.tensor(0), call.tensor(1)
    return (_rms(call, x, gamma, float(call.value(2, 1e-6))),)


@primitive("AddRmsNorm")
def add_rms_norm(call: Call) -> tuple[Tensor, None, Tensor]:
    """``mindspore.ops.add_rms_norm``: the RMS norm of x1 + x2, and that sum; x1, x2, gamma, ε."""
    kind = Type(call.tensor(0).dtype, call.tensor(0).shape)
    total = call.emit("Add", [call.tensor(0), call.tensor(1)], kind)
    return _rms(call, total, call.tensor(2), float(call.value(3, 1e-6))), None, total


def _rms(call: Call, x: Tensor, gamma: Tensor, epsilon: float) -> Tensor:
    kind = Type(x.dtype, x.shape)
    axes = list(range(x.rank - gamma.rank, x.rank))
    reduced = Type(x.dtype, tuple(1 if axis in axes else size for axis, size in enumerate(x.shape)))
    mean = call.emit("ReduceMean", [call.emit("Mul", [x, x], kind)], reduced, axes=axes)
    root = call.emit("Sqrt", [call.emit("Add", [mean, call.as_tensor(epsilon)], reduced)], reduced)
    return call.emit("Mul", [call.emit("Div", [x, root], kind), gamma], kind)


@primitive("InstanceNorm")
def instance_norm(call: Call) -> tuple[Tensor]:
    """``mindspore.nn.InstanceNorm2d``: the statistics of every image."""
    x, gamma, beta = (call.tensor(index) for index in range(3))
    return (
        call.emit(
            "InstanceNormalization", [x, gamma, beta], Type(x.dtype, x.shape), epsilon=float(call.attribute("epsilon"))
        ),
    )


@primitive("LRN")
def local_response(call: Call) -> Tensor:
    """``mindspore.ops.LRN``: x / (bias + alpha × Σ x²)^beta over 2 × depth_radius + 1 channels."""
    size = 2 * int(call.attribute("depth_radius")) + 1
    if call.attribute("norm_region", "ACROSS_CHANNELS") != "ACROSS_CHANNELS":
        call.refuse(f"norm_region {call.attribute('norm_region')}")
    return call.emit(
        "LRN",
        [call.tensor(0)],
        size=size,
        alpha=float(call.attribute("alpha")) * size,  # ONNX divides by the size
        beta=float(call.attribute("beta")),
        bias=float(call.attribute("bias")),
    )


@primitive("L2Normalize")
def l2_normalize(call: Call) -> Tensor:
    """``mindspore.ops.L2Normalize``: x / √(max(Σ x², ε))."""
    x = call.tensor(0)
    axes = [int(axis) % x.rank for axis in np.atleast_1d(call.attribute("axis", 0))]
    reduced = Type(x.dtype, tuple(1 if axis in axes else size for axis, size in enumerate(x.shape)))
    total = call.emit("ReduceSumSquare", [x], reduced, axes=axes)
    root = call.emit(
        "Sqrt", [call.emit("Max", [total, call.as_tensor(float(call.attribute("epsilon")))], reduced)], reduced
    )
    return call.emit("Div", [x, root])
