"""The rank table: valid or refused with its place, joined, and the same after writing and reading."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amctq.distributed.rank_table import RankedDevice, RankServer, RankTable, merged
from amctq.distributed.rank_table_json import dump_rank_table, read_rank_table, write_rank_table
from amctq.errors import InputError, UsageError
from tests.distributed.tables import document, valid_tables

# Files that are made durable take longer on a busy machine than Hypothesis allows.
UNHURRIED = settings(max_examples=40, deadline=None)
Change = Callable[[dict[str, Any]], object]


def _written(content: object, name: str = "table.json") -> Path:
    path = Path(name)
    path.write_text(json.dumps(content))
    return path


def _device(content: dict[str, Any], server: int = 0, device: int = 0) -> dict[str, Any]:
    found = content["server_list"][server]["device"][device]
    assert isinstance(found, dict)
    return found


@UNHURRIED
@given(valid_tables(), st.dictionaries(st.sampled_from(["hardware_type", "group"]), st.text(max_size=3)))
def test_what_is_written_is_read_back_equal(table: RankTable, extra: dict[str, Any]) -> None:
    table = replace(table, extra=extra)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.json"
        write_rank_table(table, path)
        content = path.read_bytes()
        assert read_rank_table(path) == table
        write_rank_table(read_rank_table(path), path, force=True)
        assert path.read_bytes() == content


def test_what_is_read_is_written_back_equal() -> None:
    content = document(("10.0.0.1", 2), ("node_1", 2))
    content["hardware_type"] = {"nested": [1, None]}
    content["server_list"][0] |= {"container_ip": "10.9.9.9"}
    del content["server_list"][1]["host_nic_ip"]
    _device(content, 1)["device_port"] = "16667"
    table = read_rank_table(_written(content))
    assert dump_rank_table(table) == content
    assert table.unread_keys == ("hardware_type", "server_list.container_ip", "server_list.device.device_port")
    assert [device.rank_id for server in table.servers for device in server.devices] == [0, 1, 2, 3]


def test_ranks_may_stand_in_any_order() -> None:
    content = document(("10.0.0.1", 3))
    for device, rank in enumerate((2, 0, 1)):
        _device(content, 0, device)["rank_id"] = str(rank)
    assert read_rank_table(_written(content)).rank_size == 3


def test_a_single_server_needs_no_addresses_and_several_do() -> None:
    content = document(("10.0.0.1", 1))
    del _device(content)["device_ip"]
    alone = read_rank_table(_written(content))
    assert dump_rank_table(alone) == content
    other = read_rank_table(_written(document(("10.0.0.2", 1))))
    with pytest.raises(InputError, match=r"server_list\[0\].*device\[0\].*device_ip: found none"):
        merged([alone, other])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda c: c.update(version="1.2"), ("version: found '1.2', expected '1.0'",), id="super-nodes"),
        pytest.param(lambda c: c.update(version=1.0), ("version: found 1.0, expected a string",), id="version-number"),
        pytest.param(lambda c: c.pop("version"), ("version: is missing; found server_count",), id="old-template"),
        pytest.param(lambda c: c.update(status="initializing"), ("status: found 'initializing'",), id="unfinished"),
        pytest.param(lambda c: c.update(server_count="3"), ("server_count: found 3, expected 2",), id="server-count"),
        pytest.param(lambda c: c.update(server_count=2), ("server_count: found 2, expected a string",), id="count-int"),
        pytest.param(lambda c: c.update(server_count="two"), ("expected a whole number",), id="count-word"),
        pytest.param(
            lambda c: c.update(server_list=[], server_count="0"), ("server_list: found no server",), id="no-server"
        ),
        pytest.param(lambda c: c.update(server_list={}), ("server_list: found {}, expected a list",), id="no-list"),
        pytest.param(
            lambda c: c["server_list"].__setitem__(1, "x"),
            ('server_list[1]: found "x", expected an object',),
            id="text",
        ),
        pytest.param(
            lambda c: c["server_list"][1].update(device=[]),
            ("server_list[1] (server_id node_1)", "no device"),
            id="bare",
        ),
        pytest.param(
            lambda c: c["server_list"][1].pop("server_id"), ("server_list[1]", "server_id: is missing"), id="nameless"
        ),
        pytest.param(lambda c: c["server_list"][1].update(server_id="10.0.0.256"), ("'10.0.0.256'",), id="bad-server"),
        pytest.param(lambda c: c["server_list"][1].update(server_id="fe80:::1"), ("'fe80:::1'",), id="bad-server-6"),
        pytest.param(lambda c: c["server_list"][1].update(server_id="n" * 64), ("1 to 63 characters",), id="long-name"),
        pytest.param(lambda c: c["server_list"][1].update(server_id=""), ("1 to 63 characters",), id="empty-name"),
        pytest.param(lambda c: c["server_list"][1].update(server_id="a\nb"), ("1 to 63 characters",), id="two-lines"),
        pytest.param(
            lambda c: c["server_list"][1].update(server_id="10.0.0.1"),
            ("server_list[1] (server_id 10.0.0.1)", "which server_list[0] (server_id 10.0.0.1) has too"),
            id="server-twice",
        ),
        pytest.param(lambda c: c["server_list"][0].update(host_nic_ip=1), ("host_nic_ip: found 1",), id="nic"),
        pytest.param(
            lambda c: _device(c, 1, 1).update(device_ip="-.-.-.-"),
            ("server_list[1] (server_id node_1), device[1] (device_id 1): device_ip: found '-.-.-.-'", "IPv4 or IPv6"),
            id="no-address",
        ),
        pytest.param(lambda c: _device(c).update(device_ip=""), ("device_ip: found ''",), id="empty-address"),
        pytest.param(lambda c: _device(c).update(device_ip="192.168.01.1"), ("'192.168.01.1'",), id="leading-zero"),
        pytest.param(lambda c: _device(c).update(device_ip="0.0.0.0"), ("'0.0.0.0'",), id="unspecified"),
        pytest.param(lambda c: _device(c).update(device_ip="fe80::1%eth0"), ("'fe80::1%eth0'",), id="zone"),
        pytest.param(lambda c: _device(c).update(device_ip=None), ("device_ip: found null",), id="null-address"),
        pytest.param(lambda c: _device(c).pop("device_ip"), ("device_ip: found none",), id="lacking-address"),
        pytest.param(
            lambda c: _device(c, 0, 1).update(device_ip="192.168.0.1"),
            ("device[1] (device_id 1): device_ip: found 192.168.0.1, which", "device[0] (device_id 0) has too"),
            id="address-twice",
        ),
        pytest.param(
            lambda c: (_device(c).update(device_ip="2001:db8::1"), _device(c, 1).update(device_ip="2001:DB8:0::1")),
            ("server_list[1]", "found 2001:db8::1, which server_list[0]"),
            id="address-twice-in-other-words",
        ),
        pytest.param(
            lambda c: _device(c, 0, 1).update(device_id="0"),
            ("device_id: found 0, which server_list[0] (server_id 10.0.0.1), device[0] (device_id 0) has too",),
            id="device-twice",
        ),
        pytest.param(lambda c: _device(c).update(device_id="-1"), ("device_id: found '-1'",), id="negative-device"),
        pytest.param(lambda c: _device(c).update(device_id="00"), ("device_id: found '00'",), id="padded-device"),
        pytest.param(lambda c: _device(c).update(rank_id=0), ("rank_id: found 0, expected a string",), id="rank-int"),
        pytest.param(
            lambda c: _device(c, 1, 1).update(rank_id="4"),
            ("server_list[1] (server_id node_1), device[1] (device_id 1): rank_id: found 4, expected 0 to 3",),
            id="rank-gap",
        ),
        pytest.param(
            lambda c: _device(c, 1, 1).update(rank_id="0"), ("rank_id: found 0, which server_list[0]",), id="rank-twice"
        ),
    ],
)
def test_a_bad_table_is_refused_with_its_place(change: Change, says: tuple[str, ...]) -> None:
    content = document(("10.0.0.1", 2), ("node_1", 2))
    change(content)
    with pytest.raises(InputError) as caught:
        read_rank_table(_written(content))
    assert caught.value.message.startswith("table.json: ")
    assert all(part in caught.value.message for part in says), caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message


@UNHURRIED
@given(st.data())
def test_any_value_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    """Whatever stands in the place of one value: a table, or InputError, never another exception."""
    content = document(("10.0.0.1", 2), ("node_1", 1))
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in range(len(value)) if isinstance(value, list) else list(value):
            places.append((value, key))
            if isinstance(value[key], (dict, list)):
                walk(value[key])

    walk(content)
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]) | st.just({}) | st.just([{}])
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.json"
        path.write_text(json.dumps(content))
        try:
            table = read_rank_table(path)
        except InputError:
            return
        assert dump_rank_table(table) == content


@UNHURRIED
@given(valid_tables(number=1), valid_tables(number=2), valid_tables(number=3))
def test_merging(first: RankTable, second: RankTable, third: RankTable) -> None:
    """In order, ranks without gaps, the former order within each table; how it is bracketed makes no difference."""
    tables = [first, second, third]
    table = merged(tables)
    assert [server.server_id for server in table.servers] == [
        server.server_id for part in tables for server in part.servers
    ]
    assert merged([merged(tables[:2]), third]) == merged([first, merged(tables[1:])]) == table
    start = 0
    devices = iter([device for server in table.servers for device in server.devices])
    for part in tables:
        for before in (device for server in part.servers for device in server.devices):
            assert next(devices) == replace(before, rank_id=start + before.rank_id)
        start += part.rank_size
    assert start == table.rank_size


@UNHURRIED
@given(valid_tables())
def test_merging_one_table_changes_nothing(table: RankTable) -> None:
    assert merged([table]) == table


def test_merging_refuses_what_disagrees() -> None:
    first, second = (read_rank_table(_written(document((name, 1)))) for name in ("10.0.0.1", "10.0.0.2"))
    with pytest.raises(InputError, match=r"server_list\[1\].*192\.168\.0\.1, which server_list\[0\]"):
        merged([first, second])
    with pytest.raises(InputError, match=r"server_id: found 10\.0\.0\.1"):
        merged([first, first])
    apart = replace(second.servers[0], devices=(RankedDevice(device_id=0, device_ip="10.5.0.1", rank_id=0),))
    with pytest.raises(InputError, match="hardware_type: the tables differ"):
        merged(
            [replace(first, extra={"hardware_type": "a"}), RankTable(servers=(apart,), extra={"hardware_type": "b"})]
        )


def test_an_invalid_table_is_never_written() -> None:
    device = RankedDevice(device_id=0, device_ip="10.0.0.1", rank_id=1)
    with pytest.raises(InputError, match="rank_id: found 1, expected 0 to 0"):
        write_rank_table(RankTable(servers=(RankServer(server_id="a", devices=(device,)),)), Path("table.json"))
    good = RankTable(servers=(RankServer(server_id="a", devices=(replace(device, rank_id=0),)),))
    with pytest.raises(UsageError, match=r"ends in \.json"):
        write_rank_table(good, Path("table.txt"))
    assert list(Path().iterdir()) == []


def test_a_big_cluster_is_checked_in_linear_time() -> None:
    """1,024 servers of 16 devices: seconds would mean that something is looked up device by device."""
    servers = []
    for number in range(1024):
        subnet = f"10.{number >> 8}.{number & 255}"
        devices = tuple(
            RankedDevice(device_id=device, device_ip=f"{subnet}.{device + 1}", rank_id=number * 16 + device)
            for device in range(16)
        )
        servers.append(RankServer(server_id=f"node{number}", devices=devices))
    table = RankTable(servers=tuple(servers))
    start = time.process_time()
    table.validate()
    assert time.process_time() - start < 3
    assert table.rank_size == 16_384
