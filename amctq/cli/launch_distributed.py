"""``amctq launch-distributed``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from amctq.cli import options
from amctq.cli.options import INPUT, OUTPUT, RUN, option
from amctq.cli.output import CommandResult, Output, running
from amctq.cli.qat_options import qat_command, with_qat_options
from amctq.cli.qat_tables import failure_tables, tables

if TYPE_CHECKING:
    from rich.console import RenderableType

    from amctq.services.launch.request import LaunchRequest

COMMAND_CLASS = qat_command(
    *("model", "dataset", "rank-table", "train-dataset", "eval-dataset", "ckpt"),  # run_distribute_train_sample.sh
    more_behind_dashes=True,
    device_num="workers",
    rank_table_file="rank-table",
)


@with_qat_options
def launch_distributed(
    make: Callable[[], Any],
    rank_table: Annotated[
        Path | None,
        option("--rank-table", panel=INPUT, metavar="FILE", help="One worker for each device of it."),
    ] = None,
    workers: Annotated[
        int | None,
        option("--workers", panel=RUN, min=1, metavar="N", help="How many, over all servers; instead of a rank table."),
    ] = None,
    hosts: Annotated[
        str | None,
        option("--hosts", panel=RUN, metavar="ADDRESS,…", help="Of the servers, in order; run the command on each."),
    ] = None,
    nodes: Annotated[
        int | None, option("--nodes", panel=RUN, min=1, metavar="M", help="How many servers, instead of --hosts.")
    ] = None,
    node_rank: Annotated[
        int | None,
        option("--node-rank", panel=RUN, min=0, metavar="R", help="Which one this is.  [default: by its addresses]"),
    ] = None,
    master_addr: Annotated[
        str | None, option("--master-addr", panel=RUN, metavar="ADDRESS", help="Of server 0, as the others reach it.")
    ] = None,
    master_port: Annotated[
        str,
        option("--master-port", panel=RUN, metavar="auto|PORT", help="On server 0; auto takes a free one, or 8118."),
    ] = "auto",
    timeout: Annotated[
        int, option("--timeout", panel=RUN, min=1, metavar="SECONDS", help="Until all workers have come together.")
    ] = 600,
    stall_timeout: Annotated[
        float,
        option("--stall-timeout", panel=RUN, metavar="SECONDS", help="Without news of any worker, until giving up."),
    ] = 900.0,
    dry_run: Annotated[
        bool,
        option("--dry-run", panel=RUN, help="Show every worker and its environment, of any number; start nothing."),
    ] = False,
    step_digests: Annotated[bool, option("--step-digests", panel=RUN, hidden=True)] = False,
    log_dir: Annotated[
        Path | None,
        option("--log-dir", panel=OUTPUT, metavar="DIR", help="Of the workers' logs.  [default: OUTPUT_DIR/logs]"),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Retrain on several devices, on one server or more, under MindSpore's msrun.

    Takes the options of qat; --batch-size is that of each worker. What the workers say is in DIR/train_parallel0/log
    and so on; the first one that fails is named with the last lines of its log, and the others are stopped.

    Example: amctq launch-distributed --workers 2 --dataset data --ckpt resnet20.ckpt --model resnet20 --epochs 2
    """
    output = Output(
        command="launch-distributed", as_json=as_json, quiet=quiet, verbose=verbose, failure_tables=failure_tables
    )
    with running(output):
        from amctq.services.launch.request import LaunchRequest

        request = LaunchRequest(
            qat=make(),
            workers=workers,
            rank_table=rank_table,
            hosts=tuple(filter(None, (host.strip() for host in (hosts or "").split(",")))),
            nodes=nodes,
            node_rank=node_rank,
            master_addr=master_addr,
            master_port=_port(master_port),
            timeout=timeout,
            stall_timeout=stall_timeout,
            log_dir=log_dir,
            step_digests=step_digests,
        )
        result = answer(request, dry_run, output)
    output.result(result)


def answer(request: LaunchRequest, dry_run: bool, output: Output) -> CommandResult:
    """What ``launch-distributed`` has to say, and ``qat`` on several devices."""
    from amctq.services.launch import launch as service

    if dry_run:
        preview = service.preview_launch(request, output.event).data()
        return CommandResult(data=preview, tables=lambda: _preview_lines(preview))
    result = service.launch_distributed(request, output.event)
    data = result.data() | {"command": output.command}
    return CommandResult(data=data, tables=lambda: _tables(data), artifacts=result.artifacts)


def _port(text: str) -> int | None:
    from amctq.errors import UsageError

    if text.lower() == "auto":
        return None
    if not text.isdecimal():
        message = f"--master-port {text}: expected a port, or auto"
        raise UsageError(message)
    return int(text)


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    launch = data["launch"]
    told = f"{launch['workers']} workers on {launch['nodes']} server(s), {launch['timing']['seconds']:.1f} s"
    return [*(tables(data) if "accuracy" in data else ()), told]


def _preview_lines(preview: Mapping[str, Any]) -> list[RenderableType]:
    """The whole table, as lines: Rich would take minutes for a thousand rows."""
    lines = [
        f"rank {rank['rank']} on {rank['server']}"
        + ("" if rank["device"] is None else f", NPU {rank['device']}")
        + f", folder {rank['folder']}: "
        + " ".join(f"{name}={value}" for name, value in rank["environment"].items())
        for rank in preview["ranks"]
    ]
    place = f"scheduler at {preview['master_addr']}:{preview['master_port']}"
    return ["\n".join(lines), f"would start {preview['workers']:,} workers on {preview['nodes']} server(s), {place}"]
