"""Whether a QDQ file is one that Huawei's amct_onnx.convert_qat_model can turn into a deploy file.

Its documented limits (AMCT for ONNX, "QAT Model Adaptation to CANN Format"): both halves of a pair have the same
factors, only weights of convolutions have one for each channel, a MatMul has one constant of two axes, and only Conv,
ConvTranspose, Gemm, MatMul and Add match a pair.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

_MATCHED = frozenset({"Add", "Conv", "ConvTranspose", "Gemm", "MatMul"})
_PRODUCTS = frozenset({"Gemm", "MatMul"})


def unfit_nodes(model: onnx.ModelProto) -> Iterator[str]:
    """The nodes that break a documented limit, each with the limit."""
    arrays = {item.name: item for item in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            if arrays[node.input[1]].dims:
                yield f"{node.name}: an activation has a factor for each channel"
            for reader in readers.get(node.output[0], ()):
                same = reader.op_type == "DequantizeLinear" and all(
                    np.array_equal(numpy_helper.to_array(arrays[one]), numpy_helper.to_array(arrays[other]))
                    for one, other in zip(node.input[1:], reader.input[1:], strict=True)
                )
                if not same:
                    yield f"{reader.name}: no pair with the same factors as {node.name}"
        elif node.op_type == "DequantizeLinear" and node.input[0] in makers:
            for reader in readers.get(node.output[0], ()):
                if reader.op_type not in _MATCHED:
                    yield f"{reader.name}: {reader.op_type} matches no pair"
        elif node.op_type == "DequantizeLinear":
            for reader in readers.get(node.output[0], ()):
                if reader.op_type in _PRODUCTS and arrays[node.input[1]].dims and reader.input[1] == node.output[0]:
                    yield f"{reader.name}: the weight of a {reader.op_type} has a factor for each channel"
                if reader.op_type == "MatMul" and len(arrays[node.input[0]].dims) != 2:
                    yield f"{reader.name}: the weight of a MatMul has no two axes"
