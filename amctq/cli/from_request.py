"""Make the command line of a command from the fields of its request, and the request from the options given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

from amctq.cli.aliases import with_aliases
from amctq.cli.output import CommandResult, Output, running
from amctq.services.option import OUTPUT, Option, Request, option_in

if TYPE_CHECKING:
    from rich.console import RenderableType

EPILOG = "Every option can also be set in the environment: --calib-images as AMCTQ_CALIB_IMAGES, and so on."
Asked = TypeVar("Asked", bound=Request)


def _every_command(
    *,
    as_json: Annotated[bool, Option(OUTPUT, "Print one JSON object on stdout, on failure too.", name="json")] = False,
    quiet: Annotated[bool, Option(OUTPUT, "Show no progress, notices or warnings.", short="-q")] = False,
    verbose: Annotated[bool, Option(OUTPUT, "Show details, and tracebacks of errors.", short="-v")] = False,
) -> None:
    """Declare the options that all commands have."""


@dataclass(frozen=True, kw_only=True)
class _Parameter:
    """One option of a command: field name, type, declaration and default."""

    name: str
    kind: Any
    option: Option
    default: Any


def _of_request(request: type[Request]) -> list[_Parameter]:
    """List the options of a request; options of a nested request come first."""
    within, found = [], []
    defaults = {item.name: item.default for item in fields(request)}
    for name, (kind, option) in request.options().items():
        if isinstance(kind, type) and issubclass(kind, Request):
            within += _of_request(kind)
        elif option is not None:
            found.append(_Parameter(name=name, kind=kind, option=option, default=defaults[name]))
    panels = list(dict.fromkeys(item.option.panel for item in found))
    return within + sorted(found, key=lambda item: panels.index(item.option.panel))


def _of_function(function: Callable[..., Any]) -> list[_Parameter]:
    """List the options that are keyword arguments of a function, not fields of a request."""
    found = []
    for item in inspect.signature(function, eval_str=True).parameters.values():
        kind, option = option_in(item.annotation)
        if item.kind is item.KEYWORD_ONLY and option is not None:
            found.append(_Parameter(name=item.name, kind=kind, option=option, default=item.default))
    return found


def _in_order(parameters: Iterable[_Parameter]) -> list[_Parameter]:
    """Sort the options for help: in the given order, except that ``Option.after`` moves an option."""
    ordered: list[_Parameter] = []
    for item in sorted(parameters, key=lambda item: bool(item.option.after)):
        names = [other.name for other in ordered]
        ordered.insert(names.index(item.option.after) + 1 if item.option.after else len(ordered), item)
    return ordered


def _plain(kind: Any) -> tuple[Any, bool]:
    """Return the type without None, and whether it allowed None; ``str | Path`` becomes ``str``."""
    if get_origin(kind) not in {Union, UnionType}:
        return kind, False
    members = [member for member in get_args(kind) if member is not NoneType]
    return str if str in members else members[0], NoneType in get_args(kind)


def _typer_parameter(item: _Parameter, settings: Mapping[str, Any]) -> inspect.Parameter:
    """Make Typer's parameter of an option. The environment variable is AMCTQ_<NAME>; the command line wins over it."""
    option, default = item.option, item.default
    kind, optional = _plain(item.kind)
    flag = option.name or item.name.replace("_", "-")
    names = [f"--{flag}"]
    if kind is bool and optional:
        names = [f"--{flag}/--no-{flag}"]
    elif kind is bool and default:
        flag, default = f"no-{flag}", False
        names = [f"--{flag}"]
    several = option.repeatable if option.read else get_origin(kind) is tuple
    if option.read or "parser" in settings:
        shown: Any = Any
    elif several:
        shown = get_args(kind)[0]
    else:
        shown = kind | None if optional else kind
    if several:
        shown = list[shown]
        default = list(default)
    common = {
        # A list of files is typed, not inherited from some environment.
        "envvar": None if option.positional and several else f"AMCTQ_{flag.replace('-', '_').upper()}",
        "show_envvar": False,
        "metavar": option.metavar,
        "min": None if option.read else option.min,
        "max": None if option.read else option.max,
        "help": option.help.replace("[", r"\["),  # else Rich hides what is in brackets
        "show_default": option.default_help or True,
        "hidden": option.hidden,
        "parser": option.read and _refusing(option.read),
        "case_sensitive": False,
        "autocompletion": option.complete and _offering(option.complete),
        **settings,
    }
    if option.positional:
        declared: Any = typer.Argument(**common)
    else:
        short = [option.short] if option.short else []
        declared = typer.Option(*names, *short, rich_help_panel=option.panel, **common)
    if option.default is not None:
        default = option.default  # text: Typer passes it to read
    return inspect.Parameter(
        item.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is MISSING else default,
        annotation=Annotated[shown, declared],
    )


def _offering(complete: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Make a completion for the shell: the names that begin with the typed text."""

    def offer(incomplete: str) -> list[str]:
        return [name for name in complete() if name.startswith(incomplete)]

    return offer


def _refusing(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Wrap ``read``: its ValueError becomes a usage error; a default that is not text stays unchanged."""

    def parse(value: Any) -> Any:
        try:
            return read(value) if isinstance(value, str) else value
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return parse


def make_request(request: type[Asked], given: Mapping[str, Any], **more: Any) -> Asked:
    """Make a request from the values of its options.

    Args:
        request: class of the request.
        given: values by field, as Typer gives them.
        more: values of fields without an option, or with an option of another form.

    Raises:
        UsageError: a value is out of its range, or two options contradict each other.
    """
    values = {}
    on = {item.name for item in fields(request) if item.default is True}
    for name, (kind, option) in request.options().items():
        if isinstance(kind, type) and issubclass(kind, Request):
            values[name] = make_request(kind, given)
        elif name in given:
            value = given[name]
            if name in on:
                value = not value  # the option is --no-…
            elif option is not None and option.repeatable:
                value = tuple(dict.fromkeys(part for parts in value for part in parts))
            elif isinstance(value, list):
                value = tuple(value)
            values[name] = value
    return request(**{**values, **more})


@dataclass(frozen=True, kw_only=True)
class Command(Generic[Asked]):
    """A command whose options are made only when it is used, so that ``amctq --help`` is fast.

    Attributes:
        work: the function of the command; its name and its docstring are those of the command. Its arguments are a
            function that makes the request, the output, and, as keywords, options that are not fields of the request.
        request: returns the class of the request.
        understand: extends the command's class, for example by further spellings.
        settings: further settings for Typer, by field.
        adapt: changes the values by field before the request is made from them.
        failure_tables: makes the tables that are shown for the data of a failed check.
    """

    work: Callable[..., CommandResult]
    request: Callable[[], type[Asked]]
    understand: Callable[[type[TyperCommand]], type[TyperCommand]] = lambda command: command
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    adapt: Callable[[dict[str, Any]], None] = lambda given: None
    failure_tables: Callable[[Mapping[str, Any]], Sequence[RenderableType]] | None = None

    @property
    def name(self) -> str:
        """Name of the command on the command line."""
        return self.work.__name__.replace("_", "-")

    def parameters(self) -> list[_Parameter]:
        """The options of the command, in the order of help."""
        own = _of_function(self.work)
        return _in_order([*_of_request(self.request()), *own, *_of_function(_every_command)])

    def typer_command(self) -> TyperCommand:
        """Make the command with all its options."""
        parameters = self.parameters()

        def run(**given: Any) -> None:
            self._run(given)

        made = [_typer_parameter(item, self.settings.get(item.name, {})) for item in parameters]
        run.__doc__ = self.work.__doc__
        run.__annotations__ = {item.name: item.annotation for item in made}
        run.__signature__ = inspect.Signature(made)  # type: ignore[attr-defined]
        spellings = {alias: item.option.name or item.name for item in parameters for alias in item.option.aliases}
        app = typer.Typer(add_completion=False)
        app.command(self.name, cls=self.understand(with_aliases(spellings)), epilog=EPILOG)(run)
        command = typer.main.get_command(app)
        assert isinstance(command, TyperCommand)
        return command

    def _run(self, given: dict[str, Any]) -> None:
        flags = {item.name: given.pop(item.name) for item in _of_function(_every_command)}
        own = {item.name: given.pop(item.name) for item in _of_function(self.work)}
        output = Output(command=self.name, failure_tables=self.failure_tables, **flags)
        with running(output):
            self.adapt(given)
            result = self.work(partial(make_request, self.request(), given), output, **own)
        output.result(result)


def command(
    request: Callable[[], type[Asked]], **more: Any
) -> Callable[[Callable[..., CommandResult]], Command[Asked]]:
    """Decorate the function of a command to make a ``Command``; the arguments are those of that class."""
    return lambda work: Command(work=work, request=request, **more)
