"""Read option values from text, if the type of the option is not enough."""

from __future__ import annotations

from typing import Literal

from amctq.choices import AUTO, ExportFormat
from amctq.errors import UsageError

_LONGEST_PORT = 5
_UNITS = {"K": 1_000, "M": 1_000_000}  # of bytes


def images_or_all(text: str) -> int | None:
    """Read ``all`` as None, else a number of images.

    Raises:
        ValueError: the text is neither.
    """
    if text.lower() == "all":
        return None
    if not text.isascii() or not text.isdigit():
        message = f"{text!r} is neither a number of images nor 'all'"
        raise ValueError(message)
    return int(text)


def three_numbers(text: str) -> tuple[float, float, float]:
    """Read ``R,G,B`` as three numbers.

    Raises:
        ValueError: the text is not three numbers.
    """
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        message = f"{text!r} is no list of three numbers, as in 0.485,0.456,0.406"
        raise ValueError(message) from None
    return red, green, blue


def formats(text: str) -> tuple[ExportFormat, ...]:
    """Read ``onnx,mindir`` as formats.

    Raises:
        ValueError: a name is not a format.
    """
    known = {form.value: form for form in ExportFormat}
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in known:
            message = f"{name!r} is not a format ({', '.join(known)})"
            raise ValueError(message)
    return tuple(known[name] for name in names)


def layer_width(text: str) -> tuple[tuple[str, int], ...]:
    """Read ``PATTERN=BITS``; the pattern may have a ``=`` of its own.

    Raises:
        ValueError: it is no pattern with a number.
    """
    pattern, _, bits = text.rpartition("=")
    if not pattern or not bits.strip().isdecimal():
        message = f"{text!r} is not PATTERN=BITS, such as stem=8"
        raise ValueError(message)
    return ((pattern.strip(), int(bits)),)


def fixed_width(text: str) -> int:
    """Read a width of weights.

    Raises:
        ValueError: it is no number; what ``auto`` means, ``ptq`` alone knows.
    """
    if text.strip().lower() == AUTO:
        message = (
            "'auto' is for amctq ptq: retraining trains all layers at one width, and analyze measures given widths"
        )
        raise ValueError(message)
    if not text.strip().isdecimal():
        message = f"{text!r} is not a number of bits"
        raise ValueError(message)
    return int(text)


def width_or_auto(text: str) -> int | Literal["auto"]:
    """Read a width of weights, or ``auto``.

    Raises:
        ValueError: it is neither.
    """
    return AUTO if text.strip().lower() == AUTO else fixed_width(text)


def size_limit(text: str) -> int | float:
    """Read bytes, ``40K`` or ``1.5M`` (1,000 and 1,000,000 bytes) as a whole number, and a share as another.

    Raises:
        ValueError: it is neither.
    """
    number, unit = text.strip(), 1
    if number[-1:].upper() in _UNITS:
        number, unit = number[:-1], _UNITS[number[-1:].upper()]
    try:
        if unit == 1 and not number.isdecimal():
            return float(number)
        return int(float(number) * unit)
    except (ValueError, OverflowError):
        message = f"{text!r} is neither a share, such as 0.12, nor a number of bytes, such as 40K"
        raise ValueError(message) from None


def input_shape(text: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Read ``NAME:SHAPE``, the sizes divided by ``x`` or commas.

    Raises:
        ValueError: it is no name with sizes.
    """
    name, _, shape = text.rpartition(":")
    sizes = shape.lower().replace(",", "x").split("x")
    if not name or not all(size.isascii() and size.isdecimal() and int(size) > 0 for size in sizes):
        message = f"{text!r} is not NAME:SHAPE, such as x:3x48x320"
        raise ValueError(message)
    return ((name, tuple(map(int, sizes))),)


def words(text: str) -> tuple[str, ...]:
    """Read ``a,b`` as its parts, without empty parts."""
    return tuple(filter(None, map(str.strip, text.split(","))))


def port_or_auto(text: str) -> int | None:
    """Read ``--master-port``: ``auto`` as None, else a port number.

    Raises:
        UsageError: the text is neither.
    """
    if text.lower() == "auto":
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > _LONGEST_PORT:
        message = f"--master-port {text}: expected a port, or auto"
        raise UsageError(message)
    return int(text)
