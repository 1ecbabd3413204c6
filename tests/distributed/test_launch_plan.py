"""From options to the plan of a launch, and what travels to the workers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from amctq import runtime
from amctq.choices import BackendName, Device, ExportFormat, LrDecay, RecipeName, SelectEpoch
from amctq.distributed.launch_plan import share_cores
from amctq.distributed.rank_table import RankedDevice, RankServer, RankTable
from amctq.distributed.rank_table_json import write_rank_table
from amctq.distributed.status import ProcessState, StatusReader, StatusWriter
from amctq.errors import InputError, UnavailableError, UsageError
from amctq.progress import Reporter
from amctq.services.launch.plan import plan_launch
from amctq.services.launch.request import LaunchRequest
from amctq.services.qat.request import QatRequest
from amctq.services.qat.worker_spec import read_request, worker_spec

QAT = QatRequest(dataset="data", ckpt=Path("a.ckpt"), device=Device.CPU)


def _table(path: Path, *ranks: tuple[int, ...]) -> Path:
    """A table of one server for each tuple of ranks; each device has the number of its place."""
    servers = [
        RankServer(
            server_id=f"198.51.100.{number}",
            devices=tuple(
                RankedDevice(device_id=place, device_ip=f"10.0.{number}.{place + 1}", rank_id=rank)
                for place, rank in enumerate(own)
            ),
        )
        for number, own in enumerate(ranks, 1)
    ]
    write_rank_table(RankTable(servers=tuple(servers)), path)
    return path


def test_a_request_travels_whole() -> None:
    request = QatRequest(
        train_dataset=Path("train"),
        eval_dataset="eval.py:images",
        ckpt=Path("中文/a b.ckpt"),
        model="net.py:build",
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        num_classes=7,
        record=Path("record.txt"),
        skip_layers=("conv1", "layer*"),
        recipe=RecipeName.SAMPLE,
        epochs=20,
        lr_decay=LrDecay.COSINE,
        lr_max=0.1 + 0.2,
        distill=True,
        select=SelectEpoch.BEST,
        export=(ExportFormat.ONNX, ExportFormat.MINDIR),
        backend=BackendName.NATIVE,
        device=Device.CPU,
        eval_images=16,
        seed=5,
        output_dir=Path("out"),
    )
    spec = json.loads(json.dumps(worker_spec(request, size=2, digests=False)))
    again = read_request(spec["request"])
    # A dataset is a path or what find_dataset takes for one: the worker sees its text.
    assert again == replace(request, train_dataset="train")


@pytest.mark.parametrize(
    ("cores", "workers", "shares"),
    [(range(4), 2, [(0, 1), (2, 3)]), (range(5), 2, [(0, 1), (2, 3)]), ([3, 7], 2, [(3,), (7,)]), ([3], 2, [(), ()])],
)
def test_cores_are_dealt_out(cores: list[int], workers: int, shares: list[tuple[int, ...]]) -> None:
    assert share_cores(cores, workers) == shares


def test_servers_of_a_table_are_taken_in_the_order_of_their_ranks(tmp_path: Path) -> None:
    table = _table(tmp_path / "t.json", (2, 3), (0, 1))
    plan = plan_launch(LaunchRequest(qat=QAT, rank_table=table, node_rank=1), Reporter())
    assert (plan.nodes, plan.node, plan.master_addr, plan.master_port) == (2, 1, "198.51.100.2", 8118)
    assert [(rank.rank, rank.server, rank.local) for rank in plan.ranks] == [
        (0, "198.51.100.2", 0),
        (1, "198.51.100.2", 1),
        (2, "198.51.100.1", 0),
        (3, "198.51.100.1", 1),
    ]
    assert [rank.rank for rank in plan.local_ranks] == [2, 3]
    assert not plan.has_scheduler


def test_npus_of_a_server_are_what_msruns_device_numbers_count(tmp_path: Path) -> None:
    """On server 0 rank 0 has device 1: DEVICE_ID counts from 0, in the order of the ranks."""
    table = _table(tmp_path / "t.json", (1, 0))
    request = LaunchRequest(qat=replace(QAT, device=Device.ASCEND), rank_table=table)
    plan = plan_launch(request, Reporter(), simulated=True)
    first = plan.environment(plan.ranks[0])
    assert (plan.ranks[0].device_id, first["DEVICE_ID"]) == (1, "0")
    assert first["ASCEND_RT_VISIBLE_DEVICES"] == "1,0"


def _on_npus(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """A machine with CANN and these NPUs, as its driver shows them."""
    monkeypatch.setattr(runtime, "npu_nodes", lambda: tuple(Path(f"/dev/davinci{number}") for number in numbers))
    monkeypatch.setattr(runtime, "cann_home", lambda: Path("/usr/local/Ascend"))


def _devices(request: LaunchRequest, *, simulated: bool = False) -> tuple[list[int | None], set[str]]:
    """The NPUs of this server's ranks, and what their environments show of all NPUs."""
    plan = plan_launch(request, Reporter(), simulated=simulated)
    shown = {plan.environment(rank)["ASCEND_RT_VISIBLE_DEVICES"] for rank in plan.local_ranks}
    return [rank.device_id for rank in plan.local_ranks], shown


@pytest.mark.parametrize(
    ("visible", "planned"),
    [("2,3", [2, 3]), ("5,4,1", [5, 4]), (" 6 , 7 ", [6, 7]), (None, [0, 1])],
)
@pytest.mark.parametrize("simulated", [False, True], ids=["run", "dry-run"])
def test_visible_npus_are_the_ones_that_there_are(
    visible: str | None, planned: list[int], simulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others belong to somebody else."""
    if visible is not None:
        monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    if not simulated:
        _on_npus(monkeypatch, *range(8))
    request = LaunchRequest(qat=replace(QAT, device=Device.ASCEND), workers=2)
    assert _devices(request, simulated=simulated) == (planned, {",".join(map(str, planned))})


def test_npus_that_are_missing_in_the_middle_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that was given two of eight."""
    _on_npus(monkeypatch, 4, 6)
    assert _devices(LaunchRequest(qat=replace(QAT, device=Device.ASCEND), workers=2)) == ([4, 6], {"4,6"})


@pytest.mark.parametrize("simulated", [False, True], ids=["run", "dry-run"])
@pytest.mark.parametrize(
    ("visible", "workers", "says"),
    [
        ("2,3", 3, "--workers 3: this server has 2 NPU(s) that ASCEND_RT_VISIBLE_DEVICES shows (2-3), expected 3"),
        ("2", None, "t.json: this server has 1 NPU(s) that ASCEND_RT_VISIBLE_DEVICES shows (2), expected 0-1"),
        ("", 2, "ASCEND_RT_VISIBLE_DEVICES"),
        ("9", 2, "ASCEND_RT_VISIBLE_DEVICES"),
    ],
)
def test_npus_of_others_are_not_taken(
    visible: str, workers: int | None, says: str, simulated: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    _on_npus(monkeypatch, *range(8))
    table = None if workers else _table(Path("t.json"), (0, 1))
    request = LaunchRequest(qat=replace(QAT, device=Device.ASCEND), workers=workers, rank_table=table)
    with pytest.raises(UnavailableError) as caught:
        plan_launch(request, Reporter(), simulated=simulated)
    assert says in caught.value.message


@pytest.mark.parametrize("visible", ["a", "0,,1", "0-3", "-1", "1,1", "9" * 5000, "٣"])
def test_a_list_of_visible_npus_that_is_none_is_refused(visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    _on_npus(monkeypatch, 0, 1)
    with pytest.raises(InputError, match="ASCEND_RT_VISIBLE_DEVICES is"):
        runtime.resolve_device(Device.AUTO, None)


def test_a_device_id_of_a_former_run_does_not_matter_to_a_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICE_ID", "seven")
    _on_npus(monkeypatch, 0, 1)
    assert _devices(LaunchRequest(qat=replace(QAT, device=Device.ASCEND), workers=2))[0] == [0, 1]


@pytest.mark.parametrize("number", [1, 64, 100_000_000])
def test_a_device_that_is_not_there_is_told(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _on_npus(monkeypatch, 0, 1, 2)
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "2")
    with pytest.raises(UnavailableError, match=f"--device-id {number}: there are 1"):
        runtime.resolve_device(Device.ASCEND, number)


@pytest.mark.parametrize(
    ("workers", "timeout", "says"),
    [
        (100_000_000, 600, "--workers 100000000: expected at most 65536"),
        (2048, 600, "--workers 2048 on 1 server(s): expected at most 1024 on each"),
        (2, 10**9, "expected at most 604800"),
    ],
)
def test_numbers_that_no_cluster_has_are_refused(workers: int, timeout: int, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        LaunchRequest(qat=QAT, workers=workers, timeout=timeout)
    assert says in caught.value.message


def test_no_server_has_more_npus_than_a_table_can_name() -> None:
    request = LaunchRequest(qat=replace(QAT, device=Device.ASCEND), workers=65)
    with pytest.raises(UsageError, match="at most 64 NPUs on each"):
        plan_launch(request, Reporter(), simulated=True)


@pytest.mark.parametrize("ranks", [((0, 1, 2), (3,)), ((0, 2), (1, 3))])
def test_a_table_that_msrun_cannot_number_is_refused(ranks: tuple[tuple[int, ...], ...], tmp_path: Path) -> None:
    table = _table(tmp_path / "t.json", *ranks)
    with pytest.raises(InputError, match="has the ranks"):
        plan_launch(LaunchRequest(qat=QAT, rank_table=table, node_rank=0), Reporter())


def test_a_server_of_no_table_must_be_named(tmp_path: Path) -> None:
    table = _table(tmp_path / "t.json", (0,), (1,))
    with pytest.raises(UsageError, match="has an address of this machine"):
        plan_launch(LaunchRequest(qat=QAT, rank_table=table), Reporter())


def test_a_line_that_is_being_written_waits(tmp_path: Path) -> None:
    path = tmp_path / "status.jsonl"
    reader = StatusReader(path)
    assert reader.new() == []
    writer = StatusWriter(path)
    writer.tell("start", guard=1, pid=2, time=3.0)
    with path.open("a") as stream:
        stream.write('{"event": "end", ')
    assert [line["event"] for line in reader.new()] == ["start"]
    assert reader.new() == []
    with path.open("a") as stream:
        stream.write('"exit_code": 0, "time": 4.0}\n')
    assert [line["exit_code"] for line in reader.new()] == [0]


def test_the_last_of_a_log_is_what_is_said_last(tmp_path: Path) -> None:
    log = tmp_path / "log"
    state = ProcessState(name="rank 0", log=log)
    assert state.tail(3) == []
    log.write_bytes(b"x" * 100_000 + b"\none\n\n  two  \n\xff three\n")
    assert state.tail(2) == ["  two", "\N{REPLACEMENT CHARACTER} three"]
