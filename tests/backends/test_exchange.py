"""Where a live network computes its layers, whatever class they have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from amctq.backends.exchange import layer_places
from amctq.backends.native import NativeBackend
from amctq.backends.native_network import NativeQuantizedNetwork, on_record
from amctq.choices import ActType, Device, WeightType
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.graph.topology import fuse, read_topology
from amctq.inference.cell_session import CellSession
from amctq.inference.onnx_session import OnnxSession
from amctq.networks.float_network import FloatNetwork
from amctq.quant.layers import LayerKind
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.record import LayerRecord, QuantRecord
from amctq.quant.retrain_config import default_retrain_config
from amctq.quant.weights import arq_scale
from amctq.runtime import load_mindspore, resolve_device
from tests.arrays import logits_of
from tests.backends.test_retraining import train
from tests.backends.test_simulation import network_of


@pytest.mark.parametrize("name", ["Small", "Sequential", "Transformer", "Convolutions"])
def test_every_layer_of_the_network_has_its_operator(name: str, tmp_path: Path) -> None:
    network = network_of(name, tmp_path)
    places = layer_places(network.cell, network.graph, network.topology.layers)
    assert not places.missing
    for layer in network.topology.layers:
        place = places.found[layer.name]
        assert place.weight is not None
        assert place.weight.value.name == layer.weight
        assert place.operator.cell is place.weight.cell
        assert (place.bias is None) == (layer.bias is None)
        assert (place.norm is None) == (layer.batch_norm is None)


def test_a_computed_weight_is_no_parameter_of_the_layer(tmp_path: Path) -> None:
    network = network_of("Standardized", tmp_path)
    places = layer_places(network.cell, network.graph, network.topology.layers)
    assert not places.missing
    assert places.found["conv2"].weight is None


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("Reused", {"conv2": "Conv2d calls the operator of its product 2 times"}),
        ("OwnLayer", {"conv1": "OwnConv has no attribute with the operator of its product, such as ops.Conv2D"}),
    ],
)
def test_others_are_named_with_the_reason(name: str, missing: dict[str, str], tmp_path: Path) -> None:
    network = network_of(name, tmp_path)
    places = layer_places(network.cell, network.graph, network.topology.layers)
    assert {name: places.missing[name] for name in missing} == missing
    assert set(places.found) | set(places.missing) == {layer.name for layer in network.topology.layers}


def test_the_network_is_as_before(tmp_path: Path) -> None:
    network = network_of("Convolutions", tmp_path)
    images = np.random.default_rng(1).normal(size=(2, 3, 32, 32)).astype(np.float32)
    before = logits_of(CellSession(network.cell), images)
    names = [parameter.name for parameter in network.cell.get_parameters()]
    layer_places(network.cell, network.graph, network.topology.layers)
    assert [parameter.name for parameter in network.cell.get_parameters()] == names
    assert np.array_equal(logits_of(CellSession(network.cell), images), before)


@pytest.mark.parametrize("group", [1, 2])
def test_a_transposed_convolution_is_quantized_and_trained(group: int, tmp_path: Path) -> None:
    """Its weight has the output channels on the second axis; with groups no axis has them, and it has one scale."""
    network, images = _transposed(group, tmp_path)
    (layer,) = network.topology.layers
    assert (layer.kind, layer.channel_axis) == (LayerKind.TRANSPOSED, 1 if group == 1 else None)
    assert (layer.batch_norm is None) == (group == 2)
    config = default_retrain_config(network.topology)
    (fused,) = fuse(network.graph, network.topology).values()
    scale = arq_scale(fused.weight, channel_wise=group == 1)
    entry = LayerRecord(name=layer.name, activation=QParams(0.02, -3), weight_scale=scale)
    quantized = on_record(network, QuantRecord(layers=(entry,)), act_type=ActType.UINT8, weight_type=WeightType.INT8)
    exported = logits_of(_file(quantized), images)
    before = logits_of(CellSession(network.cell), images)
    allowed = 1e-4 * float(np.abs(exported).max())
    with quantized.simulation() as cell:
        assert logits_of(CellSession(cell), images) == pytest.approx(exported, abs=allowed)
    assert np.abs(before - exported).max() > 10 * allowed
    assert np.array_equal(logits_of(CellSession(network.cell), images), before)

    retraining = NativeBackend().retrain(network=network, config=config, initial=quantized.record)
    weight = network.cell.up.weight.asnumpy().copy()
    losses = train(retraining.cell, images, np.arange(len(images)) % 4, steps=4)
    assert losses[-1] < losses[0]
    assert (np.abs(network.cell.up.weight.asnumpy() - weight) > 0).mean() > 0.5
    retraining.cell.set_train(False)
    evaluated = logits_of(CellSession(retraining.cell), images)
    trained = retraining.finish()
    assert isinstance(trained, NativeQuantizedNetwork)
    exported = logits_of(_file(trained), images)
    assert evaluated == pytest.approx(exported, abs=2e-3 * float(np.abs(exported).max()))


def _file(quantized: NativeQuantizedNetwork) -> OnnxSession:
    return OnnxSession(build_qdq(quantized.network.graph, quantized.layers, quantized.activations))


def _transposed(group: int, tmp_path: Path) -> tuple[FloatNetwork, Float32Array]:
    """A network of one transposed convolution, and images; the graph is written here, not read from MindSpore."""
    mindspore = load_mindspore(resolve_device(Device.CPU, None), tmp_path)
    from tests.backends.networks import Transposed

    cell = Transposed(group)
    cell.set_train(False)
    random = np.random.default_rng(7)
    for parameter in cell.get_parameters():
        drawn = random.normal(0, 0.3, parameter.shape).astype(np.float32)
        drawn = np.abs(drawn) + np.float32(0.5) if parameter.name.endswith("variance") else drawn
        parameter.set_data(mindspore.Tensor(drawn))
    norm = [f"norm.{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    nodes = [
        helper.make_node(
            "ConvTranspose",
            ["image", "up.weight", "up.bias"],
            ["up"],
            name="up",
            strides=[2, 2],
            pads=[1, 1, 1, 1],
            group=group,
        ),
        helper.make_node("BatchNormalization", ["up", *norm], ["norm"], name="norm", epsilon=1e-5),
        helper.make_node("Relu", ["norm"], ["relu"], name="relu"),
        helper.make_node("ReduceMean", ["relu"], ["logits"], name="mean", axes=[2, 3], keepdims=0),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "transposed",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 4, 8, 8])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4])],
            initializer=[numpy_helper.from_array(item.asnumpy(), item.name) for item in cell.get_parameters()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    graph = FloatGraph(model=model, file_bytes=model.ByteSize())
    images = random.normal(0, 1, (6, 4, 8, 8)).astype(np.float32)
    network = FloatNetwork(cell=cell, graph=graph, topology=read_topology(graph), scratch=tmp_path)
    assert logits_of(OnnxSession(model), images) == pytest.approx(logits_of(CellSession(cell), images), abs=1e-4)
    return network, images
