"""A retrained layer: its weight scale with BatchNorm folded in, and its bias as int32 rounds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.quant import numerics
from amctq.quant.config import WeightConfig
from amctq.quant.folding import FusedParameters, batch_norm_factor, fold
from amctq.quant.layers import QuantizableLayer
from amctq.quant.numerics import EPSILON, Float32Array, QParams
from amctq.quant.rounded_start import SMALLEST_FACTOR, on_kept_scale
from amctq.quant.ulq import arq_retrain, arq_retrain_scale
from amctq.quant.weights import scale_that_fits_bias

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedLayer:
    """One layer after retraining.

    Attributes:
        fused: its parameters with BatchNorm folded in.
        scale: the scale of the fused weight, float32 of shape (C_out,) or (1,).
    """

    fused: FusedParameters
    scale: Float32Array


def trained_layer(
    layer: QuantizableLayer, config: WeightConfig, arrays: Arrays, kept: Float32Array | None = None
) -> TrainedLayer:
    """Fold a layer; the scale is that of training × |γ| / √(σ² + ε) (docs/en/reference.md, "ARQ while retraining").

    A record holds no scale below EPSILON, so a channel whose gamma is almost 0 gets EPSILON. Its bias keeps its
    precision then. With AMCT's scale of 1, the bias would be rounded to multiples of the activation scale.

    Args:
        layer: the layer.
        config: how its weight was quantized in training.
        arrays: values of the parameters that ``layer`` names.
        kept: the scale of its weight, float32 of shape (C_out,) or (1,); None for ARQ's, which follows the weight.

    Raises:
        InputError: parameters are not finite.
    """
    fused = fold(layer, arrays)
    norm = layer.batch_norm
    gamma = None if norm is None else arrays[norm.gamma].astype(np.float32)
    weight = layer.by_channel(arrays[layer.weight]).astype(np.float32)
    scale = kept
    if scale is None:
        scale = arq_retrain_scale(weight, channel_wise=config.channel_wise, bits=config.bits, gamma=gamma)
    if norm is not None:
        folded = scale * np.abs(batch_norm_factor(norm, arrays))
        scale = np.maximum(folded.astype(np.float32), np.float32(EPSILON))
    return TrainedLayer(fused=fused, scale=scale)


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedLayer:
    """The parameters that a layer is evaluated with, before its BatchNorm.

    Attributes:
        weight: fake-quantized, float32, of the shape that the layer's parameter has.
        bias_error: the rounding error of the exported file's int32 bias, before BatchNorm, float32 of shape (C_out,);
            None where the file has no bias.
    """

    weight: Float32Array
    bias_error: Float32Array | None


def evaluated_layer(
    layer: QuantizableLayer,
    config: WeightConfig,
    arrays: Arrays,
    activation: QParams,
    kept: Float32Array | None = None,
) -> EvaluatedLayer:
    """The parameters with which a layer computes what the exported file will compute.

    The file rounds the bias to a multiple of activation scale × weight scale. This rounding error looks negligible, but
    it changes the integer of one in 2,000 activations after the layer.

    Args:
        layer: the layer.
        config: how its weight is quantized.
        arrays: values of the parameters that ``layer`` names.
        activation: how its input is quantized.
        kept: as in ``trained_layer``.

    Raises:
        InputError: parameters are not finite.
    """
    trained = trained_layer(layer, config, arrays, kept)
    norm = layer.batch_norm
    weight = layer.by_channel(arrays[layer.weight]).astype(np.float32)
    gamma = None if norm is None else arrays[norm.gamma].astype(np.float32)
    if kept is None:
        weight = arq_retrain(weight, channel_wise=config.channel_wise, bits=config.bits, gamma=gamma)
    else:
        weight = on_kept_scale(weight, kept, bits=config.bits, gamma=gamma)
    bias = trained.fused.bias
    if bias is None:
        return EvaluatedLayer(weight=layer.as_stored(weight), bias_error=None)
    scale = np.float32(activation.scale) * scale_that_fits_bias(trained.scale, bias, activation.scale)
    error = numerics.quantize_bias(bias, scale) * scale.astype(np.float64) - bias
    if norm is not None:
        factor = batch_norm_factor(norm, arrays)
        error = np.divide(error, factor, out=np.zeros_like(error), where=np.abs(factor) > SMALLEST_FACTOR)
    return EvaluatedLayer(weight=layer.as_stored(weight), bias_error=error.astype(np.float32))
