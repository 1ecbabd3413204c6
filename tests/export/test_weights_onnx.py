"""Three ways to store weights, one result; what onnxruntime makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from amctq.choices import WeightType
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.saturation import may_saturate
from amctq.quant.numerics import Float32Array
from tests.arrays import logits_of
from tests.export.quantized import quantize
from tests.graph.graphs import residual_graph
from tests.kernels import kernels


@pytest.fixture
def graph() -> FloatGraph:
    return residual_graph()


@pytest.fixture
def images() -> Float32Array:
    return np.random.default_rng(5).normal(size=(6, 3, 8, 8)).astype(np.float32)


def _wide(graph: FloatGraph) -> FloatGraph:
    """The same network with the largest weight of each layer in two neighbouring places of every channel."""
    changed = {}
    for item in quantize(graph)[0]:
        weight = graph.arrays[item.layer.weight].copy()
        item.layer.by_channel(weight)[:, :2] = np.abs(weight).max()
        changed[item.layer.weight] = weight
    return graph.with_arrays(changed)


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """ONNX type of the weight of each layer."""
    end = ".weight.q"
    return {item.name.removesuffix(end): item.data_type for item in model.graph.initializer if item.name.endswith(end)}


@pytest.mark.parametrize(
    ("bits", "wanted", "stored", "opset"),
    [
        (8, WeightType.INT8, onnx.TensorProto.INT8, 17),
        (4, WeightType.INT8, onnx.TensorProto.INT8, 17),
        (8, WeightType.UINT8, onnx.TensorProto.UINT8, 17),
        (7, WeightType.UINT8, onnx.TensorProto.INT8, 17),  # nothing saturates, and int8 is faster
        (4, WeightType.INT4, onnx.TensorProto.INT4, 21),
    ],
)
def test_the_type_is_the_one_asked_for_where_the_width_allows_it(
    bits: int, wanted: WeightType, stored: int, opset: int, graph: FloatGraph, images: Float32Array
) -> None:
    graph = _wide(graph)
    quantized = quantize(graph, bits=bits)
    model = build_qdq(graph, *quantized, weight_type=wanted)
    onnx.checker.check_model(model, full_check=True)
    assert set(_types(model).values()) == {stored}
    assert [item.version for item in model.opset_import] == [opset]
    assert np.array_equal(
        logits_of(OnnxSession(model), images), logits_of(OnnxSession(build_qdq(graph, *quantized)), images)
    )


def test_the_float_graph_is_left_as_it_was(graph: FloatGraph) -> None:
    before = graph.model.SerializeToString(deterministic=True)
    build_qdq(graph, *quantize(graph, bits=4), weight_type=WeightType.INT4)
    assert graph.model.SerializeToString(deterministic=True) == before


def test_one_file_can_hold_several_widths(graph: FloatGraph, images: Float32Array) -> None:
    quantized = quantize(graph, bits=4, others={"conv1": 8, "right": 7})
    model = build_qdq(graph, *quantized, weight_type=WeightType.INT4)
    int4, int8 = onnx.TensorProto.INT4, onnx.TensorProto.INT8
    assert _types(model) == {"conv1": int8, "left": int4, "right": int8, "end_point": int4}
    assert np.array_equal(
        logits_of(OnnxSession(model), images), logits_of(OnnxSession(build_qdq(graph, *quantized)), images)
    )


def test_no_zero_point_but_128_stands_for_the_same_numbers(graph: FloatGraph) -> None:
    graph = _wide(graph)
    model = build_qdq(graph, *quantize(graph), weight_type=WeightType.UINT8)
    arrays = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    zero_points = {node.name: node.input[2] for node in model.graph.node if len(node.input) > 2}
    for item in quantize(graph)[0]:
        name = f"{item.layer.name}.weight"
        assert set(arrays[zero_points[f"{name}.dq"]].ravel().tolist()) == {128}
        assert np.array_equal(arrays[f"{name}.q"].astype(int) - 128, item.weight.values)


def test_only_what_can_saturate_is_unsigned(graph: FloatGraph) -> None:
    """The file stays exact in any session, and each layer has the fastest kernel that is exact."""
    wide = _wide(graph)
    apart = wide.arrays["left.weight"].copy()
    apart[:, 1::2] = 0  # no neighbours
    mixed = wide.with_arrays({"left.weight": apart})
    model = build_qdq(mixed, *quantize(mixed), weight_type=WeightType.UINT8)
    int8, uint8 = onnx.TensorProto.INT8, onnx.TensorProto.UINT8
    assert _types(model) == {"conv1": uint8, "left": int8, "right": uint8, "end_point": uint8}
    assert not may_saturate(model)
    assert may_saturate(build_qdq(mixed, *quantize(mixed)))


@pytest.mark.parametrize("wanted", [WeightType.INT4, WeightType.UINT8])
def test_onnxruntime_runs_the_layers_in_integers(wanted: WeightType, graph: FloatGraph, tmp_path: Path) -> None:
    graph = _wide(graph)
    quantized = quantize(graph, bits=4 if wanted is WeightType.INT4 else 8)
    plain, other = (
        kernels(build_qdq(graph, *quantized, weight_type=kind), tmp_path) for kind in (WeightType.INT8, wanted)
    )
    assert other == plain
    assert "QGemm" in other
    assert "Cast" not in other


def test_an_operator_that_changes_goes_through_the_converter(graph: FloatGraph, images: Float32Array) -> None:
    """Split must say since opset 18 into how many parts."""
    model = graph.model
    last = model.graph.node[-1]
    last.output[0] = "whole"
    model.graph.node.append(onnx.helper.make_node("Split", ["whole"], ["x", "y"], name="split", axis=0))
    model.graph.node.append(onnx.helper.make_node("Concat", ["x", "y"], ["logits"], name="concat", axis=0))
    quantized = quantize(graph, bits=4)
    written = build_qdq(graph, *quantized, weight_type=WeightType.INT4)
    onnx.checker.check_model(written)
    assert [item.version for item in written.opset_import] == [21]
    assert np.array_equal(
        logits_of(OnnxSession(written), images), logits_of(OnnxSession(build_qdq(graph, *quantized)), images)
    )


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (5, 3), (1, 1), (2, 2)], ids=str)
def test_int4_is_packed_as_onnx_unpacks_it(shape: tuple[int, ...]) -> None:
    from amctq.export.weights_onnx import _int4

    values = np.random.default_rng(1).integers(-8, 8, shape).astype(np.int8)
    tensor = _int4(values)
    assert len(tensor.raw_data) == -(-values.size // 2)
    assert np.array_equal(onnx.numpy_helper.to_array(tensor).astype(np.int8), values)
