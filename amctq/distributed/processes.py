"""Processes that end with their parent. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends; valid after exec, but not for its children."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def birth(pid: int) -> str | None:
    """Start time of a process, which distinguishes it from a later one of the same id; None if it has ended."""
    stat = _stat(pid)
    return None if stat is None or stat[0] in "ZX" else stat[19]


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return birth(pid) is not None


def marked(name: str, value: str) -> list[int]:
    """Running processes that were started with ``name=value`` in their environment, without this one."""
    wanted = f"{name}={value}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):  # it has ended, or belongs to another user
                if wanted in (folder / "environ").read_bytes().split(b"\0") and is_alive(int(folder.name)):
                    found.append(int(folder.name))
    return found


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()  # the name of the program may have any characters
