"""``amctq demo``: the whole way on what the package carries, and what a newcomer types next."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from amctq import DemoRequest
from amctq.errors import UsageError
from amctq.files import sha256_of
from amctq.pretrained import CHECKPOINT, train
from tests.command import AMCTQ, Finished, amctq, amctq_here
from tests.runs import ptq

FILES = {
    "cifar-10-batches-bin": ["batches.meta.txt", *(f"data_batch_{index}.bin" for index in range(1, 6)), "readme.html"],
    "cifar-10-verify-bin": ["batches.meta.txt", "readme.html", "test_batch.bin"],
}
BESIDE = ["amctq.log", "calibration_record.txt", "cifar-10-manifest.json", "config.json", "placement.json"]
BESIDE += ["report.html", "report.json", "resnet8_quant.onnx", "resnet8_synthetic.ckpt"]
NO_NETWORK = ["unshare", "--map-root-user", "--net"]


def _network_can_be_taken_away() -> bool:
    try:
        return not subprocess.run([*NO_NETWORK, "true"], capture_output=True, check=False).returncode
    except OSError:
        return False


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """One run in an empty directory, without any network where that can be arranged."""
    place = tmp_path_factory.mktemp("newcomer")
    command = [*(NO_NETWORK if _network_can_be_taken_away() else []), str(AMCTQ), "demo", "--json"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return Finished(done.returncode, done.stdout, done.stderr), place


@pytest.fixture
def demonstrated(outcome: tuple[Finished, Path]) -> dict[str, Any]:
    """The data of that run, whose files lie in the current directory."""
    done, place = outcome
    shutil.copytree(place, Path.cwd(), dirs_exist_ok=True)
    data = done.envelope["data"]
    assert isinstance(data, dict)
    return data


def _state(root: Path) -> dict[str, str]:
    return {str(path): sha256_of(path) for path in root.rglob("*") if path.is_file()}


def test_everything_lies_in_one_folder(outcome: tuple[Finished, Path]) -> None:
    done, place = outcome
    assert [path.name for path in place.iterdir()] == ["demo"]
    root = place / "demo"
    assert sorted(path.name for path in root.iterdir()) == sorted([*FILES, *BESIDE])
    for folder, names in FILES.items():
        assert sorted(path.name for path in (root / folder).iterdir()) == sorted(names)
    artifacts = done.envelope["artifacts"]
    assert {str(place / item["path"]): item["sha256"] for item in artifacts} == _state(root)
    assert (root / CHECKPOINT.name).read_bytes() == CHECKPOINT.read_bytes()
    assert done.stderr == ""


def test_the_report_is_that_of_ptq(demonstrated: dict[str, Any]) -> None:
    report = json.loads(Path("demo/report.json").read_text())
    assert demonstrated["ptq"] == report
    assert report["command"] == "ptq"
    assert report["data"]["dataset"] == "demo"
    assert report["warnings"] == []
    assert [check["passed"] for check in report["checks"]] == [True] * 4


def test_the_pictures_are_neither_trivial_nor_noise(demonstrated: dict[str, Any]) -> None:
    accuracy = demonstrated["ptq"]["accuracy"]
    assert accuracy["images"] == 10_000
    assert 60 < accuracy["float"]["top1"] < 97
    assert abs(accuracy["top1_drop"]) < 2
    assert accuracy["lost"] + accuracy["gained"] > 0, "quantization changes something, and it is measured"
    assert demonstrated["ptq"]["files"]["onnx"]["ratio"] < 0.35


def test_it_does_what_the_other_commands_do(demonstrated: dict[str, Any]) -> None:
    again = amctq_here("prepare-cifar", "--synthetic", "--output-dir", "demo", "--json")
    assert again.envelope["data"]["already_prepared"]
    ptq(("--dataset", "demo", "--ckpt", f"demo/{CHECKPOINT.name}", "--model", "resnet8"), "--eval-images", 0)
    for name in ("resnet8_quant.onnx", "config.json", "calibration_record.txt", "placement.json"):
        assert Path("results", name).read_bytes() == Path("demo", name).read_bytes()


def test_the_next_commands_can_be_typed(demonstrated: dict[str, Any]) -> None:
    evaluate, narrower, official, own = (shlex.split(step["command"]) for step in demonstrated["next"])
    measured = amctq(*evaluate[1:], "--json")
    assert measured.code == 0, measured.stderr
    accuracy = demonstrated["ptq"]["accuracy"]
    assert measured.envelope["data"]["accuracy"] == {
        "metric": accuracy["metric"],
        "images": accuracy["images"],
        **accuracy["int8"],
    }
    quantized = amctq(*narrower[1:], "--eval-images", "0")
    assert quantized.code == 0, quantized.stderr
    assert official == ["amctq", "prepare-cifar", "&&", "amctq", "fetch-model", "resnet50"]
    assert amctq_here(*own[1:]).stderr.startswith("error: no dataset at DATA")


@pytest.mark.slow
def test_for_people(tmp_path: Path) -> None:
    place = tmp_path / "我的 演示"
    done = amctq("demo", "--output-dir", place, "--seed", "2")
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("passed: resnet8, INT8: top-1 ")
    assert any("which are not CIFAR-10" in line for line in lines)
    assert "an ascend-placed file" not in done.stdout
    shown = [Path(line) for line in lines if line.startswith(str(place))]
    assert {path.name for path in shown} == {*FILES, *BESIDE}
    assert f"--dataset '{place}'" in done.stderr
    assert json.loads((place / "report.json").read_text())["data"]["seed"] == 2
    assert json.loads((place / "cifar-10-manifest.json").read_text())["origin"]["seed"] == 2


def test_files_of_a_former_run_are_refused_before_any_work(demonstrated: dict[str, Any]) -> None:
    Path("demo/report.json").unlink()
    before = _state(Path("demo"))
    done = amctq_here("demo", "--json")
    assert done.code == 2
    (error,) = done.envelope["errors"]
    assert "cifar-10-verify-bin/test_batch.bin" in error["message"]
    assert "resnet8_quant.onnx" in error["message"]
    assert "report.json" not in error["message"]
    assert "report.html" in error["message"]
    assert "--force" in error["hint"]
    assert _state(Path("demo")) == before


def test_a_file_in_the_way_is_refused() -> None:
    Path("demo").write_text("mine")
    done = amctq_here("demo")
    assert done.code == 2
    assert "is a file" in done.stderr
    assert Path("demo").read_text() == "mine"


# While pictures are drawn, while MindSpore loads, while images are evaluated.
@pytest.mark.parametrize(
    ("number", "code", "log"),
    [
        (signal.SIGINT, 130, "data_batch_3.bin"),
        (signal.SIGTERM, 143, "resnet8_synthetic.ckpt"),
        (signal.SIGINT, 130, "scratch/float.mindir"),
        pytest.param(signal.SIGTERM, 143, "data_batch_3.bin", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, "resnet8_synthetic.ckpt", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, "scratch/float.mindir", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_leaves_nothing(number: signal.Signals, code: int, log: str) -> None:
    _stop("--quiet", number=number, code=code, at=log)
    assert list(Path.cwd().iterdir()) == []


def test_a_stopped_run_leaves_the_former_files(demonstrated: dict[str, Any]) -> None:
    before = _state(Path("demo"))
    _stop("--force", "--seed", "2", "--quiet", number=signal.SIGINT, code=130, at="scratch/float.mindir")
    assert _state(Path("demo")) == before


def _stop(*arguments: str, number: signal.Signals, code: int, at: str) -> None:
    """Stop a run when a file of that name is staged."""
    with subprocess.Popen([AMCTQ, "demo", *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        while process.poll() is None and not list(Path("demo").glob(f".amctq-partial/**/{at}")):
            time.sleep(0.01)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert (stdout, stderr.decode()) == (
        b"",
        f"error: {'interrupted' if code == 130 else 'terminated'}; nothing was written\n",
    )


def test_a_seed_below_zero() -> None:
    with pytest.raises(UsageError, match="--seed -1"):
        DemoRequest(seed=-1)
    assert amctq_here("demo", "--seed", "-1").code == 2


def test_the_carried_network_is_small() -> None:
    assert CHECKPOINT.stat().st_size <= 2_000_000


@pytest.mark.slow
def test_the_carried_network_can_be_trained_again(tmp_path: Path) -> None:
    """A fiftieth of the training already learns, and the whole of it is the network that is carried."""
    top1 = [train.train(tmp_path / name, epochs=2, epoch_images=2000) for name in ("one.ckpt", "two.ckpt")]
    assert 13 < top1[0] < 80
    assert (tmp_path / "one.ckpt").read_bytes() == (tmp_path / "two.ckpt").read_bytes()
    assert (tmp_path / "one.ckpt").stat().st_size == CHECKPOINT.stat().st_size
