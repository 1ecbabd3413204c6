"""What a killed process would leave behind is removed by another one, and what is another run's is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from amctq.errors import WriteError
from amctq.files import OutputDirectory
from amctq.leftovers import Leftover, temporary_folder

# Makes all that a run makes on its way, says so, and waits.
RUN = """
import sys, time
from pathlib import Path
from amctq.files import OutputDirectory, write_whole
from amctq.leftovers import process_folder, temporary_folder
def blocks():
    yield b"half"
    print("ready", flush=True)
    time.sleep(float(sys.argv[2]))
with OutputDirectory(Path(sys.argv[1]), names=["a", "b/c"], force=True) as output, temporary_folder() as folder:
    (folder / "x").touch()
    (process_folder() / "y").touch()
    output.write("a", b"whole")
    output.scratch()
    (output.path / "kept").mkdir(exist_ok=True) if "keep" in sys.argv else None
    write_whole(output.path / ("kept/history" if "keep" in sys.argv else "history"), blocks())
"""


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The system's temporary folder, for commands that the test starts."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def _started(*arguments: object) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", RUN, *map(str, arguments)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def _wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM], ids=lambda number: number.name)
def test_a_killed_process_leaves_nothing(number: signal.Signals, temporary: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "results"
    with _started(output, 60) as process:
        assert {path.name for path in output.iterdir()} == {".amctq-partial", ".amctq-partial-history", ".amctq.lock"}
        assert len(list(temporary.iterdir())) == 2
        process.send_signal(number)
    _wait_for(lambda: not (tmp_path / "new").exists() and list(temporary.iterdir()) == [])


def test_a_folder_that_is_finished_is_not_touched(tmp_path: Path) -> None:
    """The next run has tidied up and ended before the second process came to it: not even a lock appears then."""
    output = tmp_path / "results"
    (output / "inner").mkdir(parents=True)
    (output / "inner" / "finished").touch()
    before = output.stat().st_mtime_ns
    Leftover(folders=(output / ".amctq-partial",), claimed=output).clear(wait=1.0)
    assert output.stat().st_mtime_ns == before
    (output / "inner" / ".amctq-partial-x").touch()
    Leftover(claimed=output).clear()
    assert {path.name for path in output.rglob("*")} == {"inner", "finished"}
    assert output.stat().st_mtime_ns > before  # now it was locked


def test_results_and_other_files_stay(temporary: Path, tmp_path: Path) -> None:
    output = tmp_path / "results"
    output.mkdir()
    (output / "a").write_text("former")
    with _started(output, 60, "keep") as process:
        (output / "kept" / "checkpoint").write_text("finished")
        assert (output / "kept" / ".amctq-partial-history").exists()
        process.kill()
    _wait_for(lambda: not (output / ".amctq.lock").exists())
    assert {str(path.relative_to(output)) for path in output.rglob("*")} == {"a", "kept", "kept/checkpoint"}
    assert (output / "a").read_text() == "former"
    assert list(temporary.iterdir()) == []


def test_a_group_that_is_killed_takes_nobody_along_who_tidies_up(temporary: Path, tmp_path: Path) -> None:
    """As a terminal that is closed, or a shell that kills its job."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, tmp_path / "results", "60"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    _wait_for(lambda: not (tmp_path / "results").exists() and list(temporary.iterdir()) == [])


def test_a_process_that_ends_itself_leaves_nothing_and_waits_for_nobody(temporary: Path, tmp_path: Path) -> None:
    with _started(tmp_path / "results", 0) as process:
        assert process.wait(timeout=20) == 0
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"history"}
    assert list(temporary.iterdir()) == []


def test_a_run_that_has_taken_over_is_left_alone(tmp_path: Path) -> None:
    with OutputDirectory(tmp_path / "results", names=["a"], force=False) as output:
        left = Leftover(folders=(output.staged("a").parent,), claimed=output.path)
        output.write("a", b"of the other run")
        left.clear()
        output.publish()
    assert (tmp_path / "results" / "a").read_bytes() == b"of the other run"


def test_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    Leftover(folders=(tmp_path / "no",), claimed=tmp_path / "nowhere", made=(tmp_path / "never",)).clear()
    assert list(path.name for path in tmp_path.iterdir()) == ["cwd"]


def test_no_temporary_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="no usable temporary folder"), temporary_folder(tmp_path / "file"):
        pass
