"""ReduceMean over height and width, written as the pooling that it is: integer kernels exist for that name alone."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import helper


def name_global_pooling(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with GlobalAveragePool, and Flatten where the mean drops both axes; the argument is changed."""
    ranks = _ranks(model)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        axes = sorted(axis % 4 for axis in attributes.get("axes", []))
        if node.op_type != "ReduceMean" or axes != [2, 3] or ranks.get(node.input[0]) != 4:
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


def _ranks(model: onnx.ModelProto) -> Mapping[str, int]:
    """How many axes each tensor has, where shape inference knows."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
