"""What to download, how, and the result."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from amctq.errors import UsageError

if TYPE_CHECKING:
    from amctq.download.sums import Sums


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file and its addresses.

    Attributes:
        urls: its addresses, http or https, the best first.
        sha256: of its content, lower-case hexadecimal; None if it is not published.
        md5: the same, for a file that is published without a better sum.
        size: its bytes; None if not known.
        largest: bytes that it may have at most, so that no server can fill the disk. Protobuf, which checkpoints are
            made of, takes no message of 2 GiB.
    """

    urls: tuple[str, ...] = field(repr=False)  # they may hold passwords
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    largest: int = 1 << 31

    @property
    def identity(self) -> str | None:
        """The sum that identifies the file; None if there is none, and every server is trusted."""
        return self.sha256 or self.md5

    def mirrored(self, mirrors: Sequence[str]) -> Source:
        """The same file, from ``mirrors`` first; its name there is the last part of its own address."""
        names = dict.fromkeys(urlsplit(url).path.rpartition("/")[2] for url in self.urls)
        own = tuple(_below(mirror, name) for mirror in mirrors for name in names)
        return replace(self, urls=tuple(dict.fromkeys(own + self.urls)))

    def mismatch(self, sums: Sums) -> str | None:
        """What is wrong with a file of these ``sums``, found and expected; None if nothing is wrong."""
        if sums.pointer:
            return f"it is a pointer of git-lfs, of {sums.bytes:,} bytes, in the place of the file"
        if self.size is not None and sums.bytes != self.size:
            return f"it has {sums.bytes:,} bytes, expected {self.size:,}"
        if self.sha256 is not None and sums.sha256 != self.sha256:
            return f"its SHA-256 is {sums.sha256}, expected {self.sha256}"
        if self.md5 is not None and sums.md5 != self.md5:
            return f"its MD5 is {sums.md5}, expected {self.md5}"
        return None


@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """How to download.

    Attributes:
        retries: further tries in a row at one address, counted while they bring less than 1 MiB; 0 for none.
        timeout: seconds without data, after which a try has failed.
        retry_delay: seconds before the first further try; each later one waits twice as long, 30 s at most.
        insecure: do not check the certificates of servers.
        local_option: the option that takes a local file, for hints.
    """

    retries: int = 3
    timeout: float = 30
    retry_delay: float = 1
    insecure: bool = False
    local_option: str = "--from-file"


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """A file in its final place.

    Attributes:
        path: its path.
        sums: its length and sums.
        url: the address of its last byte, as it may be shown; None for a local file.
        transferred: bytes that came over the network in this call.
    """

    path: Path
    sums: Sums
    url: str | None
    transferred: int


def _below(mirror: str, name: str) -> str:
    """The address of a file at a mirror, whose own may end with a query."""
    parts = urlsplit(mirror)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def checked_sum(text: str, *, option: str, digits: int) -> str:
    """A sum in hexadecimal as lower case.

    Raises:
        UsageError: it is not a sum of that length.
    """
    if not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", text.strip()):
        message = f"{option} {text}: found {len(text.strip())} characters, expected {digits} hexadecimal digits"
        raise UsageError(message, hint="copy the whole sum")
    return text.strip().lower()
