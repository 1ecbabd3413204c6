"""Functions of one tensor, element by element."""

from __future__ import annotations

import math

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.arithmetic import cast, number, operands, truncated
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor, Type

_UNARY = {
    "Exp": "Exp",
    "InplaceExp": "Exp",
    "Log": "Log",
    "InplaceLog": "Log",
    "Sqrt": "Sqrt",
    "Abs": "Abs",
    "Neg": "Neg",
    "Erf": "Erf",
    "Floor": "Floor",
    "InplaceFloor": "Floor",
    "Ceil": "Ceil",
    "Round": "Round",
    "Sin": "Sin",
    "Cos": "Cos",
    "Tan": "Tan",
    "Asin": "Asin",
    "AsinExt": "Asin",
    "ACos": "Acos",
    "AcosExt": "Acos",
    "Atan": "Atan",
    "AtanExt": "Atan",
    "Sinh": "Sinh",
    "Cosh": "Cosh",
    "Asinh": "Asinh",
    "AsinhExt": "Asinh",
    "Acosh": "Acosh",
    "AcoshExt": "Acosh",
    "Atanh": "Atanh",
    "Reciprocal": "Reciprocal",
    "Sign": "Sign",
    "InplaceSign": "Sign",
}
# They leave integers as they are.
_ROUNDING = {"Floor", "Ceil", "Round"}


def _unary(call: Call) -> Tensor:
    op, x = _UNARY[call.node.primitive], cast(call, call.tensor(0), call.type.dtype)
    if op in _ROUNDING and not x.dtype.startswith("float"):
        return x
    if op == "Round" and call.value(1, 0):
        call.refuse("decimals other than 0")
    return call.emit(op, [x])


for _name in _UNARY:
    primitive(_name)(_unary)


@primitive("Trunc")
def trunc(call: Call) -> Tensor:
    """``mindspore.ops.trunc``: rounds towards zero."""
    return truncated(call, call.tensor(0))


@primitive("Square")
def square(call: Call) -> Tensor:
    """``mindspore.ops.Square``."""
    x = call.tensor(0)
    return call.emit("Mul", [x, x])


@primitive("Rsqrt")
def rsqrt(call: Call) -> Tensor:
    """``mindspore.ops.Rsqrt``: 1 / √x."""
    return call.emit("Reciprocal", [call.emit("Sqrt", [cast(call, call.tensor(0), call.type.dtype)])])


@primitive("Expm1")
def expm1(call: Call) -> Tensor:
    """``mindspore.ops.expm1``: exp(x) - 1."""
    x = cast(call, call.tensor(0), call.type.dtype)
    return call.emit("Sub", [call.emit("Exp", [x]), number(call, 1, x)])


@primitive("Exp2")
def exp2(call: Call) -> Tensor:
    """``mindspore.mint.exp2``: 2 to the power of x."""
    x = cast(call, call.tensor(0), call.type.dtype)
    return call.emit("Pow", [number(call, 2, x), x])


@primitive("Log1p", "Log2", "Log10")
def log(call: Call) -> Tensor:
    """``mindspore.ops.log1p`` of 1 + x; ``log2`` and ``log10`` with another base."""
    x = cast(call, call.tensor(0), call.type.dtype)
    if call.node.primitive == "Log1p":
        return call.emit("Log", [call.emit("Add", [x, number(call, 1, x)])])
    base = {"Log2": 2, "Log10": 10}[call.node.primitive]
    return call.emit("Mul", [call.emit("Log", [x]), number(call, 1 / math.log(base), x)])


@primitive("Erfc")
def erfc(call: Call) -> Tensor:
    """``mindspore.ops.erfc``: 1 - erf(x)."""
    x = cast(call, call.tensor(0), call.type.dtype)
    return call.emit("Sub", [number(call, 1, x), call.emit("Erf", [x])])


@primitive("Frac")
def frac(call: Call) -> Tensor:
    """``mindspore.mint.frac``: x without its whole part."""
    x = call.tensor(0)
    return call.emit("Sub", [x, truncated(call, x)])


@primitive("Sinc")
def sinc(call: Call) -> Tensor:
    """``mindspore.ops.sinc``: sin(πx) / πx, and 1 at 0."""
    x = cast(call, call.tensor(0), call.type.dtype)
    angle = call.emit("Mul", [x, number(call, math.pi, x)])
    return _where_zero(call, x, number(call, 1, x), call.emit("Div", [call.emit("Sin", [angle]), angle]))


@primitive("Hypot")
def hypot(call: Call) -> Tensor:
    """``mindspore.ops.hypot``: √(x² + y²)."""
    squares = [call.emit("Mul", [x, x], Type(x.dtype, x.shape)) for x in operands(call)]
    return call.emit("Sqrt", [call.emit("Add", squares)])


@primitive("Xlogy", "Xdivy")
def zero_if_zero(call: Call) -> Tensor:
    """``mindspore.ops.xlogy``, ``xdivy``: x · log(y), x / y, and 0 where x is 0."""
    x, y = operands(call)
    if call.node.primitive == "Xlogy":
        value = call.emit("Mul", [x, call.emit("Log", [y], Type(y.dtype, y.shape))])
    else:
        value = call.emit("Div", [x, y])
    return _where_zero(call, x, number(call, 0, x), value)


@primitive("Atan2", "Atan2Ext")
def atan2(call: Call) -> Tensor:
    """``mindspore.ops.atan2``: the angle of the point (y, x), here y and x; 0 for the origin."""
    y, x = operands(call)
    half_turn = number(call, math.pi, x)
    angle = call.emit("Atan", [call.emit("Div", [y, x])])
    undefined = call.emit("IsNaN", [angle], Type("bool", angle.shape))
    angle = call.emit("Where", [undefined, number(call, 0, x), angle])
    below, left = _is_below_zero(call, y), _is_below_zero(call, x)
    turn = call.emit("Where", [below, call.emit("Neg", [half_turn], Type(x.dtype, ())), half_turn])
    return call.emit("Where", [left, call.emit("Add", [angle, turn]), angle])


def _is_below_zero(call: Call, x: Tensor) -> Tensor:
    """Whether ``x`` is below 0; -0 is, as its inverse is."""
    inverse = call.emit("Reciprocal", [x], Type(x.dtype, x.shape))
    return call.emit("Less", [inverse, number(call, 0, x)], Type("bool", x.shape))


def _where_zero(call: Call, x: Tensor, then: Tensor, other: Tensor) -> Tensor:
    is_zero = call.emit("Equal", [x, number(call, 0, x)], Type("bool", x.shape))
    return call.emit("Where", [is_zero, then, other])
