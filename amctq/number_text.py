"""A measured number as people read it, on the console and in the page, and as files hold it."""

from __future__ import annotations

_PLAIN = (0.1, 1e9)  # sizes that four digits behind the point suit


def number_text(value: float, digits: int | None, *, sign: bool = False) -> str:
    """A number, such as ``91.70``; never a zero with a minus.

    Args:
        value: it.
        digits: behind the point; None for those that its size needs: ``0.9123``, ``-1.353e-06``.
        sign: write a plus too.
    """
    plus = "+" if sign else ""
    if digits is None and value and not _PLAIN[0] <= abs(value) < _PLAIN[1]:
        return f"{value:{plus}.4g}"
    behind = 4 if digits is None else digits
    return f"{round(value, behind) + 0.0:{plus},.{behind}f}"


def float32_digits(value: float) -> float:
    """A number with the digits that a float32 has, for files."""
    return float(f"{value:.9g}")
