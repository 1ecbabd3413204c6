"""A dynamic batch for a graph that was exported for one batch size.

Sizes that come from the batch are written out in such a graph: in the shape of a Reshape, or in the rows of a constant
that is joined to a tensor. Where the batch is in a tensor is followed from the inputs on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from amctq.graph.float_graph import attributes_of
from amctq.graph.shapes import tensor_shapes

# The axis of a tensor that grows with the batch is found with this batch: a prime that no size is a multiple of.
_BATCHES = (1009, 1013, 1019, 1021, 1031, 1033, 1039, 1049, 1051, 1061, 1063, 1069)
BATCH = "N"
Shape = tuple[int | None, ...]


def with_dynamic_batch(model: onnx.ModelProto) -> None:
    """Change a graph for one batch size, the first size of every input, to one for any; others stay as they are.

    What cannot be changed so gives other results than before for another batch, or cannot be run: the caller compares.
    """
    first = [item.type.tensor_type.shape.dim[0] for item in model.graph.input]
    sizes = {axis.dim_value for axis in first}
    if len(sizes) != 1 or 0 in sizes:
        _name_batch(model)
        return
    _Batch(model, sizes.pop()).change()
    _name_batch(model)


def _name_batch(model: onnx.ModelProto) -> None:
    for item in model.graph.input:
        item.type.tensor_type.shape.dim[0].dim_param = BATCH


class _Batch:
    def __init__(self, model: onnx.ModelProto, size: int) -> None:
        self._model, self._size = model, size
        self._before = tensor_shapes(model)
        self._constants = {item.name: item for item in model.graph.initializer}
        known = {size for shape in self._before.values() for size in shape if size}
        self._prime = next((prime for prime in _BATCHES if all(size % prime for size in known)), _BATCHES[0])
        for item in model.graph.output:  # they would contradict what is inferred
            item.type.tensor_type.ClearField("shape")
        for item in model.graph.input:
            item.type.tensor_type.shape.dim[0].dim_value = self._prime

    def change(self) -> None:
        """Rewrite node after node: what comes behind a Reshape is known only when that is changed."""
        del self._model.graph.value_info[:]
        waiting = [node for node in self._model.graph.node if self._may_hold_batch(node)]
        while waiting:
            shapes = tensor_shapes(self._model)
            unsure = {name for node in waiting for name in node.output}
            ready = []
            for node in self._model.graph.node:
                if unsure.intersection(node.input):
                    unsure.update(node.output)
                elif any(node is other for other in waiting):
                    ready.append(node)
            for node in ready:
                if node.op_type == "Concat":
                    self._grow_constants(node, shapes)
                else:
                    self._reshape(node, shapes.get(node.input[0]))
            waiting = [node for node in waiting if not any(node is other for other in ready)]

    def _may_hold_batch(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "Reshape":
            return node.input[1] in self._constants and node.input[0] not in self._constants
        return node.op_type == "Concat" and any(name in self._constants for name in node.input)

    def _grown(self, shape: Shape | None) -> int | None:
        """The axis that grows with the batch."""
        axes = [axis for axis, size in enumerate(shape or ()) if size and size % self._prime == 0]
        return axes[0] if len(axes) == 1 else None

    def _reshape(self, node: onnx.NodeProto, read: Shape | None) -> None:
        """Let one size follow from the others: that of the axis which has the batch."""
        axis, target = self._grown(read), self._before.get(node.output[0])
        if axis is None or read is None or target is None or None in target or None in read:
            return
        shape = [size // self._prime * self._size if at == axis else size for at, size in enumerate(read) if size]
        at = _axis_after(shape, axis, [size or 0 for size in target])
        if at is not None:
            sizes = [-1 if index == at else size for index, size in enumerate(target)]
            node.input[1] = self._constant(f"{node.output[0]}.shape", np.asarray(sizes, np.int64))

    def _grow_constants(self, node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> None:
        """Repeat a constant that is joined to tensors with a batch, such as the class token of a ViT."""
        grown = {name: self._grown(shapes.get(name)) for name in node.input if name not in self._constants}
        axes = set(grown.values())
        joined = attributes_of(node)["axis"]
        if axes != {0} or joined == 0:
            return
        (batch,) = self._add("Shape", [next(iter(grown))], f"{node.output[0]}.batch", node, start=0, end=1)
        for index, name in enumerate(node.input):
            if name not in self._constants:
                continue
            array = numpy_helper.to_array(self._constants[name])
            if array.ndim == 0 or (array != array[:1]).any():  # not the same for every sample: it cannot grow
                return
            first = self._constant(f"{node.output[0]}.first.{index}", array[:1])
            rest = np.ones(array.ndim - 1, np.int64)
            (shape,) = self._add(
                "Concat",
                [batch, self._constant(f"{node.output[0]}.rest.{index}", rest)],
                f"{node.output[0]}.sizes.{index}",
                node,
                axis=0,
            )
            (node.input[index],) = self._add("Expand", [first, shape], f"{node.output[0]}.part.{index}", node)

    def _add(self, op: str, inputs: Sequence[str], name: str, before: onnx.NodeProto, **attributes: Any) -> list[str]:
        nodes = self._model.graph.node
        at = next(index for index, node in enumerate(nodes) if node is before or node.name == before.name)
        nodes.insert(at, helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return [name]

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        self._model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name


def _axis_after(read: Sequence[int], axis: int, written: Sequence[int]) -> int | None:
    """The axis of a Reshape's output that has the batch, outermost, where ``axis`` of its input has it outermost.

    The axes of both shapes are taken in groups of equal products, in order; a batch that is the outermost factor of its
    group stays so.
    """
    one = two = 0
    while one < len(read) and two < len(written):
        ends = [one + 1, two + 1]
        products = [read[one], written[two]]
        while products[0] != products[1]:
            shorter = 0 if products[0] < products[1] else 1
            shape = (read, written)[shorter]
            if ends[shorter] == len(shape):
                return None
            products[shorter] *= shape[ends[shorter]]
            ends[shorter] += 1
        if one <= axis < ends[0]:
            return two if math.prod(read[one:axis]) == 1 else None
        one, two = ends
    return None
