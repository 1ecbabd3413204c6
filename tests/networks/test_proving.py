"""Which graph is taken, and which of MindSpore's modes it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import mint

from amctq.choices import Device
from amctq.errors import CheckError
from amctq.inference.cell_session import CellSession, GraphModeSession
from amctq.networks.float_onnx import export_float
from amctq.networks.proving import ProvedGraph, first_proved
from amctq.runtime import ResolvedDevice
from tests.arrays import image, image_spec
from tests.graph.mindir.compare import Function

_CPU = ResolvedDevice(kind=Device.CPU, device_id=0, reason="", onednn_isa=None, onednn_reason="")
_IMAGES = image(np.random.default_rng(1).normal(0, 1, (3, 3, 8, 8)).astype(np.float32))


@pytest.fixture(autouse=True)
def _pynative() -> None:
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


def plain(x: Any) -> Any:
    return x.mean((2, 3)) * 3


def doubled(x: Any) -> Any:
    return x.mean((2, 3)) * 6


def in_place(x: Any) -> Any:
    """In pynative mode, MindSpore 2.10 loses the addition."""
    y = x.mean((2, 3)) * 2
    y.add_(x.mean((2, 3)))
    return y


def summed(x: Any) -> Any:
    """Has no kernel in pynative mode on a CPU."""
    return mint.einsum("nchw->nc", x)


def _proved(read: Callable[[Any], Any], own: Callable[[Any], Any], folder: Path) -> ProvedGraph:
    graph = export_float(Function(read), image_spec(3, 8, 8), folder / "float.mindir")
    network = Function(own)
    return first_proved(
        [graph], CellSession(network), _IMAGES, device=_CPU, runtime="MindSpore", compiled=GraphModeSession(network)
    )


def test_the_mode_in_which_a_network_is_trained_comes_first(tmp_path: Path) -> None:
    proved = _proved(plain, plain, tmp_path)
    assert proved.unlike is None
    assert proved.proof.runtime == "MindSpore"


@pytest.mark.parametrize(
    ("function", "unlike"), [(in_place, "differs from MindSpore"), (summed, "MindSpore cannot run this network")]
)
def test_what_only_the_graph_mode_computes(function: Callable[[Any], Any], unlike: str, tmp_path: Path) -> None:
    proved = _proved(function, function, tmp_path)
    assert unlike in str(proved.unlike)
    assert proved.proof.runtime == "MindSpore in graph mode"
    assert proved.proof.max_difference < 1e-5
    assert mindspore.get_context("mode") == mindspore.PYNATIVE_MODE


def test_a_graph_that_differs_from_both_modes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match=r"differs from MindSpore by 0\.5 of the largest value"):
        _proved(plain, doubled, tmp_path)
