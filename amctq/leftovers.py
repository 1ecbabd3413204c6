"""What a process would leave behind if it were killed, and a second process that then removes it.

    python -m amctq.leftovers

SIGKILL, and the kernel when memory runs out, give a process no time to tidy up. So it tells this one, in lines of
JSON on its stdin, what it is about to make and what it has removed. When stdin ends, the first process has ended,
whatever the way, and what it has not removed itself is removed here. Python's multiprocessing has such a resource
tracker for shared memory; this is one for folders.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.disk import temporary_name
from amctq.errors import UsageError, WriteError
from amctq.signals import signals_held

_OWN = ".amctq"  # begins the names of locks and of all that is not finished yet
STAGING = f"{_OWN}-partial"  # begins the name of everything that is not finished yet
LAUNCH_ID = "AMCTQ_LAUNCH_ID"  # marks every process of a launch, even when its parent has changed
_SECONDS = 15.0  # for the processes of a killed launch to end
_PAUSE = 0.1


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """What one run may leave.

    Attributes:
        folders: to remove with all that is in them.
        claimed: a folder that a run locks for itself, to free of its lock and of unfinished files; None for none. If
            another run has it by then, nothing of this is touched.
        made: folders to remove if they are empty, the outer ones first.
    """

    folders: tuple[Path, ...] = ()
    claimed: Path | None = None
    made: tuple[Path, ...] = ()

    def clear(self, *, wait: float = 0.0) -> None:
        """Remove it, if it is there. What the file system refuses is left.

        Args:
            wait: seconds for a run that still has ``claimed`` to end.
        """
        with signals_held(), contextlib.suppress(OSError, UsageError):
            if self.claimed is None or not self.claimed.is_dir():
                self._clear_folders()
            else:
                self._clear_claimed(self.claimed, time.monotonic() + wait)
        for folder in reversed(self.made):
            with contextlib.suppress(OSError):  # it is in use
                folder.rmdir()

    def _clear_claimed(self, claimed: Path, until: float) -> None:
        from amctq.folder_lock import FolderLock  # loads much, and processes that only watch are to stay small

        lock = FolderLock(claimed)
        # The next run may have tidied up and ended by now: then a lock would be a file in a folder that is finished.
        while any(folder.exists() for folder in self.folders) or _unfinished(claimed):
            try:
                lock.acquire(by="another run", instead="folder", wait=0.0)
            except UsageError:
                if time.monotonic() > until:
                    return
                time.sleep(_PAUSE)
                continue
            try:
                self._clear_folders()
                for folder in (claimed, *filter(Path.is_dir, claimed.iterdir())):
                    clear_partials(folder)
            finally:
                lock.release()
            return

    def _clear_folders(self) -> None:
        for folder in self.folders:
            until = time.monotonic() + 1.0
            while folder.exists():  # a process that is ending may write one more file meanwhile
                shutil.rmtree(folder, ignore_errors=True)
                if not folder.exists() or time.monotonic() > until:
                    break
                time.sleep(_PAUSE)


def _unfinished(folder: Path) -> bool:
    """Whether a run is at work in ``folder`` or has left something: a lock, or unfinished files."""
    return any(folder.glob(f"{_OWN}*")) or any(folder.glob(f"*/{_OWN}*"))


def clear_partials(folder: Path) -> None:
    """Remove what a killed ``write_whole`` has left in ``folder``."""
    for partial in folder.glob(f"{STAGING}-*"):
        if partial.is_file():
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def watched(leftover: Leftover) -> Iterator[None]:
    """Have ``leftover`` removed if this process is killed in the block."""
    if LAUNCH_ID in os.environ:  # the launcher does it when all processes of the launch have ended
        yield
        return
    number = _tracker.add(leftover)
    try:
        yield
    finally:
        if not any(folder.exists() for folder in leftover.folders):  # a signal may have stopped their removal
            _tracker.drop(number)


@contextlib.contextmanager
def temporary_folder(inside: Path | None = None) -> Iterator[Path]:
    """A new folder, for the time of the block.

    Args:
        inside: where it is made; None for the system's temporary folder.

    Raises:
        WriteError: it cannot be made, or there is no usable temporary folder.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(inside or tempfile.gettempdir()).absolute() / temporary_name(uuid.uuid4().hex)
            stack.enter_context(watched(Leftover(folders=(folder,))))
            stack.callback(_remove, folder)
            folder.mkdir(mode=0o700)
        except OSError as error:
            message = f"there is no usable temporary folder: {error.strerror or error}"
            raise WriteError(
                message, hint="free some space there, or set TMPDIR to a folder that can be written"
            ) from error
        yield folder


def _remove(folder: Path) -> None:
    with signals_held():
        shutil.rmtree(folder, ignore_errors=True)


def process_folder() -> Path:
    """A temporary folder that lasts until this process ends.

    Raises:
        WriteError: there is no usable temporary folder.
    """
    return _process.folder()


def end() -> None:
    """Remove the folder of this process; for one that ends without Python's own way of ending."""
    _process.end()
    _tracker.end()


class _Process:
    """The folder of this process, made on first use."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._folder: Path | None = None
        self._pid = 0

    def folder(self) -> Path:
        if self._folder is None or self._pid != os.getpid():  # a forked process has one of its own
            self._stack = contextlib.ExitStack()
            self._folder, self._pid = self._stack.enter_context(temporary_folder()), os.getpid()
        return self._folder

    def end(self) -> None:
        if self._pid == os.getpid():
            self._folder = None
            self._stack.close()


class _Tracker:
    """The process that removes what this one leaves; it is started on first use. Without it a run works as well."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._started: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def add(self, leftover: Leftover) -> int:
        """Have it removed if this process ends before ``drop`` is called with the number returned."""
        number = next(self._numbers)
        if self._started is None or self._pid != os.getpid():
            self._pid, self._started = os.getpid(), _start()
        self._tell(
            number=number,
            folders=[str(folder.absolute()) for folder in leftover.folders],
            claimed=leftover.claimed and str(leftover.claimed.absolute()),
            made=[str(folder.absolute()) for folder in leftover.made],
        )
        return number

    def drop(self, number: int) -> None:
        if self._pid == os.getpid():
            self._tell(number=number)

    def end(self) -> None:
        """End the process, which has nothing to do then."""
        if self._started is not None and self._pid == os.getpid():
            with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
                self._started.communicate(timeout=_PAUSE * 20)
            self._started = None

    def _tell(self, **message: Any) -> None:
        if self._started is not None and self._started.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # somebody has killed it
                self._started.stdin.write(json.dumps(message).encode() + b"\n")


def _start() -> subprocess.Popen[bytes] | None:
    """Start it in a session of its own, so that what ends a terminal or a group of processes does not end it too."""
    places = [str(Path(place).absolute()) for place in sys.path if place]
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "amctq.leftovers"],
            bufsize=0,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None


def main() -> None:
    """Remove what the process at the other end of stdin leaves."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    left: dict[int, Leftover] = {}
    for line in sys.stdin.buffer:
        if not line.endswith(b"\n"):  # it was killed while it wrote
            break
        message = json.loads(line)
        number = message.pop("number")
        left.pop(number, None)
        if message:
            left[number] = Leftover(
                folders=tuple(map(Path, message["folders"])),
                claimed=message["claimed"] and Path(message["claimed"]),
                made=tuple(map(Path, message["made"])),
            )
    for leftover in reversed(left.values()):  # what was begun last is inside what was begun first
        leftover.clear(wait=_SECONDS)


_process, _tracker = _Process(), _Tracker()
atexit.register(end)

if __name__ == "__main__":
    main()
