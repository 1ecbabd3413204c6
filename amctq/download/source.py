"""What to download, how, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from amctq.errors import UsageError

if TYPE_CHECKING:
    from amctq.download.sums import Sums


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file, wherever it can be had.

    Attributes:
        urls: its addresses, http or https, the best first.
        sha256: of its content, lower-case hexadecimal; None where nobody publishes it.
        md5: the same, for what is published with nothing better.
        size: its bytes, None where not known.
    """

    urls: tuple[str, ...]
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None

    @property
    def identity(self) -> str | None:
        """The sum that says which file this is, None where there is none and every server is simply believed."""
        return self.sha256 or self.md5

    def mirrored(self, mirrors: Sequence[str]) -> Source:
        """The same file, looked for at ``mirrors`` first, where it lies under the last part of its own address."""
        names = dict.fromkeys(urlsplit(url).path.rpartition("/")[2] for url in self.urls)
        own = tuple(f"{mirror.rstrip('/')}/{name}" for mirror in mirrors for name in names)
        return replace(self, urls=tuple(dict.fromkeys(own + self.urls)))

    def mismatch(self, sums: Sums) -> str | None:
        """What is wrong with a file of these ``sums``: found and expected; None where nothing is."""
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
        retries: further tries at one address, in a row, without getting on; 0 for none.
        timeout: seconds without a byte until a try is given up.
        retry_delay: seconds before the first further try; each later one waits twice as long, 30 s at most.
        insecure: do not check the certificates of servers.
        local_option: how a file is given by hand, for hints.
    """

    retries: int = 3
    timeout: float = 30
    retry_delay: float = 1
    insecure: bool = False
    local_option: str = "--from-file"


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """A file that lies in its final place.

    Attributes:
        path: where.
        sums: its length and sums.
        url: the address that its last byte came from; None for a file that was given by hand.
        transferred: bytes that came over the network for it in this call.
    """

    path: Path
    sums: Sums
    url: str | None
    transferred: int


def checked_url(url: str, *, option: str) -> str:
    """``url``, if it is an address that can be downloaded from.

    Raises:
        UsageError: it is not.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        message = f"{option} {url}: expected an address that begins with https:// or http://"
        raise UsageError(message, hint="copy the whole address")
    return url


def checked_sum(text: str, *, option: str, digits: int) -> str:
    """A sum in hexadecimal as lower case.

    Raises:
        UsageError: it is none, or of another kind.
    """
    if not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", text.strip()):
        message = f"{option} {text}: found {len(text.strip())} characters, expected {digits} hexadecimal digits"
        raise UsageError(message, hint="copy the whole sum")
    return text.strip().lower()
