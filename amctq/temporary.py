"""The system's temporary folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from amctq.errors import WriteError, first_line


@contextlib.contextmanager
def temporary_folder(prefix: str = "amctq-", inside: Path | None = None) -> Iterator[Path]:
    """A new folder, removed at the end of the block with all that is in it.

    Args:
        prefix: the first characters of its name.
        inside: where it is made; None for the system's temporary folder, which TMPDIR may name.

    Raises:
        WriteError: no folder can be made there.
    """
    try:
        # What another process still writes into it must not hide the result of the block.
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=inside, ignore_cleanup_errors=True)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.filename else first_line(error)
        message = f"no usable temporary folder: {reason}"
        hint = "set TMPDIR to a folder that you may write to, with free space"
        raise WriteError(message, hint=hint) from error
    with folder:
        yield Path(folder.name)
