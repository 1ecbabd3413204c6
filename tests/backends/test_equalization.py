"""Equalization of whole networks: the function stays, caps hold, and quantizing changes the logits less."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.backends.calibration import observe_activations
from amctq.backends.equalization import Equalization, equalize
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActType, ArqRule, IfmrVariant, Placement, WeightType
from amctq.data.arrays import ArraySamples
from amctq.data.samples import Batches
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.graph.topology import read_topology
from amctq.inference.onnx_session import OnnxSession
from amctq.progress import Reporter
from amctq.quant.default_config import default_config
from amctq.quant.numerics import Float32Array
from tests.arrays import image, logits_of
from tests.export.quantized import quantize_ort
from tests.graph.graphs import float_graph, quoted

CHANNELS = 8


def _images(count: int = 16, seed: int = 1) -> Float32Array:
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)


def _network(seed: int, *, spread: float, clip: bool) -> FloatGraph:
    """A convolution, a depthwise one and a projection, with channels that are 2^±spread times as large as others."""
    random = np.random.default_rng(seed)

    def array(*shape: int) -> NDArray[np.float64]:
        return random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)

    first, second = (np.exp2(random.uniform(-spread, spread, CHANNELS)) for _ in range(2))
    a, b, c = array(CHANNELS, 3, 3, 3), array(CHANNELS, 1, 3, 3), array(CHANNELS, CHANNELS, 1, 1)
    rows = (-1, 1, 1, 1)
    exact = {
        "a.weight": a * first.reshape(rows),
        "a.bias": 0.3 * first,
        "b.weight": b * (second / first).reshape(rows),
        "b.bias": 0.3 * second,
        "c.weight": c / second[:, None, None],
        "c.bias": array(CHANNELS),
        "end.weight": array(5, CHANNELS),
        "end.bias": array(5),
    }
    arrays = {name: values.astype(np.float32) for name, values in exact.items()}
    arrays |= {"zero": np.float32(0), "six": np.float32(6)}
    relu = "Clip ({}, zero, six)" if clip else "Relu ({})"
    body = f"""
        t = Conv <pads = [1, 1, 1, 1]> (image, a.weight, a.bias)
        u = {relu.format("t")}
        v = Conv <group = {CHANNELS}, pads = [1, 1, 1, 1]> (u, b.weight, b.bias)
        w = {relu.format("v")}
        x = Conv (w, c.weight, c.bias)
        p = GlobalAveragePool (x)
        f = Flatten (p)
        logits = Gemm <transB = 1> (f, end.weight, end.bias)
    """
    return float_graph(quoted(body, arrays), arrays)


def _equalized(graph: FloatGraph, images: Float32Array, *, per_tensor: bool = False, bits: int = 8) -> Equalization:
    topology = read_topology(graph)
    config = PtqConfig(
        quant=default_config(topology, per_tensor=per_tensor, weight_bits=bits),
        placement=Placement.ORT,
        act_type=ActType.UINT8,
        ifmr_variant=IfmrVariant.EXACT,
        arq_rule=ArqRule.AMCT,
        equalize=True,
    )
    samples = ArraySamples(
        pixels=images,
        labels=np.zeros(len(images), np.int64),
        preprocessing=None,
        sources=("noise",),
        indices=np.arange(len(images)),
    )
    reporter = Reporter()
    batches = Batches(samples=samples, size=4)
    show = partial(observe_activations, graph, topology, batches=batches, reporter=reporter)
    return equalize(graph, topology, config, show, reporter)


def _with(graph: FloatGraph, equalization: Equalization) -> FloatGraph:
    """The graph with the equalized parameters; its layers have no BatchNorm."""
    arrays: dict[str, NDArray[np.float32]] = {}
    for layer in read_topology(graph).layers:
        parameters = equalization.fused[layer.name]
        arrays[layer.weight] = parameters.weight
        if layer.bias is not None and parameters.bias is not None:
            arrays[layer.bias] = parameters.bias
    return graph.with_arrays(arrays)


def _run(graph: FloatGraph, images: Float32Array, names: list[str]) -> Mapping[str, Float32Array]:
    import copy

    import onnx

    model = copy.deepcopy(graph.model)
    for name in names:
        if name not in graph.outputs:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return dict(zip(names, OnnxSession(model).run(image(images), names), strict=True))


def _logits(graph: FloatGraph, images: Float32Array) -> Float32Array:
    return _run(graph, images, ["logits"])["logits"]


def _quantization_error(graph: FloatGraph, images: Float32Array, expected: Float32Array) -> float:
    layers, activations = quantize_ort(graph, images)
    model = build_qdq(graph, layers, activations, act_type=ActType.UINT8, weight_type=WeightType.INT8)
    return float(np.square(logits_of(OnnxSession(model), images) - expected).mean())


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_function_stays(seed: int, clip: bool) -> None:
    graph, images = _network(seed, spread=3, clip=clip), _images()
    found = _equalized(graph, images)
    assert found.pairs
    before, after = _logits(graph, images), _logits(_with(graph, found), images)
    assert np.abs(after - before).max() <= 1e-5 * np.abs(before).max()


@pytest.mark.parametrize("seed", range(4))
def test_no_value_comes_to_lie_above_a_cap(seed: int) -> None:
    graph, images = _network(seed, spread=4, clip=True), _images()
    found = _equalized(graph, images)
    factors = {item.pair.between: item.factors for item in found.pairs}
    before, after = (_run(each, images, ["u", "w"]) for each in (graph, _with(graph, found)))
    for name in factors.keys() & before.keys():
        highest, now = (values[name].max(axis=(0, 2, 3)) for values in (before, after))
        assert np.all(factors[name][highest >= 6] == 1)
        assert np.all(now[highest < 6] < 6)
    assert any(np.any(values.max(axis=(0, 2, 3)) >= 6) for values in before.values())
    assert factors.keys() & before.keys()


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_quantizing_an_unequal_network_changes_its_logits_less(seed: int, clip: bool) -> None:
    graph, images = _network(seed, spread=4, clip=clip), _images()
    found = _equalized(graph, images)
    assert all(item.error < 1 for item in found.pairs)
    expected = _logits(graph, images)
    before = _quantization_error(graph, images, expected)
    after = _quantization_error(_with(graph, found), images, expected)
    assert after < (0.8 if clip else 0.5) * before
