"""``amctq demo``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from amctq.cli import options
from amctq.cli.options import RUN, option
from amctq.cli.output import CommandResult, Output, running
from amctq.cli.ptq import report_tables
from amctq.progress import Notice

if TYPE_CHECKING:
    from rich.console import RenderableType

COMMAND_CLASS = options.aliases()


def demo(
    seed: Annotated[
        int, option("--seed", panel=RUN, min=0, help="Of the pictures, and of the choice of those that calibrate.")
    ] = 1,
    output_dir: options.OutputDir = Path("demo"),
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Go the whole way on what the package carries: no network, no dataset, no NPU, under a minute.

    Draws pictures of ten classes, quantizes a small network that was trained on such pictures, runs the INT8 file, and
    shows what to type next.

    Example: amctq demo
    """
    output = Output(command="demo", as_json=as_json, quiet=quiet, verbose=verbose, failure_tables=report_tables)
    with running(output):
        from amctq.services.demo import DemoRequest
        from amctq.services.demo import demo as service

        result = service(DemoRequest(output_dir=output_dir, seed=seed, force=force), output.event)
        data = result.data()
    parts = [artifact.path.relative_to(output_dir).parts[0] for artifact in result.artifacts]
    places = [output_dir / part for part in dict.fromkeys(parts)]  # a dozen record files are two folders
    output.result(CommandResult(data=data, tables=lambda: _tables(data), artifacts=result.artifacts, places=places))
    output.event(Notice(level="info", text="next:"))
    for step in data["next"]:
        output.event(Notice(level="info", text=f"  {step['command']}  # {step['purpose']}"))


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    classes = ", ".join(data["pictures"]["classes"])
    return [*report_tables(data["ptq"]), f"measured on generated pictures ({classes}), which are not CIFAR-10"]
