"""Running MindIR files in MindSpore."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore
from mindspore import nn

from amctq.choices import ExportFormat
from amctq.errors import InputError, first_line
from amctq.files import writing
from amctq.inference.session import FileSession, Port, model_bytes
from amctq.quant.numerics import Float32Array
from amctq.signals import signal_handlers_kept

_DAMAGED = "the file is damaged or no MindIR model; export it again"


class MindirSession(FileSession):
    """Runs a MindIR model on the device that MindSpore is set to, in graph mode.

    Args:
        content: of the file.

    Raises:
        InputError: MindSpore does not take it.
    """

    def __init__(self, content: bytes) -> None:
        model = _parsed(content)
        self._inputs = tuple(map(_port, model.graph.input))
        self._outputs = tuple(map(_port, model.graph.output))
        self._metadata = dict(model.user_info)
        try:
            # MindSpore reads no bytes, and under LANG=C no path with Chinese characters.
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"model{ExportFormat.MINDIR.suffix}"
                with writing(path):
                    path.write_bytes(content)
                with signal_handlers_kept():
                    self._cell = nn.GraphCell(mindspore.load(str(path)))
        except (RuntimeError, TypeError, ValueError) as error:
            message = f"MindSpore does not load the model: {first_line(error)}"
            raise InputError(message, hint=_DAMAGED) from error

    def logits(self, images: Float32Array) -> Float32Array:
        """The network's output, (N, classes), for a batch of images."""
        try:
            with signal_handlers_kept():
                output = self._cell(mindspore.Tensor(images))
                logits: Float32Array = output.asnumpy()
        except Exception as error:
            message = f"MindSpore cannot run the model on images {images.shape}: {first_line(error)}"
            raise InputError(message, hint="check --image-size, and that the model is a classifier") from error
        return logits

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What the model takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What the model gives."""
        return self._outputs

    @property
    def metadata(self) -> dict[str, str]:
        """What stands in the file beside the graph."""
        return dict(self._metadata)


def open_mindir(path: Path) -> MindirSession:
    """A session for a file.

    Raises:
        InputError: there is no file, or MindSpore does not take it.
    """
    content = model_bytes(path, option="--mindir")
    try:
        return MindirSession(content)
    except InputError as error:
        message = f"{path}: {error.message}"
        raise InputError(message, hint=error.hint) from error


def _parsed(content: bytes) -> Any:
    """The protobuf, whole: MindSpore's loader aborts the process on one that lacks a part.

    Raises:
        InputError: it is none, or lacks a part.
    """
    from google.protobuf.message import DecodeError
    from mindspore.train import mind_ir_pb2

    try:
        model = mind_ir_pb2.ModelProto.FromString(content)
        lacks = _lacking(model)
    except (DecodeError, UnicodeDecodeError) as error:
        message = f"these {len(content):,} bytes are no MindIR model"
        raise InputError(message, hint=_DAMAGED) from error
    if lacks is not None:
        message = f"no MindIR model that MindSpore could run: {lacks}"
        raise InputError(message, hint=_DAMAGED)
    return model


def _lacking(model: Any) -> str | None:
    """What a model lacks, or None."""
    graph = model.graph
    if not graph.node or not graph.input or not graph.output:
        return "it has no graph"
    known = {item.name for item in [*graph.parameter, *graph.input]}
    operators = {f"REF::{primitive.name}" for primitive in model.primitives}
    for parameter in graph.parameter:
        size = _BYTES.get(parameter.data_type)
        if size is None or len(parameter.raw_data) != size * math.prod(parameter.dims):
            return f"parameter {parameter.name} is cut off, or stands in another file"
    for node in graph.node:
        attributes: Mapping[str, Any] = {item.name: item for item in node.attribute}
        if node.op_type == "Constant":
            whole = "value" in attributes
        elif model.functions:
            whole = True  # nodes that call other graphs look different
        else:
            whole = node.op_type in operators and known.issuperset(node.input) and _has_shape(attributes.get("shape"))
        if not whole or not node.output:
            return f"node {node.name} is incomplete"
        known.update(node.output)
    if not known.issuperset(value.name for value in graph.output):
        return "nothing computes its output"
    return None


def _has_shape(attribute: Any) -> bool:
    """Whether the loader finds a tensor where the type of a node's output promises one."""
    if attribute is None:
        return False
    kinds = type(attribute).AttributeType
    if attribute.type == kinds.Value("TUPLE"):
        return all(map(_has_shape, attribute.values))
    return attribute.type != kinds.Value("TENSORS") or len(attribute.tensors) > 0


# mind_ir.proto, TensorProto.DataType: number of the type and bytes of an element.
_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}


def _port(value: Any) -> Port:
    if len(value.tensor) != 1:
        return Port(name=value.name, type="no tensor", shape=())
    (tensor,) = value.tensor
    shape = tuple(dim if dim > 0 else "N" for dim in tensor.dims)
    kinds = {number: name.lower() for name, number in type(tensor).DataType.items()}
    return Port(name=value.name, type=f"tensor({kinds.get(tensor.data_type)})", shape=shape)
