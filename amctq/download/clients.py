"""HTTP clients: one that connects directly, and one for each proxy of the environment."""

from __future__ import annotations

import ssl
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.request import getproxies

from amctq.download.address import Address
from amctq.download.no_proxy import is_exempt, unusable
from amctq.download.source import TransferOptions
from amctq.errors import UsageError, first_line
from amctq.progress import Reporter

if TYPE_CHECKING:
    import httpx


class Clients:
    """The clients of one download, as a context manager; each is made when it is first needed.

    They use HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.
    """

    def __init__(self, options: TransferOptions, reporter: Reporter) -> None:
        self._options = options
        self._reporter = reporter
        self._proxies = getproxies()
        self._no_proxy = self._proxies.get("no", "")
        self._made: dict[tuple[str | None, str], httpx.Client] = {}

    def __enter__(self) -> Clients:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._made.values():
            client.close()

    def client_for(self, url: httpx.URL) -> httpx.Client:
        """The client that asks ``url``: through the proxy for it, if there is one.

        Raises:
            UsageError: the proxy or certificate settings of the environment cannot be used.
        """
        name = next((name for name in (url.scheme, "all") if self._proxies.get(name)), None)
        if name is not None and not self._made:
            for entry in unusable(self._no_proxy):
                self._reporter.warn(f"NO_PROXY: {entry} is no network, and exempts no host")
        if is_exempt(url.host, url.port or _PORTS.get(url.scheme, 0), self._no_proxy):
            name = None
        key = name, url.scheme
        if key not in self._made:
            self._made[key] = self._client(name, encrypted=url.scheme == "https")
        return self._made[key]

    def _client(self, name: str | None, *, encrypted: bool) -> httpx.Client:
        import httpx

        try:
            return httpx.Client(
                # To read what is trusted takes most of the time of a small file; without TLS, trust nobody.
                verify=self._trusted if encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                proxy=None if name is None else _proxy(self._proxies[name]),
                trust_env=False,  # which would read the proxies again
                timeout=self._options.timeout,
                limits=httpx.Limits(max_keepalive_connections=0),  # a Deadline sees a connection when it is opened
            )
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            # The error may quote the proxy's password, so nothing of it is shown.
            reason = f": {first_line(error)}" if isinstance(error, ImportError) else ""
            message = f"{(name or '').upper()}_PROXY cannot be used{reason}"
            raise UsageError(message, hint="expected http://host:port, or the same with https or socks5") from None

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        """The certificates that vouch for servers."""
        import httpx

        try:
            return httpx.create_ssl_context(verify=not self._options.insecure)
        except (OSError, ValueError) as error:
            message = f"the certificate settings of the environment cannot be used: {first_line(error)}"
            raise UsageError(message, hint="check SSL_CERT_FILE and SSL_CERT_DIR") from error


_PORTS = {"http": 80, "https": 443}


def _proxy(setting: str) -> httpx.Proxy:
    import httpx

    address = Address.of(setting if "://" in setting else f"http://{setting}")
    return httpx.Proxy(address.url, auth=address.credentials)
