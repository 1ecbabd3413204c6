"""``amctq demo``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import amctq
from amctq.cli.from_request import command
from amctq.cli.output import CommandResult, Output
from amctq.cli.ptq import report_tables

if TYPE_CHECKING:
    from rich.console import RenderableType


@command(lambda: amctq.DemoRequest, failure_tables=report_tables)
def demo(make: Callable[[], amctq.DemoRequest], output: Output) -> CommandResult:
    """Run everything once with what the package contains, in under a minute, without internet, dataset or NPU.

    Generates pictures of ten classes, quantizes a small network that was trained on such pictures, runs the INT8 file,
    and shows the next commands to try.

    Example: amctq demo
    """
    result = amctq.demo(make(), output.event)
    data, folder = result.data(), result.request.output_dir
    parts = [artifact.path.relative_to(folder).parts[0] for artifact in result.artifacts]
    return CommandResult(
        data=data,
        tables=lambda: _tables(data),
        artifacts=result.artifacts,
        places=[folder / part for part in dict.fromkeys(parts)],  # shows two folders instead of a dozen record files
        next_commands=[(step["command"], step["purpose"]) for step in data["next"]],
    )


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    classes = ", ".join(data["pictures"]["classes"])
    return report_tables(data["ptq"], [("pictures", f"generated ({classes}), which are not CIFAR-10")])
