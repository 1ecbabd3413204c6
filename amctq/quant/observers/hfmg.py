"""HFMG, AMCT's search over a histogram that is cut from both ends (docs/en/reference.md, "HFMG").

Small portions of the values are taken off the side where that shortens the range most, down to a quarter of it. Each
range on the way is divided into 256 bins, and the squared distances of all values to the centre of their bin are
compared. AMCT fits a new histogram to every batch and shares the counts of the old one out; here one histogram grows,
so batches do not matter. Three departures: the whole range is compared too, all ranges hold zero, as they are widened
to it in the end anyway, and exact zeros cost nothing, which every such range represents without loss.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.quant import numerics
from amctq.quant.histogram import Density
from amctq.quant.numerics import QParams
from amctq.quant.observers.error import Candidates, Float64Array, least, squared_error
from amctq.quant.observers.statistics import StatisticsObserver

_LEVELS = 256
# A portion is 1/100,000 of the values (AMCT's STEP_DIVISOR), the narrowest range 1/4 of the bins (MIN_BIN_RATIO).
_PORTIONS = 100_000
_NARROWEST = 4


@dataclass(frozen=True, kw_only=True)
class HfmgSettings:
    """AMCT's parameters of HFMG.

    Attributes:
        num_of_bins: of the histogram, at most: 1024, 2048, 4096 or 8192.
        symmetric: offset fixed at 0.
    """

    num_of_bins: int = 4096
    symmetric: bool = False


class HfmgObserver(StatisticsObserver):
    """Searches the ranges that are left when values are taken off the ends."""

    def __init__(self, settings: HfmgSettings | None = None) -> None:
        self._settings = settings or HfmgSettings()
        super().__init__(self._settings.num_of_bins)

    def _choose(self) -> QParams:
        density = self._statistics.density()
        lows, highs = _ranges(density)

        def errors(chosen: NDArray[np.int64]) -> Float64Array:
            return _distance_to_centres(density, lows[chosen], highs[chosen])

        best = least(len(lows), errors)
        return numerics.range_qparams(float(lows[best]), float(highs[best]), symmetric=self._settings.symmetric)


def _ranges(density: Density) -> tuple[Float64Array, Float64Array]:
    """Lower and upper ends of the ranges to compare, from the whole one to the narrowest; float64 (n,)."""
    counts = density.counts.copy()
    home = int(np.clip(np.searchsorted(density.edges, 0.0, side="right") - 1, 0, len(counts) - 1))
    counts[home] += density.zeros
    below = [0, *np.cumsum(counts).tolist()]
    portion = max(-(-below[-1] // _PORTIONS), 1)
    left, right = 0, len(counts)
    path = [(left, right)]
    while right - 1 - left > -(-len(counts) // _NARROWEST):
        next_left = min(bisect_left(below, below[left] + portion), right - 1)
        next_right = max(bisect_right(below, below[right] - portion) - 1, next_left + 1)
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
