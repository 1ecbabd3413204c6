"""Entropy: the range of least Kullback-Leibler divergence (docs/en/reference.md, "Entropy").

The histogram is clipped to a range: the values outside are added to its outermost bins. It is compared with a copy in
which all bins of one quantization level have the same count. Differences from the original (Migacz 2017):

- There are 256 levels with zero among them, not 128 levels of the absolute value. The threshold limits both ends.
- Exact zeros are left out. Every range represents them exactly. After a ReLU they are more than half of the values, and
  would hide the effect on the others.
- A very frequent value, such as the constant of a dead channel, is left out inside the range. Spread over the bins of
  its level, it would count as a large loss, although it is rounded like any other value. Outside of the range it counts
  as clipped.
- Neighbouring bins differ by chance too. Where bins are made equal, this looks like a loss, and the fewer the values,
  the larger it is. So the expected effect of chance is subtracted from a divergence (Miller 1955, "Note on the bias of
  information estimates"), bins are merged until they hold enough values, and divergences are averaged over neighbouring
  thresholds. A tensor with very few values has no more bins than levels, and keeps its whole range.
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
# Number of compared thresholds, and over how many neighbours (an odd number) a divergence is averaged.
_THRESHOLDS, _AVERAGED = 128, 5
# Values that a bin holds on average, at least.
_FILLING = 256
# A bin with more than 4 times the median count of its 9 neighbours holds one very frequent value.
_SPIKE, _NEIGHBOURS = 4, 9


class EntropyObserver(StatisticsObserver):
    """Searches the threshold that clips both ends."""

    def _choose(self, smallest: float) -> QParams:
        density = _merged(self._statistics.density())
        low, high = min(self._statistics.low, 0.0), max(self._statistics.high, 0.0)
        # Down to a range that has one bin for every level.
        shares = np.linspace(1.0, min(1.0, _LEVELS / len(density.counts)), _THRESHOLDS)
        thresholds = max(-low, high) * shares
        lows, highs = np.maximum(low, -thresholds), np.minimum(high, thresholds)
        scales = Candidates.of_ranges(lows, highs, symmetric=self._symmetric, smallest=smallest).scale
        smooth = _without_spikes(density.counts)
        losses = [
            divergence(density, smooth, low=low, high=high, scale=scale)
            for low, high, scale in zip(lows, highs, scales, strict=True)
        ]
        averaged = np.convolve(np.pad(losses, _AVERAGED // 2, mode="edge"), np.ones(_AVERAGED), "valid")
        best = int(np.argmin(averaged))
        low, high = float(lows[best]), float(highs[best])
        return numerics.range_qparams(low, high, symmetric=self._symmetric, smallest=smallest)


def divergence(density: Density, smooth: Float64Array, *, low: float, high: float, scale: float) -> float:
    """KL divergence between the values clipped to [low, high] and the same values with equal counts in each level.

    Args:
        density: all values.
        smooth: its counts without spikes, float64 (B,).
        low: lower end of the range.
        high: upper end of the range.
        scale: distance between two levels.
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


def _merged(density: Density) -> Density:
    """The density with bins merged until they hold enough values."""
    bins = len(density.counts)
    merged = -(-bins * _FILLING // max(int(density.counts.sum()), 1))
    starts = np.arange(0, bins, merged)
    return Density(
        edges=density.edges[np.append(starts, bins)],
        counts=np.add.reduceat(density.counts, starts),
        zeros=density.zeros,
    )


def _without_spikes(counts: NDArray[np.int64]) -> Float64Array:
    """The counts, limited by the median of their neighbours; float64 (B,)."""
    around = sliding_window_view(np.pad(counts, _NEIGHBOURS // 2, mode="edge"), _NEIGHBOURS)
    return np.minimum(counts, _SPIKE * np.median(around, axis=1) + _FILLING).astype(np.float64)
