"""ARQ: the weight scale of the largest weight of each channel (docs/en/reference.md, "ARQ")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.choices import ArqRule
from amctq.quant import numerics
from amctq.quant.numerics import EPSILON, INT32_MAX, SMALLEST_NORMAL, Float32Array
from amctq.quant.pair_sums import LIMIT, largest_pair

_ROUNDED = np.float32(1 + 2.0**-20)


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizedWeight:
    """The integer weights of one layer; the zero point is 0.

    Attributes:
        values: int8 of the weight's shape, output channel first; the integers lie in ``signed_range(bits)``.
        scale: float32 of shape (C_out,) per channel or (1,) per tensor.
        bits: width of the integers.

    weight ~ values * scale, with the scale broadcast along axis 0.
    """

    values: NDArray[np.int8]
    scale: Float32Array
    bits: int = 8

    def dequantized(self) -> Float32Array:
        """The product values × scale, float32 of the weight's shape."""
        return numerics.dequantize(self.values, numerics.per_channel(self.scale, self.values.ndim))


def arq_scale(
    weight: Float32Array,
    *,
    channel_wise: bool,
    bits: int = 8,
    rule: ArqRule = ArqRule.AMCT,
    smallest: float = EPSILON,
) -> Float32Array:
    """The scale of a weight by ARQ.

    Args:
        weight: float32 of shape (C_out, …).
        channel_wise: one scale per output channel, else one for the tensor.
        bits: width of the signed integer.
        rule: AMCT's rule, or another one. PAIRS changes weights of 8 bits only.
        smallest: a smaller scale becomes 1, as in ``numerics.range_qparams``.

    Returns:
        float32 of shape (C_out,) or (1,). A channel of zeros has scale 1.

    Raises:
        ValueError: the weight holds NaN or infinity.
    """
    if not np.isfinite(weight).all():
        message = "the weight holds NaN or infinity"
        raise ValueError(message)
    rows = weight.reshape(weight.shape[0] if channel_wise else 1, -1)
    scales = numerics.symmetric_scales(rows.min(axis=1), rows.max(axis=1), bits=bits, rule=rule, smallest=smallest)
    if rule is not ArqRule.PAIRS or bits < 8:
        return scales
    pairs = largest_pair(weight)
    if not channel_wise:
        pairs = pairs.max(keepdims=True)
    # A little more, because quotients are rounded to float32.
    return np.maximum(scales, (pairs / np.float32(LIMIT) * _ROUNDED).astype(np.float32))


def quantize_weight(weight: Float32Array, scale: Float32Array, *, bits: int = 8) -> QuantizedWeight:
    """Quantize a weight of shape (C_out, …) with ``scale`` of shape (C_out,) or (1,)."""
    low, high = numerics.signed_range(bits)
    values = numerics.quantize(weight, numerics.per_channel(scale, weight.ndim), low=low, high=high)
    return QuantizedWeight(values=values, scale=scale, bits=bits)


def scale_that_fits_bias(scale: Float32Array, bias: Float32Array, activation_scale: float) -> Float32Array:
    """Raise weight scales until ``bias / (activation_scale × scale)`` fits int32.

    AMCT refuses such a layer ("exceed int32 range"). It occurs where the weights of a channel are very small compared
    with its bias. Then the coarser scale changes the channel's output by less than fan-in × 2^-24 of its bias.
    ``activation_scale × scale`` becomes a normal float32 too: a channel of smaller products yields only its bias.

    Args:
        scale: float32 of shape (C_out,) or (1,).
        bias: float32 of shape (C_out,).
        activation_scale: scale of the layer's input.

    Returns:
        float32 of the shape of ``scale``; unchanged where the bias fits.
    """
    # 2^-20 below the limit, because the quotient is computed from float32 scales.
    needed = np.abs(bias.astype(np.float64)) / (activation_scale * INT32_MAX * (1 - 2.0**-20))
    needed = np.maximum(needed, 2 * SMALLEST_NORMAL / activation_scale)
    if scale.shape[0] == 1:
        needed = needed.max(keepdims=True)
    return np.maximum(scale, needed.astype(np.float32))
