"""What is wrong in an ONNX file, although onnxruntime runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx

from amctq.errors import InputError
from amctq.inference.protobuf_walk import walk

_OWN_KEYS = "amctq."
_HINT = "the file is damaged, or another program has changed it; export it again"
# Which inputs of a node are scales, by operator; what begins with QLinear joins several tensors in its own order.
_SCALES: Mapping[str, tuple[int, ...]] = {
    "QuantizeLinear": (1,),
    "DequantizeLinear": (1,),
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "QGemm": (1, 4, 7),
    "QLinearAdd": (1, 4, 6),
    "QLinearMul": (1, 4, 6),
}


def refuse_defects(model: onnx.ModelProto) -> None:
    """Refuse a file whose accuracy would say nothing, or that no samples fit.

    Raises:
        InputError: the message names the defect.
    """
    _refuse_duplicate_keys(model)
    _refuse_bad_scales(model)
    _refuse_texts(model)


def _refuse_duplicate_keys(model: onnx.ModelProto) -> None:
    """Refuse metadata of amctq that are there twice: readers differ in which they take."""
    counts = Counter(item.key for item in model.metadata_props if item.key.startswith(_OWN_KEYS))
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        message = f"its metadata have a duplicate key: {twice[0]}"
        raise InputError(message, hint=_HINT)


def _refuse_bad_scales(model: onnx.ModelProto) -> None:
    """Refuse a scale that makes every integer the same: onnxruntime computes with it, and classes come out."""
    parts = list(walk(model))
    nodes = [part for part in parts if isinstance(part, onnx.NodeProto)]
    tensors = {part.name: part for part in parts if isinstance(part, onnx.TensorProto) and part.name}
    tensors |= {
        name: attribute.t
        for node in nodes
        if node.op_type == "Constant"
        for name in node.output
        for attribute in node.attribute
        if attribute.name == "value"
    }
    for node in nodes:
        places = (place for place in _SCALES.get(node.op_type, ()) if place < len(node.input))
        for tensor in (tensors.get(node.input[place]) for place in places):
            if tensor is not None and (found := _bad_scale(tensor)) is not None:
                message = f"{node.name or node.output[0]}: {node.op_type} with the scale {found:g}"
                raise InputError(message + ", expected finite numbers above 0", hint=_HINT)


def _refuse_texts(model: onnx.ModelProto) -> None:
    """Refuse inputs that are no tensors of numbers, by what they are."""
    constants = {item.name for item in model.graph.initializer}
    for value in model.graph.input:
        kind = value.type.WhichOneof("value") or "unknown"
        if value.name in constants:
            continue
        if kind == "tensor_type" and value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            message = f"its input {value.name} is text (tensor(string)), expected numbers"
            hint = "export the network without what turns text into numbers (the tokenizer), and give it the numbers"
            raise InputError(message, hint=hint)
        if kind not in {"tensor_type", "unknown"}:
            message = f"its input {value.name} is a {kind.removesuffix('_type')}, expected a tensor"
            raise InputError(message, hint="export the network with an input for each tensor")


def _bad_scale(tensor: onnx.TensorProto) -> float | None:
    """The first value that is no scale; None where there is none, or where onnxruntime will refuse the tensor."""
    try:
        values = np.asarray(onnx.numpy_helper.to_array(tensor), np.float64).ravel()
    except Exception:  # a damaged tensor raises errors of many kinds
        return None
    wrong = values[~(np.isfinite(values) & (values > 0))]
    return float(wrong[0]) if wrong.size else None
