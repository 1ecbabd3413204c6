"""MSE: the range of least squared quantization error (docs/en/reference.md, "MSE").

Both ends are searched over a geometric grid, from the extreme down to a thousandth of it: first both together, then
each in turn. With one end fixed, the error is a smooth function of the other end.
"""

from __future__ import annotations

import numpy as np

from amctq.quant import numerics
from amctq.quant.numerics import QParams
from amctq.quant.observers.error import Candidates, Float64Array, best_range
from amctq.quant.observers.statistics import StatisticsObserver

# Fractions of an extreme, largest first: 10 octaves with 64 steps each.
_SHARES = 2.0 ** (-np.arange(641) / 64)
# The range between two neighbours of these, for the last refinement.
_FINE = 2.0 ** (-np.arange(-16, 17) / 1024)
_TURNS = 4


class MseObserver(StatisticsObserver):
    """Searches one end of the range, or both."""

    def _choose(self, smallest: float) -> QParams:
        lowest, highest = min(self._statistics.low, 0.0), max(self._statistics.high, 0.0)
        low, high = self._best(smallest, lowest * _SHARES, highest * _SHARES)
        if lowest < 0 < highest and not self._symmetric:
            for _ in range(_TURNS):
                before = low, high
                low, high = self._best(smallest, np.full_like(_SHARES, low), highest * _SHARES)
                low, high = self._best(smallest, lowest * _SHARES, np.full_like(_SHARES, high))
                if (low, high) == before:
                    break
        low, high = self._best(smallest, np.maximum(low * _FINE, lowest), np.minimum(high * _FINE, highest))
        return numerics.range_qparams(low, high, symmetric=self._symmetric, smallest=smallest)

    def _best(self, smallest: float, lows: Float64Array, highs: Float64Array) -> tuple[float, float]:
        """The range of least error among [lows[i], highs[i]]."""

        def errors(low: Float64Array, high: Float64Array) -> Float64Array:
            candidates = Candidates.of_ranges(low, high, symmetric=self._symmetric, smallest=smallest)
            return self._statistics.squared_error(candidates)

        return best_range(lows, highs, errors)
