"""A mean over height and width becomes a pooling, and computes the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from amctq.graph.pooling import use_global_pooling
from amctq.inference.onnx_session import OnnxSession
from tests.graph.graphs import float_graph


def _model(mean: str) -> onnx.ModelProto:
    body = f"a = Relu (image) b = ReduceMean <{mean}> (a) logits = Flatten (b)"
    return float_graph(body, {}).model


@pytest.mark.parametrize("axes", ["[2, 3]", "[-1, -2]", "[3, 2]"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_it_computes_the_same(axes: str, keepdims: int) -> None:
    images = np.random.default_rng(0).normal(size=(5, 3, 8, 8)).astype(np.float32)
    mean = f"axes = {axes}, keepdims = {keepdims}"
    pooled = use_global_pooling(_model(mean))
    onnx.checker.check_model(pooled, full_check=True)
    assert "ReduceMean" not in {node.op_type for node in pooled.graph.node}
    assert OnnxSession(pooled).logits(images) == pytest.approx(OnnxSession(_model(mean)).logits(images), abs=1e-6)


@pytest.mark.parametrize(
    "mean", ["axes = [1], keepdims = 1", "axes = [3], keepdims = 1", "axes = [1, 2], keepdims = 1"]
)
def test_other_means_stay(mean: str) -> None:
    assert "ReduceMean" in {node.op_type for node in use_global_pooling(_model(mean)).graph.node}
