"""The error at each layer's output, against NumPy on tensors that onnxruntime yields one by one."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from amctq.backends.layer_errors import LayerErrors, layer_errors
from amctq.backends.native_network import NativeQuantizedNetwork
from amctq.inference.onnx_session import OnnxSession
from amctq.quant import numerics
from tests.arrays import image
from tests.backends.quantized_graph import quantized_network
from tests.graph.graphs import residual_graph
from tests.graph.patterns import IMAGES

MANY = np.random.default_rng(8).normal(size=(64, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def quantized() -> NativeQuantizedNetwork:
    return quantized_network(residual_graph(), IMAGES)


@pytest.fixture
def errors(quantized: NativeQuantizedNetwork) -> dict[str, LayerErrors]:
    return dict(layer_errors(quantized, [image(MANY[:40]), image(MANY[40:])], lambda done: None))


def _tensor(model: onnx.ModelProto, name: str) -> NDArray[np.float32]:
    tapped = copy.deepcopy(model)
    tapped.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    found: NDArray[np.float32] = OnnxSession(tapped, optimized=False).run(image(MANY), [name])[0]
    return found


def _sqnr(signal: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    error = signal.astype(np.float64) - other
    return float(10 * np.log10(np.sum(signal.astype(np.float64) ** 2) / np.sum(error**2)))


def test_a_layer_alone_has_the_error_of_its_rounded_weight_and_input(
    quantized: NativeQuantizedNetwork, errors: dict[str, LayerErrors]
) -> None:
    """The last layer, y = x Wᵀ + b, computed by NumPy."""
    item = next(item for item in quantized.layers if item.layer.name == "end_point")
    graph = quantized.network.graph
    read, expected = _tensor(graph.model, item.layer.input), _tensor(graph.model, item.layer.output)
    scale, offset = item.activation.scale, item.activation.offset
    rounded = numerics.dequantize(numerics.quantize(read, scale, offset), scale, offset)
    weight, bias = graph.arrays[item.layer.weight], graph.arrays["end_point.bias"]
    assert item.bias is not None
    own, own_bias = item.weight.dequantized(), item.bias * item.bias_scale
    found = errors["end_point"]
    assert found.activations is not None
    assert found.weights.sqnr_db == pytest.approx(_sqnr(expected, read @ own.T + own_bias), abs=0.05)
    assert found.activations.sqnr_db == pytest.approx(_sqnr(expected, rounded @ weight.T + bias), abs=0.05)
    assert found.both.sqnr_db == pytest.approx(_sqnr(expected, rounded @ own.T + own_bias), abs=0.05)
    assert found.both.cosine == pytest.approx(1, abs=1e-3)


def test_the_accumulated_error_is_that_of_the_quantized_graph(
    quantized: NativeQuantizedNetwork, errors: dict[str, LayerErrors]
) -> None:
    model = quantized.onnx_graph()
    for item in quantized.layers:
        expected = _sqnr(_tensor(quantized.network.graph.model, item.layer.output), _tensor(model, item.layer.output))
        assert errors[item.layer.name].accumulated.sqnr_db == pytest.approx(expected, abs=0.1)


def test_errors_grow_along_the_network(errors: dict[str, LayerErrors]) -> None:
    for found in errors.values():
        assert found.accumulated.sqnr_db <= found.both.sqnr_db + 0.1
        assert found.activations is not None
        assert found.both.sqnr_db <= max(found.weights.sqnr_db, found.activations.sqnr_db)


def test_ranges_and_clipped_values_are_those_of_the_input(
    quantized: NativeQuantizedNetwork, errors: dict[str, LayerErrors]
) -> None:
    for item in quantized.layers:
        values, found = _tensor(quantized.network.graph.model, item.layer.input), errors[item.layer.name]
        assert found.read.range == pytest.approx((values.min(), values.max()))
        low, high = item.activation.range
        half = item.activation.scale / 2
        share = np.mean((values < low - half) | (values > high + half))
        assert found.clipped_share == pytest.approx(share, abs=1e-6)
    assert max(found.clipped_share or 0 for found in errors.values()) > 0  # the scales are those of other images


def test_a_graph_of_a_newer_opset_gives_the_same(errors: dict[str, LayerErrors]) -> None:
    graph = residual_graph()
    graph.model.opset_import[0].version = 20
    newer = layer_errors(quantized_network(graph, IMAGES), [image(MANY)], lambda done: None)
    for name, found in errors.items():
        assert newer[name].both.sqnr_db == pytest.approx(found.both.sqnr_db, abs=1e-3)
        assert newer[name].read.range == found.read.range
