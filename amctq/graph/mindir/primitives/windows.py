"""Windows along one axis, each with its own positions: what ONNX's pools and resizing cannot express."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.values import Tensor, Type


def weighted_windows(
    call: Call, x: Tensor, axis: int, positions: NDArray[np.int64], weights: NDArray[np.float32]
) -> Tensor:
    """For each window, the sum of its values times their weights.

    Args:
        call: the use of the primitive.
        x: (…, size, …).
        axis: of ``x``.
        positions: (windows, width), on that axis.
        weights: (windows, width).

    Returns:
        (…, windows, …).
    """
    values = _windows(call, x, axis, positions)
    column = weights.astype(np.float32).reshape(*weights.shape, *(1,) * (x.rank - axis - 1))
    products = call.emit("Mul", [values, call.graph.constant(column)], Type(x.dtype, values.shape))
    return call.emit(
        "ReduceSum", [products, call.graph.ints([axis + 1])], _reduced(x, axis, len(positions)), keepdims=0
    )


def largest_in_windows(call: Call, x: Tensor, axis: int, positions: NDArray[np.int64]) -> Tensor:
    """For each window, its largest value; arguments and result as in ``weighted_windows``."""
    values = _windows(call, x, axis, positions)
    return call.emit("ReduceMax", [values], _reduced(x, axis, len(positions)), axes=[axis + 1], keepdims=0)


def _windows(call: Call, x: Tensor, axis: int, positions: NDArray[Any]) -> Tensor:
    kind = Type(x.dtype, (*x.shape[:axis], *positions.shape, *x.shape[axis + 1 :]))
    return call.emit("Gather", [x, call.graph.constant(positions.astype(np.int64))], kind, axis=axis)


def _reduced(x: Tensor, axis: int, windows: int) -> Type:
    return Type(x.dtype, (*x.shape[:axis], windows, *x.shape[axis + 1 :]))
