"""What amctq cannot read of a foreign ONNX graph, each with the operator's name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import onnx
from onnx import numpy_helper

from amctq.errors import InputError, listed
from amctq.graph.topology import PRODUCTS

OPSETS = range(7, 24)
STANDARD = frozenset({"", "ai.onnx"})
_OF_ONNX = STANDARD | {"ai.onnx.ml"}  # of the second, onnxruntime has every operator too
_FLOWS = frozenset({"If", "Loop", "Scan"})
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_INTEGER = re.compile(r"QLinear\w+|\w+Integer|(Dynamic)?Quantize\w+|DequantizeLinear|QAttention|QGemm")
_MOST_NAMED = 3


def refuse_unreadable(model: onnx.ModelProto) -> None:
    """Refuse a graph that is no float network of ONNX's own operators. Its constants are initializers.

    Raises:
        InputError: the opset is too old or too new, or an operator is unknown, of integers, random, or decides what is
            computed.
    """
    opset = opset_of(model)
    if opset not in OPSETS:
        message = f"it has opset {opset}, expected {OPSETS[0]} to {OPSETS[-1]}"
        raise InputError(message, hint="export it again, with opset 17 for example")
    if model.graph.sparse_initializer:
        message = f"its constant {model.graph.sparse_initializer[0].values.name} is sparse"
        raise InputError(message, hint="export it with dense weights")
    nodes, held = model.graph.node, {item.name: item for item in model.graph.initializer}
    for found, message, hint in (
        (
            _named(node for node in nodes if _INTEGER.fullmatch(node.op_type)),
            "it is quantized already: {}",
            "give the float network that it was made from",
        ),
        (
            _named(node for node in nodes if node.domain not in _OF_ONNX),
            "it has operators that are not ONNX's own: {}",
            "export the network without them",
        ),
        (
            _named(node for node in nodes if node.op_type in _FLOWS),
            "its control flow depends on data: {}",
            "export the network without if and loops, or only the part before them",
        ),
        (
            _named(node for node in nodes if node.op_type in _RANDOM or _trains(node, held)),
            "it computes with random numbers: {}",
            "export it in inference mode",
        ),
    ):
        if found:
            raise InputError(message.format(found), hint=hint)
    _refuse_half(nodes, held)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators; 1 where the file does not say it."""
    return max((item.version for item in model.opset_import if item.domain in STANDARD), default=1)


def _refuse_half(nodes: Iterable[onnx.NodeProto], held: Mapping[str, onnx.TensorProto]) -> None:
    """Refuse weights that are no float32: amctq's formulas are in float32."""
    for node in nodes:
        if node.op_type not in PRODUCTS:
            continue
        for kind in (held[name].data_type for name in node.input[:2] if name in held):
            if kind != onnx.TensorProto.FLOAT:
                message = f"the weights of {node.name} are {onnx.TensorProto.DataType.Name(kind)}, expected FLOAT"
                raise InputError(message, hint="export the network in float32")


def _trains(node: onnx.NodeProto, held: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a node computes as in training."""
    if node.op_type == "BatchNormalization":  # until opset 13, more outputs say so
        return any(node.output[1:]) or any(item.name == "training_mode" and item.i for item in node.attribute)
    mode = node.input[2] if node.op_type == "Dropout" and len(node.input) > 2 else ""
    return mode != "" and (mode not in held or bool(numpy_helper.to_array(held[mode]).any()))


def _named(nodes: Iterable[onnx.NodeProto]) -> str:
    """The kinds of some nodes, for a message."""
    found = sorted({node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}" for node in nodes})
    return listed(found, _MOST_NAMED)
