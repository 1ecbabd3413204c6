"""Bias correction (Nagel et al. 2019, "Data-Free Quantization", section 4.2, eq. 17)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amctq.quant.numerics import Float32Array


def bias_error(
    weight: Float32Array, rounded: Float32Array, mean: NDArray[np.float64], wanted: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """E[ŵ x - w y] of every output channel, float64 of shape (C_out,).

    Args:
        weight: float32 of shape (C_out, …).
        rounded: what its integers stand for, of the same shape.
        mean: E[x] of the inputs, (groups, d).
        wanted: E[y] of the inputs in the float network; None where they are the same.
    """
    groups, d = mean.shape
    error = (rounded.astype(np.float64) - weight).reshape(groups, -1, d)
    found: NDArray[np.float64] = (error @ mean[:, :, None]).reshape(-1)
    if wanted is not None:
        rows = weight.reshape(groups, -1, d).astype(np.float64)
        found += (rows @ (mean - wanted)[:, :, None]).reshape(-1)
    return found
