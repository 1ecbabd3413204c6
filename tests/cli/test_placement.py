"""Both placements on a real network: what runs in integers, how exact it is, and what stands in the files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from amctq.amct_files.record_text import load_record
from amctq.inference.onnx_session import OnnxSession
from tests.arrays import logits_of
from tests.command import Own, Shared
from tests.kernels import optimised
from tests.runs import ptq

# What onnxruntime's operators in integers are called, those that move integers included.
INTEGER = {"QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool", "QGemm", "NhwcMaxPool"}
MOVES = {"Pad", "Slice", "Flatten", "Transpose", "Reshape", "MaxPool"}


@pytest.mark.parametrize("model", ["resnet20", "resnet50"])
def test_no_float_lies_between_integer_layers(model: str, shared: Shared) -> None:
    size = ["--image-size", 64] if model == "resnet50" else []
    done = ptq(shared.network(model), *size, "--calib-images", 4, "--eval-images", 0, "--batch-size", 4)
    assert done.data["quantization"]["placement"] == "ort"  # the default
    graph = optimised(onnx.load(Path("results") / f"{model}_quant.onnx"), Path()).graph
    operators = Counter(node.op_type for node in graph.node)
    assert set(operators) <= INTEGER | MOVES | {"QuantizeLinear"}
    assert operators["QuantizeLinear"] == 1
    float_layers = {"resnet20": (19, 9), "resnet50": (53, 16)}[model]
    assert (operators["QLinearConv"], operators["QLinearAdd"]) == float_layers
    # From the image's quantizer to the logits: whatever is read was made by an operator in integers.
    makers = {name: node.op_type for node in graph.node for name in node.output}
    constants = {item.name for item in graph.initializer}
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    assert first.input[0] == graph.input[0].name
    for node in graph.node:
        if node is not first:
            read = [name for name in node.input if name and name not in constants]
            assert read
            assert all(makers[name] in INTEGER | MOVES | {"QuantizeLinear"} for name in read)


def test_a_file_for_amx_computes_the_same(shared: Shared) -> None:
    """The layers of 512 products and more have weights with the zero point -1; every sum is as it was."""
    files = {}
    for name, words in (("amx", ()), ("vnni", ("--arq-rule", "narrow"))):
        few = ("--calib-images", 8, "--eval-images", 0, "--output-dir", name)
        done = ptq(shared.network("resnet20"), *few, "--isa", name, *words)
        assert done.data["quantization"]["arq_rule"] == "narrow"
        files[name] = onnx.load(Path(name) / "resnet20_quant.onnx")
    arrays = {
        name: {item.name: numpy_helper.to_array(item) for item in file.graph.initializer}
        for name, file in files.items()
    }
    shifted = 0
    for name, stored in arrays["vnni"].items():
        if name.endswith(".weight.q"):
            assert stored.min() >= -127
            difference = stored.astype(int) - arrays["amx"][name]
            assert (difference == (stored[0].size >= 512)).all()
            shifted += int(difference.max())
    assert shifted == 5  # layer3 but its first convolution, which has 288
    images = np.random.default_rng(1).normal(0, 1, (16, 3, 32, 32)).astype(np.float32)
    one, other = (logits_of(OnnxSession(file), images) for file in files.values())
    np.testing.assert_array_equal(one, other)


def test_the_further_scales_stand_apart_from_the_record(shared: Shared, own: Own) -> None:
    """The record of a run with placement ascend, which calibrates on the same images."""
    options = ("--eval-images", 0, "--batch-size", 50, "--placement", "ort", "--output-dir", "ort")
    # Rounded weights take part in the calibration, and without VNNI placement ort has a rule of its own for them.
    ptq(shared.network("resnet20"), *options, "--isa", "vnni")
    one, two = (load_record(path).layers for path in (Path("ort/calibration_record.txt"), own.record))
    # onnxruntime fuses fewer operators where more tensors are watched, and rounds otherwise.
    assert [entry.activation.scale for entry in one] == pytest.approx([e.activation.scale for e in two], rel=1e-5)
    assert [entry.activation.offset for entry in one] == [entry.activation.offset for entry in two]
    assert not own.record.with_name("placement.json").exists()
    document = json.loads(Path("ort/placement.json").read_text())
    assert document["placement"] == "ort"
    # Of each of nine additions the operand that no layer reads, and what the pooling reads.
    assert len(document["tensors"]) == 10
    assert all(entry["scale"] > 0 and -128 <= entry["offset"] <= 127 for entry in document["tensors"])
    assert document["tensors"][0]["after"] == "layer1.0.conv2"
    assert document["tensors"][-1]["offset"] == -128  # behind a ReLU


@pytest.mark.slow
def test_a_record_has_placement_ascend(shared: Shared) -> None:
    network = shared.network("resnet20")
    alone = ("--no-bias-correction", "--placement", "ascend")  # what a record can say
    ptq(network, "--calib-images", 8, "--eval-images", 0, *alone)
    again = ("--record", "results/calibration_record.txt", "--eval-images", 0, "--output-dir", "again")
    assert ptq(network, *again).data["quantization"]["placement"] == "ascend"
    assert Path("again/resnet20_quant.onnx").read_bytes() == Path("results/resnet20_quant.onnx").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["ort", "ascend"])
def test_both_agree_with_mindspore_s_own_operators(placement: str, shared: Shared) -> None:
    options = ("--calib-images", 32, "--eval-images", 500, "--placement", placement)
    data = ptq(shared.network("resnet20"), *options).data
    assert data["simulation"]["images"] == 256
    assert data["simulation"]["argmax_differences"] <= 3
    assert data["accuracy"]["int8"]["top1"] >= data["accuracy"]["float"]["top1"] - 1


def test_weights_that_leave_no_room_for_amx_are_told(shared: Shared) -> None:
    words = ("--isa", "amx", "--arq-rule", "amct", "--eval-images", 0, "--calib-images", 8)
    warnings = ptq(shared.network("resnet20"), *words).data["warnings"]
    assert any("hold -128" in text and "--arq-rule narrow" in text for text in warnings)
