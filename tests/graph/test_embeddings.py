"""Which constant matrices are embedding tables, and which of them stay in float."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.graph.float_graph import FloatGraph
from amctq.graph.topology import read_topology
from amctq.quant.layers import EmbeddingTable
from tests.graph.graphs import float_graph, quoted

_HEAD = "i = Cast <to = 7> (image) {} logits = Gemm <transB = 1> (e, head.weight)"


def _graph(lookup: str, *shape: int, name: str = "words.embedding_table") -> FloatGraph:
    """``e``, of shape (N, 40), comes from a table of ``shape``."""
    arrays = {
        name: np.ones(shape, np.float32),
        "head.weight": np.ones((3, 40), np.float32),
        "one": np.array([1]),
        "flat": np.array([-1, 40]),
    }
    body = _HEAD.format(lookup)
    return float_graph(quoted(body, arrays), arrays, image="N")


def test_a_table_has_the_name_of_its_cell() -> None:
    topology = read_topology(_graph("e = Gather (words.embedding_table, i)", 50, 40))
    assert topology.tables == (EmbeddingTable(name="words", weight="words.embedding_table", nodes=("1Gather",)),)
    assert topology.left_in_float == ()


def test_a_table_that_is_read_twice_is_one() -> None:
    lookup = "d = Gather (words.embedding_table, i) f = Gather (words.embedding_table, i) e = Add (d, f)"
    (table,) = read_topology(_graph(lookup, 50, 40)).tables
    assert table.nodes == ("1Gather", "2Gather")


def test_a_table_that_is_the_matrix_of_a_layer_too_has_another_name() -> None:
    """A tied last layer quantizes its own copy."""
    lookup = "d = Gather (words.weight, i) t = Transpose <perm = [1, 0]> (words.weight) e = Gemm (d, t)"
    topology = read_topology(_graph(lookup, 40, 40, name="words.weight"))
    assert [layer.name for layer in topology.layers] == ["words", "head"]
    assert [table.name for table in topology.tables] == ["words.weight"]


@pytest.mark.parametrize(
    ("lookup", "shape", "reason"),
    [
        ("e = Gather (words.embedding_table, i)", (20, 40), "20 rows of 40, too small"),
        ("d = Gather (words.embedding_table, i) e = Reshape (d, flat)", (500, 8), "500 rows of 8, too small"),
        (
            "d = Gather (words.embedding_table, i) s = ReduceSum (words.embedding_table, one) m = Mul (d, s) "
            "e = Reshape (m, flat)",
            (50, 40),
            "that 3Mul reads too",
        ),
        (
            "r = Reshape (image, flat) p = MatMul (r, words.embedding_table) d = Gather (words.embedding_table, i) "
            "q = Mul (image, words.embedding_table) e = Add (d, p)",
            (40, 40),
            "that 4Mul reads too",
        ),
    ],
    ids=["small", "short rows", "computed from it", "read in float"],
)
def test_why_a_table_stays_in_float(lookup: str, shape: tuple[int, int], reason: str) -> None:
    topology = read_topology(_graph(lookup, *shape))
    assert topology.tables == ()
    assert [layer.name for layer in topology.left_in_float] == ["words"]
    assert reason in topology.left_in_float[0].reason


@pytest.mark.parametrize(
    "lookup",
    [
        "d = Gather (words.embedding_table, one) c = Reshape (d, flat) e = Mul (c, image)",
        "d = Gather <axis = 1> (words.embedding_table, i) e = Reshape (d, flat)",
    ],
    ids=["constant numbers", "columns"],
)
def test_what_is_no_table(lookup: str) -> None:
    topology = read_topology(_graph(lookup, 50, 40))
    assert (topology.tables, topology.left_in_float) == ((), ())


def test_amct_has_no_place_for_a_table() -> None:
    topology = read_topology(_graph("e = Gather (words.embedding_table, i)", 50, 40))
    within = topology.within_amct("--record cannot hold it")
    assert within.tables == ()
    (left,) = within.left_in_float
    assert (left.name, left.reason) == ("words", "an embedding table (--record cannot hold it)")
    assert topology.within_amct("--config cannot hold it", but={"words"}) == topology
