"""Two processes and one folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from amctq.errors import UsageError
from amctq.folder_lock import FolderLock

HOLDING = """
import sys, time
from pathlib import Path
from amctq.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire(by="nobody", instead="folder")
print(flush=True)
time.sleep(float(sys.argv[2]))
lock.release()
"""


def _held(folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(folder), str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_who_tidies_up_after_a_killed_run_is_waited_for(tmp_path: Path) -> None:
    """The same command again, right after a kill: the process that frees the folder still holds it for a moment."""
    folder = tmp_path / "results"
    folder.mkdir()
    with _held(folder, 0.5):
        lock = FolderLock(folder)
        lock.acquire(by="another run", instead="folder")
        assert lock.is_held
        lock.release()
    assert list(folder.iterdir()) == []


def test_a_run_is_not_waited_for(tmp_path: Path) -> None:
    with _held(tmp_path, 60) as process:
        with pytest.raises(UsageError, match="another run is writing to"):
            FolderLock(tmp_path).acquire(by="another run", instead="folder", wait=0.1)
        process.kill()
