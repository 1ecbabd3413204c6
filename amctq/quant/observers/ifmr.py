"""IFMR, AMCT's search for the range of least squared error (docs/en/reference.md, "IFMR").

The largest value (at a percentile, without outliers) is multiplied by ratios from 0.7 to 1.3. The ratio with the least
quantization error wins. AMCT computes the error over every value, 61 times; here it is integrated over a histogram
where there are more than half a million values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from amctq.choices import IfmrVariant
from amctq.quant.numerics import EPSILON, QParams
from amctq.quant.observers.error import Candidates
from amctq.quant.observers.statistics import StatisticsObserver

# Bins of the histogram that AMCT's MindSpore front end gives to the Ascend operator (docs/en/reference.md, "IFMR").
_ASCEND_BINS = 128


@dataclass(frozen=True, kw_only=True)
class IfmrSettings:
    """AMCT's parameters of IFMR.

    Attributes:
        max_percentile: share of the values that lie at or below the largest value of the search, in (0.5, 1].
        min_percentile: share of the values that lie at or above the smallest value of the search, in (0.5, 1].
        search_range: first and last ratio, 0 < first < last.
        search_step: step between ratios, at most last - first.
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
        self._settings = settings or IfmrSettings()
        super().__init__(bins, symmetric=self._settings.symmetric)

    def _choose(self, smallest: float) -> QParams:
        """The candidate of least error; the first one where several are equal."""
        candidates = self.candidates(smallest)
        best = np.argmin(self._statistics.squared_error(candidates))
        scale = float(np.float32(candidates.scale[best]))
        if self._symmetric:
            return QParams(scale, 0)
        low = self._start()[0]
        return QParams(scale, int(np.clip(-np.rint(low / scale) - 128, -128, 127)))

    def candidates(self, smallest: float = EPSILON) -> Candidates:
        """The compared quantizers, in AMCT's order."""
        settings = self._settings
        low, high = self._start()
        first, last = settings.search_range
        # AMCT's arange in double gives 61 candidates for 0.7, 1.3, 0.01; its values are float32.
        count = math.ceil((last - first) / settings.search_step)
        if settings.variant is IfmrVariant.ASCEND:
            count = int((last - first) // settings.search_step + 1)
        ratios = (first + settings.search_step * np.arange(count)).astype(np.float32)
        # Rounded to float32 as AMCT rounds, so that equal activations have equal scales.
        if self._symmetric:
            tops = (ratios * np.float32(max(high, -low))).astype(np.float64)
            lows = -tops
            scale = tops / (128 if -low > high and settings.variant is IfmrVariant.EXACT else 127)
        else:
            tops, lows = (ratios * np.float32(high)).astype(np.float64), np.full(count, low)
            scale = (tops - low).astype(np.float32) / 255.0
        scale = scale.astype(np.float32).astype(np.float64)
        scale = np.where(scale < smallest, 1.0, scale)
        offset = np.zeros(count) if self._symmetric else -np.rint(low / scale) - 128
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
        # The operator reads both from a cumulative histogram with 128 bins between the extremes: the upper end is the
        # upper edge of the bins below the percentile; the lower end likewise, from below.
        bottom, top = statistics.low, statistics.high
        edges = bottom + (top - bottom) * np.arange(1, _ASCEND_BINS) / _ASCEND_BINS
        above = statistics.kth_largest(math.floor((1 - settings.max_percentile) * statistics.seen) + 1)
        below = statistics.kth_smallest(max(1, math.ceil((1 - settings.min_percentile) * statistics.seen)))
        width = (top - bottom) / _ASCEND_BINS
        high = bottom + width * int((edges <= above).sum())
        low = bottom + width * int((edges <= below).sum()) if bottom < 0 else 0.0
        return min(low, 0.0), max(high, 0.0)
