"""Calling MindSpore's exporters, for every format."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amctq.disk import taken_by_disk
from amctq.errors import InputError, first_line
from amctq.signals import signal_handlers_kept

# Calls inside each other that MindSpore compiles; two for each layer of a chain. Its default is 1,000.
_DEPTH = 5000


@contextlib.contextmanager
def exporting(network: Any, target: Path, form: str) -> Iterator[str]:
    """Let MindSpore export ``network`` inside the block.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode.
        target: the file; an existing file is replaced.
        form: name of the format, for messages.

    Yields:
        The path for MindSpore, which refuses spaces and Chinese characters in names.

    Raises:
        InputError: MindSpore cannot export the network.
        OSError: there is no room for the file.
    """
    import mindspore

    # Otherwise a second export in one process fails, because of the cache of the first.
    network.compile_cache.clear()
    mindspore.set_recursion_limit(_DEPTH)
    # MindSpore does not report a full disk: it writes no file, or half of one. Here before its work, then again.
    room = shutil.disk_usage(target.parent)  # all zero where a file system does not say
    if room.total and room.free < sum(parameter.nbytes for parameter in network.get_parameters()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    plain = f"export{target.suffix}"
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with taken_by_disk(target), signal_handlers_kept():
            yield f"/proc/self/fd/{folder}/{plain}"
        os.chmod(plain, _mode(), dir_fd=folder)
        os.replace(plain, target.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        raise
    except Exception as error:
        message = f"MindSpore cannot export this network to {form}: {first_line(error)}"
        hint = (
            "check that it runs by itself on one tensor of such images (--image-size); else rewrite the named operation"
        )
        raise InputError(message, hint=hint) from error
    finally:
        os.close(folder)


def _mode() -> int:
    """The permissions that the umask leaves a new file. MindSpore lets nobody else read its files."""
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask
