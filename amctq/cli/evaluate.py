"""``amctq evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import amctq
from amctq.cli.from_request import command
from amctq.cli.measured import metric_of
from amctq.cli.output import CommandResult, Output

if TYPE_CHECKING:
    from rich.console import RenderableType


@command(lambda: amctq.EvaluateRequest)
def evaluate(make: Callable[[], amctq.EvaluateRequest], output: Output) -> CommandResult:
    """Measure the accuracy of a checkpoint or of an exported file on test images.

    A file that amctq exported contains how its images are prepared.

    Example: amctq evaluate --dataset data --onnx results/resnet20_quant.onnx
    """
    data = amctq.evaluate(make(), output.event).data()
    return CommandResult(data=data, tables=lambda: tables(data))


def tables(data: Mapping[str, Any]) -> list[RenderableType]:
    """Make the output without ``--json``."""
    accuracy, timing = data["accuracy"], data["timing"]
    metric = metric_of(accuracy)
    score = metric.said(accuracy[metric.key])
    if "top5" in accuracy:
        score += f", top-5 {accuracy['top5']:.2f} %"
    return [
        f"{data['file']}: {score} of {accuracy['images']:,} images "
        f"({', '.join(data['data']['evaluation']['sources'])}), {_speed(timing)}"
    ]


def _speed(timing: Mapping[str, Any]) -> str:
    """Images per second, with the spread of the batches where it is large."""
    speed = f"{timing['images_per_second']:,.0f} images/s"
    if not timing["busy"]:
        return speed
    low, high = timing["images_per_second_range"]
    return f"{speed} ({low:,.0f} to {high:,.0f} by the batch: the machine is busy)"
