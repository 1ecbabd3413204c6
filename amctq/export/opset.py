"""Raising a graph to a newer ONNX opset."""

from __future__ import annotations

import onnx
import onnx.version_converter

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

# Per-channel DequantizeLinear needs 13; 17 is what onnxruntime's own quantizer writes.
OPSET = 17
IR_VERSION = 8  # the one that belongs to opset 17


def raise_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph at OPSET; the argument may be changed."""
    if {node.op_type for node in model.graph.node} <= _UNCHANGED_11_TO_17:
        del model.opset_import[:]
        model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    else:
        model = onnx.version_converter.convert_version(model, OPSET)
    model.ir_version = IR_VERSION
    return model
