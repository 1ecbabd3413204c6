"""``amctq evaluate --runtime openvino``: the same file in another runtime."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from tests.command import Finished, Shared, amctq, amctq_here, without
from tests.graph.foreign.networks import initializer, model

IMAGES = 300


@pytest.fixture
def quantized(resnet20_run: tuple[Finished, Path]) -> Path:
    """An INT8 file."""
    return resnet20_run[1] / "resnet20_quant.onnx"


def _evaluated(shared: Shared, path: Path, *more: object) -> Finished:
    return amctq_here(*("evaluate", "--dataset", shared.data, "--onnx", path, "--eval-images", IMAGES, "--json", *more))


def test_both_runtimes_give_one_accuracy(shared: Shared, quantized: Path) -> None:
    one, other = (_evaluated(shared, quantized, "--runtime", name) for name in ("onnxruntime", "openvino"))
    for done, name in ((one, "onnxruntime"), (other, "openvino")):
        assert done.code == 0, done.stderr
        assert done.data["runtime"] == name
        assert done.data["timing"]["images_per_second"] > 0
    # Where this CPU lacks VNNI, OpenVINO adds other sums than the file says.
    assert other.data["accuracy"]["top1"] == pytest.approx(one.data["accuracy"]["top1"], abs=3)


def test_a_file_for_one_batch_size_runs(shared: Shared, quantized: Path) -> None:
    proto = onnx.load(quantized)
    for item in (*proto.graph.input, *proto.graph.output):
        item.type.tensor_type.shape.dim[0].dim_value = 7
    onnx.save(proto, "seven.onnx")
    (one, other) = (_evaluated(shared, path, "--runtime", "openvino") for path in (quantized, Path("seven.onnx")))
    assert other.code == 0, other.stderr
    assert other.data["accuracy"]["top1"] == pytest.approx(one.data["accuracy"]["top1"], abs=1)


def test_without_openvino_the_run_says_what_to_install(shared: Shared, quantized: Path, tmp_path: Path) -> None:
    done = amctq(
        *("evaluate", "--dataset", shared.data, "--onnx", quantized, "--runtime", "openvino", "--eval-images", "8"),
        env=without("openvino"),
    )
    assert done.code == 4, done.stderr
    assert "pip install 'amctq[openvino]'" in done.stderr


def test_what_openvino_cannot_run_is_said(shared: Shared) -> None:
    nodes = [helper.make_node("Flatten", ["x"], ["a"]), helper.make_node("Own", ["a", "w"], ["y"], domain="mine")]
    proto = model(nodes, [initializer("w", [1.0])], shape=["N", 3, 32, 32], domains=["mine"])
    onnx.save(proto, "own.onnx")
    done = _evaluated(shared, Path("own.onnx"), "--runtime", "openvino")
    assert done.code == 3, done.stderr
    (error,) = done.envelope["errors"]
    assert "own.onnx: OpenVINO does not load the graph" in error["message"]


def test_contradictions_are_refused(shared: Shared, quantized: Path) -> None:
    for more in (("--ckpt", "x.ckpt"), ("--mindir", "x.mindir")):
        done = amctq_here("evaluate", "--dataset", shared.data, *more, "--runtime", "openvino")
        assert done.code == 2, done.stderr
        assert "--runtime openvino runs ONNX files" in done.stderr
    proto = onnx.load(quantized)
    proto.graph.node.append(helper.make_node("AscendQuant", [proto.graph.input[0].name], ["q"], scale=1.0, offset=0.0))
    onnx.save(proto, "deploy.onnx")
    done = _evaluated(shared, Path("deploy.onnx"), "--runtime", "openvino")
    assert done.code == 2, done.stderr
    assert "deploy.onnx is a deploy file" in done.stderr


def test_doctor_knows_openvino() -> None:
    done = amctq_here("doctor", "--require", "openvino", "--json")
    assert done.code == 0, done.stderr
    assert done.data["findings"]["openvino"]["value"] == done.data["versions"]["openvino"]
