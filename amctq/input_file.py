"""Files that a user names with an option: read once, as bytes; text is UTF-8."""

from __future__ import annotations

from pathlib import Path

from amctq.errors import InputError


def read_input(path: Path, *, what: str, option: str) -> bytes:
    """The content of a file.

    Args:
        path: the file.
        what: what it should be, for messages.
        option: where its path was given, for messages.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        message = f"cannot read the {what} {path}: {getattr(error, 'strerror', None) or error}"
        raise InputError(message, hint=f"check the path given with {option}") from error


def text_of(content: bytes) -> str:
    """UTF-8 with or without BOM; every line ends with a line feed.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
