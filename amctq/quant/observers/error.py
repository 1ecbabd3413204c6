"""The squared quantization error of a tensor, for many quantizers at once: over a histogram, or value by value.

Over a histogram the error is integrated: values are uniform inside a bin, and exact zeros have no error. This takes
milliseconds instead of minutes, and differs by at most 0.2 % from the error over every value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.quant.histogram import Density
from amctq.quant.numerics import symmetric_scales

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """The quantizers to choose from; all arrays are float64 (n,).

    A value x - ``origin`` is clipped to [low, high], rounded to the nearest multiple of ``scale``, and
    then lies in [lowest, highest].
    """

    scale: Float64Array
    low: Float64Array
    high: Float64Array
    lowest: Float64Array
    highest: Float64Array
    origin: Float64Array | float = 0.0

    @classmethod
    def of_ranges(cls, low: Float64Array, high: Float64Array, *, symmetric: bool, smallest: float) -> Candidates:
        """The quantizers of ranges [low, high], low ≤ 0 ≤ high; clipping happens on the integers.

        Scale and offset are those of ``numerics.range_qparams``.
        """
        if symmetric:
            scale = symmetric_scales(low, high, bits=8, smallest=smallest).astype(np.float64)
            lowest, highest = -128 * scale, 127 * scale
        else:
            scale = (high - low) / 255
            narrow = scale < smallest
            scale = np.where(narrow, 1.0, scale)
            offset = np.where(narrow, -128, np.clip(np.rint(-128 - low / scale), -128, 127))
            lowest, highest = (-128 - offset) * scale, (127 - offset) * scale
        return cls(scale=scale, low=lowest, high=highest, lowest=lowest, highest=highest)


def squared_error(density: Density, candidates: Candidates) -> Float64Array:
    """Sum of squared quantization errors of all values in the histogram, for each candidate; float64 (n,).

    The antiderivative of the squared error has a closed form: between two rounding points it is that of (x - n·scale)²,
    outside of the clips that of the squared distance to ``lowest`` or ``highest``.
    """
    origin = np.broadcast_to(candidates.origin, candidates.scale.shape)
    edges = density.edges[None, :] - origin[:, None]
    scale, low, high = (array[:, None] for array in (candidates.scale, candidates.low, candidates.high))
    inner = np.clip(edges, low, high)
    nearest = np.rint(inner / scale)
    integral = nearest * scale**3 / 12 + (inner - nearest * scale) ** 3 / 3
    for end, bound, outside in (
        (candidates.lowest[:, None], low, np.minimum(edges, low)),
        (candidates.highest[:, None], high, np.maximum(edges, high)),
    ):
        integral += ((outside - end) ** 3 - (bound - end) ** 3) / 3
    # An outer bin of width 0 holds one value only, counted many times, such as 6 after a ReLU6.
    widths = np.diff(density.edges)
    points = widths <= 0
    error: Float64Array = np.diff(integral, axis=1) @ (density.counts / np.where(points, np.inf, widths))
    if points.any():
        error += squared_error_of_values(density.edges[1:][points], candidates, density.counts[points])
    return error


def squared_error_of_values(
    values: Float64Array, candidates: Candidates, repeats: NDArray[np.int64] | int = 1
) -> Float64Array:
    """The same for single values, each counted ``repeats`` times; float64 (n,)."""
    errors = np.empty(len(candidates.scale))
    origins = np.broadcast_to(candidates.origin, candidates.scale.shape)
    for index, (scale, origin) in enumerate(zip(candidates.scale, origins, strict=True)):
        x = values - origin
        rounded = np.rint(np.clip(x, candidates.low[index], candidates.high[index]) / scale) * scale
        errors[index] = np.sum((rounded - x) ** 2 * repeats)
    return errors


def best_range(
    lows: Float64Array, highs: Float64Array, errors: Callable[[Float64Array, Float64Array], Float64Array]
) -> tuple[float, float]:
    """Search the range of least error; neighbouring ranges must have similar errors.

    First some ranges far apart are compared, then all ranges around the best of them: for n ranges, errors of about
    2·√n are computed.

    Args:
        lows: lower ends of the ranges, float64 (n,), n ≥ 1.
        highs: their upper ends, float64 (n,).
        errors: computes the errors of some ranges from their lower and upper ends.

    Returns:
        Lower and upper end.
    """
    count = len(lows)
    stride = max(1, math.isqrt(count) // 2)
    coarse = np.unique(np.append(np.arange(0, count, stride), count - 1))
    best = coarse[np.argmin(errors(lows[coarse], highs[coarse]))]
    fine = slice(max(0, best - stride), best + stride + 1)
    best = fine.start + np.argmin(errors(lows[fine], highs[fine]))
    return float(lows[best]), float(highs[best])
