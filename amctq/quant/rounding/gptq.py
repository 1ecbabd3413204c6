"""GPTQ: each weight is rounded so that it makes up for the errors of those before it (Frantar et al. 2022).

For the weights w of one output channel and their rounded values q, the squared error of the layer's output over the
inputs x is e H eᵀ with e = w - q and H = E[x xᵀ] (eq. 1). With H = R Rᵀ, R upper triangular, it is Σ_j (e R)_j², and
(e R)_j depends on the errors up to j only:

    (e R)_j = e_j R_jj + Σ_{i<j} e_i R_ij       so q_j = round(w_j + Σ_{i<j} e_i R_ij / R_jj)

This is GPTQ's update (Algorithm 1), since Σ_{j≤n} (e R)_j² is the least error that the first n weights leave when all
others are free; here H is factorised and not its inverse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.quant import numerics
from amctq.quant.numerics import Float32Array
from amctq.quant.weights import QuantizedWeight

# What the mean still counts where the bias makes up for the mean error of the output: H is then the covariance of the
# inputs and a part of μ μᵀ, because in the quantized network the mean is another one. Chosen among 0, 0.1, 0.3 and 1
# by the KL of the outputs at 4 bits: on 4,000 training images of resnet20 3.38, 3.21, 3.53, 3.52 (1e-3), and on two
# halves of 64 training images of EfficientNet-Lite0, each judged by the other, 138, 127, 151, 168.
OF_THE_MEAN = 0.1
DAMPING = 0.01  # of the mean of H's diagonal (section 3.3, step 3)
_BLOCK = 128  # columns, as in section 3.3, step 2


def gptq(
    weight: Float32Array, scales: Sequence[Float32Array], gram: NDArray[np.floating[Any]], *, bits: int
) -> QuantizedWeight:
    """Round a weight with several scales, and keep the one of least error: of each channel, or of the tensor.

    Args:
        weight: float32 of shape (C_out, …).
        scales: float32 of shape (C_out,) or (1,) each.
        gram: E[x xᵀ] of the inputs, (groups, d, d): C_out is divided into as many groups.
        bits: width of the signed integer.

    Raises:
        numpy.linalg.LinAlgError: ``gram`` is not finite, or not positive definite in spite of the damping.
    """
    groups, d, _ = gram.shape
    rows = weight.reshape(groups, -1, d).astype(np.float64)
    hessian = damped(gram)
    if not np.isfinite(hessian).all():
        message = "the inputs have no finite power"
        raise np.linalg.LinAlgError(message)
    order = np.argsort(-np.diagonal(hessian, axis1=1, axis2=2), axis=1, kind="stable")
    factor, power = _upper_factor(_permuted(hessian, order))
    ordered = np.take_along_axis(rows, order[:, None], axis=2)
    chosen, least, integers = scales[0], np.full(len(weight), np.inf), np.zeros(rows.shape, np.int8)
    for scale in scales:
        steps = np.broadcast_to(scale, (len(weight),)).reshape(groups, -1).astype(np.float64)
        found, by_channel = _round(ordered, steps, factor, power, bits)
        cost = by_channel.reshape(-1)
        if len(scale) == 1:
            cost[:] = cost.sum()
        better = cost < least
        least[better] = cost[better]
        chosen = np.where(better[: len(scale)], scale, chosen)
        integers[better.reshape(groups, -1)] = found[better.reshape(groups, -1)]
    back = np.argsort(order, axis=1, kind="stable")
    values = np.take_along_axis(integers, back[:, None], axis=2).reshape(weight.shape)
    return QuantizedWeight(values=values, scale=chosen, bits=bits)


def operations(shape: Sequence[int]) -> int:
    """About how many additions and multiplications ``gptq`` takes for a weight of shape (C_out, …)."""
    count, d = shape[0], math.prod(shape[1:])
    return count * d * d + d**3


def damped(gram: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """``gram`` with a little of the mean of its diagonal added; an input that is always 0 gets 1."""
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    added = np.where(diagonal > 0, DAMPING * diagonal.mean(axis=1, keepdims=True), 1.0)
    return gram + added[:, :, None] * np.eye(gram.shape[1])


def _permuted(hessian: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    groups = np.arange(len(hessian))[:, None, None]
    found: NDArray[np.float64] = hessian[groups, order[:, :, None], order[:, None, :]]
    return found


def _upper_factor(hessian: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """R / diag(R) with H = R Rᵀ, R upper triangular: its column j holds R_ij / R_jj. And diag(R)²."""
    factor = np.linalg.cholesky(hessian[:, ::-1, ::-1])[:, ::-1, ::-1]
    diagonal: NDArray[np.float64] = np.diagonal(factor, axis1=1, axis2=2)
    unit: NDArray[np.float64] = factor / diagonal[:, None, :]
    return unit, np.square(diagonal)


def _round(
    rows: NDArray[np.float64],
    steps: NDArray[np.float64],
    factor: NDArray[np.float64],
    power: NDArray[np.float64],
    bits: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The integers of ``rows``, (groups, C_out / groups, d), column by column; and the error of each row."""
    low, high = numerics.signed_range(bits)
    errors, integers, cost = np.zeros_like(rows), np.zeros_like(rows), np.zeros(rows.shape[:2])
    for start in range(0, rows.shape[2], _BLOCK):
        block = slice(start, start + _BLOCK)
        wanted = rows[:, :, block] + errors[:, :, :start] @ factor[:, :start, block]
        own = factor[:, block, block]
        for j in range(wanted.shape[2]):
            done = errors[:, :, start : start + j]
            value = wanted[:, :, j] + (done @ own[:, :j, j, None])[:, :, 0]
            q = np.clip(np.rint(value / steps), low, high)
            integers[:, :, start + j] = q
            errors[:, :, start + j] = rows[:, :, start + j] - q * steps
            cost += power[:, None, start + j] * (value - q * steps) ** 2
    return integers, cost
