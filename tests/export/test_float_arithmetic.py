"""The independent computation of a quantized network: float operators, no integer kernel."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.export.float_arithmetic import build_float_arithmetic
from amctq.export.qdq_onnx import build_qdq
from amctq.inference.onnx_session import OnnxSession
from tests.export.quantized import quantize_ort
from tests.graph.patterns import CHANNELS, FLOAT_PATTERNS, IMAGES, PATTERNS, network

ALL = PATTERNS | {name: body for name, (body, _) in FLOAT_PATTERNS.items()}


@pytest.mark.parametrize("pattern", ALL)
def test_it_computes_what_the_file_computes(pattern: str) -> None:
    graph = network(ALL[pattern], CHANNELS.get(pattern, 8))
    quantized = quantize_ort(graph, IMAGES)
    arithmetic = build_float_arithmetic(graph, *quantized)
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in arithmetic.graph.node}
    own = OnnxSession(arithmetic, optimized=False).logits(IMAGES)
    file = OnnxSession(build_qdq(graph, *quantized)).logits(IMAGES)
    before = OnnxSession(graph.model).logits(IMAGES)
    # A value on a boundary may round otherwise; what quantization itself does to the logits is far more.
    assert np.abs(own - file).mean() < 0.2 * np.abs(file - before).mean()
