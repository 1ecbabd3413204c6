"""Whether the disk takes a file that a library writes, and what to do when it takes none.

Code in C++ does not report what the system refuses: it raises an error of its own, or writes half a file and says
nothing.
"""

from __future__ import annotations

import contextlib
import errno
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

_OWN_FOLDER = re.compile(r"amctq-[0-9a-f]{32}")
_MARGIN = 1 << 20  # bytes beyond the file itself; a library writes in blocks, and stops before the last byte
_PAGE = 1 << 16


def temporary_name(number: str) -> str:
    """The name of a temporary folder of amctq."""
    return f"amctq-{number}"


@contextlib.contextmanager
def taken_by_disk(target: Path, size: int = 0) -> Iterator[None]:
    """Let a library write a file inside the block.

    Args:
        target: the file.
        size: bytes that it may have.

    Raises:
        OSError: the disk does not take the file, whatever the library says.
    """
    try:
        yield
    except Exception:
        check_room(target, size + _MARGIN)
        raise
    check_room(target, _PAGE)  # after half a file there is no room for more


def check_room(target: Path, size: int = _MARGIN) -> None:
    """Write ``size`` bytes beside ``target``, and remove them.

    Raises:
        OSError: the system refuses.
    """
    path = target.with_name(f"{target.name}.probe")
    try:
        with path.open("wb", buffering=0) as file:
            while size > 0:
                size -= file.write(bytes(min(size, _MARGIN)))
    finally:
        path.unlink(missing_ok=True)


def remedy(number: int | None, target: Path) -> str:
    """What to do when the system refuses to write ``target``, by the number of the error."""
    if is_temporary(target):
        return f"free some space in {tempfile.gettempdir()}, or set TMPDIR to another folder that you may write to"
    return {
        errno.ENOSPC: "free some space on that disk, or choose another --output-dir",
        errno.EDQUOT: "your disk quota is used up: free some space, or choose another --output-dir",
        errno.EACCES: "choose an --output-dir that you may write to",
        errno.EPERM: "choose an --output-dir that you may write to",
        errno.EROFS: "that file system is read-only: choose another --output-dir",
    }.get(number or 0, "choose another --output-dir")


def is_temporary(target: Path) -> bool:
    """Whether a file is in a temporary folder of amctq, which TMPDIR moves."""
    system, place = Path(tempfile.gettempdir()).absolute(), target.absolute()
    return system in place.parents and _OWN_FOLDER.fullmatch(place.relative_to(system).parts[0]) is not None
