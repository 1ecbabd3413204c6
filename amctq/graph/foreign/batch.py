"""A dynamic batch for a graph that was exported for one batch size.

Sizes that come from the batch are written out in such a graph: in the shape of a Reshape or an Expand, in the rows of a
constant that is joined to a tensor, in the first state of an LSTM. Where the batch is in a tensor is followed from the
inputs on: in which axis, and what that axis holds outside of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from amctq.graph.constants import computed_constants
from amctq.graph.float_graph import attributes_of
from amctq.graph.prime_batch import prime_batch
from amctq.graph.shapes import tensor_shapes

BATCH = "N"
_SHAPED = frozenset({"Reshape", "Expand"})
_RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
_FIRST_STATES = slice(5, 7)  # of their inputs
Shape = tuple[int | None, ...]


def with_dynamic_batch(model: onnx.ModelProto) -> None:
    """Change a graph for one batch size, the first size of every input, to one for any; others stay as they are.

    What cannot be changed so gives other results than before for another batch, or cannot be run: the caller compares.
    """
    sizes = {item.type.tensor_type.shape.dim[0].dim_value for item in model.graph.input}
    if len(sizes) == 1 and 0 not in sizes:
        _Batch(model, sizes.pop()).change()
    for item in model.graph.input:
        item.type.tensor_type.shape.dim[0].dim_param = BATCH


class _Batch:
    def __init__(self, model: onnx.ModelProto, size: int) -> None:
        self._model, self._size = model, size
        self._before = tensor_shapes(model)
        initializers = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        self._constants = {**initializers, **computed_constants(model, initializers)}
        # The axis of a tensor that grows with the batch is found with this one.
        self._prime = prime_batch({size for shape in self._before.values() for size in shape if size})
        # By tensor whose batch is inside a longer axis: how much that axis holds outside of the batch.
        self._outside: dict[str, int] = {}
        for item in model.graph.output:  # they would contradict what is inferred
            item.type.tensor_type.ClearField("shape")
        for item in model.graph.input:
            item.type.tensor_type.shape.dim[0].dim_value = self._prime

    def change(self) -> None:
        """Rewrite node after node: what comes behind one is known only when that is changed."""
        del self._model.graph.value_info[:]
        waiting = {node.name for node in self._model.graph.node if self._may_hold_batch(node)}
        while waiting:
            shapes = tensor_shapes(self._model)
            unsure: set[str] = set()
            ready = []
            for node in self._model.graph.node:
                if unsure.intersection(node.input):
                    unsure.update(node.output)
                elif node.name in waiting:
                    unsure.update(node.output)
                    ready.append(node)
                else:
                    self._pass_on(node, shapes)
            for node in ready:
                self._rewrite(node, shapes)
                waiting.discard(node.name)

    def _may_hold_batch(self, node: onnx.NodeProto) -> bool:
        if node.op_type in _SHAPED:
            return node.input[1] in self._constants and node.input[0] not in self._constants
        if node.op_type in _RECURRENT:
            return any(name in self._constants for name in node.input[_FIRST_STATES])
        constants = [name for name in node.input if name in self._constants]
        return node.op_type == "Concat" and 0 < len(constants) < len(node.input)

    def _rewrite(self, node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> None:
        if node.op_type == "Concat":
            self._grow_constants(node, shapes)
        elif node.op_type in _RECURRENT:
            self._leave_out_states(node)
        elif node.op_type == "Expand":
            self._expand(node, shapes.get(node.input[0]))
        else:
            self._reshape(node, shapes.get(node.input[0]))

    def _grown(self, shape: Shape | None) -> int | None:
        """The axis that grows with the batch."""
        axes = [axis for axis, size in enumerate(shape or ()) if size and size % self._prime == 0]
        return axes[0] if len(axes) == 1 else None

    def _pass_on(self, node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> None:
        """What an operator yields holds the batch as what it reads does, in an axis of the same size."""
        for output in node.output:
            axis = self._grown(shapes.get(output))
            if axis is None:
                continue
            size = shapes[output][axis]
            for name in node.input:
                own = self._grown(shapes.get(name))
                if name in self._outside and own is not None and shapes[name][own] == size:
                    self._outside[output] = self._outside[name]

    def _reshape(self, node: onnx.NodeProto, read: Shape | None) -> None:
        """Let the size of the axis that has the batch follow from the others.

        A Reshape keeps the order of the values: as many lie outside of the batch after it as before.
        """
        axis, target = self._grown(read), self._before.get(node.output[0])
        if axis is None or read is None or target is None or None in target or None in read:
            return
        sizes = [size or 0 for size in target]
        outside = math.prod(size or 0 for size in read[:axis]) * self._outside.get(node.input[0], 1)
        features = {math.prod(size or 0 for size in read[at:]) for at in range(axis + 1, len(read))}
        found = self._axis_of(sizes, outside, features)
        if found is None:
            return
        if sizes[found] != self._size:
            self._outside[node.output[0]] = outside // math.prod(sizes[:found])
        written = [-1 if index == found else size for index, size in enumerate(sizes)]
        node.input[1] = self._constant(f"{node.output[0]}.shape", np.asarray(written, np.int64))

    def _axis_of(self, sizes: Sequence[int], outside: int, features: Collection[int]) -> int | None:
        """The axis with the batch in a shape, where so much lies outside of it.

        An axis that is just the batch is taken first, then one with the batch outermost; features at the end stay.
        """
        possible = []
        for axis, size in enumerate(sizes):
            before = math.prod(sizes[:axis])
            if size % self._size or outside % before or (size // self._size) % (outside // before):
                continue
            is_feature = axis == len(sizes) - 1 and size in features and size != self._size
            possible.append((is_feature, size != self._size or outside != before, outside != before, axis))
        return min(possible)[-1] if possible else None

    def _expand(self, node: onnx.NodeProto, read: Shape | None) -> None:
        """Leave the batch to what is expanded."""
        axis, shape = self._grown(read), self._constants[node.input[1]].copy()
        if axis is None or read is None or axis + len(shape) < len(read):
            return
        shape[axis + len(shape) - len(read)] = 1
        node.input[1] = self._constant(f"{node.output[0]}.shape", shape)

    def _leave_out_states(self, node: onnx.NodeProto) -> None:
        """Leave out first states of zeros: an LSTM begins so without them."""
        for index in range(len(node.input))[_FIRST_STATES]:
            if node.input[index] in self._constants and not self._constants[node.input[index]].any():
                node.input[index] = ""

    def _grow_constants(self, node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> None:
        """Repeat a constant that is joined to tensors with a batch, such as the class token of a ViT."""
        grown = {name: self._grown(shapes.get(name)) for name in node.input if name not in self._constants}
        if set(grown.values()) != {0} or attributes_of(node)["axis"] == 0:
            return
        batch = self._add("Shape", [next(iter(grown))], f"{node.output[0]}.batch", node, start=0, end=1)
        for index, name in enumerate(node.input):
            array = self._constants.get(name)
            if array is None:
                continue
            if array.ndim == 0 or (array != array[:1]).any():  # not the same for every sample: it cannot grow
                return
            first = self._constant(f"{node.output[0]}.first.{index}", array[:1])
            rest = self._constant(f"{node.output[0]}.rest.{index}", np.ones(array.ndim - 1, np.int64))
            shape = self._add("Concat", [batch, rest], f"{node.output[0]}.sizes.{index}", node, axis=0)
            node.input[index] = self._add("Expand", [first, shape], f"{node.output[0]}.part.{index}", node)

    def _add(self, op: str, inputs: Sequence[str], name: str, before: onnx.NodeProto, **attributes: Any) -> str:
        nodes = self._model.graph.node
        at = next(index for index, node in enumerate(nodes) if node.name == before.name)
        nodes.insert(at, helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        self._model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name
