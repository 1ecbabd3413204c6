"""JSON values that every parser takes, and text that every encoder takes."""

from __future__ import annotations

import math
from typing import Any


def strict_json(value: Any) -> Any:
    """The same value with numbers that are finite, else null, and with text that is Unicode.

    Args:
        value: of dicts, lists, tuples, text, numbers, booleans and None.
    """
    if isinstance(value, dict):
        return {strict_json(key): strict_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return unicode_text(value) if isinstance(value, str) else value


def unicode_text(text: str) -> str:
    """A text without surrogates.

    If Python reads paths as ASCII, a Chinese path contains surrogates, which become characters again. What is no UTF-8
    at all becomes escapes.
    """
    try:
        content = text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair
        content = text.encode(errors="backslashreplace")
    return content.decode(errors="backslashreplace")
