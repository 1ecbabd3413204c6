"""The supervisor with real processes that load no framework: every way to end, and nobody left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amctq.distributed.processes import is_alive

ROOT = Path(__file__).resolve().parents[2]


def _start(folder: Path, actions: str, *settings: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.distributed.light_launch", folder, actions, *settings],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _finish(process: subprocess.Popen[bytes], folder: Path) -> tuple[int, dict[str, Any]]:
    """Its exit code and what it printed; nobody of the launch may be left."""
    stdout, stderr = process.communicate(timeout=30)
    assert not _left(folder)
    if not stdout:
        return process.returncode, {"stderr": stderr.decode()}
    said = json.loads(stdout)
    assert isinstance(said, dict)
    return process.returncode, said


def _run(folder: Path, actions: str, *settings: str) -> tuple[int, dict[str, Any]]:
    return _finish(_start(folder, actions, *settings), folder)


def _left(folder: Path) -> list[str]:
    """Processes that name the launch's folder on their command line, but for the supervisor."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        named = any(word.startswith(str(folder)) for word in words) and "tests.distributed.light_launch" not in words
        if named and is_alive(int(path.parent.name)):
            found.append(" ".join(words))
    return found


def _wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def _has_stepped(folder: Path, ranks: int = 2) -> bool:
    files = [folder / f"train_parallel{rank}" / "status.jsonl" for rank in range(ranks)]
    return all(file.exists() and '"done": 3' in file.read_text() for file in files)


def _ended_at(folder: Path, rank: int) -> float:
    lines = (folder / f"train_parallel{rank}" / "status.jsonl").read_text().splitlines()
    return float(next(item["time"] for item in map(json.loads, lines) if item["event"] == "end"))


def test_all_ranks_end_well(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    code, said = _run(folder, "end,end,end")
    assert code == 0, said
    assert said["steps"] == [3, 3, 3]
    for rank in range(3):
        own = folder / f"train_parallel{rank}"
        assert (own / "log").read_text() == f"rank {rank} has done three steps\n"
        environment = (own / "env.log").read_text().splitlines()
        assert {f"OWN={rank}", f"RANK_ID={rank}", f"DEVICE_ID={rank}"} <= set(environment)


SECRETS = {
    "AMCTQ_MIRROR": "https://me:hunter2@mirror.example",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "HTTPS_PROXY": "http://me:hunter2@proxy.example:3128",
    "MS_TOKEN": "hunter2",
    "PIP_INDEX_URL": "https://me:hunter2@index.example/simple",
}


def test_no_file_of_a_launch_holds_what_only_the_environment_should(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HCCL_SOCKET_IFNAME", "eth0")
    folder = tmp_path / "logs"
    assert _run(folder, "end,end")[0] == 0
    written = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert len(written) >= 8
    assert not [path for path, text in written.items() if "hunter2" in text or any(name in text for name in SECRETS)]
    assert "HCCL_SOCKET_IFNAME=eth0" in written[folder / "train_parallel1" / "env.log"].splitlines()


def test_what_a_former_run_left_in_the_environment_reaches_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """MindSpore would take the servers of that run, and HCCL its rank table."""
    former = {
        "DEVICE_NUM": "8",
        "MS_CLUSTER_ROOT": "10.9.9.9",
        "MS_HCCL_CM_INIT": "1",
        "MS_SCHED_NUM": "1",
        "MS_SERVER_NUM": "1",
        "MS_SIMULATION_LEVEL": "3",
        "OMPI_COMM_WORLD_SIZE": "8",
        "RANK_TABLE_FILE": "/former/hccl_8p.json",
        "WORLD_SIZE": "8",
    }
    for name, value in {**former, "RANK_ID": "7", "RANK_SIZE": "8", "MS_ROLE": "MS_SCHED"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MS_ALLOC_CONF", "enable_vmm:false")  # of no run: what the user wants of MindSpore
    script, seen = tmp_path / "worker.py", tmp_path / "seen"
    script.write_text(f"import json, os; open({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))")
    code, said = _run(tmp_path / "logs", "end", f"command={sys.executable} {script}")
    assert code == 0, said
    found = json.loads(seen.read_text())
    assert not former.keys() & found.keys()
    assert found["MS_ALLOC_CONF"] == "enable_vmm:false"
    assert (found["RANK_ID"], found["MS_ROLE"]) == ("0", "MS_WORKER")


@pytest.mark.parametrize("actions", ["end,end", "segv,deaf"])
def test_the_temporary_files_of_workers_go_with_the_launch(
    actions: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also those of workers that are killed."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    folder = tmp_path / "logs"
    process = _start(folder, actions)
    _wait_for(lambda: list((tmp_path / "tmp").glob("*/of-rank-1")) or process.poll() is not None)
    _finish(process, folder)
    assert (folder / "train_parallel1" / "log").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_killed_supervisor_leaves_no_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    folder = tmp_path / "logs"
    process = _start(folder, "hang,deaf")
    _wait_for(lambda: _has_stepped(folder))
    assert len(list((tmp_path / "tmp").glob("*/of-rank-*"))) == 2
    process.kill()
    process.communicate()
    _wait_for(lambda: not _left(folder) and list((tmp_path / "tmp").iterdir()) == [], 10)


def test_a_launcher_that_waits_for_nothing_is_not_waited_for(tmp_path: Path) -> None:
    """The scheduler, and msrun with it, go on for half a minute after the last worker; nobody needs them."""
    begin = time.monotonic()
    code, _ = _run(tmp_path / "logs", "end,end")
    assert code == 0
    assert time.monotonic() - begin < 25


@pytest.mark.parametrize(
    ("actions", "failed", "how", "code"),
    [
        ("hang,exit3", "rank 1", "failed with exit code 3", 3),
        ("segv,hang", "rank 0", "was killed by SIGSEGV", -signal.SIGSEGV),
        ("late,segv", "rank 1", "was killed by SIGSEGV", -signal.SIGSEGV),
    ],
)
def test_the_first_rank_that_fails_is_named(actions: str, failed: str, how: str, code: int, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    exit_code, said = _run(folder, actions)
    now = time.monotonic()
    assert exit_code == 7
    rank = int(failed[-1])
    assert f"{failed} {how}" in said["message"]
    assert f"rank {rank} has done three steps" in said["message"]
    assert str(folder / f"train_parallel{rank}" / "log") in said["message"]
    assert said["hint"]
    assert (said["data"]["failed"], said["data"]["exit_code"]) == (failed, code)
    assert said["data"]["ranks"][1 - rank]["step"] == 3
    assert now - _ended_at(folder, rank) < 20


def test_a_worker_that_cannot_import_is_named_with_what_python_says(tmp_path: Path) -> None:
    code, said = _run(tmp_path / "logs", "end,end", f"command={sys.executable} -m nothing.of.that.name")
    assert code == 7
    assert "No module named" in said["message"]


def test_a_scheduler_that_fails_is_named(tmp_path: Path) -> None:
    """Workers would wait for it for ten minutes."""
    code, said = _run(tmp_path / "logs", "hang,hang", "scheduler=ls /nowhere")
    assert code == 7
    assert said["message"].startswith("scheduler failed with exit code 2")
    assert "/nowhere" in said["message"]


def test_a_launcher_that_fails_is_named(tmp_path: Path) -> None:
    code, said = _run(tmp_path / "logs", "hang,hang", "launcher=ls /nowhere")
    assert code == 7
    assert said["message"].startswith("msrun failed with exit code 2")
    assert "ls: " in said["message"]


def test_a_stall_is_told_with_the_last_step_of_each_rank(tmp_path: Path) -> None:
    code, said = _run(tmp_path / "logs", "hang,deaf", "stall=4")
    assert code == 7
    assert "--stall-timeout 4" in said["message"]
    assert "rank 0: step 3; rank 1: step 3" in said["message"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_passed_on_and_workers_may_save(number: signal.Signals, code: int, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    process = _start(folder, "hang,hang")
    _wait_for(lambda: _has_stepped(folder))
    process.send_signal(number)
    exit_code, said = _finish(process, folder)
    assert exit_code == code
    assert {"rank 0 error", "rank 1 error", "rank 0 end", "rank 1 end"} <= set(said["lines"])


def test_a_signal_reaches_workers_that_started_just_before_it(tmp_path: Path) -> None:
    """A supervisor that looks seldom has seen nothing of them yet."""
    folder = tmp_path / "logs"
    process = _start(folder, "hang,hang", "poll=4")
    _wait_for(lambda: _has_stepped(folder))
    process.send_signal(signal.SIGTERM)
    exit_code, said = _finish(process, folder)
    assert exit_code == 143
    assert {"rank 0 error", "rank 1 error", "rank 0 end", "rank 1 end"} <= set(said["lines"])


def test_a_worker_that_does_not_hear_is_killed_after_its_grace(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    process = _start(folder, "hang,deaf", "grace=1")
    _wait_for(lambda: _has_stepped(folder))
    process.send_signal(signal.SIGTERM)
    code, said = _finish(process, folder)
    assert code == 143
    assert "rank 0 end" in said["lines"]


def test_before_the_first_step_nobody_waits_for_a_worker_that_does_not_hear(tmp_path: Path) -> None:
    """As a rank that waits for another one inside MindSpore: there is nothing to save yet."""
    folder = tmp_path / "logs"
    process = _start(folder, "waiting,waiting", "grace=60")
    _wait_for(lambda: (folder / "train_parallel1" / "status.jsonl").exists())
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, _ = _finish(process, folder)
    assert code == 143
    assert time.monotonic() - begin < 20


def test_workers_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    process = _start(folder, "hang,deaf")
    _wait_for(lambda: _has_stepped(folder))
    assert len(_left(folder)) >= 6  # the launcher, three guards, two workers
    process.kill()
    process.communicate()
    _wait_for(lambda: not _left(folder), 5)


def test_a_guard_that_is_killed_takes_its_worker_along_and_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    process = _start(folder, "hang,hang")
    _wait_for(lambda: _has_stepped(folder))
    started = json.loads((folder / "train_parallel1" / "status.jsonl").read_text().splitlines()[0])
    os.kill(started["guard"], signal.SIGKILL)
    code, said = _finish(process, folder)
    assert code == 7
    assert said["data"]["failed"] == "rank 1"
    assert "has ended without a report" in said["message"]


def test_what_a_former_launch_told_is_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    assert _run(folder, "hang,exit3")[0] == 7
    code, said = _run(folder, "end,end")
    assert code == 0, said
    assert "exit3" not in (folder / "train_parallel1" / "log").read_text()
