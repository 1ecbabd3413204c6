"""AMCT's formulas once more, value by value in float64: nothing of amctq's, and no thought of speed.

IFMR stands in tests/quant/reference_ifmr.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FLT_EPSILON = 1.192092896e-7
Values = NDArray[np.float64]


def round_half_to_even(value: float) -> int:
    """Python's own."""
    return round(value)


# (docs/en/reference.md, "Range to scale and offset")


def asymmetric(low: float, high: float) -> tuple[float, int]:
    """Scale and offset for activations in [low, high]."""
    high, low = max(high, 0.0), min(low, 0.0)
    scale = (high - low) / 255
    return (scale, round_half_to_even(-128 - low / scale)) if scale >= FLT_EPSILON else (1.0, -128)


def symmetric(low: float, high: float, bits: int) -> float:
    """AMCT's: by the end that is farther away."""
    farther = abs(high) / (2 ** (bits - 1) - 1) if abs(high) >= abs(low) else abs(low) / 2 ** (bits - 1)
    return farther if farther >= FLT_EPSILON else 1.0


def wts_arq(low: float, high: float, bits: int) -> float:
    """WtsARQ: the larger of both."""
    scale = max(-min(low, 0.0) / 2 ** (bits - 1), max(high, 0.0) / (2 ** (bits - 1) - 1))
    return scale if scale >= FLT_EPSILON else 1.0


# (docs/en/reference.md, "ARQ")


def arq(
    weight: Values, *, channel_wise: bool, bits: int, ascend: bool = False
) -> tuple[list[float], NDArray[np.int64]]:
    """Scales, and integers of the weight's shape."""
    rule = wts_arq if ascend else symmetric
    rows = [channel.ravel().tolist() for channel in weight]
    if channel_wise:
        scales = [rule(min(row), max(row), bits) for row in rows]
    else:
        scales = [rule(min(map(min, rows)), max(map(max, rows)), bits)]
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    integers = [
        [min(max(round_half_to_even(value / scale), low), high) for value in row]
        for row, scale in zip(rows, scales * (1 if channel_wise else len(rows)), strict=True)
    ]
    return scales, np.asarray(integers).reshape(weight.shape)


# (docs/en/reference.md, "HFMG")


def hfmg(values: Values, bins: int) -> tuple[float, float]:
    """Ends of the range of least loss; one batch."""
    smallest, largest = float(values.min()), float(values.max())
    width = (largest - smallest) / bins
    counts = [0] * bins
    for value in values.tolist():
        counts[min(int((value - smallest) / width), bins - 1)] += 1
    step = max(math.ceil(len(values) / 100_000), 1)
    left, right, best = 0, bins - 1, (math.inf, 0, bins - 1)
    while right - left > math.ceil(bins / 4):
        from_left, taken = left, 0
        while from_left < right and taken < step:
            taken += counts[from_left]
            from_left += 1
        from_right, taken = right, 0
        while from_left < from_right and taken < step:
            taken += counts[from_right]
            from_right -= 1
        if right - from_right >= from_left - left:
            right = from_right
        else:
            left = from_left
        best = min(best, (_hfmg_loss(counts, width, left, right), left, right), key=lambda item: item[0])
    return smallest + best[1] * width, smallest + (best[2] + 1) * width


def _hfmg_loss(counts: Sequence[int], width: float, left: int, right: int) -> float:
    """Squared distances of uniformly spread counts to the centres of 256 bins between ``left`` and ``right``."""
    wide = (right - left + 1) * width / 256
    begins = (np.arange(len(counts)) - left) * width
    ends = begins + width
    first, last = (np.clip(np.floor(place / wide), 0, 255) for place in (begins, ends))
    from_begin = begins - (first + 0.5) * wide
    from_end = ends - (last + 0.5) * wide
    whole = (wide / 2) ** 3 * 2 / 3
    inside = ((wide / 2) ** 3 - from_begin**3) / 3 + (last - first - 1) * whole + (from_end**3 + (wide / 2) ** 3) / 3
    return float(np.sum(np.asarray(counts) / width * inside))


# ActsULQ and its gradients (docs/en/reference.md, "ULQ")


def ulq(x: Values, clip_min: float, clip_max: float) -> Values:
    """Fake-quantized values."""
    low, high = min(clip_min, 0.0), max(clip_max, 255 * FLT_EPSILON)
    scale = (high - low) / 255
    first = round_half_to_even(low / scale)
    inside = [min(max(value, scale * first), scale * (first + 255)) for value in x.tolist()]
    return np.asarray([round_half_to_even(value / scale) * scale for value in inside])


def ulq_gradients(x: Values, clip_min: float, clip_max: float, gradient: Values) -> tuple[Values, float, float]:
    """Of x, clip_max and clip_min."""
    low, high = min(clip_min, 0.0), max(clip_max, 255 * FLT_EPSILON)
    scale = (high - low) / 255
    first = round_half_to_even(low / scale)
    of_x, of_max, of_min = [], 0.0, 0.0
    for value, g in zip(x.tolist(), gradient.tolist(), strict=True):
        min_mask, max_mask = value >= scale * first, value <= scale * (first + 255)
        z = value / scale if min_mask and max_mask else low / scale
        loss = (round_half_to_even(z) - z) / 255
        of_max += g * (loss + (1 - max_mask))
        of_min += g * ((1 - min_mask) - loss)
        of_x.append(g * min_mask * max_mask)
    return np.asarray(of_x), of_max, of_min


# (docs/en/reference.md, "BatchNorm fusion", "Bias")


def fold(
    weight: Values, bias: Values | None, gamma: Values, beta: Values, mean: Values, variance: Values, epsilon: float
) -> tuple[Values, Values]:
    """Weight and bias of a convolution with the BatchNorm behind it, channel by channel."""
    factors = [g / math.sqrt(v + epsilon) for g, v in zip(gamma.tolist(), variance.tolist(), strict=True)]
    folded = np.stack([channel * factor for channel, factor in zip(weight, factors, strict=True)])
    before = [0.0] * len(factors) if bias is None else bias.tolist()
    shifted = [
        (b - m) * factor + shift
        for b, m, factor, shift in zip(before, mean.tolist(), factors, beta.tolist(), strict=True)
    ]
    return folded, np.asarray(shifted)


def quantize_bias(bias: Values, scale_d: float, scale_w: Sequence[float]) -> list[int]:
    """Integers in units of both scales."""
    scales = list(scale_w) if len(scale_w) > 1 else list(scale_w) * len(bias)
    return [round_half_to_even(value / (scale_d * scale)) for value, scale in zip(bias.tolist(), scales, strict=True)]
