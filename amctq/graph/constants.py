"""Constant tensors that a graph computes from its parameters, such as a transposed or divided weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator


def constant_nodes(model: onnx.ModelProto) -> tuple[onnx.NodeProto, ...]:
    """The nodes that read constants only, in the order of execution."""
    known = {item.name for item in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.input and known.issuperset(filter(None, node.input)):
            found.append(node)
            known.update(node.output)
    return tuple(found)


def computed_constants(model: onnx.ModelProto, initializers: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """The values of the tensors that ``constant_nodes`` yield, by name.

    Args:
        model: the graph.
        initializers: values of its initializers by name.
    """
    nodes = constant_nodes(model)
    if not nodes:
        return {}
    outputs = [name for node in nodes for name in node.output]
    read = {name for node in nodes for name in node.input} & initializers.keys()
    graph = helper.make_graph(
        nodes,
        "constants",
        [],
        [helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in outputs],
        initializer=[item for item in model.graph.initializer if item.name in read],
    )
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=list(model.opset_import)))
    return dict(zip(outputs, evaluator.run(None, {}), strict=True))
