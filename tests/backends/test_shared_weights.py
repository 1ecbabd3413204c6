"""A weight that something else reads too stays where it is, in MindSpore's computations as in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amctq.backends.exchange import layer_places
from amctq.backends.native import NativeBackend
from amctq.backends.native_network import NativeQuantizedNetwork
from amctq.choices import ActType, ExportFormat, WeightType
from amctq.errors import NoSimulationError
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.topology import fuse
from amctq.inference.cell_session import CellSession
from amctq.inference.mindir_session import MindirSession
from amctq.inference.onnx_session import OnnxSession
from amctq.networks.float_network import FloatNetwork
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.record import LayerRecord, QuantRecord
from amctq.quant.retrain_config import default_retrain_config
from amctq.quant.weights import arq_scale
from tests.arrays import logits_of
from tests.backends import shared_weights
from tests.backends.test_retraining import train
from tests.backends.test_simulation import network_of

_READ_AGAIN = ("CosineHead", "SharedGamma", "SharedCells")


@pytest.fixture
def images() -> Float32Array:
    return np.random.default_rng(6).normal(size=(12, 3, 32, 32)).astype(np.float32)


def _network(name: str, tmp_path: Path) -> FloatNetwork:
    return network_of(name, tmp_path, module=shared_weights)


def _record(network: FloatNetwork) -> QuantRecord:
    """The images reach from -4 to 4, and what is behind them is smaller."""
    fused = fuse(network.graph, network.topology)
    return QuantRecord(
        layers=tuple(
            LayerRecord(
                name=layer.name,
                activation=QParams(0.03, 0),
                weight_scale=arq_scale(fused[layer.name].weight, channel_wise=False),
            )
            for layer in network.topology.layers
        )
    )


def _quantized(network: FloatNetwork) -> NativeQuantizedNetwork:
    made = NativeBackend().from_record(network=network, record=_record(network), act_type=ActType.UINT8)
    assert isinstance(made, NativeQuantizedNetwork)
    return made


def _file(quantized: NativeQuantizedNetwork) -> OnnxSession:
    graph, layers = quantized.network.graph, quantized.layers
    return OnnxSession(build_qdq(graph, layers, quantized.activations, weight_type=WeightType.UINT8))


@pytest.mark.parametrize("name", _READ_AGAIN)
def test_cells_and_mindir_compute_what_the_file_computes(name: str, images: Float32Array, tmp_path: Path) -> None:
    network = _network(name, tmp_path)
    assert not NativeBackend().without_cells(network)
    quantized = _quantized(network)
    exported, plain = logits_of(_file(quantized), images), logits_of(CellSession(network.cell), images)
    allowed = 1e-3 * float(np.abs(exported).max())
    with quantized.simulation() as cell:
        assert logits_of(CellSession(cell), images) == pytest.approx(exported, abs=allowed)
    assert np.abs(plain - exported).max() > 3 * allowed
    assert np.array_equal(logits_of(CellSession(network.cell), images), plain)
    path = tmp_path / "network.mindir"
    quantized.export(ExportFormat.MINDIR, path, {})
    assert logits_of(MindirSession(path.read_bytes()), images) == pytest.approx(exported, abs=allowed)


@pytest.mark.parametrize("name", _READ_AGAIN)
def test_it_is_trained_and_the_file_follows(name: str, images: Float32Array, tmp_path: Path) -> None:
    import mindspore

    network = _network(name, tmp_path)
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    try:
        config = default_retrain_config(network.topology)
        retraining = NativeBackend().retrain(network=network, config=config, initial=_record(network))
        weight = network.graph.arrays["end_point.weight"]
        train(retraining.cell, images, np.arange(12) % 5, steps=4)
        assert (network.cell.end_point.weight.asnumpy() != weight).mean() > 0.5
        retraining.cell.set_train(False)
        evaluated = logits_of(CellSession(retraining.cell), images)
        trained = retraining.finish()
    finally:
        mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    assert isinstance(trained, NativeQuantizedNetwork)
    exported = logits_of(_file(trained), images)
    assert evaluated == pytest.approx(exported, abs=5e-3 * float(np.abs(exported).max()))
    with trained.simulation() as cell:
        assert logits_of(CellSession(cell), images) == pytest.approx(exported, abs=2e-3 * float(np.abs(exported).max()))


def test_of_two_products_that_of_no_layer_cannot_be_exchanged(images: Float32Array, tmp_path: Path) -> None:
    network = _network("TiedDecoder", tmp_path)
    says = "2 products read its weight, and no operator of Dense computes just this one"
    assert NativeBackend().without_cells(network) == {"encoder:2": says}
    with pytest.raises(NoSimulationError, match="encoder:2: 2 products"), _quantized(network).simulation():
        pass
    others = _quantized(network).only({"conv1", "encoder", "end_point"})
    exported = logits_of(_file(others), images)
    with others.simulation() as cell:
        found = logits_of(CellSession(cell), images)
    assert found == pytest.approx(exported, abs=1e-3 * float(np.abs(exported).max()))


def test_equal_products_of_two_layers_cannot_be_exchanged(tmp_path: Path) -> None:
    network = _network("EqualProducts", tmp_path)
    missing = layer_places(network.cell, network.graph, network.topology.layers).missing
    assert set(missing) == {"one", "one:2"}
