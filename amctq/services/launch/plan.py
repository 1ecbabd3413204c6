"""Make the plan of a launch from the request: servers, workers, CPU cores, addresses."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from amctq.choices import Device
from amctq.distributed.addresses import is_own, port_obstacle, unused_port
from amctq.distributed.device_list import MOST_DEVICES, format_devices
from amctq.distributed.launch_plan import COLLECTIVE_TIMEOUT, LaunchPlan, RankPlan, share_cores
from amctq.distributed.rank_table import RankTable, parse_address
from amctq.errors import InputError, UnavailableError, UsageError
from amctq.progress import Reporter
from amctq.runtime import VISIBLE_NPUS, resolve_device, usable_npus, visible_npus
from amctq.services.launch.request import LaunchRequest

_LOOPBACK, _MSRUNS_PORT = "127.0.0.1", 8118


@dataclass(frozen=True, kw_only=True)
class _Server:
    """A server and its workers: ``(rank, device)`` in the order of ranks; the device is None on a CPU."""

    name: str
    ranks: tuple[tuple[int, int | None], ...]


def plan_launch(request: LaunchRequest, reporter: Reporter, *, simulated: bool = False) -> LaunchPlan:
    """Check the request, and make the plan of the launch.

    Args:
        request: the request.
        reporter: shows warnings.
        simulated: no worker will be started; this machine need not be one of the servers or have their NPUs.

    Raises:
        UsageError: it is not clear which server this is, or the port is in use.
        InputError: the rank table is missing or not valid, or msrun cannot number its ranks.
        UnavailableError: NPUs that the workers need are missing, or ASCEND_RT_VISIBLE_DEVICES does not show them.
    """
    kind = request.qat.device
    if kind is not Device.ASCEND or not simulated:
        kind = resolve_device(kind, 0).kind  # each worker gets a number of its own
    table = request.read_table()
    servers = _servers(request, table, kind)
    node = _this_server(request, [server.name for server in servers], simulated=simulated)
    if kind is Device.ASCEND:
        servers[node] = _on_own_npus(servers[node], request, visible_npus() if simulated else usable_npus())
    threads = _deal_cores(len(servers[node].ranks), kind, reporter)
    environments = [_environment(server, kind, len(threads[0])) for server in servers]
    ranks = tuple(
        RankPlan(
            rank=rank,
            node=number,
            local=place,
            server=server.name,
            device_id=npu,
            cores=threads[place] if number == node else (),
            environment=environments[number],
        )
        for number, server in enumerate(servers)
        for place, (rank, npu) in enumerate(server.ranks)
    )
    address = request.master_addr or _master(servers)
    return LaunchPlan(
        ranks=tuple(sorted(ranks, key=lambda rank: rank.rank)),
        node=node,
        nodes=len(servers),
        master_addr=address,
        master_port=_port(request, address, one_server=len(servers) == 1),
        cluster_timeout=request.timeout,
        log_dir=request.logs,
        command=(sys.executable, "-m", "amctq", "worker"),
        table=table,
    )


def refuse_used_port(plan: LaunchPlan) -> None:
    """Refuse a port that MindSpore's scheduler cannot listen on, because the workers would wait without success.

    Raises:
        UsageError: another process uses the port, or the address does not belong to this server.
    """
    obstacle = port_obstacle(plan.master_addr, plan.master_port) if plan.has_scheduler else None
    if obstacle is not None:
        message = f"--master-port {plan.master_port} of {plan.master_addr}: {obstacle}, expected a port to listen on"
        raise UsageError(message, hint="choose another one, the same on every server; on one server leave it out")


def _servers(request: LaunchRequest, table: RankTable | None, kind: Device) -> list[_Server]:
    if table is not None:
        return _tabled(table, str(request.rank_table), kind)
    assert request.workers is not None
    nodes = request.nodes or len(request.hosts) or 1
    each = request.workers // nodes
    if kind is Device.ASCEND and each > MOST_DEVICES:
        message = f"--workers {request.workers} on {nodes} server(s): expected at most {MOST_DEVICES} NPUs on each"
        raise UsageError(message, hint="start fewer, or name all servers with --hosts")
    names = request.hosts or [f"server {node}" for node in range(nodes)]
    if nodes == 1:
        names = [socket.gethostname()]
    return [
        _Server(
            name=name,
            ranks=tuple((node * each + place, place if kind is Device.ASCEND else None) for place in range(each)),
        )
        for node, name in enumerate(names)
    ]


def _tabled(table: RankTable, name: str, kind: Device) -> list[_Server]:
    """The servers of the rank table, in the order of their ranks."""
    servers = []
    for entry in table.servers:
        ranked = sorted((device.rank_id, device.device_id) for device in entry.devices)
        ranks = tuple((rank, number if kind is Device.ASCEND else None) for rank, number in ranked)
        servers.append(_Server(name=entry.server_id, ranks=ranks))
    servers.sort(key=lambda server: server.ranks[0])
    each = len(servers[0].ranks)
    for node, server in enumerate(servers):
        expected = [node * each + place for place in range(each)]
        if [rank for rank, _ in server.ranks] != expected:
            found = format_devices([rank for rank, _ in server.ranks])
            message = f"{name}: server {server.name} has the ranks {found}, expected {expected[0]} to {expected[-1]}"
            hint = "msrun numbers ranks server by server, as many on each: see amctq rank-table --merge"
            raise InputError(message, hint=hint)
    return servers


def _this_server(request: LaunchRequest, names: Sequence[str], *, simulated: bool) -> int:
    if len(names) == 1:
        return 0
    if request.node_rank is not None:
        if request.node_rank >= len(names):
            message = (
                f"--node-rank {request.node_rank}: expected 0 to {len(names) - 1}, as there are {len(names)} servers"
            )
            raise UsageError(message)
        return request.node_rank
    own = [node for node, name in enumerate(names) if is_own(name)]
    if not own and simulated:
        return 0
    if len(own) != 1:
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        message = f"{'none' if not own else 'more than one'} of the servers {shown} has an address of this machine"
        raise UsageError(message, hint="say which one this is with --node-rank")
    return own[0]


def _on_own_npus(server: _Server, request: LaunchRequest, found: tuple[int, ...] | None) -> _Server:
    """This server with the NPUs of its ranks: those of the rank table, else the first that this process may use.

    Args:
        server: with the numbers of the table, or counted from 0.
        request: the request.
        found: NPUs that this process may use; None if that is not known.

    Raises:
        UnavailableError: there are fewer, or the table names others.
    """
    if found is None:
        return server
    planned = [number for _, number in server.ranks if number is not None]
    by_table = request.rank_table is not None
    lacking = bool(set(planned) - set(found)) if by_table else len(planned) > len(found)
    if lacking:
        asked = f"{request.rank_table}" if by_table else f"--workers {request.workers}"
        shown = f" ({format_devices(found)})" if found else ""
        named = f" that {VISIBLE_NPUS} shows" if visible_npus() is not None else ""
        expected = format_devices(planned) if by_table else f"{len(planned)}"
        message = f"{asked}: this server has {len(found)} NPU(s){named}{shown}, expected {expected}"
        raise UnavailableError(message, hint="start fewer workers, or correct the rank table; see also: amctq doctor")
    if by_table:
        return server
    return replace(server, ranks=tuple((rank, npu) for (rank, _), npu in zip(server.ranks, found, strict=False)))


def _deal_cores(workers: int, kind: Device, reporter: Reporter) -> list[tuple[int, ...]]:
    cores = sorted(os.sched_getaffinity(0))
    if kind is Device.CPU and workers > len(cores):
        reporter.warn(
            f"{workers} workers on {len(cores)} core(s): they take turns, and a step takes about "
            f"{workers / len(cores):.3g} times as long as with a core for each"
        )
    return share_cores(cores, workers)


def _environment(server: _Server, kind: Device, threads: int) -> dict[str, str]:
    own = dict([COLLECTIVE_TIMEOUT])
    if kind is Device.ASCEND:
        # msrun counts DEVICE_ID from 0 on every server; the number is then an index into this list.
        own[VISIBLE_NPUS] = ",".join(str(number) for _, number in server.ranks)
        own["HCCL_DETERMINISTIC"] = "true"  # else the order of sums varies, and runs differ
    return own | {"OMP_NUM_THREADS": str(max(1, threads))}


def _master(servers: Sequence[_Server]) -> str:
    if len(servers) == 1:
        return _LOOPBACK
    name = servers[0].name
    if parse_address(name) is None:
        try:
            return socket.gethostbyname(name)
        except OSError as error:
            message = f"server {name} has no address: {error.strerror}"
            raise UsageError(message, hint="give --master-addr, the address of server 0") from error
    return name


def _port(request: LaunchRequest, address: str, *, one_server: bool) -> int:
    if request.master_port is not None:
        return request.master_port
    return unused_port(address) if one_server else _MSRUNS_PORT
