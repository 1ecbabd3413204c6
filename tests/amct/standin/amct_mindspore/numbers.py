"""The search for activations as the Ascend operator IFMR does it, and ARQ for weights, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BINS = 128
_EPSILON = np.float32(1.192092896e-07)


def ifmr(data: NDArray[Any], params: dict[str, Any], asymmetric: bool) -> tuple[float, int]:
    """scale_d and offset_d of a layer's input."""
    x = data.astype(np.float64).ravel()
    if not np.isfinite(x).all():
        raise RuntimeError("NaN or Inf in the data")
    low, high = x.min(), x.max()
    counts, _ = np.histogram(x, _BINS, (low, high if high > low else low + 1))
    share = np.cumsum(counts) / x.size
    top = np.count_nonzero(share < params.get("max_percentile", 0.999999)) / _BINS * (high - low) + low
    bottom = np.count_nonzero(share < 1 - params.get("min_percentile", 0.999999)) / _BINS * (high - low) + low
    top, bottom = max(top, 0.0), min(bottom, 0.0)
    if not asymmetric:
        top = max(abs(top), abs(bottom))
    start, end = params.get("search_range", (0.7, 1.3))
    step = params.get("search_step", 0.01)
    best = (np.inf, 1.0, 0)
    for index in range(int((end - start) // step + 1)):
        reach = (start + index * step) * top
        scale = (reach - bottom) / 255 if asymmetric else reach / 127
        scale = scale if scale >= _EPSILON else 1.0
        offset = -(round(bottom / scale) + 128) if asymmetric else 0
        error = float((((np.clip(np.rint(x / scale) + offset, -128, 127) - offset) * scale - x) ** 2).sum())
        best = min(best, (error, scale, offset), key=lambda item: item[0])
    return best[1], best[2]


def arq(weight: NDArray[Any], channel_wise: bool) -> NDArray[Any]:
    """scale_w, float32 (C_out,) or (1,): the operator WtsARQ."""
    rows = weight.reshape(len(weight) if channel_wise else 1, -1).astype(np.float32)
    low, high = np.minimum(rows.min(1), 0), np.maximum(rows.max(1), 0)
    scale = np.maximum(np.abs(low) / np.float32(128), high / np.float32(127))
    return np.where(scale < _EPSILON, np.float32(1), scale).astype(np.float32)


def integers(weight: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any]:
    """int8 weights on these scales."""
    wide = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(weight / wide), -128, 127).astype(np.int8)
