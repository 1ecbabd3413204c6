"""What onnxruntime makes of the exported file: nothing between two integer layers is in float unless it is named."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from amctq.choices import ActType, WeightType
from amctq.errors import CheckError
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.inference.onnx_session import OnnxSession, session_options
from amctq.inference.optimised import float_operators, optimised_graph
from amctq.inference.saturation import may_saturate
from amctq.quant.numerics import Float32Array
from tests.arrays import logits_of
from tests.export.quantized import quantize_ort
from tests.graph.patterns import CHANNELS, FLOAT_PATTERNS, IMAGES, PATTERNS, network

Level = onnxruntime.GraphOptimizationLevel


def _noise(graph: FloatGraph, actual: NDArray[np.float32]) -> float:
    """Of the logits, relative to what they should be."""
    expected = logits_of(OnnxSession(graph.model), IMAGES)
    return float(np.sqrt(np.mean((actual - expected) ** 2) / np.mean((expected - expected.mean()) ** 2)))


@pytest.mark.parametrize("act_type", [ActType.UINT8, ActType.INT8])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_nothing_between_two_layers_is_in_float(pattern: str, act_type: ActType) -> None:
    graph = network(PATTERNS[pattern], CHANNELS.get(pattern, 8))
    model = build_qdq(graph, *quantize_ort(graph, IMAGES), act_type=act_type)
    assert _noise(graph, logits_of(OnnxSession(model), IMAGES)) < 0.05
    if act_type is ActType.UINT8:
        content = model.SerializeToString()
        assert float_operators(content, {}) == ()
        counts = Counter(node.op_type for node in optimised_graph(content).node)
        assert counts["QuantizeLinear"] == 1 + (pattern in {"relu beside"})


@pytest.mark.parametrize("pattern", FLOAT_PATTERNS)
def test_what_stays_in_float_is_named(pattern: str) -> None:
    body, expected = FLOAT_PATTERNS[pattern]
    graph = network(body)
    quantized = quantize_ort(graph, IMAGES)
    model = build_qdq(graph, *quantized)
    assert _noise(graph, logits_of(OnnxSession(model), IMAGES)) < 0.05
    reasons = {layer.name: layer.reason for layer in quantized[1].plan.float_layers}
    found = float_operators(model.SerializeToString(), reasons)
    assert {operator.op.removeprefix("Fused") for operator in found} >= set(expected)
    assert all(operator.reason for operator in found)


@pytest.mark.parametrize("skipped", ["point", "transposed", "grouped", "dense"])
def test_a_skipped_layer_is_really_float(skipped: str) -> None:
    """onnxruntime would quantize its float weights by itself, per tensor, because integers are before and behind it."""
    pattern = {
        "point": "p = Conv (x, point.weight) y = Relu (p)",
        "transposed": "p = ConvTranspose (x, transposed.weight) y = Relu (p)",
        "grouped": "p = Conv <group = 4> (x, grouped.weight) y = Relu (p)",
        "dense": """
            o = GlobalAveragePool (x) p = Flatten (o) q = Gemm <transB = 1> (p, dense.weight) r = Relu (q)
            y = Reshape (r, image_again)
        """,
    }[skipped]
    graph = network(pattern)
    quantized = quantize_ort(graph, IMAGES, only={"stem", "last", "fc"})
    model = build_qdq(graph, *quantized)
    content = model.SerializeToString()
    kinds = {node.op_type.removeprefix("Fused") for node in optimised_graph(content).node}
    assert {"transposed": "ConvTranspose", "dense": "Gemm"}.get(skipped, "Conv") in kinds
    found = float_operators(content, {})
    assert "its weights stay in float" in {operator.reason for operator in found}
    # Its numbers are those of the file as it is written; quantized at loading, they would be wrong by 1e-3 and more.
    optimised, plain = (_logits(content, level) for level in (Level.ORT_ENABLE_ALL, Level.ORT_DISABLE_ALL))
    assert np.abs(optimised - plain).mean() < 3e-4


def _logits(content: bytes, level: onnxruntime.GraphOptimizationLevel) -> Float32Array:
    options = session_options(())
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    logits: Float32Array = session.run(None, {"image": IMAGES})[0]
    return logits


@pytest.mark.parametrize("bias", ["add (8)", "add (1, 8)"])
def test_a_product_with_an_addition_behind_it_is_an_integer_product(bias: str) -> None:
    """onnxruntime joins them to a Gemm, and computes that in float if the vector is a float."""
    vector = "vector" if bias == "add (8)" else "row"
    graph = network(f"""
        i = GlobalAveragePool (x) j = Flatten (i) k = MatMul (j, dense.weight) l = Add (k, {vector})
        m = Tanh (l) y = Reshape (m, image_again)
    """)
    model = build_qdq(graph, *quantize_ort(graph, IMAGES))
    assert _noise(graph, logits_of(OnnxSession(model), IMAGES)) < 0.05
    kinds = Counter(node.op_type for node in optimised_graph(model.SerializeToString()).node)
    assert kinds["QGemm"] + kinds["MatMulIntegerToFloat"] == 2
    assert not kinds["Gemm"]


def test_depthwise_weights_stay_int8_and_are_exact_in_a_plain_session() -> None:
    """With uint8 they would be as exact and slower; on a CPU with VNNI this cannot fail."""
    graph = network(PATTERNS["depthwise"])
    extreme = graph.with_arrays({"depthwise.weight": np.full((8, 1, 3, 3), 5.0, np.float32)})
    model = build_qdq(extreme, *quantize_ort(extreme, IMAGES), weight_type=WeightType.UINT8)
    kinds = {item.name: item.data_type for item in model.graph.initializer}
    assert kinds["depthwise.weight.q"] == onnx.TensorProto.INT8
    assert kinds["last.weight.q"] == onnx.TensorProto.UINT8
    assert not may_saturate(model)
    plain = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert plain.run(None, {"image": IMAGES})[0] == pytest.approx(
        _logits(model.SerializeToString(), Level.ORT_DISABLE_ALL), abs=1e-5
    )


def test_a_file_that_onnxruntime_does_not_load_is_a_failed_check() -> None:
    graph = network(PATTERNS["depthwise"])
    model = build_qdq(graph, *quantize_ort(graph, IMAGES))
    model.graph.node[-1].op_type = "Unheard"
    with pytest.raises(CheckError, match=r"onnxruntime does not load the graph: .*Unheard"):
        float_operators(model.SerializeToString(), {})


def test_integers_that_are_only_stored_cannot_saturate() -> None:
    """A transposed convolution is computed in float: its int8 weights are no reason for exact and slow kernels."""
    graph = network("p = ConvTranspose (x, transposed.weight) y = Relu (p)")
    model = build_qdq(graph, *quantize_ort(graph, IMAGES), weight_type=WeightType.UINT8)
    stored = {item.name: item.data_type for item in model.graph.initializer}
    assert stored["transposed.weight.q"] == onnx.TensorProto.INT8
    assert not may_saturate(model)
