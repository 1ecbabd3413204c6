"""Entropy: the range of least Kullback-Leibler divergence (docs/en/reference.md, "Entropy").

The histogram inside a range, what lies outside added to its outermost bins, is compared with itself after all bins of
one quantization level have been made equal. Against the original (Migacz 2017):

- 256 levels, zero among them, instead of 128 of an absolute value; the threshold limits both ends of the range.
- Exact zeros are left out. Every candidate represents them without loss, and as more than half of the values behind a
  ReLU they would hide what happens to the others.
- A value that many activations share, the constant of a dead channel, is left out inside the range: spread over
  the bins of its level it would count as a great loss, when it is rounded like any other. Outside it counts as clipped.
- Neighbours differ by chance alone, which looks like a loss where bins are made equal, the more the fewer values there
  are. What chance adds to a divergence on average is taken off (Miller 1955, "Note on the bias of information
  estimates"), bins are merged until they hold enough values, and divergences are averaged over neighbouring
  thresholds, as it is chance too what the outermost bin holds. Very few values have no more bins than levels, and
  keep their whole range.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from amctq.quant import numerics
from amctq.quant.histogram import Density
from amctq.quant.numerics import QParams
from amctq.quant.observers.error import Candidates, Float64Array
from amctq.quant.observers.statistics import StatisticsObserver

_LEVELS = 256
# How many are compared, and over how many of them, an odd number, a divergence is averaged.
_THRESHOLDS, _AVERAGED = 128, 5
# Values that a bin must hold on average.
_FILLING = 256
# A bin that holds so many times the median of its neighbourhood is one shared value.
_SPIKE, _NEIGHBOURS = 4, 9


class EntropyObserver(StatisticsObserver):
    """Searches the threshold that clips both ends.

    Args:
        symmetric: zero point fixed at 0.
    """

    def __init__(self, *, symmetric: bool = False) -> None:
        super().__init__()
        self._symmetric = symmetric

    def _choose(self) -> QParams:
        density = _filled(self._statistics.density())
        low, high = min(self._statistics.low, 0.0), max(self._statistics.high, 0.0)
        thresholds = _thresholds(density, max(-low, high))
        lows, highs = np.maximum(low, -thresholds), np.minimum(high, thresholds)
        scales = Candidates.of_ranges(lows, highs, symmetric=self._symmetric).scale
        smooth = _without_spikes(density.counts)
        losses = [
            divergence(density, smooth, low=low, high=high, scale=scale)
            for low, high, scale in zip(lows, highs, scales, strict=True)
        ]
        averaged = np.convolve(np.pad(losses, _AVERAGED // 2, mode="edge"), np.ones(_AVERAGED), "valid")
        best = int(np.argmin(averaged))
        return numerics.range_qparams(float(lows[best]), float(highs[best]), symmetric=self._symmetric)


def divergence(density: Density, smooth: Float64Array, *, low: float, high: float, scale: float) -> float:
    """KL divergence of the values clipped to [low, high] from what is left of them with levels ``scale`` apart.

    Args:
        density: of all values.
        smooth: its counts without spikes, float64 (B,).
        low: lower end of the range.
        high: upper end.
        scale: between levels.
    """
    centres = (density.edges[:-1] + density.edges[1:]) / 2
    used = np.flatnonzero((smooth > 0) & (centres >= low) & (centres <= high))
    if not used.size:
        return float("inf")
    kept = smooth[used]
    clipped = kept.copy()
    clipped[0] += density.counts[centres < low].sum()
    clipped[-1] += density.counts[centres > high].sum()
    level = np.rint(centres[used] / scale).astype(np.int64)
    level -= level[0]
    spread = (np.bincount(level, kept) / np.maximum(np.bincount(level), 1))[level]
    p, q = clipped / clipped.sum(), spread / spread.sum()
    chance = (used.size - np.unique(level).size) / (2 * clipped.sum())
    return float(np.sum(p * np.log(p / q)) - chance)


def _thresholds(density: Density, reach: float) -> Float64Array:
    """From a range that has a bin for every level to ``reach``, which is the first of them."""
    bins = len(density.counts)
    narrowest = min(1.0, _LEVELS / bins)
    return reach * np.linspace(1.0, narrowest, _THRESHOLDS)


def _filled(density: Density) -> Density:
    """The same with so many bins made one that they hold enough values."""
    bins = len(density.counts)
    merged = -(-bins * _FILLING // max(int(density.counts.sum()), 1))
    starts = np.arange(0, bins, merged)
    return Density(
        edges=density.edges[np.append(starts, bins)],
        counts=np.add.reduceat(density.counts, starts),
        zeros=density.zeros,
    )


def _without_spikes(counts: NDArray[np.int64]) -> Float64Array:
    """Counts, float64 (B,), cut to what the neighbours make likely."""
    around = sliding_window_view(np.pad(counts, _NEIGHBOURS // 2, mode="edge"), _NEIGHBOURS)
    return np.minimum(counts, _SPIKE * np.median(around, axis=1) + _FILLING).astype(np.float64)
