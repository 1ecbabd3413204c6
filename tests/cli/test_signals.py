"""Ctrl-C and SIGTERM at several moments: the right exit code, no traceback, nothing half-written."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.command import AMCTQ, Shared

# While Python starts, while MindSpore loads, while the network is exported, while images are evaluated. Both signals
# take one way through amctq, so that each is sent at every other moment, and at the rest before a release.
MOMENTS = [
    pytest.param(number, seconds, marks=[pytest.mark.slow] * (index % 2 == rest), id=f"{name}-{seconds}")
    for number, name, rest in ((signal.SIGINT, "ctrl-c", 1), (signal.SIGTERM, "term", 0))
    for index, seconds in enumerate((0.8, 1.6, 2.4, 3.2, 5.0))
]


@pytest.mark.parametrize(("number", "seconds"), MOMENTS)
def test_a_stopped_run_leaves_nothing(number: signal.Signals, seconds: float, shared: Shared) -> None:
    code = 128 + number
    former = Path("results") / "report.json"
    former.parent.mkdir()
    former.write_text("former")
    command = [str(AMCTQ), "ptq", *map(str, shared.network("resnet20"))]
    with subprocess.Popen(
        [*command, "--force", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        time.sleep(seconds)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert json.loads(stdout)["exit_code"] == code
    assert stderr.splitlines() == [f"error: {'interrupted' if code == 130 else 'terminated'}; nothing was written"]
    assert former.read_text() == "former"
    assert [str(path) for path in Path().rglob("*") if path.is_file()] == ["results/report.json"]


def test_an_ignored_ctrl_c_stays_ignored(shared: Shared) -> None:
    """A job that a shell script starts in the background must not die of the terminal's Ctrl-C."""
    command = f"trap '' INT; exec {AMCTQ} ptq --dataset {shared.data} --ckpt {shared.checkpoint('resnet20')}"
    with subprocess.Popen(
        ["sh", "-c", f"{command} --model resnet20 --eval-images 0 --calib-images 8 --json"], stdout=subprocess.PIPE
    ) as process:
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(stdout)["status"] == "ok"
