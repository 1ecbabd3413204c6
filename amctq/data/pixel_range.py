"""Means and deviations are for pixels in 0…1; other programs have them for 0…255, which would darken every image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Three: TypeAlias = tuple[float, float, float]
# No honest preprocessing is outside: a network of pixels in 0…255 has the deviation 1/255, one of -1…1 the mean 0.5.
_BOUNDS = {"mean": (-1.0, 2.0), "std": (1e-3, 10.0)}
_LARGEST_PIXEL = 255.0


@dataclass(frozen=True, kw_only=True)
class OutOfRange:
    """A mean or a deviation that is not for pixels in 0…1.

    Attributes:
        name: ``mean`` or ``std``.
        expected: the values that it may have, in words.
        divided: all that were given, divided by 255, where they look like values for pixels in 0…255; else empty.
    """

    name: str
    expected: str
    divided: Mapping[str, Three]


def out_of_range(mean: Three | None, std: Three | None) -> OutOfRange | None:
    """The first of the two that is not for pixels in 0…1; None where both are, or were not given."""
    given = {name: value for name, value in (("mean", mean), ("std", std)) if value is not None}
    for name, values in given.items():
        low, high = _BOUNDS[name]
        if not all(low <= value <= high for value in values):
            divided = {key: _divided(each) for key, each in given.items()}
            alike = max(values) > high and all(_fits(key, each) for key, each in divided.items())
            expected = f"three numbers from {low:g} to {high:g}, for pixels in 0…1"
            return OutOfRange(name=name, expected=expected, divided=divided if alike else {})
    return None


def _fits(name: str, values: Three) -> bool:
    low, high = _BOUNDS[name]
    return all(low <= value <= min(high, 1.0) for value in values)


def _divided(values: Three) -> Three:
    red, green, blue = (float(f"{value / _LARGEST_PIXEL:.4g}") for value in values)
    return red, green, blue
