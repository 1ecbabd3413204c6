"""Options as part of a request: help text, names and limits of a field, independent of any command line.

A request declares an option as ``Annotated[type, Option(…)]``; the default is that of the dataclass field. The
command line makes its option from this. The request itself checks the limits, so they hold for library calls too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from inspect import get_annotations
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args, get_origin

from amctq.errors import UsageError

_TOO_LARGE = 1 << 63
INPUT, QUANTIZATION, TRAINING, RUN, OUTPUT = "Input", "Quantization", "Training", "Run", "Output"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A condition on the value of an option.

    Attributes:
        expected: the condition in words, for a message such as "expected a number above 0".
        holds: returns whether a value meets it.
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
        help: what the option does; also names the default if the field's default is None.
        name: name without leading dashes; empty for the name of the field. A flag that is on by default gets
            ``no-`` before its name.
        short: a second name of one letter.
        aliases: further names from the samples, which help does not show.
        metavar: word that help shows in place of the value.
        min: the lowest value.
        max: the highest value.
        limits: further conditions on the value; help does not show these.
        read: converts text to the value, or raises ValueError or UsageError; None if the type is enough.
        repeatable: with ``read``: the option may be repeated, and the values are joined.
        default: the default as text for the command line, if the field's default is None or empty.
        default_help: the text that help shows for the default.
        complete: returns the names that a shell can complete.
        after: help shows the option after this field; empty for the order of the fields.
        positional: an argument without a name, not an option.
        hidden: help does not show the option.
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
        """Refuse a value that breaks a limit, or that no computer can use; None is always allowed.

        Raises:
            UsageError: the value breaks a limit.
        """
        if value is None:
            return
        if expected := _usable(value):
            pass
        elif self.min is not None and not value >= self.min:
            expected = f"at least {self.min:g}"
        elif self.max is not None and not value <= self.max:
            expected = f"at most {self.max:g}"
        else:
            expected = next((limit.expected for limit in self.limits if not limit.holds(value)), "")
            if not expected and isinstance(value, float) and not math.isfinite(value):
                expected = "a finite number"
        if expected:
            message = f"{self.spelling(field)} {_shown(value)}: expected {expected}"
            raise UsageError(message)

    def spelling(self, field: str) -> str:
        """The option as one types it."""
        return f"--{self.name or field.replace('_', '-')}"


LANG = Option(OUTPUT, "Language of report.html.  [default: by LANG]")  # of all commands that write such a page


def _usable(value: Any) -> str:
    """What a value must be to mean anything; empty if it is that."""
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, int) and abs(item) >= _TOO_LARGE:
            return "a number of at most 64 bits"
        if isinstance(item, (str, Path)):
            if "\0" in str(item):
                return "a text without null characters"
            try:
                str(item).encode(errors="surrogateescape")
            except UnicodeEncodeError:
                return "a text without half surrogate pairs"
    return ""


def _shown(value: Any) -> Any:
    if isinstance(value, int) and abs(value) >= _TOO_LARGE:
        return f"{'-' if value < 0 else ''}10^{math.log10(abs(value)):.0f}"  # Python prints no more than 4,300 digits
    return f"{value:g}" if isinstance(value, float) else value


def _annotations(part: type) -> dict[str, Any]:
    """Annotations of one class, as text if it names types that only a type checker knows."""
    try:
        return get_annotations(part, eval_str=True)
    except NameError:
        return get_annotations(part)


def option_in(annotation: Any) -> tuple[Any, Option | None]:
    """Split ``Annotated[type, Option(…)]`` into the type and the option; the option is None if there is none."""
    if get_origin(annotation) is Annotated:
        kind, *extras = get_args(annotation)
        return kind, next((extra for extra in extras if isinstance(extra, Option)), None)
    return annotation, None


@dataclass(frozen=True, kw_only=True)
class Request:
    """The request of a command. Each field has the name of its option."""

    _options: ClassVar[dict[str, tuple[Any, Option | None]]]

    def __post_init__(self) -> None:
        for name, (_, option) in self.options().items():
            if option is not None:
                option.check(name, getattr(self, name))

    @classmethod
    def options(cls) -> dict[str, tuple[Any, Option | None]]:
        """Type and option of each field: first the fields of the class itself, then the inherited ones."""
        if "_options" not in vars(cls):
            hints: dict[str, Any] = {}
            for part in cls.__mro__:
                hints = hints | {name: kind for name, kind in _annotations(part).items() if name not in hints}
            cls._options = {name: option_in(kind) for name, kind in hints.items() if name != "_options"}
        return cls._options
