"""Files that a user names with an option: read once, as bytes; text is UTF-8."""

from __future__ import annotations

import codecs
from pathlib import Path

from amctq.errors import InputError

LARGEST = 64 << 20  # bytes; a record of a large network has about ten million
# UTF-32 first: its mark in little-endian order begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_SAVE = "save it as UTF-8 in your editor, or convert it: iconv -f {} -t UTF-8"


def read_input(path: Path, *, what: str, option: str) -> bytes:
    """The content of a file.

    Args:
        path: the file.
        what: what it should be, for messages.
        option: where its path was given, for messages.

    Raises:
        InputError: it cannot be read, or is too large to be such a file.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character or half a surrogate pair in the path
        message = f"cannot read the {what} {path}: {getattr(error, 'strerror', None) or error}"
        raise InputError(message, hint=f"check the path given with {option}") from error
    if len(content) > LARGEST:
        message = f"{path} has more than {LARGEST:,} bytes: that is no {what}"
        raise InputError(message, hint=f"check the path given with {option}")
    return content


def read_text(path: Path, *, what: str, option: str) -> str:
    """The content of a text file, as ``text_of`` gives it.

    Raises:
        InputError: as ``read_input`` and ``text_of``.
    """
    return text_of(read_input(path, what=what, option=option), str(path))


def text_of(content: bytes, source: str, *, errors: str = "strict") -> str:
    """UTF-8 with or without a byte order mark (BOM), without the mark; every line ends with a line feed.

    Args:
        content: of the file.
        source: what messages call the file.
        errors: how bytes that are no UTF-8 are decoded, as in ``bytes.decode``.

    Raises:
        InputError: it is not UTF-8, or no text.
    """
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            message = f"{source} is {name} text, expected UTF-8"
            raise InputError(message, hint=_SAVE.format(name))
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode(errors=errors)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"{source}, line {line}: the byte 0x{content[error.start]:02x} is not UTF-8"
        raise InputError(message, hint=_SAVE.format("GBK")) from error
    if "\0" in text:
        message = f"{source} holds null characters: it is no text, or UTF-16 without a byte order mark"
        raise InputError(message, hint=_SAVE.format("UTF-16LE"))
    return text.replace("\r\n", "\n").replace("\r", "\n")
