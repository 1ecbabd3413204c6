"""Reads a .tar.gz that cannot be trusted, once from its first byte to its last: checks, inflates and splits it.

Python's ``tarfile`` only parses single headers here. By itself it would write where an archive says, keep extended
headers of any length in memory, and take a damaged header for the end of the archive. Here content comes in pieces of
at most 1 MiB, and the caller decides the name of each written file.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NoReturn, TypeAlias

from amctq.data.passed_over import PassedOver, is_hidden
from amctq.download.source import Source
from amctq.download.sums import Summing
from amctq.errors import CheckError, InputError
from amctq.files import reading

Piece: TypeAlias = memoryview

_BLOCK = 512
_PIECE = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS  # so zlib reads a gzip header and checks the CRC
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_HEADERS = 256  # CIFAR-10 has 9 members; each may have an extended header, and a hidden file of macOS
_MAX_BYTES = 1 << 30  # CIFAR-10 has 184 million
_MAX_EXTENDED_HEADER = 1 << 16
_EXTENDED = frozenset({tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE})
_AGAIN = "get the archive again"


@dataclass(frozen=True, kw_only=True)
class Member:
    """A regular file of an archive, whose content must be read before the next member.

    Attributes:
        name: relative, with no ``..`` in it.
        bytes: its length.
        pieces: its content.
    """

    name: str
    bytes: int
    pieces: Iterator[Piece]


class Archive:
    """Reads ``stream``, the content of the archive at ``path``.

    ``members`` gives the files; ``finish`` reads what follows them, and must be called before any file is used.
    ``expected`` holds the sums that the archive must have, None if they have been checked already.

    Attributes:
        passed_over: hidden and system members, which ``members`` leaves out.
    """

    def __init__(self, path: Path, stream: BinaryIO, expected: Source | None) -> None:
        self._path = path
        self._stream = stream
        self._expected = expected
        self._summing = Summing(md5=expected.md5 is not None) if expected else None
        self._inflater = zlib.decompressobj(_GZIP)
        self.passed_over = PassedOver()
        self._headers = 0
        self._inflated = 0
        self._read = 0
        self._pending: Piece = memoryview(b"")

    def members(self) -> Iterator[Member]:
        """The regular files, in order; folders, hidden files and what systems leave in archives are skipped.

        Raises:
            InputError: no gzip file, no tar archive, incomplete, damaged; or a member is a link or a device, leads out
                of the folder, or is larger than CIFAR-10 can be; or there are far too many members.
        """
        while (header := self._header()) is not None:
            name = self._checked(header)
            pieces = self._take(header.size)
            hidden = any(map(is_hidden, PurePosixPath(name).parts))
            if hidden:
                self.passed_over.add("hidden or system entries", name)
            if header.isreg() and not hidden:
                yield Member(name=name, bytes=header.size, pieces=pieces)
            for _ in pieces:  # what the caller has not read
                pass
            for _ in self._take(-header.size % _BLOCK):
                pass

    def finish(self) -> None:
        """Read the rest: the CRC of gzip, and the checksum of the whole file.

        Raises:
            InputError: the archive is incomplete or damaged.
            CheckError: it has another checksum.
        """
        beyond = self._inflated + _PIECE
        while not self._inflater.eof:
            self._inflate()
            if self._inflated > beyond:  # tar pads to 10 KiB
                self._refuse("has more than 1 MiB after its last file")
        while self._next_block():
            pass
        wrong = self._expected.mismatch(self._summing.sums()) if self._expected and self._summing else None
        if wrong:
            message = f"{self._path} is not the archive expected: {wrong}"
            raise CheckError(message, hint=f"{_AGAIN}, or, for an archive of your own, pass its --md5 or --sha256")

    def _header(self) -> tarfile.TarInfo | None:
        """The next member's header; None at the end of the archive."""
        while True:
            block = b"".join(self._take(_BLOCK))
            if not block.strip(b"\0"):
                return None
            self._headers += 1
            if self._headers > _MAX_HEADERS:
                self._refuse(f"has more than {_MAX_HEADERS} headers of members")
            try:
                header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError:
                self._refuse("holds no tar archive, or a damaged one")
            if header.size < 0:
                self._refuse(f"declares {header.size:,} bytes for {header.name[:100]!r}")
            if header.type not in _EXTENDED:
                return header
            # Times with fractions, attributes of other systems. CIFAR-10's names fit in an ordinary header.
            if header.size > _MAX_EXTENDED_HEADER:
                self._refuse(f"has an extended header of {header.size:,} bytes")
            for _ in self._take(header.size + -header.size % _BLOCK):
                pass

    def _checked(self, header: tarfile.TarInfo) -> str:
        """The name of a member, if nothing is wrong with it."""
        name = header.name
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            self._refuse(f"has a member that leads out of the folder, {name!r}")
        if header.issym() or header.islnk():
            self._refuse(f"has a link, {name!r} to {header.linkname!r}")
        if not (header.isreg() or header.isdir()) or header.type == tarfile.GNUTYPE_SPARSE:
            self._refuse(f"has a member that is neither file nor folder, {name[:100]!r}")
        if header.size > _MAX_BYTES - self._inflated:
            self._refuse(
                f"declares {header.size:,} bytes for {name[:100]!r}, more than the {_MAX_BYTES:,} of any CIFAR-10"
            )
        return str(path)

    def _take(self, length: int) -> Iterator[Piece]:
        """The next ``length`` bytes of the tar archive."""
        while length:
            if not self._pending:
                if self._inflater.eof:
                    self._refuse("ends in the middle of its tar archive")
                self._pending = memoryview(self._inflate())
            piece = self._pending[:length]
            self._pending = self._pending[length:]
            length -= len(piece)
            yield piece

    def _inflate(self) -> bytes:
        """More bytes of the tar archive; it may return none."""
        block = self._inflater.unconsumed_tail
        if not block:
            block = self._next_block()
            if not block:
                self._refuse(f"is cut short: it ends after {self._read:,} bytes")
            if self._read == len(block) and not block.startswith(_GZIP_MAGIC):
                self._refuse(f"is no .tar.gz file (it starts with {block[:16]!r})")
        try:
            inflated = self._inflater.decompress(block, _PIECE)
        except zlib.error as error:
            self._refuse(f"is damaged near byte {self._read:,} ({error})")
        self._inflated += len(inflated)
        if self._inflated > _MAX_BYTES:
            self._refuse(f"unpacks to more than the {_MAX_BYTES:,} bytes of any CIFAR-10")
        return inflated

    def _next_block(self) -> bytes:
        """The next bytes of the file itself; none at its end."""
        with reading(str(self._path)):
            block = self._stream.read(_PIECE)
        self._read += len(block)
        if self._read > _MAX_BYTES:
            self._refuse(f"has more than the {_MAX_BYTES:,} bytes of any CIFAR-10")
        if self._summing:
            self._summing.add(block)
        return block

    def _refuse(self, what: str) -> NoReturn:
        message = f"{self._path} {what}; expected the .tar.gz of CIFAR-10's binary version"
        raise InputError(message, hint=_AGAIN)
