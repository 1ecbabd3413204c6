"""Reading an image at the points of a grid, as spatial transformers do."""

from __future__ import annotations

import numpy as np

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor, Type

_MODES = ("bilinear", "nearest")
_PADDING_MODES = ("zeros", "border", "reflection")


@primitive("GridSampler2D")
def grid_sample(call: Call) -> Tensor:
    """``mindspore.ops.grid_sample``: x (N, C, H, W), grid (N, H', W', 2), mode, padding_mode, align_corners."""
    mode, padding = call.value(2, 0), call.value(3, 0)
    return call.emit(
        "GridSample",
        [call.tensor(0), call.tensor(1)],
        mode=mode if isinstance(mode, str) else _MODES[int(mode)],
        padding_mode=padding if isinstance(padding, str) else _PADDING_MODES[int(padding)],
        align_corners=int(bool(call.value(4, False))),
    )


@primitive("AffineGrid")
def affine_grid(call: Call) -> Tensor:
    """``mindspore.ops.affine_grid``: theta (N, D, D + 1) of D axes; align_corners. The result is (N, …, D)."""
    theta, axes = call.tensor(0), call.shape[1:-1]
    rank = len(axes)
    column = Type(theta.dtype, (theta.shape[0], rank, 1))
    columns = call.emit_several("Split", [theta], [column] * (rank + 1), axis=2)
    *factors, total = (call.reshape(item, (theta.shape[0], *(1,) * rank, rank)) for item in columns)
    aligned = bool(call.attribute("align_corners", False))
    for place, factor in enumerate(factors):  # the last axis of the image comes first
        size = int(axes[rank - 1 - place])
        points = np.linspace(-1, 1, size) if aligned else (2 * np.arange(size) + 1) / size - 1
        row = points.astype(np.float32).reshape(-1, *(1,) * (place + 1))
        product = call.emit("Mul", [factor, call.as_tensor(row)])
        total = call.emit("Add", [product, total])
    return total
