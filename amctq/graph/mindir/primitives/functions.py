"""Functions of one tensor, element by element."""

from __future__ import annotations

import math

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.arithmetic import cast, number, truncated
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor

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
