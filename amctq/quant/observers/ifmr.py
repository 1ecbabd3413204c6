"""IFMR, AMCT's search for the range of least squared error (docs/en/reference.md, "IFMR").

The largest value, outliers beyond a percentile left out, is scaled by candidates from 0.7 to 1.3; the one whose
quantization error is least wins. AMCT computes the error over every value, 61 times; here it is integrated over a
histogram.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from amctq.choices import IfmrVariant
from amctq.quant.numerics import EPSILON, QParams
from amctq.quant.observers.error import Candidates, Float64Array
from amctq.quant.observers.statistics import StatisticsObserver

# What AMCT's MindSpore front end feeds the Ascend operator (docs/en/reference.md, "IFMR").
_ASCEND_BINS = 128


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


class IfmrObserver(StatisticsObserver):
    """Searches the ratios for the least squared error."""

    def __init__(self, settings: IfmrSettings | None = None, *, bins: int = 2048) -> None:
        super().__init__(bins)
        self._settings = settings or IfmrSettings()

    def _choose(self) -> QParams:
        """The candidate of least error, the first one of equals."""
        candidates = self.candidates()
        errors = self._statistics.squared_error(candidates)
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
        settings, statistics = self._settings, self._statistics
        if settings.variant is IfmrVariant.EXACT:
            high = statistics.kth_largest(statistics.rank(settings.max_percentile))
            low = statistics.kth_smallest(statistics.rank(settings.min_percentile))
            return low, high
        # The operator takes both from a cumulative histogram of 128 bins between the extremes: the upper edge of the
        # bins that lie below the percentile, and the same from below.
        bottom, top = statistics.low, statistics.high
        edges = bottom + (top - bottom) * np.arange(1, _ASCEND_BINS) / _ASCEND_BINS
        above = statistics.kth_largest(math.floor((1 - settings.max_percentile) * statistics.seen) + 1)
        below = statistics.kth_smallest(max(1, math.ceil((1 - settings.min_percentile) * statistics.seen)))
        width = (top - bottom) / _ASCEND_BINS
        high = bottom + width * int((edges <= above).sum())
        low = bottom + width * int((edges <= below).sum()) if bottom < 0 else 0.0
        return min(low, 0.0), max(high, 0.0)


def _no_smaller_than_epsilon(scale: Float64Array) -> Float64Array:
    return np.where(scale < EPSILON, 1.0, scale)
