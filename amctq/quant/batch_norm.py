"""A BatchNorm that no layer can take in, as a depthwise convolution on integers with one weight a channel.

    y = f · x + (β - μ · f),  f = γ / √(σ² + ε)

The weight of each channel is ±127, whose scale is then exactly |f| / 127, unless a bias that is far larger than the
weight needs a larger scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.quant.numerics import SMALLEST_NORMAL, Float32Array, dequantize, dequantize_bias, quantize_bias
from amctq.quant.weights import QuantizedWeight

# Largest bias of a convolution in units of its scale: int32, with room for the sum of products.
_LARGEST_BIAS = float(1 << 30)


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerBatchNorm:
    """The integers of a BatchNorm of C channels.

    Attributes:
        weight: int8 of shape (C,), with a scale for each.
        bias: int32 of shape (C,).
        bias_scale: float32 of shape (C,), the scale of the input times that of the weight.
    """

    weight: QuantizedWeight
    bias: NDArray[np.int32]
    bias_scale: Float32Array

    @property
    def dequantized(self) -> tuple[Float32Array, Float32Array]:
        """Factor and bias that the integers stand for, float32 of shape (C,)."""
        factor = dequantize(self.weight.values, self.weight.scale)
        return factor, dequantize_bias(self.bias, self.bias_scale)


def integer_batch_norm(
    gamma: Float32Array,
    beta: Float32Array,
    mean: Float32Array,
    variance: Float32Array,
    *,
    epsilon: float,
    input_scale: float,
) -> IntegerBatchNorm:
    """Quantize a BatchNorm.

    Args:
        gamma: (C,), as are the next three.
        beta: the shift.
        mean: moving mean.
        variance: moving variance.
        epsilon: added to the variance.
        input_scale: scale of the integers that it reads.
    """
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    bias = beta - mean * factor
    # The scale of the bias must not be subnormal either.
    smallest = np.maximum(np.abs(bias) / _LARGEST_BIAS, 2 * SMALLEST_NORMAL) / input_scale
    scale = np.maximum(np.abs(factor) / 127, smallest).astype(np.float32)
    values = np.clip(np.rint(factor / scale), -127, 127).astype(np.int8)
    bias_scale = np.float32(input_scale) * scale
    return IntegerBatchNorm(
        weight=QuantizedWeight(values=values, scale=scale),
        bias=quantize_bias(bias.astype(np.float32), bias_scale),
        bias_scale=bias_scale,
    )
