"""What is different on an NPU: the parts that a CPU can try, and under the marker ``ascend`` the whole."""

from __future__ import annotations

from pathlib import Path

import mindspore
import numpy as np
import pytest
from mindspore import Tensor

from amctq.backends.ascend import end_half_precision, use_half_precision
from amctq.choices import Device
from amctq.inference.proof import forward_tolerance
from amctq.pretrained import CHECKPOINT
from tests.amct.standin_path import on_an_npu
from tests.backends.test_simulation import network_of
from tests.command import amctq


def test_half_precision_ends_without_a_trace(tmp_path: Path) -> None:
    cell = network_of("Small", tmp_path).cell
    images = Tensor(np.random.default_rng(1).normal(size=(2, 3, 32, 32)).astype(np.float32))
    before = cell(images).asnumpy()
    use_half_precision(cell)
    half = cell(images).asnumpy()
    end_half_precision(cell)
    after = cell(images).asnumpy()
    assert after.dtype == np.float32
    np.testing.assert_array_equal(before, after)
    assert not np.array_equal(before, half.astype(np.float32))
    end_half_precision(cell)
    assert mindspore.get_context("device_target") == "CPU"


def test_an_npu_may_differ_more_from_onnxruntime() -> None:
    assert forward_tolerance(Device.CPU) < forward_tolerance(Device.ASCEND) < 0.1


@pytest.mark.slow
def test_the_way_of_an_npu_through_the_commands(pictures: Path) -> None:
    """With float16 in the training, on a machine whose NPU is a CPU."""
    data = ("--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8", "--device", "ascend", "--json")
    done = amctq("qat", *data, "--epochs", "1", "--batch-size", "16", env=on_an_npu(with_amct=False))
    assert done.code == 0, done.stderr
    report = done.envelope["data"]
    assert report["environment"]["device"] == "ascend"
    assert report["quantization"]["backend_reason"] == "amct_mindspore is not installed"
    assert report["accuracy"]["int8"]["top1"] > 80
    assert all(check["passed"] for check in report["checks"])


@pytest.mark.ascend
def test_ptq_on_an_npu_writes_what_a_cpu_writes(pictures: Path) -> None:
    data = ("--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8", "--backend", "native", "--json")
    for device in ("cpu", "ascend"):
        done = amctq("ptq", *data, "--device", device, "--output-dir", device)
        assert done.code == 0, done.stderr
    for name in ("resnet8_quant.onnx", "calibration_record.txt", "config.json"):
        assert Path("cpu", name).read_bytes() == Path("ascend", name).read_bytes()


@pytest.mark.ascend
def test_qat_on_an_npu_trains_and_exports(pictures: Path) -> None:
    data = ("--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8", "--backend", "native", "--json")
    done = amctq("qat", *data, "--device", "ascend", "--epochs", "2", "--batch-size", "16", timeout=1200)
    assert done.code == 0, done.stderr
    report = done.envelope["data"]
    assert report["accuracy"]["int8"]["top1"] > 80
    assert all(check["passed"] for check in report["checks"])
