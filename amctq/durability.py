"""Writes to the disk, as far as a file system can: not every one can do it for every file and folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# fsync is not made for it: CIFS, VirtualBox's shared folders and many a FUSE say so with one or the other.
_CANNOT = {
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EBADF,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
}
_LOST = {errno.EIO, errno.ENOSPC, errno.EDQUOT}


def make_durable(file: Path) -> None:
    """Write a file's content to the disk, so that a power cut does not lose it.

    Raises:
        OSError: the content cannot be kept. Where the file system has no such call, nothing is raised.
    """
    opened = os.open(file, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(opened)


def make_names_durable(folder: Path) -> None:
    """Write a folder's names to the disk. The files are there already, so only a failing or full disk is an error.

    Raises:
        OSError: the disk fails or is full.
    """
    try:
        opened = os.open(folder, os.O_RDONLY)  # refused in a folder that may be written to, but not be listed
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno in _LOST:
            raise
