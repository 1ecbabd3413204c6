"""Files that a user names with an option: read once, as bytes; text is UTF-8."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from amctq.errors import InputError

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
        InputError: it cannot be read.
    """
    return _content(path, f"the {what} {path}", option)


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
    if path.exists() and not path.is_file():
        message = f"cannot read {path}: it is {'a folder' if path.is_dir() else 'no regular file'}"
        raise InputError(message, hint=f"check the path given with {option}")
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


def text_of(content: bytes) -> str:
    """UTF-8 with or without BOM; every line ends with a line feed.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _content(path: Path, called: str, option: str) -> bytes:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        message = f"cannot read {called}: {getattr(error, 'strerror', None) or error}"
        raise InputError(message, hint=f"check the path given with {option}") from error
    refuse_pointer(content, called)
    return content
