"""The sums of files that nobody publishes sums of, as they were the first time; ``sha256sum -c`` reads them too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from amctq.errors import InputError
from amctq.files import OutputDirectory, reading

PINS = "fetched.sha256"


def read_pins(folder: Path) -> dict[str, str]:
    """SHA-256 by file name; empty where there is no such file.

    Raises:
        InputError: it is damaged.
    """
    path = folder / PINS
    with reading(str(path)):
        if not path.exists():
            return {}
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    pins = {}
    for number, line in enumerate(text.splitlines(), start=1):
        found = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line)
        if found is None:
            message = f"{path}, line {number}: found {line[:80]!r}, expected a SHA-256 and the name of a file"
            raise InputError(message, hint="mend that line, or remove the file to trust the files anew")
        pins[found[2]] = found[1]
    return pins


def write_pins(output: OutputDirectory, pins: Mapping[str, str]) -> None:
    """Replace the list of sums, at once or not at all.

    Raises:
        WriteError: the file system refuses.
    """
    lines = (f"{digest}  {name}\n" for name, digest in sorted(pins.items()))
    output.write(PINS, "".join(lines).encode(errors="surrogateescape"))
    output.publish()
