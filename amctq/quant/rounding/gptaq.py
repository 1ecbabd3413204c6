"""GPTAQ: a layer makes up for what rounding has done to its inputs (Li et al. 2025, arXiv:2504.02692).

A layer with the weight W reads y in the float network, and x in the one whose layers before it are rounded. Its rounded
weight Ŵ should give W y, and not W x ("asymmetric calibration"). With H = E[x xᵀ] and C = E[y xᵀ], for any Ŵ

    E|Ŵ x - W y|² = tr (Ŵ - T) H (Ŵ - T)ᵀ + constant       where T H = W C

So GPTQ rounds T in the place of W. As GPTQ's H is damped by D, T is pulled to W by as much: T (H + D) = W (C + D).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.quant.numerics import Float32Array
from amctq.quant.rounding.gptq import damped


def target(weight: Float32Array, gram: NDArray[np.floating[Any]], cross: NDArray[np.floating[Any]]) -> Float32Array:
    """T, float32 of the shape of the weight.

    Args:
        weight: W, float32 of shape (C_out, …).
        gram: H, (groups, d, d): C_out is divided into as many groups.
        cross: C, of the same shape.

    Raises:
        numpy.linalg.LinAlgError: a matrix is not finite, or H is singular in spite of the damping.
    """
    groups, d, _ = gram.shape
    hessian = damped(gram)
    if not (np.isfinite(hessian).all() and np.isfinite(cross).all()):
        message = "the inputs have no finite power"
        raise np.linalg.LinAlgError(message)
    rows = weight.reshape(groups, -1, d).astype(np.float64)
    wanted = rows @ (cross + (hessian - gram))
    found: Float32Array = np.linalg.solve(hessian, wanted.transpose(0, 2, 1)).transpose(0, 2, 1).astype(np.float32)
    return found.reshape(weight.shape)
