"""Fixtures that every test may use: the installed command, the shared data, an isolated environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.command import Shared

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No AMCTQ_* of the developer's own, and an empty current directory."""
    for name in [name for name in os.environ if name.startswith("AMCTQ_")]:
        monkeypatch.delenv(name)
    for name in ("ONEDNN_MAX_CPU_ISA", "GLOG_v", "DEVICE_ID", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    workplace = tmp_path / "cwd"
    workplace.mkdir()
    monkeypatch.chdir(workplace)


@pytest.fixture(scope="session")
def shared() -> Shared:
    """Real CIFAR-10 and trained checkpoints; the test is skipped where they are not."""
    if not (SHARED / "checkpoints").is_dir():
        pytest.skip(f"needs the real data and checkpoints in {SHARED}")
    return Shared(SHARED)
