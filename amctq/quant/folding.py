"""BatchNorm folded into the weight and bias of the layer before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.errors import InputError
from amctq.quant.layers import QuantizableLayer
from amctq.quant.numerics import Float32Array


@dataclass(frozen=True, kw_only=True, eq=False)
class FusedParameters:
    """A layer's weight (C_out, …) and bias (C_out,) or None with its BatchNorm folded in, both float32."""

    weight: Float32Array
    bias: Float32Array | None


def fold(layer: QuantizableLayer, arrays: Mapping[str, NDArray[Any]]) -> FusedParameters:
    """A layer's weight and bias with its BatchNorm folded in (docs/en/reference.md, "BatchNorm fusion").

    Args:
        layer: which one.
        arrays: values of the parameters that ``layer`` names.

    Raises:
        InputError: a result is not finite.
    """
    weight = arrays[layer.weight].astype(np.float64)
    bias = None if layer.bias is None else arrays[layer.bias].astype(np.float64)
    norm = layer.batch_norm
    if norm is not None:
        gamma, beta, mean, variance = (
            arrays[name].astype(np.float64) for name in (norm.gamma, norm.beta, norm.mean, norm.variance)
        )
        with np.errstate(all="ignore"):  # a negative variance is reported below
            factor = gamma / np.sqrt(variance + norm.epsilon)
        weight = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
        bias = ((0.0 if bias is None else bias) - mean) * factor + beta
    for array in (weight, bias):
        if array is not None and not np.isfinite(array).all():
            message = f"layer {layer.name}: its weights, with BatchNorm folded in, hold NaN or infinity"
            raise InputError(message, hint="the checkpoint is damaged, or its training diverged")
    return FusedParameters(weight=weight.astype(np.float32), bias=None if bias is None else bias.astype(np.float32))
