"""IFMR, AMCT's search for the range of least squared error (AMCT ifmr_impl.py, reference §4.2).

The largest value, outliers beyond a percentile left out, is scaled by candidates from 0.7 to 1.3; the one whose
quantization error is least wins. AMCT computes the error over every value, 61 times. Here it is integrated over a
histogram, values taken as uniform inside a bin and exact zeros at no cost: milliseconds instead of minutes, and the
error at the chosen scale is within 0.2 % of the least. A few thousand values fill no histogram smoothly; they are kept
and their error is computed one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.choices import IfmrVariant
from amctq.quant.histogram import Density, StreamingHistogram
from amctq.quant.numerics import EPSILON, Float32Array, QParams
from amctq.quant.observers.base import Observer, finite_range
from amctq.quant.observers.tails import UpperTail

_ROW = 1 << 15
# Up to so many values other than zero are kept, 256 KiB for a tensor.
_FEW = 1 << 16
# What AMCT's MindSpore front end feeds the Ascend operator (reference §4.2 b).
_ASCEND_BINS = 128

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class IfmrSettings:
    """AMCT's parameters of IFMR.

    Attributes:
        max_percentile: share of the values that the largest one to start from is not exceeded by, (0.5, 1].
        min_percentile: the same for the smallest one.
        search_range: first and last candidate ratio, 0 < first < last.
        search_step: between candidates, at most last - first.
        symmetric: offset fixed at 0.
        variant: EXACT is AMCT's PyTorch code, ASCEND the operator that its MindSpore front end calls.
    """

    max_percentile: float = 0.999999
    min_percentile: float = 0.999999
    search_range: tuple[float, float] = (0.7, 1.3)
    search_step: float = 0.01
    symmetric: bool = False
    variant: IfmrVariant = IfmrVariant.EXACT


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """Quantizers to choose from; all arrays float64 (n,).

    A value x is clipped to [low, high], rounded to the nearest multiple of ``scale``, and then lies in
    [lowest, highest].
    """

    scale: Float64Array
    low: Float64Array
    high: Float64Array
    lowest: Float64Array
    highest: Float64Array


class IfmrObserver(Observer):
    """Keeps a histogram and the outermost values of each side."""

    def __init__(self, settings: IfmrSettings | None = None, *, bins: int = 2048) -> None:
        self._settings = settings or IfmrSettings()
        self._histogram = StreamingHistogram(bins)
        self._upper, self._lower = UpperTail(), UpperTail()
        self._few: Float32Array | None = np.empty(0, np.float32)
        self._seen = 0

    def update(self, batch: Float32Array) -> None:
        """Count one batch."""
        values = batch.reshape(-1)
        whole = len(values) // _ROW * _ROW
        for part in (values[:whole].reshape(-1, _ROW), values[whole:].reshape(1, -1)):
            if part.size:
                lows, highs = part.min(axis=1), part.max(axis=1)
                low, high = finite_range(lows.min(), highs.max())
                self._histogram.update(part.reshape(-1), low, high)
                self._upper.update(part, highs)
                if low < 0:
                    negative = lows < 0
                    self._lower.update(-part[negative], -lows[negative])
        self._seen += len(values)
        if self._few is not None:
            few = self._seen - self._histogram.zeros <= _FEW
            self._few = np.concatenate([self._few, values[values != 0]]) if few else None

    def qparams(self) -> QParams:
        """The candidate of least error, the first one of equals."""
        if not self._seen:
            message = "no activations were observed"
            raise ValueError(message)
        candidates = self.candidates()
        if self._few is not None:
            ordered = np.sort(self._few).astype(np.float64)  # so that sums do not depend on the order of the images
            errors = squared_error_of_values(ordered, candidates)
        else:
            errors = squared_error(self._histogram.density(), candidates)
        best = int(np.argmin(errors))
        scale = float(np.float32(candidates.scale[best]))
        if self._settings.symmetric:
            return QParams(scale, 0)
        start = self._start()[0]
        return QParams(scale, int(np.clip(-np.rint(start / scale) - 128, -128, 127)))

    def candidates(self) -> Candidates:
        """The quantizers that are compared, in AMCT's order."""
        settings = self._settings
        low, high = self._start()
        first, last = settings.search_range
        # AMCT's arange in double gives 61 candidates for 0.7, 1.3, 0.01; its values are float32.
        count = math.ceil((last - first) / settings.search_step)
        if settings.variant is IfmrVariant.ASCEND:
            count = int((last - first) // settings.search_step + 1)
        ratios = (first + settings.search_step * np.arange(count)).astype(np.float32).astype(np.float64)
        if settings.symmetric:
            reach = max(high, -low)
            steps = 128 if -low > high and settings.variant is IfmrVariant.EXACT else 127
            tops = ratios * reach
            scale = _no_smaller_than_epsilon(tops / steps)
            lows, offset = -tops, np.zeros(count)
        else:
            tops = ratios * high
            scale = _no_smaller_than_epsilon((tops - low) / 255)
            lows, offset = np.full(count, low), -np.rint(low / scale) - 128
        lowest, highest = (-128 - offset) * scale, (127 - offset) * scale
        if settings.variant is IfmrVariant.ASCEND:  # the operator clips integers
            return Candidates(scale=scale, low=lowest, high=highest, lowest=lowest, highest=highest)
        return Candidates(
            scale=scale,
            low=lows,
            high=tops,
            lowest=np.rint(lows / scale) * scale,
            highest=np.rint(tops / scale) * scale,
        )

    def _start(self) -> tuple[float, float]:
        """The range that the ratios are applied to: low ≤ 0 ≤ high."""
        settings, seen = self._settings, self._seen
        if settings.variant is IfmrVariant.EXACT:
            high = self._kth_largest(_rank(settings.max_percentile, seen))
            low = self._kth_smallest(_rank(settings.min_percentile, seen))
            return low, high
        # The operator takes both from a cumulative histogram of 128 bins between the extremes: the upper edge of the
        # bins that lie below the percentile, and the same from below.
        bottom, top = self._histogram.low, self._histogram.high
        edges = bottom + (top - bottom) * np.arange(1, _ASCEND_BINS) / _ASCEND_BINS
        above = self._kth_largest(math.floor((1 - settings.max_percentile) * seen) + 1)
        below = self._kth_smallest(max(1, math.ceil((1 - settings.min_percentile) * seen)))
        width = (top - bottom) / _ASCEND_BINS
        high = bottom + width * int((edges <= above).sum())
        low = bottom + width * int((edges <= below).sum()) if bottom < 0 else 0.0
        return min(low, 0.0), max(high, 0.0)

    def _kth_largest(self, k: int) -> float:
        """Not below 0; exact while ``k`` is small, as it is with AMCT's percentiles, else from the histogram."""
        exact = self._upper.kth_largest(k)
        return self._histogram.density().kth_largest(k) if exact is None else exact

    def _kth_smallest(self, k: int) -> float:
        """Not above 0."""
        exact = self._lower.kth_largest(k)
        return -(self._histogram.density().mirrored().kth_largest(k) if exact is None else exact)


def squared_error(density: Density, candidates: Candidates) -> Float64Array:
    """Sum of squared quantization errors of everything in the histogram, for each candidate; float64 (n,).

    The antiderivative of the squared error is closed: between two rounding points it is that of (x - n·scale)²,
    beyond the clips that of the distance to the outermost value.
    """
    edges = density.edges[None, :]
    scale, low, high = (array[:, None] for array in (candidates.scale, candidates.low, candidates.high))
    inner = np.clip(edges, low, high)
    nearest = np.rint(inner / scale)
    integral = nearest * scale**3 / 12 + (inner - nearest * scale) ** 3 / 3
    for end, bound, outside in (
        (candidates.lowest[:, None], low, np.minimum(edges, low)),
        (candidates.highest[:, None], high, np.maximum(edges, high)),
    ):
        integral += ((outside - end) ** 3 - (bound - end) ** 3) / 3
    # An outer bin that the extremes cut to nothing holds one value alone, as often as it was seen: 6 behind a ReLU6.
    widths = np.diff(density.edges)
    points = widths <= 0
    error: Float64Array = np.diff(integral, axis=1) @ (density.counts / np.where(points, np.inf, widths))
    if points.any():
        error += squared_error_of_values(density.edges[1:][points], candidates, density.counts[points])
    return error


def squared_error_of_values(
    values: Float64Array, candidates: Candidates, repeats: NDArray[np.int64] | int = 1
) -> Float64Array:
    """The same for values that are at hand, one by one, each counted ``repeats`` times; float64 (n,)."""
    errors = np.empty(len(candidates.scale))
    for index, scale in enumerate(candidates.scale):
        rounded = np.rint(np.clip(values, candidates.low[index], candidates.high[index]) / scale) * scale
        errors[index] = np.sum((rounded - values) ** 2 * repeats)
    return errors


def _rank(percentile: float, count: int) -> int:
    """AMCT's k: the value that ``percentile`` of ``count`` values do not exceed is the k-th from the end."""
    return 1 if 1 - percentile < EPSILON else max(1, count - int(percentile * count))


def _no_smaller_than_epsilon(scale: Float64Array) -> Float64Array:
    return np.where(scale < EPSILON, 1.0, scale)
