"""Which outputs depend on a choice among values."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.graph.choices import chosen_outputs
from tests.graph.graphs import float_graph

ARRAYS = {"k": np.asarray([2], np.float32)}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Flatten (image) b = Cast <to = 7> (k) c, d = TopK (a, b) logits = Cast <to = 1> (d)", {"logits"}),
        ("a = Flatten (image) b = ArgMax <axis = 1> (a) logits = Cast <to = 1> (b)", {"logits"}),
        ("a = ArgMax <axis = 1> (image) logits = Flatten (image)", set()),
        ("a = Flatten (image) logits = Softmax (a)", set()),
    ],
)
def test_an_output_behind_a_choice_is_chosen(body: str, expected: set[str]) -> None:
    assert chosen_outputs(float_graph(body, ARRAYS)) == expected
