"""Exact order statistics at the ends of a stream of values."""

from __future__ import annotations

import numpy as np

from amctq.quant.numerics import Float32Array

# Enough for AMCT's percentile 0.999999 with up to 2,000,000,000 values in a tensor.
CAPACITY = 2048
# Where so many are kept, the smallest are dropped; to do so for each row would take longer than to look at it.
_WAITING = 4 * CAPACITY


class UpperTail:
    """The largest positive values of a stream, at most ``CAPACITY`` of them."""

    def __init__(self) -> None:
        self._kept: list[Float32Array] = []
        self._count = 0
        self._floor = 0.0

    @property
    def values(self) -> Float32Array:
        """The kept values, float32, in no order."""
        self._drop_small()
        return self._kept[0] if self._kept else np.empty(0, np.float32)

    @property
    def floor(self) -> float:
        """Every value above it is kept."""
        self._drop_small()
        return self._floor

    def update(self, rows: Float32Array, highest: Float32Array) -> None:
        """Add a batch.

        Args:
            rows: the values, (R, n).
            highest: the largest value of each row, (R,); most rows can be skipped by it.
        """
        for index in np.argsort(-highest):  # the highest row first: it raises the floor for all others
            if highest[index] <= self._floor:
                return
            row = rows[index]
            self._kept.append(row[row > self._floor])
            self._count += len(self._kept[-1])
            if self._count > _WAITING:
                self._drop_small()

    def kth_largest(self, k: int) -> float | None:
        """The k-th largest value; 0 where fewer than k are positive, None where ``k`` exceeds ``CAPACITY``."""
        values = self.values
        if len(values) >= k:
            return float(np.partition(values, -k)[-k])
        return 0.0 if len(values) < CAPACITY else None

    def _drop_small(self) -> None:
        """Keep the largest alone, in one array."""
        if len(self._kept) > 1 or self._count > CAPACITY:
            values = np.concatenate(self._kept)
            if len(values) > CAPACITY:
                values = np.partition(values, -CAPACITY)[-CAPACITY:]
                self._floor = float(values.min())
            self._kept, self._count = [values], len(values)
