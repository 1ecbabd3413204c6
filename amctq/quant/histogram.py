"""A histogram whose range grows with the values, and whose counts do not depend on their order.

Bins start at integer multiples of their width, which is a power of two. When a value lies outside the bins, the width
doubles and neighbouring bins are merged. This gives exactly the counts that the wider bins would have had from the
start: scaling by a power of two is exact in floating point, and floor(x / 2w) = floor(floor(x / w) / 2). So batches
and their order do not matter. At least half of the bins are in use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.quant.numerics import Float32Array

# Elements in one pass: a chunk and its indices fit into the cache of a core.
_CHUNK = 1 << 15
# The reciprocal of a width must be a float32. Values that need a smaller width are zero for any quantization.
_NARROWEST = 2.0**-120
# Above this width, the smallest normal float32 divided by the width may be 0.
_UNDERFLOWING = 2.0**20


@dataclass(frozen=True, kw_only=True, eq=False)
class Density:
    """The content of a histogram: the count of each bin, and the count of exact zeros.

    Attributes:
        edges: float64 (B + 1,), ascending; the first is the smallest value seen, the last the largest.
        counts: int64 (B,), the values in each bin, without exact zeros.
        zeros: how many values were exactly 0.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    zeros: int

    @property
    def total(self) -> int:
        """How many values were counted, zeros included."""
        return int(self.counts.sum()) + self.zeros

    def mirrored(self) -> Density:
        """The density of the negated values."""
        return Density(edges=-self.edges[::-1], counts=self.counts[::-1], zeros=self.zeros)

    def kth_largest(self, k: int) -> float:
        """The k-th largest value, interpolated inside its bin; 0 where fewer than k values are positive."""
        positive = self.edges[1:] > 0
        above = np.concatenate([np.cumsum(self.counts[positive][::-1]), [0]])
        edges = np.maximum(self.edges[1:][positive][::-1], 0.0)
        bottom = max(float(self.edges[:-1][positive].min(initial=np.inf)), 0.0)
        if not positive.any() or above[-2] < k:
            return 0.0
        return float(np.interp(k, [0, *above[:-1]], [*edges, bottom]))


class StreamingHistogram:
    """Counts float32 values.

    Args:
        bins: number of bins.

    Attributes:
        low: the smallest value so far; infinity before the first.
        high: the largest value so far; minus infinity before the first.
        zeros: how many values were exactly 0.
    """

    def __init__(self, bins: int = 1024) -> None:
        self._bins = bins
        self._width = 0.0  # a power of two; 0 while all values were 0
        self._first = 0  # the first bin is [_first × _width, (_first + 1) × _width)
        self._counts: NDArray[np.int64] = np.zeros(bins, np.int64)
        self.zeros = 0
        self.low = math.inf
        self.high = -math.inf

    def update(self, values: Float32Array, low: float, high: float) -> None:
        """Count finite ``values`` of shape (N,), whose smallest is ``low`` and whose largest is ``high``."""
        self._fit(min(low, self.low), max(high, self.high))
        zeros = len(values) - int(np.count_nonzero(values != 0))  # six times faster than count_nonzero(values)
        self.zeros += zeros
        if zeros == len(values):
            return
        inverse = np.float32(1.0 / self._width)
        scaled, index = np.empty(_CHUNK, np.float32), np.empty(_CHUNK, np.intp)
        for start in range(0, len(values), _CHUNK):
            chunk = values[start : start + _CHUNK]
            size = len(chunk)
            np.multiply(chunk, inverse, out=scaled[:size])
            if low < 0:  # the assignment below truncates, which is wrong for negative values only
                np.floor(scaled[:size], out=scaled[:size])
                if self._width > _UNDERFLOWING:  # the quotient of a tiny negative value is -0
                    scaled[:size][(scaled[:size] == 0) & (chunk < 0)] = -1
            index[:size] = scaled[:size]
            if self._first:
                index[:size] -= self._first
            self._counts += np.bincount(index[:size], minlength=self._bins)
        self._counts[-self._first] -= zeros

    def density(self) -> Density:
        """The density of all counted values."""
        edges = (self._first + np.arange(self._bins + 1)) * self._width
        used = np.flatnonzero(self._counts)
        if not used.size:
            return Density(edges=np.zeros(2), counts=np.zeros(1, np.int64), zeros=self.zeros)
        # The extremes may come from values that were not counted.
        ends = [math.floor(end / self._width) - self._first for end in (self.low, self.high) if end != 0]
        used = np.union1d(used, ends)
        span = slice(int(used[0]), int(used[-1]) + 1)
        # No value lies beyond the extremes, so the outer bins end there.
        inside = np.clip(edges[span.start : span.stop + 1], self.low, self.high)
        return Density(edges=inside, counts=self._counts[span].copy(), zeros=self.zeros)

    def _fit(self, low: float, high: float) -> None:
        """Widen the bins until they cover [low, high] and 0, with the smallest possible width."""
        self.low, self.high = low, high
        low, high = min(low, 0.0), max(high, 0.0)
        if low == high:
            return
        width = self._width or max(2.0 ** (math.floor(math.log2((high - low) / self._bins)) - 1), _NARROWEST)
        while math.floor(high / width) - math.floor(low / width) + 1 > self._bins:
            width *= 2.0
        first = math.floor(low / width)
        if self._width and (width, first) != (self._width, self._first):
            doublings = round(math.log2(width / self._width))
            merged = ((self._first + np.arange(self._bins)) >> min(doublings, 62)) - first
            used = self._counts > 0
            counts = np.zeros(self._bins, np.int64)
            np.add.at(counts, merged[used], self._counts[used])
            self._counts = counts
        self._width, self._first = width, first
