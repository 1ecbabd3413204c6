"""``amctq rank-table``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import amctq
from amctq.cli.from_request import command
from amctq.cli.output import CommandResult, Output
from amctq.cli.table import TextTable
from amctq.errors import UsageError
from amctq.services.option import RUN, Option

if TYPE_CHECKING:
    from rich.console import RenderableType

_MOST_ROWS = 256


@command(lambda: amctq.RankTableRequest)
def rank_table(
    make: Callable[..., amctq.RankTableRequest],
    output: Output,
    *,
    files: Annotated[
        tuple[Path, ...],
        Option(positional=True, metavar="FILE", help="With --merge: the rank tables to join, in order."),
    ] = (),
    merge: Annotated[
        bool, Option(RUN, "Join the rank tables FILE … into one. Ranks get new numbers.", after="hccn_conf")
    ] = False,
) -> CommandResult:
    """Write the rank table of this server's NPUs, join those of several servers, or check one.

    A rank table tells HCCL which rank of a distributed run has which NPU of which server.

    Example: amctq rank-table --devices "[0,8)" --server-ip 10.0.0.1
    """
    if files and not merge:
        message = f"found {', '.join(map(str, files))}, expected files only with --merge"
        raise UsageError(message, hint=f"pass --merge to join them, or --check {files[0]}")
    result = amctq.rank_table(make(merge=tuple(files) if merge else None), output.event)
    data = result.data()
    return CommandResult(data=data, tables=lambda: _tables(data), artifacts=result.artifacts)


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    source = f", addresses from {data['addresses_from']}" if data["addresses_from"] else ""
    checked = f"{data['checked']}: valid, " if data["checked"] else ""
    servers = data["rank_table"]["server_list"]
    return [
        _rank_rows(servers) if data["rank_size"] <= _MOST_ROWS else _server_rows(servers),
        f"{checked}{data['servers']:,} server(s), {data['rank_size']:,} rank(s){source}",
    ]


def _rank_rows(servers: Sequence[Mapping[str, Any]]) -> RenderableType:
    rows = [(server["server_id"], device) for server in servers for device in server["device"]]
    return TextTable(
        columns=("rank", "server", "device", "address"),
        right=(0, 2),
        rows=[
            (device["rank_id"], server_id, device["device_id"], device.get("device_ip", ""))
            for server_id, device in sorted(rows, key=lambda row: int(row[1]["rank_id"]))
        ],
    )


def _server_rows(servers: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Make a table with one row for each server; a row for each of thousands of ranks would take Rich too long."""
    from amctq.distributed.device_list import format_devices

    rows = []
    for server in servers:
        numbers = [[int(device[key]) for device in server["device"]] for key in ("device_id", "rank_id")]
        rows.append((server["server_id"], *map(format_devices, numbers)))
    return TextTable(columns=("server", "devices", "ranks"), rows=rows)
