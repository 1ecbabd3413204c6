"""Placement ``ort``: where floats end and integers begin, on the patterns of transformers and mobile networks."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacementPlan, Site
from amctq.graph.placement_ort import place_ort
from amctq.graph.topology import read_topology
from tests.graph.graphs import float_graph, quoted

# (N, 3, 8, 8) to (N, 16, 12): 16 tokens of 12 values.
TOKENS = """
    tokens = Constant <value = int64[3] {0, 12, 16}> ()
    rows = Constant <value = int64[2] {-1, 12}> ()
    again = Constant <value = int64[3] {-1, 16, 12}> ()
    p = Conv <strides = [2, 2]> (image, patch.weight)
    q = Reshape (p, tokens)
    x = Transpose <perm = [0, 2, 1]> (q)
"""
END = """
    e = ReduceMean <axes = [1], keepdims = 0> (y)
    logits = Gemm <transB = 1> (e, head.weight)
"""
SHAPES = {
    "patch": (12, 3, 2, 2),
    "fc1": (12, 12),
    "fc2": (12, 12),
    "head": (5, 12),
    "wide": (12, 12, 3, 3),
    "gamma": (12,),
    "beta": (12,),
}


def _graph(body: str) -> FloatGraph:
    random = np.random.default_rng(1)
    arrays: dict[str, NDArray[np.float32]] = {}
    for name, shape in SHAPES.items():
        full = name if name in {"gamma", "beta"} else f"{name}.weight"
        if full in body:
            arrays[full] = random.normal(0, 0.3, shape).astype(np.float32)
    return float_graph(quoted(body, arrays), arrays)


def _ort(graph: FloatGraph, *, attention: bool = False) -> PlacementPlan:
    return place_ort(graph, read_topology(graph), attention=attention)


def _sites(plan: PlacementPlan) -> dict[str, Site]:
    return {site.tensor: site for site in plan.sites}


def _kinds(names: frozenset[str]) -> list[str]:
    return sorted(name.lstrip("0123456789") for name in names)


def test_a_product_yields_floats_where_a_float_operator_reads_it() -> None:
    """LayerNorm, Dense, GELU, Dense, residual: only the inputs of both Dense are quantized."""
    graph = _graph(
        TOKENS
        + """
        n = LayerNormalization (x, gamma, beta)
        a = Reshape (n, rows)
        b = Gemm <transB = 1> (a, fc1.weight)
        c = Tanh (b)
        d = Gemm <transB = 1> (c, fc2.weight)
        f = Reshape (d, again)
        y = Add (x, f)
        """
        + END
    )
    plan = _ort(graph)
    sites = _sites(plan)
    # The convolution has integers behind it, and these are rearranged before they become floats.
    assert list(sites) == ["image", "p", "n", "c", "e"]
    assert plan.integers == frozenset()
    assert _kinds(plan.moves) == ["Reshape", "Reshape", "Transpose"]
    assert not sites["p"].only_integers
    assert all(sites[name].only_integers for name in "nce")
    assert sites["c"].bounds == (-1.0, 1.0)


def test_a_float_tensor_that_float_operators_read_too_keeps_its_values() -> None:
    """The residual of a ConvNeXt: its sum goes on in float, and a copy of it is quantized for the convolution."""
    graph = _graph(
        """
        a = Conv <pads = [1, 1, 1, 1]> (image, stem.weight)
        """.replace("stem", "patch")
        + """
        t = Tanh (a)
        b = Transpose <perm = [0, 2, 3, 1]> (t)
        c = Conv <pads = [1, 1, 1, 1]> (t, wide.weight)
        d = Tanh (c)
        y = Add (t, d)
        f = Conv (y, wide.weight)
        g = Tanh (f)
        h = GlobalAveragePool (g)
        e = Flatten (h)
        s = ReduceMean <axes = [1, 2], keepdims = 0> (b)
        i = Add (e, s)
        logits = Gemm <transB = 1> (i, head.weight)
        """
    )
    sites = _sites(_ort(graph))
    assert {"a", "t", "c", "y", "f"} <= sites.keys()
    assert sites["t"].only_integers
    assert sites["y"].only_integers


def test_attention_is_quantized_symmetrically_only_on_demand() -> None:
    graph = _graph(
        TOKENS
        + """
        n = LayerNormalization (x, gamma, beta)
        a = Reshape (n, rows)
        b = Gemm <transB = 1> (a, fc1.weight)
        k = Reshape (b, again)
        t = Transpose <perm = [0, 2, 1]> (k)
        m = MatMul (k, t)
        w = Softmax (m)
        y = MatMul (w, k)
        """
        + END
    )
    assert "w" not in _sites(_ort(graph))
    plan = _ort(graph, attention=True)
    sites = _sites(plan)
    assert {name for name, site in sites.items() if site.symmetric} == {"b", "w"}
    assert _kinds(plan.integers) == ["MatMul", "MatMul"]
    assert "Softmax" not in _kinds(plan.moves)


def test_a_layer_at_the_end_is_float_at_run_time() -> None:
    """Its output would have to be quantized, and it is the network's."""
    graph = _graph(
        """
        a = Conv <strides = [2, 2]> (image, patch.weight)
        b = Relu (a)
        c = GlobalAveragePool (b)
        d = Conv <pads = [1, 1, 1, 1]> (c, wide.weight)
        logits = Flatten (d)
        """
    )
    plan = _ort(graph)
    assert [layer.name for layer in plan.float_layers] == ["wide"]
    assert "network's output" in plan.float_layers[0].reason
    sites = _sites(plan)
    assert sites["c"].layers == ("wide",)
    assert not sites["c"].written


def test_numbers_stay_in_float() -> None:
    """A tensor of rank 0 has no axis of images to observe; the number of images is one."""
    graph = _graph(
        """
        a = Conv <strides = [2, 2]> (image, patch.weight)
        b = Relu (a)
        axis = Constant <value = int64[1] {0}> ()
        row = Constant <value = int64[1] {1}> ()
        n = Shape <start = 0, end = 1> (image)
        i = Squeeze (n, axis)
        k = Cast <to = 1> (i)
        c = Mul (b, k)
        d = Conv <pads = [1, 1, 1, 1]> (c, wide.weight)
        m = ReduceMax <keepdims = 0> (d)
        l = Reshape (m, row)
        e = Mul (d, l)
        f = Conv <pads = [1, 1, 1, 1]> (e, wide.weight)
        g = GlobalAveragePool (f)
        h = Flatten (g)
        logits = Gemm <transB = 1> (h, head.weight)
        """
    )
    sites = _sites(_ort(graph))
    assert {"c", "d", "e"} <= sites.keys()
    assert not {"k", "m"} & sites.keys()


def test_the_time_grows_linearly() -> None:
    def seconds(layers: int) -> float:
        lines = ["a0 = Conv (image, patch.weight)"]
        for index in range(layers):
            lines += [
                f"b{index} = Conv <pads = [1, 1, 1, 1]> (a{index}, wide.weight)",
                f"c{index} = Add (a{index}, b{index})",
                f"a{index + 1} = Relu (c{index})",
            ]
        lines += [
            f"p = GlobalAveragePool (a{layers})",
            "q = Flatten (p)",
            "logits = Gemm <transB = 1> (q, head.weight)",
        ]
        graph = _graph("\n".join(lines))
        topology = read_topology(graph)
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            place_ort(graph, topology)
            best = min(best, time.perf_counter() - began)
        return best

    short, long = seconds(100), seconds(800)
    assert long < 30 * short
