"""Raising a graph to a newer ONNX opset."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.version_converter
from onnx import numpy_helper

from amctq.choices import WeightType
from amctq.graph.float_graph import FloatGraph

# Operators whose meaning for float tensors is the same from opset 11 to 17; with these alone the number can simply be
# raised. The version converter takes seconds on a ResNet-50.
_UNCHANGED_11_TO_17 = frozenset(
    """
    Abs Add AveragePool BatchNormalization Cast Ceil Clip Concat Constant Conv ConvTranspose Div Elu Erf Exp Expand
    Flatten Floor Gather Gemm GlobalAveragePool GlobalMaxPool HardSigmoid Identity LeakyRelu Log MatMul Max MaxPool
    Min Mul Neg PRelu Pad Pow ReduceL2 ReduceMax ReduceMean ReduceMin Relu Reshape Round Selu Shape Sigmoid Sign
    Slice Softplus Sqrt Sub Tanh Transpose Where
    """.split()
)
# From 18 on these take their axes as an input; nothing else of the above changes up to 21, but for AveragePool's
# ceil_mode, which the converter is left to.
_AXES_BECOME_INPUT = frozenset({"ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin"})
_UNCHANGED_17_TO_21 = _UNCHANGED_11_TO_17 - {"AveragePool"}

# Per-channel DequantizeLinear needs 13; 17 is what onnxruntime's own quantizer writes.
OPSET = 17
# INT4 tensors come with 21.
INT4_OPSET = 21
# MindSpore's own, and the middle of what CANN's parsers of AscendQuant and AscendDequant are registered for: 9 to 12 in
# the oldest of them, 8 to 22 in the newest.
DEPLOY_OPSET = 11
_IR_VERSIONS = {DEPLOY_OPSET: 6, OPSET: 8, INT4_OPSET: 10}  # the ones that belong to them


def raise_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph at OPSET; the argument may be changed."""
    return _raised(model, OPSET, unchanged=_UNCHANGED_11_TO_17)


def graph_for(graph: FloatGraph, weight_type: WeightType) -> FloatGraph:
    """The graph at the opset that a file with such weights needs: the one place where it rises beyond OPSET."""
    if weight_type is not WeightType.INT4:
        return graph
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    if {node.op_type for node in model.graph.node} <= _UNCHANGED_17_TO_21:
        for node in model.graph.node:
            if node.op_type in _AXES_BECOME_INPUT:
                _axes_as_input(model, node)
    return FloatGraph(model=_raised(model, INT4_OPSET, unchanged=_UNCHANGED_17_TO_21), file_bytes=graph.file_bytes)


def deploy_graph(graph: FloatGraph) -> FloatGraph:
    """The graph at the opset that every CANN takes, where its operators are the same there."""
    if not {node.op_type for node in graph.model.graph.node} <= _UNCHANGED_11_TO_17:
        return graph
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    return FloatGraph(model=_raised(model, DEPLOY_OPSET, unchanged=_UNCHANGED_11_TO_17), file_bytes=graph.file_bytes)


def _raised(model: onnx.ModelProto, opset: int, *, unchanged: frozenset[str]) -> onnx.ModelProto:
    if {node.op_type for node in model.graph.node} <= unchanged:
        del model.opset_import[:]
        model.opset_import.append(onnx.helper.make_opsetid("", opset))
    else:
        model = onnx.version_converter.convert_version(model, opset)
    model.ir_version = _IR_VERSIONS[opset]
    return model


def _axes_as_input(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    """Turn the attribute ``axes`` of opset 17 into the input of opset 18."""
    for attribute in list(node.attribute):
        if attribute.name == "axes":
            name = f"{node.output[0]}.axes"
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(attribute.ints, np.int64), name))
            node.input.append(name)
            node.attribute.remove(attribute)
