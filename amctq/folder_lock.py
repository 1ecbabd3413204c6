"""A lock on a folder, so that two runs do not write to it at the same time."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from amctq.errors import UsageError

_LOCK = ".amctq.lock"


class FolderLock:
    """Keeps two runs from writing to one folder. Its file is removed at the end.

    Args:
        folder: must exist when the lock is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / _LOCK
        self._lock = FileLock(self._file)

    @property
    def is_held(self) -> bool:
        """Whether this run holds the lock."""
        return self._lock.is_locked

    def acquire(self, *, by: str, instead: str) -> None:
        """Take the lock, without waiting.

        Args:
            by: who else may hold it, for the message.
            instead: the option that names another folder.

        Raises:
            UsageError: another run holds it.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            message = f"{by} is writing to {self._folder}"
            raise UsageError(message, hint=f"wait for it, or choose another {instead}") from error

    def release(self) -> None:
        """Release the lock."""
        # The file is removed while it is locked: once filelock has the lock, it checks that the file has kept its name.
        self._file.unlink(missing_ok=True)
        self._lock.release()
