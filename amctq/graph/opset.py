"""Changing the ONNX opset of a graph."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import onnx
import onnx.version_converter
from onnx import numpy_helper

from amctq.choices import WeightType
from amctq.graph.float_graph import FloatGraph

# Operators that mean the same for float tensors from opset 11 to 17. In a graph with only these, it is enough to change
# the number; the version converter takes seconds on a ResNet-50.
_UNCHANGED_11_TO_17 = frozenset(
    """
    Abs Add AveragePool BatchNormalization Cast Ceil Clip Concat Constant Conv ConvTranspose Div Elu Erf Exp Expand
    Flatten Floor Gather Gemm GlobalAveragePool GlobalMaxPool HardSigmoid Identity LeakyRelu Log MatMul Max MaxPool
    Min Mul Neg PRelu Pad Pow ReduceL2 ReduceMax ReduceMean ReduceMin Relu Reshape Round Selu Shape Sigmoid Sign
    Slice Softplus Sqrt Sub Tanh Transpose Where
    """.split()
)
# From opset 18 on, these have their axes as an input. Of the operators above, only AveragePool changes too up to opset
# 21 (its ceil_mode); a graph with it goes through the converter.
_AXES_BECOME_INPUT = frozenset({"ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin"})
_UNCHANGED_17_TO_21 = _UNCHANGED_11_TO_17 - {"AveragePool"}

# DequantizeLinear per channel needs 13; onnxruntime's own quantizer writes 17.
OPSET = 17
# INT4 tensors need 21.
INT4_OPSET = 21
# The opset that MindSpore exports. CANN has parsers of AscendQuant and AscendDequant for 9 to 12 in its oldest
# version, and for 8 to 22 in its newest.
DEPLOY_OPSET = 11
IR_VERSIONS = {DEPLOY_OPSET: 6, OPSET: 8, INT4_OPSET: 10}  # those that ONNX published with these opsets


def graph_for(graph: FloatGraph, weight_type: WeightType) -> FloatGraph:
    """The graph in the opset that weights of this type need: at least INT4_OPSET for INT4, else unchanged."""
    if weight_type is not WeightType.INT4 or _opset(graph.model) >= INT4_OPSET:
        return graph
    model = copy.deepcopy(graph.model)
    if _has_only(model, _UNCHANGED_17_TO_21):
        for node in model.graph.node:
            if node.op_type in _AXES_BECOME_INPUT:
                _move_axes_to_input(model, node)
    return replace(graph, model=_with_opset(model, INT4_OPSET, unchanged=_UNCHANGED_17_TO_21))


def deploy_graph(graph: FloatGraph) -> FloatGraph:
    """The graph in DEPLOY_OPSET, which every CANN reads; unchanged where an operator means something else there."""
    # A newer graph is not OPSET's: it may say in inputs what DEPLOY_OPSET says in attributes.
    if _opset(graph.model) > OPSET or not _has_only(graph.model, _UNCHANGED_11_TO_17):
        return graph
    model = copy.deepcopy(graph.model)
    return replace(graph, model=_with_opset(model, DEPLOY_OPSET, unchanged=_UNCHANGED_11_TO_17))


def _opset(model: onnx.ModelProto) -> int:
    return next(item.version for item in model.opset_import if item.domain in {"", "ai.onnx"})


def _has_only(model: onnx.ModelProto, operators: frozenset[str]) -> bool:
    return operators.issuperset(node.op_type for node in model.graph.node)


def _with_opset(model: onnx.ModelProto, opset: int, *, unchanged: frozenset[str]) -> onnx.ModelProto:
    if _has_only(model, unchanged):
        del model.opset_import[:]
        model.opset_import.append(onnx.helper.make_opsetid("", opset))
    else:
        model = onnx.version_converter.convert_version(model, opset)
    model.ir_version = IR_VERSIONS[opset]
    return model


def _move_axes_to_input(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    """Change the attribute ``axes`` of opset 17 to the input of opset 18."""
    for attribute in list(node.attribute):
        if attribute.name == "axes":
            name = f"{node.output[0]}.axes"
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(attribute.ints, np.int64), name))
            node.input.append(name)
            node.attribute.remove(attribute)
