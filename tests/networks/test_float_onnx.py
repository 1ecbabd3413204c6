"""The export of the float network."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, ops

from amctq.choices import Device
from amctq.errors import InputError
from amctq.inference.cell_session import CellSession
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.proof import prove_forward
from amctq.networks import float_onnx
from amctq.networks.float_onnx import export_float, float_graphs, mindir_of
from amctq.networks.mindir import export_plain
from amctq.networks.mindir_model import MindirModel
from amctq.networks.proving import first_proved
from amctq.networks.registry import REGISTRY
from amctq.runtime import ResolvedDevice
from tests.arrays import image, image_spec
from tests.graph.mindir.compare import Function

_CPU = ResolvedDevice(kind=Device.CPU, device_id=0, reason="", onednn_isa=None, onednn_reason="")


def test_the_size_of_images_takes_no_memory(tmp_path: Path) -> None:
    """The export has a batch of a thousand: with values, these images would take 190 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = export_float(
        REGISTRY["resnet8"].build(10).set_train(False), image_spec(3, 4000, 4000), tmp_path / "float.mindir"
    )
    assert graph.inputs == image_spec(3, 4000, 4000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 << 20  # KiB


_TABLE = Tensor(np.random.default_rng(3).normal(0, 1, (1009, 8)).astype(np.float32))


def scaled(x: Any) -> Any:
    return x.mean((2, 3)) * 1009


def limited(x: Any) -> Any:
    return ops.clamp(x.mean((2, 3)), -2018, 1009)


def with_table(x: Any) -> Any:
    return (x + _TABLE[:8]).mean((2, 3))


def with_columns(x: Any) -> Any:
    return (x.reshape(x.shape[0], 3, 64) @ ops.ones((64, 2018)))[:, :, 7]


def by_size(x: Any) -> Any:
    return x.mean((2, 3)) * x.shape[0] + 1009


def by_size_alone(x: Any) -> Any:
    return x.mean((2, 3)) * x.shape[0] + 1013


@pytest.mark.parametrize("function", [scaled, limited, with_table, with_columns, by_size, by_size_alone])
def test_numbers_of_the_network_are_not_taken_for_the_batch(function: Callable[[Any], Any], tmp_path: Path) -> None:
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    network = Function(function)
    images = image(np.random.default_rng(1).normal(0, 1e4, (3, 3, 8, 8)).astype(np.float32))
    graphs = float_graphs(network, image_spec(3, 8, 8), tmp_path / "float.mindir")
    proved = first_proved(graphs, CellSession(network), images, device=_CPU, runtime="MindSpore")
    assert proved.proof.max_difference < 1e-5


def test_a_limit_is_right_before_any_image_reaches_it(tmp_path: Path) -> None:
    model = export_float(Function(limited), image_spec(3, 8, 8), tmp_path / "float.mindir").model
    assert "Shape" not in {node.op_type for node in model.graph.node}


def sized(x: Any) -> Any:
    n, c, h, w = x.shape
    return ops.ones((n, 1)) + x.reshape(n, c, h * w).mean(2).reshape(-1, c)


def test_one_export_is_enough_for_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    count = 0

    def counted(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return mindir_of(*arguments)

    monkeypatch.setattr(float_onnx, "mindir_of", counted)
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    network = Function(sized)
    images = image(np.random.default_rng(1).normal(0, 1, (3, 3, 8, 8)).astype(np.float32))
    graphs = float_graphs(network, image_spec(3, 8, 8), tmp_path / "float.mindir")
    first_proved(graphs, CellSession(network), images, device=_CPU, runtime="MindSpore")
    assert count == 1


def test_what_is_wrong_with_any_batch_is_exported_once_if_no_number_is_in_doubt(tmp_path: Path) -> None:
    graphs = float_graphs(Function(ops.lgamma), image_spec(3, 8, 8), tmp_path / "float.mindir")
    with pytest.raises(InputError, match="Lgamma"):
        next(graphs)


def multiplied(x: Any) -> Any:
    return x.mean((2, 3)) * 1_000_003


def test_a_file_may_hold_the_number_that_stands_for_its_batch(tmp_path: Path) -> None:
    path = tmp_path / "network.mindir"
    export_plain(Function(multiplied), image_spec(3, 8, 8), path, batch=None)
    network = MindirModel(path).network(image_spec(3, 8, 8), tmp_path)
    images = image(np.random.default_rng(1).normal(0, 1, (3, 3, 8, 8)).astype(np.float32))
    assert prove_forward(network.original, OnnxSession(network.graph.model), images).max_difference < 1e-5
