"""One class of error for each exit code.

    AmctqError            1   a fault of amctq itself
    ├── UsageError        2   contradicting options, a file that would be overwritten
    ├── InputError        3   bad dataset, checkpoint, config, record or rank table
    ├── UnavailableError  4   a backend, device or outside tool is missing
    ├── CheckError        5   a checksum, an accuracy gate or an exported file failed its check
    ├── NetworkError      6   a download failed
    ├── WorkerError       7   a worker of a distributed run failed
    └── WriteError        8   disk full, no permission
    Stopped               BaseException, because it is no error of the program
    ├── Interrupted     130   Ctrl-C
    └── Terminated      143   SIGTERM

A message says what was found and what was expected. ``hint`` says what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar


def first_line(error: BaseException) -> str:
    """The first line with text of a library's message, else the class of the error."""
    try:
        text = str(error)
    except Exception:  # as of an error that holds a number of 5,000 digits
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip(" -")]
    return lines[0][:300] if lines else type(error).__name__


def listed(items: Sequence[str], most: int, between: str = ", ") -> str:
    """The first ``most`` of some items, for a message, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return between.join(items[:most]) + more


class AmctqError(Exception):
    """Base class of all errors that amctq raises on purpose.

    Attributes:
        exit_code: exit code of the process.
        code: stable name of the class of error, for programs.
        message: what was found and what was expected, in one line.
        hint: the next step, or None.
        data: the results that were measured before the error, ready for JSON; None if there are none.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str | None = None, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.data = data

    def __str__(self) -> str:
        return self.message


class UsageError(AmctqError):
    """Options contradict each other, or the run would overwrite files."""

    exit_code = 2
    code = "usage"


class InputError(AmctqError):
    """A dataset, checkpoint, config, record or rank table is not valid."""

    exit_code = 3
    code = "bad-input"


class UnavailableError(AmctqError):
    """A backend, a device or an outside tool is not on this machine."""

    exit_code = 4
    code = "unavailable"


class CheckError(AmctqError):
    """A result failed a check; ``data`` holds what was measured."""

    exit_code = 5
    code = "check-failed"


class NoSimulationError(AmctqError):
    """There is no simulation of a network whose layers are not separate cells; it can still be exported to ONNX.

    The user never gets this error: the run warns and continues.
    """


class NetworkError(AmctqError):
    """A download failed. Another try may succeed."""

    exit_code = 6
    code = "network"


class WorkerError(AmctqError):
    """A worker of a distributed run failed."""

    exit_code = 7
    code = "worker-failed"


class WriteError(AmctqError):
    """The file system refused a write."""

    exit_code = 8
    code = "write-failed"


class Stopped(BaseException):
    """The user or the system stopped the run. It is a BaseException, so that no ``except Exception`` catches it.

    Attributes:
        left: what the run has saved, for the message.
    """

    exit_code: ClassVar[int]
    code: ClassVar[str]
    left: str = "nothing was written"


class Interrupted(Stopped):
    """Ctrl-C, SIGINT."""

    exit_code = 130
    code = "interrupted"


class Terminated(Stopped):
    """SIGTERM."""

    exit_code = 143
    code = "terminated"


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint: the name most like ``name``, else the first few names."""
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known[:8])}{' …' * (len(known) > 8)}"
