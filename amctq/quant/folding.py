"""Folding a BatchNorm into the weight and bias of the layer before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.errors import InputError
from amctq.quant.layers import BatchNorm, QuantizableLayer
from amctq.quant.numerics import Float32Array, per_channel


@dataclass(frozen=True, kw_only=True, eq=False)
class FusedParameters:
    """A layer's float32 weight, output channels first, and bias (C_out,) or None, with its BatchNorm folded in."""

    weight: Float32Array
    bias: Float32Array | None


def batch_norm_factor(norm: BatchNorm, arrays: Mapping[str, NDArray[Any]]) -> Float32Array:
    """γ / √(σ² + ε), float32 of shape (C_out,); NaN where σ² + ε is negative."""
    gamma: Float32Array = arrays[norm.gamma].astype(np.float32)
    with np.errstate(all="ignore"):  # fold() refuses what is not finite
        return gamma * _inverse_deviation(norm, arrays)


def _inverse_deviation(norm: BatchNorm, arrays: Mapping[str, NDArray[Any]]) -> Float32Array:
    variance: Float32Array = arrays[norm.variance].astype(np.float32)
    with np.errstate(all="ignore"):
        inverse: Float32Array = np.float32(1.0) / np.sqrt(variance + np.float32(norm.epsilon))
    return inverse


def fold(layer: QuantizableLayer, arrays: Mapping[str, NDArray[Any]]) -> FusedParameters:
    """Fold a layer's BatchNorm into its weight and bias (docs/en/reference.md, "BatchNorm fusion").

    In float32, in AMCT's order of operations, so that the integers on the scales of its record are AMCT's to the last.

    Args:
        layer: the layer; without a BatchNorm its parameters stay as they are.
        arrays: values of the parameters that ``layer`` names.

    Raises:
        InputError: a result is not finite.
    """
    weight: Float32Array = layer.by_channel(arrays[layer.weight]).astype(np.float32)
    bias: Float32Array | None = None if layer.bias is None else arrays[layer.bias].astype(np.float32)
    if (norm := layer.batch_norm) is not None:
        gamma, beta, mean = (arrays[name].astype(np.float32) for name in (norm.gamma, norm.beta, norm.mean))
        with np.errstate(all="ignore"):
            weight = weight * per_channel(batch_norm_factor(norm, arrays), weight.ndim)
            shifted = (np.float32(0.0) if bias is None else bias) - mean
            bias = shifted * _inverse_deviation(norm, arrays) * gamma + beta
    for array in (weight, bias):
        if array is not None and not np.isfinite(array).all():
            message = f"layer {layer.name}: its weights, with BatchNorm folded in, hold NaN or infinity"
            raise InputError(message, hint="the checkpoint is damaged, or its training diverged")
    return FusedParameters(weight=weight, bias=bias)
