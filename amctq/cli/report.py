"""``amctq report``."""

from __future__ import annotations

from collections.abc import Callable

import amctq
from amctq.cli.from_request import command
from amctq.cli.output import CommandResult, Output


@command(lambda: amctq.ReportRequest)
def report(make: Callable[[], amctq.ReportRequest], output: Output) -> CommandResult:
    """Draw the page of a report again: report.html from report.json.

    Takes what ptq, qat and analyze wrote, and the saved output of evaluate --json.

    Example: amctq report results/report.json --lang zh -o report.zh.html
    """
    result = amctq.report(make(), output.event)
    return CommandResult(data=result.data(), tables=lambda: [], artifacts=[result.artifact])
