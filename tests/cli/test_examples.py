"""The networks of examples/: trained to the end, quantized, retrained, killed and gone on with."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.command import AMCTQ, Finished, amctq
from tests.runs import Runs, ptq

EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS = 6  # two epochs of three
EVERY, KILLED_AT = 2, 5
SHORT = ("--train-images", "24", "--epochs", "2", "--batch-size", "8", "--save-every-steps", str(EVERY))
FEW = ("--calib-images", "8", "--eval-images", "24", "--allow-poor-float")


@dataclass(frozen=True)
class Example:
    """A file of examples/.

    Attributes:
        file: its name without suffix.
        network: the function for ``--model``.
        metric: what ``ptq`` needs besides model, checkpoint and dataset.
        loss: what ``qat`` needs besides these, with random weights.
    """

    file: str
    network: str
    metric: tuple[str, ...]
    loss: tuple[str, ...]

    @property
    def path(self) -> Path:
        return EXAMPLES / f"{self.file}.py"

    def named(self, ckpt: Path) -> tuple[str, ...]:
        """The options that name network, checkpoint and dataset."""
        model, dataset = f"{self.path}:{self.network}", f"{self.path}:samples"
        return ("--model", model, "--ckpt", str(ckpt), "--dataset", dataset)


SEGMENTATION = Example("segmentation", "unet", ("--metric", "miou"), ("--loss", f"{EXAMPLES}/segmentation.py:loss"))
TEXT = Example("text", "classifier", ("--num-classes", "3"), ("--num-classes", "3"))
DETECTION = Example("detection", "detector", ("--metric", "map50"), ("--loss", f"{EXAMPLES}/detection.py:loss"))
EACH = pytest.mark.parametrize("example", [SEGMENTATION, TEXT, DETECTION], ids=lambda example: example.file)


@pytest.fixture(scope="module")
def untrained(runs: Runs) -> Callable[[Example], Path]:
    """A checkpoint with random weights."""

    def of(example: Example) -> Path:
        def make(folder: Path) -> None:
            import mindspore

            spec = importlib.util.spec_from_file_location(f"example_{example.file}", example.path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            mindspore.set_seed(1)
            mindspore.save_checkpoint(getattr(module, example.network)(), str(folder / "net.ckpt"))

        return runs.made(f"untrained-{example.file}", make) / "net.ckpt"

    return of


@pytest.fixture(scope="module")
def trained(runs: Runs) -> Callable[[Example], Path]:
    """The checkpoint that the example itself trains: half a minute to two minutes of one core."""

    def of(example: Example) -> Path:
        def make(folder: Path) -> None:
            subprocess.run([sys.executable, example.path], cwd=folder, check=True, env=os.environ, timeout=600)

        return runs.made(f"trained-{example.file}", make) / f"{example.network}.ckpt"

    return of


@pytest.mark.slow
@EACH
def test_killed_within_an_epoch_training_ends_in_the_same_bytes(
    example: Example, untrained: Callable[[Example], Path]
) -> None:
    command = ["qat", *example.named(untrained(example)), *example.loss, *SHORT, *FEW, "--json"]
    whole = amctq(*command, "--output-dir", "whole")
    assert whole.code == 0, whole.stderr
    assert "dropout" not in whole.stderr  # the one of the Transformer has p = 0
    assert _kill([*command, "--output-dir", "killed"], Path("killed")) == -signal.SIGKILL
    again = amctq(*command, "--output-dir", "killed", "--resume")
    assert again.code == 0, again.stderr
    assert again.data["timing"]["resumed_at_step"] == KILLED_AT // EVERY * EVERY
    model = f"{example.network}_quant_retrain.onnx"
    for name in (model, "calibration_record.txt", "history.jsonl", f"checkpoints/step-{STEPS:08d}.ckpt"):
        assert Path("whole", name).read_bytes() == Path("killed", name).read_bytes(), name
    one, other = (_without_timing(done) for done in (whole, again))
    assert one == other


def _kill(command: list[str], output: Path) -> int:
    """Kill a command once its history tells of a step that no checkpoint holds."""
    history = output / "history.jsonl"
    with subprocess.Popen([AMCTQ, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not (history.exists() and f'"step": {KILLED_AT},' in history.read_text()):
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        process.kill()
        process.communicate(timeout=60)
    return process.returncode


def _without_timing(done: Finished) -> dict[str, Any]:
    return {key: value for key, value in done.data.items() if key != "timing"}


def test_boxes_are_decoded_in_float(untrained: Callable[[Example], Path]) -> None:
    few = ("--calib-images", 8, "--eval-images", 16, "--batch-size", 8, "--allow-poor-float")
    data = ptq(DETECTION.named(untrained(DETECTION)), *DETECTION.metric, *few).data
    _decodes_in_float(data)
    assert data["accuracy"]["metric"]["key"] == "map50"
    low, high = data["accuracy"]["map50_drop_95"]
    assert low <= data["accuracy"]["map50_drop"] <= high


def _decodes_in_float(data: dict[str, Any]) -> None:
    """Every layer is quantized, and no operator behind the last one has integers."""
    assert len(data["quantization"]["layers"]) == 6
    assert data["quantization"]["left_in_float"] == []
    graph = onnx.load("results/detector_quant.onnx").graph
    behind, last = {"output_1"}, [node for node in graph.node if node.op_type == "Conv"][-1]
    assert last.output[0] in behind
    decoding = []
    for node in graph.node:
        if behind.intersection(node.input):
            behind.update(node.output)
            decoding.append(node.op_type)
    assert {"Sigmoid", "Exp", "MaxPool", "Concat"} <= set(decoding)
    assert not [name for name in decoding if "Quantize" in name or "Conv" in name]


@pytest.mark.slow
def test_a_trained_detector_keeps_its_boxes(trained: Callable[[Example], Path]) -> None:
    network = DETECTION.named(trained(DETECTION))
    data = ptq(network, *DETECTION.metric).data
    _decodes_in_float(data)
    assert data["accuracy"]["float"]["map50"] >= 0.8
    assert data["accuracy"]["map50_drop"] <= 0.01
    retrained = amctq("qat", *network, *DETECTION.metric, *DETECTION.loss, "--epochs", 1, "--json", timeout=600)
    assert retrained.code == 0, retrained.stderr
    assert retrained.data["accuracy"]["map50_drop"] <= 0.02


@pytest.mark.slow
def test_a_trained_text_classifier_keeps_its_accuracy(trained: Callable[[Example], Path]) -> None:
    data = ptq(TEXT.named(trained(TEXT)), *TEXT.metric).data
    accuracy = data["accuracy"]
    assert accuracy["images"] == 512
    assert accuracy["float"]["top1"] >= 95
    assert accuracy["top1_drop"] <= 0.5
    kinds = [layer["type"] for layer in data["quantization"]["layers"]]
    assert kinds.count("Embedding") == 1
    # Query, key, value, output and two Dense of each layer of the Transformer, and the head.
    assert len(kinds) == 14
    assert data["quantization"]["left_in_float"] == []
    assert data["files"]["onnx"]["ratio"] < 0.7
    assert json.loads(Path("results/report.json").read_text())["accuracy"] == accuracy


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "drop"), [(8, 0.01), (4, 0.02)])
def test_a_trained_segmentation_network_keeps_its_miou(
    trained: Callable[[Example], Path], bits: int, drop: float
) -> None:
    data = ptq(SEGMENTATION.named(trained(SEGMENTATION)), *SEGMENTATION.metric, "--weight-bits", bits).data
    assert data["accuracy"]["float"]["miou"] >= 0.8
    assert data["accuracy"]["miou_drop"] <= drop
