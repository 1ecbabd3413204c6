"""``amctq convert-checkpoint``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import amctq
from amctq.cli.from_request import command
from amctq.cli.output import CommandResult, Output

if TYPE_CHECKING:
    from rich.console import RenderableType


@command(lambda: amctq.ConvertCheckpointRequest)
def convert_checkpoint(make: Callable[[], amctq.ConvertCheckpointRequest], output: Output) -> CommandResult:
    """Write a MindSpore checkpoint from weights of PyTorch, safetensors or NumPy. No pickle is run.

    The tensors get the names and types of the network; what belongs to a training run is passed over, and said.

    Example: amctq convert-checkpoint weights.pth weights.ckpt --model resnet20
    """
    result = amctq.convert_checkpoint(make(), output.event)
    data = result.data()
    return CommandResult(data=data, tables=lambda: _tables(data), artifacts=[result.artifact])


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    converted = "".join(f", {count:,} converted from {kinds}" for kinds, count in data["converted"].items())
    return [f"{len(data['taken']):,} parameters of {data['model']}, {data['renamed']:,} renamed{converted}"]
