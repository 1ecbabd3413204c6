"""Networks and data of the user's own, configurations and records: what must work, through the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.command import RECORD_BYTES, Own, Shared, amctq_here
from tests.runs import ptq


def _quantize(own: Own, factory: str, dataset: object = None, *more: object) -> dict[str, Any]:
    return ptq(own.network(factory, dataset), "--calib-images", 16, "--allow-poor-float", *more).data


def test_a_network_of_ones_own_on_npz_images(own: Own) -> None:
    data = _quantize(own, "small")
    assert [layer["name"] for layer in data["quantization"]["layers"]] == ["conv1", "conv2", "depthwise", "end_point"]
    assert data["data"]["split"].startswith("the images have no roles")
    assert data["data"]["calibration"]["images"] + data["data"]["evaluation"]["images"] == 64
    assert data["model"]["preprocessing"] is None
    assert data["simulation"]["argmax_differences"] <= 2
    assert Path("results/small_quant.onnx").exists()


def test_outputs_that_no_metric_measures_are_compared_with_those_in_float(own: Own) -> None:
    """Two outputs, although both are the same tensor."""
    data = _quantize(own, "two_heads")
    assert data["accuracy"] is None
    assert data["fidelity"]["samples"] == data["data"]["evaluation"]["images"] == 48
    one, two = data["fidelity"]["outputs"]
    assert (one.pop("output"), two.pop("output")) == ("output_0", "output_1")
    assert one == two
    assert one["sqnr_db"] > 10
    assert 0 < one["max_difference"] < one["largest"]
    assert all(check["passed"] for check in data["checks"])


def test_the_samples_class_num_is_understood(own: Own) -> None:
    assert _quantize(own, "sample_style")["model"]["name"] == "sample_style"


@pytest.mark.parametrize(
    ("factory", "layers", "reason"),
    [
        ("grouped", ["grouped", "dilated"], "grouped convolution"),
        ("reused", ["conv2", "conv2:2"], "used more than once"),
    ],
)
def test_what_amct_cannot_quantize_stays_in_float_in_its_files_only_and_is_said(
    factory: str, layers: list[str], reason: str, own: Own, tmp_path: Path
) -> None:
    import mindspore

    from tests.backends import networks

    checkpoint = tmp_path / "own.ckpt"
    mindspore.save_checkpoint(getattr(networks, factory)(10), str(checkpoint))
    changed = Own(checkpoint=checkpoint, npz=own.npz, config=own.config, record=own.record)
    assert _quantize(changed, factory)["quantization"]["left_in_float"] == []
    data = _quantize(changed, factory, None, "--export", "ascend", "--force")
    left = data["quantization"]["left_in_float"]
    assert [layer["name"] for layer in left] == layers
    assert reason in left[0]["reason"]
    assert any(reason in warning for warning in data["warnings"])


ROLES = """
import numpy as np

def images(role):
    start = 0 if role == "train" else 1000
    for index in range(40):
        yield np.full((3, 32, 32), start + index, np.float32) / 1000, index % 10

def listed():
    return [(np.full((3, 32, 32), index / 50, np.float32), index % 10) for index in range(50)]

def without_test(role):
    return listed() if role == "train" else None
"""


def test_a_factory_with_roles(own: Own) -> None:
    Path("mydata.py").write_text(ROLES)
    data = _quantize(own, "small", "mydata.py:images", "--act-algo", "minmax")
    assert data["data"]["split"].startswith("calibration images come from the training images")
    assert (data["data"]["calibration"]["images"], data["data"]["evaluation"]["images"]) == (16, 40)
    # Evaluation images are ten times brighter: had one calibrated, the range would reach 1.
    layer = data["quantization"]["layers"][0]
    assert (127 - layer["offset_d"]) * layer["scale_d"] < 0.05


def test_a_factory_without_roles_is_split(own: Own) -> None:
    Path("mydata.py").write_text(ROLES)
    data = _quantize(own, "small", "mydata.py:listed")
    assert (data["data"]["calibration"]["images"], data["data"]["evaluation"]["images"]) == (16, 34)


def test_a_factory_without_test_images_calibrates(own: Own) -> None:
    Path("mydata.py").write_text(ROLES)
    assert _quantize(own, "small", "mydata.py:without_test", "--eval-images", 0)["accuracy"] is None


def _pictures(shared: Shared, root: Path, count: int) -> None:
    """CIFAR-10 as an image folder: one folder for each class."""
    records = np.fromfile(shared.records / "test_batch.bin", np.uint8).reshape(-1, RECORD_BYTES)[:count]
    for index, record in enumerate(records):
        folder = root / f"class{record[0]}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(record[1:].reshape(3, 32, 32).transpose(1, 2, 0)).save(folder / f"{index:04}.png")


def test_an_image_folder_gives_what_the_record_files_give(shared: Shared) -> None:
    _pictures(shared, Path("pictures") / "val", 100)
    _pictures(shared, Path("pictures") / "train", 50)
    in_folder = shared.network("resnet20", "pictures")
    by_folder = _accuracy(in_folder, 100)
    by_records = _accuracy(shared.network("resnet20"), 100)
    assert by_folder == by_records
    data = ptq(in_folder, "--eval-images", 100, "--calib-images", 50).data
    assert data["data"]["kind"] == "image-folder"
    assert data["accuracy"]["float"]["top1"] == by_records["top1"]


def _accuracy(network: tuple[object, ...], images: int) -> dict[str, Any]:
    """Of the float network."""
    done = amctq_here("evaluate", *network, "--eval-images", images, "--json")
    assert done.code == 0, done.stderr
    accuracy = done.data["accuracy"]
    assert isinstance(accuracy, dict)
    return accuracy


def test_keras_style_npz(shared: Shared) -> None:
    records = np.fromfile(shared.records / "test_batch.bin", np.uint8).reshape(-1, RECORD_BYTES)[:100]
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    np.savez("cifar.npz", x_train=pixels[:50], y_train=records[:50, :1], x_test=pixels, y_test=records[:, :1])
    by_npz = _accuracy(shared.network("resnet20", "cifar.npz"), 100)
    assert by_npz == _accuracy(shared.network("resnet20"), 100)


def _resnet20(shared: Shared, *more: object) -> dict[str, Any]:
    return ptq(shared.network("resnet20"), "--eval-images", 0, "--force", *more).data


def test_the_written_configuration_gives_the_same_file(shared: Shared, own: Own) -> None:
    # At placement ort a Dense has a scale for each channel, which AMCT's configuration cannot say.
    _resnet20(shared, "--placement", "ascend", "--config", own.config)
    for name in ("resnet20_quant.onnx", "config.json", "calibration_record.txt"):
        assert Path("results", name).read_bytes() == own.config.with_name(name).read_bytes()


@pytest.mark.slow
def test_the_written_record_gives_the_same_file_without_calibration(shared: Shared) -> None:
    alone = ("--no-bias-correction", "--placement", "ascend")  # what a record can say
    _resnet20(shared, "--output-dir", "one", *alone)
    data = _resnet20(shared, "--output-dir", "two", "--record", "one/calibration_record.txt")
    assert Path("one/resnet20_quant.onnx").read_bytes() == Path("two/resnet20_quant.onnx").read_bytes()
    assert data["quantization"]["from"] == "record"
    assert not Path("two/config.json").exists()
    assert "calibration" not in data["timing"]["seconds"]


def test_parts_can_be_left_in_float(shared: Shared) -> None:
    """A cell, what is behind another one, and the last layer; the configuration that the run writes says the same."""
    options = ("--skip-layer", "layer1", "--skip-layer", "layer2.0.conv?", "--skip-after", "layer3.2.conv1")
    data = _resnet20(shared, *options, "--float-head")
    in_float = {layer["name"]: layer["reason"] for layer in data["quantization"]["left_in_float"]}
    assert in_float == {
        **{f"layer1.{block}.conv{conv}": "skipped by --skip-layer layer1" for block in range(3) for conv in (1, 2)},
        **{f"layer2.0.conv{conv}": "skipped by --skip-layer layer2.0.conv?" for conv in (1, 2)},
        **dict.fromkeys(("layer3.2.conv2", "end_point"), "skipped by --skip-after layer3.2.conv1"),
    }
    config = json.loads(Path("results/config.json").read_text())
    assert {name for name, layer in config.items() if isinstance(layer, dict) and not layer["quant_enable"]} == {
        *in_float
    }
    again = ptq(
        shared.network("resnet20"), "--dry-run", "--config", "results/config.json", "--output-dir", "again"
    ).data
    assert {layer["name"] for layer in again["layers"] if not layer["quantized"]} == {*in_float}


def test_float_head_is_the_last_layer(shared: Shared) -> None:
    plan = ptq(shared.network("resnet20"), "--dry-run", "--float-head").data
    found = {layer["name"]: layer["why_in_float"] for layer in plan["layers"] if not layer["quantized"]}
    assert found == {"end_point": "skipped by --float-head"}


@pytest.mark.slow
def test_symmetric_and_per_tensor(shared: Shared) -> None:
    data = _resnet20(shared, "--act-symmetric", "--per-tensor", "--eval-images", 100)
    layers = data["quantization"]["layers"]
    assert {layer["offset_d"] for layer in layers} == {0}
    assert {layer["weight_scales"] for layer in layers} == {1}
    assert data["accuracy"]["int8"]["top1"] > 85


def test_batch_num_of_the_configuration_counts_batches(shared: Shared, own: Own) -> None:
    config = json.loads(own.config.read_text()) | {"batch_num": 3}
    Path("config.json").write_text(json.dumps(config))
    data = _resnet20(shared, "--config", "config.json", "--batch-size", 16)
    assert data["data"]["calibration"]["images"] == 48


@pytest.mark.slow
def test_resnet50_at_its_trained_size(shared: Shared) -> None:
    options = ("--image-size", 32, "--calib-images", 320, "--batch-size", 100)
    accuracy = ptq(shared.network("resnet50"), *options).data["accuracy"]
    assert accuracy["float"]["top1"] == 75.02
    assert accuracy["top1_drop"] <= 0.5


def test_the_official_resnet50_runs_at_224(shared: Shared) -> None:
    few = ("--calib-images", 4, "--batch-size", 4, "--eval-images", 0)
    data = ptq(shared.network("resnet50"), "--allow-poor-float", *few).data
    assert data["model"]["input_shape"] == [3, 224, 224]
    assert len(data["quantization"]["layers"]) == 54
    assert data["files"]["onnx"]["ratio"] < 0.26
    assert data["model"]["preprocessing"]["mean"] == [0.4914, 0.4822, 0.4465]
