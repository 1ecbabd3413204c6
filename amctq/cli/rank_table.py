"""``amctq rank-table``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amctq.cli import options
from amctq.cli.options import INPUT, OUTPUT, RUN, option
from amctq.cli.output import CommandResult, Output, running
from amctq.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

COMMAND_CLASS = options.aliases(device_num="devices")
_LIST = "[0,8)|0-7|0,1,…"
_MOST_ROWS = 256


def rank_table(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="With --merge: the rank tables to join, in this order.")
    ] = [],  # noqa: B006  # Typer copies it
    devices: Annotated[
        str | None,
        option(
            "--devices",
            panel=INPUT,
            metavar=_LIST,
            help="NPUs to use, in the order of their ranks; [0,8) is without 8.  [default: all]",
        ),
    ] = None,
    visible_devices: Annotated[
        str | None,
        option(
            "--visible-devices",
            panel=INPUT,
            metavar=_LIST,
            help="Physical numbers of the NPUs to be had; --devices then counts these from 0.",
        ),
    ] = None,
    server_ip: Annotated[
        str | None,
        option("--server-ip", panel=INPUT, metavar="ADDRESS", help="Of this server.  [default: of its host name]"),
    ] = None,
    hccn_conf: Annotated[
        Path | None,
        option(
            "--hccn-conf",
            panel=INPUT,
            metavar="FILE",
            help="Addresses of the NPUs.  [default: hccn_tool where it is on PATH, else /etc/hccn.conf]",
        ),
    ] = None,
    merge: Annotated[
        bool, option("--merge", panel=RUN, help="Join the rank tables FILE … into one, and number the ranks anew.")
    ] = False,
    check: Annotated[
        Path | None, option("--check", panel=RUN, metavar="FILE", help="Check a rank table and show it; write nothing.")
    ] = None,
    no_group_check: Annotated[
        bool,
        option(
            "--no-group-check",
            panel=RUN,
            help="Allow devices of both groups of four of an 8-device server; Atlas A2 has no such groups.",
        ),
    ] = False,
    output_: Annotated[
        Path | None,
        option(
            "--output",
            panel=OUTPUT,
            metavar="FILE",
            help="The file.  [default: hccl_<n>p_<devices>_<server ip>.json; merged hccl_<servers>s_<n>p.json]",
        ),
    ] = None,
    output_dir: options.OutputDir = Path(),
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write the rank table of this server's NPUs, join those of several servers, or check one.

    A rank table tells HCCL which rank of a distributed run has which NPU of which server.

    Example: amctq rank-table --devices "[0,8)" --server-ip 10.0.0.1
    """
    output = Output(command="rank-table", as_json=as_json, quiet=quiet, verbose=verbose)
    with running(output):
        from amctq.distributed.device_list import parse_devices
        from amctq.services.rank_table import RankTableRequest
        from amctq.services.rank_table import rank_table as service

        if files and not merge:
            message = f"found {', '.join(map(str, files))}, expected files with --merge alone"
            raise UsageError(message, hint=f"pass --merge to join them, or --check {files[0]}")
        request = RankTableRequest(
            devices=None if devices is None else parse_devices(devices, option="--devices"),
            visible_devices=None
            if visible_devices is None
            else parse_devices(visible_devices, option="--visible-devices"),
            server_ip=server_ip,
            hccn_conf=hccn_conf,
            group_check=not no_group_check,
            merge=tuple(files) if merge else None,
            check=check,
            output=output_,
            output_dir=output_dir,
            force=force,
        )
        result = service(request, output.event)
        data = result.data()
    output.result(CommandResult(data=data, tables=lambda: _tables(data), artifacts=result.artifacts))


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    source = f", addresses from {data['addresses_from']}" if data["addresses_from"] else ""
    checked = f"{data['checked']}: valid, " if data["checked"] else ""
    servers = data["rank_table"]["server_list"]
    return [
        _rank_rows(servers) if data["rank_size"] <= _MOST_ROWS else _server_rows(servers),
        f"{checked}{data['servers']:,} server(s), {data['rank_size']:,} rank(s){source}",
    ]


def _rank_rows(servers: Sequence[Mapping[str, Any]]) -> RenderableType:
    from rich.table import Table

    table = Table()
    for column in ("rank", "server", "device", "address"):
        table.add_column(column, justify="left" if column in {"server", "address"} else "right")
    rows = [(server["server_id"], device) for server in servers for device in server["device"]]
    for server_id, device in sorted(rows, key=lambda row: int(row[1]["rank_id"])):
        table.add_row(device["rank_id"], server_id, device["device_id"], device.get("device_ip", ""))
    return table


def _server_rows(servers: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A cluster at a glance; thousands of ranks would take Rich longer to draw than anybody wants to read."""
    from rich.table import Table

    from amctq.distributed.device_list import format_devices

    table = Table()
    for column in ("server", "devices", "ranks"):
        table.add_column(column)
    for server in servers:
        numbers = [[int(device[key]) for device in server["device"]] for key in ("device_id", "rank_id")]
        table.add_row(server["server_id"], *map(format_devices, numbers))
    return table
