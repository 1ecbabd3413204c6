"""The standard streams of the process: a closed one is /dev/null, and a reader that goes away stops nothing."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any, TextIO

from amctq.errors import WriteError


def prepare_streams() -> None:
    """Give the process three streams that work. Call it first: a file that is opened gets the number of a closed one.

    stdout is data: a write that fails raises WriteError, but nothing is raised where the reader has gone away. stderr
    is talk: what cannot be written is dropped. Both write what they cannot encode as escapes, such as Chinese in ASCII.
    """
    for number in range(3):
        _open_if_closed(number)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115  # as long as the process
    sys.stdout = _writer(1, sys.stdout, _Data)
    sys.stderr = _writer(2, sys.stderr, _Talk)


class _Talk(io.FileIO):
    """Writes to a descriptor. After an error the descriptor is /dev/null, also for libraries written in C."""

    def write(self, data: Any, /) -> int:
        """Write the first bytes of ``data``, and return how many; wait where another process made it non-blocking."""
        while True:
            try:
                written = super().write(data)
            except OSError as error:
                _point_to_null(self.fileno())
                self._failed(error)
                return len(data)
            if written is not None:
                return written
            select.select([], [self.fileno()], [])

    def _failed(self, error: OSError) -> None:
        """Drop what cannot be written."""


class _Data(_Talk):
    """The same, but an error is raised once, unless the reader has gone away."""

    def _failed(self, error: OSError) -> None:
        if error.errno != errno.EPIPE:
            message = f"cannot write the result: {error.strerror}"
            raise WriteError(message, hint="give stdout a file or a pipe that can be written") from error


def _writer(number: int, former: TextIO | None, kind: type[_Talk]) -> TextIO:
    """A text stream with the settings of ``former``, which is None where the descriptor was closed."""
    set_up = former if isinstance(former, io.TextIOWrapper) else None
    return io.TextIOWrapper(
        io.BufferedWriter(kind(number, "w", closefd=False)),
        encoding=set_up.encoding if set_up else "utf-8",
        errors="backslashreplace",
        line_buffering=set_up.line_buffering if set_up else True,
        write_through=set_up.write_through if set_up else False,
    )


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        _point_to_null(number)


def _point_to_null(number: int) -> None:
    """Make a descriptor /dev/null. Child processes inherit it."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(opened, number)
        os.close(opened)
