"""Whether the weight scales of a record are those of a layer's weight, with or without its BatchNorm folded in.

AMCT's records do not say which BatchNorm was folded. Their scales do: ARQ's make the largest |weight / scale| 127 or
128, with the weight that they were made of and with no other (docs/en/reference.md, "Whose scales a record holds").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.choices import ArqRule
from amctq.quant.folding import FusedParameters, batch_norm_factor, fold
from amctq.quant.layers import QuantizableLayer
from amctq.quant.numerics import EPSILON, SMALLEST_NORMAL, Float32Array, per_channel, signed_range
from amctq.quant.record import LayerRecord
from amctq.quant.weight_mse import mse_scale
from amctq.quant.weights import arq_scale, quantize_weight, scale_that_fits_bias

Arrays = Mapping[str, NDArray[Any]]
# Largest relative distance of a recorded scale from the rule's: folding in float16 is within it, a weight of another
# checkpoint is not, in one channel or another.
_FITS = 1e-2
# Folding in float32, in whatever order: weights that differ less are one weight.
_SAME = 1e-5
_FAR = 1000.0
_NO_SCALE = 1e300  # finite, so that a BatchNorm of factor 0 takes it to 0


@dataclass(frozen=True, kw_only=True)
class ScaleFit:
    """How well a layer's recorded scales fit its weight.

    Attributes:
        name: of the layer.
        bits: width of the weight.
        folded: largest relative distance of a scale from the one of the weight with BatchNorm folded in; of the weight
            as it is where there is no BatchNorm.
        plain: the same without BatchNorm folded in; None where there is none.
        largest: the largest |weight / scale|, in the order of the two above.
    """

    name: str
    bits: int
    folded: float
    plain: float | None
    largest: tuple[float, ...]

    @property
    def fits(self) -> bool:
        """Whether the scales are those of one of the two weights at all."""
        return self.allows(fused=True) or self.allows(fused=False)

    @property
    def fused(self) -> bool:
        """Whether the scales are nearer to those of the folded weight.

        Where a BatchNorm changes no weight, they are as near to both: then it is folded, as AMCT does it by default.
        """
        return self.plain is None or self.folded <= max(self.plain, _SAME)

    def allows(self, *, fused: bool) -> bool:
        """Whether the scales can be those of the folded weight, or of the other."""
        distance = self.folded if fused else self.plain
        return distance is not None and distance <= _FITS

    @property
    def far_too_small(self) -> bool:
        """Whether the integers of either weight would leave their range by far."""
        return min(self.largest) > _FAR * -signed_range(self.bits)[0]

    @property
    def found(self) -> str:
        """What was found and expected, in words."""
        low, high = signed_range(self.bits)
        given = [f"{value:.4g}" for value in self.largest]
        parts = f"{given[0]} with BatchNorm folded in and {given[1]} without" if len(given) > 1 else given[0]
        if not self.fits and any(high * (1 - _FITS) <= value <= -low * (1 + _FITS) for value in self.largest):
            distance = min(self.folded, math.inf if self.plain is None else self.plain)
            return f"{self.name}: a channel's scale is {100 * distance:.3g} % away from the one that its weights give"
        return f"{self.name}: the largest |weight / scale| is {parts}, expected {high} to {-low}"


def scale_fit(layer: QuantizableLayer, entry: LayerRecord, arrays: Arrays) -> ScaleFit:
    """Compare a layer's recorded scales with those that each known rule gives for its weight.

    Args:
        layer: the layer, with its BatchNorm.
        entry: its record; the scales have the shape of the weight.
        arrays: values of the parameters that ``layer`` names.

    Raises:
        InputError: parameters are not finite.
    """
    weights = [fold(layer, arrays)]
    if layer.batch_norm is not None:
        weights.append(fold(layer.without_fusion(), arrays))
    distances = [_distance(entry, fused, _arq_scales(fused.weight, entry)) for fused in weights]
    if layer.batch_norm is not None and len(entry.weight_scale) > 1 and min(distances) > _FITS:
        # Retrained with one scale for the tensor, which the fold made one for each channel.
        factor = np.abs(batch_norm_factor(layer.batch_norm, arrays))
        expanded = _arq_scales(weights[1].weight, entry, per_tensor=True) * factor
        distances[0] = _distance(entry, weights[0], expanded)
    for index, fused in enumerate(weights):
        if min(distances) > _FITS and _clips_well(fused.weight, entry):
            scales = mse_scale(fused.weight, channel_wise=len(entry.weight_scale) > 1, bits=entry.weight_bits)
            distances[index] = _distance(entry, fused, scales[None])
    return ScaleFit(
        name=layer.name,
        bits=entry.weight_bits,
        folded=distances[0],
        plain=distances[1] if len(distances) > 1 else None,
        largest=tuple(float(np.abs(_steps(fused.weight, entry)).max()) for fused in weights),
    )


def _arq_scales(weight: Float32Array, entry: LayerRecord, *, per_tensor: bool = False) -> NDArray[np.float64]:
    """The scales that ARQ may give a weight, shape (rules, scales); _NO_SCALE where a rule would clip.

    The largest |weight| may be the highest or the lowest integer, and the other end may need a larger scale than it. A
    fold with a negative factor turns the row after its scale was chosen: so each end may stand for the other.
    """
    low, high = signed_range(entry.weight_bits)
    rows = weight.reshape(1 if per_tensor or len(entry.weight_scale) == 1 else len(weight), -1).astype(np.float64)
    ends = np.stack([np.maximum(rows.max(axis=1), 0.0), -np.minimum(rows.min(axis=1), 0.0)])
    rules = np.concatenate([ends / high, ends / -low])
    clipping = rules * -low < ends.max(axis=0) * (1 - _SAME)
    # The rule that is exact in pairs may take a larger scale than all of these.
    in_pairs = arq_scale(
        weight, channel_wise=len(rows) > 1, bits=entry.weight_bits, rule=ArqRule.PAIRS, smallest=SMALLEST_NORMAL
    )
    return np.concatenate([np.where(clipping, _NO_SCALE, rules), in_pairs[None].astype(np.float64)])


def _distance(entry: LayerRecord, fused: FusedParameters, scales: NDArray[Any]) -> float:
    """The largest relative distance of a recorded scale from the nearest of the rules' ``scales`` (rules, scales).

    A scale below EPSILON is 1 in AMCT, and EPSILON itself after retraining here. One that its bias would overflow is
    raised.
    """
    recorded = entry.weight_scale.astype(np.float64)
    variants = np.concatenate([np.where(scales < EPSILON, 1.0, scales), np.maximum(scales, EPSILON)])
    if fused.bias is not None:
        needed = scale_that_fits_bias(np.zeros_like(entry.weight_scale), fused.bias, entry.activation.scale)
        variants = np.concatenate([variants, np.maximum(variants, needed)])
    return float(np.abs(variants / recorded - 1.0).min(axis=0).max())


def _clips_well(weight: Float32Array, entry: LayerRecord) -> bool:
    """Whether the scales may be those of least squared error, which takes long to find: none is worse than ARQ's."""
    widest = arq_scale(weight, channel_wise=len(entry.weight_scale) > 1, bits=entry.weight_bits, rule=ArqRule.ASCEND)
    return bool((_error(weight, entry.weight_scale, entry) <= _error(weight, widest, entry) * (1 + _FITS)).all())


def _error(weight: Float32Array, scale: Float32Array, entry: LayerRecord) -> NDArray[np.float64]:
    """The squared error of each row, or of the tensor, with a scale."""
    difference = quantize_weight(weight, scale, bits=entry.weight_bits).dequantized() - weight
    error: NDArray[np.float64] = np.square(difference.astype(np.float64)).reshape(len(scale), -1).sum(axis=1)
    return error


def _steps(weight: Float32Array, entry: LayerRecord) -> NDArray[Any]:
    steps: NDArray[Any] = weight / per_channel(entry.weight_scale, weight.ndim)
    return steps
