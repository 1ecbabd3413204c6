"""A full disk, two runs at once, SIGKILL, and a plan that writes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import AMCTQ, Shared, amctq, amctq_here, small_file_system


def _command(shared: Shared, *more: object) -> list[str]:
    return ["ptq", *map(str, (*shared.network("resnet20"), "--json", "--calib-images", 8, *more))]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for the former files and hardly more."""
    with small_file_system(tmp_path / "disk", "1500k") as place:
        yield place


@pytest.mark.parametrize("free", [200, 1150], ids=["float-export", "int8-export"])
def test_a_full_disk_leaves_the_former_files(free: int, small_disk: Path, shared: Shared) -> None:
    results = small_disk / "results"
    results.mkdir()
    former = results / "resnet20_quant.onnx"
    former.write_bytes(b"former")
    stat = os.statvfs(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (stat.f_bavail * stat.f_frsize - free * 1024))
    done = amctq(*_command(shared, "--eval-images", 16, "--output-dir", results, "--force"))
    assert done.code == 8, done.stderr
    assert "No space left" in done.envelope["errors"][0]["message"]
    assert "Traceback" not in done.stderr
    assert former.read_bytes() == b"former"
    assert sorted(path.name for path in results.iterdir()) == ["resnet20_quant.onnx"]


def test_two_runs_in_one_directory(shared: Shared) -> None:
    with subprocess.Popen([AMCTQ, *_command(shared, "--eval-images", 50)], stdout=subprocess.DEVNULL) as first:
        while not Path("results").exists():
            time.sleep(0.05)
        time.sleep(0.2)
        second = amctq(*_command(shared, "--eval-images", 50))  # which ends while the first still loads MindSpore
        assert second.code == 2
        assert "another amctq run" in second.envelope["errors"][0]["message"]
        assert first.wait(timeout=120) == 0
    assert Path("results/report.json").exists()


def test_after_sigkill_the_same_command_finishes(shared: Shared) -> None:
    """Killed at one moment after another, and no run is refused for what another has left."""
    for seconds in (0.7, 2.0, 4.5):
        with subprocess.Popen([AMCTQ, *_command(shared, "--eval-images", 10000)], stdout=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, "it had ended by itself"
        assert not [path for path in Path().rglob("*") if path.is_file() and not path.parts[1].startswith(".amctq")]
    done = amctq(*_command(shared, "--eval-images", 16))
    assert done.code == 0, done.stderr
    assert not [path for path in Path("results").iterdir() if path.name.startswith(".amctq")]


def test_a_dry_run_checks_and_writes_nothing(shared: Shared) -> None:
    done = amctq_here(*_command(shared, "--dry-run", "--skip-layer", "layer3.*"))
    assert done.code == 0, done.stderr
    plan = done.envelope["data"]
    assert plan["dry_run"]
    assert len(plan["layers"]) == 20
    assert [layer["name"] for layer in plan["layers"] if not layer["quantized"]] == [
        f"layer3.{block}.conv{conv}" for block in range(3) for conv in (1, 2)
    ]
    assert plan["calibration_images"] == 8
    assert plan["evaluation_images"] == 10_000
    assert plan["estimated_seconds"] > 0
    assert plan["files"][0] == "results/resnet20_quant.onnx"
    assert list(Path.cwd().iterdir()) == []


def test_a_dry_run_finds_what_would_be_overwritten(shared: Shared) -> None:
    Path("results").mkdir()
    Path("results/report.json").touch()
    done = amctq_here(*_command(shared, "--dry-run"))
    assert done.code == 2
    assert "report.json" in done.envelope["errors"][0]["message"]


def test_a_dry_run_for_people(shared: Shared) -> None:
    command = [word for word in _command(shared, "--dry-run") if word != "--json"]
    done = amctq_here(*command)
    assert done.code == 0
    assert "layer1.0.conv1" in done.stdout
    assert "would write: results/resnet20_quant.onnx" in done.stdout
