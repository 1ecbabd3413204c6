"""Comparisons, logic, and what chooses between values: select, masks, limits."""

from __future__ import annotations

import math

import numpy as np

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.arithmetic import cast, number
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor, Type, known

# By primitive, the ONNX operator. The primitives that compare with a number have a name of their own.
_COMPARISONS = {
    "Equal": "Equal",
    "EqualExt": "Equal",
    "EqualScalar": "Equal",
    "EqScalar": "Equal",
    "Less": "Less",
    "LessScalar": "Less",
    "Greater": "Greater",
    "GreaterScalar": "Greater",
    "LessEqual": "LessOrEqual",
    "LessEqualScalar": "LessOrEqual",
    "GreaterEqual": "GreaterOrEqual",
    "GreaterEqualScalar": "GreaterOrEqual",
}
_LOGIC = {"LogicalAnd": "And", "LogicalOr": "Or", "LogicalXor": "Xor"}
_BITWISE = {"BitwiseAnd": "And", "BitwiseOr": "Or", "BitwiseXor": "Xor"}


def compared(call: Call) -> tuple[Tensor, Tensor]:
    """Both operands of a comparison in a common type; Python numbers take the type of the tensor."""
    args = call.args[:2]
    dtypes = [str(arg.dtype) for arg in args if isinstance(arg, (Tensor, np.ndarray))]
    common = known(np.result_type(*dtypes).name) if dtypes else "float32"
    if any(isinstance(arg, float) for arg in args) and not common.startswith("float"):
        common = "float32"
    if common == "bool":
        common = "int32"
    first, second = (cast(call, call.as_tensor(arg, common), common) for arg in args)
    return first, second


def _comparison(call: Call) -> Tensor:
    return call.emit(_COMPARISONS[call.node.primitive], compared(call))


def _logic(call: Call) -> Tensor:
    return call.emit(_LOGIC[call.node.primitive], [cast(call, call.tensor(index), "bool") for index in (0, 1)])


def _bitwise(call: Call) -> Tensor:
    if call.type.dtype != "bool":
        call.refuse(f"it takes {call.type.dtype}, and ONNX has bits of booleans only", "use arithmetic or booleans")
    return call.emit(_BITWISE[call.node.primitive], [call.tensor(0), call.tensor(1)])


for _name in _COMPARISONS:
    primitive(_name)(_comparison)
for _name in _LOGIC:
    primitive(_name)(_logic)
for _name in _BITWISE:
    primitive(_name)(_bitwise)


@primitive("NotEqual", "NeScalar")
def not_equal(call: Call) -> Tensor:
    """``mindspore.ops.NotEqual``."""
    return call.emit("Not", [call.emit("Equal", compared(call))])


@primitive("LogicalNot", "BoolNot")
def logical_not(call: Call) -> Tensor:
    """``mindspore.ops.LogicalNot``."""
    return call.emit("Not", [cast(call, call.tensor(0), "bool")])


@primitive("IsNan")
def is_nan(call: Call) -> Tensor:
    """``mindspore.ops.IsNan``."""
    return call.emit("IsNaN", [call.tensor(0)])


@primitive("IsInf")
def is_inf(call: Call) -> Tensor:
    """``mindspore.ops.IsInf``."""
    return call.emit("IsInf", [call.tensor(0)])


@primitive("IsFinite")
def is_finite(call: Call) -> Tensor:
    """``mindspore.ops.IsFinite``: neither infinite nor not a number."""
    x = call.tensor(0)
    return call.emit("Not", [call.emit("Or", [call.emit("IsNaN", [x]), call.emit("IsInf", [x])])])


@primitive("NanToNum")
def nan_to_num(call: Call) -> Tensor:
    """``mindspore.ops.nan_to_num``: numbers for nan, ∞ and -∞; by default 0 and the ends of the type."""
    x = call.tensor(0)
    ends = np.finfo(np.float32)
    settings = [call.value(index, call.attribute(name, None)) for index, name in enumerate(_NAN_TO_NUM, 1)]
    defaults = (0.0, float(ends.max), float(ends.min))
    for kind, setting, default in zip((math.nan, math.inf, -math.inf), settings, defaults, strict=True):
        value = float(default if setting is None else setting)
        same = [x] if math.isnan(kind) else [x, number(call, kind, x)]
        mask = call.emit("IsNaN" if math.isnan(kind) else "Equal", same, Type("bool", x.shape))
        x = call.emit("Where", [mask, number(call, value, x), x])
    return x


_NAN_TO_NUM = ("nan", "posinf", "neginf")


@primitive("Select", "SelectV2", "Where")
def select(call: Call) -> Tensor:
    """``mindspore.ops.Select``: x where the condition holds, else y."""
    dtype = known(call.type.dtype)
    condition = cast(call, call.tensor(0), "bool")
    x, y = (cast(call, call.as_tensor(arg, dtype), dtype) for arg in call.args[1:3])
    return call.emit("Where", [condition, x, y])


@primitive("MaskedFill", "MaskedFillScalar", "MaskedFillTensor", "InplaceMaskedFillScalar", "InplaceMaskedFillTensor")
def masked_fill(call: Call) -> Tensor:
    """``mindspore.ops.masked_fill``: a number where the mask holds."""
    dtype = known(call.type.dtype)
    x, mask = cast(call, call.tensor(0), dtype), cast(call, call.tensor(1), "bool")
    value = cast(call, call.as_tensor(call.args[2], dtype), dtype)
    return call.emit("Where", [mask, value, x])


@primitive("ClampScalar", "InplaceClampScalar", "ClampTensor", "InplaceClampTensor")
def clamp(call: Call) -> Tensor:
    """``mindspore.ops.clamp``: not below min, then not above max; numbers, tensors or None."""
    dtype = known(call.type.dtype)
    x = cast(call, call.tensor(0), dtype)
    low, high = (None if arg is None else cast(call, call.as_tensor(arg, dtype), dtype) for arg in call.args[1:3])
    ends = [end for end in (low, high) if end is not None]
    ordered = not (isinstance(call.args[1], (int, float)) and isinstance(call.args[2], (int, float)))
    if all(end.shape == () for end in ends) and (ordered or call.args[1] <= call.args[2]):
        return call.emit("Clip", [x, "" if low is None else low, *([] if high is None else [high])])
    if low is not None:
        x = call.emit("Max", [x, low])
    return x if high is None else call.emit("Min", [x, high])
