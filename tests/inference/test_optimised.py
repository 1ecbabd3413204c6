"""What onnxruntime makes of the exported file: nothing between two integer layers is in float unless it is named."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from amctq.choices import ActType
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.inference.onnx_session import OnnxSession, session_options
from amctq.inference.optimised import float_operators, optimised_graph
from amctq.quant.numerics import Float32Array
from tests.export.quantized import quantize_ort
from tests.graph.graphs import float_graph, quoted

Level = onnxruntime.GraphOptimizationLevel
IMAGES = np.random.default_rng(5).normal(size=(6, 3, 8, 8)).astype(np.float32)

# Behind a convolution that yields x, and in front of one that reads y: 8 channels, 8 x 8.
PATTERNS = {
    "relu6": "y = Clip (x, zero, six)",
    "hard tanh": "y = Clip (x, minus, one)",
    "clip without zero": "y = Clip (x, one, six)",
    "silu": "s = Sigmoid (x) y = Mul (x, s)",
    "hswish": "y = HardSwish (x)",
    "hswish by hand": "p = Add (x, three) q = Clip (p, zero, six) r = Div (q, six) y = Mul (x, r)",
    "minus": "p = Sub (x, channels) y = Relu (p)",
    "leaky": "y = LeakyRelu <alpha = 0.1> (x)",
    "residual": "p = Conv (x, point.weight) y = Add (x, p)",
    "residual and relu": "p = Conv (x, point.weight) q = Add (x, p) y = Relu (q)",
    "relu beside": "p = Relu (x) q = Conv (p, point.weight) y = Add (x, q)",
    "squeeze and excite": """
        p = GlobalAveragePool (x) q = Conv (p, point.weight) r = Relu (q) s = Conv (r, point2.weight)
        t = Sigmoid (s) y = Mul (x, t)
    """,
    "hard squeeze and excite": """
        p = GlobalAveragePool (x) q = Conv (p, point.weight) t = HardSigmoid <alpha = 0.16666667, beta = 0.5> (q)
        y = Mul (x, t)
    """,
    "shuffle": """
        p = Reshape (x, grouped) q = Transpose <perm = [0, 2, 1, 3, 4]> (p) y = Reshape (q, back)
    """,
    "split and concat": "p, q = Split <axis = 1> (x) r = Conv (p, half.weight) y = Concat <axis = 1> (r, q)",
    "parts": "p, q = Split <axis = 1> (x) y = Concat <axis = 1> (q, p)",
    "dense block": """
        p = BatchNormalization (x, bn.gamma, bn.beta, bn.mean, bn.variance) r = Relu (p) q = Conv (r, point.weight)
        y = Concat <axis = 1> (x, q)
    """,
    "max pool": "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)",
    "average pool": "y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (x)",
    "average pool with pads": "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)",
    "upsample": 'y = Resize <mode = "nearest"> (x, , scales)',
    "depth to space": "y = DepthToSpace <blocksize = 2> (x)",
    "space to depth": "y = SpaceToDepth <blocksize = 2> (x)",
    "gather": "y = Gather <axis = 1> (x, order)",
    "depthwise": "p = Conv <group = 8> (x, depthwise.weight) y = Clip (p, zero, six)",
}
# The same, where something stays in float: with the operators that are named.
FLOAT_PATTERNS = {
    "instance norm": ("y = InstanceNormalization (x, bn.gamma, bn.beta)", ["InstanceNormalization"]),
    "gelu": (
        "p = Div (x, root) q = Erf (p) r = Add (q, one) s = Mul (x, r) y = Mul (s, half)",
        ["Erf"],
    ),
    "few channels a group": ("p = Conv <group = 4, pads = [1, 1, 1, 1]> (x, grouped.weight) y = Relu (p)", ["Conv"]),
    "transposed": ("y = ConvTranspose (x, transposed.weight)", ["ConvTranspose"]),
}


def _network(pattern: str, channels: int = 8) -> FloatGraph:
    random = np.random.default_rng(1)

    def array(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 0.3, shape).astype(np.float32)

    arrays = {
        "stem.weight": array(8, 3, 3, 3),
        "point.weight": array(8, 8, 1, 1),
        "point2.weight": array(8, 8, 1, 1),
        "half.weight": array(4, 4, 1, 1),
        "depthwise.weight": array(8, 1, 3, 3),
        "grouped.weight": array(8, 2, 3, 3),
        "transposed.weight": array(8, 8, 2, 2),
        "dense.weight": array(8, 8),
        "last.weight": array(6, channels, 1, 1),
        "fc.weight": array(5, 6),
        "channels": array(8, 1, 1),
        "vector": array(8),
        "row": array(1, 8),
        "bn.gamma": array(8) + 1,
        "bn.beta": array(8),
        "bn.mean": array(8),
        "bn.variance": np.abs(array(8)) + np.float32(0.1),
        **{name: np.asarray(value, np.float32) for name, value in CONSTANTS.items()},
    }
    body = f"""
        grouped = Constant <value = int64[5] {{0, 2, 4, 8, 8}}> ()
        back = Constant <value = int64[4] {{0, 8, 8, 8}}> ()
        image_again = Constant <value = int64[4] {{0, 8, 1, 1}}> ()
        order = Constant <value = int64[8] {{3, 1, 2, 0, 7, 6, 5, 4}}> ()
        x = Conv <pads = [1, 1, 1, 1]> (image, stem.weight)
        {pattern}
        z = Conv (y, last.weight)
        u = Relu (z)
        v = GlobalAveragePool (u)
        w = Flatten (v)
        logits = Gemm <transB = 1> (w, fc.weight)
    """
    names = {name for name in arrays if "." in name}
    return float_graph(quoted(body, {name: arrays[name] for name in names}), _read(arrays, body))


CONSTANTS = {
    "zero": 0.0,
    "one": 1.0,
    "minus": -1.0,
    "three": 3.0,
    "six": 6.0,
    "half": 0.5,
    "root": 2.0**0.5,
    "scales": [1.0, 1.0, 2.0, 2.0],
}
CHANNELS = {"dense block": 16, "depth to space": 2, "space to depth": 32}


def _read(arrays: dict[str, NDArray[np.float32]], body: str) -> dict[str, NDArray[np.float32]]:
    return {name: array for name, array in arrays.items() if name in body}


def _noise(graph: FloatGraph, actual: NDArray[np.float32]) -> float:
    """Of the logits, relative to what they should be."""
    expected = OnnxSession(graph.model).logits(IMAGES)
    return float(np.sqrt(np.mean((actual - expected) ** 2) / np.mean((expected - expected.mean()) ** 2)))


@pytest.mark.parametrize("act_type", [ActType.UINT8, ActType.INT8])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_nothing_between_two_layers_is_in_float(pattern: str, act_type: ActType) -> None:
    graph = _network(PATTERNS[pattern], CHANNELS.get(pattern, 8))
    model = build_qdq(graph, *quantize_ort(graph, IMAGES), act_type=act_type)
    assert _noise(graph, OnnxSession(model).logits(IMAGES)) < 0.05
    if act_type is ActType.UINT8:
        content = model.SerializeToString()
        assert float_operators(content, {}) == ()
        counts = Counter(node.op_type for node in optimised_graph(content).node)
        assert counts["QuantizeLinear"] == 1 + (pattern in {"relu beside"})


@pytest.mark.parametrize("pattern", FLOAT_PATTERNS)
def test_what_stays_in_float_is_named(pattern: str) -> None:
    body, expected = FLOAT_PATTERNS[pattern]
    graph = _network(body)
    quantized = quantize_ort(graph, IMAGES)
    model = build_qdq(graph, *quantized)
    assert _noise(graph, OnnxSession(model).logits(IMAGES)) < 0.05
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
    graph = _network(pattern)
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
    graph = _network(f"""
        i = GlobalAveragePool (x) j = Flatten (i) k = MatMul (j, dense.weight) l = Add (k, {vector})
        m = Tanh (l) y = Reshape (m, image_again)
    """)
    model = build_qdq(graph, *quantize_ort(graph, IMAGES))
    assert _noise(graph, OnnxSession(model).logits(IMAGES)) < 0.05
    kinds = Counter(node.op_type for node in optimised_graph(model.SerializeToString()).node)
    assert kinds["QGemm"] + kinds["MatMulIntegerToFloat"] == 2
    assert not kinds["Gemm"]
