"""What a server says about a file in its headers. A value that is not valid counts as not said."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

_LONGEST_WAIT = 60.0
_NUMBER = "[0-9]{1,18}"


def length(headers: Mapping[str, str]) -> int | None:
    """Bytes of the body; None if the server does not say."""
    if "Transfer-Encoding" in headers:  # then Content-Length counts for nothing (RFC 9112, 6.3)
        return None
    text = headers.get("Content-Length", "")
    return int(text) if re.fullmatch(_NUMBER, text) else None


def etag(text: object) -> str | None:
    """An entity tag, strong or weak, that can be sent back; None if ``text`` is none."""
    return text if isinstance(text, str) and re.fullmatch(r"[\x21-\x7e]{1,512}", text) else None


def date(text: object) -> str | None:
    """A date of HTTP, as it was written; None if ``text`` is none."""
    if not isinstance(text, str) or not re.fullmatch(r"[\x20-\x7e]{1,64}", text) or text != text.strip():
        return None
    return None if _seconds(text) is None else text


def content_range(headers: Mapping[str, str]) -> tuple[int, int, int | None] | None:
    """First byte, last byte and all bytes of Content-Range, the last None if not said; None if it is no valid range."""
    found = re.fullmatch(rf"bytes ({_NUMBER})-({_NUMBER})/({_NUMBER}|\*)", headers.get("Content-Range", "").strip())
    if found is None:
        return None
    first, last, total = int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])
    return (first, last, total) if first <= last and (total is None or last < total) else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, in seconds or as a date, 60 at most; None if it does not say."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]+", text):
        return min(float(text), _LONGEST_WAIT)
    then = _seconds(text)
    return None if then is None else min(max(then - time.time(), 0.0), _LONGEST_WAIT)


def shortened(text: str) -> str:
    """A header's value for a message: one line of 80 characters at most, with nothing that a terminal would obey."""
    return ascii(text[:80])[1:-1]


def _seconds(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError, OSError):
        return None
