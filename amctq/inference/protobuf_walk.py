"""Going through a protobuf message that came from a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amctq.errors import InputError


def walk(message: Any) -> Iterator[Any]:
    """The message itself, and every message inside it.

    Raises:
        InputError: a text in one of them is no UTF-8, and Python would get it as bytes.
    """
    yield message
    for field, value in message.ListFields():
        parts = value if field.is_repeated else (value,)
        if field.message_type is not None:
            for part in parts:
                yield from walk(part)
        elif field.type == field.TYPE_STRING and not all(isinstance(part, str) for part in parts):
            reason = f"its field {field.full_name} is no UTF-8"
            raise InputError(reason, hint="the file is damaged; copy or export it again")
