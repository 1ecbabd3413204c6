"""The ranges of channels, and what is special among them: outliers and channels without a signal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.quant.numerics import Float32Array


@dataclass(eq=False)
class ChannelRanges:
    """The lowest and the highest value of each channel, float32 (C,); None before the first batch."""

    low: Float32Array | None = None
    high: Float32Array | None = None

    def lower(self, low: Float32Array) -> None:
        """See the lowest values of a batch."""
        self.low = low if self.low is None else np.minimum(self.low, low)

    def raise_to(self, high: Float32Array) -> None:
        """See the highest values of a batch."""
        self.high = high if self.high is None else np.maximum(self.high, high)

    @property
    def range(self) -> tuple[float, float]:
        """Over all channels."""
        assert self.low is not None
        assert self.high is not None
        return float(self.low.min()), float(self.high.max())

    @property
    def outlier_ratio(self) -> float | None:
        """The largest channel against the median of those with a signal: 1 where all are alike; None without any."""
        peaks = self._peaks
        live = peaks[peaks > 0]
        return float(live.max() / np.median(live)) if live.size else None

    @property
    def dead(self) -> int:
        """Number of channels whose values are all 0."""
        return int(np.count_nonzero(self._peaks == 0))

    @property
    def _peaks(self) -> NDArray[np.float64]:
        assert self.low is not None
        assert self.high is not None
        return np.maximum(np.abs(self.low), np.abs(self.high)).astype(np.float64)


def ranges_of(weight: Float32Array) -> ChannelRanges:
    """The ranges of a weight (C_out, …)."""
    rows = weight.reshape(len(weight), -1)
    return ChannelRanges(low=rows.min(axis=1), high=rows.max(axis=1))
