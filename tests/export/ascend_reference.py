"""The operators of an NPU for onnx's own reference evaluator: what CANN's manual says of each, in NumPy.

AscendQuant      round(x × scale) + offset, clipped to int8
Conv, Gemm       Σ (q - offset) × weight + bias, integers; padding is real zero
AscendDequant    sums × scale, float32        (docs/en/reference.md, "Deploy ONNX")
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun


class AscendQuant(OpRun):
    def _run(self, x: NDArray[np.float32], scale: float, offset: float, dst_type: str) -> Any:
        assert dst_type == "INT8"
        steps = np.rint(x * np.float32(scale)) + np.float32(offset)
        return (np.clip(steps, -128, 127).astype(np.int8),)


class AscendDequant(OpRun):
    def _run(self, x: NDArray[np.int32], parameter: NDArray[np.uint64], dtype: int) -> Any:
        assert dtype == 0
        assert x.dtype == np.int32
        scale = np.asarray([int(value) & 0xFFFFFFFF for value in parameter], np.uint32).view(np.float32)
        return (x.astype(np.float32) * scale.reshape(-1, *(1,) * (x.ndim - 2)),)


class IntegerConv(OpRun):
    def _run(self, x: Any, w: Any, b: Any = None, **attributes: Any) -> Any:
        kernel, strides = w.shape[2:], attributes.get("strides") or [1, 1]
        top, left, bottom, right = attributes.get("pads") or [0, 0, 0, 0]
        groups = attributes.get("group") or 1
        real = np.pad(x.astype(np.int64) - attributes["offset"], ((0, 0), (0, 0), (top, bottom), (left, right)))
        windows = np.lib.stride_tricks.sliding_window_view(real, kernel, axis=(2, 3))
        windows = windows[:, :, :: strides[0], :: strides[1]]
        pairs = zip(np.split(windows, groups, axis=1), np.split(w.astype(np.int64), groups), strict=True)
        sums = np.concatenate([np.einsum("nchwij,ocij->nohw", one, two) for one, two in pairs], axis=1)
        return (sums.astype(np.int32) if b is None else (sums + b.reshape(-1, 1, 1)).astype(np.int32),)


class IntegerGemm(OpRun):
    def _run(self, x: Any, w: Any, b: Any = None, **attributes: Any) -> Any:
        assert not attributes.get("transB")
        sums = (x.astype(np.int64) - attributes["offset"]) @ w.astype(np.int64)
        return ((sums if b is None else sums + b).astype(np.int32),)


def reference(model: onnx.ModelProto) -> ReferenceEvaluator:
    """An evaluator of a deploy file.

    A product of integers gets a name of its own, and the offset of its operand beside it: where the padding is real
    zero, the product must know what zero is.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.opset_import.append(helper.make_opsetid("npu", 1))
    offsets: dict[str, int] = {}
    for node in copy.graph.node:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type == "AscendQuant":
            offsets[node.output[0]] = int(attributes["offset"])
        elif node.input and node.input[0] in offsets:
            node.op_type = f"Integer{node.op_type}"
            node.attribute.append(helper.make_attribute("offset", offsets[node.input[0]]))
        if node.op_type.startswith(("Ascend", "Integer")):
            node.domain = "npu"
    for operator in (AscendQuant, AscendDequant, IntegerConv, IntegerGemm):
        operator.op_domain = "npu"
    return ReferenceEvaluator(copy, new_ops=[AscendQuant, AscendDequant, IntegerConv, IntegerGemm])
