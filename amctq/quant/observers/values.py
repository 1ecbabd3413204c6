"""The values of a stream themselves, as long as they are few: few at all, or few different ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.quant.numerics import Float32Array
from amctq.quant.observers.error import Candidates, Float64Array, squared_error_of_values

# 2 MiB a tensor: the largest tensor of a CIFAR network and 32 images.
_FEW = 1 << 19
# More different ones are no levels. An image of three channels has 768.
_FEW_DIFFERENT = 1 << 16
# Values looked at at a time.
_SAMPLE = 1 << 17
# Up to this many, every difference is computed, so that an error of 0 is 0. Beyond it running sums are faster.
_ONE_BY_ONE = 1 << 12


@dataclass(frozen=True, eq=False)
class CountedValues:
    """Different values, float32 (n,), ascending, and how often each was seen, int64 (n,)."""

    values: Float32Array
    counts: NDArray[np.int64]

    def squared_error(self, candidates: Candidates) -> Float64Array:
        """Sum of squared quantization errors, for each candidate; float64 (n,)."""
        values = self.values.astype(np.float64)
        if len(values) <= _ONE_BY_ONE:
            return squared_error_of_values(values, candidates, self.counts)
        # All values between two rounding points go to one level, so their number, sum and sum of squares are enough.
        powers = (self.counts.astype(np.float64), self.counts * values, self.counts * values**2)
        totals = np.stack([np.concatenate([[0.0], np.cumsum(power)]) for power in powers])
        errors = np.empty(len(candidates.scale))
        origins = np.broadcast_to(candidates.origin, candidates.scale.shape)
        first = np.rint(candidates.low / candidates.scale)
        last = np.rint(candidates.high / candidates.scale)
        for index, (scale, origin) in enumerate(zip(candidates.scale, origins, strict=True)):
            levels = np.arange(first[index], last[index] + 1) * scale + origin
            borders = np.searchsorted(values, (levels[1:] + levels[:-1]) / 2)
            count, total, squares = np.diff(totals[:, np.concatenate([[0], borders, [len(values)]])])
            errors[index] = np.sum(squares - 2 * levels * total + levels**2 * count)
        return np.maximum(errors, 0.0)


class FewValues:
    """Keeps the values of a stream other than zero, until they are too many.

    Whether they are does not depend on batches and their order.
    """

    def __init__(self) -> None:
        self._counted: CountedValues | None = CountedValues(np.empty(0, np.float32), np.empty(0, np.int64))
        self._pending: list[Float32Array] = []
        self._waiting = 0

    def update(self, values: Float32Array) -> None:
        """Add values of shape (N,)."""
        for start in range(0, len(values), _SAMPLE):
            if self._counted is None:
                return
            part = values[start : start + _SAMPLE]
            part = part[part != 0]
            self._pending.append(part)
            self._waiting += len(part)
            if self._waiting > _FEW:
                self._count()

    @property
    def counted(self) -> CountedValues | None:
        """The values; None if they were too many."""
        if self._pending and self._counted is not None:
            self._count()
        return self._counted

    def _count(self) -> None:
        """Count what waits."""
        assert self._counted is not None
        seen = int(self._counted.counts.sum()) + self._waiting
        waiting, self._pending, self._waiting = np.concatenate(self._pending), [], 0
        if seen > _FEW and _differ(waiting):
            self._counted = None
            return
        values, counts = np.unique(waiting, return_counts=True)
        merged, places = np.unique(np.concatenate([self._counted.values, values]), return_inverse=True)
        number = np.bincount(places, np.concatenate([self._counted.counts, counts]), len(merged)).astype(np.int64)
        few = seen <= _FEW or len(merged) <= _FEW_DIFFERENT
        self._counted = CountedValues(merged, number) if few else None


def _differ(values: Float32Array) -> bool:
    """Whether it is quickly seen that more than ``_FEW_DIFFERENT`` of these values, which are not zero, differ."""
    # Equal values have equal hashes (Knuth's multiplicative one), so that there are no fewer values than hashes.
    # To sort the values takes ten times as long.
    hashes = values.view(np.uint32) * np.uint32(2_654_435_761) >> np.uint32(12)
    found = np.zeros(1 << 20, np.bool_)
    found[hashes] = True
    return np.count_nonzero(found) > _FEW_DIFFERENT
