"""A trial of a MindIR file in a process of its own.

MindSpore's loader and runtime end the process on some damage that cannot be seen in the file: an operator that lacks
an operand, for example. So a file of a user is run there first, on one batch of zeros, while this process starts
MindSpore. What MindSpore reports as an error is left to the session that comes after it, which names it better.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from amctq.errors import InputError
from amctq.files import writing
from amctq.inference.session import TENSOR_TYPES

_SECONDS = 600.0
# Sizes for dynamic axes: the batch, and the others.
_BATCH, _SIZE = 2, 64
_HINT = "the file is damaged, or made for another version of MindSpore; export it again"


@contextlib.contextmanager
def trial(content: bytes, scratch: Path) -> Iterator[Callable[[], None]]:
    """Begin the trial of a file; the block gets a function that waits for its end.

    Args:
        content: of the file.
        scratch: folder for a copy of it.

    Raises:
        InputError: from that function: MindSpore does not survive the file, or does not come to an end.
    """
    copy = scratch / "trial.mindir"
    with writing(scratch):
        copy.write_bytes(content)
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(copy)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield lambda: _wait(process)
    finally:
        process.kill()
        process.wait()
        copy.unlink(missing_ok=True)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        code = process.wait(_SECONDS)
    except subprocess.TimeoutExpired as error:
        message = f"MindSpore does not finish one batch of it within {_SECONDS:.0f} s"
        raise InputError(message, hint=_HINT) from error
    if code < 0:
        message = f"MindSpore crashes when it runs the model (signal {signal.Signals(-code).name})"
        raise InputError(message, hint=_HINT)


def _dtype(tensor_type: str) -> str:
    return next(name for name, kind in TENSOR_TYPES.items() if kind == tensor_type)


def _shape(shape: tuple[int | str | None, ...]) -> list[int]:
    batch, *sizes = shape
    return [batch if isinstance(batch, int) else _BATCH, *(size if isinstance(size, int) else _SIZE for size in sizes)]


def _main(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import numpy as np

    from amctq.choices import Device
    from amctq.leftovers import temporary_folder
    from amctq.runtime import load_mindspore, resolve_device

    with temporary_folder(path.parent) as scratch:
        load_mindspore(resolve_device(Device.CPU, None), scratch)
        from amctq.inference.mindir_session import MindirSession

        session = MindirSession(path.read_bytes())
        session.run({port.name: np.zeros(_shape(port.shape), _dtype(port.type)) for port in session.inputs})


if __name__ == "__main__":
    with contextlib.suppress(Exception):
        _main(Path(sys.argv[1]))
    os._exit(0)  # MindSpore's threads may abort a normal exit
