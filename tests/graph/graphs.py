"""Small ONNX graphs in text, as MindSpore would export them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray
from onnx import numpy_helper

from amctq.graph.float_graph import FloatGraph


def float_graph(body: str, arrays: dict[str, NDArray[np.float32]], *, image: str = "N, 3, 8, 8") -> FloatGraph:
    """A graph ``image -> logits`` with the given nodes and constants."""
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> net (float[{image}] image) => (float[N, k] logits) {{ {body} }}'
    )
    for index, node in enumerate(model.graph.node):
        node.name = f"{index}{node.op_type}"
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return FloatGraph(model=model, file_bytes=len(model.SerializeToString()))


def residual_graph(seed: int = 0) -> FloatGraph:
    """A network in small: stem, a residual block whose two branches share an input, pooling, Dense.

    image ─ conv1 ─ bn1 ─ relu ─┬─ left ─ bn ─┬─ add ─ relu ─ pool ─ flatten ─ end_point
                                └─ right ─────┘
    """
    random = np.random.default_rng(seed)

    def array(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 0.3, shape).astype(np.float32)

    def norm(name: str, channels: int) -> dict[str, NDArray[np.float32]]:
        return {
            f"{name}.gamma": array(channels),
            f"{name}.beta": array(channels),
            f"{name}.moving_mean": array(channels),
            f"{name}.moving_variance": np.abs(array(channels)) + np.float32(0.1),
        }

    arrays = {
        "conv1.weight": array(4, 3, 3, 3),
        **norm("bn1", 4),
        "left.weight": array(4, 4, 3, 3),
        **norm("bn", 4),
        "right.weight": array(4, 4, 1, 1),
        "right.bias": array(4),
        "end_point.weight": array(5, 4),
        "end_point.bias": array(5),
    }
    body = """
        a = Conv <pads = [1, 1, 1, 1]> (image, conv1.weight)
        b = BatchNormalization <epsilon = 0.001> (a, bn1.gamma, bn1.beta, bn1.moving_mean, bn1.moving_variance)
        c = Relu (b)
        d = Conv <pads = [1, 1, 1, 1]> (c, left.weight)
        e = BatchNormalization <epsilon = 0.001> (d, bn.gamma, bn.beta, bn.moving_mean, bn.moving_variance)
        f = Conv (c, right.weight, right.bias)
        g = Add (e, f)
        h = Relu (g)
        i = GlobalAveragePool (h)
        j = Flatten (i)
        logits = Gemm <transB = 1> (j, end_point.weight, end_point.bias)
    """
    return float_graph(quoted(body, arrays), arrays)


def quoted(body: str, arrays: dict[str, NDArray[np.float32]]) -> str:
    """Names with dots need quotes in ONNX's text format."""
    for name in sorted(arrays, key=len, reverse=True):
        body = body.replace(f"{name},", f'"{name}",').replace(f"{name})", f'"{name}")')
    return body
