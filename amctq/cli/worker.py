"""``amctq worker``: one rank of a distributed run, started only by the launcher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amctq.cli.output import Output, running


def worker(launch: Annotated[Path, typer.Argument(metavar="LAUNCH_FILE")]) -> None:
    """Be the rank that RANK_ID names."""
    output = Output(command="worker")
    with running(output):
        from amctq.services.qat.worker import work

        work(launch, output.event)
