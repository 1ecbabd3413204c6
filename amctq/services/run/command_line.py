"""The command line of a request: what a user types for the same run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amctq.services.option import Option, Request

# They change where files lie, the language of a page, and whether a stopped run goes on: not what is in the report.
_LEFT_OUT = frozenset({"output_dir", "force", "lang", "resume"})


def command_line(command: str, request: Request) -> Iterator[str]:
    """The words of a command line: the options that differ from their defaults, wherever they were set.

    Args:
        command: name of the command.
        request: its request. A library call has one too.
    """
    yield "amctq"
    yield command
    defaults = {item.name: item.default for item in fields(request)}
    for name, (_, option) in type(request).options().items():
        value = getattr(request, name)
        if option is None or name in _LEFT_OUT or value is None or value == defaults[name]:
            continue
        flag = f"--{option.name or name.replace('_', '-')}"
        if isinstance(value, bool):
            yield flag if value else f"--no-{flag.removeprefix('--')}"
        else:
            for text in _texts(value, option):
                yield flag
                yield text


def _texts(value: Any, option: Option) -> Iterator[str]:
    """The values that an option is given; several where it is repeated."""
    if not isinstance(value, tuple):
        yield _text(value)
    elif option.read is None or (option.repeatable and value and isinstance(value[0], tuple)):
        yield from map(_text, value)
    else:
        yield ",".join(map(_text, value))


def _text(value: Any) -> str:
    """One value as ``services.spelling`` reads it."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):  # a name with bits, or with a shape
        name, rest = value
        return f"{name}:{'x'.join(map(str, rest))}" if isinstance(rest, tuple) else f"{name}={rest}"
    return str(value) if isinstance(value, (str, Path)) else f"{value!r}"
