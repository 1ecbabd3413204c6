"""``amctq doctor``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import amctq
from amctq.cli.blocks import Verdict
from amctq.cli.from_request import command
from amctq.cli.output import CommandResult, Output
from amctq.cli.table import TextTable

if TYPE_CHECKING:
    from rich.console import RenderableType


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    rows = []
    for name, finding in data["findings"].items():
        advice = f"; {finding['advice']}" if finding["advice"] else ""
        rows.append(("yes" if finding["ok"] else "no", name, finding["value"] + advice))
    return [Verdict(text=data["verdict"]["text"]), TextTable(columns=("", "", ""), rows=rows)]


@command(lambda: amctq.DoctorRequest, failure_tables=_tables)
def doctor(make: Callable[[], amctq.DoctorRequest], output: Output) -> CommandResult:
    """Show what this machine can do: MindSpore, CANN, NPU, amct_mindspore, onnxruntime, CPU instructions.

    The exit code is 0, unless something that --require names is missing.

    Example: amctq doctor --require ascend
    """
    data = amctq.doctor(make(), output.event).data()
    return CommandResult(data=data, tables=lambda: _tables(data))
