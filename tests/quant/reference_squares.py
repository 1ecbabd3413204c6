"""Sums of squares over every single value, exact and quick enough for thousands of quantizers: for comparison.

Between two boundaries all values go to one level, so the sum of (x - level)² needs no more than how many they are,
their sum and the sum of their squares: three running totals over the sorted values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Squares:
    """Of values, one-dimensional."""

    values: Values

    @cached_property
    def ordered(self) -> Values:
        return np.sort(self.values)

    @cached_property
    def totals(self) -> Values:
        powers = [np.ones_like(self.ordered), self.ordered, self.ordered**2]
        return np.stack([np.concatenate([[0.0], np.cumsum(power)]) for power in powers])

    def to_levels(self, levels: Values) -> float:
        """Sum of squared distances to the nearest of ``levels``, ascending."""
        borders = np.searchsorted(self.ordered, (levels[1:] + levels[:-1]) / 2)
        count, total, squares = np.diff(self.totals[:, np.concatenate([[0], borders, [len(self.ordered)]])])
        return float(np.sum(squares - 2 * levels * total + levels**2 * count))

    def of_quantizer(self, scale: float, offset: int) -> float:
        """Sum of squared errors with 256 integer levels, zero among them."""
        return self.to_levels((np.arange(-128, 128) - offset) * scale)


def quantizer(low: float, high: float, *, symmetric: bool) -> tuple[float, int]:
    """Scale and offset of a range (docs/en/reference.md, "Range to scale and offset")."""
    if symmetric:
        return (high / 127 if high >= -low else -low / 128), 0
    scale = (high - low) / 255
    return scale, round(-128 - low / scale)


def least_error(squares: Squares, *, symmetric: bool, grid: int) -> float:
    """The least sum of squared errors of all ranges, from the whole one in ``grid`` equal steps to nothing."""
    low, high = min(float(squares.ordered[0]), 0.0), max(float(squares.ordered[-1]), 0.0)
    shares = np.arange(1, grid + 1) / grid
    one_sided = symmetric or low == 0 or high == 0
    pairs = [(s, s) for s in shares] if one_sided else [(s, t) for s in shares for t in shares]
    return min(squares.of_quantizer(*quantizer(low * s, high * t, symmetric=symmetric)) for s, t in pairs)
