"""Shapes of the tensors of a graph."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
import onnx.shape_inference
from onnx import helper

# Shape inference reads the values of constants such as the sizes of a Reshape, and the shapes of all others.
_SMALL = 1 << 10


def tensor_shapes(model: onnx.ModelProto) -> Mapping[str, tuple[int | None, ...]]:
    """The shape of every tensor whose rank can be inferred; None for sizes that are not known, such as the batch."""
    source = model.graph
    small = [item for item in source.initializer if math.prod(item.dims) <= _SMALL]
    large = [
        helper.make_tensor_value_info(item.name, item.data_type, list(item.dims))
        for item in source.initializer
        if math.prod(item.dims) > _SMALL
    ]
    light = helper.make_model(
        helper.make_graph(list(source.node), "shapes", [*source.input, *large], list(source.output), initializer=small),
        opset_imports=list(model.opset_import),
        ir_version=model.ir_version,
    )
    inferred = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    return {
        item.name: tuple(size.dim_value or None for size in item.type.tensor_type.shape.dim)
        for item in [*inferred.value_info, *inferred.output, *inferred.input]
        if item.type.tensor_type.HasField("shape")
    }
