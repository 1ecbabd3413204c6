"""MSE: the range of least squared quantization error (docs/en/reference.md, "MSE").

Both ends are searched over a geometric grid that goes down to a thousandth of the extreme: first together, then in
turns. While one stands still, the error is smooth in the other, and they compete for nothing but the step between
levels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amctq.quant import numerics
from amctq.quant.numerics import QParams
from amctq.quant.observers.error import Candidates, Float64Array, least
from amctq.quant.observers.statistics import StatisticsObserver

# Shares of an extreme, largest first: 64 to the octave, 10 octaves.
_SHARES = 2.0 ** (-np.arange(641) / 64)
# What is between two of them, for the last touch.
_FINE = 2.0 ** (-np.arange(-16, 17) / 1024)
_TURNS = 4


class MseObserver(StatisticsObserver):
    """Searches the end of the range, or both.

    Args:
        symmetric: zero point fixed at 0.
    """

    def __init__(self, *, symmetric: bool = False) -> None:
        super().__init__()
        self._symmetric = symmetric

    def _choose(self) -> QParams:
        lowest, highest = min(self._statistics.low, 0.0), max(self._statistics.high, 0.0)
        low, high = self._best(lowest * _SHARES, highest * _SHARES)
        if lowest < 0 < highest and not self._symmetric:
            for _ in range(_TURNS):
                before = low, high
                low, high = self._best(np.full_like(_SHARES, low), highest * _SHARES)
                low, high = self._best(lowest * _SHARES, np.full_like(_SHARES, high))
                if (low, high) == before:
                    break
        low, high = self._best(np.maximum(low * _FINE, lowest), np.minimum(high * _FINE, highest))
        return numerics.range_qparams(low, high, symmetric=self._symmetric)

    def _best(self, lows: Float64Array, highs: Float64Array) -> tuple[float, float]:
        """The range of least error among those from ``lows`` to ``highs``."""

        def errors(chosen: NDArray[np.int64]) -> Float64Array:
            ranges = Candidates.of_ranges(lows[chosen], highs[chosen], symmetric=self._symmetric)
            return self._statistics.squared_error(ranges)

        best = least(len(lows), errors)
        return float(lows[best]), float(highs[best])
