"""``amctq rank-table``: create the rank table of this server, join the tables of several servers, or check one."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.distributed.device_list import (
    GROUPED_DEVICES,
    crosses_groups,
    format_devices,
    joined_devices,
)
from amctq.distributed.hccn import AddressSource, find_source
from amctq.distributed.rank_table import RankedDevice, RankServer, RankTable, merged
from amctq.distributed.rank_table_json import dump_rank_table, read_rank_table, write_rank_table
from amctq.errors import InputError, UsageError
from amctq.files import Artifact, OutputDirectory
from amctq.progress import OnEvent, Reporter, silent
from amctq.runtime import VISIBLE_NPUS, visible_npus
from amctq.services.rank_table_request import RankTableRequest


@dataclass(frozen=True, kw_only=True)
class RankTableResult:
    """A rank table that has been created, joined or checked.

    Attributes:
        request: the request.
        table: the table.
        addresses_from: source of its addresses, "hccn_tool" or a file; None for an existing table.
        artifacts: the written file; empty for a check.
        warnings: what may be wrong with the table.
        seconds: wall time by phase.
    """

    request: RankTableRequest
    table: RankTable
    addresses_from: str | None
    artifacts: tuple[Artifact, ...]
    warnings: tuple[str, ...]
    seconds: dict[str, float]

    def data(self) -> dict[str, Any]:
        """The result, ready for JSON."""
        return {
            "schema": 1,
            "command": "rank-table",
            "checked": None if self.request.check is None else str(self.request.check),
            "servers": len(self.table.servers),
            "rank_size": self.table.rank_size,
            "addresses_from": self.addresses_from,
            "unread_keys": list(self.table.unread_keys),
            "rank_table": dump_rank_table(self.table),
            "warnings": list(self.warnings),
            "timing": {"seconds": {phase: round(value, 3) for phase, value in self.seconds.items()}},
        }


def rank_table(request: RankTableRequest, on_event: OnEvent = silent) -> RankTableResult:
    """Create and write the table of this server, join and write several tables, or check one.

    Raises:
        UsageError: devices belong to two groups, the host name has no address, or the file exists.
        InputError: a table is not valid, an NPU has no address, or ASCEND_RT_VISIBLE_DEVICES shows none.
        WriteError: the disk is full, or writing is not allowed.
    """
    reporter = Reporter(on_event)
    source = None
    artifacts: tuple[Artifact, ...] = ()
    if request.check is not None:
        with reporter.phase("reading"):
            table = read_rank_table(request.check, option="--check")
    elif request.merge is not None:
        table = _merge(request.merge, reporter)
        path = request.path(f"hccl_{len(table.servers)}s_{table.rank_size}p.json")
    else:
        source = find_source(request.hccn_conf)
        table, path = _create(request, source, reporter)
    if request.group_check and source is None:
        for server in table.servers:
            devices = [device.device_id for device in server.devices]
            if crosses_groups(devices) and max(devices) < GROUPED_DEVICES:
                reporter.warn(f"server {server.server_id}: {_reach(devices)}")
    if table.unread_keys:
        reporter.info(f"these keys are kept, but amctq does not read them: {', '.join(table.unread_keys)}")
    if request.check is None:
        with reporter.phase("writing"):
            artifacts = (write_rank_table(table, path, force=request.force),)
    return RankTableResult(
        request=request,
        table=table,
        addresses_from=source.name if source else None,
        artifacts=artifacts,
        warnings=tuple(reporter.warnings),
        seconds=dict(reporter.seconds),
    )


def _merge(paths: Sequence[Path], reporter: Reporter) -> RankTable:
    tables = []
    with reporter.phase("reading", len(paths), "tables") as advance:
        for path in paths:
            tables.append(read_rank_table(path, option="--merge"))
            advance(len(tables))
        return merged(tables)


def _create(request: RankTableRequest, source: AddressSource, reporter: Reporter) -> tuple[RankTable, Path]:
    """Create the table of this server, and return it with its path."""
    visible = request.visible_devices
    if request.devices is not None:
        chosen = tuple(request.devices)
    else:
        chosen = _visible_here(source, request) if visible is None else tuple(range(len(visible)))
    devices = chosen if visible is None else tuple(visible[index] for index in chosen)
    if request.group_check:
        _check_groups(devices, source, reporter)
    server_ip = request.server_ip or _own_address(reporter)
    path = request.path(f"hccl_{len(chosen)}p_{joined_devices(chosen)}_{server_ip}.json")
    OutputDirectory(path.parent, names=[path.name], force=request.force).check()
    ranked = []
    with reporter.phase("asking for addresses", len(devices), "devices") as advance:
        for rank, device in enumerate(devices):
            ranked.append(RankedDevice(device_id=device, device_ip=source.address(device), rank_id=rank))
            advance(len(ranked))
    table = RankTable(servers=(RankServer(server_id=server_ip, devices=tuple(ranked)),))
    table.validate(source.name)
    return table, path


def _visible_here(source: AddressSource, request: RankTableRequest) -> tuple[int, ...]:
    """The NPUs of the server that this process may use; --hccn-conf may be that of another server."""
    devices = source.devices()
    named = visible_npus() if request.hccn_conf is None else None
    if named is None:
        return devices
    kept = tuple(device for device in devices if device in named)
    if not kept:
        message = f"{VISIBLE_NPUS}: shows none of the devices {format_devices(devices)} of {source.name}"
        raise InputError(message, hint="correct the variable, unset it, or name the devices with --devices")
    return kept


def _check_groups(devices: Sequence[int], source: AddressSource, reporter: Reporter) -> None:
    """Refuse devices of two groups if the server has exactly the eight devices of both."""
    if not crosses_groups(devices):
        return
    present = source.devices()
    if present == tuple(range(GROUPED_DEVICES)):
        message = _reach(devices)
        raise UsageError(message, hint="choose them from one group, or all; other servers (Atlas A2): --no-group-check")
    if max((*present, *devices)) < GROUPED_DEVICES:
        reporter.warn(_reach(devices))


def _reach(devices: Sequence[int]) -> str:
    return (
        f"devices {format_devices(devices)} reach over the groups 0-3 and 4-7; on an Ascend 910 server with eight "
        "devices HCCL takes those of one group, or all eight"
    )


def _own_address(reporter: Reporter) -> str:
    """The address of the host name; hccl_tools uses the same."""
    host = socket.gethostname()
    try:
        address = socket.gethostbyname(host)
    except (OSError, UnicodeError) as error:
        message = f"the host name {host} has no address; the rank table needs one for this server"
        raise UsageError(message, hint="pass --server-ip") from error
    if address.startswith("127."):
        reporter.warn(
            f"server {address}: other servers cannot reach that address; for several servers pass --server-ip"
        )
    return address
