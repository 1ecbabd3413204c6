"""``amctq launch-distributed``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import amctq
from amctq.cli.blocks import FoundList
from amctq.cli.output import CommandResult, Output
from amctq.cli.qat_sample import qat_command
from amctq.cli.qat_tables import tables
from amctq.services.option import RUN, Option

if TYPE_CHECKING:
    from rich.console import RenderableType


# The names are the options for the positional words of run_distribute_train_sample.sh.
@qat_command(
    lambda: amctq.LaunchRequest,
    *("model", "dataset", "rank-table", "train-dataset", "eval-dataset", "ckpt"),
    more_options=True,
)
def launch_distributed(
    make: Callable[[], amctq.LaunchRequest],
    output: Output,
    *,
    dry_run: Annotated[
        bool, Option(RUN, "Show every worker and its environment. Start nothing.", after="stall_timeout")
    ] = False,
) -> CommandResult:
    """Retrain on several devices, on one server or more, under MindSpore's msrun.

    Takes the options of qat; --batch-size counts the images of one worker. The logs of the workers are
    DIR/train_parallel0/log and so on. If a worker fails, the last lines of its log are shown, and the others stop.

    Example: amctq launch-distributed --workers 2 --dataset data --ckpt resnet20.ckpt --model resnet20 --epochs 2
    """
    return answer(make(), dry_run, output)


def answer(request: amctq.LaunchRequest, dry_run: bool, output: Output) -> CommandResult:
    """Run ``launch-distributed``, or ``qat`` on several devices, and return the result."""
    if dry_run:
        preview = amctq.preview_launch(request, output.event).data()
        return CommandResult(data=preview, tables=lambda: _preview_lines(preview))
    result = amctq.launch_distributed(request, output.event)
    data = result.data() | {"command": output.command}
    return CommandResult(data=data, tables=lambda: _tables(data), artifacts=result.artifacts)


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    launch = data["launch"]
    summary = f"{launch['workers']} on {launch['nodes']} server(s), {launch['timing']['seconds']:.1f} s"
    return [*(tables(data) if "accuracy" in data else ()), FoundList(rows=[("workers", summary)])]


def _preview_lines(preview: Mapping[str, Any]) -> list[RenderableType]:
    """Make the lines of the preview; a Rich table of a thousand rows would take minutes."""
    lines = [
        f"rank {rank['rank']} on {rank['server']}"
        + ("" if rank["device"] is None else f", NPU {rank['device']}")
        + f", folder {rank['folder']}: "
        + " ".join(f"{name}={value}" for name, value in rank["environment"].items())
        for rank in preview["ranks"]
    ]
    place = f"scheduler at {preview['master_addr']}:{preview['master_port']}"
    return ["\n".join(lines), f"would start {preview['workers']:,} workers on {preview['nodes']} server(s), {place}"]
