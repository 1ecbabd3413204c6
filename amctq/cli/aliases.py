"""The option names of the samples, which help does not show."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from typer.core import TyperCommand


def with_aliases(spellings: Mapping[str, str]) -> type[TyperCommand]:
    """Make a command class that accepts further names of options.

    Args:
        spellings: further name → name, both without leading dashes. All names, old and new, may be written with
            dashes or with underscores.
    """
    renamed = {f"--{old}".replace("_", "-"): f"--{new}".replace("_", "-") for old, new in spellings.items()}

    def translate(argument: str) -> str:
        name, equals, value = argument.partition("=")
        if not name.startswith("--"):
            return argument
        name = name.replace("_", "-")
        return renamed.get(name, name) + equals + value

    class CommandWithAliases(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            end = args.index("--") if "--" in args else len(args)
            return super().parse_args(ctx, [*map(translate, args[:end]), *args[end:]])

    return CommandWithAliases


def more_after_dashes(command: type[TyperCommand]) -> type[TyperCommand]:
    """Make a command class that reads words after ``--`` as further options, because a script may add them there."""

    class CommandWithMore(command):  # type: ignore[misc, valid-type]
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            parsed: list[str] = super().parse_args(ctx, [argument for argument in args if argument != "--"])
            return parsed

    return CommandWithMore


def sample_line(command: type[TyperCommand], *options: str) -> type[TyperCommand]:
    """Make a command class that also accepts the positional words of a sample's script, before all options.

    Args:
        command: the command class to extend.
        options: for each word in order, the option that it is the value of, without dashes. With fewer or more
            words, the command refuses them.
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
