"""Which outputs are differences of larger values."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.graph.rounding import coarse_outputs
from tests.graph.graphs import float_graph

ARRAYS = {
    "half": np.asarray([0.5], np.float32),
    "mask": np.asarray([-1e9], np.float32),
    "small": np.asarray([1e-10], np.float32),
}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Flatten (image) logits = Sigmoid (a)", 1.0),
        ("a = Sigmoid (image) b = Mul (a, half) c = Mul (b, a) logits = Flatten (c)", 0.5),
        ("a = Sigmoid (image) b = Div (a, half) logits = Flatten (b)", 1.0),
        ("a = Sigmoid (image) b = Mul (a, small) logits = Flatten (b)", 1e-10),
        ("a = Sigmoid (image) b = Mul (a, image) logits = Flatten (b)", None),
        ("a = Flatten (image) logits = Sub (a, half)", 0.5),
        ("a = Add (image, mask) b = Mul (a, small) logits = Flatten (b)", 1e-10),
        ("a = Flatten (image) logits = Mul (a, small)", None),
        ("a = Flatten (image) logits = Clip (a)", None),
    ],
)
def test_the_size_that_the_last_digits_come_from(body: str, expected: float | None) -> None:
    assert coarse_outputs(float_graph(body, ARRAYS)).get("logits") == pytest.approx(expected)
