"""Why a try to download failed, and what may help: another try, another address, or neither."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from enum import Enum

from amctq.errors import first_line

PROXY_LOGIN = "the proxy needs a login: put it into HTTP_PROXY and HTTPS_PROXY, as http://USER:PASSWORD@host:port"


class Remedy(Enum):
    """What may help."""

    AGAIN = "the same address a little later"
    ADDRESS = "another address"
    HOST = "another host"


class Failure(Exception):
    """One try failed.

    Attributes:
        reason: what happened, for the user.
        remedy: what may help.
        hint: the next step, if this failure has its own.
        unreachable: there was no answer, so other addresses of that host are not tried.
        wrong_content: the file was received, but it is not the expected one.
        wait: seconds that the server asked to wait.
    """

    def __init__(
        self,
        reason: str,
        remedy: Remedy,
        *,
        hint: str | None = None,
        unreachable: bool = False,
        wrong_content: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.hint = hint
        self.unreachable = unreachable
        self.wrong_content = wrong_content
        self.wait = wait


@contextlib.contextmanager
def explained(timeout: float) -> Iterator[None]:
    """Turn every error of the HTTP client into a Failure. Nothing but a call of the client belongs in the block."""
    import httpx

    try:
        yield
    except httpx.ConnectTimeout as error:
        reason = f"no connection within {timeout:g} s"
        raise Failure(reason, Remedy.AGAIN, unreachable=True) from error
    except httpx.TimeoutException as error:
        reason = f"no data for {timeout:g} s"
        raise Failure(reason, Remedy.AGAIN) from error
    except httpx.ConnectError as error:
        raise _not_connected(error) from error
    except httpx.ProxyError as error:
        reason = f"the proxy refuses: {first_line(error)}"
        hint = PROXY_LOGIN if "407" in reason else "check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY"
        raise Failure(reason, Remedy.HOST, hint=hint) from error
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        reason = f"the connection broke off: {first_line(error)}"
        raise Failure(reason, Remedy.AGAIN) from error
    except (httpx.TooManyRedirects, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        reason = f"the redirections lead to no file: {first_line(error)}"
        raise Failure(reason, Remedy.ADDRESS) from error
    except httpx.HTTPError as error:
        reason = f"no valid answer: {first_line(error)}"
        raise Failure(reason, Remedy.ADDRESS) from error
    except Exception as error:  # the client trusts that names and headers are what the standards say
        reason = f"no valid answer: {type(error).__name__}: {first_line(error)}"
        raise Failure(reason, Remedy.ADDRESS) from error


def _not_connected(error: BaseException) -> Failure:
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = f"its certificate is not trusted: {cause.verify_message}"
            hint = "set SSL_CERT_FILE to the certificate of your network's authority, or see --insecure"
            return Failure(reason, Remedy.HOST, hint=hint)
        if isinstance(cause, ssl.SSLError):
            return Failure(f"TLS failed: {first_line(cause)}", Remedy.HOST)
        if isinstance(cause, socket.gaierror):
            return Failure(f"its name is not known: {cause.strerror}", Remedy.AGAIN, unreachable=True)
    return Failure(f"no connection: {first_line(error)}", Remedy.AGAIN, unreachable=True)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: the client wraps the error of the system."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
