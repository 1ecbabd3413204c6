"""The statistics of one tensor: a histogram, the largest and smallest values, and all values where they are few.

They do not depend on the order of the images, and their memory does not grow with the number of images. Where a tensor
has very many values, the histogram counts every n-th value of an image, at the same places in every image. The extremes
and the tails are still taken from all values, so that no outlier is missed.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np

from amctq.quant.histogram import Density, StreamingHistogram
from amctq.quant.numerics import EPSILON, Float32Array, QParams
from amctq.quant.observers.base import Observer, finite_range
from amctq.quant.observers.error import Candidates, Float64Array, squared_error
from amctq.quant.observers.tails import UpperTail
from amctq.quant.observers.values import CountedValues, FewValues

_ROW = 1 << 15
# The histogram counts about this many values where more are expected.
_COUNTED = 1 << 22


class Statistics:
    """The statistics of one tensor.

    Args:
        bins: number of bins of the histogram.

    Attributes:
        low: the smallest value; infinity before the first.
        high: the largest value; minus infinity before the first.
        seen: number of observed values.
        expected: number of images in all batches together; set before the first batch, 0 to count every value.
    """

    def __init__(self, bins: int = 2048) -> None:
        self._histogram = StreamingHistogram(bins)
        self._upper, self._lower = UpperTail(), UpperTail()
        self._few = FewValues()
        self._counted = 0
        self.low, self.high = math.inf, -math.inf
        self.seen = self.expected = 0

    def update(self, batch: Float32Array) -> None:
        """Count one batch, float32 of shape (N, …).

        Raises:
            NonFiniteError: the batch holds NaN or infinity.
        """
        values = batch.reshape(-1)
        step = _step(values.size // max(len(batch), 1), self.expected)
        smallest, largest = math.inf, -math.inf
        whole = len(values) // _ROW * _ROW
        for part in (values[:whole].reshape(-1, _ROW), values[whole:].reshape(1, -1)):
            if part.size:
                lows, highs = part.min(axis=1), part.max(axis=1)
                low, high = finite_range(lows.min(), highs.max())
                if step == 1:  # the part is in the cache of the core now
                    self._histogram.update(part.reshape(-1), low, high)
                self._upper.update(part, highs)
                if low < 0:
                    negative = lows < 0
                    self._lower.update(-part[negative], -lows[negative])
                smallest, largest = min(smallest, low), max(largest, high)
        self.low, self.high = min(self.low, smallest), max(self.high, largest)
        self.seen += len(values)
        if step > 1:
            some = np.ascontiguousarray(batch.reshape(len(batch), -1)[:, ::step])
            self._histogram.update(some.reshape(-1), smallest, largest)
            self._counted += some.size
        else:
            self._counted += len(values)
        self._few.update(values)

    def density(self) -> Density:
        """The histogram, as if every value had been counted."""
        density = self._histogram.density()
        if self._counted == self.seen:
            return density
        counts = np.rint(density.counts * (self.seen / self._counted)).astype(np.int64)
        for tail, edges, view in (
            (self._upper, density.edges, counts),
            (self._lower, -density.edges[::-1], counts[::-1]),
        ):
            known = edges[:-1] > tail.floor  # these bins hold only values that the tail keeps
            if known.any():
                view[known] = np.histogram(tail.values, np.append(edges[:-1][known], np.inf))[0]
        zeros = round(density.zeros * (self.seen / self._counted))
        return Density(edges=density.edges, counts=counts, zeros=zeros)

    def squared_error(self, candidates: Candidates) -> Float64Array:
        """Sum of squared quantization errors of all values, for each candidate; float64 (n,)."""
        few = self.few
        return squared_error(self.density(), candidates) if few is None else few.squared_error(candidates)

    @property
    def few(self) -> CountedValues | None:
        """All values other than zero, where they are few; a histogram of so few is not smooth."""
        return self._few.counted

    def kth_largest(self, k: int) -> float:
        """The k-th largest value, at least 0. Exact for small ``k`` (AMCT's percentiles), else from the histogram."""
        exact = self._upper.kth_largest(k)
        return self.density().kth_largest(k) if exact is None else exact

    def kth_smallest(self, k: int) -> float:
        """The k-th smallest value, at most 0; as ``kth_largest``."""
        exact = self._lower.kth_largest(k)
        return -(self.density().mirrored().kth_largest(k) if exact is None else exact)

    def rank(self, percentile: float) -> int:
        """AMCT's k for a percentile: the share ``percentile`` of all values does not exceed the k-th largest value."""
        return 1 if 1 - percentile < EPSILON else max(1, self.seen - int(percentile * self.seen))


def _step(size: int, images: int) -> int:
    """The n of "every n-th value is counted": coprime to the values of an image, so that all channels are hit."""
    return next(step for step in range(max(1, size * images // _COUNTED), 0, -1) if math.gcd(step, size) == 1)


class StatisticsObserver(Observer):
    """An observer that searches a range by ``Statistics``.

    Args:
        bins: number of bins of the histogram.
        symmetric: offset fixed at 0.
    """

    def __init__(self, bins: int = 2048, *, symmetric: bool = False) -> None:
        self._statistics = Statistics(bins)
        self._symmetric = symmetric

    def expect(self, images: int) -> None:
        """Count only every n-th value where the images have very many."""
        self._statistics.expected = images

    def update(self, batch: Float32Array) -> None:
        """Count one batch."""
        self._statistics.update(batch)

    def density(self) -> Density:
        """The histogram, as if every value had been counted."""
        return self._statistics.density()

    def qparams(self, *, smallest: float = EPSILON) -> QParams:
        """Scale and offset for all observed values."""
        if not self._statistics.seen:
            message = "no activations were observed"
            raise ValueError(message)
        return self._choose(smallest)

    @abstractmethod
    def _choose(self, smallest: float) -> QParams:
        """Scale and offset; at least one value was observed."""
