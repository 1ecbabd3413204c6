"""``amctq prepare-cifar``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import amctq
from amctq.cli.from_request import command
from amctq.cli.output import CommandResult, Output

if TYPE_CHECKING:
    from rich.console import RenderableType


@command(lambda: amctq.PrepareCifarRequest)
def prepare_cifar(make: Callable[[], amctq.PrepareCifarRequest], output: Output) -> CommandResult:
    """Download, verify and unpack CIFAR-10 as cifar-10-batches-bin (training) and cifar-10-verify-bin (test).

    Existing files with the right checksums are kept. Without internet, use --archive or --synthetic.

    Example: amctq prepare-cifar --archive cifar-10-binary.tar.gz --output-dir data
    """
    result = amctq.prepare_cifar(make(), output.event)
    data = result.data()
    return CommandResult(data=data, tables=lambda: _tables(data), artifacts=result.artifacts)


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    images = {role: sum(counts) for role, counts in data["images_per_class"].items()}
    kind = "generated (not CIFAR-10)" if data["synthetic"] else "CIFAR-10"
    state = "already prepared" if data["already_prepared"] else "prepared"
    return [
        f"{kind}, {state} in {data['output_dir']}: {images['train']:,} training and {images['test']:,} test images of "
        f"{', '.join(data['classes'])}"
    ]
