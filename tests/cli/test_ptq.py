"""``amctq ptq`` on real data, from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from amctq.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from tests.command import RECORD_BYTES, Finished, Shared, amctq, amctq_here, write_records
from tests.runs import Runs, ptq


@pytest.fixture(scope="session")
def outcome(shared: Shared, runs: Runs) -> tuple[Finished, Path]:
    """One whole run, resnet20 on all 10,000 test images."""
    return runs.finished("ptq", *shared.network("resnet20"), "--calib-images", 320, "--batch-size", 64, "--json")


def _report(outcome: tuple[Finished, Path]) -> dict[str, Any]:
    report = json.loads((outcome[1] / "report.json").read_text())
    assert isinstance(report, dict)
    return report


def test_files_are_the_ones_announced(outcome: tuple[Finished, Path]) -> None:
    done, output = outcome
    names = ["amctq.log", "calibration_record.txt", "config.json", "placement.json", "report.html"]
    names += ["report.json", "resnet20_quant.onnx"]
    assert sorted(path.name for path in output.iterdir()) == names
    artifacts = {Path(item["path"]).name: item for item in done.envelope["artifacts"]}
    assert sorted(artifacts) == names
    for name in names:
        assert artifacts[name]["bytes"] == (output / name).stat().st_size


def test_stdout_and_report_say_the_same(outcome: tuple[Finished, Path]) -> None:
    assert outcome[0].data == _report(outcome)


def test_accuracy_is_the_published_one_and_int8_keeps_it(outcome: tuple[Finished, Path]) -> None:
    accuracy = _report(outcome)["accuracy"]
    assert accuracy["images"] == 10_000
    assert accuracy["float"]["top1"] == 91.73
    assert accuracy["int8"]["top1"] >= 91.73 - 0.25  # one seed; the mean of five is in benchmarks/
    assert accuracy["int8"]["top5"] > 99
    assert accuracy["top1_drop"] == pytest.approx(accuracy["float"]["top1"] - accuracy["int8"]["top1"])
    assert accuracy["lost"] - accuracy["gained"] == round(accuracy["top1_drop"] * 100)
    assert _report(outcome)["simulation"]["images"] == 256  # of all, because MindSpore is slow


def test_the_reported_accuracy_is_the_files(outcome: tuple[Finished, Path], shared: Shared) -> None:
    """Measured once more, with nothing of amctq's."""
    records = np.fromfile(shared.records / "test_batch.bin", np.uint8).reshape(-1, RECORD_BYTES)[:1000]
    pixels = records[:, 1:].reshape(-1, 3, 32, 32)
    images = (pixels / 255 - np.reshape(IMAGENET_MEAN, (3, 1, 1))) / np.reshape(IMAGENET_STD, (3, 1, 1))
    session = onnxruntime.InferenceSession(outcome[1] / "resnet20_quant.onnx", providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": images.astype(np.float32)})[0]
    top1 = 100 * float(np.mean(logits.argmax(1) == records[:, 0]))
    assert top1 == pytest.approx(91.73, abs=2.5)  # of the first thousand images


def test_the_file_is_small_and_integer(outcome: tuple[Finished, Path]) -> None:
    files = _report(outcome)["files"]["onnx"]
    assert files["int8_bytes"] == (outcome[1] / "resnet20_quant.onnx").stat().st_size
    assert files["ratio"] <= 0.28
    model = onnx.load(outcome[1] / "resnet20_quant.onnx")
    assert [item.version for item in model.opset_import] == [17]
    large = [item for item in model.graph.initializer if np.prod(item.dims) >= 16 and "scale" not in item.name]
    assert {item.data_type for item in large} == {onnx.TensorProto.INT8, onnx.TensorProto.INT32}


def test_any_batch_runs_without_a_warning(outcome: tuple[Finished, Path], capfd: pytest.CaptureFixture[str]) -> None:
    session = onnxruntime.InferenceSession(outcome[1] / "resnet20_quant.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 7, 32):
        assert session.run(None, {"image": np.zeros((batch, 3, 32, 32), np.float32)})[0].shape == (batch, 10)
    assert "does not match" not in capfd.readouterr().err


def test_every_layer_is_quantized(outcome: tuple[Finished, Path]) -> None:
    quantization = _report(outcome)["quantization"]
    assert len(quantization["layers"]) == 20
    assert quantization["left_in_float"] == []
    assert all(layer["batch_norm_folded"] for layer in quantization["layers"][:-1])
    # Behind a ReLU the whole range serves positive values.
    assert all(layer["offset_d"] == -128 for layer in quantization["layers"][1:])
    assert {layer["act_algo"] for layer in quantization["layers"]} == {"ifmr"}


def test_nothing_but_json_on_stdout_and_no_bars(outcome: tuple[Finished, Path]) -> None:
    done = outcome[0]
    assert done.stdout.count("\n") == 1
    # resnet20 has channels with weights near 0, which AMCT's record cannot hold.
    assert all("AMCT's rule replaces a scale" in line for line in done.stderr.splitlines())


FEW = ("--calib-images", 16, "--eval-images", 40)


def test_the_same_command_writes_the_same_bytes(shared: Shared) -> None:
    for name in ("one", "two"):
        ptq(shared.network("resnet20"), *FEW, "--output-dir", name)
    one, two = Path("one"), Path("two")
    for name in ("resnet20_quant.onnx", "config.json", "calibration_record.txt", "placement.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    reports = [json.loads((folder / "report.json").read_text()) for folder in (one, two)]
    timings = [report.pop("timing") for report in reports]
    assert reports[0] == reports[1]
    assert timings[0]["seconds"].keys() == timings[1]["seconds"].keys()


def test_for_people_a_table_on_stdout_and_talk_on_stderr(shared: Shared) -> None:
    command = ("ptq", *shared.network("resnet20"), *FEW)
    done = amctq(*command)
    assert done.code == 0
    for words in ("top-1, %", "top-5, %", "images/s", "McNemar p", "resnet20_quant.onnx"):
        assert words in done.stdout
    assert "back end native" in done.stderr
    assert "s to go: 16 calibration images, 40 evaluation images" in done.stderr
    refused = amctq_here(*command)
    assert refused.code == 2
    assert "--force" in refused.stderr
    quiet = amctq(*command, "--eval-images", 0, "--force", "--quiet")
    assert (quiet.code, quiet.stderr) == (0, "")


def test_no_accuracy_when_none_is_asked_for(shared: Shared) -> None:
    done = ptq(shared.network("resnet20"), "--calib-images", 16, "--eval-images", 0)
    assert done.data["accuracy"] is None
    assert "images_per_second" not in done.data["timing"]
    assert all(check["passed"] for check in done.data["checks"])


@pytest.mark.slow
def test_a_failed_gate_still_tells_what_was_measured(shared: Shared) -> None:
    done = ptq(shared.network("resnet20"), *FEW, "--max-drop", "-100", code=5)
    assert done.data["accuracy"]["float"]["top1"] > 80
    assert not Path("results").exists()


def test_calibration_never_sees_a_test_image(shared: Shared) -> None:
    """A white image is planted in a dark test set; had it calibrated, the first layer's range would reach white."""
    dark = Path("dark")
    records = np.fromfile(shared.records / "data_batch_1.bin", np.uint8).reshape(-1, RECORD_BYTES)[:60].copy()
    records[:, 1:] //= 3
    dark.mkdir()
    records[:30].tofile(dark / "data_batch_1.bin")
    write_records(dark / "white.bin", images=1, label=3, pixel=255)
    white = np.fromfile(dark / "white.bin", np.uint8).reshape(-1, RECORD_BYTES)
    # Beside the training file, where the sample's reader would have taken it.
    np.concatenate([records[30:], white]).tofile(dark / "test_batch.bin")

    def highest_input(*options: object) -> float:
        usual = ("--allow-poor-float", "--act-algo", "minmax", "--output-dir", "out", "--force")
        done = ptq(shared.network("resnet20", dark), *usual, *options)
        layer = done.data["quantization"]["layers"][0]
        return float((127 - layer["offset_d"]) * layer["scale_d"])

    limit = (85 / 255 - IMAGENET_MEAN[2]) / IMAGENET_STD[2]
    reached = (1 - IMAGENET_MEAN[2]) / IMAGENET_STD[2]
    assert highest_input("--calib-images", 30) <= max(limit, 0) + 0.05
    # The control: without training files the same image may calibrate, and then it shows.
    (dark / "data_batch_1.bin").unlink()
    assert highest_input("--calib-images", 31, "--eval-images", 0) == pytest.approx(reached, rel=0.02)


def test_paths_with_spaces_and_chinese_characters(shared: Shared) -> None:
    folder = Path("我的 数据")
    folder.mkdir()
    (folder / "权重 20.ckpt").write_bytes(shared.checkpoint("resnet20").read_bytes())
    (folder / "test_batch.bin").write_bytes((shared.records / "test_batch.bin").read_bytes()[: RECORD_BYTES * 100])
    done = amctq(
        *("ptq", "--dataset", folder, "--ckpt", folder / "权重 20.ckpt", "--model", "resnet20"),
        *("--calib-images", "16", "--output-dir", folder / "结果", "--json"),
        env={"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert done.code == 0, done.stderr
    assert (folder / "结果" / "resnet20_quant.onnx").exists()
    report = json.loads((folder / "结果" / "report.json").read_text())
    assert report["model"]["checkpoint"] == str(folder / "权重 20.ckpt")
    assert report == done.data
