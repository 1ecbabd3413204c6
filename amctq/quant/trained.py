"""What a trained layer becomes: its scale with BatchNorm folded in, and what int32 leaves of its bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.quant import numerics
from amctq.quant.folding import FusedParameters, fold
from amctq.quant.layers import QuantizableLayer
from amctq.quant.numerics import EPSILON, Float32Array, QParams
from amctq.quant.retrain_config import ArqRetrainConfig
from amctq.quant.ulq import arq_retrain, arq_retrain_scale
from amctq.quant.weights import scale_that_fits_bias

Arrays = Mapping[str, NDArray[Any]]
# A gamma below it leaves nothing of what a layer computes.
_NOTHING = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedLayer:
    """One layer, BatchNorm folded in.

    Attributes:
        fused: its parameters.
        scale: of its weight as it was trained, float32 of shape (C_out,) or (1,).
    """

    fused: FusedParameters
    scale: Float32Array


def trained_layer(layer: QuantizableLayer, config: ArqRetrainConfig, arrays: Arrays) -> TrainedLayer:
    """Fold a layer; its scale is ARQ's × |γ| / √(σ² + ε) (docs/en/reference.md, "ARQ while retraining").

    A record holds no scale below EPSILON. A channel with next to no gamma gets that one, on which its bias keeps its
    digits; AMCT's 1 would round the bias to whole steps of the layer's input.

    Args:
        layer: which one.
        config: how its weight was quantized while training.
        arrays: values of the parameters that ``layer`` names.

    Raises:
        InputError: parameters are not finite.
    """
    fused = fold(layer, arrays)
    norm = layer.batch_norm
    gamma = None if norm is None else arrays[norm.gamma].astype(np.float32)
    weight = arrays[layer.weight].astype(np.float32)
    scale = arq_retrain_scale(weight, channel_wise=config.channel_wise, bits=config.bits, gamma=gamma)
    if norm is not None:
        folded = scale * np.abs(_factor(layer, arrays))
        scale = np.maximum(folded.astype(np.float32), np.float32(EPSILON))
    return TrainedLayer(fused=fused, scale=scale)


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedLayer:
    """What a layer computes with while it is evaluated, in front of its BatchNorm.

    Attributes:
        weight: fake-quantized, (C_out, …).
        bias: its own, and what the exported file's int32 bias differs by, (C_out,); None where the file has no bias.
    """

    weight: Float32Array
    bias: Float32Array | None


def evaluated_layer(
    layer: QuantizableLayer, config: ArqRetrainConfig, arrays: Arrays, activation: QParams
) -> EvaluatedLayer:
    """A layer as the exported file will compute it.

    The file's bias is a whole number of activation scale × weight scale. What it is rounded by seems to be nothing, and
    yet moves every two-thousandth activation behind it to the next step.

    Args:
        layer: which one.
        config: how its weight is quantized.
        arrays: values of the parameters that ``layer`` names.
        activation: how its input is quantized.

    Raises:
        InputError: parameters are not finite.
    """
    trained = trained_layer(layer, config, arrays)
    norm = layer.batch_norm
    weight = arq_retrain(
        arrays[layer.weight].astype(np.float32),
        channel_wise=config.channel_wise,
        bits=config.bits,
        gamma=None if norm is None else arrays[norm.gamma].astype(np.float32),
    )
    bias = trained.fused.bias
    if bias is None:
        return EvaluatedLayer(weight=weight, bias=None)
    scale = np.float32(activation.scale) * scale_that_fits_bias(trained.scale, bias, activation.scale)
    steps = numerics.quantize_bias(bias, np.broadcast_to(scale, bias.shape))
    rest = steps * scale.astype(np.float64) - bias
    if norm is not None:
        factor = _factor(layer, arrays)
        rest = np.divide(rest, factor, out=np.zeros_like(rest), where=np.abs(factor) > _NOTHING)
    own = 0.0 if layer.bias is None else arrays[layer.bias]
    return EvaluatedLayer(weight=weight, bias=(own + rest).astype(np.float32))


def _factor(layer: QuantizableLayer, arrays: Arrays) -> NDArray[np.float64]:
    """γ / √(σ² + ε) of the BatchNorm behind a layer that has one."""
    norm = layer.batch_norm
    assert norm is not None
    gamma, variance = (arrays[name].astype(np.float64) for name in (norm.gamma, norm.variance))
    factor: NDArray[np.float64] = gamma / np.sqrt(variance + norm.epsilon)
    return factor
