"""The check of the exported file: a computation that is wrong fails it, whichever of the two that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from amctq.backends.base import QuantizedNetwork
from amctq.choices import ExportFormat
from amctq.data.arrays import ArraySamples
from amctq.data.inputs import IMAGE
from amctq.data.samples import Batches
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.proof import ForwardProof
from amctq.inference.session import FileSession
from amctq.progress import Reporter
from amctq.quant.numerics import Float32Array
from amctq.services.run.checks import run_checks
from amctq.services.run.exports import ExportedFile, Exports
from amctq.services.run.simulation import Simulation, simulate

_RANDOM = np.random.default_rng(8)
WEIGHT = _RANDOM.normal(size=(48, 10)).astype(np.float32)
# Quantization with random weights moves the outputs far, and two right computations are nearly as far from each other.
_SHARED = _RANDOM.normal(0, 0.2, WEIGHT.shape)
ONE, OTHER = ((WEIGHT + _SHARED + _RANDOM.normal(0, 0.1, WEIGHT.shape)).astype(np.float32) for _ in range(2))


def _with_a_scaled_weight(weight: Float32Array) -> Float32Array:
    wrong = weight.copy()
    wrong[:, 3] *= 20
    return wrong


def _model(weight: Float32Array) -> onnx.ModelProto:
    """Images (N, 3, 4, 4), multiplied by a matrix."""
    nodes = [
        helper.make_node("Flatten", [IMAGE], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        initializer=[numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _file(form: ExportFormat, weight: Float32Array) -> ExportedFile:
    session = OnnxSession(_model(weight))
    return ExportedFile(
        form=form,
        name=f"net_quant{form.suffix}",
        bytes=1,
        float_bytes=1,
        session=cast("FileSession", session),
        open_float=lambda: session,
    )


@dataclass
class _Cell:
    """Stands for the exchanged cells of a live network."""

    weight: Float32Array

    def __call__(self, images: Any) -> Any:
        return SimpleNamespace(asnumpy=lambda: images.asnumpy().reshape(len(images), -1) @ self.weight)


def _simulated(file: Float32Array, other: Float32Array, *, mindir: bool) -> Simulation:
    """What is found where the ONNX file has one weight, and the MindIR file or the cells have another."""
    images = np.random.default_rng(9).normal(size=(40, 3, 4, 4)).astype(np.float32)
    samples = ArraySamples(
        pixels=images,
        labels=np.zeros(40, np.int64),
        preprocessing=None,
        sources=("random",),
        indices=np.arange(40),
    )
    onnx_file = _file(ExportFormat.ONNX, file)
    files = {ExportFormat.ONNX: onnx_file}
    if mindir:
        files[ExportFormat.MINDIR] = _file(ExportFormat.MINDIR, other)

    @contextmanager
    def simulation() -> Iterator[_Cell]:
        yield _Cell(other)

    return simulate(
        Exports(files=files, reference=onnx_file),
        cast("QuantizedNetwork", SimpleNamespace(simulation=simulation)),
        OnnxSession(_model(WEIGHT)),
        Batches(samples=samples, size=8),
        images=40,
        reporter=Reporter(),
    )


def _passed(simulation: Simulation) -> bool:
    proof = ForwardProof(images=2, max_difference=1e-6)
    checks = run_checks(proof, None, None, simulation, (np.zeros((4, 10), np.float32),), None)
    (check,) = [check for check in checks if "equals" in check.name and "graph" not in check.name]
    return check.passed


@pytest.mark.parametrize("mindir", [True, False], ids=["mindir", "cells"])
def test_two_right_computations_may_differ_as_far_as_quantization_moves_them(*, mindir: bool) -> None:
    simulation = _simulated(ONE, OTHER, mindir=mindir)
    assert simulation.exported == mindir
    assert simulation.agreement.mean_difference > 0.01
    assert simulation.noise is not None
    assert _passed(simulation)


@pytest.mark.parametrize("mindir", [True, False], ids=["mindir", "cells"])
@pytest.mark.parametrize("wrong", ["onnx", "other"])
def test_a_scaled_weight_fails_whichever_computation_has_it(wrong: str, *, mindir: bool) -> None:
    file, other = (ONE, _with_a_scaled_weight(OTHER)) if wrong == "other" else (_with_a_scaled_weight(ONE), OTHER)
    assert not _passed(_simulated(file, other, mindir=mindir))
