"""The list of checksums from first downloads, for files without published ones; ``sha256sum -c`` can read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from amctq.errors import InputError
from amctq.files import OutputDirectory, reading
from amctq.input_file import read_input, text_of

PINS = "fetched.sha256"
_LONGEST = 1 << 20


def read_pins(folder: Path) -> dict[str, str]:
    """Read the list: SHA-256 by file name; empty if there is no list.

    Raises:
        InputError: the list is damaged.
    """
    path = folder / PINS
    hint = "correct that line, or remove this list to accept the files as they are"
    with reading(str(path)):
        if not path.exists():
            return {}
        if not path.is_file() or path.stat().st_size > _LONGEST:
            message = f"{path}: expected a list of sums, a text file of {_LONGEST:,} bytes at most"
            raise InputError(message, hint="remove it, or choose another --output-dir")
    content = read_input(path, what="list of checksums", option="--output-dir")
    # Names come from addresses, and need not be UTF-8.
    lines = text_of(content, str(path), errors="surrogateescape").removesuffix("\n").split("\n")
    pins: dict[str, str] = {}
    for number, line in enumerate(lines if content else [], start=1):
        found = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)", line)
        if found is None:
            message = f"{path}, line {number}: found {line[:80]!a}, expected a SHA-256 and the name of a file"
            raise InputError(message, hint=hint)
        digest, name = found[1].lower(), found[2]
        if pins.setdefault(name, digest) != digest:
            message = f"{path}, line {number}: a second SHA-256 of {name!a}"
            raise InputError(message, hint=hint)
    return pins


def write_pins(output: OutputDirectory, pins: Mapping[str, str]) -> None:
    """Replace the list of sums, completely or not at all.

    Raises:
        WriteError: the list cannot be written.
    """
    lines = (f"{digest}  {name}\n" for name, digest in sorted(pins.items()))
    output.write(PINS, "".join(lines).encode(errors="surrogateescape"))
    output.publish()
