"""A reader of QDQ files as strict as TensorRT's documented rules; TensorRT itself needs a GPU and is not here.

Sources: "Explicit Quantization" in NVIDIA's documentation (symmetric, int8, Q/DQ on both operands of a sum, Q/DQ pairs
around weighted operations), and onnx-tensorrt 10.1: docs/operators.md for the types of each operator, and
QuantDequantLinearHelper in onnxOpImporters.cpp for what it asserts of scales and zero points.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSETS = range(9, 21)
# Operators without an importer, or that do not take float32.
UNKNOWN = {
    *("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul", "MaxUnpool", "Det"),
    *("BitShift", "Compress", "CenterCropPad", "Col2Im", "DFT", "StringNormalizer", "TfIdfVectorizer", "Unique"),
}
WEIGHTED = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}


class Refused(Exception):
    """TensorRT would not take the file, or not run it in integers."""


def read(model: onnx.ModelProto) -> set[str]:
    """Names of the weighted nodes that compute in integers.

    Raises:
        Refused: the file breaks a rule.
    """
    return _Reader(model).read()


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.graph = model, model.graph
        self.arrays = {item.name: numpy_helper.to_array(item) for item in self.graph.initializer}
        self.makers = {name: node for node in self.graph.node for name in node.output}
        self.constants = set(self.arrays)  # and what is computed of them alone, which TensorRT folds first
        for node in self.graph.node:
            if self.constants.issuperset(filter(None, node.input)):
                self.constants.update(node.output)
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def read(self) -> set[str]:
        versions = [(item.domain, item.version in OPSETS) for item in self.model.opset_import]
        self.must(versions == [("", True)], f"opset {self.model.opset_import}")
        for port in (*self.graph.input, *self.graph.output):
            kind = port.type.tensor_type.elem_type
            self.must(kind in {TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}, port.name)
        for node in self.graph.node:
            self.must(node.op_type not in UNKNOWN, f"{node.name}: no importer for {node.op_type}")
            if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
                self.check_pair(node)
            else:
                self.check_operands(node)
        return {node.name for node in self.graph.node if self.computes_in_integers(node)}

    def must(self, holds: bool, what: str) -> None:
        if not holds:
            raise Refused(what)

    def check_pair(self, node: onnx.NodeProto) -> None:
        self.must(len(node.input) == 3, f"{node.name}: the type of the integers is that of the zero point")
        scale, zero = (self.arrays.get(name) for name in node.input[1:])
        self.must(scale is not None and zero is not None, f"{node.name}: scale and zero point are constants")
        assert scale is not None
        assert zero is not None
        self.must(scale.dtype == np.float32 and bool((scale > 0).all()), f"{node.name}: scale coefficients > 0")
        self.must(zero.dtype == np.int8, f"{node.name}: {zero.dtype}, TensorRT has int8")
        self.must(not zero.any(), f"{node.name}: only symmetric quantization")
        self.must(zero.size == scale.size, f"{node.name}: the same volume of scale and zero point")
        source = self.arrays.get(node.input[0])
        if node.op_type == "QuantizeLinear":
            self.must(scale.size == 1, f"{node.name}: activations have one scale")
            self.must(source is None, f"{node.name}: weights are stored in integers")
            into = self.readers.get(node.output[0], [])
            # Operators of int8 tensors do not exist (operators.md): only the other half of the pair reads them.
            self.must(bool(into) and all(n.op_type == "DequantizeLinear" for n in into), f"{node.name}: read by others")
            for other in into:
                pairs = zip(node.input[1:], other.input[1:], strict=True)
                same = all(np.array_equal(self.arrays[a], self.arrays[b]) for a, b in pairs)
                self.must(same, f"{node.name} and {other.name}: other scales")
            return
        if source is None:
            maker = self.makers.get(node.input[0])
            self.must(maker is not None and maker.op_type == "QuantizeLinear", f"{node.name}: reads no QuantizeLinear")
            return
        self.must(source.dtype == np.int8, f"{node.name}: only activation types allowed as input to this layer")
        if scale.size > 1:
            axis = next((helper.get_attribute_value(item) for item in node.attribute if item.name == "axis"), 1)
            self.must(source.shape[axis] == scale.size, f"{node.name}: number of scales and of output channels")

    def check_operands(self, node: onnx.NodeProto) -> None:
        integers = [name for name in node.input if self.is_int8(name)]
        self.must(not integers, f"{node.name}: {node.op_type} reads int8 {integers}")
        pairs = [self.is_dequantized(name) for name in node.input if name]
        if node.op_type in WEIGHTED and len(node.input) >= 2:
            self.must(pairs[0] == pairs[1], f"{node.name}: one operand in integers, the other in float")
            if len(node.input) > 2:
                self.must(not pairs[2], f"{node.name}: the bias is a float")
        if node.op_type == "Add" and self.constants.isdisjoint(node.input):
            self.must(pairs[0] == pairs[1], f"{node.name}: Q/DQ on both operands of a sum, or on none")

    def is_int8(self, name: str) -> bool:
        array, maker = self.arrays.get(name), self.makers.get(name)
        return (array is not None and array.dtype == np.int8) or (
            maker is not None and maker.op_type == "QuantizeLinear"
        )

    def is_dequantized(self, name: str) -> bool:
        maker = self.makers.get(name)
        return maker is not None and maker.op_type == "DequantizeLinear"

    def computes_in_integers(self, node: onnx.NodeProto) -> bool:
        return node.op_type in WEIGHTED and self.is_dequantized(node.input[0])
