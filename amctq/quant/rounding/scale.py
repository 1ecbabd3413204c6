"""The weight scale of the least error, each weight counted by the power of its input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.choices import ArqRule
from amctq.quant import numerics
from amctq.quant.numerics import Float32Array
from amctq.quant.weights import arq_scale

_SHARES = np.linspace(0.3, 1.05, 40)


def power_scale(
    weight: Float32Array,
    power: NDArray[np.floating[Any]],
    *,
    channel_wise: bool,
    bits: int,
    rule: ArqRule = ArqRule.AMCT,
) -> Float32Array:
    """The scale of least Σ_j E[x_j²] (w_j - ŵ_j)², among shares of the one that clips nothing.

    Args:
        weight: float32 of shape (C_out, …).
        power: E[x²] of the inputs, (groups, d).
        channel_wise: one scale per output channel, else one for the tensor.
        bits: width of the signed integer.
        rule: for the scale that clips nothing.

    Returns:
        float32 of shape (C_out,) or (1,).
    """
    low, high = numerics.signed_range(bits)
    widest = arq_scale(weight, channel_wise=channel_wise, bits=bits, rule=rule)
    groups, d = power.shape
    rows = weight.reshape(groups, -1, d)
    factor = power[:, None].astype(np.float32)
    best, least = widest, np.full(widest.shape, np.inf)
    for share in _SHARES:
        scale = (widest * share).astype(np.float32)
        steps = np.broadcast_to(scale, (len(weight),)).reshape(groups, -1, 1)
        error = rows - np.clip(np.rint(rows / steps), low, high) * steps
        by_channel = (error * error * factor).sum(axis=2, dtype=np.float64).reshape(-1)
        found = by_channel if channel_wise else by_channel.sum(keepdims=True)
        best, least = np.where(found < least, scale, best), np.minimum(found, least)
    return best
