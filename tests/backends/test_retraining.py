"""Networks that learn to be quantized: what they compute, what is learned, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.backends.base import RetrainingNetwork
from amctq.backends.native import NativeBackend
from amctq.backends.native_network import NativeQuantizedNetwork
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActType, ArqRule, ExportFormat, IfmrVariant, Placement, WeightType
from amctq.data.inputs import IMAGE
from amctq.data.samples import Batches, split
from amctq.data.source import find_dataset
from amctq.errors import InputError
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.topology import read_topology
from amctq.inference.onnx_session import OnnxSession
from amctq.networks.checkpoint import read_checkpoint
from amctq.networks.float_network import FloatNetwork
from amctq.networks.float_onnx import export_float
from amctq.networks.registry import find_model
from amctq.progress import Reporter
from amctq.quant.default_config import default_config
from amctq.quant.layers import Topology
from amctq.quant.numerics import QParams
from amctq.quant.record import LayerRecord, QuantRecord
from amctq.quant.retrain_config import RetrainConfig, UlqConfig, default_retrain_config
from tests.arrays import image_spec, logits_of
from tests.backends.test_simulation import network_of
from tests.command import Shared

LEARNED = ("clip_max", "clip_min")


@pytest.fixture
def network(tmp_path: Path) -> FloatNetwork:
    return network_of("Small", tmp_path)


@pytest.fixture(autouse=True)
def graph_mode(network: FloatNetwork) -> Any:
    """As the service trains."""
    import mindspore

    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    yield
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


def _record(topology: Topology, **scales: float) -> QuantRecord:
    """Ranges of -1…3 for every layer, but for the ones named."""
    return QuantRecord(
        layers=tuple(
            LayerRecord(
                name=layer.name,
                activation=QParams(float(np.float32(scales.get(layer.name, 4 / 255))), -64),
                weight_scale=np.ones(1, np.float32),
            )
            for layer in topology.layers
        )
    )


def _retrain(network: FloatNetwork, config: RetrainConfig | None = None, **scales: float) -> RetrainingNetwork:
    return NativeBackend().retrain(
        network=network,
        config=config or default_retrain_config(network.topology),
        initial=_record(network.topology, **scales),
    )


def _finished(retraining: RetrainingNetwork) -> NativeQuantizedNetwork:
    quantized = retraining.finish()
    assert isinstance(quantized, NativeQuantizedNetwork)
    return quantized


def _images(count: int = 16) -> NDArray[Any]:
    return np.random.default_rng(4).normal(size=(count, 3, 32, 32)).astype(np.float32)


def _logits(cell: Any, images: NDArray[Any]) -> NDArray[Any]:
    import mindspore

    result = cell(mindspore.Tensor(images)).asnumpy()
    assert isinstance(result, np.ndarray)
    return result


def train(cell: Any, images: NDArray[Any], labels: NDArray[Any], *, steps: int, rate: float = 1e-3) -> list[float]:
    import mindspore
    from mindspore import nn

    optimizer = nn.Momentum(cell.trainable_params(), learning_rate=rate, momentum=0.9)
    step = nn.TrainOneStepCell(nn.WithLossCell(cell, nn.CrossEntropyLoss()), optimizer)
    step.set_train(True)
    losses = []
    for first in range(steps):
        chosen = np.arange(16 * first, 16 * first + 16) % len(images)
        batch = mindspore.Tensor(images[chosen]), mindspore.Tensor(labels[chosen].astype(np.int32))
        losses.append(float(step(*batch).asnumpy()))
    return losses


def _parameters(cell: Any) -> dict[str, NDArray[Any]]:
    return {parameter.name: parameter.asnumpy().copy() for parameter in cell.get_parameters()}


def _file(quantized: NativeQuantizedNetwork) -> OnnxSession:
    return OnnxSession(
        build_qdq(
            quantized.network.graph,
            quantized.layers,
            quantized.activations,
            weight_type=WeightType.UINT8,  # whose products saturate on no CPU
        )
    )


def test_parameters_are_the_networks_and_one_pair_of_clips_a_tensor(network: FloatNetwork) -> None:
    before = list(_parameters(network.cell))
    retraining = _retrain(network)
    names = [parameter.name for parameter in retraining.cell.get_parameters()]
    assert len(set(names)) == len(names)
    clips = [name for name in names if name.endswith(LEARNED)]
    # conv2 and depthwise read one tensor.
    assert clips == [f"{layer}.{clip}" for layer in ("conv1", "conv2", "end_point") for clip in LEARNED]
    assert sorted(retraining.state()) == sorted([*before, *clips])
    trainable = {parameter.name for parameter in retraining.cell.trainable_params()}
    # The tensor of conv2 comes from a ReLU: its lower end is not learned.
    assert set(clips) - trainable == {"conv2.clip_min"}
    assert trainable > {"conv1.weight", "conv1.bias", "bn1.gamma", "end_point.weight", "end_point.bias"}


def test_a_shared_input_is_quantized_once(network: FloatNetwork) -> None:
    retraining = _retrain(network)
    cells = dict(retraining.cell.cells_and_names())
    assert cells["conv2"].conv2d.quantize is cells["depthwise"].conv2d.quantize
    assert cells["conv2"].conv2d.quantize is not cells["conv1"].conv2d.quantize


def test_different_ranges_of_one_input_have_quantizers_of_their_own(network: FloatNetwork) -> None:
    cells = dict(_retrain(network, depthwise=0.5).cell.cells_and_names())
    assert cells["conv2"].conv2d.quantize is not cells["depthwise"].conv2d.quantize


def test_it_computes_the_network_that_it_becomes(network: FloatNetwork) -> None:
    plain = _logits(network.cell, _images())
    retraining = _retrain(network)
    retraining.cell.set_train(False)
    evaluated = _logits(retraining.cell, _images())
    quantized = _finished(retraining)
    exported = logits_of(_file(quantized), _images())
    assert evaluated == pytest.approx(exported, abs=5e-3 * float(np.abs(exported).max()))
    assert np.abs(evaluated - plain).max() > 5 * np.abs(evaluated - exported).max()
    # Untouched, and all float again.
    assert quantized.network.cell is network.cell
    assert np.array_equal(_logits(network.cell, _images()), plain)


@pytest.mark.parametrize("bits", [8, 4])
def test_training_moves_weights_and_clips_and_the_file_follows(network: FloatNetwork, bits: int) -> None:
    labels = np.random.default_rng(5).integers(0, 5, 16)
    start = _parameters(network.cell)
    retraining = _retrain(network, default_retrain_config(network.topology, weight_bits=bits))
    began = _parameters(retraining.cell)
    losses = train(retraining.cell, _images(), labels, steps=8)
    assert losses[-1] < losses[0]
    trained = {name: parameter.asnumpy().copy() for name, parameter in retraining.state().items()}
    for name in ("conv1.weight", "end_point.weight", "conv1.clip_max", "conv2.clip_max", "conv1.clip_min"):
        assert not np.array_equal(trained[name], began[name]), name
    assert trained["conv2.clip_min"] == 0
    retraining.cell.set_train(False)
    evaluated = _logits(retraining.cell, _images())
    quantized = _finished(retraining)
    assert {entry.weight_bits for entry in quantized.record.layers} == {bits}
    assert sorted(_parameters(network.cell)) == sorted(start)
    for name in start:
        assert np.array_equal(network.cell.parameters_dict()[name].asnumpy(), trained[name]), name
        assert np.array_equal(quantized.network.graph.arrays[name], trained[name]), name
    exported = logits_of(_file(quantized), _images())
    # An activation on the edge of a step may be rounded the other way: MindSpore sums float32, the file integers.
    assert evaluated == pytest.approx(exported, abs=1e-2 * float(np.abs(exported).max()))
    own = logits_of(OnnxSession(quantized.network.graph.model), _images())
    assert own == pytest.approx(_logits(network.cell, _images()), rel=1e-3, abs=1e-3)
    assert np.array_equal(evaluated.argmax(axis=1), exported.argmax(axis=1))
    with quantized.simulation() as cell:
        assert _logits(cell, _images()) == pytest.approx(exported, abs=2e-3 * float(np.abs(exported).max()))


def test_the_bits_do_not_depend_on_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(5).integers(0, 5, 16)
    found, told = [], []
    for compiler in ("", "cc"):
        monkeypatch.setenv("CC", compiler)
        retraining = _retrain(network_of("Small", tmp_path))
        losses = train(retraining.cell, _images(), labels, steps=4)
        told.append(retraining.operators)
        found.append((losses, {name: item.asnumpy().tobytes() for name, item in retraining.state().items()}))
    assert "no C compiler" in told[0]
    if "compiled with" not in told[1]:
        pytest.skip(told[1])
    assert found[0] == found[1]


def test_an_evaluation_takes_the_weights_as_they_are_when_it_begins(network: FloatNetwork) -> None:
    import mindspore

    retraining = _retrain(network)
    retraining.cell.set_train(False)
    first = _logits(retraining.cell, _images())
    weight = retraining.state()["end_point.weight"]
    weight.set_data(mindspore.Tensor(weight.asnumpy() * np.float32(1.5)))
    assert np.array_equal(_logits(retraining.cell, _images()), first)  # nothing is quantized anew
    retraining.cell.set_train(False)
    assert not np.array_equal(_logits(retraining.cell, _images()), first)


def test_a_checkpoint_of_the_state_is_the_whole_network(tmp_path: Path) -> None:
    import mindspore

    labels = np.random.default_rng(5).integers(0, 5, 16)
    one = _retrain(network_of("Small", tmp_path))
    train(one.cell, _images(), labels, steps=3)
    path = str(tmp_path / "state.ckpt")
    mindspore.save_checkpoint([{"name": name, "data": data} for name, data in one.state().items()], path)
    two = _retrain(network_of("Small", tmp_path))
    mindspore.load_param_into_net(two.cell, mindspore.load_checkpoint(path))
    logits = []
    for retraining in (one, two):
        retraining.cell.set_train(False)
        logits.append(_logits(retraining.cell, _images()))
    assert np.array_equal(logits[0], logits[1])


def test_explicit_clips_win_over_the_record(network: FloatNetwork) -> None:
    config = default_retrain_config(network.topology)
    own = UlqConfig(clip_max=5.0, clip_min=-2.0)
    layers = tuple(
        replace(layer, activation=own) if layer.name in {"conv1", "depthwise"} else layer for layer in config.layers
    )
    state = _retrain(network, replace(config, layers=layers)).state()
    assert {name: float(state[name].asnumpy()) for name in state if name.endswith(LEARNED)} == {
        "conv1.clip_max": 5.0,
        "conv1.clip_min": -2.0,
        "conv2.clip_max": pytest.approx(4 / 255 * 191),
        "conv2.clip_min": 0.0,
        "depthwise.clip_max": 5.0,
        "depthwise.clip_min": 0.0,  # behind a ReLU
        "end_point.clip_max": pytest.approx(4 / 255 * 191),
        "end_point.clip_min": pytest.approx(-4 / 255 * 64),
    }


@pytest.mark.parametrize(("fixed", "names"), [(True, {"conv1", "conv2"}), (False, set())])
def test_fixed_min_as_the_config_says(network: FloatNetwork, fixed: bool, names: set[str]) -> None:
    config = default_retrain_config(network.topology)
    layers = tuple(
        layer if layer.name == "end_point" else replace(layer, activation=UlqConfig(fixed_min=fixed))
        for layer in config.layers
    )
    parameters = _retrain(network, replace(config, layers=layers)).cell.get_parameters()
    lower = {item.name.removesuffix(".clip_min"): item.requires_grad for item in parameters if "clip_min" in item.name}
    assert {name for name, learned in lower.items() if not learned} == names


def test_layers_left_out_stay_float(network: FloatNetwork) -> None:
    config = default_retrain_config(network.topology, skip=["conv2", "end_point"])
    retraining = _retrain(network, config)
    assert [layer.name for layer in retraining.topology.layers] == ["conv1", "depthwise"]
    assert "depthwise.clip_max" in retraining.state()
    assert [entry.name for entry in _finished(retraining).record.layers] == ["conv1", "depthwise"]


def test_layers_in_sequential_cells_and_a_dense_with_its_activation(tmp_path: Path) -> None:
    network = network_of("Sequential", tmp_path)
    retraining = _retrain(network)
    train(retraining.cell, _images(), np.arange(16) % 5, steps=2)
    retraining.cell.set_train(False)
    evaluated = _logits(retraining.cell, _images())
    quantized = _finished(retraining)
    exported = logits_of(_file(quantized), _images())
    assert evaluated == pytest.approx(exported, abs=1e-2 * float(np.abs(exported).max()))


def test_a_gamma_of_zero_and_one_below_zero_are_folded(network: FloatNetwork) -> None:
    gamma: NDArray[Any] = network.graph.arrays["bn1.gamma"]
    assert (gamma == 0).any()
    assert (gamma < 0).any()
    record = _finished(_retrain(network)).record
    scale = record["conv1"].weight_scale
    assert scale.shape == (8,)
    assert scale[gamma == 0] < 1e-5  # its bias keeps its digits
    weight: NDArray[Any] = network.graph.arrays["conv1.weight"]
    variance: NDArray[Any] = network.graph.arrays["bn1.moving_variance"]
    folded = weight.reshape(8, -1) * (gamma / np.sqrt(variance + 1e-3))[:, None]
    expected = np.maximum(folded.max(axis=1) / 127, folded.min(axis=1) / -128)
    assert scale[gamma != 0] == pytest.approx(expected[gamma != 0], rel=1e-5)
    assert record["end_point"].weight_scale.shape == (1,)


def test_quantizers_keep_their_digits_in_a_half_precision_network(network: FloatNetwork) -> None:
    import mindspore

    retraining = _retrain(network)
    retraining.cell.to_float(mindspore.float16)
    flags = {name: cell.get_flags() for name, cell in retraining.cell.cells_and_names()}
    for name in (
        "conv1.conv2d.quantize",
        "conv1.conv2d.quantize.fake_quantize",
        "conv1.conv2d.quantized_weight",
        "end_point.matmul.quantize",
    ):
        assert flags[name].get("fp32"), name
        assert not flags[name].get("fp16"), name
    assert flags["conv1"]["fp16"]
    retraining.cell.set_train(False)
    half = _logits(retraining.cell, _images())
    assert half.dtype == np.float16
    retraining.cell.to_float(mindspore.float32)
    assert half == pytest.approx(_logits(retraining.cell, _images()), rel=0.05, abs=0.2)


def test_a_record_of_another_network_is_refused(network: FloatNetwork) -> None:
    record = _record(network.topology)
    renamed = replace(record.layers[0], name="conv_1")
    with pytest.raises(InputError, match=r"conv_1 is not in this network") as caught:
        NativeBackend().retrain(
            network=network, config=default_retrain_config(network.topology), initial=QuantRecord(layers=(renamed,))
        )
    assert caught.value.hint == "did you mean conv1?"


def test_a_layer_that_the_record_lacks_is_named(network: FloatNetwork) -> None:
    record = QuantRecord(layers=_record(network.topology).layers[:2])
    with pytest.raises(InputError, match="lacks layer depthwise"):
        NativeBackend().retrain(network=network, config=default_retrain_config(network.topology), initial=record)


def test_a_layer_of_ones_own_is_named(tmp_path: Path) -> None:
    network = network_of("OwnLayer", tmp_path)
    with pytest.raises(InputError, match=r"conv1: OwnConv has no attribute with the operator") as caught:
        _retrain(network)
    assert "retrain_enable" in (caught.value.hint or "")
    _retrain(network, default_retrain_config(network.topology, skip=["conv1"]))


@pytest.mark.parametrize("name", ["conv1.clip_max", "end_point.weight", "bn1.gamma"])
def test_a_diverged_network_is_no_result(network: FloatNetwork, name: str) -> None:
    import mindspore

    retraining = _retrain(network)
    parameter = retraining.state()[name]
    parameter.set_data(mindspore.Tensor(np.full(parameter.shape, np.nan, np.float32)))
    layer = name.partition(".")[0].replace("bn1", "conv1")
    for use in (lambda: retraining.cell.set_train(False), retraining.finish):
        with pytest.raises(InputError, match=f"layer {layer}: ") as caught:
            use()
        assert "diverged" in (caught.value.hint or "")


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, pytest.param(4, marks=pytest.mark.slow)])
def test_the_file_agrees_with_the_training_network_on_real_images(bits: int, shared: Shared, tmp_path: Path) -> None:
    import mindspore

    network = _resnet20(shared, tmp_path)
    preprocessing = find_model("resnet20").preprocessing(10)
    dataset = find_dataset(str(shared.data)).open(preprocessing)
    images = split(dataset, calibration_images=320, evaluation_images=500, seed=1)
    assert images.evaluation is not None
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    record = _calibrated(network, Batches(samples=images.calibration, size=32))
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    retraining = NativeBackend().retrain(
        network=network, config=default_retrain_config(network.topology, weight_bits=bits), initial=record
    )
    training, labels = next(iter(Batches(samples=images.calibration, size=320)))
    train(retraining.cell, training[IMAGE], labels, steps=10)
    retraining.cell.set_train(False)
    evaluation = Batches(samples=images.evaluation, size=250)
    evaluated = np.concatenate([_logits(retraining.cell, batch[IMAGE]).argmax(axis=1) for batch, _ in evaluation])
    quantized = _finished(retraining)
    file = _file(quantized)
    exported = np.concatenate([logits_of(file, batch[IMAGE]).argmax(axis=1) for batch, _ in evaluation])
    assert (evaluated == exported).mean() >= 0.998
    correct = np.concatenate([batch for _, batch in evaluation])
    assert (exported == correct).mean() > (0.85 if bits == 8 else 0.75)


def _resnet20(shared: Shared, scratch: Path) -> FloatNetwork:
    cell = find_model("resnet20").build(10)
    read_checkpoint(shared.checkpoint("resnet20"), scratch).load_into(cell, model="resnet20", num_classes=10)
    graph = export_float(cell, image_spec(3, 32, 32), scratch / "resnet20.mindir")
    return FloatNetwork(cell=cell, graph=graph, topology=read_topology(graph))


def _calibrated(network: FloatNetwork, batches: Batches) -> QuantRecord:
    config = PtqConfig(
        quant=default_config(network.topology),
        placement=Placement.ASCEND,
        act_type=ActType.UINT8,
        ifmr_variant=IfmrVariant.EXACT,
        arq_rule=ArqRule.AMCT,
    )
    return NativeBackend().quantize(network=network, config=config, calibration=batches, reporter=Reporter()).record


def test_mindir_is_exported_from_the_trained_cells(network: FloatNetwork, tmp_path: Path) -> None:
    import mindspore

    retraining = _retrain(network)
    train(retraining.cell, _images(), np.arange(16) % 5, steps=1)
    quantized = retraining.finish()
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    path = tmp_path / "trained.mindir"
    quantized.export(ExportFormat.MINDIR, path, {})
    assert path.stat().st_size > 1000
