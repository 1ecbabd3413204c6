"""A quantized network of which only some layers are quantized."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.backends.native_network import NativeQuantizedNetwork
from amctq.graph.topology import fuse
from amctq.inference.changed_graph import ReferenceGraph
from amctq.inference.onnx_session import OnnxSession
from amctq.quant.integer import IntegerWeights, integer_layers, make_record
from amctq.quant.weights import arq_scale
from tests.arrays import image
from tests.backends.quantized_graph import quantized_network
from tests.graph.graphs import residual_graph
from tests.graph.patterns import CHANNELS, FLOAT_PATTERNS, IMAGES, PATTERNS, network

ALL = PATTERNS | {name: body for name, (body, _) in FLOAT_PATTERNS.items()}


@pytest.mark.parametrize("pattern", ALL)
def test_all_layers_are_the_whole_network_and_none_is_the_float_one(pattern: str) -> None:
    quantized = quantized_network(network(ALL[pattern], CHANNELS.get(pattern, 8)), IMAGES)
    names = {item.layer.name for item in quantized.layers}
    whole = OnnxSession(quantized.onnx_graph()).run(image(IMAGES))
    np.testing.assert_array_equal(OnnxSession(quantized.only(names).onnx_graph()).run(image(IMAGES)), whole)
    in_float = OnnxSession(quantized.network.graph.model).run(image(IMAGES))
    np.testing.assert_array_equal(OnnxSession(quantized.only(set()).onnx_graph()).run(image(IMAGES)), in_float)


@pytest.mark.parametrize("pattern", ALL)
def test_each_layer_alone_is_nearer_to_float_than_all_of_them(pattern: str) -> None:
    graph = network(ALL[pattern], CHANNELS.get(pattern, 8))
    quantized = quantized_network(graph, IMAGES)
    names = {item.layer.name for item in quantized.layers}
    floats = ReferenceGraph(graph.model, [image(IMAGES)])
    (before,) = floats.outputs
    whole = OnnxSession(quantized.onnx_graph()).run(image(IMAGES))
    errors = []
    for name in names:
        (after,) = floats.outputs_of(quantized.only({name}).onnx_graph())
        errors.append(float(np.abs(after[0] - before[0]).mean()))
    assert max(errors) > 0
    assert np.median(errors) < np.abs(whole[0] - before[0]).mean()


@pytest.mark.parametrize("pattern", ALL)
def test_what_differs_alone_gives_what_the_whole_graph_gives(pattern: str) -> None:
    graph = network(ALL[pattern], CHANNELS.get(pattern, 8))
    quantized = quantized_network(graph, IMAGES)
    names = {item.layer.name for item in quantized.layers}
    batches = [image(IMAGES[:4]), image(IMAGES[4:])]
    floats = ReferenceGraph(graph.model, batches)
    integers = ReferenceGraph(quantized.only(names).onnx_graph(), batches)
    for name in names:
        for reference, chosen in ((floats, {name}), (integers, names - {name})):
            variant = quantized.only(chosen).onnx_graph()
            found = [outputs[0] for outputs in reference.outputs_of(variant)]
            (expected,) = OnnxSession(variant).run(image(IMAGES))
            np.testing.assert_allclose(np.concatenate(found), expected, atol=2e-2 * np.abs(expected).max())


def test_layers_of_another_width_take_the_place_of_their_own() -> None:
    quantized = quantized_network(residual_graph(), IMAGES)
    topology, fused = quantized.topology, fuse(quantized.network.graph, quantized.topology)
    scales = {name: arq_scale(item.weight, channel_wise=True, bits=3) for name, item in fused.items()}
    record = make_record(topology, fused, scales, quantized.activations.by_layer, dict.fromkeys(scales, 3))
    narrow = IntegerWeights(layers=integer_layers(topology, fused, record), per_tensor={}, errors={})
    own = IntegerWeights(layers=quantized.layers, per_tensor={}, errors={})
    mixed = quantized.with_weights(narrow.only({"left"}))
    assert {entry.name: entry.weight_bits for entry in mixed.record.layers if entry.weight_bits != 8} == {"left": 3}
    assert mixed.with_weights(own).onnx_graph() == quantized.onnx_graph()
    floats = ReferenceGraph(quantized.network.graph.model, [image(IMAGES)])

    def error(network: NativeQuantizedNetwork) -> float:
        (after,) = floats.outputs_of(network.only({"left"}).onnx_graph())
        return float(np.abs(after[0] - floats.outputs[0][0]).mean())

    assert error(mixed) > 4 * error(quantized) > 0
