"""What an operator lets through, on small graphs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amctq.graph.value_bounds import value_bounds
from tests.graph.graphs import float_graph

CONSTANTS = {"zero": np.float32(0), "six": np.float32(6), "minus": np.float32(-1)}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Relu (image)", (0.0, math.inf)),
        ("y = Clip (image, zero, six)", (0.0, 6.0)),
        ("y = Clip (image, minus)", (-1.0, math.inf)),
        ("y = Clip (image, , six)", (-math.inf, 6.0)),
        ("a = Clip (image, minus, six) y = Relu (a)", (0.0, 6.0)),
        ("y = Sigmoid (image)", (0.0, 1.0)),
        ("y = Tanh (image)", (-1.0, 1.0)),
        ("a = Softmax (image) y = Transpose <perm = [0, 1, 3, 2]> (a)", (0.0, 1.0)),
        ("a = Sigmoid (image) b = Clip (image, minus, six) y = Concat <axis = 1> (a, b)", (-1.0, 6.0)),
        ("a = Sigmoid (image) y = Concat <axis = 1> (a, image)", (-math.inf, math.inf)),
        ("a = Relu (image) y = AveragePool <kernel_shape = [2, 2], pads = [1, 1, 1, 1]> (a)", (0.0, math.inf)),
        ("a = Sigmoid (image) y = Add (a, a)", (-math.inf, math.inf)),
    ],
)
def test_bounds(body: str, expected: tuple[float, float]) -> None:
    arrays = {name: np.asarray(value) for name, value in CONSTANTS.items() if name in body}
    graph = float_graph(f"{body} logits = Flatten (y)", arrays)
    found = value_bounds(graph)
    assert found.get("y", (-math.inf, math.inf)) == expected
    assert found.get("logits", (-math.inf, math.inf)) == expected
