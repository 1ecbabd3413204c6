"""The fake-quant forward in MindSpore is the exported file, and leaves the network as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.amct_files.config_file import open_config
from amctq.backends.native import NativeBackend
from amctq.backends.native_network import NativeQuantizedNetwork
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActAlgo, ActType, ArqRule, Device, ExportFormat, IfmrVariant, Placement
from amctq.data.arrays import ArraySamples
from amctq.data.inputs import IMAGE
from amctq.data.samples import Batches
from amctq.errors import InputError, NoSimulationError
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.topology import read_topology
from amctq.inference.onnx_session import OnnxSession
from amctq.networks.float_network import FloatNetwork
from amctq.networks.float_onnx import export_float
from amctq.progress import Reporter
from amctq.quant import numerics
from amctq.quant.default_config import default_config
from amctq.quant.record import QuantRecord
from amctq.runtime import load_mindspore, resolve_device
from tests.arrays import image_spec, logits_of


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> FloatNetwork:
    return network_of("Small", tmp_path_factory.mktemp("scratch"))


def network_of(name: str, scratch: Path, device: Device = Device.CPU, module: Any = None) -> FloatNetwork:
    """A network of networks.py, five classes, with weights of which none is special but one dead channel."""
    mindspore = load_mindspore(resolve_device(device, None), scratch)
    from tests.backends import networks

    def build() -> Any:
        mindspore.set_seed(3)
        cell = getattr(module or networks, name)(5)
        random = np.random.default_rng(2)
        for parameter in cell.get_parameters():
            drawn = random.normal(0, 0.2, parameter.shape).astype(np.float32)
            value = np.abs(drawn) + np.float32(0.5) if parameter.name.endswith("variance") else drawn
            parameter.set_data(mindspore.Tensor(value))
        dead = next(parameter for parameter in cell.get_parameters() if parameter.name.endswith("gamma"))
        gamma = dead.asnumpy().copy()
        gamma[2] = 0.0  # its BatchNorm multiplies by nothing
        dead.set_data(mindspore.Tensor(gamma))
        cell.set_train(False)
        return cell

    cell = build()
    graph = export_float(cell, image_spec(3, 32, 32), scratch / "float.mindir")
    return FloatNetwork(cell=cell, graph=graph, topology=read_topology(graph), rebuild=build, scratch=scratch)


@pytest.fixture(scope="module")
def batches() -> Batches:
    images = np.random.default_rng(4).normal(size=(24, 3, 32, 32)).astype(np.float32)
    samples = ArraySamples(
        pixels=images,
        labels=np.zeros(24, np.int64),
        preprocessing=None,
        sources=("random",),
        indices=np.arange(24),
    )
    return Batches(samples=samples, size=8)


def _quantize(network: FloatNetwork, batches: Batches, config: object = None, **more: object) -> NativeQuantizedNetwork:
    settings = {
        "placement": Placement.ASCEND,
        "act_type": ActType.UINT8,
        "ifmr_variant": IfmrVariant.EXACT,
        "arq_rule": ArqRule.AMCT,
    } | more
    quant = config or default_config(network.topology)
    return NativeBackend().quantize(
        network=network,
        config=PtqConfig(quant=quant, **settings),  # type: ignore[arg-type]
        calibration=batches,
        reporter=Reporter(),
    )


def _logits(cell: object, images: NDArray[Any]) -> NDArray[Any]:
    import mindspore

    result = cell(mindspore.Tensor(images)).asnumpy()  # type: ignore[operator]
    assert isinstance(result, np.ndarray)
    return result


@pytest.mark.parametrize("placement", Placement)
@pytest.mark.parametrize(
    "options",
    [
        {},
        *({"algo": algo} for algo in ActAlgo),
        {"symmetric": True},
        {"per_tensor": True},
        {"skip": ["conv2"]},
    ],
    ids=["default", *(algo.value for algo in ActAlgo), "symmetric", "per-tensor", "one-layer-in-float"],
)
def test_it_computes_what_the_file_computes(
    network: FloatNetwork, batches: Batches, options: dict[str, object], placement: Placement
) -> None:
    config = default_config(network.topology, **options)  # type: ignore[arg-type]
    quantized = _quantize(network, batches, config, placement=placement)
    session = OnnxSession(build_qdq(network.graph, quantized.layers, quantized.activations))
    images = batches.first()[IMAGE]
    with quantized.simulation() as cell:
        simulated = _logits(cell, images)
    exported, plain = logits_of(session, images), _logits(network.cell, images)
    assert simulated == pytest.approx(exported, abs=2e-3 * float(np.abs(exported).max()))
    assert np.abs(simulated - plain).max() > 5 * np.abs(simulated - exported).max()


def test_layers_are_found_wherever_a_network_holds_them(batches: Batches, tmp_path: Path) -> None:
    network = network_of("Sequential", tmp_path)
    quantized = _quantize(network, batches)
    images = batches.first()[IMAGE]
    exported = logits_of(OnnxSession(build_qdq(network.graph, quantized.layers, quantized.activations)), images)
    before = _logits(network.cell, images)
    with quantized.simulation() as cell:
        simulated = _logits(cell, images)
    assert simulated == pytest.approx(exported, abs=2e-3 * float(np.abs(exported).max()))
    assert np.abs(simulated - before).max() > 5 * np.abs(simulated - exported).max()
    assert np.array_equal(_logits(network.cell, images), before)


def test_the_network_is_as_before(network: FloatNetwork, batches: Batches) -> None:
    def state() -> dict[str, object]:
        return {name: (type(cell), id(cell)) for name, cell in network.cell.cells_and_names()}

    before, cells = _logits(network.cell, batches.first()[IMAGE]), state()
    parameters = {parameter.name: id(parameter) for parameter in network.cell.get_parameters()}
    quantized = _quantize(network, batches)
    with pytest.raises(RuntimeError), quantized.simulation():
        assert state() != cells
        raise RuntimeError
    assert state() == cells
    assert {parameter.name: id(parameter) for parameter in network.cell.get_parameters()} == parameters
    assert np.array_equal(_logits(network.cell, batches.first()[IMAGE]), before)


def test_a_layer_of_ones_own_is_not_replaced(batches: Batches, tmp_path: Path) -> None:
    network = network_of("OwnLayer", tmp_path)
    quantized = _quantize(network, batches)
    says = r"conv1: OwnConv has no attribute with the operator of its product"
    with pytest.raises(NoSimulationError, match=says), quantized.simulation():
        pass
    with pytest.raises(InputError, match=says):
        NativeBackend().check_exportable(network, network.topology, ExportFormat.MINDIR)
    skipped = network.topology.only({"conv2", "depthwise", "end_point"})
    NativeBackend().check_exportable(network, skipped, ExportFormat.MINDIR)


def test_cells_that_only_the_graph_mode_computes_are_not_run(network: FloatNetwork, batches: Batches) -> None:
    quantized = _quantize(replace(network, unlike="differs"), batches)
    with pytest.raises(NoSimulationError, match="only the graph mode"), quantized.simulation():
        pass


def test_unfused_batch_norm_is_simulated_too(network: FloatNetwork, batches: Batches, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"version":1,"do_fusion":false,"conv1":{},"conv2":{},"depthwise":{},"end_point":{}}')
    quantized = _quantize(network, batches, open_config(path).quant_config(network.topology, pytest.fail))
    assert quantized.record["conv1"].skip_fusion
    model = build_qdq(network.graph, quantized.layers, quantized.activations)
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == 1
    images = batches.first()[IMAGE]
    exported = logits_of(OnnxSession(model), images)
    with quantized.simulation() as cell:
        assert _logits(cell, images) == pytest.approx(exported, abs=2e-3 * float(np.abs(exported).max()))


def test_cells_round_as_numpy_does(network: FloatNetwork) -> None:
    from mindspore import Tensor

    from amctq.backends.cells import FakeQuantize

    qparams = numerics.QParams(0.25, -5)
    halves = (np.arange(-400, 400) * 0.125).astype(np.float32)  # every second one is a tie
    back = FakeQuantize(qparams)(Tensor(halves))
    expected = numerics.dequantize(numerics.quantize(halves, 0.25, -5), 0.25, -5)
    assert np.array_equal(back.asnumpy(), expected)


def test_a_record_gives_the_same_file_as_its_calibration(network: FloatNetwork, batches: Batches) -> None:
    quantized = _quantize(network, batches)
    again = NativeBackend().from_record(network=network, record=quantized.record, act_type=ActType.UINT8)
    one, two = (
        build_qdq(network.graph, item.layers, item.activations).SerializeToString(deterministic=True)
        for item in (quantized, again)
    )
    assert one == two


def test_layers_that_a_record_lacks_stay_in_float(network: FloatNetwork, batches: Batches) -> None:
    record = QuantRecord(layers=_quantize(network, batches).record.layers[:2])
    quantized = NativeBackend().from_record(network=network, record=record, act_type=ActType.UINT8)
    assert [item.layer.name for item in quantized.layers] == ["conv1", "conv2"]


def test_batches_do_not_change_the_file(network: FloatNetwork, batches: Batches) -> None:
    files = []
    for size in (24, 7, 1):
        quantized = _quantize(network, Batches(samples=batches.samples, size=size))
        files.append(
            build_qdq(network.graph, quantized.layers, quantized.activations).SerializeToString(deterministic=True)
        )
    assert files[0] == files[1] == files[2]


def test_ascend_rules_change_the_scales(network: FloatNetwork, batches: Batches) -> None:
    exact = _quantize(network, batches).record
    ascend = _quantize(network, batches, ifmr_variant=IfmrVariant.ASCEND, arq_rule=ArqRule.ASCEND).record
    assert any(one.activation != two.activation for one, two in zip(exact.layers, ascend.layers, strict=True))
    for one, two in zip(exact.layers, ascend.layers, strict=True):
        assert (two.weight_scale >= one.weight_scale).all()


def test_infinite_activations_name_the_layer(network: FloatNetwork) -> None:
    images = np.full((2, 3, 32, 32), np.inf, np.float32)
    samples = ArraySamples(
        pixels=images, labels=np.zeros(2, np.int64), preprocessing=None, sources=("x",), indices=np.arange(2)
    )
    with pytest.raises(InputError, match=r"the input of conv1 holds NaN or infinity"):
        _quantize(network, Batches(samples=samples, size=2))


@pytest.mark.parametrize("value", [0.0, 1.5], ids=["all-zero", "constant"])
def test_constant_images_still_quantize(network: FloatNetwork, value: float) -> None:
    images = np.full((2, 3, 32, 32), value, np.float32)
    samples = ArraySamples(
        pixels=images, labels=np.zeros(2, np.int64), preprocessing=None, sources=("x",), indices=np.arange(2)
    )
    batches = Batches(samples=samples, size=2)
    quantized = _quantize(network, batches)
    exported = logits_of(OnnxSession(build_qdq(network.graph, quantized.layers, quantized.activations)), images)
    plain = logits_of(OnnxSession(network.graph.model), images)
    assert exported == pytest.approx(plain, abs=0.05 * float(np.abs(plain).max()))
