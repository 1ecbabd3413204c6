"""One use of a primitive, as the function sees it that writes it as ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import onnx

from amctq.errors import InputError
from amctq.graph.mindir.model import Node
from amctq.graph.mindir.onnx_builder import OnnxBuilder
from amctq.graph.mindir.values import Batch, Constant, Size, Tensor, Type, known, known_array

_REQUIRED = object()


class Call:
    """One use of a primitive.

    Args:
        node: the node of the MindIR graph.
        args: its inputs: a Tensor, a tuple of them, or a constant; without monads.
        graph: the ONNX graph that is written.
        uses: by position of the input, how many nodes read it.
    """

    def __init__(self, node: Node, args: Sequence[Any], graph: OnnxBuilder, uses: Sequence[int]) -> None:
        self.node = node
        self.args = tuple(args)
        self.graph = graph
        self.uses = tuple(uses)

    @property
    def type(self) -> Type:
        """Type of the output, of the first where there are several."""
        kind: Type = self.node.type if isinstance(self.node.type, Type) else self.node.type[0]
        return kind

    @property
    def shape(self) -> tuple[Size, ...]:
        """Shape of the output."""
        return self.type.shape

    def tensor(self, index: int) -> Tensor:
        """An input as a tensor; a constant becomes one.

        Raises:
            InputError: it is neither.
        """
        return self.as_tensor(self.args[index])

    def as_tensor(self, value: Any, dtype: str | None = None) -> Tensor:
        """A value as a tensor, float32 where it is a Python float.

        Raises:
            InputError: it is no value that a tensor can hold.
        """
        if isinstance(value, Tensor):
            return value
        if isinstance(value, Batch):
            self.graph.computes_with_batch = True
            name = self.emit("Squeeze", [self.graph.batch(value.times), self.graph.constant(np.asarray([0]))]).name
            return Tensor(name=name, dtype="int64", shape=())
        if isinstance(value, np.ndarray):
            value = known_array(value)
        if isinstance(value, (bool, int, float, np.ndarray)):
            array = np.asarray(value, np.float32 if isinstance(value, float) and dtype is None else dtype)
            return Tensor(name=self.graph.constant(array), dtype=array.dtype.name, shape=array.shape)
        if not (isinstance(value, tuple) and all(isinstance(item, (int, Batch)) for item in value)):
            self.refuse(f"{value!r:.60} where a tensor is expected")
        self.graph.computes_with_batch |= any(isinstance(item, Batch) for item in value)
        return Tensor(name=self.graph.ints(value), dtype="int64", shape=(len(value),))

    def value(self, index: int, default: Any = _REQUIRED) -> Constant:
        """An input that must be a constant; ``default`` where the primitive has fewer inputs.

        Raises:
            InputError: it is computed by the network.
        """
        if index >= len(self.args) and default is not _REQUIRED:
            return default
        value = self.args[index]
        if isinstance(value, Tensor):
            self.refuse(f"input {index} is computed by the network, and a constant is expected")
        if isinstance(value, np.ndarray) and value.dtype.kind in "iub":
            return tuple(value.tolist()) if value.ndim else value.item()
        return value

    def attribute(self, name: str, default: Any = _REQUIRED) -> Any:
        """A setting that is no input.

        Raises:
            InputError: MindIR lacks it, and there is no default.
        """
        found = self.node.attributes.get(name, default)
        if found is _REQUIRED:
            self.refuse(f"its attribute {name} is missing")
        return found

    def emit(self, op: str, inputs: Sequence[Tensor | str], kind: Type | None = None, **attributes: Any) -> Tensor:
        """Add an ONNX node, and return its output.

        Args:
            op: ONNX operator.
            inputs: tensors, or their names; "" for one that is left out.
            kind: type of the output; that of the primitive's output if it is left out.
            attributes: of the node.
        """
        (name,) = self.graph.add(op, [_name(item) for item in inputs], self.label, **attributes)
        return self.made(name, kind)

    def emit_several(
        self, op: str, inputs: Sequence[Tensor | str], kinds: Sequence[Type], **attributes: Any
    ) -> tuple[Tensor, ...]:
        """Add an ONNX node with several outputs of these types."""
        names = self.graph.add(op, [_name(item) for item in inputs], self.label, outputs=len(kinds), **attributes)
        return tuple(map(self.made, names, kinds))

    def made(self, name: str, kind: Type | None = None) -> Tensor:
        """The tensor of that name, with the type of the primitive's output if no other is given."""
        kind = kind or self.type
        return Tensor(name=name, dtype=known(kind.dtype), shape=kind.shape)

    def reshape(self, tensor: Tensor, shape: Sequence[Size]) -> Tensor:
        """``tensor`` in another shape; at most one size may come from the batch and is left to the runtime."""
        shape = tuple(shape)
        tensor = self.graph.reshaped.get(tensor.name, tensor)
        if tensor.shape == shape:
            return tensor
        kind = Type(tensor.dtype, shape)
        batches = [index for index, size in enumerate(shape) if isinstance(size, Batch)]
        if len(batches) == 1 and 0 not in shape:
            sizes: Sequence[Size] = [-1 if isinstance(size, Batch) else size for size in shape]
        else:
            sizes = shape
        made = self.emit("Reshape", [tensor, self.graph.ints(sizes)], kind)
        self.graph.reshaped[made.name] = tensor
        return Tensor(name=made.name, dtype=made.dtype, shape=shape)

    def expanded(self, tensor: Tensor, shape: Sequence[Size]) -> Tensor:
        """``tensor`` broadcast to a shape."""
        shape = tuple(shape)
        if tensor.shape == shape:
            return tensor
        return self.emit("Expand", [tensor, self.graph.ints(shape)], Type(tensor.dtype, shape))

    def axis(self, index: int, default: Any = _REQUIRED, *, rank: int) -> int:
        """An input that is an axis, counted from the front."""
        return int(self.value(index, default)) % max(rank, 1)

    def producer(self, tensor: Tensor, index: int) -> onnx.NodeProto | None:
        """The ONNX node that yields input ``index``, where nothing else in the network reads it."""
        reshaped = any(source.name == tensor.name for source in self.graph.reshaped.values())
        return self.graph.producers.get(tensor.name) if self.uses[index] == 1 and not reshaped else None

    @property
    def label(self) -> str:
        """What nodes are named after: the cell and the primitive."""
        return f"{self.node.cell}.{self.node.primitive}" if self.node.cell else self.node.primitive

    def refuse(self, found: str, hint: str | None = None) -> NoReturn:
        """Refuse a use of the primitive that amctq cannot write as ONNX.

        Raises:
            InputError: always.
        """
        message = f"{self.node.primitive} ({self.node.place}): {found}"
        raise InputError(message, hint=hint or "amctq does not know this form; rewrite it in construct()")


def _name(item: Tensor | str) -> str:
    return item if isinstance(item, str) else item.name
