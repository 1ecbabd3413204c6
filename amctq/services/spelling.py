"""How values of options are typed, where their type does not say it."""

from __future__ import annotations

from amctq.choices import ExportFormat
from amctq.errors import UsageError


def images_or_all(text: str) -> int | None:
    """``all`` as None, else a number of images.

    Raises:
        ValueError: it is neither.
    """
    if text.lower() == "all":
        return None
    if not text.isdigit():
        message = f"{text!r} is neither a number of images nor 'all'"
        raise ValueError(message)
    return int(text)


def three_numbers(text: str) -> tuple[float, float, float]:
    """``R,G,B`` as numbers.

    Raises:
        ValueError: these are not three numbers.
    """
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        message = f"{text!r} is no list of three numbers, as in 0.485,0.456,0.406"
        raise ValueError(message) from None
    return red, green, blue


def formats(text: str) -> tuple[ExportFormat, ...]:
    """``onnx,mindir`` as formats.

    Raises:
        ValueError: one of them is none.
    """
    known = {form.value: form for form in ExportFormat}
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in known:
            message = f"{name!r} is not a format ({', '.join(known)})"
            raise ValueError(message)
    return tuple(known[name] for name in names)


def words(text: str) -> tuple[str, ...]:
    """``a,b`` as its parts; empty ones are left out."""
    return tuple(filter(None, map(str.strip, text.split(","))))


def port_or_auto(text: str) -> int | None:
    """``auto`` as None, else a port of ``--master-port``.

    Raises:
        UsageError: it is neither.
    """
    if text.lower() == "auto":
        return None
    if not text.isdecimal():
        message = f"--master-port {text}: expected a port, or auto"
        raise UsageError(message)
    return int(text)
