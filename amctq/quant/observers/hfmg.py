"""HFMG, AMCT's search over a histogram that is cut at both ends (docs/en/reference.md, "HFMG").

Step by step, a small portion of the values is cut off at the end where this shortens the range more, down to a quarter
of the range. Each of these ranges is divided into 256 bins, and the sum of squared distances of all values to the
centres of their bins is compared. AMCT fits a new histogram to every batch and distributes the old counts over it; here
one histogram grows, so the batches do not matter. Three more differences: the whole range is compared too; all ranges
contain zero, because they are widened to it at the end anyway; exact zeros have no error, because every such range
represents them exactly.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import partial

import numpy as np

from amctq.quant import numerics
from amctq.quant.histogram import Density
from amctq.quant.numerics import QParams
from amctq.quant.observers.error import Candidates, Float64Array, best_range, squared_error
from amctq.quant.observers.statistics import StatisticsObserver

_LEVELS = 256
# A portion is 1/100,000 of the values (AMCT's STEP_DIVISOR), the narrowest range 1/4 of the bins (MIN_BIN_RATIO).
_PORTIONS = 100_000
_NARROWEST = 4


@dataclass(frozen=True, kw_only=True)
class HfmgSettings:
    """AMCT's parameters of HFMG.

    Attributes:
        num_of_bins: number of bins of the histogram: 1024, 2048, 4096 or 8192.
        symmetric: offset fixed at 0.
    """

    num_of_bins: int = 4096
    symmetric: bool = False


class HfmgObserver(StatisticsObserver):
    """Searches the ranges that are left after values are cut off at the ends."""

    def __init__(self, settings: HfmgSettings | None = None) -> None:
        settings = settings or HfmgSettings()
        super().__init__(settings.num_of_bins, symmetric=settings.symmetric)

    def _choose(self) -> QParams:
        density = self._statistics.density()
        low, high = best_range(*_ranges(density), partial(_distance_to_centres, density))
        return numerics.range_qparams(low, high, symmetric=self._symmetric)


def _ranges(density: Density) -> tuple[Float64Array, Float64Array]:
    """Lower and upper ends of the compared ranges, from the widest to the narrowest; both float64 (n,)."""
    counts = density.counts.copy()
    zero_bin = int(np.clip(np.searchsorted(density.edges, 0.0, side="right") - 1, 0, len(counts) - 1))
    counts[zero_bin] += density.zeros
    cumulative = [0, *np.cumsum(counts).tolist()]
    portion = max(-(-cumulative[-1] // _PORTIONS), 1)
    left, right = 0, len(counts)
    path = [(left, right)]
    while right - 1 - left > -(-len(counts) // _NARROWEST):
        next_left = min(bisect_left(cumulative, cumulative[left] + portion), right - 1)
        next_right = max(bisect_right(cumulative, cumulative[right] - portion) - 1, next_left + 1)
        if right - next_right >= next_left - left:
            right = next_right
        else:
            left = next_left
        path.append((left, right))
    lefts, rights = np.asarray(path).T
    return np.minimum(density.edges[lefts], 0.0), np.maximum(density.edges[rights], 0.0)


def _distance_to_centres(density: Density, lows: Float64Array, highs: Float64Array) -> Float64Array:
    """Sum of squared distances to the centres of 256 bins in [low, high], for each range."""
    width: Float64Array = np.maximum((highs - lows) / _LEVELS, np.finfo(np.float64).tiny ** 0.25)
    first, last = np.zeros_like(width), (_LEVELS - 1) * width
    centres = Candidates(scale=width, low=first, high=last, lowest=first, highest=last, origin=lows + width / 2)
    return squared_error(density, centres)
