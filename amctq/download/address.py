"""The address of a file. What may be secret in it, user, password and query, is sent to its server and never shown."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from amctq.errors import UsageError

_HIDDEN = "…"


@dataclass(frozen=True, kw_only=True)
class Address:
    """An address, taken apart.

    Attributes:
        url: without user and password, so that no library can log them.
        credentials: user and password; None if the address has none.
    """

    url: str = field(repr=False)
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str) -> Address:
        """Take ``url`` apart; it must have passed ``checked_url``."""
        parts = urlsplit(url)
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        if parts.username is None:
            return cls(url=bare)
        return cls(url=bare, credentials=(unquote(parts.username), unquote(parts.password or "")))

    @property
    def host(self) -> str:
        """Its host, with the port if there is one."""
        return urlsplit(self.url).netloc

    @property
    def encrypted(self) -> bool:
        """Whether it is asked over TLS."""
        return urlsplit(self.url).scheme == "https"

    @property
    def digest(self) -> str:
        """What tells it from other addresses, in a file that others may read: its SHA-256, without the password."""
        return hashlib.sha256(self.url.encode(errors="surrogatepass")).hexdigest()

    def __str__(self) -> str:
        return shown(self.url)


def shown(url: str) -> str:
    """An address as it may be shown: without user, password, query and fragment. It need not be a valid one."""
    try:
        parts = urlsplit(url)
        host, _ = parts.netloc.rpartition("@")[2], parts.port
    except ValueError:
        host = ""
    if not host or (":" in host and "@" in url.partition(host)[2]):  # a password with a / ? or # that is not escaped
        before, at, after = url.rpartition("@")
        if not at:
            return url.partition("?")[0]
        return _HIDDEN if re.search("[?#]", before) else f"{_HIDDEN}@{re.split('[?#]', after)[0]}"
    return urlunsplit(parts._replace(netloc=host, query=_HIDDEN if parts.query else "", fragment=""))


def masked(text: str) -> str:
    """Text that may quote addresses, such as a library's message or a traceback, without what may be secret in them."""
    text = re.sub(r"://\S*@", f"://{_HIDDEN}@", text)
    return re.sub(r"(\bhttps?://[^\s?#'\")]*)([?#])[^\s'\")]+", rf"\1\2{_HIDDEN}", text, flags=re.IGNORECASE)


def checked_url(url: str, *, option: str) -> str:
    """``url``, if it is an address that can be downloaded from.

    Raises:
        UsageError: it is not.
    """
    import httpx

    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        valid = parts.scheme in {"http", "https"} and re.fullmatch(r"\S+", host) and parts.port != 0
        host.encode("idna"), httpx.URL(Address.of(url).url)  # as they are going to be asked
    except (ValueError, TypeError, httpx.InvalidURL):
        valid = False
    if not valid:
        message = f"{option} {shown(url)}: expected an address that begins with https:// or http://"
        raise UsageError(message, hint="copy the whole address; escape / ? # @ in a password, as %2F %3F %23 %40")
    return url
