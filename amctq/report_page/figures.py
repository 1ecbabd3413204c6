"""Numbers as people read them."""

from __future__ import annotations

from amctq.number_text import number_text

_UNITS = ("B", "KB", "MB", "GB", "TB")
_IN_FULL = 1e12


def grouped(value: float | None) -> str:
    """A whole number with commas; a dash for none."""
    return "–" if value is None else f"{value:,.0f}"


def fixed(value: float | None, digits: int | None) -> str:
    """A number with so many digits behind the point; None for those that its size needs."""
    return "–" if value is None else number_text(value, digits)


def signed(value: float | None, digits: int | None) -> str:
    """The same with its sign."""
    return "–" if value is None else number_text(value, digits, sign=True)


def significant(value: float | None, digits: int = 4) -> str:
    """A number of any size with so many digits that mean something; a whole number in full."""
    if value is None:
        return "–"
    return grouped(value) if value == round(value) and abs(value) < _IN_FULL else f"{value:.{digits}g}"


def size(value: float | None) -> str:
    """Bytes in the unit that suits them, in powers of 1,000, with three digits."""
    if value is None:
        return "–"
    unit = 0
    while abs(value) >= 1000 and unit + 1 < len(_UNITS):
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:,.{digits}f} {_UNITS[unit]}"
