"""``amctq launch-distributed`` and ``amctq qat --distributed`` under the real msrun, with workers on the CPU."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amctq.distributed.processes import is_alive
from amctq.pretrained import CHECKPOINT
from tests.command import AMCTQ, Finished, amctq, amctq_here
from tests.runs import Runs

MISSED = 25  # seconds, in less than which MindSpore's scheduler misses no worker
STEPS, EVERY = 12, 4  # two epochs of six steps of 2 x 8 images; a checkpoint every four


def _arguments(pictures: Path, *more: object) -> list[str]:
    arguments = ["--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8", "--batch-size", "8"]
    arguments += [] if "--max-steps" in more else ["--epochs", 2]
    return [*map(str, arguments), "--save-every-steps", str(EVERY), "--calib-images", "8", "--json", *map(str, more)]


def _launch(pictures: Path, *more: object, workers: int = 2) -> list[str]:
    return ["launch-distributed", "--workers", str(workers), *_arguments(pictures, "--step-digests", *more)]


def _format(logs: Path, rank: int) -> list[dict[str, Any]]:
    file = logs / f"train_parallel{rank}" / "status.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _steps(logs: Path, rank: int) -> list[dict[str, Any]]:
    """What a rank has told after each training step."""
    return [
        line["figures"] | {"step": line["done"]} for line in _format(logs, rank) if "loss" in line.get("figures", {})
    ]


def _wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def _running(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([AMCTQ, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _ended(process: subprocess.Popen[bytes]) -> Finished:
    stdout, stderr = process.communicate(timeout=120)
    return Finished(process.returncode, stdout.decode(), stderr.decode())


def _stepped(logs: Path, step: int) -> Callable[[], bool]:
    """Whether both ranks have done so many steps."""
    return lambda: all(
        (logs / f"train_parallel{rank}" / "status.jsonl").exists() and len(_steps(logs, rank)) >= step
        for rank in (0, 1)
    )


def _pids(logs: Path) -> list[int]:
    starts = [_format(logs, rank)[0] for rank in (0, 1)]
    return [number for start in starts for number in (start["guard"], start["pid"])]


@pytest.fixture(scope="session")
def outcome(pictures: Path, runs: Runs) -> tuple[Finished, Path]:
    """One whole run of two workers that nothing has disturbed."""
    return runs.finished(*_launch(pictures), output="retrain_result")


def test_ranks_hold_the_same_bits_after_every_step(outcome: tuple[Finished, Path]) -> None:
    """Weights, clips, momentum and moving statistics; each rank has trained on images of its own."""
    one, other = (_steps(outcome[1] / "logs", rank) for rank in (0, 1))
    assert [line["step"] for line in one] == [line["step"] for line in other] == list(range(1, STEPS + 1))
    assert [line["digest"] for line in one] == [line["digest"] for line in other]
    assert len({line["digest"] for line in one}) == STEPS
    assert all(line["loss"] != twin["loss"] for line, twin in zip(one, other, strict=True))
    history = [json.loads(line) for line in (outcome[1] / "history.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in history if "loss" in line]
    means = [(line["loss"] + twin["loss"]) / 2 for line, twin in zip(one, other, strict=True)]
    assert losses == pytest.approx(means, rel=1e-5)


@pytest.mark.slow
def test_ranks_start_from_the_rounded_weights_of_the_first(pictures: Path) -> None:
    """Only rank 0 rounds by GPTQ; the weights, means and scales that it starts from reach the other."""
    done = amctq(*_launch(pictures, "--weight-bits", "4", "--max-steps", "2", "--eval-images", "0"))
    assert done.code == 0, done.stderr
    assert done.data["quantization"]["started_from_weight_algo"] == ["gptq"]
    one, other = (_steps(Path("retrain_result/logs"), rank) for rank in (0, 1))
    assert [line["step"] for line in one] == [1, 2]
    assert [line["digest"] for line in one] == [line["digest"] for line in other]


def test_the_report_is_that_of_qat_and_tells_of_the_launch(outcome: tuple[Finished, Path]) -> None:
    done, output = outcome
    data = done.data
    report = json.loads((output / "report.json").read_text())
    assert {**report, "command": "launch-distributed"} == {name: data[name] for name in data if name != "launch"}
    assert (report["training"]["recipe"]["batch_size"], report["training"]["steps"]) == (16, STEPS)
    assert all(check["passed"] for check in report["checks"])
    assert report["accuracy"]["int8"]["top1"] > 80
    assert (data["launch"]["workers"], data["launch"]["nodes"]) == (2, 1)
    names = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file() and "logs" not in path.parts}
    assert names == {str(Path(item["path"]).relative_to(output)) for item in done.envelope["artifacts"]}
    assert {"resnet8_quant_retrain.onnx", "checkpoints/best.ckpt", "checkpoints/step-00000012.ckpt"} <= names


def test_a_worker_has_the_environment_that_a_dry_run_shows(outcome: tuple[Finished, Path], pictures: Path) -> None:
    preview = amctq_here(*_launch(pictures, "--", "--dry-run")).data
    for rank in preview["ranks"]:
        shown = rank["environment"]
        log = (outcome[1] / "logs" / f"train_parallel{rank['rank']}" / "env.log").read_text()
        real = dict(line.split("=", 1) for line in log.splitlines() if "=" in line)
        assert shown["MS_SCHED_PORT"] != "8118"  # a free one, another each time
        assert {name: real[name] for name in shown if name != "MS_SCHED_PORT"} == {
            name: value for name, value in shown.items() if name != "MS_SCHED_PORT"
        }
    assert not Path("retrain_result").exists()


def test_a_worker_that_dies_is_named(pictures: Path) -> None:
    _kill_a_worker(pictures)


@pytest.mark.slow
def test_after_the_death_of_a_worker_the_run_goes_on_from_its_checkpoint(
    outcome: tuple[Finished, Path], pictures: Path
) -> None:
    _kill_a_worker(pictures)
    done = amctq(*_launch(pictures, "--output-dir", "died", "--resume"))
    assert done.code == 0, done.stderr
    assert done.data["timing"]["resumed_at_step"] == 4
    _assert_equal(outcome[1], Path("died"))


def _kill_a_worker(pictures: Path) -> None:
    """Rank 1 of a run into ``died``, after its first checkpoint."""
    logs = Path("died/logs")
    process = _running(_launch(pictures, "--output-dir", "died"))
    _wait_for(_stepped(logs, 5), process)
    left = _pids(logs)
    os.kill(left[3], signal.SIGSEGV)
    begin = time.monotonic()
    done = _ended(process)
    assert time.monotonic() - begin < MISSED, "MindSpore's own scheduler would have told"
    assert done.code == 7, done.stderr
    (error,) = done.envelope["errors"]
    assert error["message"].startswith(f"rank 1 was killed by SIGSEGV; the last of {logs}/train_parallel1/log:")
    assert (done.data["failed"], done.data["exit_code"]) == ("rank 1", -11)
    assert not any(map(is_alive, left))
    assert Path("died/checkpoints/step-00000004.ckpt").exists()


def _assert_equal(one: Path, other: Path) -> None:
    for name in (
        *("resnet8_quant_retrain.onnx", "calibration_record.txt", "retrain_quant_config.json", "history.jsonl"),
        *("checkpoints/best.ckpt", f"checkpoints/step-{STEPS:08d}.ckpt"),
    ):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    digests = [line["digest"] for line in _steps(other / "logs", 1)]
    assert digests == [line["digest"] for line in _steps(one / "logs", 1)][-len(digests) :]


@pytest.mark.slow
def test_killed_with_its_launcher_the_run_ends_in_the_same_bytes(
    outcome: tuple[Finished, Path], pictures: Path
) -> None:
    logs = Path("killed/logs")
    process = _running(_launch(pictures, "--output-dir", "killed"))
    _wait_for(_stepped(logs, 6), process)
    left = _pids(logs)
    process.kill()
    process.communicate()
    until = time.monotonic() + MISSED
    while any(map(is_alive, left)):
        assert time.monotonic() < until
        time.sleep(0.02)
    done = amctq(*_launch(pictures, "--output-dir", "killed", "--resume"))
    assert done.code == 0, done.stderr
    _assert_equal(outcome[1], Path("killed"))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"])
def test_a_stopped_run_saves_on_the_same_step_and_goes_on_to_the_same_bytes(
    number: signal.Signals, code: int, outcome: tuple[Finished, Path], pictures: Path
) -> None:
    logs = Path("stopped/logs")
    process = _running(_launch(pictures, "--output-dir", "stopped"))
    _wait_for(_stepped(logs, 5), process)
    process.send_signal(number)
    done = _ended(process)
    assert done.code == code, done.stderr
    last = [line["step"] for line in _steps(logs, 0)][-1]
    assert last == [line["step"] for line in _steps(logs, 1)][-1]
    saved = f"stopped/checkpoints/step-{last:08d}.ckpt"
    assert f"step {last} is saved as {saved}; continue with --resume" in done.envelope["errors"][0]["message"]
    assert Path(saved).exists()
    done = amctq(*_launch(pictures, "--output-dir", "stopped", "--resume"))
    assert done.code == 0, done.stderr
    assert done.data["timing"]["resumed_at_step"] == last
    _assert_equal(outcome[1], Path("stopped"))


@pytest.mark.slow
def test_four_workers_hold_the_same_bits_and_another_number_cannot_go_on(pictures: Path) -> None:
    """Sums of four have an order, which must be the same on all."""
    done = amctq(*_launch(pictures, "--max-steps", 2, workers=4))
    assert done.code == 0, done.stderr
    logs = Path("retrain_result/logs")
    digests = [[line["digest"] for line in _steps(logs, rank)] for rank in range(4)]
    assert len(digests[0]) == 2
    assert digests[1:] == digests[:1] * 3
    refused = amctq_here("qat", "--distributed", "2", *_arguments(pictures, "--resume"))
    assert refused.code == 3
    assert "devices is 4 in it, 2 here" in refused.envelope["errors"][0]["message"]


@pytest.mark.slow
def test_a_gate_fails_as_on_one_device(pictures: Path) -> None:
    done = amctq("qat", "--distributed", "2", *_arguments(pictures, "--max-drop", "-50"))
    assert done.code == 5, done.stderr
    assert "accuracy" in done.data
    assert not Path("retrain_result/report.json").exists()


BAD: list[tuple[str, int, str, list[object]]] = [
    ("nobody", 2, "neither --workers nor --rank-table", []),
    ("both", 2, "--workers and --rank-table", ["--workers", 2, "--rank-table", "t.json"]),
    ("huge", 2, "65536", ["--workers", 100_000_000]),
    ("no-table", 3, "t.json", ["--rank-table", "t.json"]),
    ("uneven", 2, "a multiple of the 2 servers", ["--workers", 3, "--nodes", 2]),
    ("which-server", 2, "without --node-rank", ["--workers", 4, "--nodes", 2]),
    ("no-such-server", 2, "--node-rank 2", ["--workers", 4, "--nodes", 2, "--node-rank", 2]),
    ("not-here", 2, "has an address of this machine", ["--workers", 2, "--hosts", "198.51.100.1,203.0.113.1"]),
    ("port", 2, "--master-port 80", ["--workers", 2, "--master-port", 80]),
    ("device", 2, "--device-id 1", ["--workers", 2, "--device-id", 1]),
    ("npus", 4, "this machine has", ["--workers", 2, "--device", "ascend"]),
    ("batch", 2, "--batch-size 98: there are 96", ["--workers", 2, "--batch-size", 49]),
    ("data", 3, "no dataset at nowhere", ["--workers", 2, "--dataset", "nowhere"]),
]


@pytest.mark.parametrize(("code", "says", "more"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input_is_refused_before_anything_starts(code: int, says: str, more: list[object], pictures: Path) -> None:
    done = amctq_here("launch-distributed", *_arguments(pictures, *more))
    assert done.code == code, done.stderr
    (error,) = done.envelope["errors"]
    assert says in error["message"]
    assert not Path("retrain_result").exists()


def test_a_port_in_use_is_told_before_anything_starts(pictures: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = amctq_here(*_launch(pictures, "--master-port", port))
    assert done.code == 2
    assert f"--master-port {port} of 127.0.0.1: in use" in done.envelope["errors"][0]["message"]
    assert not Path("retrain_result").exists()


def test_the_logs_of_a_finished_run_are_not_lost(outcome: tuple[Finished, Path], pictures: Path) -> None:
    logs = outcome[1] / "logs"
    done = amctq_here(*_launch(pictures, "--output-dir", "other", "--log-dir", logs))
    assert done.code == 2
    assert f"{logs} already holds train_parallel0, train_parallel1" in done.envelope["errors"][0]["message"]
    assert not Path("other").exists()


def test_more_workers_than_cores_are_warned_of(pictures: Path) -> None:
    done = amctq_here("qat", "--distributed", 64, *_arguments(pictures, "--dry-run"))
    assert done.code == 0, done.stderr
    cores = len(os.sched_getaffinity(0))
    assert f"64 workers on {cores} core(s)" in done.data["warnings"][0]
    assert f"{64 / cores:.3g} times as long" in done.stderr


def test_a_cluster_is_checked_without_one(pictures: Path) -> None:
    """A thousand ranks on 128 servers of eight NPUs, on a machine that is none of them."""
    servers = [f"10.0.{index // 250}.{index % 250 + 1}" for index in range(128)]
    table = {
        "version": "1.0",
        "server_count": "128",
        "server_list": [
            {
                "server_id": address,
                "device": [
                    {
                        "device_id": str(device),
                        "device_ip": f"172.16.{index}.{device + 1}",
                        "rank_id": str(8 * index + device),
                    }
                    for device in range(8)
                ],
                "host_nic_ip": "reserve",
            }
            for index, address in enumerate(servers)
        ],
        "status": "completed",
    }
    Path("t.json").write_text(json.dumps(table))
    command = ["launch-distributed", *_arguments(pictures, "--dry-run", "--rank-table", "t.json", "--device", "ascend")]
    done = amctq_here(*command)
    assert done.code == 0, done.stderr
    data = done.data
    assert data["rank_table"] == table
    assert (data["workers"], data["nodes"], data["master_addr"]) == (1024, 128, "10.0.0.1")
    last = data["ranks"][-1]
    assert (last["server"], last["device"], last["local_rank"]) == (servers[-1], 7, 7)
    assert last["environment"]["RANK_ID"] == last["environment"]["MS_NODE_ID"] == "1023"
    assert last["environment"]["ASCEND_RT_VISIBLE_DEVICES"] == "0,1,2,3,4,5,6,7"
    assert last["environment"]["DEVICE_ID"] == "7"
    shown = amctq_here(*[word for word in command if word != "--json"], "--node-rank", 5)
    assert shown.code == 0
    lines = shown.stdout.splitlines()
    assert len([line for line in lines if "RANK_ID=" in line]) == 1024
    assert "rank 1023 on 10.0.0.128, NPU 7" in lines[1023]
