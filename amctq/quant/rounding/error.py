"""How much of a layer's output rounding its weight spoils."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.quant.numerics import Float32Array


def relative_error(weight: Float32Array, rounded: Float32Array, gram: NDArray[np.floating[Any]] | None = None) -> float:
    """Σ (w - q) H (w - q)ᵀ / Σ w H wᵀ over the output channels: noise to signal of the layer's output.

    Args:
        weight: float32 of shape (C_out, …).
        rounded: what its integers stand for, of the same shape.
        gram: H = E[x xᵀ] of the inputs, (groups, d, d); None for inputs that are all alike, so that H is the identity.
    """
    groups = 1 if gram is None else len(gram)
    rows, error = (
        values.astype(np.float64).reshape(groups, len(weight) // groups, -1) for values in (weight, weight - rounded)
    )
    noise, signal = (
        float(np.vdot(part if gram is None else part @ gram.astype(np.float64), part)) for part in (error, rows)
    )
    return noise / signal if signal > 0 else 0.0
