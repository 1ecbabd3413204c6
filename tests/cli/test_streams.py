"""Streams that are closed, full, or whose reader goes away; and what no reader of a file has foreseen."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from amctq.errors import CheckError, InputError, UsageError
from amctq.pretrained import CHECKPOINT
from amctq.services.doctor import DoctorReport
from amctq.services.ptq.request import PtqRequest
from tests.command import AMCTQ, Finished, amctq, amctq_here

_ADDRESSES = "".join(f"address_{device}=192.168.100.{device + 1}\n" for device in range(8))
_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def _in_shell(redirection: str, *arguments: object, command: str = f'exec {AMCTQ} "$@"') -> Finished:
    done = subprocess.run(
        ["sh", "-c", f"{command} {redirection}", "sh", *map(str, arguments)], capture_output=True, check=False
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


def _create_table(name: str) -> tuple[object, ...]:
    """A command that writes a file, quickly."""
    Path("hccn.conf").write_text(_ADDRESSES)
    return "rank-table", "--server-ip", "10.0.0.1", "--hccn-conf", "hccn.conf", "--output-dir", name, "--json"


@pytest.mark.parametrize(
    "redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", pytest.param("2>/dev/full", marks=_FULL), "2</dev/null"]
)
def test_a_closed_stream_is_dev_null(redirection: str) -> None:
    done = _in_shell(redirection, *_create_table("table"))
    assert done.code == 0, done.stderr
    assert done.stderr == ""
    (table,) = Path("table").iterdir()
    if ">&-" in redirection and redirection != "2>&-":
        assert done.stdout == ""
    else:
        assert done.envelope["artifacts"][0]["path"] == str(table)


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_no_exit_code(redirection: str) -> None:
    assert _in_shell(redirection, "ptq", "--bogus", "--json").code == 2
    assert _in_shell(redirection, "rank-table", "--check", "nowhere.json").code == 3
    assert _in_shell(redirection, "worker", "nowhere.json").code == 3
    assert _in_shell(redirection, "--version").code == 0


def test_with_mindspore_too(pictures: Path) -> None:
    arguments = ("evaluate", "--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8", "--json")
    told = _in_shell("<&- 2>&-", *arguments)
    assert (told.code, told.envelope["exit_code"]) == (0, 0)
    silent = _in_shell(">&-", *arguments)
    assert (silent.code, silent.stdout, silent.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["ptq", "--help"], 0),
        (["--version"], 0),
        (["rank-table", "--check", "nowhere.json", "--json"], 3),
        (["ptq", "--bogus", "--json"], 2),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_reader_that_goes_away_ends_nothing(arguments: list[str], code: int) -> None:
    """Both streams lead nowhere from the start, as with ``2>&1 | true``."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run([AMCTQ, *arguments], stdout=gone, stderr=subprocess.PIPE, check=False)
        assert done.returncode == code
        assert b"Traceback" not in done.stderr
        assert b"write" not in done.stderr
        assert subprocess.run([AMCTQ, *arguments], stdout=gone, stderr=gone, check=False).returncode == code


def test_a_pipe_may_be_closed_halfway() -> None:
    """More than a pipe holds, and a reader that takes the first bytes."""
    servers = [
        {
            "server_id": f"node-{number}",
            "device": [{"device_id": "0", "device_ip": f"10.0.{number // 250}.{number % 250}", "rank_id": str(number)}],
        }
        for number in range(3000)
    ]
    table = {"version": "1.0", "server_count": "3000", "server_list": servers, "status": "completed"}
    Path("table.json").write_text(json.dumps(table))
    done = _in_shell(
        "", "--json", command=f'{{ {AMCTQ} rank-table --check table.json "$@"; echo $? > code; }} | head -c 9'
    )
    assert len(done.stdout.encode()) == 9
    assert done.stderr == ""
    assert Path("code").read_text() == "0\n"


@_FULL
@pytest.mark.parametrize("arguments", [["--help"], ["ptq", "--help"], ["--version"], ["ptq", "--bogus", "--json"]])
def test_a_full_stdout_is_told(arguments: list[str]) -> None:
    done = _in_shell(">/dev/full", *arguments)
    assert done.code == 8
    assert "cannot write the result: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@_FULL
def test_a_full_stdout_after_the_work_is_told() -> None:
    done = _in_shell(">/dev/full", *_create_table("table"))
    assert done.code == 8
    assert "cannot write the result" in done.stderr
    assert list(Path("table").iterdir())


def test_a_stdout_that_does_not_block_gets_everything() -> None:
    """As Node.js and some terminals leave it for their children."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen([AMCTQ, "ptq", "--help"], stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        time.sleep(1.5)
        with os.fdopen(reading, "rb") as pipe:
            assert len(pipe.read()) > 8000
        assert process.wait() == 0


class _Sudden(BaseException):
    """As some libraries written in Rust raise."""


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError("Unable to allocate 5.2 TiB"), 3, "memory of this machine is too small"),
        (RecursionError("maximum recursion depth exceeded"), 3, "nested too deeply"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), 3, "characters that cannot be read"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), 8, "/tmp/x: No space left"),
        (SystemExit(7), 3, "SystemExit: 7"),
        (_Sudden("panicked"), 1, "a fault of amctq itself: _Sudden: panicked"),
        (ZeroDivisionError("planted"), 1, "a fault of amctq itself"),
        (ValueError(10**5000), 1, "a fault of amctq itself: ValueError"),
        (InputError("key \ud800 of \udcff\x1b[31m"), 3, "key"),
        (InputError("x" * 100_000, hint="see"), 3, "(100,000 characters)"),
        (
            CheckError("failed", data={"loss": float("nan"), "path": Path("\udcff"), "names": ["网络\ud800"]}),
            5,
            "failed",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("place", ["work", "result", "options"])
def test_one_boundary_catches_everything(
    error: BaseException, code: int, says: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place != "work" and isinstance(error, SystemExit):
        pytest.skip("Typer ends so after --show-completion")

    def broken(*_: object, **__: object) -> DoctorReport:
        raise error

    work, result, options = (broken if place == name else None for name in ("work", "result", "options"))
    monkeypatch.setattr("amctq.services.doctor.doctor", work or (lambda *_: DoctorReport(findings=(), versions={})))
    if result:
        monkeypatch.setattr("amctq.cli.output.Output.result", result)
    if options:
        monkeypatch.setattr("amctq.cli.from_request.Command._run", options)
    done = amctq_here("doctor", "--json")
    assert done.code == code
    envelope = json.loads(done.stdout, parse_constant=pytest.fail)
    json.dumps(envelope, ensure_ascii=False).encode()  # what no surrogate survives
    assert (envelope["exit_code"], envelope["command"]) == (code, "doctor")
    assert says in envelope["errors"][0]["message"]
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


def test_without_a_temporary_folder(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import tempfile\ntempfile._candidate_tempdir_list = lambda: ['/proc/nowhere']\n"
    )
    arguments = ("--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8", "--json")
    for command in (("evaluate",), ("ptq", "--dry-run"), ("qat", "--dry-run")):
        done = amctq(*command, *arguments, env={"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"})
        assert done.code == 8, done.stderr
        assert "temporary folder" in done.envelope["errors"][0]["message"]
        assert "TMPDIR" in done.envelope["errors"][0]["hint"]


def _with_bytes(*arguments: bytes, **environment: bytes) -> Finished:
    done = subprocess.run(
        [os.fsencode(AMCTQ), *arguments],
        capture_output=True,
        env={os.fsencode(name): os.fsencode(value) for name, value in os.environ.items()}
        | {os.fsencode(name): value for name, value in environment.items()},
        check=False,
    )
    return Finished(done.returncode, done.stdout.decode("ascii"), done.stderr.decode())


def test_values_that_are_no_utf8() -> None:
    done = _with_bytes(b"ptq", b"--dataset", b"\xff", b"--ckpt", b"\xfe.ckpt", b"--model", b"resnet8", b"--json")
    assert (done.code, done.envelope["exit_code"]) == (3, 3)
    assert "\\xff" in done.envelope["errors"][0]["message"]
    good = ("ptq", "--dataset", "d", "--ckpt", "c", "--json")
    for arguments, code in (
        ((*good, "--model", os.fsdecode(b"\xc3\x28")), 2),
        (("rank-table", "--check", os.fsdecode(b"\xff\xff.json"), "--json"), 3),
        ((*good, "--calib-images", os.fsdecode(b"\xb2")), 2),
        ((*good, "--calib-images", "²"), 2),
        ((*good, "--eval-images", "²"), 2),
        ((*good, "--calib-images", "9" * 30), 2),
        ((*good, "--calib-images", "9" * 5000), 2),
        ((*good, "--output-dir", "a\0b"), 2),
        ((*good, "--ckpt", "\ud800"), 2),
        ((os.fsdecode(b"\xff"), "--json"), 2),
    ):
        done = amctq_here(*arguments)
        assert done.code == code, done.stderr
        assert done.envelope["exit_code"] == code
        assert "Traceback" not in done.stderr


def test_an_environment_that_is_no_utf8() -> None:
    done = _with_bytes(b"ptq", b"--dataset", b"d", b"--ckpt", b"c", b"--json", AMCTQ_CALIB_IMAGES=b"\xff\xfe")
    assert (done.code, done.envelope["exit_code"]) == (2, 2)
    for name in ("AMCTQ_BACKEND", "AMCTQ_MODEL", "AMCTQ_MAX_DROP", "AMCTQ_FORCE", "AMCTQ_MEAN", "AMCTQ_JSON"):
        done = amctq_here("ptq", "--dataset", "d", "--ckpt", "c", env={name: os.fsdecode(b"\xff\xfe")})
        assert done.code == 2, (name, done.stderr)
        assert "Traceback" not in done.stderr
    assert amctq_here("ptq", "--bogus", env={"AMCTQ_JSON": " Y "}).envelope["exit_code"] == 2


def test_names_that_are_no_utf8(pictures: Path) -> None:
    """The same accuracy, and a report that every parser reads."""
    folder = Path(os.fsdecode(b"\xff"))
    folder.mkdir()
    for file in pictures.iterdir():
        (folder / file.name).symlink_to(file)
    checkpoint = folder / os.fsdecode(b"\xfe.ckpt")
    checkpoint.symlink_to(CHECKPOINT)
    options = ("--dataset", folder, "--ckpt", checkpoint, "--model", "resnet8", "--allow-poor-float", "--json")
    done = amctq_here("ptq", *options, "--calib-images", 8, "--output-dir", folder / "results")
    assert done.code == 0, done.stderr
    report = json.loads((folder / "results" / "report.json").read_text(encoding="utf-8"))
    assert report["accuracy"] == done.data["accuracy"]
    assert (folder / "results" / "amctq.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "value",
    ["'\\ud800'", "'a\\x00b'", "1" * 5000, "0x" + "f" * 5000, "1e999", "-" * 5000 + "1", "[" * 150 + "]" * 150],
    ids=lambda value: value[:8],
)
@pytest.mark.parametrize("key", ["save_checkpoint_path", "epoch_size", "lr_max", "unknown"])
def test_values_of_a_hyper_parameters_file(key: str, value: str) -> None:
    Path("retrain_config.py").write_text(f"CONFIG_QUANT = ed({{'{key}': {value}}})")
    arguments = ("qat", "--hyper-parameters", "retrain_config.py", "--dataset", "data", "--ckpt", "x", "--json")
    done = amctq_here(*arguments)
    assert done.code == 3
    assert done.envelope["exit_code"] == 3
    assert "Traceback" not in done.stderr
    assert len(done.envelope["errors"][0]["message"]) < 500


def test_a_value_for_the_library_that_no_computer_can_use() -> None:
    for more in ({"ckpt": Path("a\0b")}, {"ckpt": Path("\ud800")}, {"seed": 10**5000}, {"batch_size": 1 << 63}):
        with pytest.raises(UsageError, match="expected"):
            PtqRequest(**{"dataset": "data", "ckpt": Path("x.ckpt"), **more})  # type: ignore[arg-type]
