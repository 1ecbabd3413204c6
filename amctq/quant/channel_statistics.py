"""What equalization knows of the channels of a tensor of activations."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from amctq.quant.numerics import Float32Array

Channels = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelStatistics:
    """Of each channel, over images and positions; float64 of shape (C,).

    Attributes:
        low: the lowest value.
        high: the highest value.
        power: E[x²].
        active: the share of values that are not 0, as a ReLU leaves them.
    """

    low: Channels
    high: Channels
    power: Channels
    active: Channels

    @property
    def peak(self) -> Channels:
        """The largest absolute value."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def finite(self) -> bool:
        """Whether all values and their squares are."""
        return bool(np.isfinite([self.low, self.high, self.power]).all())

    def divided(self, scale: Channels) -> ChannelStatistics:
        """The same of x / ``scale``."""
        return replace(self, low=self.low / scale, high=self.high / scale, power=self.power / np.square(scale))


class ChannelWatcher:
    """Gathers the statistics of a tensor.

    Args:
        axis: where the channels are: 1 for what convolutions read, -1 for what products with a matrix read.
    """

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self._parts: list[tuple[Channels, ...]] = []
        self._count = 0

    def expect(self, images: int) -> None:
        """Nothing depends on how many images there will be."""

    def update(self, values: Float32Array) -> None:
        """See a batch."""
        rows = np.moveaxis(values, self._axis, 1).reshape(len(values), values.shape[self._axis], -1)
        squares = np.einsum("nci,nci->nc", rows, rows).sum(axis=0, dtype=np.float64)
        active = np.count_nonzero(rows, axis=(0, 2)).astype(np.float64)
        low, high = (edge.astype(np.float64) for edge in (rows.min(axis=(0, 2)), rows.max(axis=(0, 2))))
        self._parts.append((low, high, squares, active))
        self._count += len(rows) * rows.shape[2]

    def finish(self) -> ChannelStatistics:
        """The statistics of all that was seen."""
        low, high, squares, active = (np.stack(part) for part in zip(*self._parts, strict=True))
        return ChannelStatistics(
            low=low.min(axis=0),
            high=high.max(axis=0),
            power=squares.sum(axis=0) / self._count,
            active=active.sum(axis=0) / self._count,
        )
