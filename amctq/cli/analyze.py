"""``amctq analyze``."""

from __future__ import annotations

from collections.abc import Callable

import amctq
from amctq.cli.blocks import Verdict
from amctq.cli.from_request import command
from amctq.cli.output import CommandResult, Output
from amctq.cli.sensitivity import sensitivity_blocks


@command(lambda: amctq.AnalyzeRequest)
def analyze(make: Callable[[], amctq.AnalyzeRequest], output: Output) -> CommandResult:
    """Find the layers that quantization harms: each one quantized alone, and each one left in float.

    Calibrates as ptq does, and measures every layer on further training images. Writes report.json and report.html,
    no network.

    Example: amctq analyze --dataset data --ckpt resnet20.ckpt --model resnet20 --weight-bits 4
    """
    result = amctq.analyze(make(), output.event)
    report = result.data()
    worst = report["sensitivity"][0]["layer"] if report["sensitivity"] else "none"
    verdict = Verdict(text=f"{report['model']['name']}: {worst} costs most of {len(report['sensitivity'])} layers")
    return CommandResult(data=report, tables=lambda: [verdict, *sensitivity_blocks(report)], artifacts=result.artifacts)
