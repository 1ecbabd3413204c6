"""The rank table of a distributed run: which rank runs on which NPU of which server.

HCCL, and MindSpore on it, read it from a JSON file; ``rank_table_json`` is about that file.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from amctq.errors import InputError

MOST_RANKS = 65536  # of one run: more than any cluster has NPUs
_SERVER_ID_LENGTH = 63  # of HCCL


@dataclass(frozen=True, kw_only=True)
class RankedDevice:
    """One NPU and its rank.

    Attributes:
        device_id: the NPU's physical number on its server, as in ``/dev/davinci0``.
        device_ip: address of its NIC, IPv4 or IPv6; None where the file gives none, as it may for a single server.
        rank_id: of the process that runs on it.
        extra: keys of the file that amctq does not read.
    """

    device_id: int
    device_ip: str | None
    rank_id: int
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RankServer:
    """One server and its NPUs.

    Attributes:
        server_id: its address, or another name that no other server has.
        devices: in the order of the file.
        host_nic_ip: "reserve" in all files known; None where the file has no such key.
        extra: keys of the file that amctq does not read.
    """

    server_id: str
    devices: tuple[RankedDevice, ...]
    host_nic_ip: str | None = "reserve"
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RankTable:
    """All servers of a run. Version 1.0 of the format, status "completed".

    Attributes:
        servers: in the order of the file.
        extra: keys of the file that amctq does not read.
    """

    servers: tuple[RankServer, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rank_size(self) -> int:
        """How many ranks there are."""
        return sum(len(server.devices) for server in self.servers)

    @property
    def unread_keys(self) -> tuple[str, ...]:
        """Keys of the file that amctq does not read, each once: ``server_list.container_ip``."""
        found = dict.fromkeys(self.extra)
        for server in self.servers:
            found |= dict.fromkeys(f"server_list.{key}" for key in server.extra)
            for device in server.devices:
                found |= dict.fromkeys(f"server_list.device.{key}" for key in device.extra)
        return tuple(found)

    def validate(self, name: str = "the rank table") -> None:
        """Make sure that HCCL can work with the table.

        Device addresses are unique over all servers, which HCCL demands, and device numbers on their server.

        Args:
            name: of the table, for messages.

        Raises:
            InputError: it is empty or too long, an address is none, a value has a duplicate, or ranks are not 0 to
                n - 1. The message names the server and the device.
        """
        check, size = _Check(name), self.rank_size
        if not self.servers:
            check.fail("server_list", "found no server, expected at least one", "create it with amctq rank-table")
        if size > MOST_RANKS:
            check.fail("server_list", f"found {size:,} devices, expected at most {MOST_RANKS:,}", "leave some out")
        for index, server in enumerate(self.servers):
            place = server_place(index, server.server_id)
            check.server_id(place, server.server_id)
            if not server.devices:
                check.fail(f"{place}: device", "found no device, expected at least one", "take the server out of it")
        for index, server in enumerate(self.servers):
            for number, device in enumerate(server.devices):
                place = f"{server_place(index, server.server_id)}, {device_place(number, str(device.device_id))}"
                check.once(place, "device_id", device.device_id, "name each NPU of a server once", within=index)
                check.device_ip(place, device.device_ip, needed=len(self.servers) > 1)
                check.rank_id(place, device.rank_id, size)


def server_place(index: int, server_id: str) -> str:
    """The place of a server, for messages."""
    return f"server_list[{index}] (server_id {_one_line(server_id)})"


def device_place(index: int, device_id: str) -> str:
    """The place of a device of a server, for messages."""
    return f"device[{index}] (device_id {_one_line(device_id)})"


def _one_line(text: str) -> str:
    """What a file has where a name should be, fit for a message."""
    shown = text if text.isprintable() else repr(text)
    return shown if len(shown) <= _SERVER_ID_LENGTH else f"{shown[:_SERVER_ID_LENGTH]} …"


def merged(tables: Sequence[RankTable], name: str = "the merged rank table") -> RankTable:
    """One table of the servers of all ``tables``, in their order.

    The ranks of each table follow those of the one before it; among themselves they keep their order.

    Args:
        tables: valid ones.
        name: of the result, for messages.

    Raises:
        InputError: two tables have the same server or address, or differ in a key that amctq does not read.
    """
    servers: list[RankServer] = []
    extra: dict[str, Any] = {}
    first = 0
    for table in tables:
        for server in table.servers:
            devices = tuple(replace(device, rank_id=first + device.rank_id) for device in server.devices)
            servers.append(replace(server, devices=devices))
        for key, value in table.extra.items():
            if extra.setdefault(key, value) != value:
                _Check(name).fail(key, "the tables differ in it, expected one value", "make it the same, or remove it")
        first += table.rank_size
    result = RankTable(servers=tuple(servers), extra=extra)
    result.validate(name)
    return result


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address that a machine can have; None for anything else. HCCL takes no zone (``fe80::1%eth0``)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if address.is_unspecified or address.is_multicast or "%" in text else address


class _Check:
    """The checks of one table, with what they have seen so far."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: dict[tuple[str, int | None, int | str], str] = {}

    def fail(self, place: str, found: str, hint: str) -> NoReturn:
        """Refuse the table."""
        message = f"{self._name}: {place}: {found}"
        raise InputError(message, hint=hint)

    def once(self, place: str, key: str, value: int | str, hint: str, *, within: int | None = None) -> None:
        """Refuse a value that another place has, on the same server where ``within`` is its number."""
        other = self._seen.setdefault((key, within, value), place)
        if other != place:
            self.fail(place, f"{key}: found {value}, which {other} has too", hint)

    def server_id(self, place: str, text: str) -> None:
        if not 0 < len(text) <= _SERVER_ID_LENGTH or not text.isprintable() or text != text.strip():
            expected = f"an address or a name of 1 to {_SERVER_ID_LENGTH} characters"
            self.fail(place, f"server_id: found {text!r}, expected {expected}", "give the server's address")
        address = parse_address(text)
        looks_like_address = ":" in text or ("." in text and not text.strip("0123456789."))
        if looks_like_address and address is None:
            found = f"server_id: found {text!r}, expected an IPv4 or IPv6 address, or a name"
            self.fail(place, found, "give the server's address")
        self.once(place, "server_id", str(address or text), "name each server once")

    def device_ip(self, place: str, text: str | None, *, needed: bool) -> None:
        hint = "see what it is with hccn_tool -i N -ip -g on that server"
        if text is None:
            if needed:
                self.fail(place, "device_ip: found none, expected an address, since there are several servers", hint)
            return
        address = parse_address(text)
        if address is None:
            self.fail(place, f"device_ip: found {text!r}, expected an IPv4 or IPv6 address", hint)
        self.once(place, "device_ip", str(address), "each NPU's NIC has an address of its own")

    def rank_id(self, place: str, rank: int, size: int) -> None:
        hint = "number the ranks from 0 without gaps"
        if not 0 <= rank < size:
            self.fail(place, f"rank_id: found {rank}, expected 0 to {size - 1}, as there are {size} devices", hint)
        self.once(place, "rank_id", rank, hint)
