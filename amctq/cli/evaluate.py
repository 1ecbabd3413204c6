"""``amctq evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import amctq
from amctq.cli.blocks import FoundList, Verdict
from amctq.cli.figures import Figure, FigureTable
from amctq.cli.from_request import command
from amctq.cli.measured import accuracy_figures, metric_of
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
    """Make the output without ``--json``: the score in one line, the figures, and what was measured."""
    accuracy, timing = data["accuracy"], data["timing"]
    metric = metric_of(accuracy)
    score = metric.said(accuracy[metric.key])
    speed = Figure(name="images/s", values=(timing["images_per_second"],))
    scores = {name: value for name, value in accuracy.items() if name not in {"metric", "images"}}
    return [
        Verdict(text=f"{data['file']}: {score}, {speed.texts[0]} images/s"),
        FigureTable(stages=("measured",), rows=(*accuracy_figures(accuracy, (scores,)), speed), change=""),
        FoundList(rows=tuple(_found(data))),
    ]


def _found(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    timing, evaluation = data["timing"], data["data"]["evaluation"]
    yield "measured on", f"{evaluation['images']:,} images ({', '.join(evaluation['sources'])})"
    if timing["busy"]:
        low, high = timing["images_per_second_range"]
        yield "busy machine", f"{low:,.0f} to {high:,.0f} images/s by the batch"
    yield "runtime", f"{data['runtime']} on {data['environment']['device']}"
    yield "time", f"{sum(timing['seconds'].values()):.1f} s"
