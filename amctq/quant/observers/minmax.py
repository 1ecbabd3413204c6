"""Min-max: the whole observed range, outliers included."""

from __future__ import annotations

import math

from amctq.quant import numerics
from amctq.quant.numerics import EPSILON, Float32Array, QParams
from amctq.quant.observers.base import Observer, finite_range


class MinMaxObserver(Observer):
    """Keeps the smallest and the largest value.

    Args:
        symmetric: zero point fixed at 0 (AMCT's ``activation_offset: false``).
    """

    def __init__(self, *, symmetric: bool = False) -> None:
        self._symmetric = symmetric
        self._low = math.inf
        self._high = -math.inf

    def update(self, batch: Float32Array) -> None:
        """Widen the range by one batch."""
        low, high = finite_range(batch.min(), batch.max())
        self._low = min(self._low, low)
        self._high = max(self._high, high)

    def qparams(self, *, smallest: float = EPSILON) -> QParams:
        """Scale and offset for the observed range (docs/en/reference.md, "Range to scale and offset")."""
        if self._low > self._high:
            message = "no activations were observed"
            raise ValueError(message)
        return numerics.range_qparams(self._low, self._high, symmetric=self._symmetric, smallest=smallest)
