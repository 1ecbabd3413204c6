"""Length and sums of a stream of bytes, in one pass."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from amctq.files import blocks_of
from amctq.input_file import is_pointer

_HEAD = 128  # bytes that show what a file is


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Length and sums of a whole file.

    Attributes:
        bytes: its length.
        sha256: lower-case hexadecimal.
        md5: the same; None if it is not needed.
        pointer: the file is only a pointer of git-lfs to another one.
    """

    bytes: int
    sha256: str
    md5: str | None
    pointer: bool = False


class Summing:
    """Computes length and sums of a stream, block by block."""

    def __init__(self, *, md5: bool) -> None:
        self.bytes = 0
        self._head = b""
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None

    def add(self, block: bytes | memoryview) -> None:
        """Take the next bytes."""
        if self.bytes < _HEAD:
            self._head += bytes(block[: _HEAD - self.bytes])
        self.bytes += len(block)
        self._sha256.update(block)
        if self._md5 is not None:
            self._md5.update(block)

    def add_file(self, path: Path) -> None:
        """Take the content of a file, in pieces of 1 MiB."""
        for block in blocks_of(path):
            self.add(block)

    def sums(self) -> Sums:
        """Length and sums so far."""
        md5 = self._md5.hexdigest() if self._md5 else None
        return Sums(bytes=self.bytes, sha256=self._sha256.hexdigest(), md5=md5, pointer=is_pointer(self._head))


def sums_of(path: Path, *, md5: bool = False) -> Sums:
    """Length and sums of a file.

    Raises:
        OSError: it cannot be read.
    """
    summing = Summing(md5=md5)
    summing.add_file(path)
    return summing.sums()
