"""``amctq doctor``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from amctq.choices import Requirement
from amctq.cli import options
from amctq.cli.options import RUN, option
from amctq.cli.output import CommandResult, Output, running

if TYPE_CHECKING:
    from rich.console import RenderableType

COMMAND_CLASS = options.aliases()


def doctor(
    require: Annotated[
        list[Requirement],
        option("--require", panel=RUN, help="Fail (exit 4) when this is missing; repeatable."),
    ] = [],  # noqa: B006  # Typer copies it
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Show what this machine can do: MindSpore, CANN, NPU, amct_mindspore, onnxruntime, CPU instructions.

    Ends with 0 whatever it finds, unless --require names something that is missing.

    Example: amctq doctor --require ascend
    """
    output = Output(command="doctor", as_json=as_json, quiet=quiet, verbose=verbose, failure_tables=_tables)
    with running(output):
        from amctq.services.doctor import DoctorRequest
        from amctq.services.doctor import doctor as service

        data = service(DoctorRequest(require=tuple(require)), output.event).data()
    output.result(CommandResult(data=data, tables=lambda: _tables(data)))


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    from rich.table import Table

    table = Table(show_header=False)
    for name, finding in data["findings"].items():
        advice = f"\n{finding['advice']}" if finding["advice"] else ""
        table.add_row("yes" if finding["ok"] else "no", name, finding["value"] + advice)
    return [table]
