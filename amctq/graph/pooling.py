"""Replacing ReduceMean over height and width by GlobalAveragePool, for which integer kernels exist."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import helper

from amctq.graph.float_graph import attributes_of


def use_global_pooling(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with GlobalAveragePool, and with Flatten where the mean drops both axes.

    The argument is changed.
    """
    axis_counts = _axis_counts(model)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        attributes = attributes_of(node)
        axes = sorted(axis % 4 for axis in attributes.get("axes", []))
        if node.op_type != "ReduceMean" or axes != [2, 3] or axis_counts.get(node.input[0]) != 4:
            nodes.append(node)
            continue
        output = node.output[0]
        pooled = output if attributes.get("keepdims", 1) else f"{output}.pooled"
        nodes.append(helper.make_node("GlobalAveragePool", node.input, [pooled], name=node.name))
        if pooled != output:
            nodes.append(helper.make_node("Flatten", [pooled], [output], name=f"{node.name}.flatten"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _axis_counts(model: onnx.ModelProto) -> Mapping[str, int]:
    """The number of axes of each tensor, where shape inference knows it."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
