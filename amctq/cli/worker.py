"""``amctq worker``: one worker of a distributed run; only the launcher starts it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amctq.cli.output import Output, running


def worker(launch: Annotated[Path, typer.Argument(metavar="LAUNCH_FILE")]) -> None:
    """Run as the worker whose rank is in RANK_ID."""
    output = Output(command="worker")
    with running(output):
        from amctq.services.qat.worker import work

        work(launch, output.event)
