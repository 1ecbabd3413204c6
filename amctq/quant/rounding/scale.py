"""The weight scale of the least error, each weight counted by the power of its input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.choices import ArqRule
from amctq.quant import numerics
from amctq.quant.numerics import EPSILON, SMALLEST_NORMAL, Float32Array
from amctq.quant.weights import QuantizedWeight, arq_scale

_SHARES = np.linspace(0.3, 1.05, 40)
# Of the scale of least error when each weight is rounded alone. GPTQ's own least error is near it.
NEIGHBOURS = (1.0, 0.9, 0.95, 1.05, 1.1)
_NEAR = 0.2


def power_scale(
    weight: Float32Array,
    power: NDArray[np.floating[Any]],
    *,
    channel_wise: bool,
    bits: int,
    rule: ArqRule = ArqRule.AMCT,
    smallest: float = EPSILON,
) -> Float32Array:
    """The scale of least Σ_j E[x_j²] (w_j - ŵ_j)², among shares of the one that clips nothing.

    Args:
        weight: float32 of shape (C_out, …).
        power: E[x²] of the inputs, (groups, d).
        channel_wise: one scale per output channel, else one for the tensor.
        bits: width of the signed integer.
        rule: for the scale that clips nothing.
        smallest: a smaller scale becomes 1, as in ``numerics.range_qparams``.

    Returns:
        float32 of shape (C_out,) or (1,).
    """
    low, high = numerics.signed_range(bits)
    widest = arq_scale(weight, channel_wise=channel_wise, bits=bits, rule=rule, smallest=smallest)
    groups, d = power.shape
    # In units of the scale and of the largest power, so that no square is too small for a float32.
    rows = (weight / numerics.per_channel(widest, weight.ndim)).reshape(groups, -1, d)
    factor = (power / max(power.max(), SMALLEST_NORMAL))[:, None].astype(np.float32)
    best, least = np.ones(widest.shape), np.full(widest.shape, np.inf)
    for share in _SHARES.astype(np.float32):
        error = rows - np.clip(np.rint(rows / share), low, high) * share
        by_channel = (error * error * factor).sum(axis=2, dtype=np.float64).reshape(-1)
        found = by_channel if channel_wise else by_channel.sum(keepdims=True)
        best, least = np.where(found < least, share, best), np.minimum(found, least)
    return (widest * best).astype(np.float32)


def refitted_scale(rounded: QuantizedWeight, weight: Float32Array, gram: NDArray[np.floating[Any]]) -> Float32Array:
    """The scale of least error of the output for given integers q: s = w H qᵀ / q H qᵀ.

    Args:
        rounded: the integers, and the scale that they were chosen with; it stays where the quotient is far from it.
        weight: float32 of shape (C_out, …), what was rounded.
        gram: H = E[x xᵀ] of the inputs, (groups, d, d).

    Returns:
        float32 of the shape of the scale.
    """
    groups, d, _ = gram.shape
    integers, rows = (values.reshape(groups, -1, d).astype(gram.dtype) for values in (rounded.values, weight))
    seen = integers @ gram
    above, below = ((seen * other).sum(axis=2, dtype=np.float64).reshape(-1) for other in (rows, integers))
    if len(rounded.scale) == 1:
        above, below = above.sum(keepdims=True), below.sum(keepdims=True)
    best = np.divide(above, below, out=np.zeros_like(above), where=below > 0).astype(np.float32)
    near = np.abs(best / rounded.scale - 1) < _NEAR
    return np.where(near, best, rounded.scale)
