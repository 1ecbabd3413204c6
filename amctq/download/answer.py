"""The answer of a server: redirections followed one by one, a body that comes fast enough."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amctq.download.address import Address
from amctq.download.clients import Clients
from amctq.download.deadline import Deadline
from amctq.download.failure import Failure, Remedy, explained

if TYPE_CHECKING:
    import httpx

_MOST_REDIRECTIONS = 10
_SLOWEST = 1000  # bytes a second


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status, headers and body.

    Attributes:
        status: of HTTP.
        phrase: what the server calls it.
        headers: as text; see ``headers`` for how to read them.
    """

    status: int
    phrase: str
    headers: Mapping[str, str]
    _response: httpx.Response
    _deadline: Deadline
    _timeout: float

    def blocks(self) -> Iterator[bytes]:
        """The body, as it is sent.

        Raises:
            Failure: the connection breaks off, or brings less than 1,000 bytes a second.
        """
        raw = self._response.iter_raw()
        waited, received = 0.0, 0
        while True:
            begin = time.monotonic()
            late = f"no data for {self._timeout:g} s"
            with _in_time(self._deadline, begin + self._timeout, timeout=self._timeout, late=late):
                block = next(raw, b"")
            if not block:
                return
            waited, received = waited + time.monotonic() - begin, received + len(block)
            yield block
            if waited > self._timeout:
                if received < _SLOWEST * waited:
                    reason = f"it is too slow, with {received:,} bytes in {waited:.1f} s"
                    raise Failure(reason, Remedy.AGAIN)
                waited, received = 0.0, 0


@contextlib.contextmanager
def answered(
    clients: Clients, address: Address, headers: Mapping[str, str], *, keep_tls: bool, timeout: float
) -> Iterator[Answer]:
    """Ask for a file, and follow where the server sends us.

    Args:
        clients: ask.
        address: of the file.
        headers: of the request.
        keep_tls: refuse to be sent anywhere without TLS, because nothing else vouches for the file.
        timeout: seconds without data, after which the try has failed. The whole answer may take three times as long.

    Raises:
        Failure: there is no answer, or it leads to no file.
        UsageError: the proxy or certificate settings of the environment cannot be used.
    """
    import httpx

    limit = 3 * timeout
    until, late = time.monotonic() + limit, f"no complete answer within {limit:g} s"
    with contextlib.ExitStack() as stack:
        deadline = stack.enter_context(Deadline())
        with explained(timeout):
            asked = httpx.Request("GET", address.url, headers=dict(headers), extensions={"trace": deadline.trace})
        for _ in range(_MOST_REDIRECTIONS + 1):
            client = clients.client_for(asked.url)
            login = None if address.credentials is None else httpx.BasicAuth(*address.credentials)
            with _in_time(deadline, until, timeout=timeout, late=late):
                # Redirections are followed here: the client would read the body of each, however long it is.
                response = client.send(asked, auth=login, stream=True, follow_redirects=False)
            stack.callback(_close, response)
            if response.next_request is None:
                yield Answer(
                    status=response.status_code,
                    phrase="".join(filter(str.isprintable, response.reason_phrase))[:80],
                    headers=response.headers,
                    _response=response,
                    _deadline=deadline,
                    _timeout=timeout,
                )
                return
            _close(response)
            asked = response.next_request
            with explained(timeout):
                address = Address.of(str(asked.url))
                asked.url = httpx.URL(address.url)
            if keep_tls and not address.encrypted:
                reason = f"it redirects to {address}, without TLS, and there is no SHA-256 to check the file by"
                raise Failure(reason, Remedy.ADDRESS, hint="pass --sha256, or that address itself")
        reason = f"it redirects more than {_MOST_REDIRECTIONS} times"
        raise Failure(reason, Remedy.ADDRESS)


@contextlib.contextmanager
def _in_time(deadline: Deadline, until: float, *, timeout: float, late: str) -> Iterator[None]:
    """Call the HTTP client in the block; ``late`` is what to say if that lasts too long."""
    try:
        with explained(timeout), deadline.call(until):
            yield
    except Failure as failure:
        if not deadline.passed:
            raise
        raise Failure(late, Remedy.AGAIN) from failure
    if deadline.passed:  # an end that looks like one of the file
        raise Failure(late, Remedy.AGAIN)


def _close(response: httpx.Response) -> None:
    import httpx

    with contextlib.suppress(httpx.HTTPError, OSError):
        response.close()
