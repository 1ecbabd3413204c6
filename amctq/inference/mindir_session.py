"""Running MindIR files in MindSpore."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import mindspore
import numpy as np
from mindspore import nn
from numpy.typing import NDArray

from amctq.choices import ExportFormat
from amctq.data.inputs import Inputs, shapes_of
from amctq.errors import InputError, first_line
from amctq.files import writing
from amctq.inference.cell_session import as_arrays
from amctq.inference.mindir_ports import input_ports, output_ports
from amctq.inference.session import FileSession, Outputs, in_batches
from amctq.leftovers import temporary_folder
from amctq.signals import signal_handlers_kept

_DAMAGED = "the file is damaged or no MindIR model; export it again"


class MindirSession(FileSession):
    """Runs a MindIR model in graph mode, on the device that MindSpore is set to.

    Args:
        content: of the file.

    Raises:
        InputError: MindSpore does not load it.
    """

    def __init__(self, content: bytes) -> None:
        model = parse_mindir(content)
        self.inputs = input_ports(model.graph)
        self.outputs = output_ports(model.graph)
        self.metadata = dict(model.user_info)
        self._cell = graph_cell(content)

    def run(self, inputs: Inputs) -> Outputs:
        """All outputs of the network for a batch."""
        return self._run(inputs) if self.fixed_batch is None else in_batches(self._run, inputs, self.fixed_batch)

    def _run(self, inputs: Inputs) -> Outputs:
        given = self.bound(inputs)
        try:
            with signal_handlers_kept():
                return tuple(as_arrays(self._cell(*(mindspore.Tensor(given[port.name]) for port in self.inputs))))
        except Exception as error:
            message = f"MindSpore cannot run the model on a batch of {shapes_of(inputs)}: {first_line(error)}"
            raise InputError(message, hint="check --image-size, and what the model was made for") from error


def graph_cell(content: bytes) -> Any:
    """The cell that runs a MindIR model, which is complete.

    Raises:
        InputError: MindSpore does not load it.
    """
    try:
        # MindSpore loads only files, and under LANG=C no path with Chinese characters.
        with temporary_folder() as folder:
            path = folder / f"model{ExportFormat.MINDIR.suffix}"
            with writing(path):
                path.write_bytes(content)
            with signal_handlers_kept():
                return nn.GraphCell(mindspore.load(str(path)))
    except (RuntimeError, TypeError, ValueError) as error:
        message = f"MindSpore does not load the model: {first_line(error)}"
        raise InputError(message, hint=_DAMAGED) from error


def parse_mindir(content: bytes) -> Any:
    """The complete protobuf; MindSpore's loader aborts the process on an incomplete one.

    Raises:
        InputError: the content is no MindIR model, or is incomplete.
    """
    from google.protobuf.message import DecodeError
    from mindspore.train import mind_ir_pb2

    try:
        model = mind_ir_pb2.ModelProto.FromString(content)
        defect = _defect(model)
    except (DecodeError, UnicodeDecodeError) as error:
        message = f"these {len(content):,} bytes are no MindIR model"
        raise InputError(message, hint=_DAMAGED) from error
    if defect is not None:
        message = f"no MindIR model that MindSpore could run: {defect}"
        raise InputError(message, hint=_DAMAGED)
    return model


def _defect(model: Any) -> str | None:
    """The reason why a model is incomplete, or None."""
    graph = model.graph
    if not graph.node or not graph.input or not graph.output:
        return "it has no graph"
    known = {item.name for item in [*graph.parameter, *graph.input]}
    operators = {f"REF::{primitive.name}" for primitive in model.primitives}
    for parameter in graph.parameter:
        size = _BYTES.get(parameter.data_type)
        if size is None or len(parameter.raw_data) != size * math.prod(parameter.dims):
            return f"parameter {parameter.name} is cut off, or is in another file"
        if parameter.data_type in _FLOATS and np.isnan(_values(parameter)).any():
            return f"parameter {parameter.name} holds NaN"
    for node in graph.node:
        attributes: Mapping[str, Any] = {item.name: item for item in node.attribute}
        if node.op_type == "Constant":
            complete = "value" in attributes
        elif model.functions:
            complete = True  # nodes that call other graphs have another form
        else:
            known_inputs = node.op_type in operators and known.issuperset(node.input)
            complete = known_inputs and _has_shape(attributes.get("shape"))
        if not complete or not node.output:
            return f"node {node.name} is incomplete"
        known.update(node.output)
    if not known.issuperset(value.name for value in graph.output):
        return "nothing computes its output"
    return None


def _values(parameter: Any) -> NDArray[np.floating[Any]]:
    values: NDArray[np.floating[Any]] = np.frombuffer(parameter.raw_data, np.dtype(_FLOATS[parameter.data_type]))
    return values


def _has_shape(attribute: Any) -> bool:
    """Whether the attribute has the tensor that describes a node's output, which the loader expects."""
    if attribute is None:
        return False
    kinds = type(attribute).AttributeType
    if attribute.type == kinds.Value("TUPLE"):
        return all(map(_has_shape, attribute.values))
    return attribute.type != kinds.Value("TENSORS") or len(attribute.tensors) > 0


# Bytes of an element by number of the type (mind_ir.proto, TensorProto.DataType).
_FLOATS = {1: "<f4", 10: "<f2", 11: "<f8"}
_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
