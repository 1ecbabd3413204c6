"""What AMCT itself wrote for a network with an average pool that it quantizes (../shared/amct_golden/avgpool)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from amctq.inference.onnx_session import OnnxSession, onnx_session
from tests.arrays import logits_of
from tests.command import Finished, Shared, amctq
from tests.golden import golden as golden_file
from tests.runs import Runs, ptq

FEW = ("--calib-images", 16, "--eval-images", 0)
EXPORTS = ("--export", "ascend,onnx,fakequant", "--calib-images", 16, "--eval-images", 200)
# PyTorch's names of what the built-in network calls by others: its Dense, and the mean that no cell of it computes.
OWN = {"linear": "end_point", "avgpool": "ReduceMean"}


@pytest.fixture(scope="session")
def golden(shared: Shared) -> Path:
    return golden_file(shared, "avgpool")


@dataclass(frozen=True)
class Layer:
    """What a deploy file holds of a layer: integers, and the parameters of AscendQuant and AscendDequant."""

    op: str
    quant: dict[str, Any]
    weight: NDArray[Any] | None
    bias: NDArray[Any] | None
    parameter: NDArray[Any]


def layers_of(path: Path) -> dict[str, Layer]:
    model = onnx.load(path)
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    found = {}
    for dequant in model.graph.node:
        if dequant.op_type == "AscendDequant":
            node = makers[dequant.input[0]]
            quant = makers[node.input[0]]
            found[node.name] = Layer(
                op=node.op_type,
                quant={item.name: helper.get_attribute_value(item) for item in quant.attribute},
                weight=arrays[node.input[1]] if len(node.input) > 1 else None,
                bias=arrays[node.input[2]] if len(node.input) > 2 else None,
                parameter=arrays[dequant.input[1]],
            )
    return found


@pytest.fixture(scope="session")
def recorded(shared: Shared, golden: Path, runs: Runs) -> tuple[Finished, Path]:
    """One run with AMCT's record."""
    return runs.finished("ptq", *shared.network("resnet20"), "--record", golden / "record.txt", *EXPORTS, "--json")


def test_the_deploy_file_is_amcts_bit_by_bit(recorded: tuple[Finished, Path], golden: Path) -> None:
    own = layers_of(recorded[1] / "resnet20_quant_deploy.onnx")
    theirs = layers_of(golden / "resnet20_deploy_model.onnx")
    assert len(own) == len(theirs) == 21
    for name, expected in theirs.items():
        found = own[OWN.get(name, name)]
        assert found.op == expected.op
        assert found.quant == expected.quant, name
        assert found.parameter.dtype == expected.parameter.dtype
        assert np.array_equal(found.parameter, expected.parameter), name
        for one, other in ((found.weight, expected.weight), (found.bias, expected.bias)):
            assert (one is None) == (other is None), name
            if one is not None and other is not None:
                assert one.dtype == other.dtype
                assert np.array_equal(one, other), name


def test_all_files_of_the_run_agree(recorded: tuple[Finished, Path]) -> None:
    data = recorded[0].data
    assert [pool["name"] for pool in data["quantization"]["pools"]] == ["ReduceMean"]
    assert data["quantization"]["pools"][0]["offset_d"] == -128
    assert all(check["passed"] for check in data["checks"])
    assert {data["files"][form]["agreement"]["argmax_differences"] for form in ("ascend", "fakequant")} == {0}
    assert all("very small weights" in warning for warning in data["warnings"])


def test_the_written_record_quantizes_the_same(recorded: tuple[Finished, Path], shared: Shared) -> None:
    options = ("--record", recorded[1] / "calibration_record.txt", "--export", "ascend", *FEW)
    ptq(shared.network("resnet20"), *options)
    name = "resnet20_quant_deploy.onnx"
    assert Path("results", name).read_bytes() == (recorded[1] / name).read_bytes()


def test_evaluate_runs_amcts_deploy_file(golden: Path, shared: Shared) -> None:
    path = golden / "resnet20_deploy_model.onnx"
    done = amctq("evaluate", "--dataset", shared.data, "--onnx", path, "--eval-images", 300, "--json")
    assert done.code == 0, done.stderr
    assert done.data["accuracy"]["top1"] > 88
    archive = np.load(golden.parent / "calib32_uint8.npz")
    pixels = archive[archive.files[0]].astype(np.float32) / np.float32(255)
    mean, std = (
        np.asarray(values, np.float32).reshape(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    images = ((pixels - mean) / std).astype(np.float32)
    exact = logits_of(onnx_session(path.read_bytes()), images)
    # Rewritten, the graph would have the scales in its weights.
    fake = OnnxSession((golden / "resnet20_fake_quant_model.onnx").read_bytes(), optimized=False)
    assert np.array_equal(exact, logits_of(fake, images))


def _calibrated(shared: Shared, config: dict[str, Any], *more: object) -> dict[str, Any]:
    Path("config.json").write_text(json.dumps(config))
    return ptq(shared.network("resnet20"), "--config", "config.json", *more, "--eval-images", 0, "--force").data


@pytest.mark.parametrize("enabled", [True, False])
def test_the_configuration_decides(enabled: bool, golden: Path, shared: Shared) -> None:
    config = json.loads((golden / "config.json").read_text())
    config["avgpool"]["quant_enable"] = enabled
    data = _calibrated(shared, config, "--export", "ascend,onnx")
    assert len(data["quantization"]["layers"]) == 20
    assert len(data["quantization"]["pools"]) == enabled
    averages = [
        node for node in onnx.load("results/resnet20_quant_deploy.onnx").graph.node if "AveragePool" in node.op_type
    ]
    assert [node.op_type for node in averages] == ["AveragePool" if enabled else "GlobalAveragePool"]
    assert json.loads(Path("results/config.json").read_text())["ReduceMean"]["quant_enable"] is enabled


@pytest.mark.parametrize("enabled", [True, False])
def test_between_integer_operators_too(enabled: bool, golden: Path, shared: Shared) -> None:
    """Placement ort computes the mean in integers, unless the configuration leaves it in float."""
    config = json.loads((golden / "config.json").read_text())
    config["avgpool"]["quant_enable"] = enabled
    data = _calibrated(shared, config)
    assert data["quantization"]["placement"] == "ort"
    graph = onnx.load("results/resnet20_quant.onnx").graph
    makers = {name: node for node in graph.node for name in node.output}
    (mean,) = (node for node in graph.node if node.op_type == "GlobalAveragePool")
    assert (makers[mean.input[0]].op_type == "DequantizeLinear") == enabled


def test_where_a_mean_cannot_be_quantized_the_layers_still_are(golden: Path, shared: Shared) -> None:
    """In MindIR, and while retraining, which AMCT does not do with it."""
    record = ("--record", golden / "record.txt")
    done = ptq(shared.network("resnet20"), *record, "--export", "mindir", *FEW)
    assert len(done.data["quantization"]["layers"]) == 20
    assert done.data["quantization"]["pools"] == []
    assert "--record: avgpool stays in float: --export mindir cannot hold it" in done.data["warnings"]
    options = ("--max-steps", 1, "--batch-size", 16, "--eval-images", 0, "--json")
    trained = amctq("qat", *shared.network("resnet20"), *record, *options)
    assert trained.code == 0, trained.stderr
    assert "--record: avgpool stays in float: it cannot be retrained" in trained.data["warnings"]
