"""Ends a call of the HTTP client that lasts too long.

The client limits the time from one byte to the next. A server that sends a byte of a header now and then, or headers
without end, could so hold one call for days. A thread shuts the connection of such a call down.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

_TICK = 0.1


class Deadline:
    """Watches the calls of one try, as a context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._connection: socket.socket | None = None
        self._until: float | None = None
        self._passed = False
        self._thread = threading.Thread(target=self._watch, name="amctq-download-deadline", daemon=True)

    def __enter__(self) -> Deadline:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()

    @property
    def passed(self) -> bool:
        """Whether a call has been ended. What it has returned then is incomplete, even if it looks like an end."""
        return self._passed

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """The ``trace`` extension of a request: learns which connection it uses."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                self._connection = info["return_value"].get_extra_info("socket")

    @contextlib.contextmanager
    def call(self, until: float) -> Iterator[None]:
        """End the call in the block at ``until``, in the time of ``time.monotonic``."""
        with self._lock:
            self._until = until
        try:
            yield
        finally:
            with self._lock:
                self._until = None

    def _watch(self) -> None:
        while not self._left.wait(_TICK):
            with self._lock:
                if self._until is None or self._connection is None or time.monotonic() < self._until:
                    continue
                self._passed, self._until = True, None
                # Of the class, because that of an SSLSocket would take TLS away from under the call.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
