"""HFMG, AMCT's search over a histogram that is cut at both ends (docs/en/reference.md, "HFMG").

Step by step, a small portion of the values is cut off at the end where this shortens the range more, down to a quarter
of the range. Each of these ranges is divided into 256 bins, and the sum of squared distances of all values to the
centres of their bins is compared. AMCT's own search charges exact zeros with an error, although the chosen range
represents them exactly: behind a ReLU, where most values are zeros, it cuts off too much. So by default exact zeros
have no error; and the whole range is compared too, and all ranges contain zero, to which they are widened at the end
anyway.

AMCT fits a new histogram to every batch and distributes the old counts over it; here one histogram grows, so the
batches do not matter. With one batch AMCT has the same.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from amctq.choices import HfmgVariant
from amctq.quant import numerics
from amctq.quant.histogram import Density
from amctq.quant.numerics import QParams
from amctq.quant.observers.error import Candidates, Float64Array, best_range, squared_error
from amctq.quant.observers.statistics import Statistics, StatisticsObserver

_LEVELS = 256
# A portion is 1/100,000 of the values (AMCT's STEP_DIVISOR), the narrowest range 1/4 of the bins (MIN_BIN_RATIO).
_PORTIONS = 100_000
_NARROWEST = 4
# AMCT's bins lie between the extremes. Where values are too many to be kept, they are shared out from bins this much
# narrower.
_FINER = 16


@dataclass(frozen=True, kw_only=True)
class HfmgSettings:
    """AMCT's parameters of HFMG.

    Attributes:
        num_of_bins: number of bins of the histogram: 1024, 2048, 4096 or 8192.
        symmetric: offset fixed at 0.
        variant: with exact zeros free of cost, or AMCT's own search.
    """

    num_of_bins: int = 4096
    symmetric: bool = False
    variant: HfmgVariant = HfmgVariant.FREE_ZEROS


class HfmgObserver(StatisticsObserver):
    """Searches the ranges that are left after values are cut off at the ends."""

    def __init__(self, settings: HfmgSettings | None = None) -> None:
        self._settings = settings or HfmgSettings()
        finer = _FINER if self._settings.variant is HfmgVariant.AMCT else 1
        super().__init__(self._settings.num_of_bins * finer, symmetric=self._settings.symmetric)

    def _choose(self, smallest: float) -> QParams:
        if self._settings.variant is HfmgVariant.AMCT:
            low, high = _amcts_range(self._statistics, self._settings.num_of_bins)
        else:
            density = self._statistics.density()
            low, high = best_range(*_ranges(density), partial(_distance_to_centres, density))
        return numerics.range_qparams(low, high, symmetric=self._symmetric, smallest=smallest)


def _ranges(density: Density) -> tuple[Float64Array, Float64Array]:
    """Lower and upper ends of the compared ranges, from the widest to the narrowest; both float64 (n,)."""
    counts = density.counts.copy()
    zero_bin = int(np.clip(np.searchsorted(density.edges, 0.0, side="right") - 1, 0, len(counts) - 1))
    counts[zero_bin] += density.zeros
    lefts, rights = np.concatenate([[[0], [len(counts)]], _cuts(counts)], axis=1)
    return np.minimum(density.edges[lefts], 0.0), np.maximum(density.edges[rights], 0.0)


def _cuts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bins that are left after each step: the first of them and the one behind the last, int64 (2, steps)."""
    cumulative = [0, *np.cumsum(counts).tolist()]
    portion = max(-(-cumulative[-1] // _PORTIONS), 1)
    left, right = 0, len(counts)
    path = []
    while right - 1 - left > -(-len(counts) // _NARROWEST):
        next_left = min(bisect_left(cumulative, cumulative[left] + portion), right - 1)
        next_right = max(bisect_right(cumulative, cumulative[right] - portion) - 1, next_left + 1)
        if right - next_right >= next_left - left:
            right = next_right
        else:
            left = next_left
        path.append((left, right))
    return np.asarray(path, np.int64).reshape(-1, 2).T


def _distance_to_centres(density: Density, lows: Float64Array, highs: Float64Array) -> Float64Array:
    """Sum of squared distances to the centres of 256 bins in [low, high], for each range."""
    width: Float64Array = np.maximum((highs - lows) / _LEVELS, np.finfo(np.float64).tiny ** 0.25)
    first, last = np.zeros_like(width), (_LEVELS - 1) * width
    centres = Candidates(scale=width, low=first, high=last, lowest=first, highest=last, origin=lows + width / 2)
    return squared_error(density, centres)


def _amcts_range(statistics: Statistics, bins: int) -> tuple[float, float]:
    """The range that AMCT's search finds: the first of least distance among all that cut something off."""
    bottom, top = statistics.low, statistics.high
    if bottom == top:
        return bottom, top
    counts = _counts_between_extremes(statistics, bins)
    lefts, rights = _cuts(counts)
    best = int(np.argmin(_distances(counts, lefts, rights)))
    width = (top - bottom) / bins
    return bottom + float(lefts[best]) * width, bottom + float(rights[best]) * width


def _counts_between_extremes(statistics: Statistics, bins: int) -> NDArray[np.int64]:
    """How many values, exact zeros among them, lie in each of equal bins between the extremes, int64 (bins,)."""
    ends, few, density = (statistics.low, statistics.high), statistics.few, statistics.density()
    if few is not None:
        counts = np.histogram(few.values, bins, ends, weights=few.counts)[0]
    else:
        edges = np.linspace(*ends, bins + 1)
        counts = np.diff(np.interp(edges, density.edges, np.concatenate([[0], np.cumsum(density.counts)])))
    if density.zeros:
        counts = counts + density.zeros * np.histogram(np.zeros(1), bins, ends)[0]
    whole: NDArray[np.int64] = np.rint(counts).astype(np.int64)
    return whole


def _distances(counts: NDArray[np.int64], lefts: NDArray[np.int64], rights: NDArray[np.int64]) -> Float64Array:
    """Sum of squared distances to the centres of 256 bins in [left, right], for each range, in widths of a bin.

    Values are uniform inside a bin, and those outside a range belong to its outer bins. So their number, their sum and
    the sum of their squares below each border are enough; all three are polynomials inside a bin.
    """
    edges = np.arange(len(counts) + 1.0)
    parts = np.stack([counts * np.diff(edges**power) / power for power in (1, 2, 3)])
    below = np.concatenate([np.zeros((3, 1)), np.cumsum(parts, axis=1)], axis=1)
    width = ((rights - lefts) / _LEVELS)[:, None]
    borders = lefts[:, None] + np.arange(1, _LEVELS) * width
    bin_of = borders.astype(np.int64)
    shape = (len(lefts), 1)
    moments = []
    for power, total in zip((1, 2, 3), below, strict=True):
        inside = counts[bin_of] * (borders**power - edges[bin_of] ** power) / power
        ends = np.zeros(shape), np.full(shape, total[-1])
        moments.append(np.diff(np.concatenate([ends[0], total[bin_of] + inside, ends[1]], axis=1), axis=1))
    centres = lefts[:, None] + (np.arange(_LEVELS) + 0.5) * width
    number, total, squares = moments
    distances: Float64Array = (squares - 2 * centres * total + centres**2 * number).sum(axis=1)
    return distances
