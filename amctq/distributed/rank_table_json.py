"""The file of a rank table, version 1.0: read strictly, written as hccl_tools writes it.

All values are strings, numbers too, and HCCL refuses others. Keys that amctq does not read (MindCluster and others add
``container_ip``, ``pod_ip`` and more) are kept, and written back after the ones that it knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from amctq.distributed.rank_table import (
    MOST_RANKS,
    RankedDevice,
    RankServer,
    RankTable,
    device_place,
    server_place,
)
from amctq.errors import InputError, UsageError
from amctq.files import Artifact, OutputDirectory
from amctq.json_file import JsonReader, read_json_object

VERSION = "1.0"
STATUS = "completed"
_MOST_BYTES = 32 << 20
_NUMBER = re.compile("0|[1-9][0-9]{0,8}")
_FORMAT = "see a good one with amctq rank-table --json"
_TABLE_KEYS = ("version", "server_count", "server_list", "status")
_SERVER_KEYS = ("server_id", "device", "host_nic_ip")
_DEVICE_KEYS = ("device_id", "device_ip", "rank_id")


def read_rank_table(path: Path, *, option: str = "--rank-table") -> RankTable:
    """Read a file.

    Args:
        path: the file.
        option: where its path was given, for messages.

    Raises:
        InputError: it cannot be read, is too long, is no JSON, is of another version, is not completed, lacks a key,
            has a value that is no string, counts that disagree, or does not pass ``RankTable.validate``.
    """
    takes = "a rank table, as amctq rank-table writes it"
    size = path.stat().st_size if path.is_file() else 0
    if size > _MOST_BYTES:
        message = f"{path}: found {size:,} bytes, expected at most {_MOST_BYTES:,}, enough for {MOST_RANKS:,} devices"
        raise InputError(message, hint=f"{option} takes {takes}")
    content = read_json_object(path, what="rank table", option=option, takes=takes)
    document = _Object(content, f"{path}: ", f"{path}: ")
    version = document.text("version")
    if version != VERSION:
        hint = "1.2 is for super nodes (Atlas A3); Ascend 910 takes 1.0: create one with amctq rank-table"
        document.fail("version", f"found {version!r}, expected {VERSION!r}", hint)
    status = document.text("status")
    if status != STATUS:
        hint = "whoever writes the table has not finished; HCCL would wait for it"
        document.fail("status", f"found {status!r}, expected {STATUS!r}", hint)
    servers = tuple(map(_read_server, document.objects("server_list", server_place, "server_id")))
    count = document.number("server_count")
    if count != len(servers):
        found = f"found {count}, expected {len(servers)}, as server_list has {len(servers)}"
        document.fail("server_count", found, "make it the number of servers")
    table = RankTable(servers=servers, extra=document.others(_TABLE_KEYS))
    table.validate(str(path))
    return table


def dump_rank_table(table: RankTable) -> dict[str, Any]:
    """The table as the file has it, ready for JSON."""
    servers = []
    for server in table.servers:
        devices = []
        for device in server.devices:
            address = {} if device.device_ip is None else {"device_ip": device.device_ip}
            numbers = str(device.device_id), str(device.rank_id)
            devices.append({"device_id": numbers[0], **address, "rank_id": numbers[1], **device.extra})
        nic = {} if server.host_nic_ip is None else {"host_nic_ip": server.host_nic_ip}
        servers.append({"server_id": server.server_id, "device": devices, **nic, **server.extra})
    count = str(len(servers))
    return {"version": VERSION, "server_count": count, "server_list": servers, "status": STATUS, **table.extra}


def write_rank_table(table: RankTable, path: Path, *, force: bool = False) -> Artifact:
    """Write a file, whole or not at all.

    Raises:
        InputError: the table is not valid.
        UsageError: the name does not end in ``.json``, or the file is there and ``force`` is not given.
        WriteError: the disk is full, or writing is not allowed.
    """
    table.validate()
    check_name(path)
    with OutputDirectory(path.parent, names=[path.name], force=force) as output:
        content = json.dumps(dump_rank_table(table), indent=4, ensure_ascii=False) + "\n"
        output.write(path.name, content.encode())
        (artifact,) = output.publish()
    return artifact


def check_name(path: Path) -> None:
    """Refuse a name under which HCCL would not read a rank table.

    Raises:
        UsageError: it does not end in ``.json``.
    """
    if path.suffix != ".json":
        message = f"{path}: expected a name that ends in .json, HCCL reads no other"
        raise UsageError(message, hint=f"call it {path.stem or 'rank_table'}.json")


def _read_server(server: _Object) -> RankServer:
    return RankServer(
        server_id=server.text("server_id"),
        devices=tuple(map(_read_device, server.objects("device", device_place, "device_id"))),
        host_nic_ip=server.optional_text("host_nic_ip"),
        extra=server.others(_SERVER_KEYS),
    )


def _read_device(device: _Object) -> RankedDevice:
    return RankedDevice(
        device_id=device.number("device_id"),
        device_ip=device.optional_text("device_ip"),
        rank_id=device.number("rank_id"),
        extra=device.others(_DEVICE_KEYS),
    )


class _Object(JsonReader):
    """One object of the file, whose values are strings, numbers too.

    Args:
        value: the object.
        place: what comes before a key in messages.
        inner: what comes before the place of an object in it.
    """

    def __init__(self, value: dict[str, Any], place: str, inner: str) -> None:
        super().__init__(value, place)
        self._inner = inner

    def text(self, key: str) -> str:
        """The string under ``key``."""
        value = self._get(key)
        if not isinstance(value, str):
            self.fail(key, f"found {_shown(value)}, expected a string", f'all values are strings, as in "{key}": "0"')
        return value

    def optional_text(self, key: str) -> str | None:
        """The string under ``key``, None where there is no such key."""
        return self.text(key) if key in self.value else None

    def number(self, key: str) -> int:
        """The number that the string under ``key`` spells."""
        text = self.text(key)
        if not _NUMBER.fullmatch(text):
            self.fail(key, f"found {text!r}, expected a whole number", f'write it as in "{key}": "15"')
        return int(text)

    def objects(self, key: str, called: Callable[[int, str], str], named_by: str) -> Iterator[_Object]:
        """The objects in the list under ``key``, each ``called`` by its number and by what it has as ``named_by``."""
        values = self._get(key)
        if not isinstance(values, list):
            self.fail(key, f"found {_shown(values)}, expected a list of objects", _FORMAT)
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                self.fail(f"{key}[{index}]", f"found {_shown(value)}, expected an object", _FORMAT)
            place = f"{self._inner}{called(index, str(value.get(named_by)))}"
            yield _Object(value, f"{place}: ", f"{place}, ")

    def _get(self, key: str) -> Any:
        if key not in self.value:
            self.fail(key, f"is missing; found {', '.join(self.value) or 'no key'}", _FORMAT)
        return self.value[key]


def _shown(value: Any) -> str:
    """A value as the file has it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]} …"
