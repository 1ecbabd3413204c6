"""What is made of what atc does."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from amctq.choices import ExportFormat
from amctq.errors import UnavailableError
from amctq.files import OutputDirectory
from amctq.progress import Reporter
from amctq.services.run.atc import AtcRun, atc_for, run_atc
from tests.arrays import image_spec

FILES = {ExportFormat.ASCEND: "my net_deploy.onnx"}


def _atc(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script called atc on PATH."""
    folder = Path("bin").absolute()
    folder.mkdir()
    (folder / "atc").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "atc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def _run(asked: AtcRun | None, reporter: Reporter | None = None) -> AtcRun | None:
    with OutputDirectory(Path("out"), names=("my net_deploy.onnx", "my net_deploy.om"), force=False) as output:
        output.write("my net_deploy.onnx", b"model")
        return run_atc(asked, output, reporter or Reporter())


def _asked(soc_version: str | None = "Ascend310P3") -> AtcRun:
    asked = atc_for(FILES, image_spec(3, 32, 32), soc_version)
    assert asked is not None
    return asked


def test_the_command_is_what_a_shell_takes() -> None:
    assert _asked().command == (
        "atc '--model=my net_deploy.onnx' --framework=5 '--output=my net_deploy' --input_format=NCHW "
        "--input_shape=image:1,3,32,32 --soc_version=Ascend310P3"
    )
    assert _asked(None).command.endswith("--soc_version=SOC_VERSION")
    assert atc_for({ExportFormat.ONNX: "a.onnx"}, image_spec(3, 32, 32), "Ascend310P3") is None


def test_nothing_is_run_without_a_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    _atc(monkeypatch, "touch ran; exit 9")
    asked = _asked(None)
    assert _run(asked) is asked
    assert not asked.checks


def test_the_model_of_another_host_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    _atc(monkeypatch, 'printf model > "my net_deploy_linux_aarch64.om"; echo done')
    done = _run(_asked())
    assert done is not None
    assert (done.exit_code, done.om_bytes, done.om) == (0, 5, "my net_deploy.om")
    assert [check.passed for check in done.checks] == [True]
    assert done.data()["log"] == []


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 0", "it ended with 0 and wrote no my net_deploy.om"),
        ("echo working; echo E10001: no such chip; echo see the log; exit 1", "it ended with 1: E10001: no such chip"),
        ("echo; echo killed >&2; exit 137", "it ended with 137: killed"),
        ("exit 3", "it ended with 3 (atc"),
    ],
)
def test_a_refusal_is_told_with_its_reason(script: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _atc(monkeypatch, script)
    done = _run(_asked())
    assert done is not None
    (check,) = done.checks
    assert not check.passed
    assert says in check.detail
    assert "--soc-version" in (check.hint or "")


def test_cann_logs_into_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    _atc(monkeypatch, 'echo "$ASCEND_PROCESS_LOG_PATH"; exit 1')
    monkeypatch.delenv("ASCEND_PROCESS_LOG_PATH", raising=False)
    done = _run(_asked())
    assert done is not None
    assert done.log.startswith(str(Path("out").absolute()))


def test_what_cannot_be_started_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    _atc(monkeypatch, "")
    (Path("bin") / "atc").write_bytes(b"\x7fELF")
    with pytest.raises(UnavailableError, match="atc cannot be started"):
        _run(_asked())


def test_whoever_stops_the_run_stops_atc_and_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    _atc(monkeypatch, f'sh -c "while :; do sleep 0.05; touch {Path("alive").absolute()}; done"')

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            _run(_asked())
    finally:
        signal.signal(signal.SIGALRM, before)
    Path("alive").unlink(missing_ok=True)
    time.sleep(0.3)
    assert not Path("alive").exists()
    assert not Path("out").exists()
