"""Every kind of layer, with every way that MindSpore computes it: live cells, MindIR, training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amctq.backends.native import NativeBackend
from amctq.backends.native_network import NativeQuantizedNetwork
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActType, ArqRule, ExportFormat, IfmrVariant, Placement, WeightType
from amctq.data.arrays import ArraySamples
from amctq.data.samples import Batches
from amctq.errors import NoSimulationError
from amctq.export.qdq_onnx import build_qdq
from amctq.inference.cell_session import CellSession
from amctq.inference.mindir_session import MindirSession
from amctq.inference.onnx_session import OnnxSession
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.default_config import default_config
from amctq.quant.numerics import Float32Array
from amctq.quant.retrain_config import default_retrain_config
from tests.arrays import logits_of
from tests.backends.test_retraining import train
from tests.backends.test_simulation import network_of

NETWORKS = ["Transformer", "Convolutions", "Upsampling", "Standardized", "Sequence"]


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FloatNetwork:
    return network_of(request.param, tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def images() -> Float32Array:
    return np.random.default_rng(4).normal(size=(16, 3, 32, 32)).astype(np.float32)


def _quantize(
    network: FloatNetwork, images: Float32Array, placement: Placement, *, dense_per_channel: bool = True
) -> NativeQuantizedNetwork:
    samples = ArraySamples(
        pixels=images,
        labels=np.zeros(len(images), np.int64),
        preprocessing=None,
        sources=("random",),
        indices=np.arange(len(images)),
    )
    return NativeBackend().quantize(
        network=network,
        config=PtqConfig(
            quant=default_config(network.topology, dense_per_channel=dense_per_channel),
            placement=placement,
            act_type=ActType.UINT8,
            ifmr_variant=IfmrVariant.EXACT,
            arq_rule=ArqRule.AMCT,
        ),
        calibration=Batches(samples=samples, size=8),
        reporter=Reporter(),
    )


def _file(quantized: NativeQuantizedNetwork) -> OnnxSession:
    return OnnxSession(
        build_qdq(quantized.network.graph, quantized.layers, quantized.activations, weight_type=WeightType.UINT8)
    )


@pytest.mark.parametrize("placement", Placement)
def test_cells_and_float_arithmetic_compute_what_the_file_computes(
    network: FloatNetwork, images: Float32Array, placement: Placement
) -> None:
    quantized = _quantize(network, images, placement)
    exported, plain = logits_of(_file(quantized), images), logits_of(CellSession(network.cell), images)
    allowed = 1e-3 * float(np.abs(exported).max())
    arithmetic = logits_of(OnnxSession(quantized.float_arithmetic(), optimized=False), images)
    assert arithmetic == pytest.approx(exported, abs=allowed)
    if quantized.activations.plan.float_layers:  # the file does not quantize their inputs, and cells would
        with pytest.raises(NoSimulationError, match="as the file does"), quantized.simulation():
            pass
    else:
        with quantized.simulation() as cell:
            assert logits_of(CellSession(cell), images) == pytest.approx(exported, abs=allowed)
    assert np.abs(plain - exported).max() > 2 * np.abs(arithmetic - exported).max()
    assert np.array_equal(logits_of(CellSession(network.cell), images), plain)


def test_float_arithmetic_has_neither_integers_nor_quantizers(network: FloatNetwork, images: Float32Array) -> None:
    graph = _quantize(network, images, Placement.ORT).float_arithmetic().graph
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in graph.node}
    weights = [item for item in graph.initializer if item.name.endswith(".weight.float")]
    assert len(weights) == len(network.topology.layers)


def test_mindir_computes_what_the_file_computes(network: FloatNetwork, images: Float32Array, tmp_path: Path) -> None:
    from mindspore.train import mind_ir_pb2

    quantized = _quantize(network, images, Placement.ASCEND)
    path = tmp_path / "network.mindir"
    quantized.export(ExportFormat.MINDIR, path, {})
    exported = logits_of(_file(quantized), images)
    session = MindirSession(path.read_bytes())
    assert logits_of(session, images) == pytest.approx(exported, abs=1e-3 * float(np.abs(exported).max()))
    # The weights are integers, and of the float ones nothing is left.
    graph = mind_ir_pb2.ModelProto.FromString(path.read_bytes()).graph
    matrices = [parameter for parameter in graph.parameter if len(parameter.dims) > 1 and max(parameter.dims) > 1]
    integers = [item for item in matrices if item.data_type == mind_ir_pb2.TensorProto.INT8]
    assert len(integers) == len(network.topology.layers)
    assert all(item.name.endswith((".scale", ".bias")) for item in matrices if item not in integers)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_moves_every_weight_and_the_file_follows(name: str, images: Float32Array, tmp_path: Path) -> None:
    import mindspore

    network = network_of(name, tmp_path)
    backend = NativeBackend()
    assert not backend.without_cells(network)
    record = _quantize(network, images, Placement.ASCEND, dense_per_channel=False).record
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    try:
        config = default_retrain_config(network.topology)
        retraining = backend.retrain(network=network, config=config, initial=record)
        weights = [f"{layer.name}.weight" for layer in retraining.topology.layers]
        before = {weight: _value(network, weight) for weight in weights}
        losses = train(retraining.cell, images, np.arange(16) % 5, steps=6, rate=1e-2)
        assert losses[-1] < losses[0]
        for weight, value in before.items():
            assert (_value(network, weight) != value).mean() > 0.2, weight  # a dead ReLU stops some
        retraining.cell.set_train(False)
        evaluated = logits_of(CellSession(retraining.cell), images)
        trained = retraining.finish()
    finally:
        mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    assert isinstance(trained, NativeQuantizedNetwork)
    exported = logits_of(_file(trained), images)
    assert evaluated == pytest.approx(exported, abs=1e-2 * float(np.abs(exported).max()))
    with trained.simulation() as cell:
        assert logits_of(CellSession(cell), images) == pytest.approx(exported, abs=2e-3 * float(np.abs(exported).max()))


def _value(network: FloatNetwork, name: str) -> Float32Array:
    value: Float32Array = network.cell.parameters_dict()[name].asnumpy().copy()
    return value
