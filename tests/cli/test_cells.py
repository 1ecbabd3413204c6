"""Networks whose layers MindSpore computes in many ways: MindIR and training, through the command."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command import NETWORKS, amctq
from tests.runs import ptq

SHARED_WEIGHTS = NETWORKS.with_name("shared_weights.py")


def _network(factory: str, tmp_path: Path, file: Path = NETWORKS) -> tuple[object, ...]:
    """The options for a network of a file in tests/backends with random weights, and random images."""
    import mindspore

    random = np.random.default_rng(5)
    cell = getattr(importlib.import_module(f"tests.backends.{file.stem}"), factory)(5)
    for parameter in cell.get_parameters():
        drawn = random.normal(0, 0.2, parameter.shape).astype(np.float32)
        drawn = np.abs(drawn) + np.float32(0.5) if parameter.name.endswith(("variance", "gamma")) else drawn
        parameter.set_data(mindspore.Tensor(drawn))
    mindspore.save_checkpoint(cell, str(tmp_path / "own.ckpt"))
    train, test = (random.normal(size=(size, 3, 32, 32)).astype(np.float32) for size in (16, 12))
    np.savez(tmp_path / "own.npz", x_train=train, y_train=np.arange(16) % 5, x_test=test, y_test=np.arange(12) % 5)
    options = ("--model", f"{file}:{factory}", "--num-classes", 5, "--ckpt", tmp_path / "own.ckpt")
    return *options, "--dataset", tmp_path / "own.npz", "--allow-poor-float", "--calib-images", 8


def _passed(data: dict[str, Any]) -> None:
    assert all(check["passed"] for check in data["checks"]), data["checks"]


@pytest.mark.parametrize("factory", ["transformer", "convolutions", "standardized"])
def test_mindir_holds_every_layer(factory: str, tmp_path: Path) -> None:
    data = ptq(_network(factory, tmp_path), "--export", "onnx,mindir").data
    _passed(data)
    assert data["quantization"]["left_in_float"] == []
    assert data["simulation"]["through"] == f"{factory}_quant.mindir"
    assert data["simulation"]["mean_difference"] < 1e-3


@pytest.mark.parametrize(
    ("factory", "left"), [("transformer", []), ("convolutions", []), ("standardized", []), ("own_layer", ["conv1"])]
)
def test_every_layer_with_an_operator_is_retrained(factory: str, left: list[str], tmp_path: Path) -> None:
    network = _network(factory, tmp_path)
    done = amctq("qat", *network, "--max-steps", 3, "--batch-size", 4, "--json", timeout=600)
    assert done.code == 0, done.stderr
    _passed(done.data)
    found = done.data["quantization"]["left_in_float"]
    assert [layer["name"] for layer in found] == left
    assert all("it cannot be retrained" in layer["reason"] for layer in found)


def test_a_layer_without_an_operator_stays_in_float_in_all_files(tmp_path: Path) -> None:
    network = _network("own_layer", tmp_path)
    data = ptq(network, "--export", "onnx,mindir").data
    _passed(data)
    (left,) = data["quantization"]["left_in_float"]
    assert left["name"] == "conv1"
    assert "OwnConv" in left["reason"]
    assert "--export mindir" in left["reason"]
    assert any("conv1 stays in float" in warning for warning in data["warnings"])


def test_all_uses_of_one_weight_are_one_warning(tmp_path: Path) -> None:
    data = ptq(_network("reused", tmp_path), "--export", "mindir").data
    _passed(data)
    assert [layer["name"] for layer in data["quantization"]["left_in_float"]] == ["conv2", "conv2:2"]
    (warning,) = [warning for warning in data["warnings"] if "in float" in warning]
    assert warning.startswith("conv2 and 1 more of its weight's uses stay in float: Conv2d calls the operator")


def test_without_mindir_it_is_quantized_and_float_arithmetic_checks_it(tmp_path: Path) -> None:
    data = ptq(_network("own_layer", tmp_path)).data
    _passed(data)
    assert data["quantization"]["left_in_float"] == []
    assert data["simulation"]["through"] == "float arithmetic"
    assert "exported file equals float arithmetic" in [check["name"] for check in data["checks"]]


def test_a_tied_decoder_is_trained_in_float(tmp_path: Path) -> None:
    network = _network("tied_decoder", tmp_path, SHARED_WEIGHTS)
    done = amctq("qat", *network, "--max-steps", 3, "--batch-size", 4, "--json", timeout=600)
    assert done.code == 0, done.stderr
    _passed(done.data)
    (left,) = done.data["quantization"]["left_in_float"]
    assert left["name"] == "encoder:2"
    assert "2 products read its weight" in left["reason"]
    assert any("encoder:2 stays in float" in warning for warning in done.data["warnings"])


def test_float_arithmetic_checks_the_file_where_the_users_code_refuses_integers(tmp_path: Path) -> None:
    done = ptq(_network("strict", tmp_path, SHARED_WEIGHTS), "--placement", "ascend")
    _passed(done.data)
    assert done.data["simulation"]["through"] == "float arithmetic"
