"""The list of checksums from first downloads, for files without published ones; ``sha256sum -c`` can read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from amctq.errors import InputError
from amctq.files import OutputDirectory, reading
from amctq.input_file import read_input, text_of

PINS = "fetched.sha256"


def read_pins(folder: Path) -> dict[str, str]:
    """Read the list: SHA-256 by file name; empty if there is no list.

    Raises:
        InputError: the list is damaged.
    """
    path = folder / PINS
    with reading(str(path)):
        if not path.exists():
            return {}
    content = read_input(path, what="list of checksums", option="--output-dir")
    lines = text_of(content, str(path), errors="surrogateescape").removesuffix("\n").split("\n")
    pins = {}
    for number, line in enumerate(lines if content else [], start=1):
        found = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line)
        if found is None:
            message = f"{path}, line {number}: found {line[:80]!r}, expected a SHA-256 and the name of a file"
            raise InputError(message, hint="correct that line, or remove this list to accept the files as they are")
        pins[found[2]] = found[1]
    return pins


def write_pins(output: OutputDirectory, pins: Mapping[str, str]) -> None:
    """Replace the list of sums, completely or not at all.

    Raises:
        WriteError: the list cannot be written.
    """
    lines = (f"{digest}  {name}\n" for name, digest in sorted(pins.items()))
    output.write(PINS, "".join(lines).encode(errors="surrogateescape"))
    output.publish()
