"""The independent computation of a quantized network: float operators, no integer kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from amctq.choices import ActType
from amctq.export.float_arithmetic import build_float_arithmetic
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.qdq_rules import OPENVINO, TENSORRT
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.openvino_session import OpenVinoSession
from tests import strict_tensorrt
from tests.arrays import logits_of
from tests.export.quantized import quantize_ort
from tests.graph.patterns import CHANNELS, FLOAT_PATTERNS, IMAGES, PATTERNS, network

ALL = PATTERNS | {name: body for name, (body, _) in FLOAT_PATTERNS.items()}


@pytest.mark.parametrize("pattern", ALL)
def test_it_computes_what_the_file_computes(pattern: str) -> None:
    graph = network(ALL[pattern], CHANNELS.get(pattern, 8))
    quantized = quantize_ort(graph, IMAGES)
    arithmetic = build_float_arithmetic(graph, *quantized)
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in arithmetic.graph.node}
    own = logits_of(OnnxSession(arithmetic, optimized=False), IMAGES)
    file = logits_of(OnnxSession(build_qdq(graph, *quantized)), IMAGES)
    before = logits_of(OnnxSession(graph.model), IMAGES)
    # A value on a boundary may round otherwise; what quantization itself does to the logits is far more.
    assert np.abs(own - file).mean() < 0.2 * np.abs(file - before).mean()


@pytest.mark.parametrize("symmetric", [False, True], ids=["", "symmetric"])
@pytest.mark.parametrize("pattern", ALL)
def test_files_for_openvino_compute_the_same(pattern: str, symmetric: bool) -> None:
    """In both runtimes; with weights of up to 7 bits, so that OpenVINO's sums are exact on every CPU."""
    graph = network(ALL[pattern], CHANNELS.get(pattern, 8))
    quantized = quantize_ort(graph, IMAGES, rules=OPENVINO, bits=7, symmetric=symmetric)
    own = logits_of(OnnxSession(build_float_arithmetic(graph, *quantized), optimized=False), IMAGES)
    model = build_qdq(graph, *quantized, rules=OPENVINO)
    before = logits_of(OnnxSession(graph.model), IMAGES)
    noise = np.abs(own - before).mean()
    assert np.abs(own - logits_of(OnnxSession(model, optimized=False), IMAGES)).mean() < 0.2 * noise
    # OpenVINO rounds once where a tensor is quantized twice, so that it may differ by more than a boundary.
    assert (
        np.abs(own - logits_of(OpenVinoSession(model.SerializeToString()), IMAGES)).mean()
        < (0.6 if symmetric else 0.5) * noise
    )


@pytest.mark.parametrize("pattern", ALL)
def test_files_for_tensorrt_compute_the_same_and_keep_its_rules(pattern: str) -> None:
    graph = network(ALL[pattern], CHANNELS.get(pattern, 8))
    quantized = quantize_ort(graph, IMAGES, rules=TENSORRT, symmetric=True)
    own = logits_of(OnnxSession(build_float_arithmetic(graph, *quantized), optimized=False), IMAGES)
    model = build_qdq(graph, *quantized, rules=TENSORRT, act_type=ActType.INT8)
    file = logits_of(OnnxSession(model, optimized=False), IMAGES)
    before = logits_of(OnnxSession(graph.model), IMAGES)
    assert np.abs(own - file).mean() < 0.2 * np.abs(own - before).mean()
    assert len(strict_tensorrt.read(model)) >= len(quantized[0])


def test_a_batch_norm_of_its_own_has_the_constants_that_the_file_stores() -> None:
    graph = network("p = Relu (x) y = BatchNormalization (p, bn.gamma, bn.beta, bn.mean, bn.variance)")
    quantized = quantize_ort(graph, IMAGES)
    own = _constants(build_float_arithmetic(graph, *quantized))
    file = _constants(build_qdq(graph, *quantized))
    for name, stored in (("gamma", "weight"), ("beta", "bias")):
        integers, scale = (file[f"y.{stored}.{part}"].astype(np.float64) for part in ("q", "scale"))
        np.testing.assert_allclose(own[f"y.{name}"], (integers.ravel() * scale), rtol=1e-6)


def _constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
