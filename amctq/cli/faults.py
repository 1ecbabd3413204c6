"""What an exception of another library, of the user's code or of the system means for the user of the command."""

from __future__ import annotations

import os

from amctq.errors import AmctqError, InputError, Interrupted, Stopped, WriteError, first_line


def described(error: BaseException) -> AmctqError | Stopped:
    """The error of amctq as which any exception is reported.

    Readers of files raise errors of amctq themselves, with the name of the file. What is left is the machine's fault
    (exit 8), or comes from input that no reader has refused (exit 3), or is a fault of amctq itself (exit 1).
    """
    if isinstance(error, (AmctqError, Stopped)):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted()
    if isinstance(error, OSError):
        return _of_system(error)
    said = first_line(error)
    if isinstance(error, MemoryError):
        return InputError(
            f"the memory of this machine is too small for these inputs: {said}",
            hint="take fewer or smaller images, or a smaller --batch-size, and check that no file is damaged",
        )
    if isinstance(error, RecursionError):
        return InputError(
            f"an input is nested too deeply: {said}",
            hint="check the network and the files that the options name; --verbose shows where it is",
        )
    if isinstance(error, UnicodeError):
        return InputError(
            f"a text has characters that cannot be read or written: {said}",
            hint="use file names and values that are valid UTF-8; --verbose shows where it is",
        )
    if isinstance(error, (SystemExit, GeneratorExit)):
        return InputError(
            f"the code of a network or a dataset has ended the run: {type(error).__name__}: {said}",
            hint="run it by itself, and take sys.exit out of what amctq imports and calls",
        )
    return AmctqError(
        f"a fault of amctq itself: {type(error).__name__}: {said}",
        hint="run it again with --verbose, and report the traceback",
    )


def _of_system(error: OSError) -> WriteError:
    reason = os.strerror(error.errno) if error.errno else first_line(error)
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    place = f" {' and '.join(names)}" if names else ""
    return WriteError(
        f"the system refuses{place}: {reason}",
        hint="check the disk, the permissions and the limits (ulimit -a) of this machine; --verbose shows where it is",
    )
