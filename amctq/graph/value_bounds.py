"""Known bounds of tensors: what the operator that yields a tensor lets through, whatever the images are."""

from __future__ import annotations

import math

import onnx

from amctq.graph.float_graph import FloatGraph, attributes_of

Bounds = tuple[float, float]

UNBOUNDED: Bounds = (-math.inf, math.inf)
_RANGES: dict[str, Bounds] = {
    "Erf": (-1.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Softplus": (0.0, math.inf),
    "Tanh": (-1.0, 1.0),
}
# Every value that they yield is one that they read, or lies between some of these.
BETWEEN_INPUTS = frozenset(
    """
    DepthToSpace Expand Flatten Gather GatherElements GlobalAveragePool GlobalMaxPool Identity MaxPool ReduceMax
    ReduceMean ReduceMin Reshape Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze
    """.split()
)
# They may add zeros to the values that they read.
_WITH_ZERO = frozenset({"AveragePool", "Pad"})


def value_bounds(graph: FloatGraph) -> dict[str, Bounds]:
    """The lowest and the highest possible value of every tensor that has a bound."""
    found: dict[str, Bounds] = {}
    for node in graph.model.graph.node:
        bounds = _bounds(node, graph, found)
        if bounds != UNBOUNDED:
            found.update(dict.fromkeys(filter(None, node.output), bounds))
    return found


def clip_limits(node: onnx.NodeProto, graph: FloatGraph) -> Bounds:
    """The limits of a Relu or Clip; infinite where it has none, or where they are no constants."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    limits = [graph.arrays.get(name) if name else None for name in [*node.input[1:], "", ""][:2]]
    low, high = (default if limit is None else float(limit) for limit, default in zip(limits, UNBOUNDED, strict=True))
    return low, high


def _bounds(node: onnx.NodeProto, graph: FloatGraph, known: dict[str, Bounds]) -> Bounds:
    if node.op_type in _RANGES:
        return _RANGES[node.op_type]
    if not node.input:
        return UNBOUNDED
    low, high = known.get(node.input[0], UNBOUNDED)
    if node.op_type in {"Relu", "Clip"}:
        lowest, highest = clip_limits(node, graph)
        return min(max(low, lowest), highest), max(min(high, highest), lowest)
    if node.op_type in BETWEEN_INPUTS:
        return low, high
    if node.op_type == "Resize" and attributes_of(node).get("mode", b"nearest") != b"cubic":
        return low, high
    if node.op_type in _WITH_ZERO and (node.op_type != "Pad" or len(node.input) < 3):
        return min(low, 0.0), max(high, 0.0)
    if node.op_type == "Concat":
        every = [known.get(name, UNBOUNDED) for name in node.input]
        return min(low for low, _ in every), max(high for _, high in every)
    return UNBOUNDED
