"""Files appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amctq.errors import Terminated, UsageError, WriteError
from amctq.files import OutputDirectory, sha256_of
from amctq.signals import StopRequest, signals_held
from tests.command import amctq_here


def _claim(path: Path, *, force: bool = False) -> OutputDirectory:
    return OutputDirectory(path, names=["a.txt", "b.txt"], force=force)


def test_files_appear_when_published(tmp_path: Path) -> None:
    with _claim(tmp_path / "new" / "out") as output:
        output.write("a.txt", b"one")
        assert not (tmp_path / "new" / "out" / "a.txt").exists()
        (artifact,) = output.publish()
    assert artifact.path == tmp_path / "new" / "out" / "a.txt"
    assert artifact.path.read_bytes() == b"one"
    assert (artifact.bytes, artifact.sha256) == (3, sha256_of(artifact.path))
    assert sorted(path.name for path in artifact.path.parent.iterdir()) == ["a.txt"]


def test_a_failed_run_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), _claim(tmp_path / "new" / "out") as output:
        output.write("a.txt", b"one")
        raise RuntimeError
    assert not (tmp_path / "new").exists()


def test_a_failed_run_leaves_former_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("former")
    with pytest.raises(RuntimeError), _claim(tmp_path, force=True) as output:
        output.write("a.txt", b"new")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "former"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.txt"]


def test_existing_files_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.txt").touch()
    with pytest.raises(UsageError, match=r"a\.txt, b\.txt"), _claim(tmp_path):
        pass


def test_force_replaces_these_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("former")
    (tmp_path / "other.txt").write_text("mine")
    with _claim(tmp_path, force=True) as output:
        output.write("a.txt", b"new")
        output.publish()
    assert (tmp_path / "a.txt").read_text() == "new"
    assert (tmp_path / "other.txt").read_text() == "mine"


def test_a_folder_in_the_way_is_refused_even_with_force(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(UsageError, match="is a folder"), _claim(tmp_path, force=True):
        pass


def test_the_directory_may_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match="is a file"), _claim(tmp_path / "out"):
        pass


def test_two_runs_exclude_each_other(tmp_path: Path) -> None:
    with (
        _claim(tmp_path / "out"),
        pytest.raises(UsageError, match="another amctq run"),
        _claim(tmp_path / "out"),
    ):
        pass
    with _claim(tmp_path / "out"):  # and the lock goes with the run
        pass


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from amctq.files import OutputDirectory\n"
        "with OutputDirectory(Path(sys.argv[1]), names=['a.txt'], force=False) as output:\n"
        "    output.write('a.txt', b'half'); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "a.txt").exists()
    with _claim(tmp_path) as output:
        output.write("a.txt", b"whole")
        output.publish()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.txt"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".amctq")]


def test_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with _claim(tmp_path) as output:
            output.write("a.txt", b"one")
            output.publish()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_full_disk_is_a_write_error(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="No space left"), _claim(tmp_path / "out") as output:
        output.staged("a.txt").symlink_to("/dev/full")
        output.write("a.txt", b"x" * 100_000)
    assert not (tmp_path / "out").exists()


def test_unannounced_names_are_a_fault(tmp_path: Path) -> None:
    with _claim(tmp_path) as output, pytest.raises(ValueError, match="not in the names"):
        output.staged("c.txt")


def test_a_signal_waits_for_the_end_of_a_held_block() -> None:
    reached = []
    stop = StopRequest()
    with pytest.raises(Terminated), stop.listening():
        with signals_held() as arrived:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            reached.append("the end of the block")
            assert arrived == [signal.SIGTERM]
        reached.append("what comes after it")
    assert reached == ["the end of the block"]


@pytest.mark.parametrize("at", ["new", ".amctq-partial", "folder"])
def test_a_run_that_is_stopped_while_it_claims_its_directory_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    mkdir = Path.mkdir

    def stopping(path: Path, *arguments: Any, **named: Any) -> None:
        mkdir(path, *arguments, **named)
        if path.name == at:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    monkeypatch.setattr(Path, "mkdir", stopping)
    output = OutputDirectory(tmp_path / "new" / "out", names=["folder/a.txt"], force=False)
    began = False
    with pytest.raises(Terminated), StopRequest().listening(), output:
        began = True
    assert not began
    assert list(tmp_path.iterdir()) == [tmp_path / "cwd"]


def test_what_a_killed_run_left_can_be_taken_away_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("published")
    _claim(tmp_path).tidy()  # nothing is left, and nothing is done
    (tmp_path / ".amctq-partial" / "scratch").mkdir(parents=True)
    OutputDirectory(tmp_path, names=(), force=False).tidy()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.txt"]
    assert not (tmp_path / ".amctq-partial").exists()


def test_a_swallowed_stop_comes_back() -> None:
    stop = StopRequest()
    with pytest.raises(Terminated), stop.listening():
        with contextlib.suppress(BaseException):  # what some libraries do
            signal.raise_signal(signal.SIGTERM)
        stop.check()


# File systems that are not like others: shared folders of Windows and of VirtualBox, FUSE, NFS

UNSUPPORTED = [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM, errno.ENOSYS, errno.EROFS]


def _without_fsync(monkeypatch: pytest.MonkeyPatch, number: int, *, of: Callable[[int], bool]) -> None:
    fsync = os.fsync

    def refusing(opened: int) -> None:
        if of(os.fstat(opened).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(opened)

    monkeypatch.setattr(os, "fsync", refusing)


@pytest.mark.parametrize("of", [stat.S_ISDIR, stat.S_ISREG], ids=["folders", "files"])
@pytest.mark.parametrize("number", UNSUPPORTED, ids=errno.errorcode.get)
def test_a_file_system_without_fsync(monkeypatch: pytest.MonkeyPatch, number: int, of: Callable[[int], bool]) -> None:
    _without_fsync(monkeypatch, number, of=of)
    Path("net.ckpt").write_bytes(b"network")
    done = amctq_here("fetch-model", "resnet20", "--from-file", "net.ckpt", "--json")
    assert done.code == 0, done.stderr
    assert sorted(path.name for path in Path("model").iterdir()) == ["fetched.sha256", "net.ckpt"]


@pytest.mark.parametrize("of", [stat.S_ISDIR, stat.S_ISREG], ids=["folders", "files"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_a_write_error(
    monkeypatch: pytest.MonkeyPatch, number: int, of: Callable[[int], bool]
) -> None:
    _without_fsync(monkeypatch, number, of=of)
    with pytest.raises(WriteError), _claim(Path("out")) as output:
        output.write("a.txt", b"one")
        output.publish()


def test_a_folder_that_may_be_written_to_but_not_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    opening = os.open

    def refusing(path: Any, *arguments: Any, **named: Any) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "no")
        return opening(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refusing)
    with _claim(Path("out")) as output:
        output.write("a.txt", b"one")
        output.publish()
    assert Path("out/a.txt").read_bytes() == b"one"


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS], ids=errno.errorcode.get)
def test_a_file_system_without_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refusing(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refusing)
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # filelock tells of ENOSYS
            with _claim(Path("out"), force=True) as output:
                with pytest.raises(UsageError, match="another amctq run"), _claim(Path("out"), force=True):
                    pass
                output.write("a.txt", b"one")
                output.publish()
        assert [path.name for path in Path("out").iterdir()] == ["a.txt"]


def test_a_file_system_that_removes_no_open_file(monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink

    def refusing(path: Path, **named: Any) -> None:
        opened = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
        if os.path.realpath(path) in opened:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        unlink(path, **named)

    monkeypatch.setattr(Path, "unlink", refusing)
    with _claim(Path("out")) as output:
        output.write("a.txt", b"one")
        output.publish()
    assert [path.name for path in Path("out").iterdir()] == ["a.txt"]
