"""Networks whose inner numbers are tiny: an equal network must stay an equal one, or a warning names what gets lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from amctq.amct_files.record_text import load_record
from amctq.pretrained import CHECKPOINT
from amctq.quant.numerics import EPSILON
from tests.runs import ptq

LAYER, NEXT = "layer1.0.conv1", "layer1.0.conv2"
FACTOR = 2.0**-20


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """resnet8's, in which what lies between two layers is 2^-20 of what it was; powers of two round nothing."""
    import mindspore

    values = {name: item.asnumpy() for name, item in mindspore.load_checkpoint(str(CHECKPOINT)).items()}
    for name, factor in (("layer1.0.bn1.gamma", FACTOR), ("layer1.0.bn1.beta", FACTOR), (f"{NEXT}.weight", 1 / FACTOR)):
        values[name] = values[name] * np.float32(factor)
    path = tmp_path_factory.mktemp("tiny") / "tiny.ckpt"
    parameters = [{"name": name, "data": mindspore.Tensor(value)} for name, value in values.items()]
    mindspore.save_checkpoint(parameters, str(path))
    return path


def _options(checkpoint: Path, pictures: Path) -> tuple[object, ...]:
    return "--dataset", pictures, "--ckpt", checkpoint, "--model", "resnet8", "--calib-images", 16


@pytest.mark.parametrize(
    "options", [(), ("--act-symmetric", "--weight-bits", 4, "--act-algo", "mse")], ids=["usual", "symmetric-4-bit"]
)
def test_the_own_placement_keeps_the_accuracy(checkpoint: Path, pictures: Path, options: tuple[object, ...]) -> None:
    runs = {
        name: ptq(_options(path, pictures), *options, "--output-dir", name).data
        for name, path in (("usual", CHECKPOINT), ("tiny", checkpoint))
    }
    assert runs["tiny"]["accuracy"]["int8"]["top1"] == runs["usual"]["accuracy"]["int8"]["top1"]
    assert runs["tiny"]["simulation"]["argmax_differences"] == runs["usual"]["simulation"]["argmax_differences"]
    (warning,) = [text for text in runs["tiny"]["warnings"] if "AMCT's rule" in text]
    assert "calibration_record.txt" in warning
    assert LAYER in warning
    assert NEXT in warning
    assert not any("AMCT's rule" in text for text in runs["usual"]["warnings"])
    # AMCT's file has AMCT's scale, the own one the true scale.
    assert load_record(Path("tiny/calibration_record.txt"))[NEXT].activation.scale == 1.0
    layers = {entry["layer"]: entry for entry in json.loads(Path("tiny/placement.json").read_text())["layers"]}
    true = load_record(Path("usual/calibration_record.txt"))[NEXT].activation.scale * FACTOR
    assert layers[NEXT]["scale_d"] == pytest.approx(true, rel=1e-5)
    assert max(layers[LAYER]["scale_w"]) < EPSILON


def test_amcts_placement_warns_by_layer_and_so_does_its_record(checkpoint: Path, pictures: Path) -> None:
    few = ("--eval-images", 0, "--placement", "ascend")
    first = ptq(_options(checkpoint, pictures), *few).data
    again = ptq(
        _options(checkpoint, pictures), "--eval-images", 0, "--record", "results/calibration_record.txt",
        "--output-dir", "again",
    ).data  # fmt: skip
    for data in (first, again):
        inputs = [text for text in data["warnings"] if text.startswith("the input of")]
        weights = [text for text in data["warnings"] if "small weights" in text]
        assert len(weights) == 1
        assert f"{LAYER} (16 of 16 scales)" in weights[0]
        assert NEXT not in weights[0]
        assert [NEXT in text for text in inputs] == [True]
    scales = {
        layer.name: layer.activation.scale for layer in load_record(Path("results/calibration_record.txt")).layers
    }
    assert [name for name, scale in scales.items() if scale == 1.0] == [NEXT]


def test_retraining_warns_of_clips_and_weights(checkpoint: Path, pictures: Path) -> None:
    from tests.command import amctq

    done = amctq(
        "qat", *_options(checkpoint, pictures), "--max-steps", 1, "--eval-images", 0, "--batch-size", 8, "--json",
        timeout=600,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    warnings = [text for text in done.data["warnings"] if "AMCT's rule" in text]
    assert any(LAYER in text for text in warnings)
    assert any(NEXT in text for text in warnings)
