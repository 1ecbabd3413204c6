"""What a command does outside its output directory: nothing in HOME, nothing kept in the temporary folder, no question
to the network, whatever the libraries that it loads would like to do."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from amctq.files import sha256_of
from amctq.pretrained import CHECKPOINT
from tests.command import Finished, amctq, plain_environment
from tests.runs import Runs

ROOT = Path(__file__).resolve().parents[2]
SHIM = Path(__file__).with_name("outward.c")
# onnxruntime's own reasons to be silent, which a machine that builds software has set.
CI = ("CI", "BUILD_BUILDID", "GITHUB_ACTIONS", "JENKINS_URL", "ORT_RUNNING_UNIT_TESTS", "TF_BUILD", "XDG_CACHE_HOME")
NETWORK = ("--ckpt", CHECKPOINT, "--model", "resnet8")


@pytest.fixture(scope="session")
def shim(runs: Runs) -> Path | None:
    """A library that writes down what goes out to the network; None without a C compiler."""
    if not shutil.which("cc"):
        return None

    def make(folder: Path) -> None:
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", folder / "outward.so", SHIM, "-ldl"], check=True)

    return runs.made("outward", make) / "outward.so"


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, shim: Path | None, tmp_path: Path) -> Path:
    """A folder with an empty ``home`` and ``tmp``, and ``asked``, what was asked of the network."""
    for name in CI:
        monkeypatch.delenv(name, raising=False)
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    if shim is not None:
        monkeypatch.setenv("LD_PRELOAD", str(shim))
        monkeypatch.setenv("OUTWARD_LOG", str(tmp_path / "asked"))
    return tmp_path


def _found(outside: Path) -> list[str]:
    """What there is in HOME and in the temporary folder, and what was asked of the network."""
    files = [str(path.relative_to(outside)) for name in ("home", "tmp") for path in (outside / name).rglob("*")]
    asked = outside / "asked"
    return files + (asked.read_text().splitlines() if asked.exists() else [])


@pytest.fixture(scope="session")
def quantized(pictures: Path, runs: Runs) -> tuple[Finished, Path]:
    """A run whose files are evaluated."""
    options = ("--calib-images", 16, "--eval-images", 64, "--batch-size", 32, "--export", "onnx,mindir")
    return runs.finished("ptq", *NETWORK, "--dataset", pictures, *options, "--json")


SMALL = ("--calib-images", "16", "--eval-images", "32", "--batch-size", "16")


COMMANDS: dict[str, list[object]] = {
    "version": ["--version"],
    "doctor": ["doctor"],
    "prepare": ["prepare-cifar", "--synthetic", "--train-images", "50", "--test-images", "10"],
    "fetch": ["fetch-model", "--from-file", CHECKPOINT, "--sha256", sha256_of(CHECKPOINT)],
    "table": ["rank-table", "--hccn-conf", "hccn.conf", "--server-ip", "10.0.0.1"],
    "ptq": ["ptq", *NETWORK, "--dataset", "DATA", *SMALL, "--export", "onnx,mindir,ascend"],
    "analyze": ["analyze", *NETWORK, "--dataset", "DATA", "--calib-images", "16", "--tuning-images", "8"],
    "dry-run": ["ptq", *NETWORK, "--dataset", "DATA", *SMALL, "--dry-run"],
    "onnx": ["evaluate", "--onnx", "RESULTS/resnet8_quant.onnx", "--dataset", "DATA"],
    "openvino": ["evaluate", "--onnx", "RESULTS/resnet8_quant.onnx", "--dataset", "DATA", "--runtime", "openvino"],
    "for openvino": ["ptq", *NETWORK, "--dataset", "DATA", *SMALL, "--target", "openvino"],
    "mindir": ["evaluate", "--mindir", "RESULTS/resnet8_quant.mindir", "--dataset", "DATA"],
    "distributed": ["qat", *NETWORK, "--dataset", "DATA", *SMALL, "--max-steps", "2", "--distributed", "2"],
}
LONGER: dict[str, list[object]] = {
    "failed": ["ptq", *NETWORK, "--dataset", "DATA", *SMALL, "--max-drop", "-100"],
    "ckpt": ["evaluate", *NETWORK, "--dataset", "DATA"],
    "qat": ["qat", *NETWORK, "--dataset", "DATA", *SMALL, "--max-steps", "2"],
    "demo": ["demo"],
}


@pytest.mark.parametrize("name", [*COMMANDS, *(pytest.param(name, marks=pytest.mark.slow) for name in LONGER)])
def test_a_command_keeps_to_its_output_directory(
    name: str, outside: Path, pictures: Path, quantized: tuple[Finished, Path]
) -> None:
    Path("hccn.conf").write_text("address_0=192.168.0.1\n")
    places = {"DATA": str(pictures), "RESULTS": str(quantized[1])}
    words = [str(word) for word in (COMMANDS | LONGER)[name]]
    for place, path in places.items():
        words = [word.replace(place, path) for word in words]
    done = amctq(*words)
    assert done.code == (5 if name == "failed" else 0), done.stderr
    assert _found(outside) == []


def test_a_program_that_uses_the_library_asks_nobody_either(outside: Path) -> None:
    code = "import amctq.inference.onnx_session, onnxruntime; onnxruntime.InferenceSession"
    subprocess.run([sys.executable, "-c", code], env=plain_environment(), check=True)
    assert _found(outside) == []


def test_the_choice_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, amctq; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for own, expected in (("0", "0"), ("", ""), (None, "1")):
        environment = plain_environment() | ({} if own is None else {"ORT_DISABLE_TELEMETRY": own})
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.rstrip("\n") == expected


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_benchmarks_load_amctq_before_onnxruntime(path: Path) -> None:
    """Which is what keeps onnxruntime quiet; harness loads amctq before anything else."""
    imported: list[str] = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            imported += [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported.append(str(node.module).partition(".")[0])
    loud = [imported.index(name) for name in ("onnxruntime", "peers", "nncf") if name in imported]
    quiet = [imported.index(name) for name in ("amctq", "harness") if name in imported]
    if loud and path.stem != "peers":  # which is no program
        assert quiet
        assert min(quiet) < min(loud)
