"""The deploy file: what stands in it, what it means, and that it gives back the record it was written from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from amctq.errors import InputError
from amctq.export.ascend_onnx import build_ascend
from amctq.export.fakequant_onnx import build_fakequant
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.graph.topology import fuse, read_topology
from amctq.inference.ascend_lowering import is_deploy, lower
from amctq.inference.onnx_file import read_onnx
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.saturation import may_saturate
from amctq.inference.session import UserFileSession
from amctq.quant.integer import integer_layers
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.record import LayerRecord, QuantRecord
from tests.arrays import image, image_spec, logits_of
from tests.export.ascend_reference import reference
from tests.export.deploy_file import read_back
from tests.export.quantized import Quantized, quantize
from tests.graph.graphs import float_graph, quoted, residual_graph


@pytest.fixture
def graph() -> FloatGraph:
    return residual_graph()


@pytest.fixture
def quantized(graph: FloatGraph) -> Quantized:
    return quantize(graph)


@pytest.fixture
def deploy(graph: FloatGraph, quantized: Quantized) -> onnx.ModelProto:
    return build_ascend(graph, quantized[0], metadata={"amctq.model": "small"})


@pytest.fixture
def images() -> Float32Array:
    return np.random.default_rng(5).normal(size=(6, 3, 8, 8)).astype(np.float32)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _named(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def _set(node: onnx.NodeProto, attribute: dict[str, Any]) -> None:
    """Give a node another value of one attribute, or none."""
    ((key, value),) = attribute.items()
    kept = [item for item in node.attribute if item.name != key]
    del node.attribute[:]
    node.attribute.extend(kept if value is None else [*kept, helper.make_attribute(key, value)])


def _arrays(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def test_a_layer_stands_between_quant_and_dequant(deploy: onnx.ModelProto) -> None:
    quant, conv, dequant = (_named(deploy, name) for name in ("conv1.quant", "conv1", "conv1.dequant"))
    assert [node.op_type for node in (quant, conv, dequant)] == ["AscendQuant", "Conv", "AscendDequant"]
    assert {node.domain for node in deploy.graph.node} == {""}
    assert (conv.input[0], dequant.input[0]) == (quant.output[0], conv.output[0])
    assert _attributes(quant) == {"scale": pytest.approx(1 / 0.03), "offset": 3.0, "dst_type": b"INT8"}
    assert {item.name: item.type for item in quant.attribute}["offset"] == onnx.AttributeProto.FLOAT
    assert _attributes(dequant) == {"dtype": 0}
    assert dequant.input[1] == "conv1.dequant.param"
    arrays = _arrays(deploy)
    types = [arrays[name].dtype for name in ("conv1.weight", conv.input[2], "conv1.dequant.param")]
    assert types == [np.int8, np.int32, np.uint64]
    assert arrays["conv1.dequant.param"].shape == (4,)
    assert arrays["end_point.dequant.param"].shape == (1,)
    assert [entry.version for entry in deploy.opset_import] == [11]


def test_layers_that_share_a_tensor_and_a_scale_share_a_quant(deploy: onnx.ModelProto) -> None:
    assert sum(node.op_type == "AscendQuant" for node in deploy.graph.node) == 3
    assert _named(deploy, "right").input[0] == _named(deploy, "left").input[0] == _named(deploy, "left.quant").output[0]


def test_weights_of_a_dense_are_turned_and_nothing_float_is_left(deploy: onnx.ModelProto, quantized: Quantized) -> None:
    assert _attributes(_named(deploy, "end_point"))["transB"] == 0
    arrays = _arrays(deploy)
    assert np.array_equal(arrays["end_point.weight"], quantized[0][-1].weight.values.T)
    assert not any(array.dtype == np.float32 for array in arrays.values())
    read = {name for node in deploy.graph.node for name in node.input}
    assert set(arrays) <= read
    assert len(arrays) == len(deploy.graph.initializer)


def test_the_record_is_read_back_from_the_file(deploy: onnx.ModelProto, quantized: Quantized) -> None:
    layers = read_back(deploy)
    assert list(layers) == [item.layer.name for item in quantized[0]]
    for item in quantized[0]:
        found = layers[item.layer.name]
        assert found.scale_d == pytest.approx(item.activation.scale, rel=1e-7)
        assert found.offset_d == item.activation.offset
        assert found.scale_w == pytest.approx(item.weight.scale, rel=1e-6)
        assert np.array_equal(found.weight, item.weight.values)
        assert found.bias is not None
        assert item.bias is not None
        assert np.array_equal(found.bias, item.bias)


def test_onnxruntime_computes_what_the_operators_mean(deploy: onnx.ModelProto, images: Float32Array) -> None:
    """Bit for bit, the sums of every layer included."""
    lowered, plain = lower(deploy), onnx.ModelProto()
    onnx.checker.check_model(lowered, full_check=True)
    plain.CopyFrom(deploy)
    names = ["conv1.int32", "left.int32", "right.int32", "end_point.int32"]
    for model in (lowered, plain):
        model.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.INT32, None) for name in names)
    expected = reference(plain).run(None, {"image": images})
    actual = OnnxSession(lowered).run(image(images))
    assert len(actual) == 5
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


@pytest.mark.parametrize("offset", [-128, 0, 99])
def test_padding_is_real_zero_and_depthwise_layers_work(offset: int) -> None:
    random = np.random.default_rng(3)
    arrays = {
        "conv1.weight": random.normal(0, 0.3, (6, 3, 3, 3)).astype(np.float32),
        "conv2.weight": random.normal(0, 0.3, (6, 1, 3, 3)).astype(np.float32),
        "fc.weight": random.normal(0, 0.3, (5, 6)).astype(np.float32),
    }
    body = """
        a = Conv <strides = [2, 2], pads = [0, 0, 1, 1]> (image, conv1.weight)
        b = Relu (a)
        c = Conv <group = 6, pads = [1, 1, 1, 1]> (b, conv2.weight)
        d = GlobalAveragePool (c)
        e = Flatten (d)
        logits = Gemm <transB = 1> (e, fc.weight)
    """
    graph = float_graph(quoted(body, arrays), arrays, image="N, 3, 9, 9")
    layers, placed = quantize(graph, tensors={name: QParams(0.02, offset) for name in ("image", "b", "e")})
    images = random.normal(size=(2, 3, 9, 9)).astype(np.float32)
    deploy = build_ascend(graph, layers)
    assert all(len(_named(deploy, name).input) == 2 for name in ("conv1", "conv2", "fc"))  # no bias, none made up
    actual = logits_of(OnnxSession(lower(deploy)), images)
    assert np.array_equal(actual, next(iter(reference(deploy).run(None, {"image": images}))))
    assert actual == pytest.approx(logits_of(OnnxSession(build_qdq(graph, layers, placed)), images), abs=1e-4)
    assert actual == pytest.approx(logits_of(OnnxSession(build_fakequant(graph, layers)), images), abs=1e-4)


def test_sums_beyond_two_to_the_24_are_exact() -> None:
    """What float32 cannot add up: 4,096 products of 255 and 127, and one of 1."""
    arrays = {"fc.weight": np.full((1, 4097), 127.0, np.float32)}
    arrays["fc.weight"][0, 0] = 1.0
    graph = float_graph(quoted("logits = Gemm <transB = 1> (image, fc.weight)", arrays), arrays, image="N, 4097")
    topology = read_topology(graph)
    entry = LayerRecord(name="fc", activation=QParams(1.0, -128), weight_scale=np.ones(1, np.float32))
    layers = integer_layers(topology, fuse(graph, topology), QuantRecord(layers=(entry,)))
    deploy = lower(build_ascend(graph, layers))
    deploy.graph.output.append(helper.make_tensor_value_info("fc.int32", onnx.TensorProto.INT32, None))
    sums = OnnxSession(deploy).run(image(np.full((1, 4097), 255.0, np.float32)))[1]
    assert sums.tolist() == [[4096 * 255 * 127 + 255]]
    assert np.float32(sums[0, 0]) != sums[0, 0]


@pytest.mark.parametrize(
    ("name", "attribute", "says"),
    [
        ("conv1.quant", {"dst_type": "INT4"}, "dst_type"),
        ("conv1.quant", {"round_mode": "Floor"}, "round_mode"),
        ("conv1.quant", {"sqrt_mode": 1}, "sqrt_mode"),
        ("conv1.dequant", {"relu_flag": 1}, "relu_flag"),
        ("conv1.dequant", {"dtype": 1}, "dtype"),
        ("conv1.quant", {"offset": 300.0}, "conv1.quant: AscendQuant with offset 300.0, expected a whole number"),
        ("conv1.quant", {"offset": 0.5}, "with offset 0.5"),
        ("conv1.quant", {"offset": float("nan")}, "with offset nan"),
        ("conv1.quant", {"scale": -1.0}, "conv1.quant: AscendQuant with a scale that is negative"),
        ("conv1.quant", {"scale": float("inf")}, "with a scale that is negative, infinite or NaN"),
        ("end_point", {"alpha": 2.0}, "end_point: Gemm of integers with alpha 2.0"),
        ("end_point", {"beta": 0.5}, "with beta 0.5"),
        ("end_point", {"transA": 1}, "with transA 1"),
    ],
)
def test_attributes_that_would_give_other_results_are_refused(
    name: str, attribute: dict[str, Any], says: str, deploy: onnx.ModelProto
) -> None:
    _set(_named(deploy, name), attribute)
    with pytest.raises(InputError, match=says):
        lower(deploy)


def test_what_is_no_such_file_is_refused(deploy: onnx.ModelProto) -> None:
    shifted = onnx.ModelProto()
    shifted.CopyFrom(deploy)
    for item in shifted.graph.initializer:
        if item.name == "conv1.dequant.param":
            item.CopyFrom(numpy_helper.from_array(np.full(4, 1 << 32, np.uint64), item.name))
    with pytest.raises(InputError, match=r"conv1.dequant: its parameter"):
        lower(shifted)
    pooled = onnx.ModelProto()
    pooled.CopyFrom(deploy)
    _named(pooled, "conv1").op_type = "MaxPool"
    with pytest.raises(InputError, match="MaxPool reads integers"):
        lower(pooled)
    strange = onnx.ModelProto()
    strange.CopyFrom(deploy)
    _named(strange, "conv1.quant").op_type = "AscendWeightQuant"
    with pytest.raises(InputError, match="does not evaluate AscendWeightQuant"):
        lower(strange)


def test_what_stands_between_a_product_and_its_dequant_is_refused(deploy: onnx.ModelProto) -> None:
    """Only an Add of a bias keeps the order of the channels that the scales have."""
    node = _named(deploy, "conv1.dequant")
    between = helper.make_node("Relu", [node.input[0]], ["between"], name="between")
    node.input[0] = "between"
    deploy.graph.node.insert(list(deploy.graph.node).index(node), between)
    with pytest.raises(InputError, match="between: Relu reads sums of integers"):
        lower(deploy)


def _damaged(deploy: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """The file with one thing of one node missing, or of another kind."""
    for index, node in enumerate(deploy.graph.node):
        changes: list[Callable[[onnx.NodeProto], object]] = []
        for item in node.attribute:
            others: list[Any] = ["x", 1.5, 7, [1, 2], [0.5], ["a"], helper.make_tensor("t", 1, [1], [1.0])]
            changes += [partial(_set, attribute={item.name: other}) for other in (None, *others)]
        for place in range(len(node.input)):
            changes.append(lambda found, place=place: found.input.pop(place))  # type: ignore[misc]
            changes.append(lambda found, place=place: found.input.__setitem__(place, ""))  # type: ignore[misc]
        changes += [lambda found: found.output.pop(), lambda found: found.ClearField("op_type")]
        for change in changes:
            damaged = onnx.ModelProto()
            damaged.CopyFrom(deploy)
            change(damaged.graph.node[index])
            yield damaged
    for index in range(len(deploy.graph.initializer)):
        for key, value in (("data_type", onnx.TensorProto.FLOAT), ("data_type", 77), ("dims", [3]), ("raw_data", b"x")):
            damaged = onnx.ModelProto()
            damaged.CopyFrom(deploy)
            tensor = damaged.graph.initializer[index]
            tensor.ClearField(key)
            tensor.MergeFrom(onnx.TensorProto(**{key: value}))  # type: ignore[arg-type]
            yield damaged


def test_no_damage_of_a_node_is_a_fault_of_amctq(deploy: onnx.ModelProto, images: Float32Array) -> None:
    path, refused, run = Path("damaged_deploy.onnx"), 0, 0
    for damaged in _damaged(deploy):
        path.write_bytes(damaged.SerializeToString())
        try:
            file = read_onnx(path, option="--onnx")
            session = file.session()
            may_saturate(file.model)
            session.check_input(image_spec(3, 8, 8))
            logits_of(UserFileSession(session, path), images)
            run += 1
        except InputError:
            refused += 1
    assert min(refused, run) > 5


def test_anti_quant_gives_the_number_back() -> None:
    nodes = [
        helper.make_node("AscendQuant", ["image"], ["q"], scale=4.0, offset=-7.0, dst_type="INT8"),
        helper.make_node("AscendAntiQuant", ["q"], ["logits"], scale=0.25, offset=-7.0),
    ]
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 4]) for name in ("image", "logits")]
    graph = helper.make_graph(nodes, "anti", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    assert is_deploy(model)
    numbers = np.asarray([[0.25, -1.5, 30.0, 100.0]], np.float32)
    assert logits_of(OnnxSession(lower(model)), numbers).tolist() == [[0.25, -1.5, 30.0, 33.5]]


def test_fake_quant_is_standard_onnx_with_whole_numbers(
    graph: FloatGraph, quantized: Quantized, images: Float32Array, deploy: onnx.ModelProto
) -> None:
    model = build_fakequant(graph, quantized[0], metadata={"amctq.model": "small"})
    onnx.checker.check_model(model, full_check=True)
    assert not is_deploy(model)
    arrays = _arrays(model)
    assert np.array_equal(arrays["conv1.weight"], quantized[0][0].weight.values)
    assert arrays["conv1.deq_scale"].shape == (1, 4, 1, 1)
    assert arrays["end_point.deq_scale"].shape == (1, 1)
    operators = [node.op_type for node in model.graph.node][:7]
    assert operators == ["Mul", "Round", "Add", "Clip", "Sub", "Conv", "Mul"]
    assert sum(node.op_type == "Round" for node in model.graph.node) == 3
    assert logits_of(OnnxSession(model), images) == pytest.approx(
        logits_of(OnnxSession(lower(deploy)), images), abs=1e-5
    )
    assert {item.key: item.value for item in model.metadata_props} == {"amctq.model": "small"}
