"""Two servers with addresses of their own: network namespaces with a cable between them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from amctq.pretrained import CHECKPOINT
from tests.command import AMCTQ

SERVERS = {"amctq-a": "10.77.0.1", "amctq-b": "10.77.0.2"}


def _ip(*arguments: str, namespace: str | None = None) -> bool:
    inside = ["-n", namespace] if namespace else []
    return subprocess.run(["ip", *inside, *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def servers() -> Iterator[dict[str, str]]:
    if not shutil.which("ip") or not all(_ip("netns", "add", name) for name in SERVERS):
        for name in SERVERS:
            _ip("netns", "del", name)
        pytest.skip("needs the ip command, and the right to make network namespaces")
    one, other = SERVERS
    try:
        assert _ip("link", "add", "eth", "netns", one, "type", "veth", "peer", "name", "eth", "netns", other)
        for name, address in SERVERS.items():
            assert _ip("addr", "add", f"{address}/24", "dev", "eth", namespace=name)
            assert _ip("link", "set", "eth", "up", namespace=name)
            assert _ip("link", "set", "lo", "up", namespace=name)
        yield SERVERS
    finally:
        for name in SERVERS:
            _ip("netns", "del", name)


def _run_on_each(servers: dict[str, str], command: list[str]) -> list[subprocess.Popen[bytes]]:
    return [
        subprocess.Popen(["ip", "netns", "exec", name, AMCTQ, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for name in servers
    ]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["hosts", "rank-table"])
def test_two_servers_train_together(how: str, servers: dict[str, str], pictures: Path) -> None:
    """The same command on both; each finds out by its addresses which one it is."""
    table = {
        "version": "1.0",
        "server_count": "2",
        "server_list": [
            {
                "server_id": address,
                "device": [{"device_id": "0", "device_ip": f"172.16.0.{rank + 1}", "rank_id": str(rank)}],
                "host_nic_ip": "reserve",
            }
            for rank, address in enumerate(servers.values())
        ],
        "status": "completed",
    }
    Path("table.json").write_text(json.dumps(table))
    where = ["--workers", "2", "--hosts", ",".join(servers.values())]
    command = ["launch-distributed", *(where if how == "hosts" else ["--rank-table", "table.json"]), "--step-digests"]
    command += ["--dataset", str(pictures), "--ckpt", str(CHECKPOINT), "--model", "resnet8", "--batch-size", "8"]
    processes = _run_on_each(servers, [*command, "--max-steps", "3", "--calib-images", "8", "--json"])
    answers = []
    for process in processes:
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr.decode()
        answers.append(json.loads(stdout)["data"])
    first, second = answers
    assert (first["training"]["steps"], first["training"]["recipe"]["batch_size"]) == (3, 16)
    assert "training" not in second
    assert [answer["launch"]["node"] for answer in answers] == [0, 1]
    digests = []
    for rank in (0, 1):
        status = Path("retrain_result/logs", f"train_parallel{rank}", "status.jsonl").read_text()
        lines = [json.loads(line).get("figures", {}) for line in status.splitlines()]
        digests.append([line["digest"] for line in lines if "digest" in line])
        environment = Path("retrain_result/logs", f"train_parallel{rank}", "env.log").read_text().splitlines()
        assert f"MS_SCHED_HOST={servers['amctq-a']}" in environment
    assert len(digests[0]) == 3
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_a_server_that_never_comes_is_told(servers: dict[str, str], pictures: Path) -> None:
    command = ["launch-distributed", "--workers", "2", "--hosts", ",".join(servers.values()), "--timeout", "15"]
    command += ["--dataset", str(pictures), "--ckpt", str(CHECKPOINT), "--model", "resnet8", "--batch-size", "8"]
    (process,) = _run_on_each(dict([next(iter(servers.items()))]), [*command, "--max-steps", "1", "--json"])
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 7, stderr.decode()
    (error,) = json.loads(stdout)["errors"]
    assert error["message"].startswith(("rank 0", "scheduler"))
    assert error["hint"]


@pytest.mark.slow
def test_a_server_that_dies_ends_the_run_on_the_other(servers: dict[str, str], pictures: Path) -> None:
    """MindSpore's scheduler misses its heartbeat; the ranks would wait for a week."""
    command = ["launch-distributed", "--workers", "2", "--hosts", ",".join(servers.values()), "--eval-images", "0"]
    command += ["--dataset", str(pictures), "--ckpt", str(CHECKPOINT), "--model", "resnet8", "--batch-size", "8"]
    first, second = _run_on_each(servers, [*command, "--max-steps", "100000", "--calib-images", "8", "--json"])
    status = Path("retrain_result/logs/train_parallel1/status.jsonl")
    while not (status.exists() and '"loss"' in status.read_text()):
        assert first.poll() is None, first.communicate()
        time.sleep(0.1)
    second.kill()
    second.communicate()
    stdout, stderr = first.communicate(timeout=120)
    assert first.returncode == 7, stderr.decode()
    assert "The node: 1 is timed out" in json.loads(stdout)["errors"][0]["message"]
