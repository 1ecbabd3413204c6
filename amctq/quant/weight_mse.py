"""MSE: the weight scales of least squared quantization error.

    scale = argmin Σ (w - s × clip(rint(w / s)))²        (docs/en/reference.md, "Weight MSE")

The range is symmetric, so one scale sets both of its ends. Between two scales at which some weight changes its integer,
the error is a parabola in s. So the search first compares scales over the whole range where the best one can lie, and
then moves to the lowest point of the parabola around the best of them.
"""

from __future__ import annotations

import numpy as np

from amctq.choices import ArqRule
from amctq.quant import numerics
from amctq.quant.numerics import Float32Array
from amctq.quant.weights import arq_scale

_CANDIDATES = 100
_DESCENTS = 4
# Weights in one block: the block and its intermediate results fit into the cache.
_BLOCK = 1 << 16


def mse_scale(
    weight: Float32Array, *, channel_wise: bool, bits: int = 8, smallest: float = numerics.EPSILON
) -> Float32Array:
    """The scale of least squared error, per channel or per tensor.

    Args:
        weight: float32 of shape (C_out, …).
        channel_wise: one scale per output channel, else one for the tensor.
        bits: width of the signed integer.
        smallest: the smallest scale. A channel whose largest weight needs a smaller one gets scale 1, as in ARQ.

    Returns:
        float32 of shape (C_out,) or (1,). A channel of zeros has scale 1.

    Raises:
        ValueError: the weight holds NaN or infinity.
    """
    widest = arq_scale(weight, channel_wise=channel_wise, bits=bits, rule=ArqRule.ASCEND, smallest=smallest)
    # Weights near 1, because squares of tiny ones are no float32. A power of two changes no digit.
    unit = np.exp2(np.floor(np.log2(widest)))
    rows = weight.reshape(len(widest), -1) / unit[:, None]
    at_once = max(1, _BLOCK // rows.shape[1])
    parts = [slice(start, start + at_once) for start in range(0, len(rows), at_once)]
    best = np.concatenate([_search(rows[part], (widest / unit)[part], bits) for part in parts]) * unit
    scale: Float32Array = np.maximum(best, np.float32(smallest))
    return scale


def _search(rows: Float32Array, widest: Float32Array, bits: int) -> Float32Array:
    """The best scales of some rows; ``widest`` are the smallest scales that clip nothing."""
    highest = numerics.signed_range(bits)[1]
    best, least = widest, _error(rows, widest, bits)[0]
    # Below it, the error of the clipped largest weight exceeds the error of all weights with the scale ``widest``.
    lowest = np.clip(1 - np.sqrt(least) / (widest * highest), 1 / _CANDIDATES, 1)
    top = 1 + 0.5 / highest
    for share in np.linspace(0, 1, _CANDIDATES):
        scale = (widest * (lowest + (top - lowest) * share)).astype(np.float32)
        best, least = _better(best, least, scale, _error(rows, scale, bits)[0])
    for _ in range(_DESCENTS):
        scale = _error(rows, best, bits)[1]
        best, least = _better(best, least, scale, _error(rows, scale, bits)[0])
    return best


def _error(rows: Float32Array, scale: Float32Array, bits: int) -> tuple[Float32Array, Float32Array]:
    """The squared error of every row with its scale, and the best scale for the same integers."""
    low, high = numerics.signed_range(bits)
    steps = rows / scale[:, None]
    np.rint(steps, out=steps)
    np.clip(steps, low, high, out=steps)
    power = np.einsum("cn,cn->c", steps, steps)
    fitted = np.where(power > 0, np.einsum("cn,cn->c", steps, rows) / np.maximum(power, 1), scale)
    steps *= scale[:, None]
    steps -= rows
    return np.einsum("cn,cn->c", steps, steps), fitted.astype(np.float32)


def _better(
    best: Float32Array, least: Float32Array, scale: Float32Array, error: Float32Array
) -> tuple[Float32Array, Float32Array]:
    closer = error < least
    return np.where(closer, scale, best), np.where(closer, error, least)
