"""Every reader of this folder on damaged input: it is read, or refused with a reason, and that soon."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from amctq.distributed.device_list import parse_devices
from amctq.distributed.hccn import HccnConf, HccnTool
from amctq.distributed.rank_table import MOST_RANKS, RankedDevice, RankServer, RankTable
from amctq.distributed.rank_table_json import dump_rank_table, read_rank_table
from amctq.distributed.status import StatusWriter, has_ended_well
from amctq.errors import InputError, UsageError
from tests.mutations import mutation_count, mutations

SEEDS = mutation_count(400)
SECONDS = 20.0  # of this process: other work of the machine does not count
TABLE = RankTable(
    servers=tuple(
        RankServer(
            server_id=f"10.0.0.{server}",
            devices=tuple(
                RankedDevice(device_id=place, device_ip=f"192.168.{server}.{place}", rank_id=server * 2 + place)
                for place in range(2)
            ),
            extra={"pod_ip": "10.9.0.1"},
        )
        for server in range(2)
    )
)
CONF = b"# the NICs\naddress_0=192.168.100.100\nnetmask_0=255.255.255.0\naddress_1=fe80::1234\n\naddress_15=10.0.0.15\n"


def _refused(read: Callable[[], object]) -> bool:
    """Whether it is refused; it may not take long or end otherwise."""
    begin = time.process_time()
    try:
        read()
        found = None
    except (InputError, UsageError) as error:
        found = error
    assert time.process_time() - begin < SECONDS
    if found is not None:
        assert found.message.encode()  # no half of a surrogate pair, which no stream takes
        assert found.hint
    return found is not None


def test_damaged_rank_tables(tmp_path: Path) -> None:
    path, refused = tmp_path / "table.json", 0
    content = json.dumps(dump_rank_table(TABLE), indent=4).encode()
    for changed in mutations(content, count=SEEDS, seed=1):
        path.write_bytes(changed)
        refused += _refused(lambda: read_rank_table(path))
    assert SEEDS // 2 < refused < SEEDS


def test_damaged_hccn_conf(tmp_path: Path) -> None:
    path, refused = tmp_path / "hccn.conf", 0

    def read() -> None:
        conf = HccnConf(path)
        for device in conf.devices():
            conf.address(device)

    for changed in mutations(CONF, count=SEEDS, seed=1):
        path.write_bytes(changed)
        refused += _refused(read)
    assert 0 < refused < SEEDS


def test_damaged_answers_of_hccn_tool(tmp_path: Path) -> None:
    tool, answer, refused = tmp_path / "hccn_tool", tmp_path / "answer", 0
    tool.write_text(f"#!/bin/sh\nexec cat '{answer}'\n")
    tool.chmod(0o755)
    for changed in mutations(b"ipaddr:192.168.100.101\nnetmask:255.255.255.0\n", count=SEEDS // 2, seed=1):
        answer.write_bytes(changed)
        refused += _refused(lambda: HccnTool(tool).address(0))
    assert 0 < refused < SEEDS // 2


def test_damaged_status_files(tmp_path: Path) -> None:
    """A former run's are read to see whether its logs may be replaced."""
    path, ended = tmp_path / "status.jsonl", 0
    writer = StatusWriter(path)
    writer.tell("start", guard=1, pid=2, time=3.0)
    writer.tell("progress", phase="training", done=1, total=2, unit="steps", note="", figures={"loss": 1.0})
    writer.tell("end", exit_code=0, time=4.0)
    for changed in mutations(path.read_bytes(), count=SEEDS, seed=1):
        path.write_bytes(changed)
        ended += has_ended_well(path)
    assert 0 < ended < SEEDS


def test_damaged_device_lists() -> None:
    refused = 0
    for listed in (b"0-3,8,10 - 11", b"[0,8)"):
        for changed in mutations(listed, count=SEEDS, seed=1):
            text = changed.decode(errors="surrogateescape")
            refused += _refused(lambda text=text: parse_devices(text, option="--devices"))  # type: ignore[misc]
    assert SEEDS < refused < 2 * SEEDS


@pytest.mark.parametrize("text", [",".join(["0-9999"] * 5_000), ",".join(["0"] * 300_000), "[0,9999)"])
def test_lists_of_millions_of_devices_are_not_made(text: str) -> None:
    begin = time.process_time()
    assert _refused(lambda: parse_devices(text, option="--devices"))
    assert time.process_time() - begin < 5


def _huge(servers: int, devices: int) -> dict[str, object]:
    device = {"device_id": "0", "device_ip": "10.0.0.1", "rank_id": "0"}
    listed = [{"server_id": f"s{number}", "device": [device] * devices} for number in range(servers)]
    return {"version": "1.0", "server_count": str(servers), "server_list": listed, "status": "completed"}


@pytest.mark.parametrize(
    ("servers", "devices", "says"),
    [(1, MOST_RANKS + 1, "expected at most 65,536"), (1, 1_000_000, "bytes, expected at most"), (70_000, 1, "devices")],
)
def test_tables_of_millions_of_devices_are_refused_at_once(
    servers: int, devices: int, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(_huge(servers, devices)))
    begin = time.process_time()
    with pytest.raises(InputError) as caught:
        read_rank_table(path)
    assert says in caught.value.message
    assert len(caught.value.message) < 1000
    assert time.process_time() - begin < SECONDS


def test_many_keys_and_one_of_them_twice_are_found_at_once(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text("{" + ",".join(f'"{number}":0' for number in [*range(300_000), 299_999]) + "}")
    begin = time.process_time()
    with pytest.raises(InputError, match="duplicate key 299999"):
        read_rank_table(path)
    assert time.process_time() - begin < SECONDS
