"""The float network as an ONNX graph, with access to its tensors and edges."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from amctq.data.inputs import InputSpec
from amctq.graph.constants import computed_constants
from amctq.graph.shapes import tensor_shapes


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node by name; strings as bytes."""
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """The float network as an ONNX graph.

    Attributes:
        model: inputs and outputs whose first axis is the batch, N, dynamic; opset 17.
        file_bytes: size of the network as an ONNX file.
        half: cells that MindSpore computes in float16; the graph computes them in float32.
    """

    model: onnx.ModelProto
    file_bytes: int
    half: tuple[str, ...] = ()

    @cached_property
    def inputs(self) -> Mapping[str, InputSpec]:
        """What the network takes, by name."""
        return {
            item.name: InputSpec(
                shape=tuple(axis.dim_value for axis in item.type.tensor_type.shape.dim[1:]),
                dtype=helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type).name,
            )
            for item in self.model.graph.input
        }

    @property
    def float_inputs(self) -> tuple[str, ...]:
        """Names of the inputs that can be quantized: images and the like, not indices and masks."""
        return tuple(name for name, spec in self.inputs.items() if spec.dtype == "float32")

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output tensors."""
        return tuple(item.name for item in self.model.graph.output)

    @property
    def output_shapes(self) -> tuple[tuple[int | None, ...], ...]:
        """The shape of each output; None for sizes that are not known, such as the batch."""
        every = [item.type.tensor_type.shape.dim for item in self.model.graph.output]
        return tuple(tuple(axis.dim_value or None for axis in axes) for axes in every)

    @cached_property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Constant tensors by name: the initializers, and what nodes compute from them alone."""
        initializers = {item.name: numpy_helper.to_array(item) for item in self.model.graph.initializer}
        return {**initializers, **computed_constants(self.model, initializers)}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[onnx.NodeProto, ...]]:
        """By tensor, the nodes that read it."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.model.graph.node:
            for name in dict.fromkeys(node.input):
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @cached_property
    def producers(self) -> Mapping[str, onnx.NodeProto]:
        """By tensor, the node that yields it."""
        return {name: node for node in self.model.graph.node for name in node.output}

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int | None, ...]]:
        """By tensor, its shape as far as it can be inferred; None for unknown sizes, such as the batch."""
        return tensor_shapes(self.model)

    def with_arrays(self, arrays: Mapping[str, NDArray[np.generic]]) -> FloatGraph:
        """The same graph with other values in some of its initializers.

        Args:
            arrays: new values by name, of the same shapes; names that the graph does not have are ignored.

        Raises:
            ValueError: an array has another shape than its initializer.
        """
        model = copy.deepcopy(self.model)
        for item in model.graph.initializer:
            if item.name not in arrays:
                continue
            before = self.arrays[item.name]
            if arrays[item.name].shape != before.shape:
                message = f"{item.name} is {before.shape} in the graph, and {arrays[item.name].shape} was given"
                raise ValueError(message)
            item.CopyFrom(numpy_helper.from_array(arrays[item.name].astype(before.dtype), item.name))
        return replace(self, model=model)
