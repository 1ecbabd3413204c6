"""Takes a local file, with the same checks as a download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from amctq.download.source import Downloaded, Source
from amctq.download.sums import Summing, Sums
from amctq.errors import CheckError, InputError
from amctq.files import put_in_place, reading, writing
from amctq.input_file import refuse_pointer
from amctq.progress import Reporter
from amctq.regular_file import open_regular, why_no_file

_HEAD = 256  # bytes that show what a file is


def copy_in(
    source: Source,
    given: Path,
    target: Path,
    *,
    option: str,
    reporter: Reporter,
    before_publish: Callable[[Sums], None] = lambda sums: None,
) -> Downloaded:
    """Copy ``given`` to ``target``, which must be in a directory that this run holds.

    Args:
        source: what is known about the file.
        given: the local file.
        target: its new path; replaced if it exists.
        option: that ``given`` came with, for messages.
        reporter: receives progress in bytes.
        before_publish: called when the file is complete and right, before it gets its name.

    Raises:
        InputError: ``given`` cannot be read, is not a file, or is empty.
        CheckError: it is not the expected file.
        WriteError: the file system refuses.
    """
    size = check_given(given, option=option)
    summing = Summing(md5=source.md5 is not None)
    copy = target.with_name(f".{target.name}.copy")
    with writing(target):
        copy.unlink(missing_ok=True)  # left by a run that was killed
    try:
        with reporter.phase(target.name, size, unit="bytes") as advance, reading(f"{option} {given}"):
            stream = open_regular(given)
        with stream, writing(target), copy.open("wb") as out:
            while block := stream.read(1 << 20):
                out.write(block)
                summing.add(block)
                advance(summing.bytes)
        sums = summing.sums()
        if wrong := source.mismatch(sums):
            message = f"{option} {given} is not the file expected: {wrong}"
            raise CheckError(message, hint="get it again, or pass the --sha256 of the file that you mean")
        before_publish(sums)
        with writing(target):
            put_in_place(copy, target)
    finally:
        copy.unlink(missing_ok=True)
    return Downloaded(path=target, sums=sums, url=None, transferred=0)


def check_given(given: Path, *, option: str) -> int:
    """The length of a local file, in bytes.

    Raises:
        InputError: it cannot be read, is not a file, is empty, or is a pointer of git-lfs.
    """
    with reading(f"{option} {given}"):
        if (found := why_no_file(given)) is not None:
            message = f"{option} {given}: {found}"
            raise InputError(message, hint="check the path")
        size = given.stat().st_size
        with open_regular(given) as stream:
            head = stream.read(_HEAD)
    if not size:
        message = f"{option} {given}: the file is empty"
        raise InputError(message, hint="get it again")
    refuse_pointer(head, f"{option} {given}")
    return size
