"""Exact order statistics at the ends of a stream of values."""

from __future__ import annotations

import numpy as np

from amctq.quant.numerics import Float32Array

# Enough for AMCT's percentile 0.999999 with up to 2,000,000,000 values in a tensor.
CAPACITY = 2048


class UpperTail:
    """The largest positive values of a stream, at most ``CAPACITY`` of them.

    Attributes:
        values: the kept values, float32, in no order.
        floor: every value above it is kept.
    """

    def __init__(self) -> None:
        self.values: Float32Array = np.empty(0, np.float32)
        self.floor = 0.0

    def update(self, rows: Float32Array, highest: Float32Array) -> None:
        """Add a batch.

        Args:
            rows: the values, (R, n).
            highest: the largest value of each row, (R,); most rows can be skipped by it.
        """
        for index in np.argsort(-highest):  # the highest row first: it raises the floor for all others
            if highest[index] <= self.floor:
                return
            row = rows[index]
            self.values = np.concatenate([self.values, row[row > self.floor]])
            if len(self.values) > CAPACITY:
                self.values = np.partition(self.values, -CAPACITY)[-CAPACITY:]
                self.floor = float(self.values.min())

    def kth_largest(self, k: int) -> float | None:
        """The k-th largest value; 0 where fewer than k are positive, None where ``k`` exceeds ``CAPACITY``."""
        if len(self.values) >= k:
            return float(np.partition(self.values, -k)[-k])
        return 0.0 if len(self.values) < CAPACITY else None
