"""Kills at random moments: whatever the signal and the moment, nothing is left that a run does not promise to keep."""

from __future__ import annotations

import random
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from amctq.distributed.processes import marked
from tests.command import AMCTQ, Shared, plain_environment

KILLS = 20  # of each command
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
MARK = "AMCTQ_TEST_RUN"
SETTLED = 20.0  # seconds, within which everything must have gone
SMALL = ("--calib-images", "8", "--eval-images", "200", "--batch-size", "8")
STEPS = ("--max-steps", "8", "--save-every-steps", "2", "--train-images", "64")
COMMANDS = {
    "ptq": ["ptq", *SMALL, "--export", "onnx,mindir"],
    "qat": ["qat", *SMALL, *STEPS],
    "qat-distributed": ["qat", *SMALL, *STEPS, "--distributed", "2"],
}
# A run that is stopped keeps its training, and a launch keeps the logs of its workers.
KEPT = ("checkpoints", "history.jsonl", "logs")


def _run(command: list[str], place: Path, mark: str) -> subprocess.Popen[bytes]:
    """The command in a folder of its own, with an empty HOME and an empty temporary folder."""
    for name in ("cwd", "home", "tmp"):
        (place / name).mkdir(parents=True)
    environment = {"HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), MARK: mark, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [AMCTQ, *command, "--output-dir", "out", "--json"],
        cwd=place / "cwd",
        env=plain_environment() | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _left(place: Path, *, finished: bool) -> list[str]:
    """What has no right to be there."""
    found = [str(path.relative_to(place)) for name in ("home", "tmp") for path in (place / name).rglob("*")]
    for path in (place / "cwd").rglob("*"):
        parts = path.relative_to(place / "cwd").parts
        kept = finished or parts == ("out",) or (len(parts) > 1 and parts[1] in KEPT)
        if not kept or path.name.startswith(".amctq"):
            found.append(str(path.relative_to(place)))
    if not finished and (place / "cwd" / "out").is_dir() and not any((place / "cwd" / "out").iterdir()):
        found.append("an empty output directory")
    return found


def _settle(condition: Callable[[], list[str]]) -> list[str]:
    until = time.monotonic() + SETTLED
    while (found := condition()) and time.monotonic() < until:
        time.sleep(0.1)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_left_behind(name: str, shared: Shared, tmp_path: Path) -> None:
    chance = random.Random(name)
    command = [*COMMANDS[name], *map(str, shared.network("resnet20"))]
    begin = time.monotonic()
    with _run(command, tmp_path / "whole", "whole") as process:
        _, stderr = process.communicate(timeout=900)
    assert process.returncode == 0, stderr.decode()
    seconds = time.monotonic() - begin
    assert _left(tmp_path / "whole", finished=True) == []
    for kill in range(KILLS):
        number, moment, mark = SIGNALS[kill % len(SIGNALS)], chance.uniform(0, seconds), uuid.uuid4().hex
        place = tmp_path / f"{kill}"
        with _run(command, place, mark) as process:
            time.sleep(moment)
            process.send_signal(number)
            asked = time.monotonic()
            _, stderr = process.communicate(timeout=120)
        what = f"kill {kill}: {number.name} after {moment:.2f} of {seconds:.2f} s"
        # A signal to an interpreter that has not come to its first line yet ends it, as it ends every program.
        assert process.returncode in {0, CODES[number], -number}, f"{what}: {stderr.decode()}"
        assert time.monotonic() - asked < 30, f"{what}: ended late"
        assert "Traceback" not in stderr.decode() or process.returncode == -number, what
        finished = process.returncode == 0 or (place / "cwd" / "out" / "report.json").exists()
        left = _settle(
            lambda place=place, mark=mark, finished=finished: [  # type: ignore[misc]
                *_left(place, finished=finished),
                *(f"process {pid}" for pid in marked(MARK, mark)),
            ]
        )
        assert left == [], what
