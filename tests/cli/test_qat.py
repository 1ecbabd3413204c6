"""``amctq qat`` from end to end: trained, killed, stopped and gone on with, on a small network with few images."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amctq.files import sha256_of
from amctq.pretrained import CHECKPOINT
from tests.command import AMCTQ, Finished, Shared, amctq, amctq_here, small_file_system
from tests.runs import Runs, ptq

STEPS, EVERY = 18, 4  # three epochs of six steps; a checkpoint every four
SHORT = ("--max-steps", "2", "--eval-images", "0")


def _command(pictures: Path, *more: object) -> list[str]:
    arguments = ["--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8", "--batch-size", "16"]
    arguments += ["--epochs", "3"] if "--max-steps" not in more else []
    arguments += [] if "--save-every-steps" in more else ["--save-every-steps", EVERY]
    return ["qat", *map(str, arguments), "--calib-images", "8", "--json", *map(str, more)]


@pytest.fixture(scope="session")
def outcome(pictures: Path, runs: Runs) -> tuple[Finished, Path]:
    """One whole run that nothing has disturbed."""
    return runs.finished(*_command(pictures), output="retrain_result")


def _history(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]


def _report(output: Path) -> dict[str, Any]:
    report = json.loads((output / "report.json").read_text())
    assert isinstance(report, dict)
    return report


def _stop_at(command: list[str], output: Path, step: int, number: int) -> Finished:
    """Run a command and send it a signal once its history tells of ``step``."""
    history = output / "history.jsonl"
    with subprocess.Popen([AMCTQ, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not (history.exists() and f'"step": {step},' in history.read_text()):
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=120)
    return Finished(process.returncode, stdout.decode(), stderr.decode())


def test_files_are_the_ones_announced(outcome: tuple[Finished, Path]) -> None:
    done, output = outcome
    names = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    steps = [*range(0, STEPS, EVERY), STEPS]
    assert names == {
        *("resnet8_quant_retrain.onnx", "retrain_quant_config.json", "calibration_record.txt", "history.jsonl"),
        *("report.json", "report.html", "amctq.log", "checkpoints/best.ckpt"),
        *(f"checkpoints/step-{step:08d}.ckpt" for step in steps),
    }
    artifacts = {Path(item["path"]).relative_to(output): item["bytes"] for item in done.envelope["artifacts"]}
    assert {str(path) for path in artifacts} == names
    assert all((output / path).stat().st_size == size for path, size in artifacts.items())
    assert all(sha256_of(Path(item["path"])) == item["sha256"] for item in done.envelope["artifacts"])


def test_report_tells_all_four_stages_of_the_network(outcome: tuple[Finished, Path]) -> None:
    report = _report(outcome[1])
    assert report == outcome[0].data
    accuracy = report["accuracy"]
    for stage in ("float", "ptq", "training_network", "int8"):
        assert accuracy[stage]["top1"] > 80
    assert abs(accuracy["training_network"]["top1"] - accuracy["int8"]["top1"]) <= 200 / 64
    assert all(check["passed"] for check in report["checks"])
    assert "exported file equals the training network" in {check["name"] for check in report["checks"]}
    assert report["quantization"]["placement"] == "ascend"
    assert report["training"]["recipe"]["name"] == "finetune"
    assert (report["training"]["steps"], report["training"]["exported_epoch"]) == (STEPS, 3)


def test_history_holds_every_step_and_every_evaluation_once(outcome: tuple[Finished, Path]) -> None:
    lines = _history(outcome[1])
    steps = [line for line in lines if "loss" in line]
    scores = [line for line in lines if "top1" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert [(line["epoch"], line["step"]) for line in scores] == [(1, 6), (2, 12), (3, 18)]
    assert scores[-1]["top1"] == _report(outcome[1])["accuracy"]["training_network"]["top1"]
    assert steps[0]["learning_rate"] == pytest.approx(1e-3, rel=1e-4)  # a warm-up of 5 % of 18 steps is none


def test_weights_have_moved_and_a_checkpoint_is_one_of_mindspores(outcome: tuple[Finished, Path]) -> None:
    import mindspore

    before = mindspore.load_checkpoint(str(CHECKPOINT))
    after = mindspore.load_checkpoint(str(outcome[1] / "checkpoints" / f"step-{STEPS:08d}.ckpt"))
    for name, value in before.items():
        assert not np.array_equal(value.asnumpy(), after[name].asnumpy()), name
    assert any(name.endswith(".clip_max") for name in after)
    assert f"moments.{next(iter(before))}" in after


@pytest.mark.slow
def test_the_retrained_checkpoint_is_a_float_checkpoint_too(outcome: tuple[Finished, Path], pictures: Path) -> None:
    """What was trained, quantized once more by the record of the run, is the file of the run."""
    output = outcome[1]
    trained = output / "checkpoints" / f"step-{STEPS:08d}.ckpt"
    network = ("--dataset", pictures, "--model", "resnet8", "--ckpt", trained)
    done = ptq(network, "--record", output / "calibration_record.txt", "--eval-images", 64, "--calib-images", 8)
    again = done.data["accuracy"]["int8"]
    assert again == _report(output)["accuracy"]["int8"]


@pytest.mark.slow
def test_killed_again_and_again_the_run_ends_in_the_same_bytes(outcome: tuple[Finished, Path], pictures: Path) -> None:
    _kill_and_resume(outcome[1], pictures, random.Random(20), kills=2)


@pytest.mark.slow
def test_killed_at_ten_steps_the_run_ends_in_the_same_bytes(outcome: tuple[Finished, Path], pictures: Path) -> None:
    _kill_and_resume(outcome[1], pictures, random.Random(), kills=10)


def _kill_and_resume(expected: Path, pictures: Path, dice: random.Random, *, kills: int) -> None:
    """Before the first checkpoint, between two, in the last epoch: wherever the dice say."""
    output = Path("killed")
    for index, step in enumerate(sorted(dice.sample(range(1, STEPS), kills))):
        resume = ["--resume"] if index else []
        done = _stop_at(_command(pictures, "--output-dir", output, *resume), output, step, signal.SIGKILL)
        assert done.code == -signal.SIGKILL
    done = amctq(*_command(pictures, "--output-dir", output, "--resume"))
    assert done.code == 0, done.stderr
    _assert_equal_outcome(expected, output)


def _assert_equal_outcome(one: Path, other: Path) -> None:
    for name in (
        *("resnet8_quant_retrain.onnx", "calibration_record.txt", "retrain_quant_config.json", "history.jsonl"),
        *("checkpoints/best.ckpt", f"checkpoints/step-{STEPS:08d}.ckpt"),
    ):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    reports = [_report(folder) for folder in (one, other)]
    timings = [report.pop("timing") for report in reports]
    assert reports[0] == reports[1]
    assert timings[1]["resumed_at_step"] is not None


def test_sigterm_finishes_the_step_saves_and_goes_on(outcome: tuple[Finished, Path], pictures: Path) -> None:
    output = Path("stopped")
    done = _stop_at(_command(pictures, "--output-dir", output), output, 7, signal.SIGTERM)
    assert done.code == 143
    last = _history(output)[-1]["step"]
    saved = output / "checkpoints" / f"step-{last:08d}.ckpt"
    assert saved.exists()
    assert done.stderr.splitlines()[-1] == f"error: terminated; step {last} is saved as {saved}; continue with --resume"
    assert not (output / "report.json").exists()
    done = amctq(*_command(pictures, "--output-dir", output, "--resume"))
    assert done.code == 0, done.stderr
    assert done.data["timing"]["resumed_at_step"] == last
    _assert_equal_outcome(outcome[1], output)


def test_narrow_weights_begin_where_ptq_ends(pictures: Path) -> None:
    """The PTQ of the report is that of ``ptq``, the gain over it is said, and a resumed run ends in the same bytes."""
    network = ("--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8", "--batch-size", "16")
    narrow = ("--weight-bits", "4")
    alone = ptq(network, *narrow, "--calib-images", 8, "--placement", "ascend").data
    done = amctq(*_command(pictures, *narrow, "--output-dir", "one"))
    assert done.code == 0, done.stderr
    accuracy = done.data["accuracy"]
    assert accuracy["ptq"] == alone["accuracy"]["int8"]
    assert done.data["quantization"]["started_from_weight_algo"] == ["gptq"]
    gain = accuracy["gain_over_ptq"]
    assert gain["top1_gain"] == pytest.approx(accuracy["int8"]["top1"] - accuracy["ptq"]["top1"], abs=1e-3)
    low, high = gain["top1_gain_95"]
    assert low < gain["top1_gain"] < high
    assert (gain["verdict"] == "gained", gain["verdict"] == "lost") == (low > 0, high < 0)
    _stop_at(_command(pictures, *narrow, "--output-dir", "two"), Path("two"), 7, signal.SIGKILL)
    resumed = amctq(*_command(pictures, *narrow, "--output-dir", "two", "--resume"))
    assert resumed.code == 0, resumed.stderr
    _assert_equal_outcome(Path("one"), Path("two"))


@pytest.mark.slow
def test_a_short_training_of_resnet20_does_not_lose_what_gptq_keeps(shared: Shared) -> None:
    same = ("--weight-bits", 4, "--calib-images", 64, "--eval-images", 1000)
    alone = ptq(shared.network("resnet20"), *same, "--placement", "ascend").data["accuracy"]
    done = amctq("qat", *shared.network("resnet20"), "--json", *same, "--max-steps", "20")
    assert done.code == 0, done.stderr
    accuracy = done.data["accuracy"]
    assert accuracy["ptq"] == alone["int8"]
    assert accuracy["ptq"]["top1"] > accuracy["float"]["top1"] - 1.0  # rounding one by one loses 1.5
    assert accuracy["gain_over_ptq"]["verdict"] != "lost"


@pytest.mark.slow
def test_every_kind_of_run_is_gone_on_with_to_the_same_bytes(pictures: Path) -> None:
    """A teacher, frozen statistics, the best epoch, narrow weights, a record and a configuration of one's own."""
    made = amctq(*_command(pictures, "--max-steps", "1", "--weight-bits", "4", "--output-dir", "made"))
    assert made.code == 0, made.stderr
    files = ["--record", "made/calibration_record.txt", "--config", "made/retrain_quant_config.json"]
    kind = ["--distill", "--freeze-bn-after", "1", "--select", "best", "--export", "onnx,mindir", *files]
    command = [word for word in _command(pictures, *kind) if word not in {"--calib-images", "8"}]
    done = amctq(*command, "--output-dir", "one")
    assert done.code == 0, done.stderr
    report = done.data
    assert {layer["weight_bits"] for layer in report["quantization"]["layers"]} == {4}
    assert report["training"]["exported_epoch"] == report["training"]["best"]["epoch"]
    assert report["training"]["recipe"]["distillation"] == {"temperature": 4.0, "weight": 0.9}
    for index, step in enumerate((5, 9, 16)):  # before the statistics are frozen, and twice after
        resume = ["--resume"] if index else []
        _stop_at([*command, "--output-dir", "two", *resume], Path("two"), step, signal.SIGKILL)
    done = amctq(*command, "--output-dir", "two", "--resume")
    assert done.code == 0, done.stderr
    _assert_equal_outcome(Path("one"), Path("two"))
    assert (Path("one") / "resnet8_quant_retrain.mindir").read_bytes() == (
        Path("two") / "resnet8_quant_retrain.mindir"
    ).read_bytes()


@pytest.fixture
def copy(outcome: tuple[Finished, Path], tmp_path: Path) -> Path:
    """A copy of the finished run."""
    import shutil

    return Path(shutil.copytree(outcome[1], tmp_path / "copy"))


def test_a_truncated_checkpoint_gives_way_to_the_one_before(
    outcome: tuple[Finished, Path], pictures: Path, copy: Path
) -> None:
    newest = copy / "checkpoints" / f"step-{STEPS:08d}.ckpt"
    for path in (newest, copy / "checkpoints" / "best.ckpt"):
        path.write_bytes(path.read_bytes()[:-1000])
    done = amctq(*_command(pictures, "--output-dir", copy, "--resume"))
    assert done.code == 0, done.stderr
    assert f"warning: {newest} is damaged; going on from the one before it" in done.stderr
    assert done.data["timing"]["resumed_at_step"] == 16
    assert newest.read_bytes() == (outcome[1] / "checkpoints" / newest.name).read_bytes()


def test_another_run_is_refused_with_the_difference(pictures: Path, copy: Path) -> None:
    (copy / "checkpoints" / ".amctq-partial-best.ckpt").touch()  # another run may be writing it at this moment
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    done = amctq(*_command(pictures, "--output-dir", copy, "--resume", "--seed", "2", "--lr-max", "2e-3", "--dry-run"))
    assert done.code == 3
    message = done.envelope["errors"][0]["message"]
    for difference in ("belongs to another run", "seed is 1 in it, 2 here", "recipe.lr_max is 0.001 in it, 0.002 here"):
        assert difference in message
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_learning_rate_that_diverges_stops_the_run(pictures: Path) -> None:
    done = amctq(*_command(pictures, "--lr-max", "1e30", "--lr-init", "1e30", "--eval-images", "0"))
    assert done.code == 5, done.stderr
    (error,) = done.envelope["errors"]
    assert "training diverged" in error["message"]
    assert "at step " in error["message"] or "after step " in error["message"]
    assert "the last good checkpoint is retrain_result/checkpoints/step-00000000.ckpt" in error["message"]
    assert "--lr-max" in error["hint"]
    assert [path.name for path in Path("retrain_result/checkpoints").iterdir()] == ["step-00000000.ckpt"]
    assert not Path("retrain_result/report.json").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_file_system(tmp_path / "disk", "4m") as place:
        yield place


def test_a_full_disk_leaves_the_former_checkpoint(
    small_disk: Path, pictures: Path, outcome: tuple[Finished, Path]
) -> None:
    """Room for the first checkpoint, not for the second."""
    size = (outcome[1] / "checkpoints" / "step-00000000.ckpt").stat().st_size
    output = small_disk / "out"
    command = _command(pictures, "--output-dir", output, "--max-steps", "8", "--eval-images", "0")
    # Working files come and go before the training: the disk is filled when the first checkpoint is there.
    with subprocess.Popen([AMCTQ, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not (output / "history.jsonl").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        whole = (output / "checkpoints" / "step-00000000.ckpt").read_bytes()
        stat = os.statvfs(small_disk)
        (small_disk / "filler").write_bytes(b"x" * (stat.f_bavail * stat.f_frsize - size // 2))
        stdout, stderr = process.communicate(timeout=120)
    done = Finished(process.returncode, stdout.decode(), stderr.decode())
    assert done.code == 8, done.stderr
    assert "No space left" in done.envelope["errors"][0]["message"]
    assert "step-00000004.ckpt" in done.envelope["errors"][0]["message"]
    assert [path.name for path in (output / "checkpoints").iterdir()] == ["step-00000000.ckpt"]
    assert whole == (output / "checkpoints" / "step-00000000.ckpt").read_bytes()


def test_a_former_run_is_neither_lost_nor_mixed_in(pictures: Path, copy: Path) -> None:
    refused = amctq(*_command(pictures, "--output-dir", copy))
    assert refused.code == 2
    for words in ("history.jsonl", "checkpoints/step-00000000.ckpt", "report.json"):
        assert words in refused.envelope["errors"][0]["message"]
    assert "--resume" in refused.envelope["errors"][0]["hint"]
    (copy / "mine.txt").write_text("mine")
    done = amctq(*_command(pictures, "--output-dir", copy, *SHORT, "--force", "--air", "other"))
    assert done.code == 0, done.stderr
    assert sorted(path.name for path in (copy / "checkpoints").iterdir()) == [
        "step-00000000.ckpt",
        "step-00000002.ckpt",
    ]
    assert [line["step"] for line in _history(copy)] == [1, 2]
    assert (copy / "mine.txt").read_text() == "mine"
    assert (copy / "other.onnx").exists()


def test_original_measures_the_float_checkpoint_alone(pictures: Path) -> None:
    done = amctq(*_command(pictures, "--original"))
    assert done.code == 0, done.stderr
    assert done.envelope["command"] == "qat"
    assert done.data["accuracy"]["top1"] == 93.75
    assert list(Path.cwd().iterdir()) == []


def test_the_samples_command_line_is_understood(pictures: Path) -> None:
    """As the guide has it, with its two folders; nothing is trained."""
    for folder, name in (("cifar-10-batches-bin", "data_batch_1.bin"), ("cifar-10-verify-bin", "test_batch.bin")):
        Path(folder).mkdir()
        Path(folder, name).write_bytes((pictures / name).read_bytes())
    done = amctq(
        *("qat", "--net", "resnet8", "--dataset", "cifar10", "--run_distribute", "False", "--device_num", "1"),
        *("--train_dataset", "cifar-10-batches-bin", "--eval_dataset", "cifar-10-verify-bin", "--air", "mine"),
        *("--device_target", "CPU", "--pre_trained", CHECKPOINT, "--dry-run", "--json"),
    )
    assert done.code == 0, done.stderr
    plan = done.data
    assert plan["recipe"]["name"] == "sample"
    assert (plan["recipe"]["epochs"], plan["recipe"]["warmup_steps"], plan["recipe"]["steps"]) == (30, 15, 90)
    assert plan["files"][0] == "retrain_result/mine.onnx"
    assert (plan["training_images"], plan["evaluation_images"]) == (96, 64)
    assert plan["estimated_seconds"] > 0
    assert len([layer for layer in plan["layers"] if layer["quantized"]]) == 8
    assert not Path("retrain_result").exists()


Arguments = Callable[[Path], list[object]]

BAD: list[tuple[str, int, str, Arguments]] = [
    ("no-data", 2, "no images to train with", lambda p: []),
    ("train-alone", 2, "--train-dataset without --eval-dataset", lambda p: ["--train-dataset", p]),
    ("both-kinds", 2, "--dataset holds training and test", lambda p: ["--dataset", p, "--train-dataset", p]),
    ("no-such-data", 3, "no dataset at nowhere", lambda p: ["--dataset", "nowhere"]),
    ("no-training-images", 3, "no training images", lambda p: ["--dataset", _only(p, "test_batch.bin")]),
    ("no-test-images", 3, "no test images", lambda p: ["--dataset", _only(p, "data_batch_1.bin")]),
    (
        "test-images-to-train-with",
        3,
        "only test images",
        lambda p: ["--train-dataset", _only(p, "test_batch.bin"), "--eval-dataset", p],
    ),
    ("batch-too-large", 2, "--batch-size 97: there are 96", lambda p: ["--dataset", p, "--batch-size", 97]),
    ("too-many-images", 2, "--train-images 97: there are 96", lambda p: ["--dataset", p, "--train-images", 97]),
    ("warm-up", 2, "--warmup-epochs 3", lambda p: ["--dataset", p, "--epochs", 3, "--warmup-epochs", 3]),
    ("sample-too-short", 2, "--warmup-epochs 5", lambda p: ["--dataset", p, "--epochs", 4, "--recipe", "sample"]),
    ("epochs-and-steps", 2, "--epochs and --max-steps", lambda p: ["--dataset", p, "--epochs", 1, "--max-steps", 1]),
    ("nothing-to-resume", 3, "--resume: no checkpoint", lambda p: ["--dataset", p, "--resume"]),
    ("resume-and-force", 2, "--resume and --force", lambda p: ["--dataset", p, "--resume", "--force"]),
    ("bits", 2, "--weight-bits 5", lambda p: ["--dataset", p, "--weight-bits", 5]),
    ("momentum", 2, "--momentum 2", lambda p: ["--dataset", p, "--momentum", 2]),
    ("lr-nan", 2, "--lr-max nan", lambda p: ["--dataset", p, "--lr-max", "nan"]),
    (
        "teacher",
        2,
        "--no-distill and --distill-weight",
        lambda p: ["--dataset", p, "--no-distill", "--distill-weight", 1],
    ),
    ("air-folder", 2, "without a folder", lambda p: ["--dataset", p, "--air", "a/b"]),
    (
        "one-device-and-several",
        2,
        "--run-distribute False and more than one device",
        lambda p: ["--dataset", p, "--device_num", 8, "--run_distribute", "False"],
    ),
    ("no-record", 3, "no such file", lambda p: ["--dataset", p, "--record", "none.txt"]),
    ("air-without-npu", 4, "--export air", lambda p: ["--dataset", p, "--export", "air"]),
]


def _only(pictures: Path, name: str) -> Path:
    folder = Path("only")
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes((pictures / name).read_bytes())
    return folder


@pytest.mark.parametrize(("code", "says", "arguments"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input(code: int, says: str, arguments: Arguments, pictures: Path) -> None:
    done = amctq_here("qat", "--ckpt", CHECKPOINT, "--model", "resnet8", "--json", *arguments(pictures))
    assert done.code == code, done.stderr
    (error,) = done.envelope["errors"]
    assert says in error["message"]
    assert error["hint"] or code == 2
    assert "Traceback" not in done.stderr
    assert not Path("retrain_result").exists()


def test_a_record_of_another_network_is_refused(outcome: tuple[Finished, Path], pictures: Path) -> None:
    record = Path("record.txt")
    record.write_text((outcome[1] / "calibration_record.txt").read_text().replace("layer3.0.conv2", "layer9.0.conv2"))
    command = [word for word in _command(pictures, "--record", record) if word not in {"--calib-images", "8"}]
    done = amctq(*command)
    assert done.code == 3
    assert "layer9.0.conv2" in done.envelope["errors"][0]["message"]
    assert not Path("retrain_result").exists()
