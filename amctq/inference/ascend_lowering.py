"""Expressing a deploy file in standard operators, so that onnxruntime can run it (docs/en/reference.md, "Deploy ONNX").

    AscendQuant      q = clip(rint(x × scale) + offset, -128, 127)
    Conv, Gemm       Σ (q - offset) × weight + bias in int32; padding adds nothing
    AveragePool      the mean of q - offset in float32, as in AMCT's fake-quant file
    AscendDequant    y = sums × float32(bits 0…31)
    AscendAntiQuant  y = (q - offset) × scale

The sums are int32, computed by ConvInteger and MatMulInteger on uint8 with zero points shifted by 128: onnxruntime's
kernels for uint8 times uint8 are exact on every CPU, while those for uint8 times int8 saturate on x86 without VNNI.
Weights of 4 bits may stand two to a byte (packed_weights.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from amctq.errors import InputError, first_line
from amctq.graph.float_graph import FloatGraph, attributes_of
from amctq.graph.rewrite import GraphWriter
from amctq.inference.packed_weights import unpacked_weights

_QUANT, _DEQUANT, _ANTI_QUANT = "AscendQuant", "AscendDequant", "AscendAntiQuant"
_PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
_SHIFT = 128  # int8 to uint8
_NO_DEPLOY_FILE = "the file is no deploy model of AMCT or amctq"
# With other values the operators mean something else. AMCT does not write those for networks of 8 bits.
_PLAIN = {"dst_type": b"INT8", "round_mode": b"Round", "sqrt_mode": 0, "relu_flag": 0, "dtype": 0}
_UNSCALED = {"alpha": 1.0, "beta": 1.0, "transA": 0}  # of a Gemm of integers


def is_deploy(model: onnx.ModelProto) -> bool:
    """Whether a model has operators that only an NPU has."""
    return any(node.op_type.startswith("Ascend") for node in model.graph.node)


def lower(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network in standard operators, bit for bit; the argument is not changed.

    Raises:
        InputError: the file has operators, or values of their attributes, that are not listed above, or weights that
            do not fit their input.
    """
    place = "its weights"
    try:
        writer = _LoweringWriter(model)
        for node in model.graph.node:
            place = node.name or f"a node {node.op_type}"
            writer.write(node)
        return writer.finish(metadata={item.key: item.value for item in model.metadata_props})
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a node may lack any input or attribute, or have one of another kind
        message = f"{place}: not as in a deploy model ({type(error).__name__}: {first_line(error)})"
        raise InputError(message, hint=_NO_DEPLOY_FILE) from error


class _LoweringWriter(GraphWriter):
    """Keeps track of the tensors that are integers."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__(FloatGraph(model=model, file_bytes=model.ByteSize()), layers=())
        self._unpacked = unpacked_weights(model)
        self._offsets: dict[str, int] = {}  # by output of an AscendQuant
        self._sums: dict[str, tuple[int, ...]] = {}  # by int32 tensor, the shape of a scale per channel

    def write(self, node: onnx.NodeProto) -> None:
        """Write one node."""
        attributes = attributes_of(node)
        if node.op_type.startswith("Ascend"):
            self._refuse_other_kinds(node, attributes)
        integers = [name for name in node.input if name in self._offsets]
        if node.op_type == _QUANT:
            self._quantize(node, attributes)
        elif node.op_type == _DEQUANT:
            self._dequantize(node)
        elif node.op_type == _ANTI_QUANT:
            self._anti_quantize(node, attributes)
        elif integers and node.op_type in _PRODUCTS:
            self._multiply(node, attributes)
        elif integers and node.op_type == "AveragePool":
            self._average(node, attributes)
        elif integers and node.op_type == "Pad":
            self._pad(node, attributes)
        elif integers:
            message = f"{node.name}: {node.op_type} reads integers"
            known = ", ".join(sorted({*_PRODUCTS, "AveragePool", "Pad"}))
            raise InputError(message, hint=f"amctq evaluates {known} on integers")
        else:
            self._copy(node)

    def _copy(self, node: onnx.NodeProto) -> None:
        """A node on float32, or the Add of a bias to sums, which stay sums."""
        self.copy(node, node.input)
        for name in node.input:
            if name in self._sums and node.op_type != "Add":
                message = f"{node.name}: {node.op_type} reads sums of integers, expected {_DEQUANT}"
                raise InputError(message, hint=_NO_DEPLOY_FILE)
            if name in self._sums:
                self._sums[node.output[0]] = self._sums[name]

    def _quantize(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        offset = _offset(node, attributes)
        _check_scales(node, attributes["scale"])
        self._offsets[node.output[0]] = offset
        tensor = node.input[0]
        steps: tuple[tuple[str, list[float]], ...] = (
            ("Mul", [attributes["scale"]]),
            ("Round", []),
            ("Add", [offset + _SHIFT]),
            ("Clip", [0, 255]),
        )
        for op, numbers in steps:
            operands = [self._number(node, f"{op}{index}", value) for index, value in enumerate(numbers)]
            tensor = self._node(op, [tensor, *operands], f"{node.output[0]}.{op}")
        self._node("Cast", [tensor], node.output[0], to=onnx.TensorProto.UINT8)

    def _multiply(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        source, output = node.input[0], node.output[0]
        other = next((key for key, usual in _UNSCALED.items() if attributes.get(key, usual) != usual), None)
        if other is not None:
            message = f"{node.name}: {node.op_type} of integers with {other} {attributes[other]}"
            raise InputError(message, hint=_NO_DEPLOY_FILE)
        weight = self._unpacked.get(output, self._constant(node, 1))
        if weight.dtype != np.int8:
            message = f"{node.name}: weights of {weight.dtype} on integers, expected int8"
            raise InputError(message, hint=_NO_DEPLOY_FILE)
        if attributes.pop("transB", 0):
            weight = np.ascontiguousarray(weight.T)
        operands = [
            source,
            self.initializer(f"{output}.weight", weight.view(np.uint8) ^ np.uint8(_SHIFT)),
            self.initializer(f"{output}.zero", np.asarray(self._offsets[source] + _SHIFT, np.uint8)),
            self.initializer(f"{output}.weight.zero", np.asarray(_SHIFT, np.uint8)),
        ]
        convolution = node.op_type == "Conv"
        self._sums[output] = (-1, 1, 1) if convolution else (-1,)
        biased = len(node.input) > 2
        products = f"{output}.products" if biased else output
        if convolution:
            self._node("ConvInteger", operands, products, **attributes)
        else:
            self._node("MatMulInteger", operands, products)
        if biased:
            bias = self._constant(node, 2).astype(np.int32).reshape(self._sums[output])
            self._node("Add", [products, self.initializer(f"{output}.bias", bias)], output)

    def _average(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        output = node.output[0]
        steps = self._steps(node.input[0], self._offsets[node.input[0]], output)
        self._node("AveragePool", [steps], output, **attributes)
        self._sums[output] = (-1, 1, 1)

    def _pad(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        """Padding with real zeros: AMCT writes it before an AveragePool."""
        output, offset = node.output[0], self._offsets[node.input[0]]
        value = self._constant(node, 2) if len(node.input) > 2 and node.input[2] else 0
        if np.any(value) or attributes.get("mode", b"constant") != b"constant":
            message = f"{node.name}: a Pad of integers that does not add zeros"
            raise InputError(message, hint=_NO_DEPLOY_FILE)
        zero = self.initializer(f"{output}.zero", np.asarray(offset + _SHIFT, np.uint8))
        self._node("Pad", [*node.input[:2], zero], output)
        self._offsets[output] = offset

    def _steps(self, integers: str, offset: float, label: str) -> str:
        """``q - offset`` in float32."""
        real = self._node("Cast", [integers], f"{label}.float", to=onnx.TensorProto.FLOAT)
        zero = self.initializer(f"{label}.zero", np.asarray(offset + _SHIFT, np.float32))
        return self._node("Sub", [real, zero], f"{label}.steps")

    def _dequantize(self, node: onnx.NodeProto) -> None:
        parameter = self._constant(node, 1)
        if np.any(parameter >> np.uint64(32)):
            message = f"{node.name}: its parameter holds an offset of weights or a shift, expected only a scale"
            raise InputError(message, hint="amctq evaluates symmetric weights, as AMCT writes them")
        scale = parameter.astype(np.uint32).view(np.float32).reshape(self._sums.get(node.input[0], (-1,)))
        _check_scales(node, scale)
        real = self._node("Cast", [node.input[0]], f"{node.output[0]}.float", to=onnx.TensorProto.FLOAT)
        self._node("Mul", [real, self.initializer(f"{node.output[0]}.scale", scale)], node.output[0])

    def _anti_quantize(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        output = node.output[0]
        _check_scales(node, attributes["scale"])
        steps = self._steps(node.input[0], _offset(node, attributes), output)
        self._node("Mul", [steps, self._number(node, "scale", attributes["scale"])], output)

    def _refuse_other_kinds(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        if node.op_type not in {_QUANT, _DEQUANT, _ANTI_QUANT}:
            message = f"{node.name}: amctq does not evaluate {node.op_type}"
            raise InputError(message, hint=f"it knows {_QUANT}, {_DEQUANT} and {_ANTI_QUANT}")
        for key, value in attributes.items():
            if key in _PLAIN and value != _PLAIN[key]:
                message = f"{node.name}: {node.op_type} with {key} {value!r}, expected {_PLAIN[key]!r}"
                raise InputError(message, hint="amctq evaluates networks of 8 bits with float32 between their layers")

    def _constant(self, node: onnx.NodeProto, index: int) -> NDArray[Any]:
        name = node.input[index]
        if name not in self._graph.arrays:
            message = f"{node.name}: {name} is not constant"
            raise InputError(message, hint=_NO_DEPLOY_FILE)
        return self._graph.arrays[name]

    def _number(self, node: onnx.NodeProto, role: str, value: float) -> str:
        return self.initializer(f"{node.output[0]}.{role}", np.asarray(value, np.float32))

    def _node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        return self.node(op, output, inputs, output, **attributes)


def _offset(node: onnx.NodeProto, attributes: dict[str, Any]) -> int:
    """The offset of a node, which a file has as a float32."""
    offset = attributes["offset"]
    if offset not in range(-_SHIFT, _SHIFT):
        message = f"{node.name}: {node.op_type} with offset {offset}, expected a whole number from -128 to 127"
        raise InputError(message, hint=_NO_DEPLOY_FILE)
    return int(offset)


def _check_scales(node: onnx.NodeProto, scales: Any) -> None:
    """Refuse what no scale can be; 0 is one that float32 cannot hold."""
    if not np.all(np.isfinite(scales) & (np.asarray(scales) >= 0)):
        message = f"{node.name}: {node.op_type} with a scale that is negative, infinite or NaN"
        raise InputError(message, hint=_NO_DEPLOY_FILE)
