"""What every engine must do, whichever it is: amctq's own, the one that drives AMCT, and that with the real AMCT.

None of it asks how good a network is, so the network has random weights and the images are noise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, nn
from numpy.typing import NDArray

from amctq.amct_files.record_text import dump_record
from amctq.backends.amct import AmctBackend
from amctq.backends.base import Backend, QuantizedNetwork
from amctq.backends.native import NativeBackend
from amctq.backends.native_network import NativeQuantizedNetwork
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActType, ArqRule, Device, ExportFormat, IfmrVariant, Placement
from amctq.data.arrays import ArraySamples
from amctq.data.inputs import IMAGE
from amctq.data.samples import Batches
from amctq.errors import InputError
from amctq.inference.onnx_session import OnnxSession
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.config import QuantConfig
from amctq.quant.default_config import default_config
from amctq.quant.retrain_config import default_retrain_config
from amctq.runtime import graph_mode
from tests.amct.standin_path import standin_importable
from tests.arrays import logits_of
from tests.backends.test_simulation import network_of

IMAGES = np.random.default_rng(4).normal(size=(6, 3, 32, 32)).astype(np.float32)

REAL = "amct_mindspore"


@pytest.fixture(
    scope="module", params=["native", "standin", pytest.param(REAL, marks=(pytest.mark.amct, pytest.mark.ascend))]
)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which engine; ``standin`` is that of AMCT with the package of tests/amct/standin in its place."""
    with standin_importable() if request.param == "standin" else contextlib.nullcontext():
        yield request.param


@pytest.fixture(scope="module")
def backend(engine: str) -> Backend:
    return NativeBackend() if engine == "native" else AmctBackend(batch_size=4)


def batches(images: NDArray[np.float32] = IMAGES) -> Batches:
    """Images in batches of four, so that the last one is smaller."""
    count = len(images)
    samples = ArraySamples(
        pixels=images,
        labels=np.arange(count, dtype=np.int64) % 5,
        preprocessing=None,
        sources=("noise",),
        indices=np.arange(count, dtype=np.int64),
    )
    return Batches(samples=samples, size=4)


@pytest.fixture(scope="module")
def network(engine: str, tmp_path_factory: pytest.TempPathFactory) -> FloatNetwork:
    """Small of networks.py: BatchNorm, biases, a residual addition, a depthwise layer, a Dense."""
    device = Device.ASCEND if engine == REAL else Device.CPU
    return network_of("Small", tmp_path_factory.mktemp("network"), device)


def _quantize(
    backend: Backend, network: FloatNetwork, images: Batches | None = None, **changes: Any
) -> QuantizedNetwork:
    """Calibrate; ``changes`` are those of ``default_config``, or ``quant`` instead of it."""
    quant = changes.pop("quant", None) or default_config(network.topology, **changes)
    assert isinstance(quant, QuantConfig)
    config = PtqConfig(
        quant=quant,
        placement=Placement.ASCEND,
        act_type=ActType.UINT8,
        ifmr_variant=IfmrVariant.ASCEND,
        arq_rule=ArqRule.ASCEND,
    )
    return backend.quantize(network=network, config=config, calibration=images or batches(), reporter=Reporter())


@pytest.fixture(scope="module")
def quantized(backend: Backend, network: FloatNetwork) -> QuantizedNetwork:
    """With every default."""
    return _quantize(backend, network)


def test_every_layer_is_recorded_in_the_order_of_execution(quantized: QuantizedNetwork, network: FloatNetwork) -> None:
    names = [layer.name for layer in network.topology.layers]
    assert [layer.name for layer in quantized.record.layers] == names
    assert [layer.name for layer in quantized.topology.layers] == names
    assert {name: len(quantized.record[name].weight_scale) for name in names} == {
        **dict.fromkeys(("conv1", "conv2", "depthwise"), 8),
        "end_point": 1,
    }


def test_scales_are_those_of_a_second_implementation(quantized: QuantizedNetwork, network: FloatNetwork) -> None:
    """WtsARQ of folded weights, written down a second time (docs/en/reference.md, "ARQ")."""
    arrays: Mapping[str, NDArray[Any]] = network.graph.arrays
    factor = arrays["bn1.gamma"] / np.sqrt(arrays["bn1.moving_variance"] + np.float32(1e-3))
    folded = {
        "conv1": arrays["conv1.weight"] * factor[:, None, None, None],
        "conv2": arrays["conv2.weight"],
        "depthwise": arrays["depthwise.weight"],
        "end_point": arrays["end_point.weight"][None],
    }
    for name, weight in folded.items():
        rows = weight.reshape(len(weight), -1)
        expected = np.maximum(np.maximum(-rows.min(1), 0) / 128, np.maximum(rows.max(1), 0) / 127)
        expected[expected < 1.2e-7] = 1.0
        np.testing.assert_allclose(quantized.record[name].weight_scale, expected, rtol=1e-6, err_msg=name)


def test_folded_weights_and_biases_are_those_of_a_second_implementation(
    quantized: QuantizedNetwork, network: FloatNetwork
) -> None:
    """Conv+BN folding and int32 biases, written down a second time in float64 (docs/en/reference.md, "Bias")."""
    assert isinstance(quantized, NativeQuantizedNetwork)  # AMCT's too is one, on the scales of its record
    arrays = {name: value.astype(np.float64) for name, value in network.graph.arrays.items() if value.dtype.kind == "f"}
    factor = arrays["bn1.gamma"] / np.sqrt(arrays["bn1.moving_variance"] + 1e-3)
    biases = {
        "conv1": (arrays["conv1.bias"] - arrays["bn1.moving_mean"]) * factor + arrays["bn1.beta"],
        "conv2": arrays["conv2.bias"],
        "end_point": arrays["end_point.bias"],
    }
    for layer in quantized.layers:
        entry = quantized.record[layer.layer.name]
        if layer.layer.name not in biases:
            assert layer.bias is None
            continue
        unit = entry.activation.scale * entry.weight_scale.astype(np.float64)
        expected = biases[layer.layer.name] / unit
        assert layer.bias is not None
        assert np.abs(layer.bias - expected).max() <= 0.5 + 1e-6 * np.abs(expected).max(), layer.layer.name


def test_skipped_layers_stay_in_float(backend: Backend, network: FloatNetwork) -> None:
    quantized = _quantize(backend, network, skip=["conv2", "end_*"], symmetric=True)
    assert [layer.name for layer in quantized.record.layers] == ["conv1", "depthwise"]
    assert {layer.activation.offset for layer in quantized.record.layers} == {0}


def test_one_scale_for_the_tensor(backend: Backend, network: FloatNetwork) -> None:
    quantized = _quantize(backend, network, per_tensor=True)
    assert {len(layer.weight_scale) for layer in quantized.record.layers} == {1}


def test_every_calibration_image_counts(backend: Backend, network: FloatNetwork, quantized: QuantizedNetwork) -> None:
    louder = IMAGES.copy()
    louder[-1] *= 10
    scale = _quantize(backend, network, batches(louder)).record["conv1"].activation.scale
    assert scale > 3 * quantized.record["conv1"].activation.scale


def test_the_float_network_is_left_as_it_was(backend: Backend, network: FloatNetwork) -> None:
    def look() -> tuple[Mapping[str, NDArray[np.float32]], NDArray[np.float32]]:
        values = {item.name: item.asnumpy().copy() for item in network.cell.get_parameters()}
        return values, network.cell(Tensor(IMAGES)).asnumpy()

    (before, logits), mode = look(), mindspore.get_context("mode")
    _quantize(backend, network)
    after, again = look()
    assert mindspore.get_context("mode") == mode
    np.testing.assert_array_equal(logits, again)
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)


def test_the_same_twice(backend: Backend, network: FloatNetwork, quantized: QuantizedNetwork, tmp_path: Path) -> None:
    again = _quantize(backend, network)
    assert dump_record(again.record) == dump_record(quantized.record)
    written = []
    for name, one in (("one", quantized), ("two", again)):
        one.export(backend.default_export[0], tmp_path / name, {})
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_nothing_is_left_in_the_current_directory(backend: Backend, network: FloatNetwork) -> None:
    _quantize(backend, network)
    assert list(Path().iterdir()) == []


def test_images_that_are_not_finite_are_refused(backend: Backend, network: FloatNetwork) -> None:
    broken = IMAGES.copy()
    broken[3, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        _quantize(backend, network, batches(broken))


def test_its_onnx_graph_is_the_network(quantized: QuantizedNetwork, network: FloatNetwork, tmp_path: Path) -> None:
    quantized.export(ExportFormat.ONNX, tmp_path / "model.onnx", {})
    exact = logits_of(OnnxSession(network.graph.model), IMAGES)
    close = logits_of(OnnxSession((tmp_path / "model.onnx").read_bytes()), IMAGES)
    assert 0 < np.abs(close - exact).mean() < 0.05 * np.abs(exact).max()


def test_retraining_learns_weights_and_clips_and_ends_in_a_file(
    backend: Backend, network: FloatNetwork, quantized: QuantizedNetwork, tmp_path: Path
) -> None:
    config = default_retrain_config(network.topology, skip=["depthwise"])
    retraining = backend.retrain(network=network, config=config, initial=quantized.record)
    names = [layer.name for layer in retraining.topology.layers]
    assert names == ["conv1", "conv2", "end_point"]
    before = {name: item.asnumpy().copy() for name, item in retraining.state().items()}
    inputs, labels = next(iter(batches()))
    images = inputs[IMAGE]
    with graph_mode():
        retraining.cell.set_train(True)
        loss = nn.WithLossCell(retraining.cell, nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean"))
        step = nn.TrainOneStepCell(loss, nn.SGD(retraining.cell.trainable_params(), 0.05))
        step.set_train(True)
        for _ in range(2):
            assert np.isfinite(step(Tensor(images), Tensor(labels.astype(np.int32))).asnumpy())
    moved = {name for name, item in retraining.state().items() if not np.array_equal(item.asnumpy(), before[name])}
    assert any("clip_max" in name for name in moved)
    assert sum(name.endswith("weight") for name in moved) >= len(names)
    finished = retraining.finish()
    finished.export(backend.default_export[0], tmp_path / "model", {})
    assert (tmp_path / "model").stat().st_size > 1000
    assert [layer.name for layer in finished.topology.layers] == names
    assert [path.name for path in Path().iterdir()] == []
