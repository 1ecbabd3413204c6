"""One try to get a file, or the rest of it, from one address over HTTP."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from amctq.download.failure import Failure, Remedy, explained
from amctq.download.partial import Origin, Partial
from amctq.download.source import Source
from amctq.progress import Reporter

if TYPE_CHECKING:
    import httpx

_PASSING = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT = 60.0
_WEB_PAGES = {"text/html", "application/xhtml+xml"}


class StartOver(Exception):
    """The partial file does not belong to the file on the server; it has been removed."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try to get a file.

    Attributes:
        client: HTTP client.
        url: the address.
        source: what is known about the file.
        partial: what has been received of it, and where the rest goes.
        name: of the file, for progress.
        timeout: seconds, for messages.
    """

    client: httpx.Client
    url: str
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
        """
        if self.partial.complete:  # a run was killed between the last byte and the final name
            return 0
        asked = self._range()
        headers = {"Accept-Encoding": "identity", **asked}
        with explained(self.timeout), self.client.stream("GET", self.url, headers=headers) as response:
            origin = self._origin(response, resumed=bool(asked))
            blocks = response.iter_raw()
            first = next(blocks, b"")
            self._refuse_web_page(response, first)
            if response.status_code == 206:
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
        if origin.url == self.url and origin.validator:
            return {**missing, "If-Range": origin.validator}
        return missing if self.source.identity else {}

    def _origin(self, response: httpx.Response, *, resumed: bool) -> Origin:
        """What the server is going to send, refused if it was not asked for."""
        status, headers = response.status_code, response.headers
        if resumed and status == 416:
            self._start_over("the file on the server is shorter")
        if status not in ({200, 206} if resumed else {200}):
            raise _refusal(status, response.reason_phrase, headers)
        encoding = headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity" and not self.name.endswith((".gz", ".tgz")):  # some servers say so of a .gz file
            reason = f"it sends the file compressed ({encoding}), and was asked not to"
            raise Failure(reason, Remedy.ADDRESS)
        if response.url.scheme == "http" and self.source.identity is None and self.url.startswith("https:"):
            reason = f"it redirects to {response.url}, without TLS, and there is no SHA-256 to check the file by"
            raise Failure(reason, Remedy.ADDRESS, hint="pass --sha256, or that address itself")
        origin = Origin(
            url=self.url,
            identity=self.source.identity,
            etag=headers.get("ETag"),
            last_modified=headers.get("Last-Modified"),
            total=_length(headers),
        )
        if status == 206:
            origin = self._rest_of_the_same(origin, headers.get("Content-Range", ""))
        if self.source.size is not None and origin.total not in {None, self.source.size}:
            reason = f"it has {origin.total:,} bytes, expected {self.source.size:,}"
            raise Failure(reason, Remedy.ADDRESS, wrong_content=True)
        return origin

    def _rest_of_the_same(self, origin: Origin, content_range: str) -> Origin:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range.strip())
        if found is None or int(found[1]) != self.partial.size:
            self._start_over(f"the server sends a part that was not asked for ({content_range})")
        total = None if found[2] == "*" else int(found[2])
        former = self.partial.origin
        assert former is not None
        if total is not None and former.total not in {None, total}:
            self._start_over("its length has changed")
        if former.url == origin.url and origin.etag and former.etag and origin.etag != former.etag:
            self._start_over("it has changed on the server")  # the server has ignored If-Range
        return replace(
            origin,
            total=total or former.total,
            etag=origin.etag or (former.etag if former.url == origin.url else None),
            last_modified=origin.last_modified or (former.last_modified if former.url == origin.url else None),
        )

    def _start_over(self, reason: str) -> NoReturn:
        self.partial.discard()
        raise StartOver(reason)

    def _refuse_web_page(self, response: httpx.Response, beginning: bytes) -> None:
        """Refuse the login page of a network, and an error page that a server sends with status 200."""
        if self.name.endswith((".html", ".htm")):
            return
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        marked = response.status_code == 200 and re.match(rb"\s*<(!doctype\s+html|html)\b", beginning[:512], re.I)
        if kind in _WEB_PAGES or marked:
            reason = "it answers with a web page instead of the file"
            raise Failure(reason, Remedy.ADDRESS, hint="log in to your network, or check the address in a browser")

    def _receive(self, first: bytes, blocks: Iterator[bytes], reporter: Reporter) -> int:
        partial = self.partial
        assert partial.origin is not None
        total, before = partial.origin.total, partial.size
        expected = self.source.size if total is None else total
        amount = "an unknown number of" if total is None else f"{total - before:,}"
        reporter.info(f"{self.name}: {amount} bytes to get from {urlsplit(self.url).netloc}")
        try:
            with reporter.phase(self.name, total, unit="bytes", done=before) as advance:
                for block in itertools.chain([first], blocks):
                    partial.append(block)
                    advance(partial.size)
                    if expected is not None and partial.size > expected:  # without a length the server may never stop
                        partial.discard()
                        reason = f"it has more than {expected:,} bytes"
                        raise Failure(reason, Remedy.ADDRESS, wrong_content=True)
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


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _refusal(status: int, phrase: str, headers: Mapping[str, str]) -> Failure:
    reason = f"the server answers {status} {phrase}".rstrip()
    if status in _PASSING:
        after = headers.get("Retry-After", "")
        wait = min(float(after), _LONGEST_WAIT) if after.isdigit() else None
        return Failure(reason, Remedy.AGAIN, wait=wait)
    if status in {404, 410}:
        return Failure(reason, Remedy.ADDRESS, hint="the file has moved: give another address, or a mirror")
    return Failure(reason, Remedy.ADDRESS)
