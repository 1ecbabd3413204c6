"""Exact order statistics at the ends of a stream: the k-th largest and the k-th smallest value."""

from __future__ import annotations

import numpy as np

from amctq.quant.numerics import Float32Array

# Enough for AMCT's percentile 0.999999 up to two thousand million values of one tensor.
CAPACITY = 2048


class UpperTail:
    """The largest positive values of a stream, at most ``CAPACITY``.

    Whatever the k-th largest of all values is, it was among the k largest of its own batch, so nothing else is kept.
    """

    def __init__(self) -> None:
        self._values: Float32Array = np.empty(0, np.float32)
        self._floor = np.float32(0.0)  # values up to here are of no interest any more

    def update(self, rows: Float32Array, highest: Float32Array) -> None:
        """Take in a batch.

        Args:
            rows: the values, (R, n).
            highest: the largest of each row, (R,), which spares a look at most rows.
        """
        for index in np.argsort(-highest):  # the highest row first: it raises the floor for all others
            if highest[index] <= self._floor:
                return
            row = rows[index]
            self._values = np.concatenate([self._values, row[row > self._floor]])
            if len(self._values) > CAPACITY:
                self._values = np.partition(self._values, -CAPACITY)[-CAPACITY:]
                self._floor = self._values.min()

    @property
    def values(self) -> Float32Array:
        """What is kept."""
        return self._values

    @property
    def floor(self) -> float:
        """Every value above is kept."""
        return float(self._floor)

    def kth_largest(self, k: int) -> float | None:
        """The k-th largest value, 0 where fewer than k are positive, None where that many are not kept."""
        if len(self._values) >= k:
            return float(np.partition(self._values, -k)[-k])
        return 0.0 if len(self._values) < CAPACITY else None
