"""One try to get a file, or the rest of it, from one address over HTTP."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn
from urllib.parse import urlsplit

from amctq.download import headers as said
from amctq.download.address import Address
from amctq.download.answer import Answer, answered
from amctq.download.clients import Clients
from amctq.download.failure import PROXY_LOGIN, Failure, Remedy
from amctq.download.partial import Origin, Partial
from amctq.download.source import Source
from amctq.progress import Reporter
from amctq.version import __version__

_PASSING = {408, 425, 429, 500, 502, 503, 504}
_MOST_UNTOLD = 1 << 29  # bytes, from a server that does not say how long the file is, and so may never stop
_WEB_PAGES = {"text/html", "application/xhtml+xml"}


class StartOver(Exception):
    """The partial file does not belong to the file on the server; it has been removed."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try to get a file.

    Attributes:
        clients: HTTP clients.
        address: of the file.
        source: what is known about the file.
        partial: what has been received of it, and where the rest goes.
        name: of the file, for progress.
        timeout: seconds, for messages.
    """

    clients: Clients
    address: Address
    source: Source
    partial: Partial
    name: str
    timeout: float

    def run(self, reporter: Reporter) -> int:
        """Receive what is missing; returns the bytes that came over the network.

        Raises:
            Failure: the file is incomplete, or another one; what can be used is kept.
            StartOver: the next try must ask for the whole file.
            WriteError: the file system refuses.
            UsageError: the proxy or certificate settings of the environment cannot be used.
        """
        if self.partial.complete:  # a run was killed between the last byte and the final name
            return 0
        headers = {
            "User-Agent": f"amctq/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **self._range(),
        }
        keep_tls = self.address.encrypted and self.source.identity is None
        with answered(self.clients, self.address, headers, keep_tls=keep_tls, timeout=self.timeout) as answer:
            origin = self._origin(answer, resumed="Range" in headers)
            blocks = answer.blocks()
            first = next(blocks, b"")
            self._refuse_web_page(answer, first)
            if answer.status == 206:
                self.partial.resume(origin)
            else:
                self.partial.begin(origin)
            return self._receive(first, blocks, reporter)

    def _range(self) -> dict[str, str]:
        """Headers that ask for the missing part only; none if nothing is there, or if the file may have changed.

        A file whose sum is known may be pieced together from several servers: the sum decides.
        """
        origin = self.partial.origin
        if origin is None or not self.partial.size:
            return {}
        missing = {"Range": f"bytes={self.partial.size}-"}
        if origin.address == self.address.digest and origin.validator:
            return {**missing, "If-Range": origin.validator}
        return missing if self.source.identity else {}

    def _origin(self, answer: Answer, *, resumed: bool) -> Origin:
        """What the server is going to send, refused if it was not asked for."""
        status, headers = answer.status, answer.headers
        if resumed and status == 416:
            self._start_over("the file on the server is shorter")
        if status not in ({200, 206} if resumed else {200}):
            raise _refusal(answer, self.address)
        encoding = headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity" and not self.name.endswith((".gz", ".tgz")):  # some servers say so of a .gz file
            reason = f"it sends the file compressed ({said.shortened(encoding)}), and was asked not to"
            raise Failure(reason, Remedy.ADDRESS)
        origin = Origin(
            address=self.address.digest,
            identity=self.source.identity,
            etag=said.etag(headers.get("ETag")),
            last_modified=said.date(headers.get("Last-Modified")),
            total=said.length(headers),
        )
        if status == 206:
            origin = self._rest_of_the_same(origin, headers)
        if self.source.size is not None and origin.total not in {None, self.source.size}:
            reason = f"it has {origin.total:,} bytes, expected {self.source.size:,}"
            raise Failure(reason, Remedy.ADDRESS, wrong_content=True)
        if origin.total is not None and origin.total > self.source.largest:
            reason = f"it has {origin.total:,} bytes, expected {self.source.largest:,} at most"
            raise Failure(reason, Remedy.ADDRESS, wrong_content=True)
        return origin

    def _rest_of_the_same(self, origin: Origin, headers: Mapping[str, str]) -> Origin:
        part = said.content_range(headers)
        if part is None or part[0] != self.partial.size:
            found = said.shortened(headers.get("Content-Range", ""))
            self._start_over(f"the server sends a part that was not asked for ({found})")
        former = self.partial.origin
        assert former is not None
        total = former.total if part[2] is None else part[2]
        if total is None:
            self._start_over("the server does not say how long the file is")
        if former.total not in {None, total}:
            self._start_over("its length has changed")
        same = former.address == origin.address
        if same and origin.etag and former.etag and origin.etag != former.etag:
            self._start_over("it has changed on the server")  # the server has ignored If-Range
        return replace(
            origin,
            total=total,
            etag=origin.etag or (former.etag if same else None),
            last_modified=origin.last_modified or (former.last_modified if same else None),
        )

    def _start_over(self, reason: str) -> NoReturn:
        self.partial.discard()
        raise StartOver(reason)

    def _refuse_web_page(self, answer: Answer, beginning: bytes) -> None:
        """Refuse the login page of a network, and an error page that a server sends with status 200."""
        if self.name.endswith((".html", ".htm")):
            return
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        marked = answer.status == 200 and re.match(rb"\s*<(!doctype\s+html|html)\b", beginning[:512], re.I)
        if kind in _WEB_PAGES or marked:
            reason = "it answers with a web page instead of the file"
            raise Failure(reason, Remedy.ADDRESS, hint="log in to your network, or check the address in a browser")

    def _receive(self, first: bytes, blocks: Iterator[bytes], reporter: Reporter) -> int:
        partial = self.partial
        assert partial.origin is not None
        total, before = partial.origin.total, partial.size
        expected = self.source.size if total is None else total
        most = min(self.source.largest, _MOST_UNTOLD) if expected is None else expected
        amount = "an unknown number of" if total is None else f"{total - before:,}"
        reporter.info(f"{self.name}: {amount} bytes to get from {self.address.host}")
        try:
            with reporter.phase(self.name, total, unit="bytes", done=before) as advance:
                for block in itertools.chain([first], blocks):
                    partial.append(block)
                    advance(partial.size)
                    if partial.size > most:
                        partial.discard()
                        reason = f"it has more than {most:,} bytes"
                        hint = "get it from a server that says how long it is" if expected is None else None
                        raise Failure(reason, Remedy.ADDRESS, hint=hint, wrong_content=True)
        finally:
            partial.close()
        if expected is not None and partial.size < expected:
            reason = f"the connection ended after {partial.size:,} of {expected:,} bytes"
            raise Failure(reason, Remedy.AGAIN)
        if not partial.size:
            partial.discard()
            reason = "the file is empty"
            raise Failure(reason, Remedy.ADDRESS, wrong_content=True)
        return partial.size - before


def _refusal(answer: Answer, address: Address) -> Failure:
    reason = f"the server answers {answer.status} {answer.phrase}".rstrip()
    if answer.status in _PASSING:
        return Failure(reason, Remedy.AGAIN, wait=said.retry_after(answer.headers))
    if answer.status in {404, 410}:
        return Failure(reason, Remedy.ADDRESS, hint="the file has moved: give another address, or a mirror")
    if answer.status == 407:
        return Failure(reason, Remedy.HOST, hint=PROXY_LOGIN)
    return Failure(reason, Remedy.ADDRESS, hint=_login(address) if answer.status in {401, 403} else None)


def _login(address: Address) -> str:
    """The next step where a server does not let one in."""
    if address.credentials is not None:
        return "check the user and the password in the address"
    if urlsplit(address.url).query:
        return "check the token in the address, which may have expired"
    return "it needs a login: put user and password into the address, https://USER:PASSWORD@host/file, or its token"
