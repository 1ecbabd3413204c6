"""Networks of other producers, as their exporters write them, with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Float = NDArray[np.float32]


def initializer(name: str, array: Any) -> onnx.TensorProto:
    """A constant; floats become float32."""
    array = np.asarray(array)
    return numpy_helper.from_array(array.astype(np.float32) if array.dtype.kind == "f" else array, name)


def model(
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto],
    *,
    shape: Sequence[int | str | None],
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    domains: Sequence[str] = (),
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model with the input ``x``."""
    graph = helper.make_graph(
        list(nodes),
        "foreign",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        list(initializers),
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def run(proto: onnx.ModelProto, array: NDArray[Any]) -> list[NDArray[Any]]:
    """All outputs in onnxruntime, which runs every node as it is."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: array}))


def attention(batch: int, *, tokens: int = 5, width: int = 12, heads: int = 3) -> onnx.ModelProto:
    """A layer of a ViT for one batch size: the class token is a constant with the batch, every Reshape has the batch.

    Heads and samples are one axis, as torch's bmm wants them.
    """
    draw = np.random.default_rng(3)
    each = width // heads
    rows = batch * heads
    nodes = [
        helper.make_node("Concat", ["token", "x"], ["joined"], axis=1),
        helper.make_node("MatMul", ["joined", "qkv.weight"], ["qkv"]),
        helper.make_node("Split", ["qkv", "thirds"], ["q", "k", "v"], axis=2),
    ]
    for name in "qkv":
        nodes += [
            helper.make_node("Reshape", [name, "apart"], [f"{name}.apart"]),
            helper.make_node("Transpose", [f"{name}.apart"], [f"{name}.heads"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"{name}.heads", "rows"], [f"{name}.rows"]),
        ]
    nodes += [
        helper.make_node("Transpose", ["k.rows"], ["k.turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q.rows", "k.turned"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "v.rows"], ["mixed"]),
        helper.make_node("Reshape", ["mixed", "again"], ["mixed.heads"]),
        helper.make_node("Transpose", ["mixed.heads"], ["mixed.tokens"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["mixed.tokens", "together"], ["mixed.joined"]),
        helper.make_node("MatMul", ["mixed.joined", "head.weight"], ["y"]),
    ]
    sizes = {
        "thirds": [width] * 3,
        "apart": [batch, tokens + 1, heads, each],
        "rows": [rows, -1, each],
        "again": [batch, heads, tokens + 1, each],
        "together": [batch, tokens + 1, width],
    }
    return model(
        nodes,
        [
            initializer("token", np.repeat(draw.normal(size=(1, 1, width)), batch, axis=0)),
            initializer("qkv.weight", draw.normal(size=(width, 3 * width))),
            initializer("head.weight", draw.normal(size=(width, 4))),
            *(initializer(name, np.asarray(value, np.int64)) for name, value in sizes.items()),
        ],
        shape=[batch, tokens, width],
    )


def tokens_first(batch: int) -> onnx.ModelProto:
    """As torch's MultiheadAttention: the batch is the second axis, then inside an axis with the heads or the tokens."""
    draw = np.random.default_rng(4)
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["turned", "rows"], ["rows.1"]),
        helper.make_node("Transpose", ["rows.1"], ["rows.2"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["rows.2", "heads"], ["again"]),
        helper.make_node("Transpose", ["again"], ["tokens"], perm=[2, 0, 1, 3]),
        helper.make_node("Reshape", ["tokens", "all"], ["matrix"]),
        helper.make_node("Gemm", ["matrix", "out.weight", "out.bias"], ["mixed"], transB=1),
        helper.make_node("Reshape", ["mixed", "back"], ["parts"]),
        helper.make_node("Transpose", ["parts"], ["samples"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["samples", "flat"], ["joined"]),
        helper.make_node("MatMul", ["joined", "head.weight"], ["y"]),
    ]
    sizes = {
        "rows": [5, batch * 3, 4],
        "heads": [batch, 3, 5, 4],
        "all": [5 * batch, 12],
        "back": [5, batch, 12],
        "flat": [batch, 60],
    }
    return model(
        nodes,
        [
            initializer("out.weight", draw.normal(size=(12, 12))),
            initializer("out.bias", draw.normal(size=12)),
            initializer("head.weight", draw.normal(size=(60, 4))),
            *(initializer(name, np.asarray(value, np.int64)) for name, value in sizes.items()),
        ],
        shape=[batch, 5, 12],
    )


def recurrent(batch: int) -> onnx.ModelProto:
    """An LSTM whose first states are zeros for the batch, and a mask that is expanded over heads."""
    draw = np.random.default_rng(6)
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["turned", "w", "r", "b", "", "zeros", "zeros"], ["all", "last"], hidden_size=6),
        helper.make_node("Squeeze", ["last", "axis"], ["state"]),
        helper.make_node("Reshape", ["state", "apart"], ["one"]),
        helper.make_node("Expand", ["one", "heads"], ["many"]),
        helper.make_node("Reshape", ["many", "flat"], ["joined"]),
        helper.make_node("MatMul", ["joined", "head.weight"], ["y"]),
    ]
    sizes = {"axis": [0], "apart": [batch, 1, 6], "heads": [batch, 3, 6], "flat": [batch, 18]}
    return model(
        nodes,
        [
            initializer("w", draw.normal(size=(1, 24, 12))),
            initializer("r", draw.normal(size=(1, 24, 6))),
            initializer("b", draw.normal(size=(1, 48))),
            initializer("zeros", np.zeros((1, batch, 6), np.float32)),
            initializer("head.weight", draw.normal(size=(18, 4))),
            *(initializer(name, np.asarray(value, np.int64)) for name, value in sizes.items()),
        ],
        shape=[batch, 5, 12],
    )
