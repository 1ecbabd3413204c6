"""Outputs that depend on a choice among values, such as which are the largest."""

from __future__ import annotations

from amctq.graph.float_graph import FloatGraph

_CHOICES = frozenset({"ArgMax", "ArgMin", "Hardmax", "NonMaxSuppression", "NonZero", "TopK", "Unique"})


def chosen_outputs(graph: FloatGraph) -> frozenset[str]:
    """The outputs that depend on a choice. Where two values are nearly equal, the smallest change exchanges them."""
    chosen: set[str] = set()
    for node in graph.model.graph.node:
        if node.op_type in _CHOICES or not chosen.isdisjoint(node.input):
            chosen.update(node.output)
    return frozenset(chosen.intersection(graph.outputs))
