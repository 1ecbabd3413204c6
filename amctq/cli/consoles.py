"""Consoles for the two streams: a terminal gets boxes, bars and colours, and everything else plain lines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def console_of(stream: TextIO) -> Console:
    """A console that writes to ``stream``.

    A pipe is plain whatever FORCE_COLOR says, because programs read it; NO_COLOR leaves no style at all.
    """
    from rich.console import Console

    terminal = stream.isatty()
    return Console(
        file=stream,
        force_terminal=None if terminal else False,
        color_system="auto" if terminal and not os.environ.get("NO_COLOR") else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
