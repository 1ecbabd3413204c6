"""What is behind a tensor, and which layers are the last: a detector in small."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from amctq.errors import UsageError
from amctq.graph.float_graph import FloatGraph
from amctq.graph.float_parts import last_layers, layers_after
from amctq.graph.placement_ort import place_ort
from amctq.graph.topology import read_topology
from tests.graph.graphs import float_graph, quoted

# image ─ stem ─ neck ─┬─ box ─ Softmax ─ dfl (0, 1, 2, 3) ─ Mul ─┬─ Concat ─ logits
#                      └─ score ─ Sigmoid ────────────────────────┘
NODES = {
    "stem.conv.Conv2D": "a = Conv (image, stem.conv.weight)",
    "stem.act.Sigmoid": "b = Sigmoid (a)",
    "stem.Mul": "c = Mul (a, b)",
    "neck.0.Conv2D": "d = Conv (c, neck.0.weight)",
    "neck.1.ReLU": "e = Relu (d)",
    "head.box.Conv2D": "f = Conv (e, head.box.weight)",
    "head.Softmax": "g = Softmax <axis = 1> (f)",
    "head.dfl.conv.Conv2D": "h = Conv (g, head.dfl.conv.weight)",
    "head.Mul": "i = Mul (h, stride)",
    "head.score.Conv2D": "j = Conv (e, head.score.weight)",
    "head.Sigmoid": "k = Sigmoid (j)",
    "head.Concat": "logits = Concat <axis = 1> (i, k)",
}
LAYERS = ["stem.conv", "neck.0", "head.box", "head.dfl.conv", "head.score"]


def _detector(table: NDArray[np.float32] | None = None, products: str = "") -> FloatGraph:
    random = np.random.default_rng(1)
    shapes = {"stem.conv": (8, 3, 1, 1), "neck.0": (6, 8, 1, 1), "head.box": (4, 6, 1, 1), "head.score": (2, 6, 1, 1)}
    arrays = {f"{name}.weight": random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["head.dfl.conv.weight"] = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1) if table is None else table
    arrays["stride"] = np.asarray(8, np.float32)
    body = "\n".join(NODES.values())
    graph = float_graph(quoted(f"{body}\n{products}", arrays), arrays)
    for node, name in zip(graph.model.graph.node, NODES, strict=False):
        node.name = name
    return graph


@pytest.mark.parametrize(
    ("name", "behind"),
    [
        ("image", LAYERS),
        ("stem", LAYERS[1:]),
        ("stem.conv", LAYERS[1:]),
        ("c", LAYERS[1:]),
        ("neck.0", LAYERS[2:]),
        ("neck", LAYERS[2:]),
        ("e", LAYERS[2:]),
        ("head.box", ["head.dfl.conv"]),
        ("f", ["head.dfl.conv"]),
    ],
)
def test_layers_behind_a_layer_a_cell_or_a_tensor(name: str, behind: list[str]) -> None:
    graph = _detector()
    assert list(layers_after(graph, read_topology(graph), name)) == behind


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("nek", "no layer, cell or tensor of that name", "did you mean neck?"),
        ("head.scor", "no layer, cell or tensor of that name", "did you mean head.score?"),
        ("imag", "no layer, cell or tensor of that name", "did you mean image?"),
        ("hea", "no layer, cell or tensor of that name", "did you mean head?"),
        ("", "no layer, cell or tensor of that name", "expected one of image"),
        ("head", "no layer is behind it", "leave the option out"),
        ("logits", "no layer is behind it", "leave the option out"),
        ("head.score", "no layer is behind it", "leave the option out"),
    ],
)
def test_what_names_nothing_is_refused(name: str, message: str, hint: str) -> None:
    graph = _detector()
    with pytest.raises(UsageError) as caught:
        layers_after(graph, read_topology(graph), name)
    assert caught.value.message.startswith(f"--skip-after {name}: ")
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


def test_a_table_is_no_last_layer() -> None:
    graph = _detector()
    last = last_layers(graph, read_topology(graph))
    assert last.predictions == ("head.box", "head.score")
    assert last.tables == ("head.dfl.conv",)


@pytest.mark.parametrize("weights", [[0, 1, 2, 4], [1, 2, 3, 4], [0, 0, 0, 0], [0, 1.01, 2, 3]])
def test_other_weights_are_no_table(weights: list[float]) -> None:
    graph = _detector(np.asarray(weights, np.float32).reshape(1, 4, 1, 1))
    last = last_layers(graph, read_topology(graph))
    assert last.predictions == ("head.dfl.conv", "head.score")
    assert last.tables == ()


def test_a_table_in_front_of_layers_is_one_of_them() -> None:
    """Weights 0, 1, 2, … in front of a layer may be anything."""
    graph = _detector()
    weight = next(item for item in graph.model.graph.initializer if item.name == "neck.0.weight")
    counts = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1).repeat(6, axis=0)
    weight.CopyFrom(onnx.numpy_helper.from_array(counts, weight.name))
    last = last_layers(graph, read_topology(graph))
    assert "neck.0" not in (*last.predictions, *last.tables)


def test_a_layer_in_float_is_not_passed() -> None:
    graph = _detector()
    topology = read_topology(graph)
    last = last_layers(graph, topology.leaving_in_float({"head.score": "no kernel"}, "a test"))
    assert last.predictions == ("head.box",)


@pytest.mark.parametrize("attention", [False, True])
def test_nothing_behind_the_last_layer_becomes_integers(attention: bool) -> None:
    """With the last layers in float, the decoding is in float as a whole, products of two activations too."""
    graph = _detector(products="l = Transpose (logits) m = MatMul (logits, l)")
    graph.model.graph.output[0].name = "m"
    topology = read_topology(graph)
    kept = topology.only(("stem.conv", "neck.0"))
    plan = place_ort(graph, kept, attention=attention)
    assert {site.tensor for site in plan.sites} == {"image", "a", "b", "c", "e"}
    assert not {name for name in (*plan.integers, *plan.moves) if name.startswith("head")}
