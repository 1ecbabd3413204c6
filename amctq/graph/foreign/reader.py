"""A float ONNX network of any producer as the model of a float graph."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx.inliner
import onnx.shape_inference
import onnx.version_converter
from onnx import helper

from amctq.data.inputs import DTYPES, InputSpec
from amctq.errors import InputError, first_line
from amctq.graph.foreign.batch import BATCH, with_dynamic_batch
from amctq.graph.foreign.names import name_nodes, name_weights
from amctq.graph.foreign.refusals import opset_of, refuse_unreadable
from amctq.graph.opset import IR_VERSIONS, OPSET

_PASSES = frozenset({"Dropout", "Identity"})  # in inference


def open_foreign(model: onnx.ModelProto) -> onnx.ModelProto:
    """Open a float network: functions written out, constants as initializers; every operator is one that can be read.

    Args:
        model: opset 7 to 23, with all its weights.

    Raises:
        InputError: an operator cannot be read.
    """
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    try:
        if opened.functions:
            opened = onnx.inliner.inline_local_functions(opened)
        _use_initializers(opened.graph)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        message = f"it is no complete ONNX model: {first_line(error)}"
        raise InputError(message, hint="check it with onnx.checker; export it again") from error
    _free_axes(opened.graph)
    refuse_unreadable(opened)
    return opened


def read_foreign(opened: onnx.ModelProto) -> onnx.ModelProto:
    """Read a float network.

    Args:
        opened: what ``open_foreign`` gives, and onnxruntime has loaded.

    Returns:
        The same with opset 17, or its own where that is newer, and a name for every node.

    Raises:
        InputError: its opset cannot be changed.
    """
    read = onnx.ModelProto()
    read.CopyFrom(opened)
    read = _raised(read)
    name_nodes(read.graph)
    _leave_out_passes(read.graph)
    _leave_out_unread(read.graph)
    name_weights(read.graph)
    return read


def fit_samples(model: onnx.ModelProto, inputs: Mapping[str, InputSpec]) -> None:
    """Give the dynamic axes of a model the sizes of the samples, and make its batch dynamic.

    Args:
        model: is changed.
        inputs: what the samples have, by the names of the model's inputs.

    Raises:
        InputError: the samples do not fit the inputs, or the shapes in the model contradict each other.
    """
    _fix_axes(model.graph, inputs)
    with_dynamic_batch(model)
    _infer_outputs(model)


def _use_initializers(graph: onnx.GraphProto) -> None:
    """Every constant as an initializer, and no initializer as an input, as before IR version 4."""
    nodes = []
    for node in graph.node:
        value = next((item for item in node.attribute if item.name.startswith("value")), None)
        if node.op_type != "Constant" or value is None:
            nodes.append(node)
            continue
        tensor = value.t if value.type == onnx.AttributeProto.TENSOR else _tensor_of(value)
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = node.output[0]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    held = {item.name for item in graph.initializer}
    for item in [item for item in graph.input if item.name in held]:
        graph.input.remove(item)


def _free_axes(graph: onnx.GraphProto) -> None:
    """Let axes be unknown that an exporter has called -1."""
    for item in (*graph.input, *graph.output):
        for axis in item.type.tensor_type.shape.dim:
            if axis.HasField("dim_value") and axis.dim_value < 0:
                axis.ClearField("dim_value")


def _tensor_of(value: onnx.AttributeProto) -> onnx.TensorProto:
    content = helper.get_attribute_value(value)
    kinds = {"value_float": onnx.TensorProto.FLOAT, "value_int": onnx.TensorProto.INT64}
    kinds |= {f"{name}s": kind for name, kind in kinds.items()}
    if value.name not in kinds:
        message = f"a constant of it is a {value.name.removeprefix('value_')}, expected numbers"
        raise InputError(message, hint="export the network without strings and sparse tensors")
    dims = [len(content)] if value.name.endswith("s") else []
    return helper.make_tensor("", kinds[value.name], dims, content if dims else [content])


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Opset 17 in place of an older one; a newer one stays, because not every operator can be written in an older."""
    opset = opset_of(model)
    if opset >= OPSET:
        return model
    try:
        raised = onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:
        message = f"onnx cannot convert it from opset {opset} to {OPSET}: {first_line(error)}"
        raise InputError(message, hint=f"export it again, with opset {OPSET}") from error
    raised.ir_version = IR_VERSIONS[OPSET]
    return raised


def _leave_out_passes(graph: onnx.GraphProto) -> None:
    """Leave out what only passes its input on; behind an output of the graph stands what yields it."""
    outputs = {item.name for item in graph.output}
    given = {item.name for item in graph.input} | {item.name for item in graph.initializer}
    alias: dict[str, str] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [alias.get(name, name) for name in node.input]
        mask_unread = not any(node.output[1:])
        if node.op_type in _PASSES and mask_unread and not node.domain:
            if node.output[0] not in outputs:
                alias[node.output[0]] = node.input[0]
                continue
            if node.op_type == "Dropout" and node.input[0] in given:
                node.op_type = "Identity"
        kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(kept)


def _leave_out_unread(graph: onnx.GraphProto) -> None:
    """Leave out nodes and constants that no output needs."""
    wanted = {item.name for item in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(reversed(kept))
    for item in [item for item in graph.initializer if item.name not in wanted]:
        graph.initializer.remove(item)


def _fix_axes(graph: onnx.GraphProto, inputs: Mapping[str, InputSpec]) -> None:
    """Give dynamic axes the sizes of the samples."""
    for item in graph.input:
        kind, spec = item.type.tensor_type, inputs[item.name]
        name = helper.tensor_dtype_to_np_dtype(kind.elem_type).name if kind.elem_type else "no tensor"
        axes = list(kind.shape.dim)[1:]
        fits = len(axes) == len(spec.shape) and kind.shape.dim
        if (
            name != spec.dtype
            or not fits
            or any(axis.dim_value not in {0, size} for axis, size in zip(axes, spec.shape, strict=True))
        ):
            own = [axis.dim_param or axis.dim_value or "?" for axis in kind.shape.dim]
            message = f"its input {item.name} is {name} {own}, and the samples are {spec}"
            hint = f"give it such samples (--image-size, or --dataset file.py:function); types: {', '.join(DTYPES)}"
            raise InputError(message, hint=hint)
        for axis, size in zip(axes, spec.shape, strict=True):
            axis.dim_value = size


def _infer_outputs(model: onnx.ModelProto) -> None:
    """Write the shapes of the outputs, as far as they follow from the graph."""
    del model.graph.value_info[:]
    for item in model.graph.output:
        item.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (ValueError, RuntimeError, onnx.shape_inference.InferenceError) as error:
        message = f"onnx cannot follow the shapes of it: {first_line(error)}"
        raise InputError(message, hint="check it with onnx.checker; export it again") from error
    for own, found in zip(model.graph.output, inferred.graph.output, strict=True):
        if not found.type.HasField("tensor_type"):
            message = f"its output {own.name} is no tensor"
            raise InputError(message, hint="export the network without the operator that yields it")
        own.CopyFrom(found)
        sizes = own.type.tensor_type.shape.dim
        if sizes and not sizes[0].HasField("dim_value"):
            sizes[0].dim_param = BATCH
