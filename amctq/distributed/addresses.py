"""Which addresses belong to this machine, and which of its ports are free."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from amctq.distributed.rank_table import parse_address
from amctq.errors import UsageError


def is_own(name: str) -> bool:
    """Whether an address or a host name belongs to this machine."""
    if parse_address(name) is None and name.split(".")[0] == socket.gethostname().split(".")[0]:
        return True
    return _bound(name, 0) is None


def port_obstacle(address: str, port: int) -> str | None:
    """Why no process can listen there; None if one can."""
    error = _bound(address, port)
    if error is None:
        return None
    if error.errno == errno.EADDRINUSE:
        return "in use"
    if error.errno == errno.EADDRNOTAVAIL:
        return "not an address of this server"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


def unused_port(address: str) -> int:
    """A free port of ``address``, which must belong to this machine.

    Raises:
        UsageError: no process can listen there.
    """
    try:
        with contextlib.closing(_listening(address, 0)) as opened:
            port: int = opened.getsockname()[1]
            return port
    except OSError as error:
        message = f"--master-addr {address}: {error.strerror or error}, expected an address of this server"
        raise UsageError(message, hint="leave it out if there is only one server") from error


def _bound(address: str, port: int) -> OSError | None:
    try:
        _listening(address, port).close()
    except OSError as error:
        return error
    return None


def _listening(address: str, port: int) -> socket.socket:
    family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was in use a moment ago is free
        opened.bind(place)
        opened.listen()
    except OSError:
        opened.close()
        raise
    return opened
