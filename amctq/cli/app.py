"""The application: its commands, and the place where errors become exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from amctq import leftovers
from amctq.cli import (
    analyze,
    convert_checkpoint,
    demo,
    doctor,
    evaluate,
    fetch_model,
    launch_distributed,
    prepare_cifar,
    ptq,
    qat,
    rank_table,
    report,
    worker,
)
from amctq.cli.from_request import EPILOG, Command
from amctq.cli.output import Output, never_fail_to_encode
from amctq.errors import AmctqError, Interrupted, Terminated, UsageError

COMMANDS: dict[str, Command[Any]] = {
    command.name: command
    for command in (
        demo.demo,
        fetch_model.fetch_model,
        ptq.ptq,
        qat.qat,
        analyze.analyze,
        evaluate.evaluate,
        report.report,
        convert_checkpoint.convert_checkpoint,
        prepare_cifar.prepare_cifar,
        rank_table.rank_table,
        launch_distributed.launch_distributed,
        doctor.doctor,
    )
}

_TRUE = {"1", "true", "t", "yes", "y", "on"}  # as Typer reads a flag


class Boundary(TyperGroup):
    """Ends every command line with the right exit code, and with a JSON object if ``--json`` is given."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that ``args`` name, with all its options."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, COMMANDS[name].typer_command() if name in COMMANDS else command, rest

    def main(self, *positional: Any, **named: Any) -> Any:
        """Run the command line ``args``; the default is the command line of the process."""
        given = named.get("args")
        arguments = list(sys.argv[1:] if given is None else given)
        try:
            code = super().main(*positional, **{**named, "standalone_mode": False})
        except SystemExit:  # of Typer's own options, such as --show-completion
            raise
        except BaseException as error:
            code = _report(error, arguments)
        sys.exit(code or 0)


def _report(error: BaseException, arguments: Sequence[str]) -> int:
    """Report an error outside a command's work: in the arguments, in a file that sets options, of stdout."""
    command = next((argument for argument in arguments if argument in COMMANDS), "")
    verbose = not {"-v", "--verbose"}.isdisjoint(arguments)
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "amctq"
        command, verbose = path.partition(" ")[2], False
        message = " ".join(error.format_message().split())
        error = UsageError(message, hint=f"see: {path} --help")
    return Output(command=command, as_json=_wants_json(arguments), verbose=verbose).error(error)


def _wants_json(arguments: Sequence[str]) -> bool:
    before_end = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in before_end or os.environ.get("AMCTQ_JSON", "").strip().lower() in _TRUE


app = typer.Typer(
    name="amctq",
    cls=Boundary,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


def _print_versions(wanted: bool) -> None:
    if not wanted:
        return
    from amctq.runtime import versions

    for name, version in versions().items():
        typer.echo(f"{name} {version or 'not installed'}")
    raise typer.Exit


@app.callback()
def amctq(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_versions, help="Show versions, and exit.")
    ] = False,
) -> None:
    """Quantize MindSpore networks to INT8, on an Ascend NPU or on any CPU."""
    if context.invoked_subcommand is None:
        with contextlib.redirect_stdout(sys.stderr):
            typer.echo(context.get_help())  # with Rich, get_help itself prints
        raise typer.Exit(UsageError.exit_code)


def _made_when_called() -> None:
    """Take the place of a command whose options are not needed yet."""


for _command in COMMANDS.values():
    app.command(_command.name, help=_command.work.__doc__, epilog=EPILOG)(_made_when_called)
app.command("worker", hidden=True)(worker.worker)


def main() -> None:
    """Run the process's command line, and end the process."""
    never_fail_to_encode()
    try:
        app(prog_name="amctq")
    except SystemExit as end:
        # A normal exit with MindSpore loaded may abort because of its threads, or print many errors; and a stop may
        # leave a library half imported. So exit at once: amctq has closed all its files by now.
        stopped = end.code in {Interrupted.exit_code, Terminated.exit_code}
        if stopped or any(name.partition(".")[0] == "mindspore" for name in sys.modules):
            with contextlib.suppress(OSError, AmctqError):
                sys.stdout.flush()
                sys.stderr.flush()
            leftovers.end()
            os._exit(end.code if isinstance(end.code, int) else 1)
        raise
