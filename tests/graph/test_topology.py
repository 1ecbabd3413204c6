"""Reading the exported graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from amctq.errors import InputError
from amctq.graph.topology import fuse, read_topology
from amctq.quant.layers import LayerKind
from tests.graph.graphs import float_graph, residual_graph

W3 = np.ones((4, 3, 3, 3), np.float32)


def test_layers_partners_and_shared_inputs() -> None:
    graph = residual_graph()
    topology = read_topology(graph)
    names = [layer.name for layer in topology.layers]
    assert names == ["conv1", "left", "right", "end_point"]
    by_name = {layer.name: layer for layer in topology.layers}
    assert by_name["conv1"].batch_norm is not None
    assert by_name["conv1"].batch_norm.gamma == "bn1.gamma"
    assert by_name["right"].batch_norm is None
    assert by_name["left"].input == by_name["right"].input
    assert by_name["end_point"].kind is LayerKind.DENSE
    assert [layer.input for layer in topology.layers] == ["image", "c", "c", "j"]
    assert topology.left_in_float == ()


def test_fusion_is_batch_norm_after_convolution() -> None:
    graph = residual_graph()
    fused = fuse(graph, read_topology(graph))["conv1"]
    weight, gamma, beta, mean, variance = (
        graph.arrays[name].astype(np.float64)
        for name in ("conv1.weight", "bn1.gamma", "bn1.beta", "bn1.moving_mean", "bn1.moving_variance")
    )
    patch = np.random.default_rng(1).normal(size=weight.shape[1:])
    before = (weight * patch).sum(axis=(1, 2, 3))
    expected = (before - mean) / np.sqrt(variance + np.float32(0.001)) * gamma + beta
    assert fused.bias is not None
    assert (fused.weight * patch).sum(axis=(1, 2, 3)) + fused.bias == pytest.approx(expected, abs=1e-5)


def test_a_negative_variance_is_refused() -> None:
    graph = float_graph(
        "a = Conv <pads = [1, 1, 1, 1]> (image, w) b = BatchNormalization (a, g, g, g, v) c = Flatten (b) "
        "logits = Gemm <transB = 1> (c, d)",
        {"w": W3, "g": W3[:, 0, 0, 0], "v": -W3[:, 0, 0, 0], "d": np.ones((2, 256), np.float32)},
    )
    with pytest.raises(InputError, match=r"layer w: .* NaN"):
        fuse(graph, read_topology(graph))


@pytest.mark.parametrize(
    ("attributes", "shape", "reason"),
    [
        ("dilations = [2, 2], pads = [2, 2, 2, 2]", (4, 3, 3, 3), "dilation"),
        ("group = 3, pads = [1, 1, 1, 1]", (6, 1, 3, 3), "grouped"),
    ],
    ids=["dilated", "grouped"],
)
def test_what_amct_cannot_quantize_is_float_within_its_limits_only(
    attributes: str, shape: tuple[int, ...], reason: str
) -> None:
    graph = float_graph(
        f"a = Conv <{attributes}> (image, w) b = Flatten (a) logits = Gemm <transB = 1> (b, v)",
        {"w": np.ones(shape, np.float32), "v": np.ones((2, shape[0] * 64), np.float32)},
    )
    topology = read_topology(graph)
    assert [layer.name for layer in topology.layers] == ["w", "v"]
    assert topology.left_in_float == ()
    within = topology.within_amct("--export ascend cannot hold it")
    assert [layer.name for layer in within.layers] == ["v"]
    (left,) = within.left_in_float
    assert left.name == "w"
    assert reason in left.reason
    assert "--export ascend" in left.reason
    assert topology.within_amct("--config", but={"w"}) == topology


def test_depthwise_convolutions_are_quantized() -> None:
    graph = float_graph(
        "a = Conv <group = 3, pads = [1, 1, 1, 1]> (image, w) b = Flatten (a) logits = Gemm <transB = 1> (b, v)",
        {"w": np.ones((3, 1, 3, 3), np.float32), "v": np.ones((2, 192), np.float32)},
    )
    assert [layer.name for layer in read_topology(graph).layers] == ["w", "v"]


def test_reused_weights_are_two_layers_but_not_for_amct() -> None:
    graph = float_graph(
        "a = Flatten (image) b = Gemm <transB = 1> (a, w) c = Gemm <transB = 1> (b, w) "
        "logits = Gemm <transB = 1> (c, v)",
        {"w": np.ones((192, 192), np.float32), "v": np.ones((2, 192), np.float32)},
    )
    topology = read_topology(graph)
    assert [layer.name for layer in topology.layers] == ["w", "w:2", "v"]
    within = topology.within_amct("a record cannot hold it")
    assert [layer.name for layer in within.layers] == ["v"]
    assert [layer.name for layer in within.left_in_float] == ["w", "w:2"]


@pytest.mark.parametrize(
    ("graph", "arrays", "axis"),
    [
        ("t = Transpose <perm = [1, 0]> (w) logits = Gemm (a, t)", {"w": np.ones((5, 192), np.float32)}, 1),
        ("t = Transpose <perm = [1, 0]> (w) logits = MatMul (a, t)", {"w": np.ones((5, 192), np.float32)}, 1),
        (
            "t, u = Split <axis = 0> (w, n) logits = Gemm <transB = 1> (a, t)",
            {"w": np.ones((7, 192), np.float32), "n": np.array([5, 2])},
            0,
        ),
    ],
    ids=["gemm", "matmul", "split"],
)
def test_weights_that_the_graph_computes_are_weights(
    graph: str, arrays: dict[str, np.ndarray[Any, Any]], axis: int
) -> None:
    found = float_graph(f"a = Flatten (image) {graph}", arrays)
    (layer,) = read_topology(found).layers
    assert (layer.name, layer.channel_axis) == ("w", axis)
    assert fuse(found, read_topology(found))["w"].weight.shape == (5, 192)
    assert layer.beyond_amct == "its weights are computed from parameters"


@pytest.mark.parametrize("product", ["Mul (g, w)", "Sub (g, w)", "Add (w, g)"])
def test_a_computed_weight_has_the_name_of_its_largest_part(product: str) -> None:
    graph = float_graph(
        f"t = {product} a = Flatten (image) logits = Gemm <transB = 1> (a, t)",
        {"w": np.ones((5, 192), np.float32), "g": np.ones((5, 1), np.float32)},
    )
    assert [layer.name for layer in read_topology(graph).layers] == ["w"]


@pytest.mark.parametrize(
    ("node", "arrays", "reason"),
    [
        (
            "s = Unsqueeze (a, z) y = LSTM <hidden_size = 2> (s, w, r) l = Squeeze (y, o)",
            {"w": np.ones((1, 8, 192)), "r": np.ones((1, 8, 2)), "z": np.array([0]), "o": np.array([0, 1])},
            "recurrent",
        ),
        ('l = Einsum <equation = "nc,cd->nd"> (a, w)', {"w": np.ones((192, 2))}, "einsum"),
    ],
)
def test_weights_of_other_operators_are_said_to_be_in_float(
    node: str, arrays: dict[str, np.ndarray[Any, Any]], reason: str
) -> None:
    arrays = {name: item if item.dtype == np.int64 else item.astype(np.float32) for name, item in arrays.items()}
    graph = float_graph(
        f"a = Flatten (image) {node} logits = Gemm <transB = 1> (l, v)", {**arrays, "v": np.ones((2, 2), np.float32)}
    )
    topology = read_topology(graph)
    assert [layer.name for layer in topology.layers] == ["v"]
    ((name, why),) = [(layer.name, layer.reason) for layer in topology.left_in_float]
    assert name == "w"
    assert reason in why


@pytest.mark.parametrize(
    ("product", "arrays"),
    [
        ("t = MatMul (p, w)", {"p": np.ones((1, 3)), "w": np.ones((3, 2))}),
        ("t = Gemm <transB = 1> (p, w)", {"p": np.ones((1, 3)), "w": np.ones((2, 3))}),
        ("c = Conv (p, w) q = Relu (c) t = Flatten (q)", {"p": np.ones((1, 1, 3, 1)), "w": np.ones((1, 1, 2, 1))}),
    ],
    ids=["matmul", "dense", "conv"],
)
def test_a_product_whose_input_is_constant_is_said_to_be_in_float(
    product: str, arrays: dict[str, np.ndarray[Any, Any]]
) -> None:
    arrays = {name: item.astype(np.float32) for name, item in arrays.items()}
    graph = float_graph(
        f"{product} a = Flatten (image) l = Gemm <transB = 1> (a, v) logits = Add (l, t)",
        {**arrays, "v": np.ones((2, 192), np.float32)},
    )
    topology = read_topology(graph)
    assert [layer.name for layer in topology.layers] == ["v"]
    ((name, why),) = [(layer.name, layer.reason) for layer in topology.left_in_float]
    assert (name, why) == ("w", "its input is constant, and so is its result")


@pytest.mark.parametrize("cast", ["", "s = Neg (t) "], ids=["itself", "negated"])
def test_a_product_of_parameters_that_is_the_weight_of_a_layer_is_not_in_float(cast: str) -> None:
    graph = float_graph(
        f"t = MatMul (w, u) {cast}a = Flatten (image) logits = MatMul (a, {'s' if cast else 't'})",
        {"w": np.ones((192, 2), np.float32), "u": np.ones((2, 5), np.float32)},
    )
    topology = read_topology(graph)
    assert [layer.name for layer in topology.layers] == ["w"]
    assert topology.left_in_float == ()


def test_nothing_to_quantize_is_bad_input() -> None:
    graph = float_graph("logits = Flatten (image)", {})
    with pytest.raises(InputError, match="no layer to quantize"):
        read_topology(graph)


def test_a_batch_norm_that_others_read_is_not_folded() -> None:
    graph = float_graph(
        "a = Conv <pads = [1, 1, 1, 1]> (image, w) b = BatchNormalization (a, g, g, g, g) c = Add (a, b) "
        "d = Flatten (c) logits = Gemm <transB = 1> (d, v)",
        {"w": W3, "g": np.ones(4, np.float32), "v": np.ones((2, 256), np.float32)},
    )
    assert read_topology(graph).layers[0].batch_norm is None
