"""IFMR (docs/en/reference.md, "IFMR"), every value and every candidate: slow and plain, for comparison."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from amctq.quant.numerics import EPSILON

Values = NDArray[np.float64]


def starting_range(x: Values, percentile: float) -> tuple[float, float]:
    """Step 1 of (a): the k-th largest and smallest values."""
    k = 1 if 1 - percentile < EPSILON else len(x) - int(percentile * len(x))
    ordered = np.sort(x)
    return min(float(ordered[k - 1]), 0.0), max(float(ordered[-k]), 0.0)


def exact_losses(x: Values, *, percentile: float = 0.999999, symmetric: bool = False) -> tuple[Values, Values]:
    """Scales and mean squared errors of the 61 candidates of (a)."""
    low, high = starting_range(x, percentile)
    ratios = np.arange(0.7, 1.3, 0.01).astype(np.float32).astype(float)
    scales, losses = [], []
    for ratio in ratios:
        if symmetric:
            top = ratio * max(high, -low)
            scale, bottom = top / (128 if -low > high else 127), -top
        else:
            top, bottom = ratio * high, low
            scale = (top - bottom) / 255
        scale = 1.0 if scale < EPSILON else scale
        scales.append(scale)
        losses.append(mean_squared_error(x, scale, bottom, top))
    return np.asarray(scales), np.asarray(losses)


def mean_squared_error(x: Values, scale: float, low: float, high: float) -> float:
    """Step 4 of (a)."""
    return float(np.mean((np.rint(np.clip(x, low, high) / scale) * scale - x) ** 2))


def ascend(x: Values, *, percentile: float = 0.999999, bins: int = 128) -> tuple[float, int]:
    """(b): scale and offset that the Ascend operator finds."""
    counts, _ = np.histogram(x, bins, (x.min(), x.max()))
    cdf = np.cumsum(counts) / len(x)
    reach = x.max() - x.min()
    high = max(np.count_nonzero(cdf < percentile) / bins * reach + x.min(), 0.0)
    low = min(np.count_nonzero(cdf < 1 - percentile) / bins * reach + x.min(), 0.0)
    best: tuple[float, float, int] = (math.inf, 1.0, 0)
    for step in range(int((1.3 - 0.7) // 0.01 + 1)):
        scale = ((0.7 + step * 0.01) * high - low) / 255
        offset = -(round(low / scale) + 128)
        q = np.clip(np.rint(x / scale) + offset, -128, 127)
        loss = float(np.sum(((q - offset) * scale - x) ** 2))
        if loss < best[0]:
            best = (loss, scale, offset)
    return best[1], best[2]
