"""How coarse the values of outputs are at the least: where they are computed as differences of larger ones."""

from __future__ import annotations

import math

import numpy as np
import onnx

from amctq.graph.float_graph import FloatGraph
from amctq.graph.value_bounds import BETWEEN_INPUTS

# Near their limits, kernels compute them as a difference from 1: a Sigmoid of 4e-6 has no more than two digits.
_FROM_ONE = frozenset({"HardSigmoid", "Sigmoid", "Softplus"})
_PASSED_ON = BETWEEN_INPUTS | {"AveragePool", "Cast", "Resize"}
_JOINED = frozenset({"Concat", "Max", "Min", "Where"})
# No larger size is believed: of a mask of -1e9, nothing remains in what is not masked.
_LARGEST = 1.0


def coarse_outputs(graph: FloatGraph) -> dict[str, float]:
    """By output, the size of the values that its last digits come from, where these may be larger than its own."""
    found: dict[str, float] = {}
    for node in graph.model.graph.node:
        size = _size(node, graph, found)
        if size:
            found.update(dict.fromkeys(filter(None, node.output), min(size, _LARGEST)))
    return {name: found[name] for name in graph.outputs if name in found}


def _size(node: onnx.NodeProto, graph: FloatGraph, found: dict[str, float]) -> float:
    """The size for one node's outputs; 0 where its values are as precise as what it reads."""
    if node.op_type in _FROM_ONE:
        return 1.0
    sizes = [found.get(name, 0.0) for name in node.input]
    if node.op_type in _PASSED_ON:
        return sizes[0]
    if node.op_type in _JOINED:
        return max(sizes)
    if node.op_type in {"Add", "Sub"}:
        return max(*sizes, *(_largest(name, graph) for name in node.input))
    if node.op_type == "Mul":  # a gate on other values is as precise as these
        return math.prod(found.get(name) or _largest(name, graph) for name in node.input)
    if node.op_type == "Div":
        divisor = graph.arrays.get(node.input[1], np.zeros(1))
        smallest = float(np.abs(divisor).min(initial=math.inf))
        return sizes[0] / smallest if smallest else 0.0
    return 0.0


def _largest(name: str, graph: FloatGraph) -> float:
    """The largest size of a constant; 0 for other tensors."""
    array = graph.arrays.get(name)
    return 0.0 if array is None or array.dtype.kind != "f" else float(np.abs(array).max(initial=0.0))
