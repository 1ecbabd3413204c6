"""The QDQ file, executed by onnxruntime and checked against arithmetic in NumPy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from amctq.choices import ActType
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations
from amctq.graph.placement_ort import place_ort
from amctq.graph.topology import fuse, read_topology
from amctq.inference.onnx_session import OnnxSession
from amctq.quant import numerics
from amctq.quant.integer import integer_layers, make_record
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.weights import arq_scale
from tests.arrays import image, logits_of
from tests.export.quantized import quantize
from tests.graph.graphs import float_graph, quoted, residual_graph


@pytest.fixture
def graph() -> FloatGraph:
    return residual_graph()


@pytest.fixture
def images() -> Float32Array:
    return np.random.default_rng(5).normal(size=(6, 3, 8, 8)).astype(np.float32)


def test_the_checker_accepts_it(graph: FloatGraph) -> None:
    model = build_qdq(graph, *quantize(graph))
    onnx.checker.check_model(model, full_check=True)
    assert [item.version for item in model.opset_import] == [17]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_constants_are_stored_as_integers(graph: FloatGraph) -> None:
    model = build_qdq(graph, *quantize(graph))
    types = {item.name: item.data_type for item in model.graph.initializer}
    assert types["conv1.weight.q"] == onnx.TensorProto.INT8
    assert types["conv1.bias.q"] == onnx.TensorProto.INT32
    quantizer = next(node for node in model.graph.node if node.name == "conv1.input.q")
    assert types[quantizer.input[2]] == onnx.TensorProto.UINT8
    sizes = {item.name: numpy_helper.to_array(item).size for item in model.graph.initializer}
    assert sizes["conv1.weight.scale"] == 4
    assert sizes["end_point.weight.scale"] == 1
    assert "conv1.weight" not in types
    assert "bn1.gamma" not in types


def test_layers_with_one_input_share_one_quantizer(graph: FloatGraph) -> None:
    model = build_qdq(graph, *quantize(graph))
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) == 3


def test_no_node_is_dead(graph: FloatGraph) -> None:
    model = build_qdq(graph, *quantize(graph))
    read = {name for node in model.graph.node for name in node.input} | {model.graph.output[0].name}
    assert all(node.output[0] in read for node in model.graph.node)
    assert all(item.name in read for item in model.graph.initializer)


def test_first_layer_is_integer_arithmetic(graph: FloatGraph, images: Float32Array) -> None:
    """The output of conv1 equals sums of integers, exactly as an integer engine forms them."""
    quantized = quantize(graph)
    model = build_qdq(graph, *quantized)
    item = quantized[0][0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(item.layer.output, onnx.TensorProto.FLOAT, None))
    actual = OnnxSession(model).run(image(images))[1]
    q = numerics.quantize(images, item.activation.scale, item.activation.offset).astype(np.int64)
    # Padding is real zero: the offset is taken off before zeros are put around.
    padded = np.pad(q - item.activation.offset, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))  # type: ignore[call-overload]  # the stubs know one axis
    sums = np.einsum("nchwij,ocij->nohw", windows, item.weight.values.astype(np.int64))
    assert item.bias is not None
    expected = (sums + item.bias.reshape(1, -1, 1, 1)) * item.bias_scale.astype(np.float64).reshape(1, -1, 1, 1)
    assert actual == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_int8_and_uint8_activations_are_the_same_numbers(graph: FloatGraph, images: Float32Array) -> None:
    quantized = quantize(graph)
    unsigned = logits_of(OnnxSession(build_qdq(graph, *quantized)), images)
    signed = logits_of(OnnxSession(build_qdq(graph, *quantized, act_type=ActType.INT8)), images)
    assert signed == pytest.approx(unsigned, rel=1e-5, abs=1e-5)


def test_any_batch_size_runs(graph: FloatGraph, images: Float32Array) -> None:
    session = OnnxSession(build_qdq(graph, *quantize(graph)))
    whole = logits_of(session, images)
    single = np.concatenate([logits_of(session, images[index : index + 1]) for index in range(len(images))])
    assert single == pytest.approx(whole, abs=1e-5)


def test_layers_left_out_stay_float(graph: FloatGraph, images: Float32Array) -> None:
    nothing = logits_of(OnnxSession(build_qdq(graph, *quantize(graph, only=set()))), images)
    assert nothing == pytest.approx(logits_of(OnnxSession(graph.model), images), abs=1e-6)
    some = build_qdq(graph, *quantize(graph, only={"conv1"}))
    assert sum(node.op_type == "QuantizeLinear" for node in some.graph.node) == 1
    assert "left.weight" in {item.name for item in some.graph.initializer}


def test_metadata_stands_in_the_file(graph: FloatGraph) -> None:
    model = build_qdq(graph, *quantize(graph), metadata={"amctq.model": "small"})
    assert {item.key: item.value for item in model.metadata_props} == {"amctq.model": "small"}


@pytest.mark.parametrize("offset", [-128, -5, 0])
def test_padding_is_real_zero_whatever_the_zero_point(offset: int) -> None:
    """The shortcut of the CIFAR ResNets moves integers about, and puts channels of zeros beside them."""
    random = np.random.default_rng(3)
    arrays = {
        "conv1.weight": random.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32),
        "conv2.weight": random.normal(0, 0.3, (4, 6, 1, 1)).astype(np.float32),
        "fc.weight": random.normal(0, 0.3, (5, 4)).astype(np.float32),
    }
    body = """
        pads = Constant <value = int64[8] {0, 1, 0, 0, 0, 1, 0, 0}> ()
        a = Conv (image, conv1.weight)
        b = Relu (a)
        c = Pad (b, pads)
        d = Conv (c, conv2.weight)
        e = GlobalAveragePool (d)
        f = Flatten (e)
        logits = Gemm <transB = 1> (f, fc.weight)
    """
    graph = float_graph(quoted(body, arrays), arrays)
    topology = read_topology(graph)
    fused = fuse(graph, topology)
    plan = place_ort(graph, topology)
    placed = PlacedActivations(plan=plan, qparams=tuple(QParams(0.02, offset) for _ in plan.sites))
    scales = {name: arq_scale(parameters.weight, channel_wise=name != "fc") for name, parameters in fused.items()}
    layers = integer_layers(topology, fused, make_record(topology, fused, scales, placed.by_layer))
    model = build_qdq(graph, layers, placed)
    for name, kind in (("c.q", onnx.TensorProto.UINT8), ("conv2.input.q", onnx.TensorProto.UINT8)):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    images = random.normal(size=(2, 3, 8, 8)).astype(np.float32)
    _, padded, plain = OnnxSession(model).run(image(images))
    assert (padded[:, [0, 5]] == offset + 128).all()
    assert np.array_equal(padded[:, 1:5], plain)
