"""What a field of a request says of itself as an option: help, spelling, limits. Knows no command line.

A request declares an option as ``Annotated[type, Option(…)]``, and gives its default as every dataclass does. The
command line makes its option from that, and every request checks the limits, from the library too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from inspect import get_annotations
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from amctq.errors import UsageError

INPUT, QUANTIZATION, TRAINING, RUN, OUTPUT = "Input", "Quantization", "Training", "Run", "Output"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a value must be.

    Attributes:
        expected: in words, as in "expected a number above 0".
        holds: whether a value is so.
    """

    expected: str
    holds: Callable[[Any], bool]


FROM_0 = Limit(expected="a number from 0 up", holds=lambda number: math.isfinite(number) and number >= 0)
FROM_0_TO_1 = Limit(expected="a number from 0 to 1", holds=lambda number: 0 <= number <= 1)
ABOVE_0 = Limit(expected="a number above 0", holds=lambda number: math.isfinite(number) and number > 0)


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        panel: the heading under which help shows it.
        help: what it does; with the default, where the field's own is None.
        name: without dashes in front; empty for the name of the field. ``no-`` is put before that of a flag that is
            on by default.
        short: a second name of one letter.
        aliases: further names, as the samples spell them, which help does not show.
        metavar: what help shows in place of the value.
        min: the lowest value.
        max: the highest value.
        limits: what else a value must be; help does not show these.
        read: makes the value of a text, or raises ValueError or UsageError; None where the type says how.
        repeatable: with ``read``: the values of several such options are joined.
        default: the default as it is typed, where ``read`` gives None or an empty value for it.
        default_help: what help says of the default, in brackets.
        complete: gives the names that a shell may offer.
        after: the field after which help shows it, where that is not the order of the fields.
        positional: it is no option, but a word of the command line.
        hidden: help does not show it.
    """

    panel: str = ""
    help: str = ""
    _: KW_ONLY
    name: str = ""
    short: str = ""
    aliases: tuple[str, ...] = ()
    metavar: str | None = None
    min: float | None = None
    max: float | None = None
    limits: tuple[Limit, ...] = ()
    read: Callable[[str], Any] | None = None
    repeatable: bool = False
    default: str | None = None
    default_help: str = ""
    complete: Callable[[], Iterable[str]] | None = None
    after: str = ""
    positional: bool = False
    hidden: bool = False

    def check(self, field: str, value: Any) -> None:
        """Refuse a value that breaks a limit; None passes.

        Raises:
            UsageError: it does.
        """
        if value is None:
            return
        if self.min is not None and not value >= self.min:
            expected = f"at least {self.min:g}"
        elif self.max is not None and not value <= self.max:
            expected = f"at most {self.max:g}"
        else:
            expected = next((limit.expected for limit in self.limits if not limit.holds(value)), "")
        if expected:
            shown = f"{value:g}" if isinstance(value, float) else value
            message = f"--{self.name or field.replace('_', '-')} {shown}: expected {expected}"
            raise UsageError(message)


def option_in(annotation: Any) -> tuple[Any, Option | None]:
    """The type and the option of ``Annotated[type, Option(…)]``; None for a type without one."""
    if get_origin(annotation) is Annotated:
        kind, *extras = get_args(annotation)
        return kind, next((extra for extra in extras if isinstance(extra, Option)), None)
    return annotation, None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a command is asked for; fields carry the names of the options."""

    _options: ClassVar[dict[str, tuple[Any, Option | None]]]

    def __post_init__(self) -> None:
        for name, (_, option) in self.options().items():
            if option is not None:
                option.check(name, getattr(self, name))

    @classmethod
    def options(cls) -> dict[str, tuple[Any, Option | None]]:
        """Type and option of each field: first those of the class itself, then those that it inherits."""
        if "_options" not in vars(cls):
            hints = get_type_hints(cls, include_extras=True)
            names = dict.fromkeys(name for part in cls.__mro__ for name in get_annotations(part))
            cls._options = {name: option_in(hints[name]) for name in names if name != "_options"}
        return cls._options
