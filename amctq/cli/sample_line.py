"""The command lines of the sample's shell scripts, whose words have no names but an order."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from typer.core import TyperCommand


def sample_line(command: type[TyperCommand], *options: str) -> type[TyperCommand]:
    """A command class that takes the words of a sample's script too, in front of all options; help does not show it.

    Args:
        command: the class.
        options: in the order of the script's words, the option that each is the value of, without dashes. Fewer or
            more words are left to the command, which knows none.
    """

    class CommandWithSampleLine(command):  # type: ignore[misc, valid-type]
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            words = list(takewhile(lambda word: not word.startswith("-"), args))
            if len(words) == len(options):
                named = [f"--{option}={word}" for option, word in zip(options, words, strict=True)]
                args = [*named, *args[len(words) :]]
            parsed: list[str] = super().parse_args(ctx, args)
            return parsed

    return CommandWithSampleLine
