"""Activations, element by element."""

from __future__ import annotations

import math

import numpy as np

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor, Type

# By primitive, the ONNX operator that computes the same of one input.
_SAME = {
    "ReLU": "Relu",
    "InplaceReLU": "Relu",
    "ReLUV3": "Relu",
    "Sigmoid": "Sigmoid",
    "InplaceSigmoid": "Sigmoid",
    "Tanh": "Tanh",
    "InplaceTanh": "Tanh",
    "HSwish": "HardSwish",
    "Softplus": "Softplus",
    "Softsign": "Softsign",
}


def _same(call: Call) -> Tensor:
    return call.emit(_SAME[call.node.primitive], [call.tensor(0)])


for _name in _SAME:
    primitive(_name)(_same)


@primitive("ReLU6")
def relu6(call: Call) -> Tensor:
    """``mindspore.ops.ReLU6``: min(max(x, 0), 6)."""
    return clip(call, call.tensor(0), 0.0, 6.0)


def clip(call: Call, x: Tensor, low: float | None, high: float | None) -> Tensor:
    """X between two numbers, of which one may be left out."""
    ends = ["" if end is None else call.as_tensor(np.asarray(end, x.dtype)) for end in (low, high)]
    return call.emit("Clip", [x, *(ends if high is not None else ends[:1])])


@primitive("HSigmoid", "HSigmoidV2")
def hard_sigmoid(call: Call) -> Tensor:
    """``mindspore.ops.HSigmoid``: max(0, min(1, (x + 3) / 6))."""
    return call.emit("HardSigmoid", [call.tensor(0)], alpha=1 / 6, beta=0.5)


@primitive("SiLU", "InplaceSiLU")
def silu(call: Call) -> Tensor:
    """``mindspore.ops.SiLU``: x × sigmoid(x)."""
    x = call.tensor(0)
    return call.emit("Mul", [x, call.emit("Sigmoid", [x])])


@primitive("Hardtanh", "InplaceHardtanh")
def hard_tanh(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.hardtanh``: min(max(x, low), high); relu6 too."""
    return clip(call, call.tensor(0), float(call.value(1, -1.0)), float(call.value(2, 1.0)))


@primitive("GLU", "Swiglu")
def gated(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.glu``, ``mindspore.ops.swiglu``: one half of an axis gates the other."""
    x = call.tensor(0)
    axis = call.axis(1, -1, rank=x.rank)
    first, second = call.emit_several("Split", [x], [call.type] * 2, axis=axis)
    if call.node.primitive == "GLU":
        return call.emit("Mul", [first, call.emit("Sigmoid", [second])])
    return call.emit("Mul", [call.emit("Mul", [first, call.emit("Sigmoid", [first])]), second])


@primitive("LogSigmoid")
def log_sigmoid(call: Call) -> tuple[Tensor]:
    """``mindspore.mint.nn.functional.logsigmoid``: -softplus(-x)."""
    return (call.emit("Neg", [call.emit("Softplus", [call.emit("Neg", [call.tensor(0)])])]),)


@primitive("SoftplusExt")
def softplus(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.softplus``: log(1 + exp(beta × x)) / beta, or x where beta × x > threshold."""
    x, beta, threshold = call.tensor(0), float(call.value(1, 1)), float(call.value(2, 20))
    scaled = x if beta == 1 else call.emit("Mul", [x, call.as_tensor(beta)])
    soft = call.emit("Softplus", [scaled])
    soft = soft if beta == 1 else call.emit("Div", [soft, call.as_tensor(beta)])
    if threshold >= 20:  # beyond that, both are the same number in float32
        return soft
    above = call.emit("Greater", [scaled, call.as_tensor(threshold)], Type("bool", x.shape))
    return call.emit("Where", [above, x, soft])


@primitive("Threshold", "InplaceThreshold")
def threshold(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.threshold``: x, or a value where x is not above the threshold."""
    x, limit, value = call.tensor(0), float(call.value(1)), float(call.value(2))
    above = call.emit("Greater", [x, call.as_tensor(limit)], Type("bool", x.shape))
    return call.emit("Where", [above, x, call.as_tensor(value)])


@primitive("HShrink", "SoftShrink")
def shrink(call: Call) -> Tensor:
    """``mindspore.ops.HShrink``, ``SoftShrink``: 0 from -lambda to lambda; SoftShrink moves the rest towards 0."""
    limit = float(call.value(1, 0.5))
    bias = limit if call.node.primitive == "SoftShrink" else 0.0
    return call.emit("Shrink", [call.tensor(0)], lambd=limit, bias=bias)


@primitive("Mish", "MishExt")
def mish(call: Call) -> Tensor:
    """``mindspore.ops.Mish``: x × tanh(softplus(x))."""
    x = call.tensor(0)
    return call.emit("Mul", [x, call.emit("Tanh", [call.emit("Softplus", [x])])])


@primitive("GeLU")
def gelu_tanh(call: Call) -> Tensor:
    """``mindspore.ops.GeLU``: 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    return _gelu_tanh(call)


def _gelu_tanh(call: Call) -> Tensor:
    """Written in the one order that onnxruntime computes as a single operator."""
    x = call.tensor(0)
    cube = call.emit("Pow", [x, call.as_tensor(3.0)])
    inner = call.emit("Add", [x, call.emit("Mul", [cube, call.as_tensor(0.044715)])])
    tanh = call.emit("Tanh", [call.emit("Mul", [inner, call.as_tensor(math.sqrt(2 / math.pi))])])
    half = call.emit("Mul", [x, call.as_tensor(0.5)])
    return call.emit("Mul", [half, call.emit("Add", [tanh, call.as_tensor(1.0)])])


@primitive("GeluExt")
def gelu_ext(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.gelu``: approximate "none" or "tanh" (0 or 1 in MindIR)."""
    if call.value(1, 0) in {1, "tanh"}:
        return _gelu_tanh(call)
    x = call.tensor(0)
    erf = call.emit("Erf", [call.emit("Div", [x, call.as_tensor(math.sqrt(2))])])
    doubled = call.emit("Mul", [x, call.emit("Add", [erf, call.as_tensor(1.0)])])
    return call.emit("Mul", [doubled, call.as_tensor(0.5)])


@primitive("FastGeLU")
def gelu_fast(call: Call) -> Tensor:
    """``mindspore.ops.fast_gelu``: x × sigmoid(1.702 x)."""
    x = call.tensor(0)
    return call.emit("Mul", [x, call.emit("Sigmoid", [call.emit("Mul", [x, call.as_tensor(1.702)])])])


@primitive("CeLU")
def celu(call: Call) -> Tensor:
    """``mindspore.ops.celu``: x, or alpha × (exp(x / alpha) - 1) where x is negative."""
    return call.emit("Celu", [call.tensor(0)], alpha=float(call.value(1, 1.0)))


@primitive("Elu", "EluExt", "InplaceElu")
def elu(call: Call) -> Tensor:
    """``mindspore.ops.Elu``: x, or alpha × (exp(x) - 1) where x is negative."""
    alpha = call.value(1, None) if len(call.args) > 1 else call.attribute("alpha", 1.0)
    return call.emit("Elu", [call.tensor(0)], alpha=float(1.0 if alpha is None else alpha))


@primitive("SeLU", "SeLUExt")
def selu(call: Call) -> Tensor:
    """``mindspore.ops.SeLU``."""
    return call.emit("Selu", [call.tensor(0)])


@primitive("LeakyReLU", "LeakyReLUExt")
def leaky_relu(call: Call) -> Tensor:
    """``mindspore.ops.leaky_relu``: x, or alpha × x where x is negative."""
    return call.emit("LeakyRelu", [call.tensor(0)], alpha=float(call.value(1, 0.01)))


@primitive("PReLU")
def prelu(call: Call) -> Tensor:
    """``mindspore.ops.PReLU``: x, or weight × x where x is negative; a weight for all, or one for each channel."""
    x, weight = call.tensor(0), call.tensor(1)
    return call.emit("PRelu", [x, call.reshape(weight, (*weight.shape, *(1,) * (x.rank - 2)))])


@primitive("Softmax")
def softmax(call: Call) -> Tensor:
    """``mindspore.ops.Softmax`` along one axis."""
    axis = call.value(1, -1)
    axes = axis if isinstance(axis, tuple) else (axis,)
    if len(axes) != 1:
        call.refuse(f"axes {axes}", "use one axis")
    return call.emit("Softmax", [call.tensor(0)], axis=int(axes[0]))


@primitive("SoftmaxExt", "LogSoftmax", "LogSoftmaxExt")
def softmax_ext(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.softmax``, ``mindspore.ops.LogSoftmax``."""
    op = "LogSoftmax" if call.node.primitive.startswith("Log") else "Softmax"
    axis = call.value(1, -1)
    return call.emit(op, [call.tensor(0)], axis=int(-1 if axis is None else axis))
