"""Between which layers a channel may have a factor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.graph.scalable_pairs import scalable_pairs
from amctq.graph.topology import read_topology
from tests.graph.graphs import float_graph, quoted

RANDOM = np.random.default_rng(0)
ARRAYS: dict[str, NDArray[Any]] = {
    name: RANDOM.normal(size=shape).astype(np.float32)
    for name, shape in {
        "a.weight": (4, 3, 3, 3),
        "b.weight": (4, 1, 3, 3),
        "grouped.weight": (6, 2, 1, 1),
        "turned.weight": (4, 5, 2, 2),
        "end.weight": (5, 4),
        "rows.weight": (5, 144),
        "matrix.weight": (6, 4),
        "next.weight": (5, 3),
    }.items()
} | {
    "zero": np.array(0, np.float32),
    "one": np.array(1, np.float32),
    "six": np.array(6, np.float32),
    "low": np.array(-1, np.float32),
}
END = "p = GlobalAveragePool (z) f = Flatten (p) logits = Gemm <transB = 1> (f, end.weight)"
DEPTHWISE = "z = Conv <group = 4> (y, b.weight)"

# What stands behind the first convolution, which yields x; and the pairs, each with its cap.
CASES: dict[str, tuple[str, list[tuple[str, str, float]]]] = {
    "nothing": (f"y = Identity (x) {DEPTHWISE} {END}", [("a", "b", math.inf), ("b", "end", math.inf)]),
    "relu": (f"y = Relu (x) {DEPTHWISE} {END}", [("a", "b", math.inf), ("b", "end", math.inf)]),
    "relu6": (f"y = Clip (x, zero, six) {DEPTHWISE} {END}", [("a", "b", 6.0), ("b", "end", math.inf)]),
    "half a clip": (f"y = Clip (x, zero) {DEPTHWISE} {END}", [("a", "b", math.inf), ("b", "end", math.inf)]),
    "another lower end": (f"y = Clip (x, low, six) {DEPTHWISE} {END}", [("b", "end", math.inf)]),
    "two clips": (
        f"u = Clip (x, zero, six) y = Clip (u, zero, one) {DEPTHWISE} {END}",
        [("a", "b", 1.0), ("b", "end", math.inf)],
    ),
    "pooled": (
        f"u = Relu (x) y = MaxPool <kernel_shape = [2, 2]> (u) {DEPTHWISE} {END}",
        [("a", "b", math.inf), ("b", "end", math.inf)],
    ),
    "a function that is not linear": (f"y = Sigmoid (x) {DEPTHWISE} {END}", [("b", "end", math.inf)]),
    "read by two": (
        f"y = Relu (x) u = {DEPTHWISE[4:]} v = MaxPool <kernel_shape = [3, 3]> (y) z = Add (u, v) {END}",
        [],
    ),
    "grouped": (
        "y = Relu (x) z = Conv <group = 2> (y, grouped.weight) f = ReduceMean <axes = [2, 3], keepdims = 0> (z) "
        "u = Slice (f, starts, ends, axes) logits = Gemm <transB = 1> (u, end.weight)",
        [("a", "grouped", math.inf)],
    ),
    "mean": (
        "y = Relu (x) f = ReduceMean <axes = [2, 3], keepdims = 0> (y) logits = Gemm <transB = 1> (f, end.weight)",
        [("a", "end", math.inf)],
    ),
    "transposed": (
        f"y = Relu (x) u = ConvTranspose (y, turned.weight) z = Slice (u, starts, ends, axes) {END}",
        [("a", "turned", math.inf)],
    ),
    "a clip behind the mean": (
        "p = GlobalAveragePool (x) f = Flatten (p) u = Clip (f, zero, six) logits = Gemm <transB = 1> (u, end.weight)",
        [("a", "end", 6.0)],
    ),
    "positions flattened": ("y = Relu (x) f = Flatten (y) logits = Gemm <transB = 1> (f, rows.weight)", []),
    "the last axis is no channel": (
        "y = Relu (x) u = MatMul (y, matrix.weight) f = Flatten (u) logits = Identity (f)",
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_pairs(name: str) -> None:
    body, expected = CASES[name]
    arrays = ARRAYS | {"starts": np.array([0]), "ends": np.array([4]), "axes": np.array([1])}
    graph = float_graph(quoted(f"x = Conv (image, a.weight) {body}", arrays), arrays)
    found = [(pair.first, pair.second, pair.cap) for pair in scalable_pairs(graph, read_topology(graph))]
    assert found == expected


def test_a_skipped_layer_is_in_no_pair() -> None:
    graph = float_graph(quoted(f"x = Conv (image, a.weight) y = Relu (x) {DEPTHWISE} {END}", ARRAYS), ARRAYS)
    topology = read_topology(graph)
    assert [pair.first for pair in scalable_pairs(graph, topology.only({"a", "end"}))] == []
