"""Opens regular files only: a name that a user gives may be a FIFO, which waits for ever, or a device without end."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path) -> BufferedReader:
    """A file for reading. What may wait for ever or never end is refused: a FIFO, a socket, a device.

    Raises:
        OSError: it cannot be read, or it is no regular file; ``strerror`` says which.
    """
    _check_regular(path, path.stat().st_mode)
    # Without waiting: another program may have put a FIFO there since.
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check_regular(path, os.fstat(opened).st_mode)
        return os.fdopen(opened, "rb")
    except BaseException:
        os.close(opened)
        raise


def why_no_file(path: Path) -> str | None:
    """What is at a path in place of a regular file, in words; None where there is one.

    Raises:
        OSError: the system does not tell.
    """
    try:
        _check_regular(path, path.stat().st_mode)
    except FileNotFoundError:
        return "no such file"
    except IsADirectoryError:
        return "it is a folder, expected a file"
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return str(error.strerror)
    return None


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no regular file")
        raise OSError(errno.EINVAL, f"it is {kind}, expected a file", str(path))
