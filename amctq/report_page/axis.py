"""Axes: where the ticks of a plot stand, and what is written at them."""

from __future__ import annotations

import math
from dataclasses import dataclass

_NARROWEST = 1e-9  # of the larger end: below it no ticks can be told apart
_SMALLEST = 1e-60


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A range of values on a range of pixels.

    Attributes:
        low: the lowest value.
        high: the highest value, above ``low``.
        start: where ``low`` stands.
        end: where ``high`` stands.
        log: the scale is logarithmic; ``low`` is above 0.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value stands; one outside the range at its end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int) -> list[tuple[float, str]]:
        """About so many round values, each with its text."""
        return self._powers(about) if self.log else self._round(about)

    def _round(self, about: int) -> list[tuple[float, str]]:
        rough = (self.high - self.low) / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999) * power
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = [index * step for index in range(first, last + 1)]
        return [(value, label(value, step)) for value in values]

    def _powers(self, about: int) -> list[tuple[float, str]]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        each = max(1, math.ceil((last - first + 1) / about))
        return [(10.0**power, _power(power)) for power in range(first, last + 1, each)]


def axis(low: float, high: float, start: float, end: float, *, log: bool = False) -> Axis:
    """An axis for values from ``low`` to ``high``, which is widened where all are the same."""
    if not high - low > _NARROWEST * max(abs(low), abs(high), _SMALLEST):
        room = max(abs(low), _SMALLEST) / 2 if low else 0.5
        low, high = (low / 2, low * 2) if log else (low - room, high + room)
    return Axis(low=low, high=high, start=start, end=end, log=log)


def padded(low: float, high: float, share: float = 0.05) -> tuple[float, float]:
    """The range with some room at both ends."""
    room = (high - low) * share
    return low - room, high + room


def label(value: float, step: float) -> str:
    """A tick's value with the digits that tell it from its neighbours."""
    if value == 0 or abs(value) < step * 1e-9:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude >= 6 or magnitude < -4:
        digits = max(0, magnitude - math.floor(math.log10(step)))
        return f"{value:.{digits}e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{digits}f}"


def _power(power: int) -> str:
    return f"{10**power:,}" if 0 <= power <= 3 else f"1e{power}"
