"""What is different on an NPU: the parts that a CPU can try, and under the marker ``ascend`` the whole."""

from __future__ import annotations

from pathlib import Path

import mindspore
import numpy as np
import onnx
import pytest
from mindspore import Tensor

from amctq.backends.ascend import end_half_precision, use_half_precision
from amctq.choices import Device
from amctq.data.samples import Batches, split
from amctq.data.source import find_dataset
from amctq.errors import CheckError
from amctq.inference.cell_session import CellSession
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.proof import forward_tolerance, prove_forward
from amctq.networks.checkpoint import read_checkpoint
from amctq.networks.float_onnx import export_float
from amctq.networks.registry import find_model
from amctq.pretrained import CHECKPOINT
from amctq.runtime import load_mindspore, resolve_device
from tests.amct.standin_path import on_an_npu
from tests.arrays import image_spec
from tests.backends.test_simulation import network_of
from tests.command import amctq
from tests.runs import ptq


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


def test_the_tolerance_of_an_npu_lets_float16_pass_and_refuses_a_wrong_graph(pictures: Path, tmp_path: Path) -> None:
    """resnet8 in float16, as the cube unit multiplies: a layer whose weights are 10 % too large is still found.

    On a CPU 1 % is.
    """
    spec = find_model("resnet8")
    load_mindspore(resolve_device(Device.CPU, None), tmp_path)
    cell = spec.build(10)
    read_checkpoint(CHECKPOINT, tmp_path).load_into(cell, model=spec.name, num_classes=10)
    graph = export_float(cell, image_spec(3, 32, 32), tmp_path / "float.mindir").model
    dataset = find_dataset(str(pictures)).open(spec.preprocessing(10))
    images = Batches(samples=split(dataset, calibration_images=16, evaluation_images=0, seed=1).calibration, size=16)
    convolutions = [item.name for item in graph.graph.initializer if len(item.dims) == 4]
    assert len(convolutions) == 7

    def difference(model: onnx.ModelProto, device: Device) -> float:
        tolerance = forward_tolerance(device)
        return prove_forward(CellSession(cell), OnnxSession(model), images.first(), tolerance=tolerance).max_difference

    in_float32 = difference(graph, Device.CPU)
    for name in convolutions:
        with pytest.raises(CheckError, match="differs from MindSpore"):
            difference(_larger(graph, name, 1.01), Device.CPU)
    use_half_precision(cell)
    assert difference(graph, Device.ASCEND) > 100 * in_float32
    for name in convolutions:
        with pytest.raises(CheckError, match="differs from MindSpore"):
            difference(_larger(graph, name, 1.1), Device.ASCEND)


def _larger(model: onnx.ModelProto, name: str, factor: float) -> onnx.ModelProto:
    """The same with one parameter multiplied."""
    wrong = onnx.ModelProto.FromString(model.SerializeToString())
    (changed,) = (item for item in wrong.graph.initializer if item.name == name)
    values = onnx.numpy_helper.to_array(changed) * np.float32(factor)
    changed.CopyFrom(onnx.numpy_helper.from_array(values, name))
    return wrong


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
    network = ("--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8", "--backend", "native")
    for device in ("cpu", "ascend"):
        ptq(network, "--device", device, "--output-dir", device)
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
