"""Commands to type, as they are shown."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_INDENT = "  "
_GOES_ON = " \\"  # a line of a shell


def wrapped_command(command: str, purpose: str, width: int) -> list[str]:
    r"""A comment, and the command in lines that end with a backslash, so that a shell takes them as they are copied.

    Args:
        command: quoted for a shell.
        purpose: what it is for.
        width: columns of the terminal; a longer word keeps a line of its own.
    """
    comment = _wrapped(purpose.split(), width, first=f"{_INDENT}# ", further=f"{_INDENT}# ")
    words = shlex.split(command, posix=False)
    *lines, last = _wrapped(words, width - len(_GOES_ON), first=_INDENT, further=2 * _INDENT)
    return [*comment, *(line + _GOES_ON for line in lines), last]


def _wrapped(words: Sequence[str], width: int, *, first: str, further: str) -> list[str]:
    from rich.cells import cell_len

    lines, line = [], first + words[0]
    for word in words[1:]:
        if cell_len(f"{line} {word}") > width:
            lines.append(line)
            line = further + word
        else:
            line += f" {word}"
    return [*lines, line]
