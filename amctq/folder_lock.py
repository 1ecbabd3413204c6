"""A lock on a folder, so that two runs do not write to it at the same time."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from amctq.errors import UsageError

_LOCK = ".amctq.lock"
# What file systems without flock say, besides ENOSYS, for which filelock itself has another way.
_NO_FLOCK = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EBADF}
# Seconds. A run that is killed leaves a process that locks its folder too, to tidy it up, and is soon done.
_TIDYING = 3.0


class FolderLock:
    """Keeps two runs from writing to one folder. Its file is removed at the end.

    Args:
        folder: must exist when the lock is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / _LOCK
        self._lock: BaseFileLock = FileLock(self._file)

    @property
    def is_held(self) -> bool:
        """Whether this run holds the lock."""
        return self._lock.is_locked

    def acquire(self, *, by: str, instead: str, wait: float = _TIDYING) -> None:
        """Take the lock.

        Args:
            by: who else may hold it, for the message.
            instead: the option that names another folder.
            wait: seconds for whoever holds it to release it.

        Raises:
            UsageError: another run still holds it.
            OSError: the file system refuses.
        """
        try:
            try:
                self._lock.acquire(timeout=wait)
            except OSError as error:
                if isinstance(error, Timeout) or error.errno not in _NO_FLOCK:
                    raise
                with contextlib.suppress(OSError):
                    self._file.unlink()  # on such a file system nobody can hold it
                # A file of its own name: whoever makes it holds the lock, and it says which process that is.
                self._file = self._folder / f"{_LOCK}.pid"
                self._lock = SoftFileLock(self._file)
                self._lock.acquire(timeout=wait)
        except Timeout as error:
            message = f"{by} is writing to {self._folder}"
            raise UsageError(message, hint=f"wait for it, or choose another {instead}") from error

    def release(self) -> None:
        """Release the lock. The work is done by then, so a file system that refuses this or that is no error."""
        # The file is removed while it is locked: once filelock has the lock, it checks that the file has kept its name.
        kept = not self._remove()
        with contextlib.suppress(OSError):
            self._lock.release()
        if kept:  # shared folders of Windows remove no open file, so now it goes only if no other run has it open
            self._remove()

    def _remove(self) -> bool:
        if isinstance(self._lock, SoftFileLock):
            return True  # it removes its file itself
        try:
            self._file.unlink(missing_ok=True)
        except OSError:
            return False
        return True
