"""Streams, envelope, exit codes, precedence: what a shell script relies on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from amctq import __version__
from tests.command import AMCTQ, Finished, Shared, amctq, amctq_here

ENVELOPE = {"schema", "command", "status", "exit_code", "data", "errors", "artifacts", "duration_s"}


def _check_envelope(done: Finished, *, command: str, code: int) -> None:
    envelope = done.envelope
    assert set(envelope) == ENVELOPE
    assert done.stdout.count("\n") == 1
    assert (envelope["schema"], envelope["command"]) == (1, command)
    assert (envelope["exit_code"], done.code) == (code, code)
    assert envelope["status"] == ("failed" if code else "ok")
    assert isinstance(envelope["duration_s"], float)
    if code:
        (error,) = envelope["errors"]
        assert set(error) == {"code", "message", "hint"}
        assert envelope["artifacts"] == []


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize(
    "command",
    [[], *([name] for name in "demo fetch-model prepare-cifar ptq qat evaluate rank-table doctor".split())],
    ids=lambda names: names[0] if names else "amctq",
)
def test_help(flag: str, command: list[str]) -> None:
    done = amctq_here(*command, flag)
    assert done.code == 0
    assert "Usage: amctq" in done.stdout
    assert done.stderr == ""


def test_help_shows_defaults_that_are_worked_out() -> None:
    assert "[default: arq;" in amctq("ptq", "--help").stdout  # of --weight-algo, whose own default is None


def test_no_command_is_a_usage_error() -> None:
    done = amctq()
    assert done.code == 2
    assert done.stdout == ""
    assert "Usage: amctq" in done.stderr


def test_version_names_what_the_figures_depend_on() -> None:
    done = amctq("--version")
    assert done.code == 0
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert lines["amctq"] == __version__
    assert {"mindspore", "onnxruntime", "cann"} <= set(lines)


def test_python_m_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "amctq", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == amctq("--version").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["ptq", "--json"], id="missing-options"),
        pytest.param(["ptq", "--bogus", "--json"], id="unknown-option"),
        pytest.param(["ptq", "--json", "--calib-images", "many"], id="no-number"),
        pytest.param(["ptq", "--json", "--backend", "tpu"], id="unknown-choice"),
    ],
)
def test_usage_errors_come_in_the_envelope_too(arguments: list[str]) -> None:
    done = amctq_here(*arguments)
    _check_envelope(done, command="ptq", code=2)
    assert "error: " in done.stderr
    assert "hint: see: amctq ptq --help" in done.stderr


def test_unknown_command_suggests_the_nearest() -> None:
    done = amctq("ptp")
    assert done.code == 2
    assert "ptq" in done.stderr


def test_json_can_be_asked_for_in_the_environment() -> None:
    _check_envelope(amctq("ptq", "--bogus", env={"AMCTQ_JSON": "1"}), command="ptq", code=2)


def test_doctor_is_one_json_object() -> None:
    done = amctq("doctor", "--json")
    _check_envelope(done, command="doctor", code=0)
    findings = done.envelope["data"]["findings"]
    assert findings["mindspore"]["ok"]
    assert findings["numpy"]["ok"]
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in findings["onednn"]["value"]


def test_doctor_respects_the_users_own_setting() -> None:
    done = amctq("doctor", "--json", env={"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"})
    finding = done.envelope["data"]["findings"]["onednn"]
    assert "AVX512_CORE" in finding["value"]
    assert not finding["ok"]


def test_doctor_finds_a_broken_mindspore(tmp_path: Path) -> None:
    (tmp_path / "mindspore.py").write_text("raise ImportError('libfoo.so: cannot open')")
    done = amctq("doctor", "--json", env={"PYTHONPATH": str(tmp_path)})
    assert done.code == 0
    assert not done.envelope["data"]["findings"]["mindspore"]["ok"]
    assert "libfoo" in done.envelope["data"]["findings"]["mindspore"]["value"]


@pytest.mark.skipif(Path("/dev/davinci0").exists(), reason="there is an NPU here")
def test_doctor_can_insist() -> None:
    done = amctq_here("doctor", "--json", "--require", "ASCEND")
    _check_envelope(done, command="doctor", code=4)
    assert done.envelope["data"]["findings"]["mindspore"]["ok"], "what was found is not lost"


def test_command_line_wins_over_environment(shared: Shared, tmp_path: Path) -> None:
    env = {"AMCTQ_MODEL": "vgg", "AMCTQ_OUTPUT_DIR": str(tmp_path / "env")}
    arguments = ["ptq", "--dataset", shared.data, "--ckpt", tmp_path / "none.ckpt"]
    assert "--model vgg" in amctq_here(*arguments, env=env).stderr
    done = amctq_here(*arguments, "--model", "resnet20", env=env)
    assert "no checkpoint at" in done.stderr
    assert done.code == 3


@pytest.mark.parametrize(
    "spelling", [["--dataset_path", "nowhere"], ["--dataset_path=nowhere"]], ids=["two-words", "equals"]
)
def test_the_samples_spellings_are_understood(spelling: list[str]) -> None:
    done = amctq_here("ptq", *spelling, "--checkpoint_path", "none.ckpt", "--model", "resnet20", "--calib_images", "4")
    assert done.code == 3
    assert "no dataset at nowhere" in done.stderr
    assert "dataset_path" not in amctq_here("ptq", "--help").stdout


def test_choices_ignore_case() -> None:
    done = amctq_here("ptq", "--dataset", "nowhere", "--ckpt", "none", "--model", "ResNet20", "--device", "CPU")
    assert "no dataset at nowhere" in done.stderr


def test_colour_only_on_a_terminal() -> None:
    assert "\x1b[" not in amctq("ptq", "--dataset", "nowhere", "--ckpt", "none").stderr


def test_on_a_terminal_colour_unless_no_color() -> None:
    command = f"{AMCTQ} ptq --dataset nowhere --ckpt none"
    for setting, coloured in ((f"TERM=xterm {command}", True), (f"TERM=xterm NO_COLOR=1 {command}", False)):
        done = subprocess.run(["script", "-qec", setting, "/dev/null"], capture_output=True, check=False)
        assert (b"\x1b[" in done.stdout) == coloured


def test_verbose_adds_the_traceback() -> None:
    quiet = amctq_here("ptq", "--dataset", "nowhere", "--ckpt", "none", "--model", "resnet20")
    verbose = amctq_here("ptq", "--dataset", "nowhere", "--ckpt", "none", "--model", "resnet20", "-v")
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in verbose.stderr
    assert quiet.code == verbose.code == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout_is_a_failed_write() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([AMCTQ, "ptq", "--bogus", "--json"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 8
    assert b"Traceback" not in done.stderr


def test_a_fault_of_amctq_itself_is_exit_1(tmp_path: Path) -> None:
    """Planted from outside, before the command starts: the boundary must still keep every promise."""
    (tmp_path / "sitecustomize.py").write_text(
        "import amctq.services.doctor as module\n"
        "def broken(*arguments):\n    raise ZeroDivisionError('planted')\n"
        "module.doctor = broken\n"
    )
    done = amctq("doctor", "--json", env={"PYTHONPATH": str(tmp_path)})
    _check_envelope(done, command="doctor", code=1)
    assert done.envelope["errors"][0]["code"] == "internal"
    assert "ZeroDivisionError: planted" in done.stderr
    assert "--verbose" in done.stderr
    assert "Traceback" not in done.stderr
