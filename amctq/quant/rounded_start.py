"""Where training starts if GPTQ has rounded the weights (docs/en/reference.md, "Few bits while retraining").

The scales stay those of the rounding: ARQ would take the largest weight for them, in every step anew. With w the weight
before BatchNorm is folded in, f = γ / √(σ² + ε) at the start, and q, b' what the rounding has chosen for f × w:

    s = scale / |f|          w' = clip(w, (sign(f) q - 0.45) × s, (sign(f) q + 0.45) × s)          μ' = μ - (b' - b) / f

So the network that training starts from computes what the rounded one computes, to the integer, and each weight is as
near to its own value as that allows: most are near the edge to the neighbouring integer, where a small step of training
crosses it. The corrected bias goes into the mean of the BatchNorm, which is what training would measure there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.quant.config import WeightConfig
from amctq.quant.folding import batch_norm_factor, fold
from amctq.quant.integer import IntegerLayer
from amctq.quant.layers import QuantizableLayer
from amctq.quant.numerics import Float32Array, per_channel, signed_range
from amctq.quant.ulq import arq_retrain_scale

Arrays = Mapping[str, NDArray[Any]]
# Of a step, from the integer to where a weight may begin; at one half float32 would round some the other way.
_FARTHEST = 0.45
# A BatchNorm with a smaller factor γ / √(σ² + ε) makes the layer's output negligible.
SMALLEST_FACTOR = 1e-12


def kept_scale(layer: QuantizableLayer, config: WeightConfig, scale: Float32Array, arrays: Arrays) -> Float32Array:
    """The scale of the weight before BatchNorm is folded in, by that of the folded weight.

    Args:
        layer: the layer.
        config: how its weight is quantized.
        scale: of the folded weight, float32 of shape (C_out,) or (1,).
        arrays: values of the parameters that ``layer`` names.

    Returns:
        float32 of shape (C_out,), or that of ``scale`` without a BatchNorm. A channel that its BatchNorm makes
        negligible has ARQ's.
    """
    norm = layer.batch_norm
    if norm is None:
        return scale
    weight = layer.by_channel(arrays[layer.weight]).astype(np.float32)
    gamma = arrays[norm.gamma].astype(np.float32)
    usual = arq_retrain_scale(weight, channel_wise=config.channel_wise, bits=config.bits, gamma=gamma)
    factor = np.abs(batch_norm_factor(norm, arrays))
    found: Float32Array = np.array(np.broadcast_to(usual, factor.shape))
    np.divide(scale, factor, out=found, where=factor > SMALLEST_FACTOR)
    return found


def on_kept_scale(
    weight: Float32Array, scale: Float32Array, *, bits: int, gamma: Float32Array | None = None
) -> Float32Array:
    """Fake-quantize a weight on a scale that does not follow it; beyond the last integer it is clipped.

    Folding a BatchNorm with negative γ changes the sign of a channel's weights, so its range is turned around.

    Args:
        weight: float32 of shape (C_out, …).
        scale: float32 of shape (C_out,) or (1,).
        bits: width of the signed integer.
        gamma: γ of the BatchNorm that will be folded into the layer, shape (C_out,); None without one.
    """
    low, high = signed_range(bits)
    turned = np.zeros(1, np.float32) if gamma is None else (gamma < 0).astype(np.float32)
    more = per_channel(turned, weight.ndim)
    column = per_channel(scale, weight.ndim)
    fake: Float32Array = np.clip(np.rint(weight / column), low + more, high + more) * column
    return fake


def rounded_start(
    layer: QuantizableLayer, rounded: IntegerLayer, scale: Float32Array, arrays: Arrays
) -> dict[str, Float32Array]:
    """New values of parameters, by name: of the weight, and of the bias or the mean of the BatchNorm.

    Args:
        layer: the layer.
        rounded: its integers.
        scale: what ``kept_scale`` has found.
        arrays: values of the parameters that ``layer`` names.
    """
    norm = layer.batch_norm
    weight = layer.by_channel(arrays[layer.weight]).astype(np.float32)
    integers = rounded.weight.values.astype(np.float32)
    factor = np.ones(len(weight), np.float32) if norm is None else batch_norm_factor(norm, arrays)
    weighty = np.abs(factor) > SMALLEST_FACTOR
    integers = integers * per_channel(np.sign(factor), weight.ndim)
    column = per_channel(scale, weight.ndim)
    moved = np.clip(weight, (integers - np.float32(_FARTHEST)) * column, (integers + np.float32(_FARTHEST)) * column)
    moved = np.where(per_channel(weighty, weight.ndim), moved, weight)
    found: dict[str, Float32Array] = {layer.weight: layer.as_stored(moved.astype(np.float32))}
    if rounded.bias is None:
        return found
    bias = rounded.bias * rounded.bias_scale.astype(np.float64)
    if norm is None:
        assert layer.bias is not None
        found[layer.bias] = bias.astype(np.float32)
        return found
    before = fold(layer, arrays).bias
    assert before is not None
    shift = np.divide(bias - before, factor, out=np.zeros(len(factor)), where=weighty)
    found[norm.mean] = (arrays[norm.mean] - shift).astype(np.float32)
    return found
