"""Rank tables for tests: the documented form, and random valid ones."""

from __future__ import annotations

import ipaddress
import random
from typing import Any

from hypothesis import strategies as st

from amctq.distributed.rank_table import RankedDevice, RankServer, RankTable

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=3,
)
# Keys that other programs write: MindCluster, MindIE, HCCL's newer versions.
_EXTRA = st.dictionaries(st.sampled_from(["container_ip", "pod_ip", "host_ip", "device_port", "名"]), _JSON, max_size=2)


def document(*servers: tuple[str, int]) -> dict[str, Any]:
    """The file of servers, each with its name and its number of devices, as the format is documented."""
    rank, entries = 0, []
    for number, (server_id, count) in enumerate(servers):
        devices = []
        for device in range(count):
            address = f"192.168.{number}.{device + 1}"
            devices.append({"device_id": str(device), "device_ip": address, "rank_id": str(rank)})
            rank += 1
        entries.append({"server_id": server_id, "device": devices, "host_nic_ip": "reserve"})
    return {"version": "1.0", "server_count": str(len(entries)), "server_list": entries, "status": "completed"}


@st.composite
def valid_tables(draw: st.DrawFn, *, number: int = 0, most_servers: int = 3) -> RankTable:
    """A table whose servers and addresses no table of another ``number`` has; devices and ranks in any order."""
    counts = draw(st.lists(st.integers(1, 16), min_size=1, max_size=most_servers))
    shuffled = random.Random(draw(st.integers(0, 1 << 16)))  # a draw for each device would be a hundred times slower
    ranks = shuffled.sample(range(sum(counts)), sum(counts))
    six, extra = draw(st.booleans()), draw(_EXTRA)
    servers = []
    for index, count in enumerate(counts):
        base = ipaddress.ip_address("2001:db8::" if six else "10.0.0.0") + (number << 16) + (index << 8)
        devices = tuple(
            RankedDevice(device_id=device, device_ip=str(base + place + 1), rank_id=ranks.pop(), extra=extra)
            for place, device in enumerate(shuffled.sample(range(16), count))
        )
        server_id = draw(st.sampled_from([str(base), f"node-{number}-{index}", f"节点 {number} {index}"]))
        nic = draw(st.sampled_from(["reserve", None]))
        servers.append(RankServer(server_id=server_id, devices=devices, host_nic_ip=nic, extra=extra))
    return RankTable(servers=tuple(servers))
