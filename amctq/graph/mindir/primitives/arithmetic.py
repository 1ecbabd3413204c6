"""Arithmetic, comparisons and logic, element by element."""

from __future__ import annotations

import numpy as np

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor, Type

# By primitive, the ONNX operator of two operands, which broadcast as in NumPy.
_BINARY = {
    "Add": "Add",
    "Sub": "Sub",
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
    "Maximum": "Max",
    "Minimum": "Min",
    "Equal": "Equal",
    "Less": "Less",
    "Greater": "Greater",
    "LessEqual": "LessOrEqual",
    "GreaterEqual": "GreaterOrEqual",
    "EqualScalar": "Equal",
    "LogicalAnd": "And",
    "LogicalOr": "Or",
    "LogicalXor": "Xor",
}
_UNARY = {
    "Exp": "Exp",
    "Log": "Log",
    "Sqrt": "Sqrt",
    "Abs": "Abs",
    "Neg": "Neg",
    "Erf": "Erf",
    "Floor": "Floor",
    "Ceil": "Ceil",
    "Round": "Round",
    "Sin": "Sin",
    "Cos": "Cos",
    "Reciprocal": "Reciprocal",
    "Sign": "Sign",
    "LogicalNot": "Not",
}


def operands(call: Call) -> tuple[Tensor, Tensor]:
    """Both operands, in the type of the result; Python numbers take the type of the tensor."""
    found = [arg.dtype for arg in call.args[:2] if isinstance(arg, (Tensor, np.ndarray))]
    dtypes = [str(item) for item in found]
    common = np.result_type(*dtypes).name if dtypes else call.type.dtype
    if any(isinstance(arg, float) for arg in call.args[:2]) and not common.startswith("float"):
        common = "float32"
    common = "float32" if common in {"float16", "float64"} else common
    first, second = (cast(call, call.as_tensor(arg, common), common) for arg in call.args[:2])
    return first, second


def cast(call: Call, x: Tensor, dtype: str) -> Tensor:
    """``x`` in another type; float16 and float64 are read as float32."""
    dtype = "float32" if dtype in {"float16", "float64"} else dtype
    if x.dtype == dtype:
        return x
    from onnx import helper

    return call.emit("Cast", [x], Type(dtype, x.shape), to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _binary(call: Call) -> Tensor:
    return call.emit(_BINARY[call.node.primitive], operands(call))


def _unary(call: Call) -> Tensor:
    return call.emit(_UNARY[call.node.primitive], [call.tensor(0)])


for _name in _BINARY:
    primitive(_name)(_binary)
for _name in _UNARY:
    primitive(_name)(_unary)


@primitive(
    "AddExt", "InplaceAddExt", "InplaceAddsExt", "AddScalar", "SubExt", "InplaceSubExt", "InplaceSubScalar", "SubScalar"
)
def add_ext(call: Call) -> Tensor:
    """``mindspore.mint.add``, ``sub`` and ``x += y``: x ± alpha × y."""
    op = "Sub" if "Sub" in call.node.primitive else "Add"
    x, y = operands(call)
    alpha = call.value(2, 1)
    if alpha != 1:
        y = call.emit("Mul", [y, call.as_tensor(alpha, y.dtype)], Type(y.dtype, y.shape))
    return call.emit(op, [x, y])


@primitive("AddN")
def add_n(call: Call) -> Tensor:
    """``mindspore.ops.AddN``: the sum of a tuple."""
    return call.emit("Sum", [call.as_tensor(item) for item in call.args[0]])


@primitive("Square")
def square(call: Call) -> Tensor:
    """``mindspore.ops.Square``."""
    x = call.tensor(0)
    return call.emit("Mul", [x, x])


@primitive("Rsqrt")
def rsqrt(call: Call) -> Tensor:
    """``mindspore.ops.Rsqrt``: 1 / √x."""
    return call.emit("Reciprocal", [call.emit("Sqrt", [call.tensor(0)])])


@primitive("NotEqual", "NeScalar")
def not_equal(call: Call) -> Tensor:
    """``mindspore.ops.NotEqual``."""
    return call.emit("Not", [call.emit("Equal", operands(call))])


@primitive("Cast")
def cast_to(call: Call) -> Tensor:
    """``mindspore.ops.Cast``; the type stands in the output."""
    return cast(call, call.tensor(0), call.type.dtype)


@primitive("Identity", "Copy", "Contiguous", "StopGradient", "TensorMove")
def identity(call: Call) -> Tensor:
    """What hands its input on."""
    return call.tensor(0)


@primitive("Select", "Where")
def select(call: Call) -> Tensor:
    """``mindspore.ops.Select``: x where the condition holds, else y."""
    condition = cast(call, call.tensor(0), "bool")
    x, y = (cast(call, call.as_tensor(arg, call.type.dtype), call.type.dtype) for arg in call.args[1:3])
    return call.emit("Where", [condition, x, y])
