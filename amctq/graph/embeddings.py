"""Finding the embedding tables of a network: constant matrices from which rows are picked by number."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx

from amctq.graph.float_graph import FloatGraph, attributes_of
from amctq.quant.layers import EmbeddingTable, FloatLayer

# Below these, the scales and the operators that multiply by them take about as much as int8 saves.
_FEWEST_ELEMENTS = 1024
_SHORTEST_ROW = 16
_PARAMETER_NAMES = ("embedding_table", "weight")  # what nn.Embedding and mint.nn.Embedding call theirs


def read_embeddings(
    graph: FloatGraph, taken: Collection[str]
) -> tuple[tuple[EmbeddingTable, ...], tuple[FloatLayer, ...]]:
    """Find the tables whose rows are picked by what the network is given, in the order of execution.

    Args:
        graph: the float network.
        taken: names of its layers; a table with such a name has that of its parameter.

    Returns:
        The tables that can be quantized, and those that stay in float, with the reason.
    """
    nodes: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.model.graph.node:
        if _looks_up(node, graph):
            nodes.setdefault(node.input[0], []).append(node)
    tables, in_float = [], []
    for weight, readers in nodes.items():
        cell, _, parameter = weight.rpartition(".")
        name = cell if cell and parameter in _PARAMETER_NAMES and cell not in taken else weight
        reason = _reason_for_float(weight, {node.name for node in readers}, graph)
        if reason is None:
            tables.append(EmbeddingTable(name=name, weight=weight, nodes=tuple(node.name for node in readers)))
        else:
            in_float.append(FloatLayer(name=name, reason=reason))
    return tuple(tables), tuple(in_float)


def _looks_up(node: onnx.NodeProto, graph: FloatGraph) -> bool:
    """Whether a node picks rows of a constant float matrix by numbers that are not constant."""
    if node.op_type != "Gather" or node.input[0] not in graph.arrays or node.input[1] in graph.arrays:
        return False
    table = graph.arrays[node.input[0]]
    return table.ndim == 2 and table.dtype == np.float32 and attributes_of(node).get("axis", 0) in {0, -2}


def _reason_for_float(weight: str, lookups: Collection[str], graph: FloatGraph) -> str | None:
    """Why a table stays in float whatever the target; None where it is quantized."""
    table = graph.arrays[weight]
    rows, width = table.shape
    if table.size < _FEWEST_ELEMENTS or width < _SHORTEST_ROW:
        return f"an embedding table of {rows:,} rows of {width}, too small to gain from int8"
    if not np.isfinite(table).all():
        return "an embedding table with NaN or infinity"
    other = _read_in_float(weight, lookups, graph)
    return None if other is None else f"an embedding table that {other} reads too, in float"


def _read_in_float(constant: str, lookups: Collection[str], graph: FloatGraph) -> str | None:
    """A node that would keep a constant in the file in float; None where there is none.

    The matrix of a layer, such as a tied last one, is quantized as that layer's, also where it is computed first.
    """
    for node in graph.consumers.get(constant, ()):
        if node.output[0] in graph.arrays:
            found = (_read_in_float(name, lookups, graph) for name in node.output)
            if (other := next(filter(None, found), None)) is not None:
                return other
        elif node.name not in lookups and node.op_type not in {"Gemm", "MatMul"}:
            return str(node.name)
    return None
