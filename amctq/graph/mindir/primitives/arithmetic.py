"""Arithmetic, element by element."""

from __future__ import annotations

import numpy as np
from onnx import helper

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.matrix import with_bias
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor, Type, known

# By primitive, the ONNX operator of two operands, which broadcast as in NumPy.
_BINARY = {
    "Mul": "Mul",
    "Muls": "Mul",
    "InplaceMul": "Mul",
    "InplaceMuls": "Mul",
    "Div": "Div",
    "RealDiv": "Div",
    "Divs": "Div",
    "InplaceDiv": "Div",
    "InplaceDivs": "Div",
    "Pow": "Pow",
    "PowTensorScalar": "Pow",
    "PowScalarTensor": "Pow",
    "Minimum": "Min",
}
# Sums and products of booleans.
_OF_BOOLEANS = {"Add": "Or", "Mul": "And", "Max": "Or", "Min": "And"}


def operands(call: Call) -> tuple[Tensor, Tensor]:
    """Both operands, in the type of the result."""
    dtype = known(call.type.dtype)
    first, second = (cast(call, call.as_tensor(arg, dtype), dtype) for arg in call.args[:2])
    return first, second


def cast(call: Call, x: Tensor, dtype: str) -> Tensor:
    """``x`` in another type; float16 and float64 are read as float32."""
    dtype = known(dtype)
    if x.dtype == dtype:
        return x
    return call.emit("Cast", [x], Type(dtype, x.shape), to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _binary(call: Call) -> Tensor:
    return binary(call, _BINARY[call.node.primitive], *operands(call))


def binary(call: Call, op: str, x: Tensor, y: Tensor) -> Tensor:
    """An ONNX operator of two operands of one type."""
    return call.emit(_OF_BOOLEANS.get(op, op) if x.dtype == "bool" else op, [x, y])


for _name in _BINARY:
    primitive(_name)(_binary)


def number(call: Call, value: float, like: Tensor) -> Tensor:
    """A number as a tensor of the type of ``like``."""
    return call.as_tensor(np.asarray(value, like.dtype))


@primitive(
    "Add",
    "AddExt",
    "AddScalar",
    "InplaceAddExt",
    "InplaceAddsExt",
    "Sub",
    "SubExt",
    "SubScalar",
    "InplaceSubExt",
    "InplaceSubScalar",
)
def add(call: Call) -> Tensor:
    """``mindspore.ops.Add``, ``Sub``, ``mindspore.mint.add``, ``sub`` and ``x += y``: x ± alpha × y."""
    op = "Sub" if "Sub" in call.node.primitive else "Add"
    x, y = operands(call)
    alpha = call.value(2, 1)
    if alpha != 1:
        y = call.emit("Mul", [y, number(call, alpha, y)], Type(y.dtype, y.shape))
    elif op == "Add":
        found = with_bias(call, x, y)
        if found is not None:
            return found
    return binary(call, op, x, y)


@primitive("Maximum")
def maximum(call: Call) -> Tensor:
    """``mindspore.ops.Maximum``; max(x, alpha × x), which nn.LeakyReLU is, as the one operator that it is in ONNX."""
    x, y = operands(call)
    for first, second in ((x, y), (y, x)):
        alpha = _factor(call, first, second)
        if alpha is not None and 0 < alpha < 1:
            return call.emit("LeakyRelu", [second], alpha=alpha)
    return call.emit("Max", [x, y])


def _factor(call: Call, product: Tensor, x: Tensor) -> float | None:
    """The number by which ``x`` is multiplied in ``product``; None where it is no such product."""
    node = call.graph.producers.get(product.name)
    if node is None or node.op_type != "Mul" or x.name not in node.input or product.shape != x.shape:
        return None
    other = node.input[0] if node.input[1] == x.name else node.input[1]
    return call.graph.number(other)


@primitive("AddN")
def add_n(call: Call) -> Tensor:
    """``mindspore.ops.AddN``: the sum of a tuple."""
    parts = [cast(call, call.as_tensor(item), call.type.dtype) for item in call.args[0]]
    if parts[0].dtype.startswith("float"):
        return call.emit("Sum", parts)
    total = parts[0]
    for part in parts[1:]:
        total = call.emit("Add", [total, part])
    return total


@primitive("FloorDiv", "FloorDivScalar", "InplaceFloorDivide", "InplaceFloorDivides")
def floor_div(call: Call) -> Tensor:
    """``mindspore.ops.FloorDiv``: the quotient, rounded down."""
    return _quotient(call, *operands(call), mode=2)


@primitive("DivMod", "DivMods", "InplaceDivMod", "InplaceDivMods")
def div_mod(call: Call) -> Tensor:
    """``mindspore.ops.div``: rounding_mode None, "trunc" (1) or "floor" (2)."""
    return _quotient(call, *operands(call), mode=call.value(2, None))


@primitive("TruncateDiv")
def truncate_div(call: Call) -> Tensor:
    """``mindspore.ops.TruncateDiv``: the quotient, rounded towards zero."""
    return _quotient(call, *operands(call), mode=1)


def _quotient(call: Call, x: Tensor, y: Tensor, *, mode: int | str | None) -> Tensor:
    floor = mode in {2, "floor"}
    if x.dtype.startswith("float"):
        ratio = call.emit("Div", [x, y])
        return ratio if mode is None else call.emit("Floor", [ratio]) if floor else truncated(call, ratio)
    if floor:  # an integer Div of ONNX rounds towards zero
        x = call.emit("Sub", [x, call.emit("Mod", [x, y])])
    return call.emit("Div", [x, y])


@primitive(
    "FloorMod",
    "RemainderTensorTensor",
    "RemainderTensorScalar",
    "RemainderScalarTensor",
    "InplaceRemainderTensorTensor",
    "InplaceRemainderTensorScalar",
)
def floor_mod(call: Call) -> Tensor:
    """``mindspore.ops.FloorMod``, ``mindspore.mint.remainder``: the remainder with the sign of the divisor."""
    x, y = operands(call)
    if not x.dtype.startswith("float"):
        return call.emit("Mod", [x, y])
    return call.emit("Sub", [x, call.emit("Mul", [call.emit("Floor", [call.emit("Div", [x, y])]), y])])


@primitive("Mod", "TruncateMod", "FmodTensor", "FmodScalar")
def fmod(call: Call) -> Tensor:
    """``mindspore.ops.Mod``, ``mindspore.mint.fmod``: the remainder with the sign of the dividend."""
    return call.emit("Mod", operands(call), fmod=1)


@primitive("SquaredDifference")
def squared_difference(call: Call) -> Tensor:
    """``mindspore.ops.SquaredDifference``: (x - y)²."""
    difference = call.emit("Sub", operands(call))
    return call.emit("Mul", [difference, difference])


@primitive("Addcmul", "AddcmulExt", "Addcdiv", "AddcdivExt")
def addc(call: Call) -> Tensor:
    """``mindspore.ops.addcmul``, ``addcdiv``: input + value × (x · y) or value × (x / y)."""
    added, x, y, value = (cast(call, call.as_tensor(item, call.type.dtype), call.type.dtype) for item in call.args[:4])
    op = "Mul" if "mul" in call.node.primitive else "Div"
    return call.emit("Add", [added, call.emit("Mul", [call.emit(op, [x, y]), value])])


@primitive("Lerp", "LerpScalar")
def lerp(call: Call) -> Tensor:
    """``mindspore.ops.lerp``: start + weight × (end - start)."""
    start, end, weight = (cast(call, call.as_tensor(item, call.type.dtype), call.type.dtype) for item in call.args[:3])
    return call.emit("Add", [start, call.emit("Mul", [weight, call.emit("Sub", [end, start])])])


@primitive("Cast")
def cast_to(call: Call) -> Tensor:
    """``mindspore.ops.Cast``; the type stands in the output."""
    return cast(call, call.tensor(0), call.type.dtype)


@primitive("Identity", "Copy", "Clone", "Contiguous", "Detach", "StopGradient", "TensorMove")
def identity(call: Call) -> Tensor:
    """What hands its input on."""
    return call.tensor(0)


def truncated(call: Call, x: Tensor) -> Tensor:
    """``x`` rounded towards zero."""
    if not x.dtype.startswith("float"):
        return x
    return call.emit("Mul", [call.emit("Sign", [x]), call.emit("Floor", [call.emit("Abs", [x])])])
