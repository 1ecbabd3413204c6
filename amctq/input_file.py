"""Files that a user names with an option: read once, as bytes; text is UTF-8."""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass
from pathlib import Path

from amctq.errors import InputError
from amctq.regular_file import open_regular

LARGEST = 64 << 20  # bytes; a record of a large network has about ten million
# UTF-32 first: its mark in little-endian order begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_SAVE = "save it as UTF-8 in your editor, or convert it: iconv -f {} -t UTF-8"
# The first line of a pointer, in each form that git-lfs has had.
_POINTERS = tuple(
    f"version {address}/".encode()
    for address in ("https://git-lfs.github.com/spec", "https://hawser.github.com/spec", "http://git-media.io")
)


def read_input(path: Path, *, what: str, option: str) -> bytes:
    """The content of a file.

    Args:
        path: the file.
        what: what it should be, for messages.
        option: where its path was given, for messages.

    Raises:
        InputError: it cannot be read, is no regular file, or is too large to be such a file.
    """
    return _content(path, f"the {what} {path}", option, what=what)


@dataclass(frozen=True, kw_only=True)
class LoadedFile:
    """A file that a result comes from. It is read once: the sum is that of what was used.

    Attributes:
        path: where it was read.
        bytes: its length.
        sha256: of its content, lower-case hexadecimal.
    """

    path: Path
    bytes: int
    sha256: str


def load_input(path: Path, *, option: str) -> tuple[bytes, LoadedFile]:
    """The content of a model file, and which file it is.

    Args:
        path: the file.
        option: where its path was given, for messages.

    Raises:
        InputError: it cannot be read, is no regular file, or is a pointer of git-lfs.
    """
    content = _content(path, str(path), option)
    return content, LoadedFile(path=path, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def is_pointer(content: bytes) -> bool:
    """Whether the content of a file, or its beginning, is a pointer of git-lfs."""
    return content.startswith(_POINTERS)


def refuse_pointer(content: bytes, source: str) -> None:
    """Refuse the few lines that git leaves in the place of a large file.

    Args:
        content: of the file, or its first bytes.
        source: what messages call the file.

    Raises:
        InputError: it is a pointer of git-lfs.
    """
    if is_pointer(content):
        lines = content[:1024].decode("ascii", "replace").splitlines()
        size = next((line.split()[-1] for line in lines if line.startswith("size ")), "?")
        message = f"{source} is a pointer of git-lfs, expected the file itself ({size} bytes)"
        raise InputError(message, hint="run git lfs pull in its repository, or download the file itself")


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


def _content(path: Path, called: str, option: str, *, what: str | None = None) -> bytes:
    """The content of a file; of at most LARGEST bytes if it is to be a ``what``."""
    try:
        with open_regular(path) as stream:
            content = stream.read() if what is None else stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character or half a surrogate pair in the path
        message = f"cannot read {called}: {getattr(error, 'strerror', None) or error}"
        raise InputError(message, hint=f"check the path given with {option}") from error
    if what is not None and len(content) > LARGEST:
        message = f"{path} has more than {LARGEST:,} bytes: that is no {what}"
        raise InputError(message, hint=f"check the path given with {option}")
    refuse_pointer(content, called)
    return content
