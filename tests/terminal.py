"""Commands on a pseudo terminal, and what a person sees there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.command import AMCTQ, plain_environment

ESCAPE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")
_TOKEN = re.compile(rf"{ESCAPE.pattern}|(\r|\n)|([^\x1b\r\n]+)")


@dataclass(frozen=True)
class Seen:
    """A command that has ended, with what it has sent to each of its two terminals.

    Attributes:
        code: exit code.
        out: what stdout has sent, with every escape sequence.
        err: the same of stderr.
    """

    code: int
    out: str
    err: str

    @property
    def stdout(self) -> list[str]:
        """The lines that stay on the terminal of stdout."""
        return screen(self.out)

    @property
    def stderr(self) -> list[str]:
        """The lines that stay on the terminal of stderr."""
        return screen(self.err)


def on_terminals(*arguments: object, columns: int, env: Mapping[str, str] | None = None) -> Seen:
    """Run ``amctq`` in the current directory, with a terminal of that width for stdout and one for stderr."""
    environment = {name: value for name, value in plain_environment().items() if name not in {"COLUMNS", "NO_COLOR"}}
    with contextlib.ExitStack() as stack:
        terminals = [stack.enter_context(_terminal(columns)) for _ in range(2)]
        process = subprocess.Popen(
            [AMCTQ, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=terminals[0].inside,
            stderr=terminals[1].inside,
            env=environment | {"TERM": "xterm-256color"} | dict(env or {}),
        )
        for terminal in terminals:
            terminal.start()
        code = process.wait(300)
        texts = [terminal.text() for terminal in terminals]
    return Seen(code, *texts)


class _Terminal:
    def __init__(self, outside: int, inside: int) -> None:
        self.inside, self._outside, self._parts = inside, outside, bytearray()
        self._reader = threading.Thread(target=self._read)

    def start(self) -> None:
        """Leave the inner end to the command, and read the outer one."""
        os.close(self.inside)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the command has ended
            while part := os.read(self._outside, 65536):
                self._parts += part

    def text(self) -> str:
        """All that the command has sent."""
        self._reader.join(60)
        return self._parts.decode()


@contextlib.contextmanager
def _terminal(columns: int) -> Iterator[_Terminal]:
    outside, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    yield _Terminal(outside, inside)
    os.close(outside)


def screen(sent: str) -> list[str]:
    """The lines that a terminal shows in the end: what Rich sends to move the cursor and to clear lines is obeyed."""
    lines, row, column = [""], 0, 0
    for numbers, letter, control, text in _TOKEN.findall(sent):
        if control == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif control == "\r":
            column = 0
        elif text:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + text + line[column + len(text) :]
            column += len(text)
        elif letter == "A":
            row = max(row - int(numbers or 1), 0)
        elif letter == "K":
            lines[row] = "" if numbers == "2" else lines[row][:column]
    return [line.rstrip() for line in lines]
