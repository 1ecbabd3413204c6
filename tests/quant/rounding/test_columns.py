"""The matrix of a convolution's inputs, against onnxruntime: weight times matrix is what the convolution computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from amctq.graph.windows import windows_of
from amctq.inference.onnx_session import OnnxSession
from amctq.quant.numerics import Float32Array
from tests.arrays import logits_of

RANDOM = np.random.default_rng(1)
# op, shape of the weight, shape of the inputs, attributes
CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": ("Conv", (4, 3, 3, 3), (2, 3, 7, 8), {}),
    "pads and strides": ("Conv", (4, 3, 3, 5), (2, 3, 9, 8), {"pads": [1, 2, 0, 3], "strides": [2, 1]}),
    "dilated": ("Conv", (4, 3, 3, 3), (2, 3, 9, 9), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
    "grouped": ("Conv", (4, 2, 3, 3), (2, 4, 6, 6), {"group": 2, "pads": [1, 1, 1, 1]}),
    "depthwise": ("Conv", (4, 1, 3, 3), (2, 4, 6, 6), {"group": 4, "strides": [2, 2]}),
    "1-D": ("Conv", (4, 3, 3), (2, 3, 9), {"pads": [1, 0], "strides": [2]}),
    "3-D": ("Conv", (4, 3, 2, 3, 2), (2, 3, 5, 5, 5), {"pads": [0, 1, 0, 1, 1, 1]}),
    "transposed": ("ConvTranspose", (3, 4, 3, 3), (2, 3, 5, 6), {}),
    "transposed with strides": (
        "ConvTranspose",
        (3, 4, 3, 3),
        (2, 3, 5, 6),
        {"strides": [2, 3], "pads": [1, 0, 2, 1], "output_padding": [1, 0], "dilations": [1, 2]},
    ),
    "transposed, cut": ("ConvTranspose", (3, 4, 2, 2), (2, 3, 5, 6), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
}


@pytest.mark.parametrize("case", CASES)
def test_weight_times_columns_is_the_convolution(case: str) -> None:
    op, weight_shape, shape, attributes = CASES[case]
    weight, images = (RANDOM.normal(size=size).astype(np.float32) for size in (weight_shape, shape))
    node = helper.make_node(op, ["x", "w"], ["y"], **attributes)
    expected = convolved(node, weight, images)
    windows = windows_of(node, weight.shape[2:])
    assert windows is not None
    view = windows.windows(images)
    columns = windows.columns(view)
    rows = weight if op == "Conv" else np.moveaxis(weight, 1, 0)
    found = rows.reshape(windows.groups, -1, columns.shape[1]) @ columns
    moved = np.moveaxis(expected, 1, 0)  # (C_out, N, …)
    np.testing.assert_allclose(found.reshape(moved.shape), moved, atol=1e-5)
    np.testing.assert_allclose(windows.sums(view), columns.sum(axis=2), rtol=1e-4, atol=1e-4)


def convolved(node: onnx.NodeProto, weight: Float32Array, images: Float32Array) -> Float32Array:
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, images.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return logits_of(OnnxSession(model), images)
